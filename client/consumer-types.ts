/** The public shapes of consumers; the reference with examples is docs/API.md. */
import type { ReaderOptions } from './types.ts'

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export type OffsetReset = 'earliest' | 'latest' | 'none'

export interface ConsumerOptions {
  /** The group whose offsets these are. Without one a consumer can only be told its partitions, and commits nothing. */
  readonly groupId?: string
  /** Kafka's `group.instance.id`: a static member, whose place is kept while it restarts. */
  readonly instanceId?: string
  /** A name for descriptions of the group. Default 'millrace'. */
  readonly clientId?: string
  /** How the coordinator divides the partitions. Default: what other members ask for, else uniform. */
  readonly assignor?: 'uniform' | 'range'
  /** Where to begin without a committed offset, and where the position left the log. 'none' throws. Default 'latest', as in Kafka. */
  readonly autoOffsetReset?: OffsetReset
  /** Commit what was handled, from time to time, before partitions are handed over and on close. Default true. */
  readonly autoCommit?: boolean
  /** Default 5,000. */
  readonly autoCommitIntervalMs?: number
  /** Longest time between two calls for records, or of one handler; then the member leaves its group. Default 300,000. */
  readonly maxPollIntervalMs?: number
  /** Soft limit of the bytes of one batch, default 1,048,576; one record batch of the log is returned even if it is larger. */
  readonly maxBytes?: number
  /** As for a reader. Default 'read_uncommitted'. */
  readonly isolation?: ReaderOptions['isolation']
  /** As for a reader. Default true. */
  readonly checkCrc?: boolean
}

/** All topics of these names, or those whose whole name matches a regular expression of RE2; topics that come later join. */
export type Subscription = string | readonly string[] | { readonly pattern: string }

/** Awaited. While one runs the partitions in question are not read. */
export interface RebalanceListener {
  /** The consumer owns these as well from now on; it may seek in them. */
  onAssigned?(partitions: readonly TopicPartition[]): unknown
  /** The consumer gives these up as soon as this returns; it may still commit. */
  onRevoked?(partitions: readonly TopicPartition[]): unknown
  /** These belong to others by now; nothing can be committed. Default: `onRevoked`, as in Kafka. */
  onLost?(partitions: readonly TopicPartition[]): unknown
}

export interface OffsetToSeek extends TopicPartition {
  readonly offset: number
}

/** `offset` is the next record to be handled. */
export interface OffsetToStore extends OffsetToSeek {
  /** Of the last record that was handled; default: what the consumer saw. */
  readonly leaderEpoch?: number
  /** Any text, 4,096 bytes at most. */
  readonly metadata?: string
}

export interface CommittedPosition extends TopicPartition {
  /** The next record to be handled. */
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
  readonly committedAtMs: number
}

export interface PartitionLag extends TopicPartition {
  /** The next record to be handled. */
  readonly position: number
  readonly highWatermark: number
  /** Records in between, or less where some were compacted away. */
  readonly lag: number
}

export interface HandlerOptions {
  /** Partitions that are handled at once, 1 to 10,000. Default 1. Within a partition one follows the other. */
  readonly concurrency?: number
  /** How often what a handler threw at is tried again, from 0. Default 5. */
  readonly retries?: number
  /** Pause before the first such try; doubles with each. Default 1,000. */
  readonly retryDelayMs?: number
  /** Longest such pause. Default 60,000. */
  readonly retryDelayMsMax?: number
  /** Told of everything that a handler threw, with where it was; `attempt` counts from 1. */
  readonly onError?: (error: unknown, at: OffsetToSeek & { readonly attempt: number }) => void
  /** Ends the handling; the consumer stays in its group. */
  readonly signal?: AbortSignal
}

export interface MessageHandlerOptions extends HandlerOptions {
  /** Where a record goes that was tried as often as it may be; created when it is needed. Default: none, and the handling ends with the error. */
  readonly deadLetterTopic?: string
}

/** What a consumer tells. */
export interface ConsumerEvents {
  /** A handler, or whoever iterates, kept the consumer waiting for longer than `maxPollIntervalMs`: it left its group. */
  stalled: [at: { readonly partitions: readonly OffsetToSeek[]; readonly forMs: number }]
  /** The member was removed from its group, or its epoch was, and joins again. */
  fenced: [error: Error]
  /** A commit that nobody waits for failed. */
  commitFailed: [error: Error]
  /** The position had left the log, or there was none, and `autoOffsetReset` moved it. */
  offsetReset: [at: OffsetToSeek]
  /** A record went to the dead-letter topic. */
  deadLetter: [at: OffsetToSeek, error: unknown]
}
