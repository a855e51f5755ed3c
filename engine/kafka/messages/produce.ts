/** Produce (key 0): appends one batch to each of some partitions. */
import { answer, array, int16, int32, int64, message, records, string, struct, uuid } from '../codec/notation.ts'

export const produceRequest = message('9+', {
  transactionalId: string('3+', { nullable: '3+', default: null }),
  acks: int16(),
  timeoutMs: int32(),
  topicData: array({
    name: string('0-12', { ignorable: true }),
    topicId: uuid('13+', { ignorable: true }),
    partitionData: array({
      index: int32(),
      records: records('0+', { nullable: '0+' }),
    }),
  }),
})

export const produceResponse = answer('9+', {
  responses: array({
    name: string('0-12', { ignorable: true }),
    topicId: uuid('13+', { ignorable: true }),
    partitionResponses: array({
      index: int32(),
      errorCode: int16(),
      baseOffset: int64(),
      logAppendTimeMs: int64('2+', { default: -1, ignorable: true }),
      logStartOffset: int64('5+', { default: -1, ignorable: true }),
      recordErrors: array(
        {
          batchIndex: int32('8+'),
          batchIndexErrorMessage: string('8+', { nullable: '8+', default: null }),
        },
        '8+',
        { ignorable: true },
      ),
      errorMessage: string('8+', { nullable: '8+', default: null, ignorable: true }),
      currentLeader: struct(
        {
          leaderId: int32('10+', { default: -1 }),
          leaderEpoch: int32('10+', { default: -1 }),
        },
        '10+',
        { tag: 0 },
      ),
    }),
  }),
  throttleTimeMs: int32('1+', { default: 0, ignorable: true }),
  nodeEndpoints: array(
    {
      nodeId: int32('10+'),
      host: string('10+'),
      port: int32('10+'),
      rack: string('10+', { nullable: '10+', default: null }),
    },
    '10+',
    { tag: 0 },
  ),
})

export const produce = {
  key: 0,
  name: 'Produce',
  versions: [3, 13],
  request: produceRequest,
  response: produceResponse,
} as const
