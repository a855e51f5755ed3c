/** OffsetDelete (key 47): forgets offsets of a group. */
import { answer, array, int16, int32, message, string } from '../codec/notation.ts'

export const offsetDeleteRequest = message('none', {
  groupId: string(),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
    }),
  }),
})

export const offsetDeleteResponse = answer('none', {
  errorCode: int16(),
  throttleTimeMs: int32('0+', { ignorable: true }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
    }),
  }),
})

export const offsetDelete = {
  key: 47,
  name: 'OffsetDelete',
  versions: [0, 0],
  request: offsetDeleteRequest,
  response: offsetDeleteResponse,
} as const
