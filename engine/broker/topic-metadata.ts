/** What a client in any thread knows of a topic: enough to choose a partition, append to it and read it. Plain data. */
import type { PartitionLocation } from '../log/partition-reader.ts'
import type { HostedPartition } from './hosted-partition.ts'

export interface ClientPartition extends PartitionLocation {
  /** Which writer thread owns it. */
  readonly writer: number
}

export interface ClientTopic {
  readonly topic: string
  readonly topicId: string
  /** By partition number. */
  readonly partitions: readonly ClientPartition[]
  /** `max.message.bytes` and `segment.bytes`, whichever is less. */
  readonly batchBytesMax: number
  /** Metadata version that this was true for. */
  readonly version: number
}

/** @param partitions by number, at least one */
export function clientTopicOf(topic: string, partitions: readonly HostedPartition[], version: number): ClientTopic {
  const { topicId, config } = partitions[0] as HostedPartition
  return {
    topic,
    topicId,
    version,
    batchBytesMax: Math.min(config.maxMessageBytes, config.segmentBytes),
    partitions: partitions.map(({ partition, directory, slot, slotGeneration, writer }) => ({
      topic,
      partition,
      directory,
      slot,
      slotGeneration,
      writer,
    })),
  }
}
