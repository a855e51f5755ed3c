/** The public shapes of group administration; the reference is docs/API.md. */
import type { ErrorData } from '../engine/base/errors.ts'
import type { TopicPartition } from './consumer-types.ts'

export interface GroupListing {
  readonly groupId: string
  /** As Kafka names it: Empty, Assigning, Reconciling, Stable; of the classic protocol also PreparingRebalance, CompletingRebalance. */
  readonly state: string
  readonly groupType: 'classic' | 'consumer'
  /** 'consumer' for consumers; empty for a group that only ever committed. */
  readonly protocolType: string
}

export interface GroupMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly protocol: 'classic' | 'consumer'
  readonly partitions: readonly TopicPartition[]
}

export interface GroupOffset extends TopicPartition {
  /** The next record to be handled; null where nothing is committed. */
  readonly offset: number | null
  readonly leaderEpoch: number
  readonly metadata: string
  readonly logStartOffset: number
  readonly highWatermark: number
  /** `highWatermark - offset`; null where nothing is committed. */
  readonly lag: number | null
  /** Whose it is; null where it is nobody's. */
  readonly memberId: string | null
}

export interface GroupDescription extends GroupListing {
  /** The assignor in use; empty while there is none. */
  readonly assignor: string
  readonly members: readonly GroupMember[]
  /** Of every partition that has a committed offset or a member. */
  readonly offsets: readonly GroupOffset[]
}

export interface GroupDeletion {
  readonly groupId: string
  /** Why it is still there. */
  readonly error?: ErrorData
}

/** Where a group is to go on. Offsets outside of the log become its start or its end. */
export type ResetTo =
  | 'beginning'
  | 'end'
  | { readonly offset: number }
  /** The first record with a timestamp at or after it; the end if there is none. */
  | { readonly timestamp: number }
  /** So many records on from what is committed, or back. */
  | { readonly shift: number }

export interface ResetOptions {
  readonly to: ResetTo
  /** Default: every topic for which the group has committed something. */
  readonly topics?: readonly string[]
  /** Default: all of those topics. */
  readonly partitions?: readonly TopicPartition[]
  /** Tell what would be done, and change nothing. Default false. */
  readonly dryRun?: boolean
}

export interface OffsetChange extends TopicPartition {
  /** Null where nothing was committed. */
  readonly from: number | null
  readonly to: number
}
