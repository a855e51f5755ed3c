/**
 * The calls of consumers between their thread and the broker's, as plain data: requests of Kafka without the token, which
 * the coordinator's shell gives out, and without what the broker's side knows itself.
 */
import type { TopicId } from '../base/brands.ts'
import type { PartitionOffset } from '../store/offsets.ts'
import type { ConsumerGroupHeartbeatAnswer } from './actions.ts'
import type { ConsumerGroupHeartbeat, OffsetCommit, OffsetFetch } from './requests.ts'

export type HeartbeatCall = Omit<ConsumerGroupHeartbeat, 'type' | 'token' | 'clientHost'>

/** A heartbeat with which nothing changes. */
export function plainHeartbeat(
  member: Pick<HeartbeatCall, 'groupId' | 'memberId' | 'memberEpoch' | 'instanceId' | 'clientId'>,
): HeartbeatCall {
  return {
    ...member,
    rackId: null,
    rebalanceTimeoutMs: -1,
    subscribedTopicNames: null,
    subscribedTopicRegex: null,
    serverAssignor: null,
    topicPartitions: null,
  }
}

export interface HeartbeatResult extends Omit<ConsumerGroupHeartbeatAnswer, 'type'> {
  /** Names of the topics in the assignment; a topic that was deleted meanwhile has none. */
  readonly topics: readonly (readonly [TopicId, string])[]
}

export type CommitCall = Omit<OffsetCommit, 'type' | 'token'>

export type OffsetsCall = Omit<OffsetFetch, 'type' | 'token'>

export interface AwaitChangeCall {
  readonly groupId: string
  /** What the last call returned, 0 at first. */
  readonly version: number
  readonly waitMs: number
}

export interface DeadLetterTopicCall {
  readonly topic: string
  /** Whose records it is to take. */
  readonly recordsOf: string
}

/** Request and result of each call. */
export interface GroupCalls {
  heartbeat: [HeartbeatCall, HeartbeatResult]
  commit: [CommitCall, undefined]
  /** All that the group has committed. */
  offsets: [OffsetsCall, readonly PartitionOffset[]]
  /** Resolves when the group changed since, or after `waitMs`; so members find out about each other before their next heartbeat. */
  awaitChange: [AwaitChangeCall, number]
  /** Creates the topic when it is not there. */
  deadLetterTopic: [DeadLetterTopicCall, undefined]
}

export type GroupCall = keyof GroupCalls

/** Sends a call to the broker's thread, or makes it there. */
export type CallGroup = <C extends GroupCall>(call: C, request: GroupCalls[C][0]) => Promise<GroupCalls[C][1]>
