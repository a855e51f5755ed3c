/**
 * Builds the sparse indexes of one segment, `.index` and `.timeindex`, by walking the batch headers of its log. Owned by one
 * thread: the indexer's while the segment is live, a janitor's when recovery builds them anew.
 *
 * The rule is Kafka's: when more than `indexIntervalBytes` lie behind the last entry, the batch that comes next gets an
 * entry, and the largest timestamp so far one in the time index if it grew. Closing adds the largest timestamp of all.
 * So everything that decides about the next entry follows from the entries that are there and the log behind the last of
 * them, and a writer can go on where another one stopped, knowing no more than the counts.
 *
 * Entries are stored into mappings, completely before the counts that cover them are returned; whoever publishes the counts
 * makes them visible. The files are as long as an index may become (sparse) but only allocated a step ahead, because a store
 * into a hole on a full disk is a SIGBUS. They are mapped from the first new entry to `finish` or `release`, never lent.
 */
import { join } from 'node:path'
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { segmentFileName } from '../format/file-names.ts'
import { OFFSET_ENTRY, offsetEntryPosition, writeOffsetEntry } from '../format/offset-index.ts'
import { BATCH, batchBytes, lastOffsetOf, maxTimestampOf } from '../format/record-batch.ts'
import { Region } from '../format/region.ts'
import { TIME_ENTRY, timeEntryRelativeOffset, timeEntryTimestamp, writeTimeEntry } from '../format/time-index.ts'
import { SegmentIndexFile } from './segment-index-file.ts'

/** What of the index files counts, and how much of the log they cover. */
export interface IndexCounts {
  readonly offsetEntries: number
  readonly timeEntries: number
  /** Position in the log up to which batches were looked at. */
  readonly indexedPosition: number
}

export interface SegmentIndexOptions {
  readonly directory: string
  /** Of the segment. */
  readonly baseOffset: number
  /** `index.interval.bytes`: an entry is added when more than this lies behind the last one. */
  readonly indexIntervalBytes: number
  /** `segment.index.bytes`: most bytes of either file, rounded down to whole entries. */
  readonly indexBytesMax: number
  /** Builds beside the existing files and replaces them in `finish`; default false. */
  readonly replace?: boolean
}

/** Counts of a segment of which nothing is indexed. */
export const NO_INDEX: IndexCounts = { offsetEntries: 0, timeEntries: 0, indexedPosition: 0 }

export class SegmentIndexWriter {
  readonly baseOffset: number
  readonly #directory: string
  readonly #intervalBytes: number
  readonly #offsets: SegmentIndexFile
  readonly #times: SegmentIndexFile
  #indexedPosition = 0
  /** Bytes of the log between the last entry's batch, or the start, and the indexed position. */
  #bytesSinceEntry = 0
  /** The largest timestamp below the indexed position and the last offset of the first batch that has it. */
  #maxTimestamp = -1
  #maxTimestampOffset = -1
  #lastEntryTimestamp = -1
  #entryDue = false
  #finished = false

  /** Opens nothing: the first new entry does. Begins with empty indexes unless `resume` is called. */
  constructor(options: SegmentIndexOptions) {
    const { directory, baseOffset, indexIntervalBytes, indexBytesMax, replace = false } = options
    this.baseOffset = baseOffset
    this.#directory = directory
    this.#intervalBytes = indexIntervalBytes
    const path = (suffix: 'index' | 'timeindex'): string => join(directory, segmentFileName(baseOffset, suffix))
    this.#offsets = new SegmentIndexFile(path('index'), OFFSET_ENTRY.sizeBytes, indexBytesMax, replace)
    this.#times = new SegmentIndexFile(path('timeindex'), TIME_ENTRY.sizeBytes, indexBytesMax, replace)
  }

  get counts(): IndexCounts {
    return {
      offsetEntries: this.#offsets.count,
      timeEntries: this.#times.count,
      indexedPosition: this.#indexedPosition,
    }
  }

  /** No further entry fits: the segment should roll. Lookups stay right, they walk further. */
  get isFull(): boolean {
    // One time entry is kept free for the one that `finish` adds.
    return this.#offsets.count >= this.#offsets.entriesMax || this.#times.count >= this.#times.entriesMax - 1
  }

