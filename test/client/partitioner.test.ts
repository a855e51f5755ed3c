/** The hash of keys: Kafka's own test vectors, and its Java code written down once more as the model. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { murmur2, partitionForKey } from '../../client/partitioner.ts'

/** From Kafka's UtilsTest.testMurmur2. */
const VECTORS: readonly [string, number][] = [
  ['21', -973_932_308],
  ['foobar', -790_332_482],
  ['a-little-bit-long-string', -985_981_536],
  ['a-little-bit-longer-string', -1_486_304_829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58_897_971],
  ['abc', 479_470_107],
]

test.for(VECTORS)('murmur2 of %s is that of the Java client', ([key, hash]) => {
  expect(murmur2(Buffer.from(key))).toBe(hash)
})

/** org.apache.kafka.common.utils.Utils.murmur2, with the 32-bit overflow of Java's int done by BigInt. */
function javaMurmur2(data: Uint8Array): number {
  const int = (value: bigint): bigint => BigInt.asIntN(32, value)
  const unsignedShift = (value: bigint, bits: bigint): bigint => int(BigInt.asUintN(32, value) >> bits)
  const byte = (index: number): bigint => BigInt(data[index] as number)
  const m = 0x5bd1e995n
  const { length } = data
  let h = int(0x9747b28cn ^ BigInt(length))
  for (let i = 0; i < Math.floor(length / 4); i++) {
    let k = int(byte(4 * i) + (byte(4 * i + 1) << 8n) + (byte(4 * i + 2) << 16n) + (byte(4 * i + 3) << 24n))
    k = int(k * m)
    k = int(k ^ unsignedShift(k, 24n))
    k = int(k * m)
    h = int(h * m)
    h = int(h ^ k)
  }
  const rest = length - (length % 4)
  if (length % 4 === 3) h = int(h ^ (byte(rest + 2) << 16n))
  if (length % 4 >= 2) h = int(h ^ (byte(rest + 1) << 8n))
  if (length % 4 >= 1) h = int(int(h ^ byte(rest)) * m)
  h = int(h ^ unsignedShift(h, 13n))
  h = int(h * m)
  h = int(h ^ unsignedShift(h, 15n))
  return Number(h)
}

test('murmur2 of any bytes is that of the Java code', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), key => {
      expect(murmur2(key)).toBe(javaMurmur2(key))
    }),
    { numRuns: 1_000 },
  )
})

test('a partition is the positive hash modulo the partitions', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), fc.integer({ min: 1, max: 10_000 }), (key, partitions) => {
      const partition = partitionForKey(key, partitions)
      expect(partition).toBe((javaMurmur2(key) & 0x7fff_ffff) % partitions)
      expect(partition).toBeGreaterThanOrEqual(0)
      expect(partition).toBeLessThan(partitions)
    }),
  )
})
