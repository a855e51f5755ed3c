/**
 * Walks the record batches of a segment's bytes and checks that they continue each other. A pure reader over memory that
 * the caller holds; any thread. It is how recovery and repair find where the good part of a segment ends.
 *
 * Checked for each batch: what `checkBatch` checks (length, magic, fields, and the CRC if asked for), that offsets go on where
 * the batch before ended, that the last offset still fits the four bytes that an index entry has for it, and that leader
 * epochs never decrease. A length field of zero is the end of the log whatever lies behind it: every truncation
 * zeroes what it cuts, so what follows zeros was never acknowledged.
 *
 * Nothing is allocated per batch, except by the checksum; a change of leader epoch costs one entry.
 */
import type { EpochEntry } from '../format/leader-epoch-checkpoint.ts'
import { BATCH, type BatchFault, batchBytes, checkBatch, leaderEpochOf } from '../format/record-batch.ts'
import { type Region, readI64Rough } from '../format/region.ts'

/** Index entries have four bytes for an offset relative to the segment's base offset. */
export const RELATIVE_OFFSET_MAX = 0xffff_ffff

/**
 * Why a batch does not continue the log. `order`: its offset is below the end of the batch before. `gap`: it is above.
 * `range`: its last offset does not fit an index entry. `epoch`: its leader epoch is lower than the one before.
 */
export type ScanFaultReason = Exclude<BatchFault, 'zero'> | 'order' | 'gap' | 'range' | 'epoch'

export interface ScanFault {
  /** Position of the batch that does not continue the log. */
  readonly position: number
  readonly reason: ScanFaultReason
}

export interface ScanOptions {
  /** Base offset of the segment. No batch may begin below it. */
  readonly baseOffset: number
  /** Lowest offset that the first batch may have; default: `baseOffset`. */
  readonly nextOffset?: number
  /** Leader epoch of the batch before the first, default -1: any will do. */
  readonly leaderEpoch?: number
  /** Default true. Without it only headers are read, and damage inside a batch is not seen. */
  readonly checkCrc?: boolean
  /** A gap between offsets is a fault; default false, because compaction leaves gaps. */
  readonly gapless?: boolean
  /** The scan ends in front of the batch that reaches this offset; default: none does. */
  readonly untilOffset?: number
  /** Called for each good batch. */
  readonly visit?: (position: number, bytes: number) => void
}

/** What a walk has found so far. It can go on behind a fault with `skipTo`. */
export class SegmentScan {
  /** Position behind the last good batch; of the fault, if there is one. */
  end: number
  /** Offset behind the last good batch. */
  nextOffset: number
  /** Milliseconds, -1 when no batch has a timestamp. */
  maxTimestamp = -1
  /** Last offset of the first batch that has the largest timestamp, -1 when there is none. */
  maxTimestampOffset = -1
  /** Base timestamp of the first batch, from which `segment.ms` counts; -1 when there is none. */
  firstTimestamp = -1
  /** Leader epoch of the last good batch. */
  lastEpoch: number
  /** Where leader epochs begin, as far as this walk saw: that of its first batch, then each larger one. */
  readonly epochs: EpochEntry[] = []
  batches = 0
  fault: ScanFault | undefined
  readonly #options: ScanOptions
  // The state in front of the last good batch, for when the next batch shows that it was the one that lied.
  #previousEnd: number
  #previousOffset: number
  #previousFirst: number
  #previousEpoch: number
  #previousMaxTimestamp = -1
  #previousMaxTimestampOffset = -1

  constructor(from: number, options: ScanOptions) {
    this.#options = options
    this.end = from
    this.nextOffset = options.nextOffset ?? options.baseOffset
    this.lastEpoch = options.leaderEpoch ?? -1
    this.#previousEnd = this.end
    this.#previousOffset = this.nextOffset
    this.#previousFirst = this.nextOffset
    this.#previousEpoch = this.lastEpoch
  }

  /** Walks on until `end`, the end of the log, or a fault, which is then set. Reads nothing at or beyond `end`. */
  run(region: Region, end: number): this {
    const { view } = region
    const { baseOffset, checkCrc = true, gapless = false, untilOffset = Infinity, visit } = this.#options
    const offsetMax = baseOffset + RELATIVE_OFFSET_MAX
    let at = this.end
    let reason: BatchFault | ScanFaultReason | undefined
    while (at < end) {
      reason = checkBatch(region, at, end, checkCrc)
      if (reason !== undefined) break
      const first = readI64Rough(view, at) // not above 2^53: checked just now
      const last = first + view.getInt32(at + BATCH.lastOffsetDeltaAt)
      const epoch = leaderEpochOf(view, at)
      if (first < this.nextOffset) reason = 'order'
      else if (gapless && first > this.nextOffset) reason = 'gap'
      else if (last > offsetMax) reason = 'range'
      else if (epoch < this.lastEpoch) reason = 'epoch'
      if (reason !== undefined || last >= untilOffset) break
      const bytes = batchBytes(view, at)
      this.#take(region, at, first, last, epoch)
      visit?.(at, bytes)
      at += bytes
      this.end = at
    }
    if (reason === 'zero' || (reason === 'short' && isZero(region, at, end))) reason = undefined
    this.fault = reason === undefined ? undefined : { position: at, reason: reason as ScanFaultReason }
    return this
  }

