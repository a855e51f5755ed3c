/** Administration of a cluster, in the shape of the engine's own. What only an engine can do is UNSUPPORTED_OPERATION. */
import { Admin as KafkaAdmin } from '@platformatic/kafka'
import { MillraceError } from '../../engine/base/errors.ts'
import { whole } from '../../engine/broker/options.ts'
import type { PortableAdmin, PortableTopic } from '../connection-types.ts'
import type { TopicPartition } from '../consumer-types.ts'
import type { GroupDeletion, GroupDescription, GroupListing, OffsetChange, ResetOptions } from '../group-types.ts'
import type { TopicSpec } from '../types.ts'
import { type Cluster, OFFSET_OF } from './cluster.ts'
import { remotely, unsupported } from './errors.ts'
import { RemoteGroupAdmin } from './group-admin.ts'
import { clientOptions } from './options.ts'

const RESOURCE_TOPIC = 2
const OPERATION = { set: 0, delete: 1 } as const
/** Kafka's own topics, which are not anybody's. */
const INTERNAL = /^__/
const LOOK_MS = 50
const LOOK_MS_MAX = 10_000

export class RemoteAdmin implements PortableAdmin {
  readonly #cluster: Cluster
  /** @internal */
  readonly client: KafkaAdmin
  readonly #groups: RemoteGroupAdmin

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.client = new KafkaAdmin(clientOptions(cluster.brokers, cluster.options))
    this.#groups = new RemoteGroupAdmin(cluster, this.client)
  }

  /**
   * Creates a topic with the cluster's default replication factor. Resolves when its partitions have leaders.
   * @throws INVALID_TOPIC_NAME, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_CONFIG
   */
  async createTopic({
    topic,
    partitions = 1,
    replicationFactor = -1,
    config = {},
  }: TopicSpec): Promise<{ topicId: string }> {
    const configs = Object.entries(config).map(([name, value]) => ({ name, value: String(value) }))
    await remotely(
      this.client.createTopics({ topics: [{ topic, partitions }], replicas: replicationFactor, configs }),
      { topic },
    )
    return { topicId: await this.#settled(topic, partitions) }
  }

  /** A broker answers before all of them know what it did. */
  async #settled(topic: string, partitions: number): Promise<string> {
    for (const endMs = performance.now() + LOOK_MS_MAX; ; ) {
      try {
        const found = await this.#cluster.topic(topic, true)
        if (found.partitions.length >= partitions && found.partitions.every(({ leader }) => leader >= 0))
          return found.topicId
      } catch (error) {
        if (performance.now() > endMs) throw error
      }
      if (performance.now() > endMs) throw new MillraceError('TIMED_OUT', { waitedFor: 'leaders', topic })
      await new Promise(resolve => setTimeout(resolve, LOOK_MS))
    }
  }

  async listTopics(): Promise<string[]> {
    const names = await remotely(this.client.listTopics({ includeInternals: true }))
    return names.filter(name => !INTERNAL.test(name)).sort()
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async describeTopic(topic: string): Promise<PortableTopic> {
    const { topicId, partitions } = await this.#cluster.topic(topic, true)
    const numbers = partitions.map((_, partition) => partition)
    const [starts, ends, described] = await Promise.all([
      this.#cluster.offsets(topic, numbers, OFFSET_OF.earliest),
      this.#cluster.offsets(topic, numbers, OFFSET_OF.latest),
      remotely(this.client.describeConfigs({ resources: [{ resourceType: RESOURCE_TOPIC, resourceName: topic }] }), {
        topic,
      }),
    ])
    const config: Record<string, string> = {}
    for (const { configs } of described) for (const { name, value } of configs) if (value != null) config[name] = value
    return {
      topic,
      topicId,
      config,
      partitions: partitions.map(({ leaderEpoch }, partition) => {
        const end = ends.get(partition)?.offset ?? 0
        const logStartOffset = starts.get(partition)?.offset ?? 0
        return { partition, logStartOffset, logEndOffset: end, highWatermark: end, leaderEpoch }
      }),
    }
  }

  /** @throws INVALID_PARTITIONS unless that is more */
  async createPartitions(topic: string, partitions: number): Promise<void> {
    await remotely(this.client.createPartitions({ topics: [{ name: topic, count: partitions }] }), { topic })
    await this.#settled(topic, partitions)
  }

  /** @throws INVALID_CONFIG, UNKNOWN_TOPIC_OR_PARTITION */
  async alterConfig(topic: string, config: Readonly<Record<string, string | number | boolean | null>>): Promise<void> {
    const configs = Object.entries(config).map(([name, value]) =>
      value === null
        ? { name, configOperation: OPERATION.delete }
        : { name, configOperation: OPERATION.set, value: String(value) },
    )
    const resources = [{ resourceType: RESOURCE_TOPIC, resourceName: topic, configs }]
    await remotely(this.client.incrementalAlterConfigs({ resources } as never), { topic })
  }

  /** Resolves when the topic is gone. @throws UNKNOWN_TOPIC_OR_PARTITION */
  async deleteTopic(topic: string): Promise<void> {
    await remotely(this.client.deleteTopics({ topics: [topic] }), { topic })
    for (const endMs = performance.now() + LOOK_MS_MAX; performance.now() < endMs; ) {
      if (!(await this.listTopics()).includes(topic)) return
      await new Promise(resolve => setTimeout(resolve, LOOK_MS))
    }
    throw new MillraceError('TIMED_OUT', { waitedFor: 'the end of the topic', topic })
  }

  /** @throws OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION */
  async deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<{ logStartOffset: number }> {
    whole('beforeOffset', beforeOffset, -1, Number.MAX_SAFE_INTEGER)
    const partitions = [{ partition, offset: BigInt(beforeOffset) }]
    const deleted = await remotely(this.client.deleteRecords({ topics: [{ name: topic, partitions }] }), {
      topic,
      partition,
    })
    return { logStartOffset: Number(deleted[0]?.partitions[0]?.lowWatermark ?? -1) }
  }

  // ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────

  async listGroups(): Promise<GroupListing[]> {
    return this.#groups.list()
  }

  /** @throws GROUP_ID_NOT_FOUND */
  async describeGroup(groupId: string): Promise<GroupDescription> {
    return this.#groups.describe(groupId)
  }

  /** Each by itself. */
  async deleteGroups(groupIds: readonly string[]): Promise<GroupDeletion[]> {
    return this.#groups.delete(groupIds)
  }

  /** @throws GROUP_SUBSCRIBED_TO_TOPIC, GROUP_ID_NOT_FOUND */
  async deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<void> {
    return this.#groups.deleteOffsets(groupId, partitions)
  }

  /** @throws NON_EMPTY_GROUP while it has members, GROUP_ID_NOT_FOUND, UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT */
  async resetOffsets(groupId: string, options: ResetOptions): Promise<OffsetChange[]> {
    return this.#groups.reset(groupId, options)
  }

  // ── what a cluster cannot be asked for ────────────────────────────────────────────────────────────────────────────

  async adoptTopic(): Promise<never> {
    throw unsupported('admin.adoptTopic')
  }

  async truncate(): Promise<never> {
    throw unsupported('admin.truncate')
  }

  async applyRetention(): Promise<never> {
    throw unsupported('admin.applyRetention')
  }

  async applyCompaction(): Promise<never> {
    throw unsupported('admin.applyCompaction')
  }

  async listQueues(): Promise<never> {
    throw unsupported('admin.listQueues')
  }

  async close(): Promise<void> {
    await this.client.close().catch(() => undefined)
  }
}
