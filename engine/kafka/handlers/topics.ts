/** CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords. One broker has every replica. */
import { MillraceError } from '../../base/errors.ts'
import { TOPIC_PARTITIONS_MAX } from '../../base/limits.ts'
import { checkTopicName } from '../../format/file-names.ts'
import { checkTopicConfigs, effectiveTopicConfig } from '../../log/topic-config.ts'
import { KAFKA_ERROR, kafkaCodeOf, messageOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
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
      const { partitions, config } = plan(service, topic)
      const topicId = validateOnly ? NO_ID : await service.broker.createTopic(name, partitions, config)
      const configs = Object.entries(effectiveTopicConfig(config)).map(([key, value]) => ({
        name: key,
        value,
        readOnly: false,
        configSource: Object.hasOwn(config, key) ? CONFIG_SOURCE.topic : CONFIG_SOURCE.default,
        isSensitive: false,
      }))
      return { name, topicId, ...NO_ERROR, numPartitions: partitions, replicationFactor: 1, configs }
    } catch (error) {
      return { name, ...failure(error), configs: null }
    }
  })
  return { topics: await Promise.all(answers) }
}

/** What a new topic would be. Throws what is wrong with it. */
function plan(service: KafkaService, topic: NewTopic): { partitions: number; config: Record<string, string> } {
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
    checkAssignment(service, assignments)
    return { partitions: assignments.length, config }
  }
  if (replicationFactor !== BY_DEFAULT && replicationFactor !== 1) {
    throw new Refusal(
      KAFKA_ERROR.INVALID_REPLICATION_FACTOR,
      `Replication factor: ${replicationFactor} larger than available brokers: 1.`,
    )
  }
  const partitions = numPartitions === BY_DEFAULT ? service.settings.defaultPartitions : numPartitions
  if (partitions < 1 || partitions > TOPIC_PARTITIONS_MAX) {
    throw new MillraceError('INVALID_PARTITIONS', { topic: name, partitions, most: TOPIC_PARTITIONS_MAX })
  }
  return { partitions, config }
}

function valueOfConfig({ name, value }: { name: string; value: string | null }): string {
  if (value === null) throw new MillraceError('INVALID_CONFIG', { key: name.slice(0, 64), value: null })
  return value
}

function checkAssignment({ settings }: KafkaService, assignments: NewTopic['assignments']): void {
  const numbers = new Set(assignments.map(({ partitionIndex }) => partitionIndex))
  const isWhole = assignments.every((_, index) => numbers.has(index))
  const isHere = assignments.every(({ brokerIds }) => brokerIds.length === 1 && brokerIds[0] === settings.nodeId)
  if (!isWhole || !isHere || numbers.size !== assignments.length) {
    const message = `Every partition from 0 on has one replica, on broker ${settings.nodeId}.`
    throw new Refusal(KAFKA_ERROR.INVALID_REPLICA_ASSIGNMENT, message)
  }
}

export const handleDeleteTopics: Handler<typeof deleteTopics> = async (service, request, call) => {
  const wanted =
    call.apiVersion >= DELETE_BY_ID ? request.topics : request.topicNames.map(name => ({ name, topicId: NO_ID }))
  const responses = wanted.map(async ({ name, topicId }) => {
    const topic = service.topic(name === null ? { topicId } : { name })
    if (typeof topic === 'number') return { name, topicId, errorCode: topic, errorMessage: 'There is no such topic.' }
    const known = { name: topic.topic, topicId: topic.topicId }
    try {
      await service.broker.deleteTopic(topic.topic)
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
      if (assignments !== null) {
        const added = assignments.map(({ brokerIds }, partitionIndex) => ({ partitionIndex, brokerIds }))
        checkAssignment(service, added)
        if (added.length !== count - existing) {
          throw new Refusal(KAFKA_ERROR.INVALID_REPLICA_ASSIGNMENT, 'Each new partition has an assignment.')
        }
      }
      if (!validateOnly) await service.broker.createPartitions(name, count)
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
