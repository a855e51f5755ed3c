/** AddOffsetsToTxn (key 25): a group whose offsets a transaction commits. */
import { answer, int16, int32, int64, message, string } from '../codec/notation.ts'

export const addOffsetsToTxnRequest = message('3+', {
  transactionalId: string(),
  producerId: int64(),
  producerEpoch: int16(),
  groupId: string(),
})

export const addOffsetsToTxnResponse = answer('3+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
})

export const addOffsetsToTxn = {
  key: 25,
  name: 'AddOffsetsToTxn',
  versions: [0, 4],
  request: addOffsetsToTxnRequest,
  response: addOffsetsToTxnResponse,
} as const
