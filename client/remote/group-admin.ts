/** Administration of a cluster's groups, with the semantics of the engine's own. */
import { consumerGroupDescribeV0, type Admin as KafkaAdmin } from '@platformatic/kafka'
import { MillraceError, toErrorData } from '../../engine/base/errors.ts'
import type { TopicPartition } from '../consumer-types.ts'
import { type Bounds, checkTo, describeOffset, inOrder, targetOffset, textOf } from '../group-offsets.ts'
import type {
  GroupDeletion,
  GroupDescription,
  GroupListing,
  GroupMember,
  GroupOffset,
  OffsetChange,
  ResetOptions,
} from '../group-types.ts'
import { type Cluster, OFFSET_OF, offsetAt } from './cluster.ts'
import { coordinatorOf } from './coordinator.ts'
import { kafkaCodeIn, remotely, toMillraceError } from './errors.ts'

const UNKNOWN_MEMBER_ID = 25

/** By `textOf`. */
type Committed = Map<string, TopicPartition & { offset: number; leaderEpoch: number; metadata: string }>

export class RemoteGroupAdmin {
  readonly #cluster: Cluster
  readonly #client: KafkaAdmin

  constructor(cluster: Cluster, client: KafkaAdmin) {
    this.#cluster = cluster
    this.#client = client
  }

  async list(): Promise<GroupListing[]> {
    const groups = await remotely(this.#client.listGroups({ types: ['classic', 'consumer'] }))
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
  async describe(groupId: string): Promise<GroupDescription> {
    const listed = await this.#find(groupId)
    if (listed === undefined) throw new MillraceError('GROUP_ID_NOT_FOUND', { groupId })
    const { assignor, members } = await this.#describeMembers(listed)
    return { ...listed, assignor, members, offsets: await this.#groupOffsets(groupId, members) }
  }

  async #find(groupId: string): Promise<GroupListing | undefined> {
    return (await this.list()).find(group => group.groupId === groupId)
  }

  #describeMembers({ groupId, groupType }: GroupListing): Promise<Pick<GroupDescription, 'assignor' | 'members'>> {
    return groupType === 'classic' ? this.#describeClassic(groupId) : this.#describeConsumer(groupId)
  }

  async #describeClassic(groupId: string): Promise<Pick<GroupDescription, 'assignor' | 'members'>> {
    const described = await remotely(this.#client.describeGroups({ groups: [groupId] }), { groupId })
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
    const connection = await remotely(coordinatorOf(this.#client, groupId), { groupId })
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
    const owned = members.flatMap(({ memberId, partitions }) => partitions.map(at => ({ ...at, memberId })))
    const owners = new Map(owned.map(at => [textOf(at), at.memberId]))
    const committed = await this.#committed(groupId)
    const wanted = new Map(
      [...committed.values(), ...owned].map(({ topic, partition }) => [
        textOf({ topic, partition }),
        { topic, partition },
      ]),
    )
    const bounds = await this.#bounds([...wanted.values()])
    return bounds.map(each => describeOffset(each, committed.get(textOf(each)), owners.get(textOf(each))))
  }

  /** In order. @throws UNKNOWN_TOPIC_OR_PARTITION */
  async #bounds(partitions: readonly TopicPartition[]): Promise<Bounds[]> {
    const [starts, ends] = await Promise.all([
      this.#offsetsOf(partitions, OFFSET_OF.earliest),
      this.#offsetsOf(partitions, OFFSET_OF.latest),
    ])
    const bounds = partitions.map(({ topic, partition }) => {
      const [start, end] = [starts, ends].map(found => found.get(textOf({ topic, partition })))
      if (start === undefined || end === undefined)
        throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
      return { topic, partition, logStartOffset: start, highWatermark: end }
    })
    return bounds.sort(inOrder)
  }

  /** By `textOf`; what the cluster has no offset for is not in it. */
  async #offsetsOf(partitions: readonly TopicPartition[], timestamp: bigint): Promise<Map<string, number>> {
    const byTopic = Map.groupBy(partitions, ({ topic }) => topic)
    const found = new Map<string, number>()
    await Promise.all(
      [...byTopic].map(async ([topic, own]) => {
        const offsets = await this.#cluster.offsets(
          topic,
          own.map(({ partition }) => partition),
          timestamp,
        )
        for (const [partition, { offset }] of offsets) if (offset >= 0) found.set(textOf({ topic, partition }), offset)
      }),
    )
    return found
  }

