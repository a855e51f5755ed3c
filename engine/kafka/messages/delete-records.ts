/** DeleteRecords (key 21): raises the log start offset of partitions. */
import { answer, array, int16, int32, int64, message, string } from '../codec/notation.ts'

export const deleteRecordsRequest = message('2+', {
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      offset: int64(),
    }),
  }),
  timeoutMs: int32(),
})

export const deleteRecordsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      lowWatermark: int64(),
      errorCode: int16(),
    }),
  }),
})

export const deleteRecords = {
  key: 21,
  name: 'DeleteRecords',
  versions: [0, 2],
  request: deleteRecordsRequest,
  response: deleteRecordsResponse,
} as const
