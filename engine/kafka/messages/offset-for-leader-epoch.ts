/** OffsetForLeaderEpoch (key 23): where leader epochs end. */
import { answer, array, int16, int32, int64, message, string } from '../codec/notation.ts'

export const offsetForLeaderEpochRequest = message('4+', {
  replicaId: int32('3+', { default: -2, ignorable: true }),
  topics: array({
    topic: string(),
    partitions: array({
      partition: int32(),
      currentLeaderEpoch: int32('2+', { default: -1, ignorable: true }),
      leaderEpoch: int32(),
    }),
  }),
})

export const offsetForLeaderEpochResponse = answer('4+', {
  throttleTimeMs: int32('2+', { ignorable: true }),
  topics: array({
    topic: string(),
    partitions: array({
      errorCode: int16(),
      partition: int32(),
      leaderEpoch: int32('1+', { default: -1, ignorable: true }),
      endOffset: int64('0+', { default: -1 }),
    }),
  }),
})

export const offsetForLeaderEpoch = {
  key: 23,
  name: 'OffsetForLeaderEpoch',
  versions: [2, 4],
  request: offsetForLeaderEpochRequest,
  response: offsetForLeaderEpochResponse,
} as const
