/** AlterPartitionReassignments, ListPartitionReassignments, ElectLeaders: which brokers have a partition, and which of them leads. */
import { KAFKA_ERROR, kafkaCodeOf, messageOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import type { alterPartitionReassignments } from '../messages/alter-partition-reassignments.ts'
import type { electLeaders } from '../messages/elect-leaders.ts'
import type { listPartitionReassignments } from '../messages/list-partition-reassignments.ts'
import type { KafkaService } from '../service.ts'

const PREFERRED = 0
const NO_ERROR = { errorCode: KAFKA_ERROR.NONE as number, errorMessage: null }

interface Place {
  readonly topic: string
  readonly partition: number
}

export const handleAlterPartitionReassignments: Handler<typeof alterPartitionReassignments> = async (
  service,
  { topics, allowReplicationFactorChange },
) => {
  const responses = topics.map(async ({ name, partitions }) => ({
    name,
    partitions: await Promise.all(
      partitions.map(async ({ partitionIndex, replicas }) => ({
        partitionIndex,
        ...(await reassign(
          service,
          { topic: name, partition: partitionIndex },
          replicas,
          allowReplicationFactorChange,
        )),
      })),
    ),
  }))
  return { ...NO_ERROR, allowReplicationFactorChange, responses: await Promise.all(responses) }
}

async function reassign(
  { cluster, topics }: KafkaService,
  { topic, partition }: Place,
  replicas: readonly number[] | null,
  mayResize: boolean,
): Promise<{ errorCode: number; errorMessage: string | null }> {
  const located = topics.byName(topic)?.partitions[partition]
  if (located === undefined) return refused(KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION, 'There is no such partition.')
  const moves = cluster.moves(located)
  if (replicas === null) {
    if (moves === undefined)
      return refused(KAFKA_ERROR.NO_REASSIGNMENT_IN_PROGRESS, 'Its replicas are not being moved.')
  } else {
    const unknown = replicas.filter(id => !cluster.brokerIds.includes(id))
    if (replicas.length === 0 || new Set(replicas).size < replicas.length || unknown.length > 0) {
      const live = cluster.brokerIds.join(', ')
      return refused(KAFKA_ERROR.INVALID_REPLICA_ASSIGNMENT, `Replicas are on brokers of their own, of ${live}.`)
    }
    const before = cluster.describe(located).replicas.length - (moves?.adding.length ?? 0)
    if (!mayResize && replicas.length !== before)
      return refused(KAFKA_ERROR.INVALID_REPLICATION_FACTOR, `The partition has ${before} replicas.`)
  }
  return await outcomeOf(() => cluster.reassign(located, replicas ?? undefined))
}

export const handleListPartitionReassignments: Handler<typeof listPartitionReassignments> = (service, { topics }) => {
  const wanted =
    topics ??
    service.topics
      .all()
      .map(({ topic, partitions }) => ({ name: topic, partitionIndexes: partitions.map((_, i) => i) }))
  const moving = wanted.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.flatMap(partitionIndex => {
      const located = service.topics.byName(name)?.partitions[partitionIndex]
      const moves = located && service.cluster.moves(located)
      if (located === undefined || moves === undefined) return []
      const replicas = [...service.cluster.describe(located).replicas]
      return [{ partitionIndex, replicas, addingReplicas: [...moves.adding], removingReplicas: [...moves.removing] }]
    }),
  }))
  return { ...NO_ERROR, topics: moving.filter(({ partitions }) => partitions.length > 0) }
}

export const handleElectLeaders: Handler<typeof electLeaders> = async (service, request, call) => {
  const { topicPartitions } = request
  const isUnclean = call.apiVersion >= 1 && request.electionType !== PREFERRED
  const wanted =
    topicPartitions ??
    service.topics.all().map(({ topic, partitions }) => ({ topic, partitions: partitions.map((_, i) => i) }))
  const results = wanted.map(async ({ topic, partitions }) => ({
    topic,
    partitionResult: await Promise.all(
      partitions.map(async partition => ({
        partitionId: partition,
        ...(await elect(service, { topic, partition }, isUnclean)),
      })),
    ),
  }))
  const all = await Promise.all(results)
  // Of all partitions only those that had to be elected for are told.
  const told = all.map(({ topic, partitionResult }) => ({
    topic,
    partitionResult:
      topicPartitions === null
        ? partitionResult.filter(({ errorCode }) => errorCode !== KAFKA_ERROR.ELECTION_NOT_NEEDED)
        : partitionResult,
  }))
  return {
    errorCode: KAFKA_ERROR.NONE,
    replicaElectionResults: told.filter(
      ({ partitionResult }) => partitionResult.length > 0 || topicPartitions !== null,
    ),
  }
}

async function elect({ cluster, topics }: KafkaService, { topic, partition }: Place, isUnclean: boolean) {
  const located = topics.byName(topic)?.partitions[partition]
  if (located === undefined) return refused(KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION, 'There is no such partition.')
  let outcome: Awaited<ReturnType<typeof cluster.elect>> = 'not-needed'
  const failed = await outcomeOf(async () => {
    outcome = await cluster.elect(located, isUnclean)
  })
  if (failed.errorCode !== KAFKA_ERROR.NONE) return failed
  if (outcome === 'not-needed') return refused(KAFKA_ERROR.ELECTION_NOT_NEEDED, 'It is led as is wanted.')
  if (outcome === 'elected') return NO_ERROR
  return isUnclean
    ? refused(KAFKA_ERROR.ELIGIBLE_LEADERS_NOT_AVAILABLE, 'No broker that has a replica is there.')
    : refused(KAFKA_ERROR.PREFERRED_LEADER_NOT_AVAILABLE, 'The first replica is not there, or not in sync.')
}

const refused = (errorCode: number, errorMessage: string) => ({ errorCode, errorMessage })

async function outcomeOf(work: () => Promise<void>): Promise<{ errorCode: number; errorMessage: string | null }> {
  try {
    await work()
    return NO_ERROR
  } catch (error) {
    return { errorCode: kafkaCodeOf(error), errorMessage: messageOf(error) }
  }
}
