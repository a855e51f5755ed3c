/** The open batches of a producer in one topic, and which of them a record goes to. */
import { MillraceError } from '../engine/base/errors.ts'
import type { ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { Batch } from './batch.ts'
import { partitionForKey } from './partitioner.ts'

export interface TopicBatches {
  readonly metadata: ClientTopic
  /** Open batch of each partition. */
  readonly open: (Batch | undefined)[]
  /** Where records without a key go until that batch is full. */
  sticky: number
}

/**
 * The partition given, else that of the key, else the one whose batch is being filled.
 * @throws UNKNOWN_TOPIC_OR_PARTITION
 */
export function choosePartition(topic: TopicBatches, key: Uint8Array | null, given: number | undefined): number {
  const { partitions } = topic.metadata
  if (given !== undefined) {
    if (partitions[given] === undefined) {
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: topic.metadata.topic, partition: given })
    }
    return given
  }
  return key === null ? topic.sticky : partitionForKey(key, partitions.length)
}
