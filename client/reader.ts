/**
 * A reader without a group: walks partitions of a topic from an offset or a time, to an end or following the tail. Used by
 * the thread that made it. Order holds within each partition; between partitions it takes turns.
 */
import { MillraceError } from '../engine/base/errors.ts'
import type { ClientPartition, ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { PartitionReader } from '../engine/log/partition-reader.ts'
import type { ReadBatch } from './read-batch.ts'
import type { ReadSource } from './read-source.ts'
import { ReadTrack, TailWait } from './read-track.ts'
import { checkReaderOptions } from './reader-options.ts'
import type { ConsumedRecord } from './record.ts'
import type { ReaderOptions, ReadFrom } from './types.ts'

interface Track {
  readonly at: ReadTrack
  /** Reading ends before this offset; infinite when it follows the tail. */
  toOffset: number
}

export class Reader implements AsyncIterable<ReadBatch> {
  readonly #source: ReadSource
  readonly #options: ReaderOptions
  readonly #maxBytes: number
  readonly #isCommitted: boolean
  #tracks: Track[] | undefined
  #next = 0
  #closed = false
  readonly #tail = new TailWait()

  /** @internal Use `Millrace.reader`. */
  constructor(source: ReadSource, options: ReaderOptions) {
    this.#source = source
    this.#options = options
    const { maxBytes, isCommitted } = checkReaderOptions(options)
    this.#maxBytes = maxBytes
    this.#isCommitted = isCommitted
    options.signal?.addEventListener('abort', () => this.close(), { once: true })
    if (options.signal?.aborted === true) this.#closed = true
  }

  /** Next offset of each partition that is read, by partition; empty before the first batch was asked for. */
  get positions(): ReadonlyMap<number, number> {
    return new Map((this.#tracks ?? []).map(({ at }) => [at.partition.partition, at.offset]))
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
        else {
          const open = tracks.filter(({ at, toOffset }) => at.offset < toOffset)
          if (open.length === 0) break
          await this.#tail.wait(open.map(({ at }) => at))
        }
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
      const at = new ReadTrack(this.#source, partitionOf(metadata, partition), this.#isCommitted)
      const track = { at, toOffset: Number.POSITIVE_INFINITY }
      tracks.push(track)
      track.toOffset = this.#end(at.reader)
      at.offset = startOf(at.reader, this.#options.from ?? 'earliest')
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
      if (track.at.offset >= track.toOffset) continue
      const batch = track.at.read(this.#maxBytes, track.toOffset)
      if (batch !== undefined) return batch
    }
    return undefined
  }

  /** Ends the iteration and gives the mappings back; views that were read stay valid. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#tail.wake()
    for (const { at } of this.#tracks ?? []) at.close()
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

function startOf(reader: PartitionReader, from: ReadFrom = 'earliest'): number {
  if (from === 'earliest') return reader.logStartOffset
  if (from === 'latest') return reader.highWatermark
  if ('offset' in from) {
    reader.demandInRange(from.offset)
    return from.offset
  }
  return reader.seekTime(from.timestamp)?.offset ?? reader.highWatermark
}