  /** What a group has committed. */
  async #committed(groupId: string): Promise<Committed> {
    const [found] = await remotely(this.#client.listConsumerGroupOffsets({ groups: [groupId] }), { groupId })
    const committed: Committed = new Map()
    for (const { name: topic, partitions } of found?.topics ?? []) {
      for (const {
        partitionIndex: partition,
        committedOffset,
        committedLeaderEpoch: leaderEpoch,
        metadata,
      } of partitions) {
        const offset = Number(committedOffset)
        if (offset >= 0)
          committed.set(textOf({ topic, partition }), {
            topic,
            partition,
            offset,
            leaderEpoch,
            metadata: metadata ?? '',
          })
      }
    }
    return committed
  }

  async delete(groupIds: readonly string[]): Promise<GroupDeletion[]> {
    const deletions: GroupDeletion[] = []
    for (const groupId of groupIds) {
      try {
        await remotely(this.#client.deleteGroups({ groups: [groupId] }), { groupId })
        deletions.push({ groupId })
      } catch (error) {
        deletions.push({ groupId, error: toErrorData(error) })
      }
    }
    return deletions
  }

  /** @throws GROUP_SUBSCRIBED_TO_TOPIC, GROUP_ID_NOT_FOUND */
  async deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<void> {
    const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, own]) => ({
      name,
      partitionIndexes: own.map(({ partition }) => partition),
    }))
    await remotely(this.#client.deleteConsumerGroupOffsets({ groupId, topics }), { groupId })
  }

  /** @throws NON_EMPTY_GROUP while it has members, GROUP_ID_NOT_FOUND, UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT */
  async reset(groupId: string, { to, topics, partitions, dryRun = false }: ResetOptions): Promise<OffsetChange[]> {
    checkTo(to)
    await this.#demandEmpty(groupId, topics !== undefined || partitions !== undefined)
    const committed = await this.#committed(groupId)
    const committedTopics = [...new Set([...committed.values()].map(({ topic }) => topic))]
    const wanted = partitions ?? (await this.#partitionsOf(topics ?? committedTopics))
    const bounds = await this.#bounds(wanted)
    const times =
      typeof to === 'object' && 'timestamp' in to ? await this.#offsetsOf(wanted, offsetAt(to.timestamp)) : undefined
    const changes = bounds.map(each => {
      const from = committed.get(textOf(each))?.offset ?? null
      const { topic, partition } = each
      return { topic, partition, from, to: targetOffset(to, each, from, () => times?.get(textOf(each))) }
    })
    if (!dryRun && changes.length > 0) await this.#store(groupId, changes)
    return changes
  }

  /** @throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND unless it may be a new one */
  async #demandEmpty(groupId: string, mayBeNew: boolean): Promise<void> {
    const listed = await this.#find(groupId)
    if (listed === undefined && mayBeNew) return
    if (listed === undefined) throw new MillraceError('GROUP_ID_NOT_FOUND', { groupId })
    const { members } = await this.#describeMembers(listed)
    if (members.length > 0) throw new MillraceError('NON_EMPTY_GROUP', { groupId, members: members.length })
  }

  async #partitionsOf(topics: readonly string[]): Promise<TopicPartition[]> {
    const described = await Promise.all(topics.map(topic => this.#cluster.topic(topic, true)))
    return described.flatMap(({ partitions }, at) =>
      partitions.map((_, partition) => ({ topic: topics[at] as string, partition })),
    )
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
      await this.#client.alterConsumerGroupOffsets({ groupId, topics })
    } catch (error) {
      // Kafka's answer to one who commits for a group of others.
      if (kafkaCodeIn(error) === UNKNOWN_MEMBER_ID) throw new MillraceError('NON_EMPTY_GROUP', { groupId }, error)
      throw toMillraceError(error, { groupId })
    }
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
