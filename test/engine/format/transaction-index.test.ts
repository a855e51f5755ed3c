import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Region } from '../../../engine/format/region.ts'
import { parseTransactionIndex, TRANSACTION_ENTRY } from '../../../engine/format/transaction-index.ts'

interface Entry {
  readonly producerId: number
  readonly firstOffset: number
  readonly lastOffset: number
}

function encode(entries: readonly Entry[]): Buffer {
  const bytes = Buffer.alloc(entries.length * TRANSACTION_ENTRY.sizeBytes)
  entries.forEach(({ producerId, firstOffset, lastOffset }, i) => {
    const at = i * TRANSACTION_ENTRY.sizeBytes
    bytes.writeBigInt64BE(BigInt(producerId), at + 2)
    bytes.writeBigInt64BE(BigInt(firstOffset), at + 10)
    bytes.writeBigInt64BE(BigInt(lastOffset), at + 18)
    bytes.writeBigInt64BE(BigInt(lastOffset + 1), at + 26)
  })
  return bytes
}

const parse = (bytes: Buffer): unknown => parseTransactionIndex(Region.of(bytes))

const entryLists = fc
  .array(fc.tuple(fc.nat(2 ** 40), fc.nat(100), fc.nat(2 ** 40)), { maxLength: 20 })
  .map(raw => raw.sort((a, b) => a[2] - b[2]).filter((entry, i) => entry[2] > (raw[i - 1]?.[2] ?? -1)))
  .map(raw =>
    raw.map(([producerId, length, end]) => ({ producerId, firstOffset: Math.max(0, end - length), lastOffset: end })),
  )

test('entries are read back', () => {
  fc.assert(
    fc.property(entryLists, entries => {
      expect(parse(encode(entries))).toEqual(entries)
    }),
  )
})

describe('damage is seen', () => {
  const sound = encode([
    { producerId: 7, firstOffset: 3, lastOffset: 9 },
    { producerId: 8, firstOffset: 1, lastOffset: 12 },
  ])

  test('a length that is no number of entries', () => {
    for (let length = 1; length < sound.length; length++) {
      if (length !== TRANSACTION_ENTRY.sizeBytes) expect(parse(sound.subarray(0, length))).toBeUndefined()
    }
  })

  test('another version, a first offset behind the last, ends out of order', () => {
    const changed = (at: number, value: number): Buffer => {
      const bytes = Buffer.from(sound)
      bytes.writeUInt8(value, at)
      return bytes
    }
    expect(parse(changed(1, 1))).toBeUndefined()
    expect(parse(changed(17, 10))).toBeUndefined()
    expect(parse(changed(34 + 25, 9))).toBeUndefined()
  })
})
