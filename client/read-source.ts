/**
 * Where readers and look-ups get their partitions from: the engine of this process, from any of its threads, or a
 * directory that another process owns, or nobody.
 */
import { MillraceError } from '../engine/base/errors.ts'
import type { ClientLink } from '../engine/broker/client-link.ts'
import { type Observer, OWNER_STARTS } from '../engine/broker/observer.ts'
import type { ReaderPool } from '../engine/broker/reader-pool.ts'
import type { ClientPartition, ClientTopic } from '../engine/broker/topic-metadata.ts'
import { PartitionReader } from '../engine/log/partition-reader.ts'
import type { EngineMemory } from '../engine/memory/engine-memory.ts'

/** Another process cannot wake this one: how often the tail is looked at. */
const POLL_MS = 10

export interface ReadSource {
  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  topic(topic: string): Promise<ClientTopic>
  /** Undefined while the owner of the directory is starting. Balance with `giveBack`. */
  partitionReader(partition: ClientPartition): PartitionReader | undefined
  giveBack(reader: PartitionReader): void
  /** The directory changed hands since this reader was made: make another. */
  changed(reader: PartitionReader): boolean
  /** Resolves when the high watermark lies above `offset`, or after a while. */
  waitBeyond(reader: PartitionReader, offset: number, timeoutMs: number): Promise<void>
}

/** The engine that this thread belongs to. */
export class LocalSource implements ReadSource {
  readonly #link: ClientLink
  readonly #pool: ReaderPool
  readonly #checkCrc: boolean

  /** @param pool of this thread and this engine */
  constructor(link: ClientLink, pool: ReaderPool, checkCrc: boolean) {
    this.#link = link
    this.#pool = pool
    this.#checkCrc = checkCrc
  }

  topic(topic: string): Promise<ClientTopic> {
    return this.#link.topic(topic)
  }

  partitionReader(partition: ClientPartition): PartitionReader {
    const { control, segments } = this.#link.memory
    const key = `${partition.slot} ${partition.slotGeneration} ${this.#checkCrc}`
    return this.#pool.take(key, () => new PartitionReader(partition, control, segments, this.#checkCrc))
  }

  giveBack(reader: PartitionReader): void {
    this.#pool.giveBack(reader)
  }

  /** @throws CLOSED when the engine was closed */
  changed(): boolean {
    if (this.#link.memory.closed) throw new MillraceError('CLOSED', { object: 'engine' })
    return false
  }

  async waitBeyond(reader: PartitionReader, offset: number, timeoutMs: number): Promise<void> {
    await this.#link.memory.waitForReaders(reader.location.slot, () => reader.highWatermark > offset, timeoutMs)
  }
}

/** As `source.partitionReader`. @throws TIMED_OUT while the owner of the directory is starting */
export function demandReader(source: ReadSource, located: ClientPartition): PartitionReader {
  const reader = source.partitionReader(located)
  if (reader !== undefined) return reader
  const { topic, partition } = located
  throw new MillraceError('TIMED_OUT', { topic, partition, reason: OWNER_STARTS })
}

/** A directory that this process does not own. */
export class ObservedSource implements ReadSource {
  readonly #observer: Observer
  readonly #checkCrc: boolean
  /** The memory that each reader looks at. */
  readonly #memories = new WeakMap<PartitionReader, EngineMemory>()

  constructor(observer: Observer, checkCrc: boolean) {
    this.#observer = observer
    this.#checkCrc = checkCrc
  }

  async topic(topic: string): Promise<ClientTopic> {
    return this.#observer.clientTopic(topic)
  }

  partitionReader({ topic, partition }: ClientPartition): PartitionReader | undefined {
    const { memory } = this.#observer
    // Slots are the owner's: another owner may have put the partition elsewhere.
    const located = this.#observer.locate(topic, partition)
    if (located === undefined) return undefined
    const reader = new PartitionReader(located, memory.control, memory.segments, this.#checkCrc)
    this.#memories.set(reader, memory)
    return reader
  }

  giveBack(reader: PartitionReader): void {
    reader.unmap()
  }

  changed(reader: PartitionReader): boolean {
    this.#observer.demandOpen()
    return this.#memories.get(reader) !== this.#observer.memory
  }

  async waitBeyond(): Promise<void> {
    await new Promise(resolve => setTimeout(resolve, POLL_MS).unref())
  }
}
