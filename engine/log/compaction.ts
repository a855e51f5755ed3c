/**
 * Compaction of one partition: of each key only the latest record stays. A synchronous function, run in a job beside the writer;
 * it only reads closed segments, and what it writes takes their place through `segment-swap.ts`.
 *
 * First the dirty part of the log is walked and the latest offset of each key noted, as far as the memory that it is given goes;
 * what does not fit is left to another run. Then every segment up to there is rewritten without the records that a later one
 * replaces. Offsets never move. A tombstone stays until `delete.retention.ms` after the first compaction that met it. Small
 * neighbours become one segment. Records of aborted transactions go. Control batches stay as they are, and so does the header of a producer's last batch,
 * which says what sequence it has come to.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MillraceError } from '../base/errors.ts'
import { MIB } from '../base/limits.ts'
import { BatchFilter } from '../format/batch-filter.ts'
import { segmentFileName } from '../format/file-names.ts'
import { OFFSET_ENTRY } from '../format/offset-index.ts'
import { RecordCursor } from '../format/record.ts'
import {
  baseOffsetOf,
  baseTimestampOf,
  batchBytes,
  checkBatch,
  hasDeleteHorizon,
  isControlBatch,
  lastOffsetOf,
  maxTimestampOf,
  producerIdOf,
} from '../format/record-batch.ts'
import { GROUP_RECORDS, RecordGroup } from '../format/record-group.ts'
import type { Region } from '../format/region.ts'
import { TIME_ENTRY } from '../format/time-index.ts'
import { Mapping } from '../memory/mapping.ts'
import { AbortedTransactions } from './aborted-transactions.ts'
import type { PlannedSegment } from './compaction-plan.ts'
import { KeyMap } from './key-map.ts'
import type { SegmentInfo } from './recovery-types.ts'
import { SegmentIndexWriter } from './segment-index.ts'
import { RELATIVE_OFFSET_MAX, scanSegment } from './segment-scan.ts'
import { openCleaningFolder, type SegmentGroup, stageSwap } from './segment-swap.ts'

export interface CompactionRequest {
  readonly directory: string
  /** What may be rewritten, from the first segment of the log on. */
  readonly segments: readonly PlannedSegment[]
  /** Everything below was compacted before. */
  readonly firstDirtyOffset: number
  readonly segmentBytes: number
  readonly indexIntervalBytes: number
  readonly indexBytesMax: number
  /** Tombstones stay this long. */
  readonly deleteRetentionMs: number
  /** Memory for keys and their offsets. */
  readonly bufferBytes: number
  readonly nowMs: number
  /** Not 0 in its first word: stop. */
  readonly abort: SharedArrayBuffer
}

/** A group as the writer swaps it. */
export interface SwapOrder extends SegmentGroup {
  /** Bytes of the replaced segments, which must still be what was read. */
  readonly replacedBytes: readonly number[]
  readonly segment: SegmentInfo | undefined
}

export interface CompactionResult {
  readonly swaps: readonly SwapOrder[]
  /** Everything below it is compacted now. */
  readonly cleanedOffset: number
  readonly readBytes: number
  readonly writtenBytes: number
  readonly removedRecords: number
}

/** Producers that wrote nothing for this long are forgotten, as Kafka's `producer.id.expiration.ms` has it. */
const PRODUCER_EXPIRY_MS = 24 * 3_600_000
const OUTPUT_BYTES = MIB

/** @throws CORRUPT_BATCH, CORRUPT_RECORD, DISK_FULL, IO_ERROR, CLOSED when it was aborted; the log is as it was then */
export function compactPartition(request: CompactionRequest): CompactionResult {
  return new Compaction(request).run()
}

/** The first half of it alone: notes the latest offset of each key. Returns how many there are. For measurements. */
export function countKeys(request: CompactionRequest): number {
  const compaction = new Compaction(request)
  compaction.noteKeys()
  return compaction.keys
}

class Compaction {
  readonly #request: CompactionRequest
  readonly #abort: Int32Array
  readonly #map: KeyMap
  /** Offset of the last batch of each producer that is still known. */
  readonly #producers = new Map<number, number>()
  readonly #group = new RecordGroup()
  readonly #latest = new Float64Array(GROUP_RECORDS)
  readonly #filter = new BatchFilter()
  /** Their records count for nothing. */
  readonly #aborted: AbortedTransactions | undefined
  readonly #swaps: SwapOrder[] = []
  #readBytes = 0
  #writtenBytes = 0
  #removedRecords = 0

  constructor(request: CompactionRequest) {
    this.#request = request
    this.#abort = new Int32Array(request.abort)
    this.#aborted = AbortedTransactions.read(request.directory)
    this.#map = new KeyMap(request.bufferBytes, Math.floor(Math.random() * 2 ** 31))
  }