  /**
   * Goes on behind what an earlier writer left.
   * @param counts as that writer returned them
   * @param log the segment's bytes, at least up to the indexed position
   * @throws CORRUPT_INDEX when a file lacks entries that the counts say it has; then begin anew
   * Cost: two small reads and a walk over at most an index interval and a batch.
   */
  resume(counts: IndexCounts, log: Region): void {
    this.#offsets.count = counts.offsetEntries
    this.#times.count = counts.timeEntries
    let from = 0
    if (counts.offsetEntries > 0) from = offsetEntryPosition(this.#offsets.readLast().view, 0)
    invariant(from <= counts.indexedPosition, 'an index entry points into what is indexed')
    this.#takeLastTimeEntry()
    this.#indexedPosition = from
    this.#bytesSinceEntry = 0
    this.#walk(log, counts.indexedPosition, false)
  }

  /** The largest timestamp so far, as the last time entry has it. */
  #takeLastTimeEntry(): void {
    this.#maxTimestamp = -1
    this.#maxTimestampOffset = -1
    this.#lastEntryTimestamp = -1
    if (this.#times.count === 0) return
    const { view } = this.#times.readLast()
    this.#maxTimestamp = timeEntryTimestamp(view, 0)
    this.#maxTimestampOffset = this.baseOffset + timeEntryRelativeOffset(view, 0)
    this.#lastEntryTimestamp = this.#maxTimestamp
  }

  /**
   * Indexes the log up to `toPosition`, the end of a batch.
   * @param log the segment's bytes, at least up to `toPosition`
   * @returns the counts to publish
   * @throws DISK_FULL, IO_ERROR: entries are missing, and the next call tries again where this one stopped;
   *   CORRUPT_BATCH when the bytes are no batches
   */
  extend(log: Region, toPosition: number): IndexCounts {
    this.#walk(log, toPosition, true)
    return this.counts
  }

  #walk(log: Region, toPosition: number, addEntries: boolean): void {
    invariant(!this.#finished && toPosition <= log.length, 'an open index follows a log that is mapped')
    const { view } = log
    let at = this.#indexedPosition
    while (at < toPosition) {
      // The length is looked at only where a header fits, so nothing beyond the published end is touched.
      const bytes = toPosition - at < BATCH.headerBytes ? 0 : batchBytes(view, at)
      if (bytes < BATCH.headerBytes || bytes > toPosition - at) throw this.#corrupt(at)
      const lastOffset = lastOffsetOf(view, at)
      const timestamp = maxTimestampOf(view, at)
      if (timestamp > this.#maxTimestamp) {
        this.#maxTimestamp = timestamp
        this.#maxTimestampOffset = lastOffset
      }
      if (addEntries && (this.#bytesSinceEntry > this.#intervalBytes || this.#entryDue)) this.#addEntry(lastOffset, at)
      this.#bytesSinceEntry += bytes
      at += bytes
      this.#indexedPosition = at
    }
  }

  #addEntry(lastOffset: number, position: number): void {
    if (this.isFull) return
    // Both before either: a full disk must not leave one file ahead of the other.
    const offsets = this.#offsets.roomForOne()
    const times = this.#times.roomForOne()
    writeOffsetEntry(offsets.view, this.#offsets.count, lastOffset - this.baseOffset, position)
    this.#offsets.count += 1
    this.#addTimeEntry(times)
    this.#bytesSinceEntry = 0
    this.#entryDue = false
  }

  #addTimeEntry(times: Region): void {
    if (this.#maxTimestamp <= this.#lastEntryTimestamp) return
    writeTimeEntry(times.view, this.#times.count, this.#maxTimestamp, this.#maxTimestampOffset - this.baseOffset)
    this.#times.count += 1
    this.#lastEntryTimestamp = this.#maxTimestamp
  }

  /**
   * Leaves out a damaged stretch that ends at `position`, where a sound batch begins. That batch gets an entry, so that a lookup
   * behind the damage does not have to walk through it.
   */
  skipTo(position: number): void {
    invariant(position >= this.#indexedPosition, 'an index is built forwards')
    this.#bytesSinceEntry += position - this.#indexedPosition
    this.#indexedPosition = position
    this.#entryDue = true
  }

  /**
   * Forgets what the log lost when it was truncated. Publish the counts before anyone may rely on them.
   * @param position new end of the log in this segment
   * @param endOffset offset behind the last record that is left
   * @param log the segment's bytes, at least up to `position`
   */
  truncateTo(position: number, endOffset: number, log: Region): IndexCounts {
    const indexedPosition = Math.min(position, this.#indexedPosition)
    let offsetEntries = this.#offsets.count
    let timeEntries = this.#times.count
    const offsets = this.#offsets.read()
    const times = this.#times.read()
    while (offsetEntries > 0 && offsetEntryPosition(offsets.view, offsetEntries - 1) >= position) offsetEntries -= 1
    const relativeEnd = endOffset - this.baseOffset
    while (timeEntries > 0 && timeEntryRelativeOffset(times.view, timeEntries - 1) >= relativeEnd) timeEntries -= 1
    this.#entryDue = false
    this.resume({ offsetEntries, timeEntries, indexedPosition }, log)
    return this.counts
  }

  /**
   * The segment is closed: adds the largest timestamp, cuts both files to their entries, makes them durable and unmaps them.
   * @param sync false leaves it to the caller to make them durable
   * @returns the final counts
   * @throws DISK_FULL, IO_ERROR; it may be called again
   */
  finish(sync = true): IndexCounts {
    if (this.#maxTimestamp > this.#lastEntryTimestamp) this.#addLastTimeEntry()
    // The time index first: recovery can tell that an offset index is incomplete, and so that both may be, from the log alone.
    this.#times.seal(sync)
    this.#offsets.seal(sync)
    this.#finished = true
    return this.counts
  }

  #addLastTimeEntry(): void {
    const entry = Region.of(Buffer.alloc(TIME_ENTRY.sizeBytes))
    writeTimeEntry(entry.view, 0, this.#maxTimestamp, this.#maxTimestampOffset - this.baseOffset)
    this.#times.addLast(entry.bytes)
    this.#lastEntryTimestamp = this.#maxTimestamp
  }

  /** Unmaps without cutting, for a writer that goes on later or not at all. The next entry maps the files again. */
  release(): void {
    this.#offsets.release()
    this.#times.release()
  }

  #corrupt(position: number): MillraceError {
    const path = join(this.#directory, segmentFileName(this.baseOffset, 'log'))
    return new MillraceError('CORRUPT_BATCH', { path, position, reason: 'length' })
  }
}
