/**
 * The calls of queues between a consumer's thread and the broker's, as plain data, and the typed face of them for the
 * consumer's side. A fetch and an acknowledgement are those of KIP-932 for one topic: topics go by their id, so that what
 * was meant for a deleted topic never reaches one of the same name.
 */
import type { ShareGroupConfig } from '../../store/share-states.ts'
import type { Acknowledgement, AcquiredRange, ShareCounts } from './share-types.ts'

/** A topic that is created when it is not there. */
export interface ShareTopicSpec {
  readonly partitions?: number
  readonly config?: Readonly<Record<string, string | number | boolean>>
}

export interface ShareOpenRequest {
  readonly group: string
  readonly topic: string
  /** What differs from what the group has, or from the defaults when it is new. */
  readonly config: Partial<ShareGroupConfig>
  /** Absent: the topic has to be there. */
  readonly create?: ShareTopicSpec
}

export interface ShareOpenResult {
  readonly topicId: string
  readonly config: ShareGroupConfig
}

export interface ShareFetchRequest {
  readonly group: string
  readonly topicId: string
  readonly memberId: string
  /** The member's own number for this fetch. */
  readonly fetchId: number
  readonly maxRecords: number
  /** How long to wait when there is nothing, in milliseconds. */
  readonly maxWaitMs: number
}

/** A fetch that is not waited for any more. */
export type ShareCancelRequest = Pick<ShareFetchRequest, 'group' | 'topicId' | 'memberId' | 'fetchId'>

export interface AcquiredRecords {
  readonly partition: number
  readonly ranges: readonly AcquiredRange[]
}

export interface ShareAcknowledgeRequest {
  readonly group: string
  readonly topicId: string
  readonly memberId: string
  readonly partitions: readonly { readonly partition: number; readonly acknowledgements: readonly Acknowledgement[] }[]
}

/** For each acknowledgement of each partition, in their order, whether it was applied. */
export type ShareAcknowledgeResult = readonly (readonly boolean[])[]

export interface ShareMember {
  readonly group: string
  readonly memberId: string
}

export interface SharePartitionDescription extends ShareCounts {
  readonly partition: number
  /** Everything below is finished. */
  readonly startOffset: number
  /** Everything from here on was never handed out; `available` counts it. */
  readonly endOffset: number
}

export interface ShareTopicDescription {
  readonly topic: string
  readonly topicId: string
  readonly partitions: readonly SharePartitionDescription[]
}

export interface ShareGroupDescription {
  readonly group: string
  readonly config: ShareGroupConfig
  /** Consumers that hold or await records now. */
  readonly members: readonly string[]
  readonly topics: readonly ShareTopicDescription[]
}

/** Neighbours that are still to be done. */
export interface LiveRange {
  readonly topic: string
  readonly partition: number
  readonly firstOffset: number
  readonly lastOffset: number
  readonly state: 'available' | 'acquired' | 'archiving' | 'delayed'
  /** Deliveries so far. */
  readonly deliveryCount: number
  /** Of delayed records, in milliseconds since the Unix epoch, else 0. */
  readonly dueMs: number
}

/** What the administration may ask, of an engine or beside one. */
export interface ShareSource {
  list(): string[]
  /** @throws UNKNOWN_QUEUE */
  describe(group: string): Promise<ShareGroupDescription>
  /** The first records that are still to be done, `count` at most, by topic and partition in the order of offsets. @throws UNKNOWN_QUEUE */
  live(group: string, count: number): Promise<LiveRange[]>
  /** @throws UNKNOWN_QUEUE, READ_ONLY */
  delete(group: string): Promise<void>
}

/** Request and result of each call. */
export interface ShareCalls {
  open: [ShareOpenRequest, ShareOpenResult]
  fetch: [ShareFetchRequest, readonly AcquiredRecords[]]
  cancel: [ShareCancelRequest, undefined]
  acknowledge: [ShareAcknowledgeRequest, ShareAcknowledgeResult]
  leave: [ShareMember, undefined]
  describe: [string, ShareGroupDescription]
}

export type ShareCall = keyof ShareCalls

/** Sends a call to the broker's thread, or makes it there. */
export type CallShare = <C extends ShareCall>(call: C, request: ShareCalls[C][0]) => Promise<ShareCalls[C][1]>
