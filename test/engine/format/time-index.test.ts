import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  floorTimeEntry,
  readTimeEntry,
  TIME_ENTRY,
  timeEntryRelativeOffset,
  timeEntryTimestamp,
  writeTimeEntry,
} from '../../../engine/format/time-index.ts'

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const small = fc.integer({ min: -2, max: 60 })
const times = fc.oneof(fc.maxSafeInteger(), fc.integer({ min: 1_700_000_000_000, max: 1_700_000_001_000 }))

function indexOf(entries: readonly { timestamp: number; relativeOffset: number }[]): DataView {
  const view = new DataView(new ArrayBuffer(entries.length * TIME_ENTRY.sizeBytes))
  entries.forEach((entry, i) => {
    writeTimeEntry(view, i, entry.timestamp, entry.relativeOffset)
  })
  return view
}

describe('time index', () => {
  test('an entry is twelve bytes, big-endian', () => {
    const view = indexOf([
      { timestamp: 1_700_000_000_000, relativeOffset: 7 },
      { timestamp: -1, relativeOffset: 0xffff_ffff },
    ])
    expect(Buffer.from(view.buffer).toString('hex')).toBe('0000018bcfe5680000000007ffffffffffffffffffffffff')
  })

  test('entries read back', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ timestamp: times, relativeOffset: u32 })), entries => {
        const view = indexOf(entries)
        expect(entries.map((_, i) => readTimeEntry(view, i))).toEqual(entries)
        expect(entries.map((_, i) => timeEntryTimestamp(view, i))).toEqual(entries.map(e => e.timestamp))
        expect(entries.map((_, i) => timeEntryRelativeOffset(view, i))).toEqual(entries.map(e => e.relativeOffset))
      }),
    )
  })

  test('the floor is strictly below, as a linear scan finds it, also when only some entries count', () => {
    const timestamps = fc.oneof(fc.uniqueArray(small, { maxLength: 40 }), fc.uniqueArray(times, { maxLength: 200 }))
    fc.assert(
      fc.property(timestamps, fc.oneof(small, times), fc.nat({ max: 200 }), (unsorted, wanted, limit) => {
        const sorted = [...unsorted].sort((a, b) => a - b)
        const count = Math.min(sorted.length, limit)
        const view = indexOf(sorted.map((timestamp, i) => ({ timestamp, relativeOffset: i })))
        expect(floorTimeEntry(view, count, wanted)).toBe(sorted.slice(0, count).findLastIndex(time => time < wanted))
      }),
      { numRuns: 2000 },
    )
  })

  test('a damaged timestamp does not stop the search, and reading it says so', () => {
    const view = indexOf([1, 2, 3].map(timestamp => ({ timestamp, relativeOffset: timestamp })))
    view.setBigInt64(TIME_ENTRY.sizeBytes, 2n ** 62n)
    expect(floorTimeEntry(view, 3, 3)).toBeLessThan(3)
    expect(() => timeEntryTimestamp(view, 1)).toThrow(/UNSUPPORTED_FORMAT/)
  })
})
