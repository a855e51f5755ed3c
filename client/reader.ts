/**
 * A reader without a group: walks partitions of a topic from an offset or a time, to an end or following the tail. Used by
 * the thread that made it. Order holds within each partition; between partitions it takes turns.
 */
import { MillraceError } from '../engine/base/errors.ts'
import { MIB } from '../engine/base/limits.ts'
import { whole } from '../engine/broker/options.ts'
import type { ClientPartition, ClientTopic } from '../engine/broker/topic-metadata.ts'
import { AbortedTransactions } from '../engine/log/aborted-transactions.ts'
import { newReadHint, type PartitionReader, type ReadHint } from '../engine/log/partition-reader.ts'
import { ReadBatch } from './read-batch.ts'
import { demandReader, type ReadSource } from './read-source.ts'
import type { ConsumedRecord } from './record.ts'
import type { ReaderOptions, ReadFrom, ReadTo } from './types.ts'

/** While the tail is awaited: how long until it is looked at again without a wake-up. The timer keeps the process alive. */
const FALLBACK_MS = 1_000

interface Track {
  readonly partition: ClientPartition
  reader: PartitionReader
  hint: ReadHint
  offset: number
  /** Reading ends before this offset; infinite when it follows the tail. */
  toOffset: number
  wait: Promise<void> | undefined
  /** What `read_committed` leaves out. */
  readonly aborted: AbortedTransactions | undefined
}

export class Reader implements AsyncIterable<ReadBatch> {
  readonly #source: ReadSource
  readonly #options: ReaderOptions
  readonly #maxBytes: number
  readonly #isCommitted: boolean
  #tracks: Track[] | undefined
  #next = 0
  #closed = false
  #wake: (() => void) | undefined

  /** @internal Use `Millrace.reader`. */
  constructor(source: ReadSource, options: ReaderOptions) {
    this.#source = source
    this.#options = options
    this.#maxBytes = whole('maxBytes', options.maxBytes ?? MIB, 1, 0x7fff_ffff)
    checkFrom(options.from ?? 'earliest')
    checkTo(options.to ?? 'end')
    this.#isCommitted = checkIsolation(options.isolation ?? 'read_uncommitted')
    options.signal?.addEventListener('abort', () => this.close(), { once: true })
    if (options.signal?.aborted === true) this.#closed = true
  }

