/** OffsetFetch (key 9): how far groups have come. */
import { answer, array, bool, int16, int32, int64, message, string, uuid } from '../codec/notation.ts'

export const offsetFetchRequest = message('6+', {
  groupId: string('0-7'),
  topics: array(
    {
      name: string('0-7'),
      partitionIndexes: array('int32', '0-7'),
    },
    '0-7',
    { nullable: '2-7' },
  ),
  groups: array(
    {
      groupId: string('8+'),
      memberId: string('9+', { nullable: '9+', default: null, ignorable: true }),
      memberEpoch: int32('9+', { default: -1, ignorable: true }),
      topics: array(
        {
          name: string('8-9', { ignorable: true }),
          topicId: uuid('10+', { ignorable: true }),
          partitionIndexes: array('int32', '8+'),
        },
        '8+',
        { nullable: '8+' },
      ),
    },
    '8+',
  ),
  requireStable: bool('7+', { default: false }),
})

export const offsetFetchResponse = answer('6+', {
  throttleTimeMs: int32('3+', { ignorable: true }),
  topics: array(
    {
      name: string('0-7'),
      partitions: array(
        {
          partitionIndex: int32('0-7'),
          committedOffset: int64('0-7'),
          committedLeaderEpoch: int32('5-7', { default: -1, ignorable: true }),
          metadata: string('0-7', { nullable: '0-7' }),
          errorCode: int16('0-7'),
        },
        '0-7',
      ),
    },
    '0-7',
  ),
  errorCode: int16('2-7', { default: 0, ignorable: true }),
  groups: array(
    {
      groupId: string('8+'),
      topics: array(
        {
          name: string('8-9', { ignorable: true }),
          topicId: uuid('10+', { ignorable: true }),
          partitions: array(
            {
              partitionIndex: int32('8+'),
              committedOffset: int64('8+'),
              committedLeaderEpoch: int32('8+', { default: -1, ignorable: true }),
              metadata: string('8+', { nullable: '8+' }),
              errorCode: int16('8+'),
            },
            '8+',
          ),
        },
        '8+',
      ),
      errorCode: int16('8+', { default: 0 }),
    },
    '8+',
  ),
})

export const offsetFetch = {
  key: 9,
  name: 'OffsetFetch',
  versions: [1, 10],
  request: offsetFetchRequest,
  response: offsetFetchResponse,
} as const
