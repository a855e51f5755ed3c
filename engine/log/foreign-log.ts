/**
 * Looks at a partition's folder that something else wrote, such as Apache Kafka, before it is taken in: reads every batch and
 * changes nothing. Recovery trusts that what is wrong in a log of ours was torn by a crash, and cuts it; of a foreign one that would
 * destroy what is merely unknown, so what cannot be served is refused here. Runs in a job; nobody else has the folder.
 *
 * Only the last segment may end in a torn batch: Kafka flushes a segment when it closes it. A transaction that is still open
 * is refused, because nobody could ever end it here.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MillraceError } from '../base/errors.ts'
import { parseSegmentFileName, segmentFileName } from '../format/file-names.ts'
import { PARTITION_METADATA_NAME, parsePartitionMetadata } from '../format/partition-metadata.ts'
import { RecordCursor } from '../format/record.ts'
import {
  baseOffsetOf,
  isControlBatch,
  isTransactional,
  lastOffsetOf,
  producerIdOf,
  recordCountOf,
} from '../format/record-batch.ts'
import type { Region } from '../format/region.ts'
import { Mapping } from '../memory/mapping.ts'
import { AbortedTransactions } from './aborted-transactions.ts'
import { fileBytes, listDirectory } from './recovery-files.ts'
import { SegmentScan } from './segment-scan.ts'
import { SWAP_SUFFIX } from './segment-swap.ts'

export interface ForeignLog {
  /** From `partition.metadata`: a UUID; undefined where there is no such file. */
  readonly topicId: string | undefined
  readonly logStartOffset: number
  readonly logEndOffset: number
  /** Everything below it lies in closed segments, which are sound. */
  readonly recoveryPoint: number
  /** Offsets are missing below it, as compaction leaves them; 0 when none are. */
  readonly cleanedOffset: number
  /** Of the last batch, -1 when there is none. */
  readonly leaderEpoch: number
}

/** Types of control records: the second number of their key. */
const ABORT_MARKER = 0
const COMMIT_MARKER = 1

/**
 * @throws DIRECTORY_NOT_FOUND, CORRUPT_BATCH, CORRUPT_INDEX, UNSUPPORTED_FORMAT, IO_ERROR
 * Cost: one CRC over the log.
 */
export function inspectForeignLog(directory: string): ForeignLog {
  return new Inspection(directory).run()
}

class Inspection {
  readonly #directory: string
  readonly #cursor = new RecordCursor()
  /** First offset of each transaction that has begun and not ended, by producer. */
  readonly #open = new Map<number, number>()
  /** Aborted transactions that the batches show: producer and offset of the marker. */
  readonly #aborted: { readonly producerId: number; readonly markerOffset: number }[] = []
  #nextOffset = 0
  #leaderEpoch = -1
  #cleanedOffset = 0

  constructor(directory: string) {
    this.#directory = directory
  }

  run(): ForeignLog {
    const names = listDirectory(this.#directory)
    const bases = names
      .map(parseSegmentFileName)
      .flatMap(parsed => (parsed?.suffix === 'log' ? [parsed.baseOffset] : []))
      .sort((a, b) => a - b)
    const logStartOffset = bases[0] ?? 0
    this.#nextOffset = logStartOffset
    for (const baseOffset of bases) this.#walk(baseOffset, baseOffset === bases.at(-1))
    this.#demandEnded()
    this.#demandIndexed()
    // The segments of a swap that was under way are not looked at, and may have left out anything.
    const isSwapping = names.some(name => name.endsWith(SWAP_SUFFIX))
    return {
      topicId: this.#topicId(),
      logStartOffset,
      logEndOffset: this.#nextOffset,
      recoveryPoint: bases.at(-1) ?? 0,
      cleanedOffset: isSwapping ? this.#nextOffset : this.#cleanedOffset,
      leaderEpoch: this.#leaderEpoch,
    }
  }

  #walk(baseOffset: number, isLast: boolean): void {
    const path = join(this.#directory, segmentFileName(baseOffset, 'log'))
    if (baseOffset < this.#nextOffset) throw new MillraceError('CORRUPT_BATCH', { path, position: 0, reason: 'order' })
    this.#noteGap(baseOffset)
    const bytes = fileBytes(path) ?? 0
    if (bytes === 0) return
    const mapping = Mapping.ofPath(path, bytes)
    try {
      const { region } = mapping
      const scan = new SegmentScan(0, {
        baseOffset,
        leaderEpoch: this.#leaderEpoch,
        visit: position => this.#visit(region, position),
      }).run(region, bytes)
      this.#leaderEpoch = scan.lastEpoch
      if (scan.fault === undefined) return
      const { position, reason } = scan.fault
      // At the start of a file that may be another format as well as a torn batch.
      if (reason === 'magic' && position === 0)
        throw new MillraceError('UNSUPPORTED_FORMAT', { path, position, reason })
      if (!isLast) throw new MillraceError('CORRUPT_BATCH', { path, position, reason })
    } finally {
      mapping.release()
    }
  }

  #visit(region: Region, at: number): void {
    const { view } = region
    const first = baseOffsetOf(view, at)
    const last = lastOffsetOf(view, at)
    this.#noteGap(first)
    this.#nextOffset = last + 1
    if (recordCountOf(view, at) !== last - first + 1) this.#cleanedOffset = last + 1
    if (isControlBatch(view, at)) this.#endTransaction(region, at)
    else if (isTransactional(view, at) && !this.#open.has(producerIdOf(view, at)))
      this.#open.set(producerIdOf(view, at), first)
  }

  #noteGap(offset: number): void {
    if (offset > this.#nextOffset) this.#cleanedOffset = offset
    this.#nextOffset = Math.max(offset, this.#nextOffset)
  }

  #endTransaction(region: Region, at: number): void {
    const cursor = this.#cursor
    cursor.reset(region, at)
    if (!cursor.next()) return // compaction took the marker and left its header
    const key = cursor.key()
    const type = key === null || key.length < 4 ? undefined : Buffer.from(key).readInt16BE(2)
    if (type !== ABORT_MARKER && type !== COMMIT_MARKER) return
    const producerId = producerIdOf(region.view, at)
    const isOfRecords = this.#open.delete(producerId)
    if (type === ABORT_MARKER && isOfRecords)
      this.#aborted.push({ producerId, markerOffset: lastOffsetOf(region.view, at) })
  }

  #demandEnded(): void {
    for (const [producerId, offset] of this.#open) {
      const reason = 'a transaction has not ended'
      throw new MillraceError('UNSUPPORTED_FORMAT', { directory: this.#directory, reason, producerId, offset })
    }
  }

  /** What readers leave out stands in the `.txnindex` files. */
  #demandIndexed(): void {
    if (this.#aborted.length === 0) return
    const indexed = AbortedTransactions.read(this.#directory)
    for (const { producerId, markerOffset } of this.#aborted) {
      if (indexed?.covers(producerId, markerOffset) === true) continue
      const reason = 'an aborted transaction is not in a .txnindex file'
      throw new MillraceError('CORRUPT_INDEX', { directory: this.#directory, reason, producerId, offset: markerOffset })
    }
  }

  #topicId(): string | undefined {
    const path = join(this.#directory, PARTITION_METADATA_NAME)
    if (fileBytes(path) === undefined) return undefined
    try {
      return parsePartitionMetadata(readFileSync(path, 'utf8'))
    } catch (error) {
      throw fileError(error, { path })
    }
  }
}
