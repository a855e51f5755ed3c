/** Administration of groups: what there is, who has what, how far behind it is, and moving it. In the thread of the engine. */
import type { TopicId } from '../engine/base/brands.ts'
import { isMillraceError, MillraceError, toErrorData } from '../engine/base/errors.ts'
import { decodeAssignment } from '../engine/group/consumer-protocol.ts'
import type { GroupAnswer, GroupSource } from '../engine/group/group-source.ts'
import { PartitionReader } from '../engine/log/partition-reader.ts'
import type { PartitionOffset } from '../engine/store/offsets.ts'
import type { TopicPartition } from './consumer-types.ts'
import { type Bounds, checkTo, describeOffset, inOrder, targetOffset, textOf } from './group-offsets.ts'
import type {
  GroupDeletion,
  GroupDescription,
  GroupListing,
  GroupMember,
  GroupOffset,
  OffsetChange,
  ResetOptions,
  ResetTo,
} from './group-types.ts'
import type { PeekSource } from './queue-peek.ts'

interface Located extends TopicPartition {
  readonly topicId: TopicId
  readonly reader: PartitionReader
}

export class GroupAdmin {
  readonly #topics: PeekSource
  readonly #groups: GroupSource

  constructor(topics: PeekSource, groups: GroupSource) {
    this.#topics = topics
    this.#groups = groups
  }

  async list(): Promise<GroupListing[]> {
    const groups = await this.#groups.list()
    return groups
      .map(({ groupId, state, groupType, protocolType }) => ({ groupId, state, groupType, protocolType }))
      .sort((a, b) => (a.groupId < b.groupId ? -1 : 1))
  }

  /** @throws GROUP_ID_NOT_FOUND */
  async describe(groupId: string): Promise<GroupDescription> {
    const answer = await this.#groups.describe(groupId)
    const names = this.#groups.topicNames()
    const members = membersOf(answer, names)
    const owners = new Map(
      members.flatMap(({ memberId, partitions }) => partitions.map(partition => [textOf(partition), memberId])),
    )
    const committed = new Map<string, PartitionOffset & TopicPartition>()
    for (const offset of this.#groups.offsets(groupId)) {
      const topic = names.get(offset.topicId)
      if (topic !== undefined) committed.set(textOf({ topic, partition: offset.partition }), { ...offset, topic })
    }
    const all = new Map<string, TopicPartition>([
      ...[...committed].map(([text, { topic, partition }]) => [text, { topic, partition }] as const),
      ...members.flatMap(({ partitions }) => partitions.map(partition => [textOf(partition), partition] as const)),
    ])
    const offsets: GroupOffset[] = []
    for (const [text, partition] of all) {
      const located = await this.#locate(partition)
      if (located !== undefined) offsets.push(describeOffset(boundsOf(located), committed.get(text), owners.get(text)))
    }
    const isClassic = answer.type === 'DescribeGroup'
    return {
      groupId,
      state: answer.state,
      groupType: isClassic ? 'classic' : 'consumer',
      protocolType: isClassic ? answer.protocolType : 'consumer',
      assignor: isClassic ? answer.protocolName : answer.assignorName,
      members,
      offsets: offsets.sort(inOrder),
    }
  }

  /** Each by itself. */
  async delete(groupIds: readonly string[]): Promise<GroupDeletion[]> {
    const { owner } = this.#groups
    return Promise.all(
      groupIds.map(groupId =>
        owner.deleteGroup({ groupId }).then(
          () => ({ groupId }),
          (error: unknown) => ({ groupId, error: toErrorData(error) }),
        ),
      ),
    )
  }

