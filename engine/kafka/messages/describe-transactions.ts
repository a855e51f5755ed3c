/** DescribeTransactions (key 65): state of transactions. */
import { answer, array, int16, int32, int64, message, string } from '../codec/notation.ts'

export const describeTransactionsRequest = message('0+', {
  transactionalIds: array('string'),
})

export const describeTransactionsResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  transactionStates: array({
    errorCode: int16(),
    transactionalId: string(),
    transactionState: string(),
    transactionTimeoutMs: int32(),
    transactionStartTimeMs: int64(),
    producerId: int64(),
    producerEpoch: int16(),
    topics: array({
      topic: string(),
      partitions: array('int32'),
    }),
  }),
})

export const describeTransactions = {
  key: 65,
  name: 'DescribeTransactions',
  versions: [0, 0],
  request: describeTransactionsRequest,
  response: describeTransactionsResponse,
} as const