  run(): CompactionResult {
    const { directory, segments } = this.#request
    const cleanedOffset = this.noteKeys()
    const cleaned = segments.filter(({ baseOffset }) => baseOffset < cleanedOffset)
    if (cleaned.length > 0) {
      const folder = openCleaningFolder(directory)
      for (const group of groupsOf(cleaned, this.#request)) this.#rewrite(folder, group)
      stageSwap(directory, this.#swaps)
    }
    return {
      swaps: this.#swaps,
      cleanedOffset,
      readBytes: this.#readBytes,
      writtenBytes: this.#writtenBytes,
      removedRecords: this.#removedRecords,
    }
  }

  get keys(): number {
    return this.#map.size
  }

  #demandGoOn(): void {
    if (Atomics.load(this.#abort, 0) !== 0) throw new MillraceError('CLOSED', { directory: this.#request.directory })
  }

  // ── the latest offset of each key ─────────────────────────────────────────────────────────────────────────────────

  /** Returns the offset below which every key was noted. */
  noteKeys(): number {
    const { segments, firstDirtyOffset } = this.#request
    for (const segment of segments) {
      if (segment.nextOffset <= firstDirtyOffset) continue
      const full = this.#noteKeysOf(segment)
      if (full !== -1) return full
    }
    return segments.at(-1)?.nextOffset ?? firstDirtyOffset
  }

  /**
   * Returns the base offset of the first batch whose keys do not all fit, -1 when there is none. Those of its keys that do are
   * noted: that does no harm, since a later offset of a key is a later offset.
   */
  #noteKeysOf(segment: PlannedSegment): number {
    const cursor = new RecordCursor()
    let full = -1
    // Damage is found when the batch is copied, and then nothing of this is used.
    this.#eachBatch(segment, false, (region, at) => {
      const { view } = region
      if (isControlBatch(view, at) || lastOffsetOf(view, at) < this.#request.firstDirtyOffset) return true
      this.#noteProducer(region, at)
      if (this.#aborted?.includes(view, at) === true) return true
      const wasEmpty = this.#map.size === 0 // then no further memory will ever do, and what fits is all there is
      cursor.reset(region, at)
      if (!this.#noteKeysUnder(cursor, viewOf(cursor.source, region)) && !wasEmpty) full = baseOffsetOf(view, at)
      return full === -1
    })
    return full
  }

  #noteKeysUnder(cursor: RecordCursor, view: DataView): boolean {
    let fits = true
    while (this.#group.fill(cursor)) if (!this.#map.putAll(view, this.#group)) fits = false
    return fits
  }

  #noteProducer({ view }: Region, at: number): void {
    const producerId = producerIdOf(view, at)
    if (producerId < 0) return
    if (this.#request.nowMs - maxTimestampOf(view, at) > PRODUCER_EXPIRY_MS) return
    this.#producers.set(producerId, lastOffsetOf(view, at))
  }

  /** Walks sound batches. `visit` returns false to stop. @throws CORRUPT_BATCH */
  #eachBatch(segment: PlannedSegment, checkCrc: boolean, visit: (region: Region, at: number) => boolean): void {
    const { directory } = this.#request
    const path = join(directory, segmentFileName(segment.baseOffset, 'log'))
    const mapping = Mapping.ofPath(path, segment.sizeBytes)
    try {
      const { region } = mapping
      for (let at = 0; at < segment.sizeBytes; at += batchBytes(region.view, at)) {
        this.#demandGoOn()
        const reason = checkBatch(region, at, segment.sizeBytes, checkCrc)
        if (reason !== undefined) throw new MillraceError('CORRUPT_BATCH', { path, position: at, reason })
        if (!visit(region, at)) return
      }
      this.#readBytes += segment.sizeBytes
    } finally {
      mapping.release()
    }
  }

  // ── the new segments ──────────────────────────────────────────────────────────────────────────────────────────────

  #rewrite(folder: string, group: readonly PlannedSegment[]): void {
    const { baseOffset } = group[0] as PlannedSegment
    const output = new Output(join(folder, segmentFileName(baseOffset, 'log')))
    let changed = group.length > 1
    try {
      for (const segment of group) {
        this.#eachBatch(segment, true, (region, at) => {
          if (!this.#rewriteBatch(region, at, output)) changed = true
          return true
        })
      }
      output.close()
    } finally {
      output.abandon()
    }
    if (!changed) return
    this.#writtenBytes += output.bytes
    const segment = output.bytes === 0 ? undefined : this.#describe(folder, baseOffset, output.bytes)
    this.#swaps.push({
      replaced: group.map(replaced => replaced.baseOffset),
      replacedBytes: group.map(replaced => replaced.sizeBytes),
      hasSegment: segment !== undefined,
      segment,
    })
  }

  /** True when it was copied as it is. */
  #rewriteBatch(region: Region, at: number, output: Output): boolean {
    const { view } = region
    const bytes = batchBytes(view, at)
    if (isControlBatch(view, at)) {
      output.write(region.bytes, at, at + bytes)
      return true
    }
    const { nowMs, deleteRetentionMs } = this.#request
    const tombstonesGo = hasDeleteHorizon(view, at) && baseTimestampOf(view, at) <= nowMs
    const isLastOfProducer = this.#producers.get(producerIdOf(view, at)) === lastOffsetOf(view, at)
    const isAborted = this.#aborted?.includes(view, at) === true
    const choose = (records: RecordGroup, source: Buffer): void => {
      this.#map.getAll(viewOf(source, region), records, this.#latest)
      for (let i = 0; i < records.count; i++) {
        const isTombstone = (records.valueBytes[i] as number) < 0
        const isGone = isAborted || (records.keyBytes[i] as number) < 0 || (tombstonesGo && isTombstone)
        const isKept = !isGone && (this.#latest[i] as number) <= (records.offsets[i] as number)
        records.kept[i] = isKept ? 1 : 0
        if (!isKept) this.#removedRecords += 1
      }
    }
    const filtered = this.#filter.filter(region, at, choose, nowMs + deleteRetentionMs, isLastOfProducer)
    if (filtered === 'whole') output.write(region.bytes, at, at + bytes)
    else if (filtered !== 'nothing') output.write(filtered, 0, filtered.length)
    return filtered === 'whole'
  }

  /** Indexes a new segment and says what is in it. */
  #describe(folder: string, baseOffset: number, sizeBytes: number): SegmentInfo {
    const { indexIntervalBytes, indexBytesMax } = this.#request
    const mapping = Mapping.ofPath(join(folder, segmentFileName(baseOffset, 'log')), sizeBytes)
    const indexes = new SegmentIndexWriter({ directory: folder, baseOffset, indexIntervalBytes, indexBytesMax })
    try {
      const { maxTimestamp, maxTimestampOffset, nextOffset } = scanSegment(mapping.region, 0, sizeBytes, {
        baseOffset,
        checkCrc: false,
      })
      indexes.extend(mapping.region, sizeBytes)
      const counts = indexes.finish()
      return { baseOffset, sizeBytes, nextOffset, maxTimestamp, maxTimestampOffset, firstTimestamp: -1, ...counts }
    } finally {
      indexes.release()
      mapping.release()
    }
  }
}

