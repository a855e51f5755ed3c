/** Administration of a cluster, in the shape of the engine's own. What only an engine can do is UNSUPPORTED_OPERATION. */
import { consumerGroupDescribeV0, Admin as KafkaAdmin } from '@platformatic/kafka'
import { MillraceError, toErrorData } from '../../engine/base/errors.ts'
import { whole } from '../../engine/broker/options.ts'
import type { PortableAdmin, PortableTopic } from '../connection-types.ts'
import type { TopicPartition } from '../consumer-types.ts'
import type {
  GroupDeletion,
  GroupDescription,
  GroupListing,
  GroupMember,
  GroupOffset,
  OffsetChange,
  ResetOptions,
} from '../group-types.ts'
import type { TopicSpec } from '../types.ts'
import { type Cluster, OFFSET_OF } from './cluster.ts'
import { coordinatorOf } from './coordinator.ts'
import { kafkaCodeIn, remotely, toMillraceError, unsupported } from './errors.ts'
import { clientOptions } from './options.ts'

const RESOURCE_TOPIC = 2
const OPERATION = { set: 0, delete: 1 } as const
/** Kafka's own topics, which are not anybody's. */
const INTERNAL = /^__/
const UNKNOWN_MEMBER_ID = 25
const LOOK_MS = 50
const LOOK_MS_MAX = 10_000

type Committed = Map<string, Map<number, { offset: number; leaderEpoch: number; metadata: string }>>

