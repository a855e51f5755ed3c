/** DescribeQuorum (key 55): state of the metadata quorum. */
import { answer, array, int16, int32, int64, message, string, uint16, uuid } from '../codec/notation.ts'

export const describeQuorumRequest = message('0+', {
  topics: array({
    topicName: string(),
    partitions: array({
      partitionIndex: int32(),
    }),
  }),
})

export const describeQuorumResponse = answer('0+', {
  errorCode: int16(),
  errorMessage: string('2+', { nullable: '2+', ignorable: true }),
  topics: array({
    topicName: string(),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
      errorMessage: string('2+', { nullable: '2+', ignorable: true }),
      leaderId: int32(),
      leaderEpoch: int32(),
      highWatermark: int64(),
      currentVoters: array({
        replicaId: int32(),
        replicaDirectoryId: uuid('2+'),
        logEndOffset: int64(),
        lastFetchTimestamp: int64('1+', { default: -1, ignorable: true }),
        lastCaughtUpTimestamp: int64('1+', { default: -1, ignorable: true }),
      }),
      observers: array({
        replicaId: int32(),
        replicaDirectoryId: uuid('2+'),
        logEndOffset: int64(),
        lastFetchTimestamp: int64('1+', { default: -1, ignorable: true }),
        lastCaughtUpTimestamp: int64('1+', { default: -1, ignorable: true }),
      }),
    }),
  }),
  nodes: array(
    {
      nodeId: int32('2+'),
      listeners: array(
        {
          name: string('2+'),
          host: string('2+'),
          port: uint16('2+'),
        },
        '2+',
      ),
    },
    '2+',
  ),
})

export const describeQuorum = {
  key: 55,
  name: 'DescribeQuorum',
  versions: [0, 2],
  request: describeQuorumRequest,
  response: describeQuorumResponse,
} as const