/** Neighbours that fit into one segment: by bytes, by index entries and by their offsets. */
function groupsOf(segments: readonly PlannedSegment[], limits: CompactionRequest): PlannedSegment[][] {
  const groups: PlannedSegment[][] = []
  let bytes = 0
  let indexBytes = 0
  for (const segment of segments) {
    const group = groups.at(-1)
    bytes += segment.sizeBytes
    indexBytes += indexBytesOf(segment)
    const fits =
      group !== undefined &&
      bytes <= limits.segmentBytes &&
      indexBytes <= limits.indexBytesMax &&
      segment.nextOffset - 1 - (group[0] as PlannedSegment).baseOffset <= RELATIVE_OFFSET_MAX
    if (fits) group.push(segment)
    else {
      groups.push([segment])
      bytes = segment.sizeBytes
      indexBytes = indexBytesOf(segment)
    }
  }
  return groups
}

/** Of the larger index; a merged segment may need an entry more at each seam. */
const indexBytesOf = ({ offsetEntries, timeEntries }: PlannedSegment): number =>
  Math.max((offsetEntries + 2) * OFFSET_ENTRY.sizeBytes, (timeEntries + 2) * TIME_ENTRY.sizeBytes)

/** Where a cursor's key positions are: in the region, or in the decompressed records. */
function viewOf(source: Buffer, region: Region): DataView {
  if (source === region.bytes) return region.view
  return new DataView(source.buffer, source.byteOffset, source.byteLength)
}

/** A new log file, written in large pieces. */
class Output {
  readonly #path: string
  #fd: number
  readonly #buffer = Buffer.allocUnsafe(OUTPUT_BYTES)
  #used = 0
  bytes = 0

  constructor(path: string) {
    this.#path = path
    try {
      this.#fd = openSync(path, 'w')
    } catch (error) {
      throw fileError(error, { path })
    }
  }

  write(source: Buffer, from: number, to: number): void {
    this.bytes += to - from
    if (to - from > OUTPUT_BYTES - this.#used) this.#flush()
    if (to - from > OUTPUT_BYTES) this.#writeAll(source, from, to)
    else this.#used += source.copy(this.#buffer, this.#used, from, to)
  }

  #flush(): void {
    this.#writeAll(this.#buffer, 0, this.#used)
    this.#used = 0
  }

  #writeAll(source: Buffer, from: number, to: number): void {
    try {
      for (let at = from; at < to; ) at += writeSync(this.#fd, source, at, to - at)
    } catch (error) {
      throw fileError(error, { path: this.#path })
    }
  }

  /** Everything is durable when this returns. */
  close(): void {
    this.#flush()
    try {
      fdatasyncSync(this.#fd)
    } catch (error) {
      throw fileError(error, { path: this.#path })
    }
  }

  /** Closes the descriptor. */
  abandon(): void {
    if (this.#fd === -1) return
    closeSync(this.#fd)
    this.#fd = -1
  }
}
