/** TxnOffsetCommit (key 28): offsets that count once a transaction commits. */
import { answer, array, int16, int32, int64, message, string } from '../codec/notation.ts'

export const txnOffsetCommitRequest = message('3+', {
  transactionalId: string(),
  groupId: string(),
  producerId: int64(),
  producerEpoch: int16(),
  generationId: int32('3+', { default: -1 }),
  memberId: string('3+', { default: '' }),
  groupInstanceId: string('3+', { nullable: '3+', default: null }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      committedOffset: int64(),
      committedLeaderEpoch: int32('2+', { default: -1, ignorable: true }),
      committedMetadata: string('0+', { nullable: '0+' }),
    }),
  }),
})

export const txnOffsetCommitResponse = answer('3+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
    }),
  }),
})

export const txnOffsetCommit = {
  key: 28,
  name: 'TxnOffsetCommit',
  versions: [0, 5],
  request: txnOffsetCommitRequest,
  response: txnOffsetCommitResponse,
} as const
