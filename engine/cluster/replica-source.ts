/**
 * Where a follower gets its records from: the one interface of both transports, within a process and over TCP. The leader takes each fetch
 * as word of what the follower has.
 */
import type { HostedPartition } from '../broker/hosted-partition.ts'

/** What a follower wants of one partition. */
export interface FetchPosition {
  readonly topicId: string
  readonly partition: number
  /** As the follower knows it. */
  readonly leaderEpoch: number
  /** Its log end: it has everything before. */
  readonly offset: number
  /** Epoch of its last record, -1 for none. */
  readonly lastEpoch: number
  readonly logStartOffset: number
}

export type FetchRefusal =
  /** The leader is another one by now, or its epoch: ask again once that is known here. */
  | 'not-leader'
  /** What is wanted begins before the leader's log, or behind its end. */
  | 'out-of-range'
  /** Anything else, that may pass. */
  | 'failed'

export interface FetchedReplica {
  readonly topicId: string
  readonly partition: number
  readonly refusal?: FetchRefusal
  /** The follower's log parts from the leader's: it is to be cut to the end of an epoch, or to this offset if that is lower. */
  readonly diverging?: { readonly epoch: number; readonly endOffset: number }
  readonly highWatermark: number
  readonly logStartOffset: number
  /** Whole batches, one behind the other, in pieces of memory that stay as they are until the next call. */
  readonly pieces: readonly Uint8Array[]
}

export interface ReplicaFetchOptions {
  readonly brokerId: number
  /** Under which the follower is registered. */
  readonly brokerEpoch: number
  /** Most that the leader waits while there is nothing. */
  readonly maxWaitMs: number
  readonly maxBytes: number
  readonly partitionMaxBytes: number
}

/** A replica whose log goes on where its leader's does. */
export interface FollowedReplica {
  readonly hosted: HostedPartition
  readonly leaderEpoch: number
}

/** Records of one partition that come by themselves. */
export interface ReplicaStream {
  /** When this resolves nothing more of the partition is stored. */
  close(): Promise<void>
}

export interface ReplicaSource {
  /**
   * From now on records of a partition come without being asked for, and the leader knows how far they have come, until the stream
   * is closed or ends. A transport that has this gives no records to `fetch`, which only tells whether the logs agree. Undefined: not just now.
   * @param ended called once when it ends by itself: the partition is to be fetched again
   */
  stream?(replica: FollowedReplica, ended: () => void): ReplicaStream | undefined
  /**
   * Partitions of which there is nothing new may be left out of the answer.
   * @param positions the same object as in the call before for a partition of which nothing has changed
   * @throws CONNECTION_FAILED, TIMED_OUT: try again
   */
  fetch(positions: readonly FetchPosition[], options: ReplicaFetchOptions): Promise<readonly FetchedReplica[]>
  /** Ends the fetch that is under way, which fails: it does not ask for what is wanted by now. */
  interrupt(): void
  /** Ends what is under way, for good. */
  close(): void
}
