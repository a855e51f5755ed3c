/** WriteTxnMarkers (key 27): between brokers: ends transactions in partitions. */
import { answer, array, bool, int8, int16, int32, int64, message, string } from '../codec/notation.ts'

export const writeTxnMarkersRequest = message('1+', {
  markers: array({
    producerId: int64(),
    producerEpoch: int16(),
    transactionResult: bool(),
    topics: array({
      name: string(),
      partitionIndexes: array('int32'),
    }),
    coordinatorEpoch: int32(),
    transactionVersion: int8('2+', { default: 0, ignorable: true }),
  }),
})

export const writeTxnMarkersResponse = answer('1+', {
  markers: array({
    producerId: int64(),
    topics: array({
      name: string(),
      partitions: array({
        partitionIndex: int32(),
        errorCode: int16(),
      }),
    }),
  }),
})

export const writeTxnMarkers = {
  key: 27,
  name: 'WriteTxnMarkers',
  versions: [1, 2],
  request: writeTxnMarkersRequest,
  response: writeTxnMarkersResponse,
} as const
