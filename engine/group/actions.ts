/**
 * What the coordinator wants done, as plain data. The actions of one call belong together: its writes go to disk in one
 * transaction, and its answers go out after that. Where the writes fail, the shell loads the group anew and the answers
 * become errors; so what a client was told is always on disk.
 */
import type { TopicId } from '../base/brands.ts'
import type { ErrorData } from '../base/errors.ts'
import type { GroupChange } from '../store/groups.ts'
import type { TopicPartitions } from './partition-set.ts'
import type { OffsetToCommit, Token } from './requests.ts'

export interface JoinGroupAnswer {
  readonly type: 'JoinGroup'
  readonly generationId: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly leader: string
  /** The leader is not to assign: the assignment that is there stays. */
  readonly skipAssignment: boolean
  readonly memberId: string
  /** For the leader: who is to be assigned. */
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | null
    readonly metadata: Uint8Array
  }[]
}

export interface SyncGroupAnswer {
  readonly type: 'SyncGroup'
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignment: Uint8Array
}

export interface HeartbeatAnswer {
  readonly type: 'Heartbeat'
}

export interface LeaveGroupAnswer {
  readonly type: 'LeaveGroup'
  /** One for each that was named, in that order. */
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | null
    readonly error: ErrorData | undefined
  }[]
}

/** The offsets were accepted and are on disk. */
export interface OffsetCommitAnswer {
  readonly type: 'OffsetCommit'
}

/** The member may see what the group committed; the shell reads it from the store. */
export interface OffsetFetchAnswer {
  readonly type: 'OffsetFetch'
}

export interface OffsetDeleteAnswer {
  readonly type: 'OffsetDelete'
  /** Topics whose offsets stay, because the group is subscribed to them (GROUP_SUBSCRIBED_TO_TOPIC). */
  readonly subscribed: readonly TopicId[]
}

export interface DeleteGroupAnswer {
  readonly type: 'DeleteGroup'
}

export interface DescribeGroupAnswer {
  readonly type: 'DescribeGroup'
  readonly state: string
  readonly protocolType: string
  readonly protocolName: string
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | null
    readonly clientId: string
    readonly clientHost: string
    readonly metadata: Uint8Array
    readonly assignment: Uint8Array
  }[]
}

export interface ConsumerGroupDescribeAnswer {
  readonly type: 'ConsumerGroupDescribe'
  readonly state: string
  readonly groupEpoch: number
  readonly assignmentEpoch: number
  readonly assignorName: string
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | null
    readonly rackId: string | null
    readonly memberEpoch: number
    readonly clientId: string
    readonly clientHost: string
    readonly subscribedTopicNames: readonly string[]
    readonly subscribedTopicRegex: string
    readonly assignment: readonly TopicPartitions[]
    readonly targetAssignment: readonly TopicPartitions[]
    readonly protocol: 'classic' | 'consumer'
  }[]
}

export interface ListGroupsAnswer {
  readonly type: 'ListGroups'
  readonly groups: readonly {
    readonly groupId: string
    readonly protocolType: string
    readonly state: string
    readonly groupType: 'classic' | 'consumer'
  }[]
}

export interface ConsumerGroupHeartbeatAnswer {
  readonly type: 'ConsumerGroupHeartbeat'
  readonly memberId: string
  readonly memberEpoch: number
  readonly heartbeatIntervalMs: number
  /** What the member is to own; null where it has not changed. */
  readonly assignment: readonly TopicPartitions[] | null
}

export type Answer =
  | JoinGroupAnswer
  | SyncGroupAnswer
  | HeartbeatAnswer
  | LeaveGroupAnswer
  | OffsetCommitAnswer
  | OffsetFetchAnswer
  | OffsetDeleteAnswer
  | DeleteGroupAnswer
  | DescribeGroupAnswer
  | ConsumerGroupDescribeAnswer
  | ListGroupsAnswer
  | ConsumerGroupHeartbeatAnswer

export interface Reply {
  readonly type: 'reply'
  readonly token: Token
  readonly answer: Answer
}

export interface Refuse {
  readonly type: 'refuse'
  readonly token: Token
  /** MEMBER_ID_REQUIRED has the member id among its details. */
  readonly error: ErrorData
}

/** A group changed: all that differs from what was stored of it before. */
export interface StoreGroup extends GroupChange {
  readonly type: 'store-group'
}

/** A group is gone, with all that it committed. */
export interface DeleteStoredGroup {
  readonly type: 'delete-group'
  readonly groupId: string
}

export interface CommitOffsets {
  readonly type: 'commit-offsets'
  readonly groupId: string
  readonly offsets: readonly OffsetToCommit[]
  readonly committedAtMs: number
}

export interface DeleteOffsets {
  readonly type: 'delete-offsets'
  readonly groupId: string
  readonly topics: readonly TopicPartitions[]
}

export type Write = StoreGroup | DeleteStoredGroup | CommitOffsets | DeleteOffsets

export type Action = Write | Reply | Refuse
