/**
 * The sparse time index of a segment: entries of 12 bytes, timestamps strictly increasing, offsets never decreasing. An
 * entry holds the largest timestamp of the segment so far and the last offset of the batch that has it, as Kafka's does. So
 * every record up to that offset is not younger than the entry, and a search for the first record with timestamp >= T
 * starts at the last entry with timestamp < T. Pure functions over a view that starts at the first entry; any thread.
 */
import { readI64, readI64Rough, writeI64 } from './region.ts'

export const TIME_ENTRY = {
  timestampAt: 0, // i64 BE, milliseconds
  relativeOffsetAt: 8, // u32 BE, last offset of the batch - base offset of the segment
  sizeBytes: 12,
} as const

export function writeTimeEntry(view: DataView, index: number, timestamp: number, relativeOffset: number): void {
  const at = index * TIME_ENTRY.sizeBytes
  writeI64(view, at + TIME_ENTRY.timestampAt, timestamp)
  view.setUint32(at + TIME_ENTRY.relativeOffsetAt, relativeOffset)
}

/** @throws UNSUPPORTED_FORMAT when it is not a safe integer, which only damage makes it */
export function timeEntryTimestamp(view: DataView, index: number): number {
  return readI64(view, index * TIME_ENTRY.sizeBytes + TIME_ENTRY.timestampAt)
}

export function timeEntryRelativeOffset(view: DataView, index: number): number {
  return view.getUint32(index * TIME_ENTRY.sizeBytes + TIME_ENTRY.relativeOffsetAt)
}

/** Both fields of an entry, for tools and tests; the read path takes the field it needs. */
export function readTimeEntry(view: DataView, index: number): { timestamp: number; relativeOffset: number } {
  return { timestamp: timeEntryTimestamp(view, index), relativeOffset: timeEntryRelativeOffset(view, index) }
}

/**
 * Index of the last of the first `count` entries whose timestamp is < `timestamp`, -1 when there is none. A damaged
 * timestamp misleads the search but does not stop it; whoever uses the entry reads it with the check above.
 * Cost: log2(count) reads.
 */
export function floorTimeEntry(view: DataView, count: number, timestamp: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (readI64Rough(view, middle * TIME_ENTRY.sizeBytes) < timestamp) low = middle + 1
    else high = middle
  }
  return low - 1
}
