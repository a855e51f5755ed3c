/** Metadata, DescribeCluster, DescribeTopicPartitions: which brokers and topics there are. */
import { MillraceError } from '../../base/errors.ts'
import type { ClientPartition, ClientTopic } from '../../broker/topic-metadata.ts'
import { checkTopicName } from '../../format/file-names.ts'
import type { WrittenMessage } from '../codec/notation.ts'
import { KAFKA_ERROR, kafkaCodeOf } from '../error-codes.ts'
import { CLUSTER_OPERATIONS, type Handler, NOT_ASKED, TOPIC_OPERATIONS } from '../handler.ts'
import { GROUPS_TOPIC } from '../internal-topics.ts'
import type { describeCluster } from '../messages/describe-cluster.ts'
import type { describeTopicPartitions } from '../messages/describe-topic-partitions.ts'
import type { metadata, metadataResponse } from '../messages/metadata.ts'
import type { KafkaService } from '../service.ts'

type TopicAnswer = WrittenMessage<typeof metadataResponse>['topics'][number]

const NO_ID = '00000000-0000-0000-0000-000000000000'
/** Of one DescribeTopicPartitions answer, as Kafka's `max.request.partition.size.limit`. */
const PAGE_PARTITIONS_MAX = 2_000

export const handleMetadata: Handler<typeof metadata> = async (service, request, call) => {
  const { topics, allowAutoTopicCreation } = request
  // In version 0 all topics are asked for with an empty list.
  const isAll = topics === null || (call.apiVersion === 0 && topics.length === 0)
  const found: (ClientTopic | TopicAnswer)[] = []
  if (isAll) found.push(...service.topics.all())
  else for (const wanted of topics) found.push(await find(service, wanted, allowAutoTopicCreation))
  const asked = request.includeTopicAuthorizedOperations ? TOPIC_OPERATIONS : NOT_ASKED
  return {
    brokers: [...service.cluster.brokers(call)],
    clusterId: service.clusterId,
    controllerId: service.cluster.controllerId,
    topics: found.map(topic => ('errorCode' in topic ? topic : describe(service, topic, asked))),
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NOT_ASKED,
  }
}

async function find(
  service: KafkaService,
  { name, topicId }: { name: string | null; topicId: string },
  mayCreate: boolean,
): Promise<ClientTopic | TopicAnswer> {
  const failed = (errorCode: number): TopicAnswer => ({ errorCode, name, topicId, partitions: [] })
  if (name === null) return service.topics.byId(topicId) ?? failed(KAFKA_ERROR.UNKNOWN_TOPIC_ID)
  const known = service.topics.byName(name)
  if (known !== undefined) return known
  try {
    checkTopicName(name)
    if (!mayCreate || !service.settings.autoCreateTopics) return failed(KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION)
    const { defaultPartitions: partitions } = service.settings
    const unsaid = { replicationFactor: undefined, assignments: undefined }
    await service.cluster.createTopic({ topic: name, partitions, config: {}, ...unsaid })
  } catch (error) {
    // Two clients may have asked for it at once.
    if (!(error instanceof MillraceError && error.code === 'TOPIC_ALREADY_EXISTS')) return failed(kafkaCodeOf(error))
  }
  return service.topics.byName(name) ?? failed(KAFKA_ERROR.LEADER_NOT_AVAILABLE)
}

function describe(service: KafkaService, topic: ClientTopic, topicAuthorizedOperations: number): TopicAnswer {
  return {
    errorCode: KAFKA_ERROR.NONE,
    name: topic.topic,
    topicId: topic.topicId,
    isInternal: service.placement !== undefined && topic.topic === GROUPS_TOPIC,
    partitions: topic.partitions.map(partition => describePartition(service, partition)),
    topicAuthorizedOperations,
  }
}

function describePartition({ cluster }: KafkaService, partition: ClientPartition) {
  const { leaderId, leaderEpoch, replicas, isr, offline } = cluster.describe(partition)
  return {
    errorCode: leaderId < 0 ? KAFKA_ERROR.LEADER_NOT_AVAILABLE : KAFKA_ERROR.NONE,
    partitionIndex: partition.partition,
    leaderId,
    leaderEpoch,
    replicaNodes: [...replicas],
    isrNodes: [...isr],
    offlineReplicas: [...offline],
  }
}

export const handleDescribeCluster: Handler<typeof describeCluster> = (service, request, call) => {
  const { clusterId, cluster } = service
  const isOfBrokers = request.endpointType === 1
  return {
    // Controllers are not told apart: whoever wants their addresses is answered as a broker of Kafka answers.
    errorCode: isOfBrokers ? KAFKA_ERROR.NONE : KAFKA_ERROR.UNSUPPORTED_VERSION,
    errorMessage: isOfBrokers ? null : 'This listener knows brokers only.',
    endpointType: request.endpointType,
    clusterId,
    controllerId: cluster.controllerId,
    brokers: isOfBrokers
      ? cluster.brokers(call).map(({ nodeId, ...address }) => ({ brokerId: nodeId, ...address, isFenced: false }))
      : [],
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NOT_ASKED,
  }
}

export const handleDescribeTopicPartitions: Handler<typeof describeTopicPartitions> = (service, request) => {
  const { cursor } = request
  const names =
    request.topics.length > 0 ? request.topics.map(({ name }) => name) : service.topics.all().map(({ topic }) => topic)
  const wanted = [...new Set(names)].sort().filter(name => cursor === null || name >= cursor.topicName)
  const most = Math.min(Math.max(request.responsePartitionLimit, 1), PAGE_PARTITIONS_MAX)
  const topics: TopicAnswer[] = []
  let count = 0
  for (const name of wanted) {
    const topic = service.topics.byName(name)
    if (topic === undefined) {
      const errorCode = KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION
      topics.push({ errorCode, name, topicId: NO_ID, partitions: [] })
      continue
    }
    const from = cursor?.topicName === name ? Math.max(cursor.partitionIndex, 0) : 0
    const page = topic.partitions.slice(from, from + most - count)
    const { partitions, ...described } = describe(service, { ...topic, partitions: page }, TOPIC_OPERATIONS)
    // Kafka's admin client takes the two as lists, whatever the protocol says.
    const listed = partitions.map(one => ({ ...one, eligibleLeaderReplicas: [], lastKnownElr: [] }))
    if (page.length > 0) topics.push({ ...described, partitions: listed })
    count += page.length
    const next = from + page.length
    if (next < topic.partitions.length) return { topics, nextCursor: { topicName: name, partitionIndex: next } }
  }
  return { topics, nextCursor: null }
}
