/**
 * What happens to the coordinator, as plain data. Requests mirror Kafka's, field by field; where a version decides what a
 * client understands there is a flag in its place, so that the embedded API and the protocol server send the same events.
 * Every request carries a token, and every token is answered exactly once, at once or later.
 */
import type { TopicId } from '../base/brands.ts'
import type { TopicPartitions } from './partition-set.ts'

/** Whom an answer is for; the shell chooses it. */
export type Token = number

interface Request<Type extends string> {
  readonly type: Type
  readonly token: Token
  readonly groupId: string
}

/** Who is asking, for descriptions of the group and for member ids. */
export interface Client {
  readonly clientId: string
  readonly clientHost: string
}

/** One assignment protocol that a member knows, with its subscription in that protocol's bytes. */
export interface Protocol {
  readonly name: string
  readonly metadata: Uint8Array
}

export interface JoinGroup extends Request<'JoinGroup'>, Client {
  /** Empty for a new member. */
  readonly memberId: string
  readonly instanceId: string | null
  readonly protocolType: string
  /** In order of preference. */
  readonly protocols: readonly Protocol[]
  readonly sessionTimeoutMs: number
  /** How long the others wait for this member in a rebalance; -1 for the session timeout. */
  readonly rebalanceTimeoutMs: number
  /** The client joins a second time with the id it was given, as from JoinGroup 4; so ids that never reached it are no members. */
  readonly requiresMemberId: boolean
  /** The client knows `skipAssignment`, as from JoinGroup 9. */
  readonly canSkipAssignment: boolean
}

export interface SyncGroup extends Request<'SyncGroup'> {
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  /** Null where the client does not say. */
  readonly protocolType: string | null
  readonly protocolName: string | null
  /** From the leader; of others it is ignored. */
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[]
}

export interface Heartbeat extends Request<'Heartbeat'> {
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
}

export interface LeaveGroup extends Request<'LeaveGroup'> {
  /** A static member may be named by its instance id alone, with an empty member id. */
  readonly members: readonly { readonly memberId: string; readonly instanceId: string | null }[]
}

export interface OffsetToCommit {
  readonly topicId: TopicId
  readonly partition: number
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
}

export interface OffsetCommit extends Request<'OffsetCommit'> {
  /** Generation of the classic protocol or member epoch of KIP-848; -1 for a commit without membership. */
  readonly generationIdOrMemberEpoch: number
  readonly memberId: string
  readonly instanceId: string | null
  readonly offsets: readonly OffsetToCommit[]
}

export interface OffsetFetch extends Request<'OffsetFetch'> {
  /** Null and -1 where nobody's membership is to be checked, as for the classic protocol. */
  readonly memberId: string | null
  readonly memberEpoch: number
}

export interface OffsetDelete extends Request<'OffsetDelete'> {
  readonly topics: readonly TopicPartitions[]
}

export interface DeleteGroup extends Request<'DeleteGroup'> {}

export interface DescribeGroup extends Request<'DescribeGroup'> {}

export interface ConsumerGroupDescribe extends Request<'ConsumerGroupDescribe'> {}

export interface ListGroups {
  readonly type: 'ListGroups'
  readonly token: Token
}

export interface ConsumerGroupHeartbeat extends Request<'ConsumerGroupHeartbeat'>, Client {
  /** Chosen by the client. Empty only when joining, from clients of version 0. */
  readonly memberId: string
  /** 0 to join, -1 to leave, -2 to leave for a while as a static member. */
  readonly memberEpoch: number
  readonly instanceId: string | null
  readonly rackId: string | null
  /** -1 and null below: as it was before. */
  readonly rebalanceTimeoutMs: number
  readonly subscribedTopicNames: readonly string[] | null
  /** A pattern of RE2; empty for none. */
  readonly subscribedTopicRegex: string | null
  readonly serverAssignor: string | null
  /** What the member owns. */
  readonly topicPartitions: readonly TopicPartitions[] | null
}

/** Topics came, grew, or went. Groups that subscribe to them find out at their members' next heartbeat. */
export interface TopicsChanged {
  readonly type: 'TopicsChanged'
  readonly changed: readonly { readonly name: string; readonly topicId: TopicId; readonly partitions: number }[]
  /** By name. */
  readonly removed: readonly string[]
}

/** Nothing but time went by. */
export interface Tick {
  readonly type: 'Tick'
}

export type GroupRequest =
  | JoinGroup
  | SyncGroup
  | Heartbeat
  | LeaveGroup
  | OffsetCommit
  | OffsetFetch
  | OffsetDelete
  | DeleteGroup
  | DescribeGroup
  | ConsumerGroupDescribe
  | ListGroups
  | ConsumerGroupHeartbeat
