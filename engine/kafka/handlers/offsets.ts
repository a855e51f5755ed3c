/** OffsetCommit, OffsetFetch, OffsetDelete: how far groups have come. */
import type { TopicId } from '../../base/brands.ts'
import { OFFSET_METADATA_BYTES_MAX } from '../../base/limits.ts'
import type { OffsetToCommit } from '../../group/requests.ts'
import type { PartitionOffset } from '../../store/offsets.ts'
import { KAFKA_ERROR, kafkaCodeOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import type { offsetCommit } from '../messages/offset-commit.ts'
import type { offsetDelete } from '../messages/offset-delete.ts'
import type { offsetFetch } from '../messages/offset-fetch.ts'
import type { KafkaService } from '../service.ts'

/** Topics are named by id. */
const ID_VERSION = 10
/** Several groups at once. */
const FETCH_BATCHED = 8

export const handleOffsetCommit: Handler<typeof offsetCommit> = async (service, request, call) => {
  const offsets: OffsetToCommit[] = []
  const topics = request.topics.map(({ name, topicId, partitions }) => {
    const topic = service.topic(call.apiVersion >= ID_VERSION ? { topicId } : { name })
    const answers = partitions.map(partition => {
      const { partitionIndex, committedOffset, committedLeaderEpoch, committedMetadata } = partition
      const located = service.partition(topic, partitionIndex)
      const metadata = committedMetadata ?? ''
      const answer = { partitionIndex, errorCode: typeof located === 'number' ? located : (KAFKA_ERROR.NONE as number) }
      if (Buffer.byteLength(metadata) > OFFSET_METADATA_BYTES_MAX)
        answer.errorCode = KAFKA_ERROR.OFFSET_METADATA_TOO_LARGE
      if (answer.errorCode === KAFKA_ERROR.NONE && typeof topic !== 'number') {
        offsets.push({
          topicId: topic.topicId as TopicId,
          partition: partitionIndex,
          offset: committedOffset,
          leaderEpoch: committedLeaderEpoch,
          metadata,
        })
      }
      return answer
    })
    return { name, topicId, partitions: answers }
  })
  const { groupId, generationIdOrMemberEpoch, memberId, groupInstanceId } = request
  try {
    await service.groups.coordinator.offsetCommit({
      groupId,
      generationIdOrMemberEpoch,
      memberId,
      instanceId: groupInstanceId,
      offsets,
    })
  } catch (error) {
    const errorCode = kafkaCodeOf(error)
    for (const { partitions } of topics) {
      for (const answer of partitions) if (answer.errorCode === KAFKA_ERROR.NONE) answer.errorCode = errorCode
    }
  }
  return { topics }
}

interface WantedTopic {
  readonly name: string
  readonly topicId: string
  readonly partitionIndexes: readonly number[]
}

export const handleOffsetFetch: Handler<typeof offsetFetch> = async (service, request, call) => {
  if (call.apiVersion >= FETCH_BATCHED) {
    const isId = call.apiVersion >= ID_VERSION
    const groups = request.groups.map(async ({ groupId, memberId, memberEpoch, topics }) => ({
      groupId,
      ...(await fetchOf(service, groupId, memberId, memberEpoch, topics, isId)),
    }))
    return { groups: await Promise.all(groups) }
  }
  const wanted = request.topics?.map(topic => ({ ...topic, topicId: '' })) ?? null
  const { topics, errorCode } = await fetchOf(service, request.groupId, null, -1, wanted, false)
  // Version 1 has no room for an error but with each partition.
  if (call.apiVersion >= 2 || errorCode === KAFKA_ERROR.NONE) return { topics, errorCode }
  const failed = (wanted ?? []).map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map(partitionIndex => ({ ...nothing(partitionIndex), errorCode })),
  }))
  return { topics: failed }
}

const nothing = (partitionIndex: number) => ({
  partitionIndex,
  committedOffset: -1,
  committedLeaderEpoch: -1,
  metadata: '',
  errorCode: KAFKA_ERROR.NONE as number,
})

async function fetchOf(
  service: KafkaService,
  groupId: string,
  memberId: string | null,
  memberEpoch: number,
  wanted: readonly WantedTopic[] | null,
  isId: boolean,
) {
  let offsets: readonly PartitionOffset[]
  try {
    offsets = await service.groups.coordinator.offsetFetch({ groupId, memberId, memberEpoch }, null)
  } catch (error) {
    return { topics: [], errorCode: kafkaCodeOf(error) }
  }
  const found = new Map(offsets.map(committed => [`${committed.partition} ${committed.topicId}`, committed]))
  const topics = wanted ?? allOf(service, offsets)
  return {
    errorCode: KAFKA_ERROR.NONE,
    topics: topics.map(({ name, topicId, partitionIndexes }) => {
      const topic = service.topic(isId || name === '' ? { topicId } : { name })
      const partitions = partitionIndexes.map(partitionIndex => {
        if (typeof topic === 'number') {
          // A name that nobody knows was never committed for; an id that nobody knows is an error.
          return { ...nothing(partitionIndex), errorCode: isId ? topic : KAFKA_ERROR.NONE }
        }
        const committed = found.get(`${partitionIndex} ${topic.topicId}`)
        if (committed === undefined) return nothing(partitionIndex)
        const { offset, leaderEpoch, metadata } = committed
        return { ...nothing(partitionIndex), committedOffset: offset, committedLeaderEpoch: leaderEpoch, metadata }
      })
      return { name, topicId, partitions }
    }),
  }
}

/** All topics for which something is committed. */
function allOf(service: KafkaService, offsets: readonly PartitionOffset[]): WantedTopic[] {
  const byTopic = new Map<string, number[]>()
  for (const { topicId, partition } of offsets) {
    const partitions = byTopic.get(topicId) ?? []
    partitions.push(partition)
    byTopic.set(topicId, partitions)
  }
  return [...byTopic].flatMap(([topicId, partitionIndexes]) => {
    const topic = service.topics.byId(topicId)
    return topic === undefined ? [] : [{ name: topic.topic, topicId, partitionIndexes }]
  })
}

export const handleOffsetDelete: Handler<typeof offsetDelete> = async (service, { groupId, topics }) => {
  const located = topics.map(({ name, partitions }) => ({
    name,
    topic: service.topics.byName(name),
    partitions: partitions.map(({ partitionIndex }) => partitionIndex),
  }))
  try {
    const wanted = located.flatMap(({ topic, partitions }) =>
      topic === undefined ? [] : [{ topicId: topic.topicId as TopicId, partitions }],
    )
    const { subscribed } = await service.groups.coordinator.offsetDelete({ groupId, topics: wanted })
    return {
      errorCode: KAFKA_ERROR.NONE,
      topics: located.map(({ name, topic, partitions }) => {
        const isSubscribed = topic !== undefined && subscribed.includes(topic.topicId as TopicId)
        const known = isSubscribed ? KAFKA_ERROR.GROUP_SUBSCRIBED_TO_TOPIC : KAFKA_ERROR.NONE
        const errorCode = topic === undefined ? KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION : known
        return { name, partitions: partitions.map(partitionIndex => ({ partitionIndex, errorCode })) }
      }),
    }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error), topics: [] }
  }
}
