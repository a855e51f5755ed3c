/** CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords. */
import { MillraceError } from '../../base/errors.ts'
import { TOPIC_PARTITIONS_MAX } from '../../base/limits.ts'
import { checkTopicName } from '../../format/file-names.ts'
import { checkTopicConfigs, effectiveTopicConfig } from '../../log/topic-config.ts'
import type { NewTopicRequest } from '../cluster-view.ts'
import { KAFKA_ERROR, kafkaCodeOf, messageOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import { GROUPS_TOPIC } from '../internal-topics.ts'
import type { createPartitions } from '../messages/create-partitions.ts'
import type { createTopics } from '../messages/create-topics.ts'
import type { deleteRecords } from '../messages/delete-records.ts'
import type { deleteTopics } from '../messages/delete-topics.ts'
import type { KafkaService } from '../service.ts'
import { CONFIG_SOURCE } from './config-entries.ts'

type NewTopic = Parameters<Handler<typeof createTopics>>[1]['topics'][number]

const BY_DEFAULT = -1
const NO_ID = '00000000-0000-0000-0000-000000000000'
/** Topics are named, or their ids. */
const DELETE_BY_ID = 6

/** A condition that only the protocol knows. */
class Refusal extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const failure = (error: unknown): { errorCode: number; errorMessage: string } => ({
  errorCode: error instanceof Refusal ? error.code : kafkaCodeOf(error),
  errorMessage: messageOf(error),
})

const NO_ERROR = { errorCode: KAFKA_ERROR.NONE as number, errorMessage: null }

export const handleCreateTopics: Handler<typeof createTopics> = async (service, { topics, validateOnly }) => {
  const counts = new Map<string, number>()
  for (const { name } of topics) counts.set(name, (counts.get(name) ?? 0) + 1)
  const answers = topics.map(async topic => {
    const { name } = topic
    try {
      if ((counts.get(name) as number) > 1) throw new Refusal(KAFKA_ERROR.INVALID_REQUEST, 'The topic is named twice.')
      const planned = plan(service, topic)
      const { partitions, config } = planned
      const replicationFactor = service.cluster.demandCreatable(planned)
      const topicId = validateOnly ? NO_ID : await service.cluster.createTopic(planned)
      const configs = Object.entries(effectiveTopicConfig(config)).map(([key, value]) => ({
        name: key,
        value,
        readOnly: false,
        configSource: Object.hasOwn(config, key) ? CONFIG_SOURCE.topic : CONFIG_SOURCE.default,
        isSensitive: false,
      }))
      return { name, topicId, ...NO_ERROR, numPartitions: partitions, replicationFactor, configs }
    } catch (error) {
      return { name, ...failure(error), configs: null }
    }
  })
  return { topics: await Promise.all(answers) }
}

/** What a new topic would be. Throws what is wrong with it. */
function plan(
  service: KafkaService,
  topic: NewTopic,
): NewTopicRequest & { readonly config: Readonly<Record<string, string>> } {
  const { name, numPartitions, replicationFactor, assignments, configs } = topic
  checkTopicName(name)
  if (service.topics.byName(name) !== undefined) throw new MillraceError('TOPIC_ALREADY_EXISTS', { topic: name })
  const config = checkTopicConfigs(Object.fromEntries(configs.map(entry => [entry.name, valueOfConfig(entry)])))
  if (assignments.length > 0) {
    if (numPartitions !== BY_DEFAULT || replicationFactor !== BY_DEFAULT) {
      throw new Refusal(
        KAFKA_ERROR.INVALID_REQUEST,
        'With an assignment neither partitions nor replication factor are given.',
      )
    }
    const placed = { assignments: placesOf(service, assignments, 0), replicationFactor: undefined }
    return { topic: name, partitions: assignments.length, config, ...placed }
  }
  const partitions = numPartitions === BY_DEFAULT ? service.settings.defaultPartitions : numPartitions
  if (partitions < 1 || partitions > TOPIC_PARTITIONS_MAX) {
    throw new MillraceError('INVALID_PARTITIONS', { topic: name, partitions, most: TOPIC_PARTITIONS_MAX })
  }
  const factor = replicationFactor === BY_DEFAULT ? undefined : replicationFactor
  return { topic: name, partitions, replicationFactor: factor, assignments: undefined, config }
}

function valueOfConfig({ name, value }: { name: string; value: string | null }): string {
  if (value === null) throw new MillraceError('INVALID_CONFIG', { key: name.slice(0, 64), value: null })
  return value
}

/** Replicas of each partition, from number `first` on. @throws INVALID_REPLICA_ASSIGNMENT when it cannot be */
function placesOf({ cluster }: KafkaService, assignments: NewTopic['assignments'], first: number): number[][] {
  const sorted = [...assignments].sort((a, b) => a.partitionIndex - b.partitionIndex)
  const isWhole = sorted.every(({ partitionIndex }, index) => partitionIndex === first + index)
  const factor = sorted[0]?.brokerIds.length
  const isEven = sorted.every(({ brokerIds }) => brokerIds.length === factor && new Set(brokerIds).size === factor)
  if (!isWhole || !isEven || factor === 0) {
    const message = `Every partition from ${first} on has its replicas, as many as the others, on brokers of their own.`
    throw new Refusal(KAFKA_ERROR.INVALID_REPLICA_ASSIGNMENT, message)
  }
  const known = cluster.brokerIds
  const unknown = sorted.flatMap(({ brokerIds }) => brokerIds).find(id => !known.includes(id))
  if (unknown !== undefined) {
    throw new Refusal(KAFKA_ERROR.INVALID_REPLICA_ASSIGNMENT, `There is no broker ${unknown}, but ${known.join(', ')}.`)
  }
  return sorted.map(({ brokerIds }) => [...brokerIds])
}

export const handleDeleteTopics: Handler<typeof deleteTopics> = async (service, request, call) => {
  const wanted =
    call.apiVersion >= DELETE_BY_ID ? request.topics : request.topicNames.map(name => ({ name, topicId: NO_ID }))
  const responses = wanted.map(async ({ name, topicId }) => {
    const topic = service.topic(name === null ? { topicId } : { name })
    if (typeof topic === 'number') return { name, topicId, errorCode: topic, errorMessage: 'There is no such topic.' }
    const known = { name: topic.topic, topicId: topic.topicId }
    try {
      if (service.placement !== undefined && topic.topic === GROUPS_TOPIC)
        throw new Refusal(KAFKA_ERROR.INVALID_TOPIC_EXCEPTION, 'The topic has the groups of the cluster.')
      await service.cluster.deleteTopic(topic.topic)
      return { ...known, ...NO_ERROR }
    } catch (error) {
      return { ...known, ...failure(error) }
    }
  })
  return { responses: await Promise.all(responses) }
}

export const handleCreatePartitions: Handler<typeof createPartitions> = async (service, { topics, validateOnly }) => {
  const results = topics.map(async ({ name, count, assignments }) => {
    try {
      const topic = service.topics.byName(name)
      if (topic === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: name.slice(0, 64) })
      const existing = topic.partitions.length
      if (count <= existing || count > TOPIC_PARTITIONS_MAX) {
        throw new MillraceError('INVALID_PARTITIONS', {
          topic: name,
          partitions: count,
          existing,
          most: TOPIC_PARTITIONS_MAX,
        })
      }
      let placed: number[][] | undefined
      if (assignments !== null) {
        const added = assignments.map(({ brokerIds }, index) => ({ partitionIndex: existing + index, brokerIds }))
        placed = placesOf(service, added, existing)
        if (added.length !== count - existing) {
          throw new Refusal(KAFKA_ERROR.INVALID_REPLICA_ASSIGNMENT, 'Each new partition has an assignment.')
        }
      }
      if (!validateOnly) await service.cluster.createPartitions(name, count, placed)
      return { name, ...NO_ERROR }
    } catch (error) {
      return { name, ...failure(error) }
    }
  })
  return { results: await Promise.all(results) }
}

export const handleDeleteRecords: Handler<typeof deleteRecords> = async (service, { topics }) => {
  const answers = topics.map(async ({ name, partitions }) => {
    const results = partitions.map(async ({ partitionIndex, offset }) => {
      try {
        const led = service.ledPartition(service.topic({ name }), partitionIndex)
        if (typeof led === 'number') return { partitionIndex, lowWatermark: -1, errorCode: led }
        const lowWatermark = await service.broker.deleteRecords(name, partitionIndex, offset)
        return { partitionIndex, lowWatermark, errorCode: KAFKA_ERROR.NONE as number }
      } catch (error) {
        return { partitionIndex, lowWatermark: -1, errorCode: kafkaCodeOf(error) }
      }
    })
    return { name, partitions: await Promise.all(results) }
  })
  return { topics: await Promise.all(answers) }
}
