/**
 * The public shapes: what a service hands in and gets back. The classes that implement them are beside this file; the
 * reference with examples is docs/API.md. Offsets are record positions, times are milliseconds since the Unix epoch,
 * sizes are bytes; all are plain numbers (docs/decisions/0001-numbers.md).
 */
import type { Codec } from '../engine/format/compression.ts'
import type { RecordHeader } from '../engine/format/record.ts'

/** Bytes, or text that is written as UTF-8. */
export type BytesLike = Uint8Array | string

export type Acks = 0 | 1 | 'all'

/** One record to be sent, in the shape that Node's Kafka users know. */
export interface Message {
  /** `null` or absent: no key. Records of one key go to one partition. */
  readonly key?: BytesLike | null
  /** `null`: a tombstone. */
  readonly value: BytesLike | null
  /** Overrides the choice of partition by key. */
  readonly partition?: number
  /** Default: the clock when it is sent. */
  readonly timestamp?: number
  readonly headers?: Readonly<Record<string, BytesLike | null>> | readonly RecordHeader[]
}

export interface ProducerOptions {
  /** Default 'all'. `0`: nothing is promised and offsets are -1. */
  readonly acks?: Acks
  /** How long a batch that is not full waits for more, default 0: it leaves when the caller yields to the event loop. */
  readonly lingerMs?: number
  /** Most bytes of one batch before compression, default 65,536; also the size of a slab. A larger record travels alone. */
  readonly batchBytes?: number
  /** Bytes of slabs that this producer holds at most, default 64 batches. Full means back-pressure. */
  readonly bufferBytes?: number
  /** Default 'none'. */
  readonly compression?: Codec
  /** Longest wait for an acknowledgement before the send fails with TIMED_OUT, default 30,000. */
  readonly deliveryTimeoutMs?: number
  /**
   * As Kafka's `enable.idempotence`, default false: batches are numbered, and what nobody can tell the fate of (WRITER_CRASHED,
   * FLUSH_FAILED, LEADER_NOT_AVAILABLE) is sent again until `deliveryTimeoutMs`, so that each record is in the log once and in its
   * order. Five batches of a partition are under way at most, and each holds its part of `bufferBytes` until it is acknowledged.
   */
  readonly idempotent?: boolean
}

export interface SendRequest {
  readonly topic: string
  readonly messages: readonly Message[]
  /** Overrides the producer's own. */
  readonly acks?: Acks
}

/** Where the messages of one send to one partition went: `baseOffset` is the first of `count` consecutive offsets. */
export interface RecordMetadata {
  readonly topic: string
  readonly partition: number
  /** -1 with acks 0. */
  readonly baseOffset: number
  readonly count: number
}

/** Where a reader begins: a named end of the log, an offset, or the first record with a timestamp at or after one. */
export type ReadFrom = 'earliest' | 'latest' | { readonly offset: number } | { readonly timestamp: number }

/** Where a reader ends: never (follow the tail), at what is there when it starts, or before an offset. */
export type ReadTo = 'never' | 'end' | { readonly offset: number }

export interface ReaderOptions {
  readonly topic: string
  /** Default: all partitions of the topic as they are when the reader starts. */
  readonly partitions?: readonly number[]
  /** Default 'earliest'. */
  readonly from?: ReadFrom
  /** Default 'end'. */
  readonly to?: ReadTo
  /** Soft limit of the bytes of one fetch, default 1,048,576; one batch is returned even if it is larger. */
  readonly maxBytes?: number
  /**
   * Check the CRC of each batch when this thread first comes to it, default true. What was read once is not checked
   * again by readers of the same thread.
   */
  readonly checkCrc?: boolean
  /**
   * Whether records of aborted transactions are read, as Kafka's `isolation.level`; default 'read_uncommitted': they are. There are
   * such records only in topics that Apache Kafka wrote and `admin.adoptTopic` took in.
   */
  readonly isolation?: 'read_uncommitted' | 'read_committed'
  /** Ends a wait at the tail and the iteration. */
  readonly signal?: AbortSignal
}

export interface TopicSpec {
  readonly topic: string
  /** Default 1. */
  readonly partitions?: number
  /** Brokers that have each partition. Default 1; in a cluster 3, or as many as there are. */
  readonly replicationFactor?: number
  /** Kafka's topic configuration keys; docs/API.md lists those that are served. */
  readonly config?: Readonly<Record<string, string | number | boolean>>
}

export interface PartitionDescription {
  readonly partition: number
  readonly logStartOffset: number
  /** Offset that the next record gets. */
  readonly logEndOffset: number
  /** Consumers read below this. */
  readonly highWatermark: number
  readonly leaderEpoch: number
  readonly sizeBytes: number
  readonly segments: number
  readonly indexEntries: number
  /** Set when the partition stopped; appends fail with it. */
  readonly error?: string
}

export interface TopicDescription {
  readonly topic: string
  readonly topicId: string
  readonly partitions: readonly PartitionDescription[]
  readonly config: Readonly<Record<string, string>>
}

export interface EngineStatistics {
  /** Address space that this thread has mapped, in bytes. */
  readonly mappedBytes: number
  /** Part of it that only views still hold: of files that were deleted or closed. */
  readonly pinnedBytes: number
  /** Producers attached, over all threads. */
  readonly producers: number
  readonly topics: number
}
