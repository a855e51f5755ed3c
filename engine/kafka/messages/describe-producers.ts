/** DescribeProducers (key 61): idempotent producers that partitions remember. */
import { answer, array, int16, int32, int64, message, string } from '../codec/notation.ts'

export const describeProducersRequest = message('0+', {
  topics: array({
    name: string(),
    partitionIndexes: array('int32'),
  }),
})

export const describeProducersResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
      errorMessage: string('0+', { nullable: '0+', default: null }),
      activeProducers: array({
        producerId: int64(),
        producerEpoch: int32(),
        lastSequence: int32('0+', { default: -1 }),
        lastTimestamp: int64('0+', { default: -1 }),
        coordinatorEpoch: int32(),
        currentTxnStartOffset: int64('0+', { default: -1 }),
      }),
    }),
  }),
})

export const describeProducers = {
  key: 61,
  name: 'DescribeProducers',
  versions: [0, 0],
  request: describeProducersRequest,
  response: describeProducersResponse,
} as const
