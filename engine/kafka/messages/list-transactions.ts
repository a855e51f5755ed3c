/** ListTransactions (key 66): which transactions there are. */
import { answer, array, int16, int32, int64, message, string } from '../codec/notation.ts'

export const listTransactionsRequest = message('0+', {
  stateFilters: array('string'),
  producerIdFilters: array('int64'),
  durationFilter: int64('1+', { default: -1 }),
  transactionalIdPattern: string('2+', { nullable: '2+', default: null }),
})

export const listTransactionsResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  unknownStateFilters: array('string'),
  transactionStates: array({
    transactionalId: string(),
    producerId: int64(),
    transactionState: string(),
  }),
})

export const listTransactions = {
  key: 66,
  name: 'ListTransactions',
  versions: [0, 2],
  request: listTransactionsRequest,
  response: listTransactionsResponse,
} as const
