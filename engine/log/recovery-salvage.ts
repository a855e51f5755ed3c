/**
 * Finding the way again behind damage in a segment. Pure functions over bytes; used for damage at rest only, where what follows
 * is to stay readable. A batch counts as found when everything about it holds, its CRC included, and its offsets continue the log.
 */
import { BATCH, BATCH_MAGIC, batchBytes, checkBatch, leaderEpochOf } from '../format/record-batch.ts'
import { type Region, readI64Rough } from '../format/region.ts'
import { RELATIVE_OFFSET_MAX, type ScanFaultReason, type SegmentScan } from './segment-scan.ts'

const ZEROS = Buffer.alloc(1 << 20)

/** What a batch that is found behind damage has to fit. */
export interface SalvageBounds {
  /** Lowest offset that it may begin at. */
  readonly minOffset: number
  /** Highest offset that it may begin at. */
  readonly maxOffset: number
  /** Base offset of the segment. */
  readonly baseOffset: number
  /** The log is known to go on to here; a batch that ends at or above it need not be continued. */
  readonly knownEnd: number
  /** No offset is missing, so up to the known end a sound batch right behind it must continue it exactly. */
  readonly gapless: boolean
}

/**
 * The next sound batch behind a bad one at `from`, -1 when there is none before `end`.
 * The bad batch's own length is tried first, so that batches inside its values are not taken for the log's. Cost else: one
 * search over the bytes, and a CRC for each place that looks like a batch with fitting offsets.
 */
export function findSoundBatch(region: Region, from: number, end: number, bounds: SalvageBounds): number {
  const lastStart = end - BATCH.headerBytes
  if (from > lastStart) return -1
  const declaredBytes = batchBytes(region.view, from)
  const declaredEnd = from + declaredBytes
  if (declaredBytes >= BATCH.headerBytes && declaredEnd <= lastStart && fits(region, declaredEnd, end, bounds)) {
    return declaredEnd
  }
  let magicAt = region.bytes.indexOf(BATCH_MAGIC, from + 1 + BATCH.magicAt)
  while (magicAt !== -1 && magicAt - BATCH.magicAt <= lastStart) {
    if (fits(region, magicAt - BATCH.magicAt, end, bounds)) return magicAt - BATCH.magicAt
    magicAt = region.bytes.indexOf(BATCH_MAGIC, magicAt + 1)
  }
  return -1
}

function fits(region: Region, at: number, end: number, bounds: SalvageBounds): boolean {
  const { minOffset, maxOffset, baseOffset, knownEnd, gapless } = bounds
  const first = readI64Rough(region.view, at)
  if (first < minOffset || first > maxOffset || first - baseOffset > RELATIVE_OFFSET_MAX) return false
  const last = first + region.view.getInt32(at + BATCH.lastOffsetDeltaAt)
  if (last - baseOffset > RELATIVE_OFFSET_MAX || checkBatch(region, at, end) !== undefined) return false
  // Its CRC does not cover its offset, but what follows would contradict a wrong one.
  const next = at + batchBytes(region.view, at)
  if (last + 1 >= knownEnd || checkBatch(region, next, end) !== undefined) return true
  const nextFirst = readI64Rough(region.view, next)
  return gapless ? nextFirst === last + 1 : nextFirst > last
}

/**
 * Base offset and leader epoch are not covered by the CRC. When a sound batch goes back behind the one before, one of the two
 * lies: the earlier one if it is the odd one out and the later fits in its place, unless what follows goes with the earlier.
 * @param at position of the later batch, where the scan stopped for `reason`
 */
export function earlierBatchLied(
  scan: SegmentScan,
  region: Region,
  at: number,
  end: number,
  reason: ScanFaultReason,
): boolean {
  if (reason !== 'order' && reason !== 'epoch') return false
  const { view } = region
  if (!scan.fitsInstead(readI64Rough(view, at), leaderEpochOf(view, at))) return false
  const next = at + batchBytes(view, at)
  if (checkBatch(region, next, end) !== undefined) return true
  return leaderEpochOf(view, next) < scan.lastEpoch || readI64Rough(view, next) < scan.nextOffset
}

/**
 * True when offsets jump because records are missing, as compaction leaves them, and not because the batch lies about its
 * offset: what follows lies behind it.
 * @param baseOffset of the segment
 * @param knownEnd without a batch behind it, the batch must end below this offset
 */
export function isTrueGap(region: Region, at: number, end: number, baseOffset: number, knownEnd: number): boolean {
  const { view } = region
  const last = readI64Rough(view, at) + view.getInt32(at + BATCH.lastOffsetDeltaAt)
  if (last - baseOffset > RELATIVE_OFFSET_MAX) return false
  const next = at + batchBytes(view, at)
  return checkBatch(region, next, end) === undefined ? readI64Rough(view, next) > last : last < knownEnd
}

/** Position behind the last byte of `[from, end)` that is not zero; `from` when all are. */
export function contentEnd({ bytes }: Region, from: number, end: number): number {
  let at = end
  while (at > from) {
    const start = Math.max(from, at - ZEROS.length)
    if (bytes.compare(ZEROS, 0, at - start, start, at) !== 0) break
    at = start
  }
  while (at > from && bytes[at - 1] === 0) at -= 1
  return at
}