  #take({ view }: Region, at: number, first: number, last: number, epoch: number): void {
    this.#previousMaxTimestamp = this.maxTimestamp
    this.#previousMaxTimestampOffset = this.maxTimestampOffset
    const maxTimestamp = readI64Rough(view, at + BATCH.maxTimestampAt)
    if (maxTimestamp > this.maxTimestamp) {
      this.maxTimestamp = maxTimestamp
      this.maxTimestampOffset = last
    }
    if (this.batches === 0) this.firstTimestamp = readI64Rough(view, at + BATCH.baseTimestampAt)
    this.#previousEnd = at
    this.#previousOffset = this.nextOffset
    this.#previousFirst = first
    this.#previousEpoch = this.lastEpoch
    if (epoch > this.lastEpoch || (this.batches === 0 && epoch >= 0)) {
      this.epochs.push({ epoch, startOffset: first })
      this.lastEpoch = epoch
    }
    this.nextOffset = last + 1
    this.batches += 1
  }

  /**
   * Goes on behind a fault, at a batch that was found to be sound: `run` continues there.
   * @param offset its base offset, not below `nextOffset`
   * @param leaderEpoch its leader epoch; if the last one was higher, that one was the damage
   */
  skipTo(position: number, offset: number, leaderEpoch: number): void {
    this.end = position
    this.nextOffset = offset
    this.#forgetEpochsAbove(leaderEpoch)
    this.#previousEnd = position
    this.#previousOffset = this.nextOffset
    this.#previousEpoch = this.lastEpoch
    this.fault = undefined
  }

  /** Offset that the last good batch should have begun at, had there been no gap in front of it. */
  get previousOffset(): number {
    return this.#previousOffset
  }

  /**
   * True when a batch with these numbers would continue the log if the last good batch were not there, and that one is the odd
   * one out: it jumped to its offset, or it raised the leader epoch.
   */
  fitsInstead(offset: number, epoch: number): boolean {
    if (this.end === this.#previousEnd) return false
    const isOdd =
      offset < this.nextOffset ? this.#previousFirst > this.#previousOffset : this.lastEpoch > this.#previousEpoch
    return isOdd && offset >= this.#previousOffset && epoch >= this.#previousEpoch
  }

  /** Takes the last good batch back: offset and leader epoch, which its CRC does not cover, are not what was written. */
  takeLastBack(): void {
    this.end = this.#previousEnd
    this.nextOffset = this.#previousOffset
    this.#forgetEpochsAbove(this.#previousEpoch)
    this.maxTimestamp = this.#previousMaxTimestamp
    this.maxTimestampOffset = this.#previousMaxTimestampOffset
    this.batches -= 1
    if (this.batches === 0) this.firstTimestamp = -1
    this.fault = undefined
  }

  /** @param leaderEpoch as it stands in a batch: damaged, it may be any number, below -1 too */
  #forgetEpochsAbove(leaderEpoch: number): void {
    this.lastEpoch = Math.min(this.lastEpoch, leaderEpoch)
    let kept = this.epochs.length
    while (kept > 0 && (this.epochs[kept - 1] as EpochEntry).epoch > this.lastEpoch) kept -= 1
    this.epochs.length = kept
  }
}

/**
 * Walks the batches of `[from, end)`.
 * @param region bytes of a `.log` file; positions are positions in the file
 * @param from position of a batch
 * Never throws and reads nothing at or beyond `end`. Cost: one CRC over the bytes, or one cache line a batch without.
 */
export function scanSegment(region: Region, from: number, end: number, options: ScanOptions): SegmentScan {
  return new SegmentScan(from, options).run(region, end)
}

/** True when fewer bytes than a batch needs are left and all are zero: the end of the log as well. */
function isZero({ bytes }: Region, from: number, end: number): boolean {
  if (end - from >= BATCH.overheadBytes) return false
  for (let at = from; at < end; at++) if (bytes[at] !== 0) return false
  return true
}
