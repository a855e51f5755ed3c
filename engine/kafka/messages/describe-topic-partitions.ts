/** DescribeTopicPartitions (key 75): topics and their partitions, page by page. */
import { answer, array, bool, int16, int32, message, string, struct, uuid } from '../codec/notation.ts'

export const describeTopicPartitionsRequest = message('0+', {
  topics: array({
    name: string(),
  }),
  responsePartitionLimit: int32('0+', { default: 2000 }),
  cursor: struct(
    {
      topicName: string(),
      partitionIndex: int32(),
    },
    '0+',
    { nullable: '0+', default: null },
  ),
})

export const describeTopicPartitionsResponse = answer('0+', {
  throttleTimeMs: int32('0+', { ignorable: true }),
  topics: array({
    errorCode: int16(),
    name: string('0+', { nullable: '0+' }),
    topicId: uuid('0+', { ignorable: true }),
    isInternal: bool('0+', { default: false, ignorable: true }),
    partitions: array({
      errorCode: int16(),
      partitionIndex: int32(),
      leaderId: int32(),
      leaderEpoch: int32('0+', { default: -1, ignorable: true }),
      replicaNodes: array('int32'),
      isrNodes: array('int32'),
      eligibleLeaderReplicas: array('int32', '0+', { nullable: '0+', default: null }),
      lastKnownElr: array('int32', '0+', { nullable: '0+', default: null }),
      offlineReplicas: array('int32', '0+', { ignorable: true }),
    }),
    topicAuthorizedOperations: int32('0+', { default: -2_147_483_648 }),
  }),
  nextCursor: struct(
    {
      topicName: string(),
      partitionIndex: int32(),
    },
    '0+',
    { nullable: '0+', default: null },
  ),
})

export const describeTopicPartitions = {
  key: 75,
  name: 'DescribeTopicPartitions',
  versions: [0, 0],
  request: describeTopicPartitionsRequest,
  response: describeTopicPartitionsResponse,
} as const