  /** @throws GROUP_ID_NOT_FOUND, GROUP_SUBSCRIBED_TO_TOPIC, NON_EMPTY_GROUP, UNKNOWN_TOPIC_OR_PARTITION */
  async deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<void> {
    const { owner } = this.#groups
    const byTopic = Map.groupBy(await this.#locateAll(partitions), ({ topicId }) => topicId)
    const topics = [...byTopic].map(([topicId, located]) => ({
      topicId,
      partitions: located.map(({ partition }) => partition),
    }))
    const { subscribed } = await owner.offsetDelete({ groupId, topics })
    if (subscribed.length === 0) return
    const names = this.#groups.topicNames()
    const topicNames = subscribed.map(topicId => names.get(topicId) ?? topicId).join(' ')
    throw new MillraceError('GROUP_SUBSCRIBED_TO_TOPIC', { groupId, topics: topicNames })
  }

  /** @throws NON_EMPTY_GROUP, UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT, GROUP_ID_NOT_FOUND for one without commits and no topic named */
  async reset(groupId: string, { to, topics, partitions, dryRun = false }: ResetOptions): Promise<OffsetChange[]> {
    checkTo(to)
    const names = this.#groups.topicNames()
    const stored = this.#groups.offsets(groupId)
    const committed = new Map(stored.map(offset => [`${offset.topicId} ${offset.partition}`, offset.offset]))
    await this.#demandEmpty(groupId, topics !== undefined || partitions !== undefined)
    const committedTopics = [...new Set(stored.flatMap(({ topicId }) => names.get(topicId) ?? []))].sort()
    const wanted = partitions ?? (await this.#partitionsOf(topics ?? committedTopics))
    const located = await this.#locateAll(wanted)
    const changes = located.map(each => {
      const from = committed.get(`${each.topicId} ${each.partition}`) ?? null
      return { topic: each.topic, partition: each.partition, from, to: offsetFor(to, each, from) }
    })
    if (!dryRun && changes.length > 0) {
      const { owner } = this.#groups
      const offsets = changes.map(({ partition, to: offset }, i) => {
        return { topicId: (located[i] as Located).topicId, partition, offset, leaderEpoch: -1, metadata: '' }
      })
      const nobody = { memberId: '', instanceId: null, generationIdOrMemberEpoch: -1 }
      try {
        await owner.offsetCommit({ groupId, ...nobody, offsets })
      } catch (error) {
        // Somebody joined since it was looked at.
        if (isMillraceError(error, 'UNKNOWN_MEMBER_ID')) throw new MillraceError('NON_EMPTY_GROUP', { groupId })
        throw error
      }
    }
    return changes.sort(inOrder)
  }

  /** @throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND unless it may be a new one */
  async #demandEmpty(groupId: string, mayBeNew: boolean): Promise<void> {
    try {
      const members = (await this.#groups.describe(groupId)).members.length
      if (members > 0) throw new MillraceError('NON_EMPTY_GROUP', { groupId, members })
    } catch (error) {
      if (!mayBeNew || !isMillraceError(error, 'GROUP_ID_NOT_FOUND')) throw error
    }
  }

  async #partitionsOf(topics: readonly string[]): Promise<TopicPartition[]> {
    const described = await Promise.all(topics.map(topic => this.#topics.clientTopic(topic)))
    return described.flatMap(({ topic, partitions }) => partitions.map(({ partition }) => ({ topic, partition })))
  }

  async #locateAll(partitions: readonly TopicPartition[]): Promise<Located[]> {
    return Promise.all(
      partitions.map(async ({ topic, partition }) => {
        const located = await this.#locate({ topic, partition })
        if (located === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
        return located
      }),
    )
  }

  async #locate({ topic, partition }: TopicPartition): Promise<Located | undefined> {
    const { topicId, partitions } = await this.#topics.clientTopic(topic)
    const location = partitions[partition]
    if (location === undefined) return undefined
    const { control, segments } = this.#topics.memory
    return { topic, partition, topicId: topicId as TopicId, reader: new PartitionReader(location, control, segments) }
  }
}

function membersOf(answer: GroupAnswer, names: ReadonlyMap<TopicId, string>): GroupMember[] {
  if (answer.type === 'ConsumerGroupDescribe') {
    return answer.members.map(({ memberId, instanceId, clientId, clientHost, protocol, assignment }) => ({
      memberId,
      instanceId,
      clientId,
      clientHost,
      protocol,
      partitions: assignment.flatMap(({ topicId, partitions }) => {
        const topic = names.get(topicId)
        return topic === undefined ? [] : partitions.map(partition => ({ topic, partition }))
      }),
    }))
  }
  return answer.members.map(({ memberId, instanceId, clientId, clientHost, assignment }) => ({
    memberId,
    instanceId,
    clientId,
    clientHost,
    protocol: 'classic',
    partitions: (decodeAssignment(assignment)?.partitions ?? []).flatMap(({ topic, partitions }) =>
      partitions.map(partition => ({ topic, partition })),
    ),
  }))
}

const boundsOf = ({ topic, partition, reader }: Located): Bounds => {
  const { logStartOffset, highWatermark } = reader
  return { topic, partition, logStartOffset, highWatermark }
}

function offsetFor(to: ResetTo, located: Located, from: number | null): number {
  const { reader } = located
  try {
    return targetOffset(to, boundsOf(located), from, timestamp => reader.seekTime(timestamp)?.offset)
  } finally {
    reader.unmap()
  }
}
