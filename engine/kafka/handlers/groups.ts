/** Groups from outside: ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups; and ConsumerGroupHeartbeat of their members. */
import type { TopicId } from '../../base/brands.ts'
import { isMillraceError } from '../../base/errors.ts'
import type { TopicPartitions } from '../../group/partition-set.ts'
import { KAFKA_ERROR, kafkaCodeOf, messageOf } from '../error-codes.ts'
import { GROUP_OPERATIONS, type Handler, NOT_ASKED } from '../handler.ts'
import type { consumerGroupDescribe } from '../messages/consumer-group-describe.ts'
import type { consumerGroupHeartbeat } from '../messages/consumer-group-heartbeat.ts'
import type { deleteGroups } from '../messages/delete-groups.ts'
import type { describeGroups } from '../messages/describe-groups.ts'
import type { listGroups } from '../messages/list-groups.ts'
import type { KafkaService } from '../service.ts'

/** From here on a group that is not there is an error; before it is a group that is dead. */
const DESCRIBE_NOT_FOUND = 6
const MEMBER_TYPE = { classic: 0, consumer: 1 } as const

const topicIds = (topics: readonly { topicId: string; partitions: number[] }[] | null): TopicPartitions[] | null =>
  topics?.map(({ topicId, partitions }) => ({ topicId: topicId as TopicId, partitions })) ?? null

export const handleConsumerGroupHeartbeat: Handler<typeof consumerGroupHeartbeat> = async (service, request, call) => {
  try {
    const answer = await service.groups.coordinator.consumerGroupHeartbeat({
      ...request,
      topicPartitions: topicIds(request.topicPartitions),
      clientId: call.clientId,
      clientHost: call.clientHost,
    })
    const { memberId, memberEpoch, heartbeatIntervalMs, assignment } = answer
    const topicPartitions = assignment?.map(({ topicId, partitions }) => ({ topicId, partitions: [...partitions] }))
    return {
      errorCode: KAFKA_ERROR.NONE,
      memberId,
      memberEpoch,
      heartbeatIntervalMs,
      assignment: topicPartitions === undefined ? null : { topicPartitions },
    }
  } catch (error) {
    const errorMessage = messageOf(error)
    return { errorCode: kafkaCodeOf(error), errorMessage, memberEpoch: 0, heartbeatIntervalMs: 0 }
  }
}

export const handleListGroups: Handler<typeof listGroups> = async (service, { statesFilter, typesFilter }) => {
  const { groups } = await service.groups.coordinator.listGroups()
  const admits = (filter: readonly string[], value: string): boolean =>
    filter.length === 0 || filter.some(wanted => wanted.toLowerCase() === value.toLowerCase())
  return {
    errorCode: KAFKA_ERROR.NONE,
    groups: groups
      .filter(({ state, groupType }) => admits(statesFilter, state) && admits(typesFilter, groupType))
      .map(({ groupId, protocolType, state, groupType }) => ({ groupId, protocolType, groupState: state, groupType })),
  }
}

export const handleDescribeGroups: Handler<typeof describeGroups> = async (service, request, call) => {
  const authorizedOperations = request.includeAuthorizedOperations ? GROUP_OPERATIONS : NOT_ASKED
  const groups = request.groups.map(async groupId => {
    try {
      const described = await service.groups.coordinator.describeGroup({ groupId })
      const { state, protocolType, protocolName, members } = described
      return {
        errorCode: KAFKA_ERROR.NONE,
        groupId,
        groupState: state,
        protocolType,
        protocolData: protocolName,
        members: members.map(({ instanceId, metadata, assignment, ...member }) => ({
          ...member,
          groupInstanceId: instanceId,
          memberMetadata: metadata,
          memberAssignment: assignment,
        })),
        authorizedOperations,
      }
    } catch (error) {
      const isDead = isMillraceError(error, 'GROUP_ID_NOT_FOUND') && call.apiVersion < DESCRIBE_NOT_FOUND
      const errorCode = isDead ? KAFKA_ERROR.NONE : kafkaCodeOf(error)
      const errorMessage = call.apiVersion < DESCRIBE_NOT_FOUND ? null : messageOf(error)
      const state = {
        groupState: isMillraceError(error, 'GROUP_ID_NOT_FOUND') ? 'Dead' : '',
        protocolType: '',
        protocolData: '',
      }
      return { errorCode, errorMessage, groupId, ...state, members: [], authorizedOperations }
    }
  })
  return { groups: await Promise.all(groups) }
}

export const handleConsumerGroupDescribe: Handler<typeof consumerGroupDescribe> = async (service, request) => {
  const authorizedOperations = request.includeAuthorizedOperations ? GROUP_OPERATIONS : NOT_ASKED
  const groups = request.groupIds.map(async groupId => {
    try {
      const described = await service.groups.coordinator.consumerGroupDescribe({ groupId })
      const { state, groupEpoch, assignmentEpoch, assignorName, members } = described
      return {
        errorCode: KAFKA_ERROR.NONE,
        groupId,
        groupState: state,
        groupEpoch,
        assignmentEpoch,
        assignorName,
        members: members.map(({ assignment, targetAssignment, protocol, subscribedTopicNames, ...member }) => ({
          ...member,
          subscribedTopicNames: [...subscribedTopicNames],
          assignment: { topicPartitions: named(service, assignment) },
          targetAssignment: { topicPartitions: named(service, targetAssignment) },
          memberType: MEMBER_TYPE[protocol],
        })),
        authorizedOperations,
      }
    } catch (error) {
      const unknown = { groupState: '', groupEpoch: 0, assignmentEpoch: 0, assignorName: '', members: [] }
      return {
        errorCode: kafkaCodeOf(error),
        errorMessage: messageOf(error),
        groupId,
        ...unknown,
        authorizedOperations,
      }
    }
  })
  return { groups: await Promise.all(groups) }
}

function named(service: KafkaService, topics: readonly TopicPartitions[]) {
  return topics.map(({ topicId, partitions }) => ({
    topicId,
    topicName: service.topics.byId(topicId)?.topic ?? '',
    partitions: [...partitions],
  }))
}

export const handleDeleteGroups: Handler<typeof deleteGroups> = async (service, { groupsNames }) => {
  const results = groupsNames.map(async groupId => {
    try {
      await service.groups.coordinator.deleteGroup({ groupId })
      return { groupId, errorCode: KAFKA_ERROR.NONE }
    } catch (error) {
      return { groupId, errorCode: kafkaCodeOf(error) }
    }
  })
  return { results: await Promise.all(results) }
}
