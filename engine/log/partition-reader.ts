/**
 * Reads one partition's log from any thread, without a lock and without a copy: finds segments through the control block
 * and the segment table, batches through the sparse indexes, and hands out views of the mapped files.
 *
 * The list of segments is kept until the partition's generation moves. When a segment is removed while it is being
 * looked up (its file is gone, its entry belongs to another) the generation has moved as well, so the look-up is tried
 * again on the new list; what was handed out before stays readable.
 */
import { type ErrorCode, isMillraceError, MillraceError } from '../base/errors.ts'
import { RecordCursor } from '../format/record.ts'
import {
  BATCH,
  baseOffsetOf,
  batchBytes,
  isControlBatch,
  lastOffsetOf,
  maxTimestampOf,
} from '../format/record-batch.ts'
import { Region, readI64Rough } from '../format/region.ts'
import { ERROR_CODES } from '../memory/append-channel.ts'
import { type ControlBlock, SLOT, STATE } from '../memory/control-block.ts'
import { SEGMENT, type SegmentTable } from '../memory/segment-table.ts'
import { SegmentReader } from './segment-reader.ts'
import { positionOf } from './segment-search.ts'

/** Where a partition is, for threads that read it. */
export interface PartitionLocation {
  readonly topic: string
  readonly partition: number
  readonly directory: string
  readonly slot: number
  readonly slotGeneration: number
}

/** Whole batches: bytes `[from, to)` of `region`, of which `from` is at `position` in the segment's file. */
export interface FetchedBatches {
  readonly region: Region
  readonly from: number
  readonly to: number
  /** Offset behind the last batch: what to fetch next. */
  readonly nextOffset: number
}

/** Where a sequential reader left off; spares it the search. Owned by the caller, changed by `fetch`. */
export interface ReadHint {
  generation: number
  offset: number
  segment: SegmentReader | undefined
  position: number
}

export function newReadHint(): ReadHint {
  return { generation: -1, offset: -1, segment: undefined, position: 0 }
}

/** Tries before a look-up that keeps meeting changes gives up: each takes a roll or a removal in the same microseconds. */
const ATTEMPTS = 100

const EMPTY = new Region(new ArrayBuffer(0))

export class PartitionReader {
  readonly location: PartitionLocation
  readonly #control: ControlBlock
  readonly #table: SegmentTable
  readonly #checkCrc: boolean
  #segments: SegmentReader[] = []
  #generation = -1
  #leaderEpoch = -1
  #swaps = 0
  readonly #cursor = new RecordCursor()

  constructor(location: PartitionLocation, control: ControlBlock, table: SegmentTable, checkCrc = true) {
    this.location = location
    this.#control = control
    this.#table = table
    this.#checkCrc = checkCrc
  }

  get logStartOffset(): number {
    return this.#get(SLOT.logStartOffset)
  }

  get logEndOffset(): number {
    return this.#get(SLOT.logEndOffset)
  }

  get highWatermark(): number {
    return this.#get(SLOT.highWatermark)
  }

  /** The current one, with which the next record is appended. */
  get leaderEpoch(): number {
    return this.#get(SLOT.leaderEpoch)
  }

