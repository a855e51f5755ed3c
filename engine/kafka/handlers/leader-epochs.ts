/** OffsetForLeaderEpoch, and the check of the leader epoch that a client believes in. */
import type { ClientPartition } from '../../broker/topic-metadata.ts'
import { KAFKA_ERROR, kafkaCodeOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import type { offsetForLeaderEpoch } from '../messages/offset-for-leader-epoch.ts'
import type { KafkaService } from '../service.ts'

/** The code of the error when a client knows an older leader epoch than ours, or a newer one; -1: it does not say. */
export function epochFault({ cluster }: KafkaService, partition: ClientPartition, known: number): number | undefined {
  const current = cluster.leaderEpoch(partition)
  if (known < 0 || known === current) return undefined
  return known < current ? KAFKA_ERROR.FENCED_LEADER_EPOCH : KAFKA_ERROR.UNKNOWN_LEADER_EPOCH
}

export const handleOffsetForLeaderEpoch: Handler<typeof offsetForLeaderEpoch> = (service, { topics }) => ({
  topics: topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }) => {
      const located = service.ledPartition(service.topic({ name: topic }), partition)
      if (typeof located === 'number') return { errorCode: located, partition }
      try {
        const fault = epochFault(service, located, currentLeaderEpoch)
        if (fault !== undefined) return { errorCode: fault, partition }
        const end = service.broker.offsetForLeaderEpoch(topic, partition, leaderEpoch)
        return {
          errorCode: KAFKA_ERROR.NONE,
          partition,
          leaderEpoch: end?.leaderEpoch ?? -1,
          endOffset: end?.endOffset ?? -1,
        }
      } catch (error) {
        return { errorCode: kafkaCodeOf(error), partition }
      }
    }),
  })),
})
