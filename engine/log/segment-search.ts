/**
 * Where in a segment an offset lies: from the index entry in front of it over the batch headers that follow, a few hundred
 * nanoseconds. Headers on the way are not verified, so what comes out is checked against its neighbour, and where the two
 * disagree the segment is searched with care: around what is damaged, and never into it.
 */
import { BATCH, batchBytes } from '../format/record-batch.ts'
import { readI64Rough } from '../format/region.ts'
import { positionAround } from './segment-damage.ts'
import type { SegmentReader } from './segment-reader.ts'

/**
 * Position of the first batch whose last offset is at or behind `offset`; the published length when there is none.
 * @throws CORRUPT_BATCH when `offset` lies in a damaged stretch
 */
export function positionOf(segment: SegmentReader, wanted: number): number {
  const offset = Math.max(wanted, segment.baseOffset) // what a compacted log had in front of its first segment is gone
  const position = walkTo(segment, offset)
  return position !== undefined && agrees(segment, position, offset) ? position : searchWithCare(segment, offset)
}

/** Undefined when the walk met something that is no batch. */
function walkTo(segment: SegmentReader, offset: number): number | undefined {
  let position = segment.floorPosition(offset)
  const size = segment.sizeBytes
  while (position < size) {
    const { region, position: start } = segment.window(position)
    const { view } = region
    let at = position - start
    while (at + BATCH.headerBytes <= region.length) {
      if (lastRough(view, at) >= offset) return start + at
      const bytes = batchBytes(view, at)
      if (bytes < BATCH.headerBytes || at + bytes > region.length) return undefined
      at += bytes
    }
    if (start + at === position) return undefined // less than a header is left
    position = start + at
  }
  return position
}

/**
 * The batch at `position` is sound, holds `offset`, and the next one goes on where it ends. A walk that lost its way may have come
 * to any bytes, so the offsets are looked at as they are.
 */
function agrees(segment: SegmentReader, position: number, offset: number): boolean {
  if (position >= segment.sizeBytes) return offset >= segment.endOffset
  const found = segment.soundAt(position)
  if (found === undefined) return false
  const { region, at } = found
  const { view } = region
  if (!segment.continues(offset, Math.max(readI64Rough(view, at), offset))) return false
  const end = lastRough(view, at) + 1
  const next = at + batchBytes(view, at)
  if (next + BATCH.headerBytes <= region.length) return segment.continues(end, readI64Rough(view, next))
  return position - at + next < segment.sizeBytes || end <= segment.endOffset
}

const lastRough = (view: DataView, at: number): number =>
  readI64Rough(view, at) + view.getInt32(at + BATCH.lastOffsetDeltaAt)

/** Without damage the first answer was right after all: records were compacted away. */
function searchWithCare(segment: SegmentReader, offset: number): number {
  const damages = segment.damages()
  for (const damage of damages) {
    if (damage.offset <= offset && offset < damage.nextOffset) throw segment.corrupt(damage)
  }
  return positionAround(segment.published(), damages, offset)
}
