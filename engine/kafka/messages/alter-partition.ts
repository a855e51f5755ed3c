/** AlterPartition (key 56): between brokers: a leader changes its ISR. */
import { answer, array, int8, int16, int32, int64, message, string, uuid } from '../codec/notation.ts'

export const alterPartitionRequest = message('0+', {
  brokerId: int32(),
  brokerEpoch: int64('0+', { default: -1 }),
  topics: array({
    topicName: string('0-1', { ignorable: true }),
    topicId: uuid('2+', { ignorable: true }),
    partitions: array({
      partitionIndex: int32(),
      leaderEpoch: int32(),
      newIsr: array('int32', '0-2'),
      newIsrWithEpochs: array(
        {
          brokerId: int32('3+'),
          brokerEpoch: int64('3+', { default: -1 }),
        },
        '3+',
      ),
      leaderRecoveryState: int8('1+', { default: 0 }),
      partitionEpoch: int32(),
    }),
  }),
})

export const alterPartitionResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  topics: array({
    topicName: string('0-1', { ignorable: true }),
    topicId: uuid('2+', { ignorable: true }),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
      leaderId: int32(),
      leaderEpoch: int32(),
      isr: array('int32'),
      leaderRecoveryState: int8('1+', { default: 0, ignorable: true }),
      partitionEpoch: int32(),
    }),
  }),
})

export const alterPartition = {
  key: 56,
  name: 'AlterPartition',
  versions: [0, 3],
  request: alterPartitionRequest,
  response: alterPartitionResponse,
} as const
