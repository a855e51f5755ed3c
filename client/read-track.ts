/**
 * Where one reader stands in one partition, and the wait for more when it stands at the tail. Used by the thread that made
 * it. `offset` is the next one to read; whoever owns the track may move it.
 */
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import { AbortedTransactions } from '../engine/log/aborted-transactions.ts'
import { newReadHint, type PartitionReader, type ReadHint } from '../engine/log/partition-reader.ts'
import { ReadBatch } from './read-batch.ts'
import { demandReader, type ReadSource } from './read-source.ts'

/** While the tail is awaited: how long until it is looked at again without a wake-up. The timer keeps the process alive. */
const FALLBACK_MS = 1_000

export class ReadTrack {
  readonly partition: ClientPartition
  /** Next offset to read. */
  offset = 0
  readonly #source: ReadSource
  #reader: PartitionReader
  #hint: ReadHint = newReadHint()
  /** What `read_committed` leaves out. */
  readonly #aborted: AbortedTransactions | undefined
  #wait: Promise<void> | undefined

  /**
   * Balance with `close`.
   * @param isCommitted leave out records of aborted transactions
   * @throws TIMED_OUT while the owner of the directory is starting; with isCommitted CORRUPT_INDEX, IO_ERROR
   */
  constructor(source: ReadSource, partition: ClientPartition, isCommitted: boolean) {
    this.partition = partition
    this.#source = source
    this.#aborted = isCommitted ? AbortedTransactions.read(partition.directory) : undefined
    this.#reader = demandReader(source, partition)
  }

  get reader(): PartitionReader {
    return this.#reader
  }

  /**
   * The next batches in front of `toOffset`; moves behind them. Undefined at the high watermark, and while the partition
   * cannot be read for a moment.
   * @throws OFFSET_OUT_OF_RANGE, CORRUPT_BATCH, UNKNOWN_TOPIC_OR_PARTITION, CLOSED
   */
  read(maxBytes: number, toOffset = Number.POSITIVE_INFINITY): ReadBatch | undefined {
    if (!this.#isCurrent()) return undefined
    const { topic, partition } = this.partition
    while (this.offset < toOffset) {
      const { highWatermark } = this.#reader
      const limit = Math.min(highWatermark, toOffset)
      const fetched = this.#reader.fetch(this.offset, maxBytes, this.#hint, limit)
      if (fetched === undefined) return undefined
      if (fetched.from < fetched.to) {
        const batch = new ReadBatch(topic, partition, fetched, this.offset, limit, highWatermark, this.#aborted)
        this.offset = batch.nextOffset
        return batch
      }
      this.offset = fetched.nextOffset // what was there is compacted away
    }
    return undefined
  }

  /** Takes another reader when the directory changed hands; false while its owner is starting. */
  #isCurrent(): boolean {
    if (!this.#source.changed(this.#reader)) return true
    const reader = this.#source.partitionReader(this.partition)
    if (reader === undefined) return false
    this.#source.giveBack(this.#reader)
    this.#reader = reader
    this.#hint = newReadHint()
    return true
  }

  /** Resolves when there is more to read, or after a while. */
  arrival(): Promise<void> {
    this.#wait ??= this.#source
      .waitBeyond(this.#reader, this.offset, FALLBACK_MS)
      .finally(() => (this.#wait = undefined))
    return this.#wait
  }

  close(): void {
    this.#source.giveBack(this.#reader)
  }
}

/** One waiter at the tail of any number of partitions, who can be woken. */
export class TailWait {
  #wake: (() => void) | undefined

  /**
   * Resolves when one of the tracks may have more, when woken, or after a while. Keeps the process alive.
   * @throws UNKNOWN_TOPIC_OR_PARTITION when one of them is deleted
   */
  async wait(tracks: readonly { arrival(): Promise<void> }[]): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const woken = new Promise<void>(resolve => {
      this.#wake = resolve
      timer = setTimeout(resolve, FALLBACK_MS)
    })
    try {
      await Promise.race([woken, ...tracks.map(track => track.arrival())])
    } finally {
      clearTimeout(timer)
      this.#wake = undefined
    }
  }

  wake(): void {
    this.#wake?.()
  }
}
