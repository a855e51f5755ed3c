/** ConsumerGroupDescribe (key 69): state and members of groups of the new protocol. */
import { answer, array, bool, int8, int16, int32, message, string, struct, uuid } from '../codec/notation.ts'

export const consumerGroupDescribeRequest = message('0+', {
  groupIds: array('string'),
  includeAuthorizedOperations: bool(),
})

export const consumerGroupDescribeResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  groups: array({
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+', default: null }),
    groupId: string(),
    groupState: string(),
    groupEpoch: int32(),
    assignmentEpoch: int32(),
    assignorName: string(),
    members: array({
      memberId: string(),
      instanceId: string('0+', { nullable: '0+', default: null }),
      rackId: string('0+', { nullable: '0+', default: null }),
      memberEpoch: int32(),
      clientId: string(),
      clientHost: string(),
      subscribedTopicNames: array('string'),
      subscribedTopicRegex: string('0+', { nullable: '0+', default: null }),
      assignment: struct({
        topicPartitions: array({
          topicId: uuid(),
          topicName: string(),
          partitions: array('int32'),
        }),
      }),
      targetAssignment: struct({
        topicPartitions: array({
          topicId: uuid(),
          topicName: string(),
          partitions: array('int32'),
        }),
      }),
      memberType: int8('1+', { default: -1 }),
    }),
    authorizedOperations: int32('0+', { default: -2_147_483_648 }),
  }),
})

export const consumerGroupDescribe = {
  key: 69,
  name: 'ConsumerGroupDescribe',
  versions: [0, 1],
  request: consumerGroupDescribeRequest,
  response: consumerGroupDescribeResponse,
} as const
