/** DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources. Topics can be changed, the broker be looked at. */
import { MillraceError } from '../../base/errors.ts'
import { checkTopicConfigs, effectiveTopicConfig, TOPIC_CONFIG_KEYS } from '../../log/topic-config.ts'
import { KAFKA_ERROR, kafkaCodeOf, messageOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import { FETCH_BYTES_MAX, REQUEST_BYTES_MAX } from '../limits.ts'
import type { alterConfigs } from '../messages/alter-configs.ts'
import type { describeConfigs } from '../messages/describe-configs.ts'
import type { incrementalAlterConfigs } from '../messages/incremental-alter-configs.ts'
import type { KafkaService } from '../service.ts'
import { brokerEntries, type ConfigEntry, isList, RESOURCE, topicEntries } from './config-entries.ts'

type Changes = Record<string, string | null>
type Change = Parameters<Handler<typeof incrementalAlterConfigs>>[1]['resources'][number]['configs'][number]

const OPERATION = { set: 0, delete: 1, append: 2, subtract: 3 } as const

export const handleDescribeConfigs: Handler<typeof describeConfigs> = (service, request) => ({
  results: request.resources.map(({ resourceType, resourceName, configurationKeys }) => {
    const resource = { resourceType, resourceName }
    try {
      const entries = entriesOf(service, resourceType, resourceName)
      const wanted = entries.filter(({ name }) => configurationKeys === null || configurationKeys.includes(name))
      const configs = wanted.map(({ name, value, configSource, ...entry }) => ({
        ...entry,
        name,
        value,
        configSource,
        isSensitive: false,
        synonyms: request.includeSynonyms ? [{ name, value, source: configSource }] : [],
        documentation: null,
      }))
      return { errorCode: KAFKA_ERROR.NONE, errorMessage: null, ...resource, configs }
    } catch (error) {
      return { errorCode: kafkaCodeOf(error), errorMessage: messageOf(error), ...resource, configs: [] }
    }
  }),
})

function entriesOf(service: KafkaService, type: number, name: string): ConfigEntry[] {
  if (type === RESOURCE.topic) {
    const set = setOf(service, name)
    return topicEntries(effectiveTopicConfig(set), set)
  }
  const { settings } = service
  if (type === RESOURCE.broker && (name === String(settings.nodeId) || name === '')) {
    return brokerEntries({
      'auto.create.topics.enable': settings.autoCreateTopics,
      'default.replication.factor': 1,
      'fetch.max.bytes': FETCH_BYTES_MAX,
      'log.retention.check.interval.ms': service.broker.options.retentionCheckMs,
      'message.max.bytes': TOPIC_CONFIG_KEYS['max.message.bytes'].fallback,
      'min.insync.replicas': 1,
      'node.id': settings.nodeId,
      'num.partitions': settings.defaultPartitions,
      'socket.request.max.bytes': REQUEST_BYTES_MAX,
    })
  }
  throw refused(type, name)
}

function refused(type: number, name: string): MillraceError {
  return new MillraceError('INVALID_ARGUMENT', { argument: 'resource', type, name: name.slice(0, 64) })
}

/** What was set for a topic. @throws UNKNOWN_TOPIC_OR_PARTITION */
function setOf(service: KafkaService, topic: string): Readonly<Record<string, string>> {
  const stored = service.topics.byName(topic) && service.broker.store.topics.get(topic)
  if (stored === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: topic.slice(0, 64) })
  return stored.config
}

/** Changes a topic, or only checks that it could be. */
async function change(service: KafkaService, topic: string, changes: Changes, validateOnly: boolean): Promise<void> {
  const set = Object.entries(changes).filter((entry): entry is [string, string] => entry[1] !== null)
  checkTopicConfigs(Object.fromEntries(set))
  if (!validateOnly) await service.cluster.alterConfig(topic, changes)
}

async function answer(resourceType: number, resourceName: string, work: () => Promise<void>) {
  const resource = { resourceType, resourceName }
  try {
    if (resourceType !== RESOURCE.topic) throw refused(resourceType, resourceName)
    await work()
    return { errorCode: KAFKA_ERROR.NONE, errorMessage: null, ...resource }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error), errorMessage: messageOf(error), ...resource }
  }
}

/** Replaces all that was set. */
export const handleAlterConfigs: Handler<typeof alterConfigs> = async (service, { resources, validateOnly }) => {
  const responses = resources.map(({ resourceType, resourceName, configs }) =>
    answer(resourceType, resourceName, async () => {
      const changes: Changes = Object.fromEntries(Object.keys(setOf(service, resourceName)).map(key => [key, null]))
      for (const { name, value } of configs) changes[name] = value
      await change(service, resourceName, changes, validateOnly)
    }),
  )
  return { responses: await Promise.all(responses) }
}

export const handleIncrementalAlterConfigs: Handler<typeof incrementalAlterConfigs> = async (service, request) => {
  const responses = request.resources.map(({ resourceType, resourceName, configs }) =>
    answer(resourceType, resourceName, async () => {
      const current = effectiveTopicConfig(setOf(service, resourceName)) as Readonly<Record<string, string>>
      const changes: Changes = {}
      for (const one of configs) changes[one.name] = changed(one, changes[one.name] ?? current[one.name])
      await change(service, resourceName, changes, request.validateOnly)
    }),
  )
  return { responses: await Promise.all(responses) }
}

function changed({ name, configOperation, value }: Change, current: string | undefined): string | null {
  if (configOperation === OPERATION.delete) return null
  if (value === null) throw new MillraceError('INVALID_CONFIG', { key: name.slice(0, 64), value: null })
  if (configOperation === OPERATION.set) return value
  const isKnown = configOperation === OPERATION.append || configOperation === OPERATION.subtract
  if (!isKnown || !isList(name)) {
    throw new MillraceError('INVALID_CONFIG', { key: name.slice(0, 64), operation: configOperation })
  }
  const items = (current ?? '').split(',').filter(item => item !== '')
  const named = value.split(',')
  if (configOperation === OPERATION.append) return [...new Set([...items, ...named])].join(',')
  return items.filter(item => !named.includes(item)).join(',')
}
