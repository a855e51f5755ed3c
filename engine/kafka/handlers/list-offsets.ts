/** ListOffsets: the first offset at or after a time, and what the negative times stand for. */
import { epochAt } from '../../broker/truncation-target.ts'
import type { PartitionReader } from '../../log/partition-reader.ts'
import { SLOT } from '../../memory/control-block.ts'
import { KAFKA_ERROR, kafkaCodeOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import type { listOffsets } from '../messages/list-offsets.ts'
import type { KafkaService } from '../service.ts'
import { epochFault } from './leader-epochs.ts'

/** Times that stand for places in the log. */
/** Kafka's `replica_id` of tools that look at replicas. */
export const DEBUGGING_REPLICA = -2
const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3
const EARLIEST_LOCAL = -4
/** Of logs that lie partly elsewhere, which there are none of. */
const LATEST_TIERED = -5
const EARLIEST_PENDING_UPLOAD = -6

const NOWHERE = { offset: -1, timestamp: -1 }

export const handleListOffsets: Handler<typeof listOffsets> = (service, { topics, replicaId }) => ({
  topics: topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex, currentLeaderEpoch, timestamp }) => ({
      partitionIndex,
      ...(replicaId === DEBUGGING_REPLICA
        ? endOf(service, name, partitionIndex)
        : locate(service, name, partitionIndex, currentLeaderEpoch, timestamp)),
    })),
  })),
})

/** Of whoever looks at replicas, whether they lead or follow: the end of the log that this broker has. */
function endOf(service: KafkaService, name: string, partition: number) {
  const located = service.partition(service.topic({ name }), partition)
  if (typeof located === 'number') return { errorCode: located }
  const { control } = service.broker.memory
  const offset = control.get(located.slot, SLOT.logEndOffset)
  return {
    errorCode: KAFKA_ERROR.NONE,
    offset,
    timestamp: -1,
    leaderEpoch: control.get(located.slot, SLOT.leaderEpoch),
  }
}

function locate(service: KafkaService, name: string, partition: number, knownEpoch: number, timestamp: number) {
  const { broker } = service
  const located = service.ledPartition(service.topic({ name }), partition)
  if (typeof located === 'number') return { errorCode: located }
  try {
    const fault = epochFault(service, located, knownEpoch)
    if (fault !== undefined) return { errorCode: fault }
    const isOfStart = timestamp === EARLIEST || timestamp === EARLIEST_LOCAL
    if (!isOfStart && !service.cluster.knowsItsEnd(located)) return { errorCode: KAFKA_ERROR.OFFSET_NOT_AVAILABLE }
    // These look into batches, so their checksums count.
    const reader = service.readers.checking(located)
    const found = seek(reader, timestamp)
    if (found === undefined) return { errorCode: KAFKA_ERROR.INVALID_REQUEST }
    return {
      errorCode: KAFKA_ERROR.NONE,
      ...found,
      leaderEpoch:
        found.offset === -1 ? -1 : epochAt(broker.memory.control, broker.hosted(name, partition), found.offset),
    }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error) }
  }
}

function seek(reader: PartitionReader, timestamp: number): { offset: number; timestamp: number } | undefined {
  switch (timestamp) {
    case LATEST:
      return { offset: reader.highWatermark, timestamp: -1 }
    case EARLIEST:
    case EARLIEST_LOCAL:
      return { offset: reader.logStartOffset, timestamp: -1 }
    case MAX_TIMESTAMP:
      return reader.maxTimestamp() ?? NOWHERE
    case LATEST_TIERED:
    case EARLIEST_PENDING_UPLOAD:
      return NOWHERE
    default: {
      if (timestamp < 0) return undefined
      const cursor = reader.seekTime(timestamp)
      return cursor === undefined ? NOWHERE : { offset: cursor.offset, timestamp: cursor.timestamp }
    }
  }
}
