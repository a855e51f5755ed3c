import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  floorOffsetEntry,
  OFFSET_ENTRY,
  offsetEntryPosition,
  offsetEntryRelativeOffset,
  readOffsetEntry,
  writeOffsetEntry,
} from '../../../engine/format/offset-index.ts'

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const small = fc.integer({ min: 0, max: 60 })
const offsets = fc.oneof(fc.uniqueArray(small, { maxLength: 40 }), fc.uniqueArray(u32, { maxLength: 200 }))

function indexOf(entries: readonly { relativeOffset: number; position: number }[]): DataView {
  const view = new DataView(new ArrayBuffer(entries.length * OFFSET_ENTRY.sizeBytes))
  entries.forEach((entry, i) => {
    writeOffsetEntry(view, i, entry.relativeOffset, entry.position)
  })
  return view
}

describe('offset index', () => {
  test('an entry is eight bytes, big-endian', () => {
    const view = indexOf([
      { relativeOffset: 1, position: 2 },
      { relativeOffset: 0x01020304, position: 0x7fff_ffff },
    ])
    expect(Buffer.from(view.buffer).toString('hex')).toBe('0000000100000002010203047fffffff')
    expect(view.byteLength).toBe(16)
  })

  test('entries read back', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ relativeOffset: u32, position: u32 })), entries => {
        const view = indexOf(entries)
        expect(entries.map((_, i) => readOffsetEntry(view, i))).toEqual(entries)
        expect(entries.map((_, i) => offsetEntryRelativeOffset(view, i))).toEqual(entries.map(e => e.relativeOffset))
        expect(entries.map((_, i) => offsetEntryPosition(view, i))).toEqual(entries.map(e => e.position))
      }),
    )
  })

  test('the floor is what a linear scan finds, also when only some entries count', () => {
    fc.assert(
      fc.property(offsets, fc.oneof(small, u32), fc.nat({ max: 200 }), (unsorted, wanted, limit) => {
        const sorted = [...unsorted].sort((a, b) => a - b)
        const count = Math.min(sorted.length, limit)
        const view = indexOf(sorted.map((relativeOffset, i) => ({ relativeOffset, position: i })))
        expect(floorOffsetEntry(view, count, wanted)).toBe(
          sorted.slice(0, count).findLastIndex(offset => offset <= wanted),
        )
      }),
      { numRuns: 2000 },
    )
  })
})