export class RemoteAdmin implements PortableAdmin {
  readonly #cluster: Cluster
  /** @internal */
  readonly client: KafkaAdmin

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.client = new KafkaAdmin(clientOptions(cluster.brokers, cluster.options))
  }

  /**
   * Creates a topic with the cluster's default replication factor. Resolves when its partitions have leaders.
   * @throws INVALID_TOPIC_NAME, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_CONFIG
   */
  async createTopic({ topic, partitions = 1, config = {} }: TopicSpec): Promise<{ topicId: string }> {
    const configs = Object.entries(config).map(([name, value]) => ({ name, value: String(value) }))
    await remotely(this.client.createTopics({ topics: [{ topic, partitions }], replicas: -1, configs }), { topic })
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
    const groups = await remotely(this.client.listGroups({ types: ['classic', 'consumer'] }))
    return [...groups.values()]
      .map(({ id, state, groupType, protocolType }) => ({
        groupId: id,
        state: nameOf(state),
        groupType: groupType?.toLowerCase() === 'consumer' ? ('consumer' as const) : ('classic' as const),
        protocolType,
      }))
      .sort((a, b) => (a.groupId < b.groupId ? -1 : 1))
  }

  /** @throws GROUP_ID_NOT_FOUND */
  async describeGroup(groupId: string): Promise<GroupDescription> {
    const listed = (await this.listGroups()).find(group => group.groupId === groupId)
    if (listed === undefined) throw new MillraceError('GROUP_ID_NOT_FOUND', { groupId })
    const { assignor, members } =
      listed.groupType === 'classic' ? await this.#describeClassic(groupId) : await this.#describeConsumer(groupId)
    return { ...listed, assignor, members, offsets: await this.#groupOffsets(groupId, members) }
  }

  async #describeClassic(groupId: string): Promise<Pick<GroupDescription, 'assignor' | 'members'>> {
    const described = await remotely(this.client.describeGroups({ groups: [groupId] }), { groupId })
    const group = described.get(groupId)
    const members = [...(group?.members.values() ?? [])].map(
      ({ id, groupInstanceId, clientId, clientHost, assignments }): GroupMember => ({
        memberId: id,
        instanceId: groupInstanceId ?? null,
        clientId,
        clientHost,
        protocol: 'classic',
        partitions: [...(assignments?.values() ?? [])].flatMap(({ topic, partitions }) =>
          partitions.map(partition => ({ topic, partition })),
        ),
      }),
    )
    return { assignor: group?.protocol ?? '', members }
  }

  async #describeConsumer(groupId: string): Promise<Pick<GroupDescription, 'assignor' | 'members'>> {
    const connection = await remotely(coordinatorOf(this.client, groupId), { groupId })
    const { groups } = await remotely(consumerGroupDescribeV0.api.async(connection, [groupId], false), { groupId })
    const members = (groups[0]?.members ?? []).map(
      ({ memberId, instanceId, clientId, clientHost, assignment }): GroupMember => ({
        memberId,
        instanceId: instanceId ?? null,
        clientId,
        clientHost,
        protocol: 'consumer',
        partitions: assignment.topicPartitions.flatMap(({ topicName, partitions }) =>
          partitions.map(partition => ({ topic: topicName, partition })),
        ),
      }),
    )
    return { assignor: members.length === 0 ? '' : (groups[0]?.assignorName ?? ''), members }
  }

  async #groupOffsets(groupId: string, members: readonly GroupMember[]): Promise<GroupOffset[]> {
    const owners = new Map(
      members.flatMap(({ memberId, partitions }) => partitions.map(at => [`${at.topic}/${at.partition}`, memberId])),
    )
    const committed = await this.#committed(groupId)
    const wanted = new Map<string, Set<number>>()
    const want = (topic: string, partition: number): void => {
      const partitions = wanted.get(topic) ?? new Set()
      wanted.set(topic, partitions.add(partition))
    }
    for (const [topic, partitions] of committed) for (const partition of partitions.keys()) want(topic, partition)
    for (const { partitions } of members) for (const { topic, partition } of partitions) want(topic, partition)
    const offsets: GroupOffset[] = []
    for (const [topic, partitions] of [...wanted].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const numbers = [...partitions].sort((a, b) => a - b)
      const [starts, ends] = await this.#ends(topic, numbers)
      for (const partition of numbers) {
        const own = committed.get(topic)?.get(partition)
        const highWatermark = ends.get(partition)?.offset ?? 0
        offsets.push({
          topic,
          partition,
          offset: own?.offset ?? null,
          leaderEpoch: own?.leaderEpoch ?? -1,
          metadata: own?.metadata ?? '',
          logStartOffset: starts.get(partition)?.offset ?? 0,
          highWatermark,
          lag: own === undefined ? null : highWatermark - own.offset,
          memberId: owners.get(`${topic}/${partition}`) ?? null,
        })
      }
    }
    return offsets
  }

  #ends(topic: string, partitions: readonly number[]) {
    return Promise.all([
      this.#cluster.offsets(topic, partitions, OFFSET_OF.earliest),
      this.#cluster.offsets(topic, partitions, OFFSET_OF.latest),
    ])
  }

  /** @internal What a group has committed. */
  async #committed(groupId: string): Promise<Committed> {
    const [found] = await remotely(this.client.listConsumerGroupOffsets({ groups: [groupId] }), { groupId })
    const committed: Committed = new Map()
    for (const { name, partitions } of found?.topics ?? []) {
      const own = new Map(
        partitions.flatMap(({ partitionIndex, committedOffset, committedLeaderEpoch, metadata }) => {
          const at = { offset: Number(committedOffset), leaderEpoch: committedLeaderEpoch, metadata: metadata ?? '' }
          return at.offset < 0 ? [] : [[partitionIndex, at] as const]
        }),
      )
      if (own.size > 0) committed.set(name, own)
    }
    return committed
  }

  async deleteGroups(groupIds: readonly string[]): Promise<GroupDeletion[]> {
    const deletions: GroupDeletion[] = []
    for (const groupId of groupIds) {
      try {
        await remotely(this.client.deleteGroups({ groups: [groupId] }), { groupId })
        deletions.push({ groupId })
      } catch (error) {
        deletions.push({ groupId, error: toErrorData(error) })
      }
    }
    return deletions
  }

  /** @throws GROUP_SUBSCRIBED_TO_TOPIC, GROUP_ID_NOT_FOUND */
  async deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<void> {
    const byTopic = new Map<string, number[]>()
    for (const { topic, partition } of partitions) byTopic.set(topic, [...(byTopic.get(topic) ?? []), partition])
    const topics = [...byTopic].map(([name, partitionIndexes]) => ({ name, partitionIndexes }))
    await remotely(this.client.deleteConsumerGroupOffsets({ groupId, topics }), { groupId })
  }

  /** @throws NON_EMPTY_GROUP while it has members, GROUP_ID_NOT_FOUND, UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT */
  async resetOffsets(
    groupId: string,
    { to, topics, partitions, dryRun = false }: ResetOptions,
  ): Promise<OffsetChange[]> {
    const committed = await this.#committed(groupId)
    if (committed.size === 0 && topics === undefined && partitions === undefined)
      throw new MillraceError('GROUP_ID_NOT_FOUND', { groupId })
    const byTopic = new Map<string, number[]>()
    if (partitions !== undefined)
      for (const { topic, partition } of partitions) byTopic.set(topic, [...(byTopic.get(topic) ?? []), partition])
    else {
      for (const topic of topics ?? committed.keys()) {
        const metadata = await this.#cluster.topic(topic)
        const known = [...metadata.partitions.keys()]
        const own = committed.get(topic)
        byTopic.set(topic, topics === undefined && own !== undefined ? [...own.keys()].sort((a, b) => a - b) : known)
      }
    }
    const changes: OffsetChange[] = []
    for (const [topic, numbers] of [...byTopic].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const [starts, ends] = await this.#ends(topic, numbers)
      const times =
        typeof to === 'object' && 'timestamp' in to
          ? await this.#cluster.offsets(topic, numbers, BigInt(to.timestamp))
          : undefined
      for (const partition of numbers) {
        const [start, end] = [starts.get(partition)?.offset ?? 0, ends.get(partition)?.offset ?? 0]
        const from = committed.get(topic)?.get(partition)?.offset ?? null
        let target: number
        if (to === 'beginning') target = start
        else if (to === 'end') target = end
        else if ('offset' in to) target = to.offset
        else if ('shift' in to) target = (from ?? start) + to.shift
        else {
          const found = times?.get(partition)?.offset ?? -1
          target = found < 0 ? end : found
        }
        changes.push({ topic, partition, from, to: Math.min(Math.max(target, start), end) })
      }
    }
    if (!dryRun) await this.#store(groupId, changes)
    return changes
  }

  async #store(groupId: string, changes: readonly OffsetChange[]): Promise<void> {
    const names = [...new Set(changes.map(({ topic }) => topic))]
    const topics = names.map(name => ({
      name,
      partitionOffsets: changes
        .filter(({ topic }) => topic === name)
        .map(({ partition, to }) => ({ partition, offset: BigInt(to) })),
    }))
    try {
      await this.client.alterConsumerGroupOffsets({ groupId, topics })
    } catch (error) {
      // Kafka's answer to one who commits for a group of others.
      if (kafkaCodeIn(error) === UNKNOWN_MEMBER_ID) throw new MillraceError('NON_EMPTY_GROUP', { groupId }, error)
      throw toMillraceError(error, { groupId })
    }
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

/** `PREPARING_REBALANCE`, as some clients write it, in Kafka's own way. */
function nameOf(state: string): string {
  if (!/^[A-Z_]+$/.test(state)) return state
  return state
    .split('_')
    .map(word => word.charAt(0) + word.slice(1).toLowerCase())
    .join('')
}
