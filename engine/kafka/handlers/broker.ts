/** DescribeLogDirs, DescribeProducers: what a broker has on its disk, and which producers its partitions remember. */
import { statfs } from 'node:fs/promises'
import type { ProducerSnapshotEntry } from '../../format/producer-snapshot.ts'
import { KAFKA_ERROR, kafkaCodeOf, messageOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import type { describeLogDirs } from '../messages/describe-log-dirs.ts'
import type { describeProducers } from '../messages/describe-producers.ts'
import type { KafkaService } from '../service.ts'

export const handleDescribeLogDirs: Handler<typeof describeLogDirs> = async (service, { topics }) => {
  const { directory } = service.broker
  const wanted = topics?.map(({ topic, partitions }) => ({ topic, numbers: partitions })) ?? null
  const all =
    wanted ??
    service.topics.all().map(({ topic, partitions }) => ({ topic, numbers: partitions.map(p => p.partition) }))
  try {
    const { blocks, bavail, bsize } = await statfs(directory)
    return {
      errorCode: KAFKA_ERROR.NONE,
      results: [
        {
          errorCode: KAFKA_ERROR.NONE,
          logDir: directory,
          topics: all.flatMap(({ topic, numbers }) => sizesOf(service, topic, numbers)),
          totalBytes: blocks * bsize,
          usableBytes: bavail * bsize,
        },
      ],
    }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error), results: [] }
  }
}

function sizesOf(service: KafkaService, topic: string, numbers: readonly number[]) {
  const located = service.topics.byName(topic)
  if (located === undefined) return []
  const partitions = numbers.flatMap(partitionIndex => {
    const partition = located.partitions[partitionIndex]
    if (partition === undefined) return []
    const partitionSize = service.readers.of(partition).reader.describe().sizeBytes
    return [{ partitionIndex, partitionSize, offsetLag: 0, isFutureKey: false }]
  })
  return [{ name: topic, partitions }]
}

export const handleDescribeProducers: Handler<typeof describeProducers> = async (service, { topics }) => {
  const answers = topics.map(async ({ name, partitionIndexes }) => ({
    name,
    partitions: await Promise.all(partitionIndexes.map(partition => producersOf(service, name, partition))),
  }))
  return { topics: await Promise.all(answers) }
}

async function producersOf({ broker }: KafkaService, topic: string, partitionIndex: number) {
  try {
    const hosted = broker.hosted(topic, partitionIndex)
    const entries = await broker.ask<ProducerSnapshotEntry[]>(hosted, { kind: 'producers', slot: hosted.slot })
    // Several batches of each, of which the last is last.
    const latest = new Map(entries.map(entry => [entry.producerId, entry]))
    const activeProducers = Array.from(latest.values(), entry => ({
      producerId: entry.producerId,
      producerEpoch: entry.producerEpoch,
      lastSequence: entry.lastSequence,
      lastTimestamp: entry.timestamp,
      coordinatorEpoch: entry.coordinatorEpoch,
      currentTxnStartOffset: entry.transactionFirstOffset,
    }))
    return { partitionIndex, errorCode: KAFKA_ERROR.NONE, errorMessage: null, activeProducers }
  } catch (error) {
    return { partitionIndex, errorCode: kafkaCodeOf(error), errorMessage: messageOf(error), activeProducers: [] }
  }
}
