/**
 * Where a consumer's records and its group come from: the engine of this process, or a cluster (remote/consumer-backend.ts). What a consumer
 * does with them is the same.
 */
import type { ClientLink } from '../engine/broker/client-link.ts'
import type { ReaderPool } from '../engine/broker/reader-pool.ts'
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import type { CallGroup } from '../engine/group/group-calls.ts'
import type { RecordBatch } from './connection-types.ts'
import { sendLetters } from './dead-letters.ts'
import { Producer } from './producer.ts'
import type { ReadBatch } from './read-batch.ts'
import { LocalSource } from './read-source.ts'
import { ReadTrack } from './read-track.ts'
import type { Message } from './types.ts'

/** A batch that says under which leader epochs its records were written. */
export interface ConsumedBatch extends RecordBatch {
  leaderEpochs(): Iterable<readonly [offset: number, leaderEpoch: number]>
}

/** Where one consumer stands in one partition. */
export interface ConsumedTrack<Batch extends ConsumedBatch = ConsumedBatch> {
  /** Next offset to read. */
  offset: number
  readonly reader: {
    readonly logStartOffset: number
    readonly highWatermark: number
    readonly leaderEpoch: number
  }
  /** The next batch; undefined when there is none at the moment. @throws OFFSET_OUT_OF_RANGE, CORRUPT_BATCH, UNKNOWN_TOPIC_OR_PARTITION, CLOSED */
  read(maxBytes: number): Batch | undefined
  /** Resolves when there may be more, or after a while. */
  arrival(): Promise<void>
  close(): void
}

export interface BackendTopic {
  readonly topicId: string
  readonly partitions: readonly unknown[]
}

export interface ConsumerBackend<Batch extends ConsumedBatch = ConsumedBatch> {
  readonly group: CallGroup
  /** What it is to its users. */
  readonly object: 'engine' | 'connection'
  /** Nothing is to be had of it any more. */
  readonly isClosed: boolean
  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  topic(topic: string): Promise<BackendTopic>
  /** @throws UNKNOWN_TOPIC_OR_PARTITION, TIMED_OUT; with isCommitted CORRUPT_INDEX, IO_ERROR */
  track(topic: string, partition: number, isCommitted: boolean): Promise<ConsumedTrack<Batch>>
  /** Appends records to a dead-letter topic; resolves when they are acknowledged. */
  sendLetters(topic: string, messages: readonly Message[]): Promise<void>
  close(): Promise<void>
}

export class LocalBackend implements ConsumerBackend<ReadBatch> {
  readonly object = 'engine'
  readonly group: CallGroup
  readonly #link: ClientLink
  readonly #source: LocalSource
  #producer: Promise<Producer> | undefined

  constructor(link: ClientLink, pool: ReaderPool, checkCrc: boolean) {
    this.#link = link
    this.#source = new LocalSource(link, pool, checkCrc)
    this.group = (call, request) => link.group(call, request) as never
  }

  get isClosed(): boolean {
    return this.#link.memory.closed
  }

  topic(topic: string): Promise<BackendTopic> {
    return this.#link.topic(topic)
  }

  async track(topic: string, partition: number, isCommitted: boolean): Promise<ReadTrack> {
    const located = (await this.#link.topic(topic)).partitions[partition] as ClientPartition
    return new ReadTrack(this.#source, located, isCommitted)
  }

  async sendLetters(topic: string, messages: readonly Message[]): Promise<void> {
    await sendLetters(await this.#attached(), topic, messages)
  }

  /** The producer is made with the first letter. */
  #attached(): Promise<Producer> {
    const attaching = this.#producer ?? Producer.attach(this.#link, {}, () => undefined)
    this.#producer = attaching
    attaching.catch(() => {
      if (this.#producer === attaching) this.#producer = undefined
    })
    return attaching
  }

  async close(): Promise<void> {
    await (await this.#producer?.catch(() => undefined))?.close()
  }
}
