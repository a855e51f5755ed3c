/** The public shapes of queues; the reference with examples is docs/API.md. */
import type { ConsumedRecord } from './record.ts'
import type { BytesLike, Message, ProducerOptions, TopicSpec } from './types.ts'

export interface QueueOptions {
  /** The share group that works on the topic; default the queue's name. Groups work independently of each other. */
  readonly group?: string
  /** Create the topic when it is not there: `true`, or how. Default false. */
  readonly create?: boolean | Omit<TopicSpec, 'topic'>
  /** How long a job is locked for who got it, 10 to 86,400,000. Default 30,000. */
  readonly lockDurationMs?: number
  /** Deliveries after which a job that is released becomes a dead letter, from 1. Default 5. */
  readonly deliveryCountLimit?: number
  /** Jobs of a partition that are locked at once, 1 to 100,000. Default 2,000. */
  readonly recordLocksMax?: number
  /** Delayed jobs of a partition from which on no new ones are handed out, 1 to 1,000,000. Default 100,000. */
  readonly delayedRecordsMax?: number
  /** Where rejected jobs and those at the limit go; created when it is needed. Null: nowhere. Default `dlq.<name>`. */
  readonly deadLetterTopic?: string | null
  /** Of the producer behind `push`, which is made with the first one. */
  readonly producer?: ProducerOptions
}

export interface PushOptions {
  readonly key?: BytesLike | null
  readonly headers?: Message['headers']
  /** Not to be delivered before so many milliseconds from now. */
  readonly delayMs?: number
  readonly partition?: number
}

/** Where a job is. */
export interface PushedJob {
  readonly partition: number
  readonly offset: number
}

export interface JobsOptions {
  /** Jobs that are locked ahead of the one that is handed out, 1 to 10,000. Default 100. Their locks are renewed. */
  readonly prefetch?: number
  /** Ends the iteration. */
  readonly signal?: AbortSignal
}

export interface ProcessOptions {
  /** Handlers that run at once, 1 to 10,000. Default 1. */
  readonly concurrency?: number
  /** Jobs that are locked ahead, default `concurrency`. */
  readonly prefetch?: number
  /** Pause before a job whose handler threw is delivered again; doubles with each delivery. Default 1,000. */
  readonly retryDelayMs?: number
  /** Longest such pause. Default 60,000. */
  readonly retryDelayMsMax?: number
  /** Told of what handlers threw, and of jobs that could not be acknowledged. */
  readonly onError?: (error: unknown, job: { readonly partition: number; readonly offset: number }) => void
  readonly signal?: AbortSignal
}

export interface QueueStatistics {
  /** Jobs that may be handed out now. */
  readonly available: number
  /** Locked by consumers. */
  readonly inFlight: number
  /** Released with a delay, or met by a consumer before they were due. */
  readonly delayed: number
  /** On their way to the dead-letter topic. */
  readonly dying: number
  /** Since the queue began. */
  readonly acknowledged: number
  readonly deadLettered: number
}

/** A job that is still to be done, as `admin.peekQueue` shows it. */
export interface PeekedJob {
  readonly record: ConsumedRecord
  /** `archiving`: on its way to the dead-letter topic. Beside a live owner locked jobs are `available`. */
  readonly state: 'available' | 'acquired' | 'archiving' | 'delayed'
  /** Deliveries so far. */
  readonly deliveryCount: number
  /** Of a delayed job: milliseconds since the Unix epoch. */
  readonly dueMs?: number
}
