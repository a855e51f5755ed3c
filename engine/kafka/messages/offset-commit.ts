/** OffsetCommit (key 8): stores how far a group has come. */
import { answer, array, int16, int32, int64, message, string, uuid } from '../codec/notation.ts'

export const offsetCommitRequest = message('8+', {
  groupId: string(),
  generationIdOrMemberEpoch: int32('1+', { default: -1, ignorable: true }),
  memberId: string('1+', { ignorable: true }),
  groupInstanceId: string('7+', { nullable: '7+', default: null }),
  retentionTimeMs: int64('2-4', { default: -1, ignorable: true }),
  topics: array({
    name: string('0-9', { ignorable: true }),
    topicId: uuid('10+', { ignorable: true }),
    partitions: array({
      partitionIndex: int32(),
      committedOffset: int64(),
      committedLeaderEpoch: int32('6+', { default: -1, ignorable: true }),
      commitTimestamp: int64('1', { default: -1 }),
      committedMetadata: string('0+', { nullable: '0+' }),
    }),
  }),
})

export const offsetCommitResponse = answer('8+', {
  throttleTimeMs: int32('3+', { ignorable: true }),
  topics: array({
    name: string('0-9', { ignorable: true }),
    topicId: uuid('10+', { ignorable: true }),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
    }),
  }),
})

export const offsetCommit = {
  key: 8,
  name: 'OffsetCommit',
  versions: [2, 10],
  request: offsetCommitRequest,
  response: offsetCommitResponse,
} as const