  /** Next offset of each partition that is read, by partition; empty before the first batch was asked for. */
  get positions(): ReadonlyMap<number, number> {
    return new Map((this.#tracks ?? []).map(({ partition, offset }) => [partition.partition, offset]))
  }

  /**
   * Batches as they come. Ends at the end that was asked for, or when the reader is closed.
   * @throws UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE (also when retention overtakes the reader), CORRUPT_BATCH,
   *   with read_committed CORRUPT_INDEX
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReadBatch, undefined> {
    try {
      while (!this.#closed) {
        const tracks = this.#tracks ?? (await this.#start())
        if (this.#closed) break
        const batch = this.#poll(tracks)
        if (batch !== undefined) yield batch
        else if (tracks.every(track => track.offset >= track.toOffset)) break
        else await this.#arrival(tracks)
      }
    } finally {
      this.close()
    }
    return undefined
  }

  /** The same record by record. */
  async *records(): AsyncGenerator<ConsumedRecord, undefined> {
    for await (const batch of this) yield* batch
    return undefined
  }

  async #start(): Promise<readonly Track[]> {
    const { topic, partitions } = this.#options
    const metadata = await this.#source.topic(topic)
    if (this.#closed) return []
    const tracks: Track[] = []
    this.#tracks = tracks // each as it is made, so that close gives back what there is
    for (const partition of partitions ?? metadata.partitions.map(located => located.partition)) {
      const located = partitionOf(metadata, partition)
      const aborted = this.#isCommitted ? AbortedTransactions.read(located.directory) : undefined
      const reader = demandReader(this.#source, located)
      const track = {
        partition: located,
        reader,
        hint: newReadHint(),
        offset: 0,
        toOffset: 0,
        wait: undefined,
        aborted,
      }
      tracks.push(track)
      track.toOffset = this.#end(reader)
      track.offset = startOf(reader, this.#options.from ?? 'earliest')
    }
    return tracks
  }

  #end(reader: PartitionReader): number {
    const to = this.#options.to ?? 'end'
    if (to === 'never') return Number.POSITIVE_INFINITY
    return to === 'end' ? reader.highWatermark : to.offset
  }

  /** The next batch of the partition whose turn it is, undefined when none has any. */
  #poll(tracks: readonly Track[]): ReadBatch | undefined {
    for (let tried = 0; tried < tracks.length; tried++) {
      const track = tracks[this.#next % tracks.length] as Track
      this.#next += 1
      if (track.offset >= track.toOffset) continue
      if (!this.#isCurrent(track)) continue
      const { topic, partition } = track.partition
      const { highWatermark } = track.reader
      const limit = Math.min(highWatermark, track.toOffset)
      const fetched = track.reader.fetch(track.offset, this.#maxBytes, track.hint, limit)
      if (fetched === undefined) continue
      if (fetched.from === fetched.to) {
        track.offset = fetched.nextOffset // what was there is compacted away
        continue
      }
      const batch = new ReadBatch(topic, partition, fetched, track.offset, limit, highWatermark, track.aborted)
      track.offset = batch.nextOffset
      return batch
    }
    return undefined
  }

  /** Takes another reader when the directory changed hands; false while its owner is starting. */
  #isCurrent(track: Track): boolean {
    if (!this.#source.changed(track.reader)) return true
    const reader = this.#source.partitionReader(track.partition)
    if (reader === undefined) return false
    this.#source.giveBack(track.reader)
    track.reader = reader
    track.hint = newReadHint()
    return true
  }

  /** Waits until a partition may have more. */
  async #arrival(tracks: readonly Track[]): Promise<void> {
    const waits = tracks.filter(({ offset, toOffset }) => offset < toOffset).map(track => this.#waitFor(track))
    let timer: NodeJS.Timeout | undefined
    const closed = new Promise<void>(resolve => {
      this.#wake = resolve
      timer = setTimeout(resolve, FALLBACK_MS)
    })
    await Promise.race([closed, ...waits])
    clearTimeout(timer)
    this.#wake = undefined
  }

  #waitFor(track: Track): Promise<void> {
    track.wait ??= this.#source
      .waitBeyond(track.reader, track.offset, FALLBACK_MS)
      .finally(() => (track.wait = undefined))
    return track.wait
  }

  /** Ends the iteration and gives the mappings back; views that were read stay valid. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#wake?.()
    for (const { reader } of this.#tracks ?? []) this.#source.giveBack(reader)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function partitionOf(metadata: ClientTopic, partition: number): ClientPartition {
  const located = metadata.partitions[partition]
  if (located === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: metadata.topic, partition })
  return located
}

function checkFrom(from: ReadFrom): void {
  if (from === 'earliest' || from === 'latest') return
  const { offset, timestamp } = Object(from) as { offset?: number; timestamp?: number }
  const value = offset ?? timestamp
  if (!Number.isSafeInteger(value))
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'from', value: String(value) })
}

function checkTo(to: ReadTo): void {
  if (to === 'never' || to === 'end') return
  const { offset } = Object(to) as { offset?: number }
  if (!Number.isSafeInteger(offset))
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'to', value: String(offset) })
}

/** True for read_committed. */
function checkIsolation(isolation: string): boolean {
  if (isolation === 'read_committed') return true
  if (isolation === 'read_uncommitted') return false
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'isolation', value: String(isolation) })
}

function startOf(reader: PartitionReader, from: ReadFrom = 'earliest'): number {
  if (from === 'earliest') return reader.logStartOffset
  if (from === 'latest') return reader.highWatermark
  if ('offset' in from) {
    reader.demandInRange(from.offset)
    return from.offset
  }
  return reader.seekTime(from.timestamp)?.offset ?? reader.highWatermark
}
