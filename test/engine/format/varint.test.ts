import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  readVarint,
  readVarlong,
  VARLONG_BYTES_MAX,
  varintBytes,
  varintEnd,
  varlongBytes,
  writeVarint,
  writeVarlong,
  zigzag,
} from '../../../engine/format/varint.ts'

/** The same encoding from its definition, with numbers of any size. */
function encode(value: bigint): number[] {
  let rest = value >= 0n ? value * 2n : -value * 2n - 1n
  const bytes: number[] = []
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return [...bytes, Number(rest)]
}

const edges = [
  0,
  1,
  -1,
  63,
  64,
  -64,
  -65,
  8191,
  8192,
  -8192,
  -8193,
  2 ** 20 - 1,
  2 ** 20,
  2 ** 27 - 1,
  2 ** 27,
  -(2 ** 27),
  2 ** 31 - 1,
  -(2 ** 31),
]
const longEdges = [
  ...edges,
  2 ** 31,
  -(2 ** 31) - 1,
  2 ** 34,
  2 ** 41,
  2 ** 48,
  Number.MAX_SAFE_INTEGER,
  -Number.MAX_SAFE_INTEGER,
]
const i32 = fc.oneof(fc.constantFrom(...edges), fc.integer(), fc.integer({ min: -10_000, max: 10_000 }))
const i54 = fc.oneof(fc.constantFrom(...longEdges), fc.maxSafeInteger(), fc.integer())

describe('varint', () => {
  test('known encodings', () => {
    expect([0, -1, 1, -2, 2 ** 31 - 1, -(2 ** 31)].map(zigzag)).toEqual([0, 1, 2, 3, 0xffff_fffe, 0xffff_ffff])
  })

  test('is the bytes of the definition, and reads back', () => {
    fc.assert(
      fc.property(i32, value => {
        const bytes = Buffer.alloc(9, 0xaa)
        const end = writeVarint(bytes, 2, value)
        expect([...bytes.subarray(2, end)]).toEqual(encode(BigInt(value)))
        expect([...bytes.subarray(0, 2), ...bytes.subarray(end)].every(byte => byte === 0xaa)).toBe(true)
        expect(varintBytes(value)).toBe(end - 2)
        expect(readVarint(bytes, 2, end)).toBe(value)
        expect(varintEnd(bytes, 2, end)).toBe(end)
      }),
      { numRuns: 1000 },
    )
  })

  test('longer than needed is read, as Kafka does', () => {
    expect(readVarint(Uint8Array.from([0x82, 0x80, 0x00]), 0, 3)).toBe(1)
    expect(varintEnd(Uint8Array.from([0x82, 0x80, 0x00]), 0, 3)).toBe(3)
  })

  test('cut short, too long or of more than 32 bits is damage', () => {
    const long = Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0x0f])
    expect(readVarint(long, 0, 5)).toBe(-(2 ** 31))
    for (let end = 0; end < 5; end++) expect(() => readVarint(long, 0, end)).toThrow(/CORRUPT_RECORD/)
    expect(() => readVarint(Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0x1f]), 0, 5)).toThrow(/CORRUPT_RECORD/)
    expect(() => readVarint(Uint8Array.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), 0, 6)).toThrow(/CORRUPT_RECORD/)
  })
})

describe('varlong', () => {
  test('is the bytes of the definition, and reads back', () => {
    fc.assert(
      fc.property(i54, value => {
        const bytes = Buffer.alloc(14, 0xaa)
        const end = writeVarlong(bytes, 2, value)
        expect([...bytes.subarray(2, end)]).toEqual(encode(BigInt(value)))
        expect([...bytes.subarray(0, 2), ...bytes.subarray(end)].every(byte => byte === 0xaa)).toBe(true)
        expect(varlongBytes(value)).toBe(end - 2)
        expect(readVarlong(bytes, 2, end)).toBe(value)
        expect(varintEnd(bytes, 2, end, VARLONG_BYTES_MAX)).toBe(end)
      }),
      { numRuns: 2000 },
    )
  })

  test('any 64-bit number is read exactly or refused', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), value => {
        const bytes = Uint8Array.from(encode(value))
        if (value >= -BigInt(Number.MAX_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
          expect(readVarlong(bytes, 0, bytes.length)).toBe(Number(value))
        } else {
          expect(() => readVarlong(bytes, 0, bytes.length)).toThrow(/UNSUPPORTED_FORMAT/)
        }
      }),
      { numRuns: 1000, examples: [[2n ** 53n], [-(2n ** 53n)], [2n ** 63n - 1n], [-(2n ** 63n)]] },
    )
  })

  test('cut short or of more than ten bytes is damage', () => {
    const bytes = new Uint8Array(11).fill(0x80)
    bytes[10] = 0
    expect(() => readVarlong(bytes, 0, 11)).toThrow(/CORRUPT_RECORD/)
    expect(readVarlong(bytes, 1, 11)).toBe(0)
    expect(() => readVarlong(bytes, 1, 10)).toThrow(/CORRUPT_RECORD/)
  })
})
