/** InitProducerId (key 22): gives an idempotent or transactional producer its id. */
import { answer, bool, int16, int32, int64, message, string } from '../codec/notation.ts'

export const initProducerIdRequest = message('2+', {
  transactionalId: string('0+', { nullable: '0+' }),
  transactionTimeoutMs: int32(),
  producerId: int64('3+', { default: -1 }),
  producerEpoch: int16('3+', { default: -1 }),
  enable2Pc: bool('6+', { default: false }),
  keepPreparedTxn: bool('6+', { default: false }),
})

export const initProducerIdResponse = answer('2+', {
  throttleTimeMs: int32('0+', { ignorable: true }),
  errorCode: int16(),
  producerId: int64('0+', { default: -1 }),
  producerEpoch: int16(),
  ongoingTxnProducerId: int64('6+', { default: -1 }),
  ongoingTxnProducerEpoch: int16('6+', { default: -1 }),
})

export const initProducerId = {
  key: 22,
  name: 'InitProducerId',
  versions: [0, 6],
  request: initProducerIdRequest,
  response: initProducerIdResponse,
} as const
