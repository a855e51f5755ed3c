/** What the broker's thread knows of a partition that runs, or that could not be brought up. */
import type { TopicId } from '../base/brands.ts'
import type { MillraceError } from '../base/errors.ts'
import type { EpochEntry } from '../format/leader-epoch-checkpoint.ts'
import type { PartitionLocation } from '../log/partition-reader.ts'
import type { TopicConfig } from '../log/topic-config.ts'

/** A partition that has a slot. */
export interface HostedPartition extends PartitionLocation {
  readonly topicId: TopicId
  readonly writer: number
  config: TopicConfig
  /** Everything below it was compacted. */
  cleanedOffset: number
  /** Where leader epochs begin. */
  epochs: readonly EpochEntry[]
  /** The log is to be cut here, before anything else is done with it. */
  truncateTo: number | undefined
  /** One of a cluster: its leader epochs are the cluster's. */
  readonly isReplica: boolean
  /** Why it could not be brought up. */
  failure: MillraceError | undefined
}
