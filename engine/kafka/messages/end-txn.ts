/** EndTxn (key 26): commits or aborts a transaction. */
import { answer, bool, int16, int32, int64, message, string } from '../codec/notation.ts'

export const endTxnRequest = message('3+', {
  transactionalId: string(),
  producerId: int64(),
  producerEpoch: int16(),
  committed: bool(),
})

export const endTxnResponse = answer('3+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  producerId: int64('5+', { default: -1, ignorable: true }),
  producerEpoch: int16('5+', { default: -1, ignorable: true }),
})

export const endTxn = {
  key: 26,
  name: 'EndTxn',
  versions: [0, 5],
  request: endTxnRequest,
  response: endTxnResponse,
} as const
