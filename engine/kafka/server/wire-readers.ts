/**
 * Reads partitions for the wire: views of whole batches, across segments, with nothing copied and nothing verified, as the client
 * verifies each batch itself. Remembers where those who follow a log left off. Used by the broker's thread.
 */
import { ReaderPool } from '../../broker/reader-pool.ts'
import type { ClientPartition } from '../../broker/topic-metadata.ts'
import { AbortedTransactions } from '../../log/aborted-transactions.ts'
import { newReadHint, PartitionReader, type ReadHint } from '../../log/partition-reader.ts'
import type { EngineMemory } from '../../memory/engine-memory.ts'

/** Partitions that stay mapped for the next fetch. */
const OPEN_MAX = 2_048
/** Those who follow one partition at different places and are spared the search. */
const HINTS_MAX = 16
/** An open partition that nobody has fetched for so long gives its mappings back. */
const IDLE_MS = 30_000
/** Pieces of one partition's answer: small segments would make many. */
const PIECES_MAX = 64

/** A stretch of a log as pieces of mapped memory. */
export interface WireRecords {
  readonly pieces: Uint8Array[]
  readonly bytes: number
}

export class WireReader {
  readonly reader: PartitionReader
  readonly partition: ClientPartition
  usedMs = 0
  readonly #hints: ReadHint[] = []
  #aborted: AbortedTransactions | undefined | null = null

  constructor(partition: ClientPartition, reader: PartitionReader) {
    this.partition = partition
    this.reader = reader
  }

  /** Transactions that were aborted, of a folder that Apache Kafka wrote. @throws CORRUPT_INDEX, IO_ERROR */
  get aborted(): AbortedTransactions | undefined {
    if (this.#aborted === null) this.#aborted = AbortedTransactions.read(this.partition.directory)
    return this.#aborted
  }

  /**
   * Whole batches below the high watermark, from the one that holds `offset` on.
   * @param maxBytes limit; @param atLeastOne the first batch comes even if it is larger
   * @param end in place of the high watermark
   * @throws OFFSET_OUT_OF_RANGE, CORRUPT_BATCH, UNKNOWN_TOPIC_OR_PARTITION
   */
  read(offset: number, maxBytes: number, atLeastOne: boolean, end?: number): WireRecords {
    const hint = this.#hint(offset)
    const pieces: Uint8Array[] = []
    let bytes = 0
    let at = offset
    while (pieces.length < PIECES_MAX && (bytes < maxBytes || (bytes === 0 && atLeastOne))) {
      const fetched = this.reader.fetch(at, maxBytes - bytes, hint, end)
      if (fetched === undefined) break
      const { region, from, to, nextOffset } = fetched
      const isTooLarge = bytes + to - from > maxBytes
      if (isTooLarge && (bytes > 0 || !atLeastOne)) break
      if (to > from) pieces.push(region.bytes.subarray(from, to))
      bytes += to - from
      at = nextOffset
    }
    return { pieces, bytes }
  }

  #hint(offset: number): ReadHint {
    const found = this.#hints.findIndex(hint => hint.offset === offset)
    if (found !== -1) return this.#hints[found] as ReadHint
    const hint = this.#hints.length < HINTS_MAX ? newReadHint() : (this.#hints.shift() as ReadHint)
    this.#hints.push(hint)
    return hint
  }
}

export class WireReaders {
  readonly #memory: EngineMemory
  readonly #pool = new ReaderPool()
  /** The one that was used last is last. */
  readonly #open = new Map<string, WireReader>()
  readonly #timer: NodeJS.Timeout

  constructor(memory: EngineMemory) {
    this.#memory = memory
    this.#timer = setInterval(() => this.#closeIdle(), IDLE_MS / 2).unref()
  }

  /** For views, which the client verifies. */
  of(partition: ClientPartition): WireReader {
    return this.#take(partition, false)
  }

  /** For looking into batches. */
  checking(partition: ClientPartition): PartitionReader {
    return this.#take(partition, true).reader
  }

  #take(partition: ClientPartition, checkCrc: boolean): WireReader {
    const key = `${partition.slot} ${partition.slotGeneration} ${checkCrc}`
    const known = this.#open.get(key)
    const reader = known ?? this.#make(key, partition, checkCrc)
    this.#open.delete(key)
    this.#open.set(key, reader)
    reader.usedMs = performance.now()
    if (this.#open.size > OPEN_MAX) this.#close(this.#open.keys().next().value as string)
    return reader
  }

  #make(key: string, partition: ClientPartition, checkCrc: boolean): WireReader {
    const { control, segments } = this.#memory
    return new WireReader(
      partition,
      this.#pool.take(key, () => new PartitionReader(partition, control, segments, checkCrc)),
    )
  }

  #close(key: string): void {
    const open = this.#open.get(key) as WireReader
    this.#open.delete(key)
    this.#pool.giveBack(open.reader)
  }

  #closeIdle(): void {
    const untilMs = performance.now() - IDLE_MS
    for (const [key, { usedMs }] of this.#open) {
      if (usedMs > untilMs) return
      this.#close(key)
    }
  }

  /** Gives the mappings back; answers that are being sent keep what they need. */
  close(): void {
    clearInterval(this.#timer)
    for (const key of [...this.#open.keys()]) this.#close(key)
    this.#pool.close()
  }
}
