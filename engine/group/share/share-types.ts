/**
 * What goes into a share partition and what comes out of it, as plain data that mirrors Kafka's ShareFetch and
 * ShareAcknowledge (KIP-932): it crosses threads by structured clone and will cross the wire. Ranges of offsets are
 * inclusive at both ends where they are handed out, as in Kafka's `FirstOffset` and `LastOffset`. What is stored has its
 * types in engine/store/share-states.ts.
 */

/**
 * `gap`: there is no record at these offsets (compacted away, or a control batch). `accept`: done. `release`: to be
 * delivered again. `reject`: never again. `renew`: the lock begins anew.
 */
export type AcknowledgeType = 'gap' | 'accept' | 'release' | 'reject' | 'renew'

/** The types by their number in ShareAcknowledge. */
export const ACKNOWLEDGE_TYPES: readonly AcknowledgeType[] = ['gap', 'accept', 'release', 'reject', 'renew']

/** Records that a member holds now: `AcquiredRecords` of a ShareFetch response. */
export interface AcquiredRange {
  readonly firstOffset: number
  readonly lastOffset: number
  /** How often these records were acquired, this time included; from 1. */
  readonly deliveryCount: number
}

/** One type for a range of offsets. */
export interface Acknowledgement {
  readonly firstOffset: number
  readonly lastOffset: number
  readonly type: AcknowledgeType
  /** `release`: not to be delivered before this time, in milliseconds since the Unix epoch. Default: at once. */
  readonly notBeforeMs?: number
  /** `release`: the record did not get as far as the application, so that this delivery does not count. */
  readonly undelivered?: boolean
  /** `reject`: why, for the dead letter. */
  readonly reason?: string
}

/** Why a record is on its way to the dead-letter topic. */
export type DeadLetterCause = 'rejected' | 'delivery-limit'

/** Records to be appended to the dead-letter topic. */
export interface DeadLetter {
  readonly firstOffset: number
  readonly lastOffset: number
  readonly deliveryCount: number
  readonly cause: DeadLetterCause
  /** What the consumer said; absent when it said nothing, and after a restart. */
  readonly reason?: string
}

/** Settings of a share group, by Kafka's meaning; docs/API.md has names, defaults and ranges. */
export interface ShareSettings {
  /** `group.share.record.lock.duration.ms`. */
  readonly lockDurationMs: number
  /** `group.share.delivery.count.limit`. */
  readonly deliveryCountLimit: number
  /** `group.share.partition.max.record.locks`: records acquired, or waiting to be acquired again, per partition. */
  readonly recordLocksMax: number
  /** Delayed records of a partition beside those; when there are more, no new records are acquired. */
  readonly delayedRecordsMax: number
  /** Rejected records and those at the delivery limit go to a dead-letter topic before they are archived. */
  readonly hasDeadLetters: boolean
}

/** How many records of a share partition are in which state. */
export interface ShareCounts {
  /** May be acquired now, those above the end offset not counted. */
  readonly available: number
  readonly delayed: number
  readonly acquired: number
  /** On their way to the dead-letter topic. */
  readonly archiving: number
  /** Since the group began with the partition. */
  readonly accepted: number
  readonly deadLettered: number
}
