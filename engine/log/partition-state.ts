/** A partition on its way to its writer, as plain data. */
import type { ProducerSnapshotEntry } from '../format/producer-snapshot.ts'
import type { SegmentInfo } from './recovery-types.ts'
import type { TopicConfig } from './topic-config.ts'

/** What the writer is given of a partition that was recovered or is new. */
export interface PartitionState {
  readonly slot: number
  readonly slotGeneration: number
  readonly topic: string
  readonly partition: number
  readonly directory: string
  readonly config: TopicConfig
  readonly segments: readonly SegmentInfo[]
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly leaderEpoch: number
  /** Everything below it was compacted. */
  readonly cleanedOffset: number
  /** What is known of idempotent producers at the end of the log. */
  readonly producers: readonly ProducerSnapshotEntry[]
}