  #get(word: number): number {
    this.#demandOnline()
    return this.#control.get(this.location.slot, word)
  }

  #demandOnline(): void {
    const { slot, slotGeneration, topic, partition } = this.location
    if (this.#control.get(slot, SLOT.slotGeneration) !== slotGeneration) {
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
    }
  }

  /**
   * Reads whole batches below the high watermark, beginning with the one that holds `offset`.
   * @param maxBytes soft limit; one batch is returned even if it is larger
   * @returns nothing, an empty stretch, where all up to the high watermark was compacted away; undefined at the high watermark,
   *   and while the partition is being repaired or its owner goes: ask again later
   * @throws OFFSET_OUT_OF_RANGE, CORRUPT_BATCH
   * Cost: with a fitting hint a few header reads per batch; else one binary search and at most one index interval more.
   */
  fetch(
    offset: number,
    maxBytes: number,
    hint: ReadHint,
    highWatermark = this.highWatermark,
  ): FetchedBatches | undefined {
    return this.#retrying(() => {
      this.demandInRange(offset, highWatermark)
      if (offset >= highWatermark) return undefined
      this.#refresh()
      if (this.#segments.length === 0) return this.#absent()
      const continues = hint.offset === offset && hint.generation === this.#generation && hint.segment !== undefined
      let segment = continues ? (hint.segment as SegmentReader) : this.#segmentOf(offset)
      let position = continues ? hint.position : positionOf(segment, offset)
      let expectedOffset = continues ? offset : -1
      if (position >= segment.sizeBytes) {
        const next = this.#behindSegment(segment)
        if (next === undefined || next.sizeBytes === 0) return this.#nothingUpTo(offset, highWatermark)
        segment = next
        position = 0
        expectedOffset = segment.baseOffset
      }
      return this.#collect(segment, position, maxBytes, highWatermark, hint, expectedOffset)
    })
  }

  /** Whatever there was up to the high watermark was compacted away. */
  #nothingUpTo(offset: number, highWatermark: number): FetchedBatches | undefined {
    const cleaned = this.#control.get(this.location.slot, SLOT.cleanedOffset)
    return offset < highWatermark && highWatermark <= cleaned
      ? { region: EMPTY, from: 0, to: 0, nextOffset: highWatermark }
      : undefined
  }

  #collect(
    segment: SegmentReader,
    position: number,
    maxBytes: number,
    highWatermark: number,
    hint: ReadHint,
    expectedOffset: number,
  ): FetchedBatches | undefined {
    const { region, at: from } = segment.batchAt(position)
    const { view } = region
    const filePosition = position - from
    let to = from
    // Offsets are not covered by a checksum: each batch has to go on where the one before ended, but for compacted records.
    let nextOffset = expectedOffset === -1 ? baseOffsetOf(view, from) : expectedOffset
    while (to + BATCH.headerBytes <= region.length) {
      const bytes = batchBytes(view, to)
      if (bytes < BATCH.headerBytes || to + bytes > region.length || (to > from && to + bytes - from > maxBytes)) break
      if (!segment.continues(nextOffset, readI64Rough(view, to))) {
        if (to > from && segment.isDamaged(filePosition + to)) break // the next fetch begins there and reports it
        segment.demandReadable(filePosition + to)
      }
      if (baseOffsetOf(view, to) >= highWatermark) break
      if (to > from && !segment.sound(region, to, filePosition + to)) break
      nextOffset = lastOffsetOf(view, to) + 1
      to += bytes
    }
    // A batch at or behind the high watermark: whatever there was below it was compacted away.
    if (to === from) return { region, from, to, nextOffset: highWatermark }
    hint.generation = this.#generation
    hint.offset = nextOffset
    hint.segment = segment
    hint.position = filePosition + to
    return { region, from, to, nextOffset }
  }

  /**
   * The record at `offset`, or the first one behind it where it was compacted away or is a transaction marker, under this reader's cursor:
   * valid until its next look-up.
   * @returns undefined at the high watermark
   * @throws OFFSET_OUT_OF_RANGE below the log start or above the log end, CORRUPT_BATCH
   * Cost: two binary searches, then at most one index interval of batches and one batch of records.
   */
  seekOffset(offset: number): RecordCursor | undefined {
    return this.#retrying(() => {
      const highWatermark = this.highWatermark
      this.demandInRange(offset, highWatermark)
      if (offset >= highWatermark) return undefined
      this.#refresh()
      let segment: SegmentReader | undefined = this.#segmentOf(offset)
      let position = positionOf(segment, offset)
      while (segment !== undefined) {
        if (position >= segment.sizeBytes) {
          segment = this.#behindSegment(segment)
          position = 0
          continue
        }
        const { region, at } = segment.batchAt(position)
        if (baseOffsetOf(region.view, at) >= highWatermark) return undefined
        this.#cursor.reset(region, at)
        if (!isControlBatch(region.view, at) && this.#cursor.seekOffset(offset)) return this.#cursor
        position = this.#behind(segment, region, at, position) // a marker, or its last records were compacted away
      }
      return undefined
    })
  }

  #behindSegment(segment: SegmentReader): SegmentReader | undefined {
    return this.#segments[this.#segments.indexOf(segment) + 1]
  }

  /**
   * The first record with a timestamp at or after the given one, also where timestamps are out of order, under this
   * reader's cursor: valid until its next look-up.
   * @returns undefined when there is none below the high watermark
   */
  seekTime(timestamp: number): RecordCursor | undefined {
    return this.#retrying(() => {
      const highWatermark = this.highWatermark
      const logStartOffset = this.logStartOffset
      this.#refresh()
      this.#demandSegments(logStartOffset, highWatermark)
      for (const segment of this.#segments) {
        if (segment.maxTimestamp < timestamp || segment.sizeBytes === 0) continue
        const from = Math.max(segment.floorOffsetByTime(timestamp), logStartOffset)
        const found = this.#scanForTime(segment, from, timestamp, highWatermark)
        if (found !== undefined) return found < highWatermark ? this.#cursor : undefined
      }
      return undefined
    })
  }

  #scanForTime(segment: SegmentReader, from: number, timestamp: number, highWatermark: number): number | undefined {
    const cursor = this.#cursor
    for (let position = positionOf(segment, from); position < segment.sizeBytes; ) {
      const { region, at } = segment.batchAt(position)
      if (baseOffsetOf(region.view, at) >= highWatermark) return highWatermark
      if (maxTimestampOf(region.view, at) >= timestamp && !isControlBatch(region.view, at)) {
        cursor.reset(region, at)
        while (cursor.seekTimestamp(timestamp)) {
          if (cursor.offset >= from) return cursor.offset
          if (!cursor.next()) break // it stays on a record that matches, also on one below the log start
        }
      }
      position = this.#behind(segment, region, at, position)
    }
    return undefined
  }

  /** Position behind a batch, once it is known that the next one continues it. @throws CORRUPT_BATCH */
  #behind(segment: SegmentReader, { view, length }: Region, at: number, position: number): number {
    const next = at + batchBytes(view, at)
    const behind = position + next - at
    const isContinued =
      next + BATCH.headerBytes > length || segment.continues(lastOffsetOf(view, at) + 1, readI64Rough(view, next))
    if (!isContinued) {
      segment.demandReadable(position)
      segment.demandReadable(behind)
    }
    return behind
  }

  /** The first record with the largest timestamp below the high watermark; undefined in an empty log. */
  maxTimestamp(): { offset: number; timestamp: number } | undefined {
    return this.#retrying(() => {
      const highWatermark = this.highWatermark
      const logStartOffset = this.logStartOffset
      this.#refresh()
      this.#demandSegments(logStartOffset, highWatermark)
      const bySize = this.#segments.filter(segment => segment.sizeBytes > 0)
      bySize.sort((a, b) => b.maxTimestamp - a.maxTimestamp || a.baseOffset - b.baseOffset)
      let best: { offset: number; timestamp: number } | undefined
      for (const segment of bySize) {
        if (best !== undefined && segment.maxTimestamp <= best.timestamp) break
        const found = this.#maxTimestampIn(segment, logStartOffset, highWatermark)
        if (found !== undefined && (best === undefined || found.timestamp > best.timestamp)) best = found
      }
      return best
    })
  }

  #maxTimestampIn(segment: SegmentReader, from: number, to: number): { offset: number; timestamp: number } | undefined {
    let best: { offset: number; timestamp: number } | undefined
    const cursor = this.#cursor
    // With the whole segment in range only the batch that is known to hold the largest needs a look.
    const hinted = segment.maxTimestampOffset
    const known = hinted >= from && hinted < to && segment.baseOffset >= from
    for (let position = known ? positionOf(segment, hinted) : 0; position < segment.sizeBytes; ) {
      const { region, at } = segment.batchAt(position)
      if (baseOffsetOf(region.view, at) >= to) break
      if (maxTimestampOf(region.view, at) > (best?.timestamp ?? -2)) {
        cursor.reset(region, at)
        while (cursor.next()) {
          if (cursor.offset < from || cursor.offset >= to) continue
          if (best === undefined || cursor.timestamp > best.timestamp)
            best = { offset: cursor.offset, timestamp: cursor.timestamp }
        }
      }
      if (known && best !== undefined) break
      position = this.#behind(segment, region, at, position)
    }
    return best
  }

  /** Segments, their bytes and their index entries, as they are now. */
  describe(): { segments: number; sizeBytes: number; indexEntries: number; leaderEpoch: number } {
    return this.#retrying(() => {
      this.#refresh()
      let sizeBytes = 0
      let indexEntries = 0
      for (const segment of this.#segments) {
        sizeBytes += segment.sizeBytes
        indexEntries += segment.offsetEntries + segment.timeEntries
      }
      return { segments: this.#segments.length, sizeBytes, indexEntries, leaderEpoch: this.#get(SLOT.leaderEpoch) }
    })
  }

  /** Why the partition stopped, undefined while it runs. */
  failure(): ErrorCode | undefined {
    if (this.#control.get(this.location.slot, SLOT.state) !== STATE.failed) return undefined
    return ERROR_CODES[this.#control.get(this.location.slot, SLOT.failure) - 1]
  }

  /** Gives the mappings back; views that were handed out stay valid. The next look-up maps anew. */
  unmap(): void {
    for (const segment of this.#segments) segment.release()
  }

  #forget(): void {
    this.unmap()
    this.#segments = []
  }

  // ── segments ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws OFFSET_OUT_OF_RANGE */
  demandInRange(offset: number, highWatermark = this.highWatermark): void {
    const logStartOffset = this.logStartOffset
    const logEndOffset = this.logEndOffset
    if (offset >= logStartOffset && offset <= logEndOffset && Number.isInteger(offset)) return
    const { topic, partition } = this.location
    throw new MillraceError('OFFSET_OUT_OF_RANGE', { topic, partition, offset, logStartOffset, highWatermark })
  }

  /** Where the log goes on behind a segment. */
  #endOffsetOf(baseOffset: number): number {
    return this.#segments.find(segment => segment.baseOffset > baseOffset)?.baseOffset ?? this.logEndOffset
  }

  /** The newest segment whose base offset is at or below `offset`. */
  #segmentOf(offset: number): SegmentReader {
    let low = 0
    let high = this.#segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((this.#segments[middle] as SegmentReader).baseOffset <= offset) low = middle
      else high = middle - 1
    }
    const segment = this.#segments[low]
    if (segment === undefined) throw new Moved()
    return segment
  }

  /** A log with records has segments, unless it is being repaired or its owner goes. */
  #demandSegments(logStartOffset: number, highWatermark: number): void {
    if (this.#segments.length === 0 && highWatermark > logStartOffset) throw new Moved()
  }

  #refresh(): void {
    const { slot } = this.location
    if (this.#control.get(slot, SLOT.generation) === this.#generation) return
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const snapshot = this.#control.snapshot(slot)
      if (snapshot === undefined) continue
      const listed = this.#list(snapshot.headSegment, snapshot.segmentCount)
      const swaps = this.#control.get(slot, SLOT.swaps)
      if (this.#control.get(slot, SLOT.generation) !== snapshot.generation) continue
      this.#dropSwapped(swaps)
      this.#replace(listed)
      this.#generation = snapshot.generation
      return
    }
    throw new Moved()
  }

  #list(head: number, count: number): { entry: number; baseOffset: number }[] {
    const listed: { entry: number; baseOffset: number }[] = []
    for (let entry = head; entry >= 0 && listed.length < count; entry = this.#table.get(entry, SEGMENT.nextSegment)) {
      listed.push({ entry, baseOffset: this.#table.get(entry, SEGMENT.baseOffset) })
    }
    return listed
  }

  /**
   * A swap takes another entry than the segments have that it replaces. The next swap may take theirs again: then the same entry and
   * base offset are those of another file.
   */
  #dropSwapped(swaps: number): void {
    const missed = swaps - this.#swaps
    this.#swaps = swaps
    if (missed < 2) return
    const cleanedOffset = this.#control.get(this.location.slot, SLOT.cleanedOffset)
    const isSwapped = ({ baseOffset }: SegmentReader): boolean => baseOffset < cleanedOffset
    for (const segment of this.#segments.filter(isSwapped)) segment.release()
    this.#segments = this.#segments.filter(segment => !isSwapped(segment))
  }

  #replace(listed: readonly { entry: number; baseOffset: number }[]): void {
    // A partition that was recovered or repaired has a new epoch, and perhaps new files under the old names.
    const leaderEpoch = this.#control.get(this.location.slot, SLOT.leaderEpoch)
    if (leaderEpoch !== this.#leaderEpoch) this.#forget()
    this.#leaderEpoch = leaderEpoch
    const before = new Map(this.#segments.map(segment => [segment.baseOffset, segment]))
    this.#segments = listed.map(({ entry, baseOffset }) => {
      const kept = before.get(baseOffset)
      if (kept?.entry === entry) {
        before.delete(baseOffset)
        return kept
      }
      const endOffset = (): number => this.#endOffsetOf(baseOffset)
      const hasGaps = baseOffset < this.#control.get(this.location.slot, SLOT.cleanedOffset)
      return new SegmentReader(
        this.location.directory,
        baseOffset,
        entry,
        this.#table,
        this.#checkCrc,
        endOffset,
        hasGaps,
      )
    })
    for (const segment of before.values()) segment.release()
  }

  /**
   * Runs a look-up again when the partition changed under it. Also one that found something: the entry of a segment that was
   * removed meanwhile may describe another segment by now, so that records seem to be missing.
   */
  #retrying<T>(lookUp: () => T): T {
    for (let attempt = 0; ; attempt++) {
      const generation = this.#control.get(this.location.slot, SLOT.generation)
      try {
        const found = lookUp()
        if (attempt >= ATTEMPTS || this.#control.get(this.location.slot, SLOT.generation) === generation) return found
      } catch (error) {
        this.#demandOnline()
        const changed =
          this.#control.get(this.location.slot, SLOT.generation) !== generation || this.#generation !== generation
        if (attempt < ATTEMPTS && (error instanceof Moved || (changed && isMillraceError(error)))) continue
        if (error instanceof Moved) throw this.#unavailable()
        throw error
      }
    }
  }

  /** What there is to read of a partition without segments: it comes back, unless it could not be brought up. */
  #absent(): undefined {
    if (this.failure() !== undefined) throw this.#unavailable()
  }

  #unavailable(): MillraceError {
    const { topic, partition } = this.location
    const failure = this.failure()
    if (failure !== undefined) return new MillraceError(failure, { topic, partition })
    return new MillraceError('TIMED_OUT', { topic, partition, reason: 'the partition is being recovered' })
  }
}

/** The segments moved while they were looked at. */
class Moved extends Error {}
