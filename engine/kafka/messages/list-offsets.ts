/** ListOffsets (key 2): the offset of a time, of the log's start, of its end. */
import { answer, array, int8, int16, int32, int64, message, string } from '../codec/notation.ts'

export const listOffsetsRequest = message('6+', {
  replicaId: int32(),
  isolationLevel: int8('2+'),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      currentLeaderEpoch: int32('4+', { default: -1, ignorable: true }),
      timestamp: int64(),
      maxNumOffsets: int32('0', { default: 1 }),
    }),
  }),
  timeoutMs: int32('10+', { ignorable: true }),
})

export const listOffsetsResponse = answer('6+', {
  throttleTimeMs: int32('2+', { ignorable: true }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
      oldStyleOffsets: array('int64', '0'),
      timestamp: int64('1+', { default: -1 }),
      offset: int64('1+', { default: -1 }),
      leaderEpoch: int32('4+', { default: -1 }),
    }),
  }),
})

export const listOffsets = {
  key: 2,
  name: 'ListOffsets',
  versions: [1, 11],
  request: listOffsetsRequest,
  response: listOffsetsResponse,
} as const
