/**
 * The sparse offset index of a segment: entries of 8 bytes, both fields strictly increasing. An entry holds the last
 * offset of a batch and where in the `.log` file that batch starts, as Kafka's does. So a reader that wants a record
 * starts at the position of the last entry whose offset is not above it, and walks batches from there. Pure functions
 * over a view that starts at the first entry; any thread.
 */

import { invariant } from '../base/invariant.ts'
import { SEGMENT_BYTES_MAX } from '../base/limits.ts'

/** Offsets are relative to the segment's base offset, so four bytes are enough. */
export const OFFSET_ENTRY = {
  relativeOffsetAt: 0, // u32 BE, last offset of the batch - base offset of the segment
  positionAt: 4, // u32 BE, byte position of the batch in the .log file
  sizeBytes: 8,
} as const

invariant(SEGMENT_BYTES_MAX <= 0x7fff_ffff, 'positions are signed 32-bit in Kafka')

export function writeOffsetEntry(view: DataView, index: number, relativeOffset: number, position: number): void {
  const at = index * OFFSET_ENTRY.sizeBytes
  view.setUint32(at + OFFSET_ENTRY.relativeOffsetAt, relativeOffset)
  view.setUint32(at + OFFSET_ENTRY.positionAt, position)
}

export function offsetEntryRelativeOffset(view: DataView, index: number): number {
  return view.getUint32(index * OFFSET_ENTRY.sizeBytes + OFFSET_ENTRY.relativeOffsetAt)
}

export function offsetEntryPosition(view: DataView, index: number): number {
  return view.getUint32(index * OFFSET_ENTRY.sizeBytes + OFFSET_ENTRY.positionAt)
}

/** Both fields of an entry, for tools and tests; the read path takes the field it needs. */
export function readOffsetEntry(view: DataView, index: number): { relativeOffset: number; position: number } {
  return { relativeOffset: offsetEntryRelativeOffset(view, index), position: offsetEntryPosition(view, index) }
}

/**
 * Index of the last of the first `count` entries whose relative offset is <= `relativeOffset`, -1 when there is none.
 * Cost: log2(count) reads.
 */
export function floorOffsetEntry(view: DataView, count: number, relativeOffset: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (view.getUint32(middle * OFFSET_ENTRY.sizeBytes) <= relativeOffset) low = middle + 1
    else high = middle
  }
  return low - 1
}
