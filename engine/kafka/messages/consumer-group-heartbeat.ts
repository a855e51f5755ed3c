/** ConsumerGroupHeartbeat (key 68): a member of a group of the new protocol (KIP-848) joins, lives, leaves. */
import { answer, array, int16, int32, message, string, struct, uuid } from '../codec/notation.ts'

export const consumerGroupHeartbeatRequest = message('0+', {
  groupId: string(),
  memberId: string(),
  memberEpoch: int32(),
  instanceId: string('0+', { nullable: '0+', default: null }),
  rackId: string('0+', { nullable: '0+', default: null }),
  rebalanceTimeoutMs: int32('0+', { default: -1 }),
  subscribedTopicNames: array('string', '0+', { nullable: '0+', default: null }),
  subscribedTopicRegex: string('1+', { nullable: '1+', default: null }),
  serverAssignor: string('0+', { nullable: '0+', default: null }),
  topicPartitions: array(
    {
      topicId: uuid(),
      partitions: array('int32'),
    },
    '0+',
    { nullable: '0+', default: null },
  ),
})

export const consumerGroupHeartbeatResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+', default: null }),
  memberId: string('0+', { nullable: '0+', default: null }),
  memberEpoch: int32(),
  heartbeatIntervalMs: int32(),
  assignment: struct(
    {
      topicPartitions: array({
        topicId: uuid(),
        partitions: array('int32'),
      }),
    },
    '0+',
    { nullable: '0+', default: null },
  ),
})

export const consumerGroupHeartbeat = {
  key: 68,
  name: 'ConsumerGroupHeartbeat',
  versions: [0, 1],
  request: consumerGroupHeartbeatRequest,
  response: consumerGroupHeartbeatResponse,
} as const
