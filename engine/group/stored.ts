/**
 * What is kept of a group: a header, and one entry for each member, so that a change of one member writes one member. Plain
 * data that survives JSON; bytes are base64.
 */

/** `[topic id, [[partition, epoch], …]]` of each topic. */
export type StoredPartitions = readonly (readonly [string, readonly (readonly [number, number])[]])[]

export interface StoredClassicGroup {
  readonly type: 'classic'
  /** Null for a group that only ever committed offsets. */
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly generationId: number
  readonly leaderId: string | null
  /** Since when it is stable or empty, which offset expiry counts from. */
  readonly stateSinceMs: number
}

export interface StoredConsumerGroup {
  readonly type: 'consumer'
  readonly groupEpoch: number
  readonly assignmentEpoch: number
  readonly assignorName: string
  /** Of the topics that members subscribe to, so that a change while nobody looked shows. */
  readonly topicsDigest: string
  readonly stateSinceMs: number
}

export type StoredGroup = StoredClassicGroup | StoredConsumerGroup

export interface StoredProtocol {
  readonly name: string
  readonly metadata: string
}

export interface StoredClassicMember {
  readonly type: 'classic'
  readonly memberId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocols: readonly StoredProtocol[]
  readonly assignment: string
}

export interface StoredConsumerMember {
  readonly type: 'consumer'
  readonly memberId: string
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly rebalanceTimeoutMs: number
  readonly serverAssignor: string | null
  readonly topicNames: readonly string[]
  readonly topicRegex: string
  readonly memberEpoch: number
  readonly previousMemberEpoch: number
  readonly state: 'stable' | 'unrevoked' | 'unreleased'
  readonly assigned: StoredPartitions
  readonly pendingRevocation: StoredPartitions
  readonly target: StoredPartitions
  /** Of a member that speaks the classic protocol; null for one of KIP-848. */
  readonly classic: {
    readonly sessionTimeoutMs: number
    readonly protocols: readonly StoredProtocol[]
  } | null
}

export type StoredMember = StoredClassicMember | StoredConsumerMember
