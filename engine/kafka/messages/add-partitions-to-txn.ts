/** AddPartitionsToTxn (key 24): partitions that a transaction writes to. */
import { answer, array, bool, int16, int32, int64, message, string } from '../codec/notation.ts'

export const addPartitionsToTxnRequest = message('3+', {
  transactions: array(
    {
      transactionalId: string('4+'),
      producerId: int64('4+'),
      producerEpoch: int16('4+'),
      verifyOnly: bool('4+', { default: false }),
      topics: array(
        {
          name: string(),
          partitions: array('int32'),
        },
        '4+',
      ),
    },
    '4+',
  ),
  v3AndBelowTransactionalId: string('0-3'),
  v3AndBelowProducerId: int64('0-3'),
  v3AndBelowProducerEpoch: int16('0-3'),
  v3AndBelowTopics: array(
    {
      name: string(),
      partitions: array('int32'),
    },
    '0-3',
  ),
})

export const addPartitionsToTxnResponse = answer('3+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16('4+', { ignorable: true }),
  resultsByTransaction: array(
    {
      transactionalId: string('4+'),
      topicResults: array(
        {
          name: string(),
          resultsByPartition: array({
            partitionIndex: int32(),
            partitionErrorCode: int16(),
          }),
        },
        '4+',
      ),
    },
    '4+',
  ),
  resultsByTopicV3AndBelow: array(
    {
      name: string(),
      resultsByPartition: array({
        partitionIndex: int32(),
        partitionErrorCode: int16(),
      }),
    },
    '0-3',
  ),
})

export const addPartitionsToTxn = {
  key: 24,
  name: 'AddPartitionsToTxn',
  versions: [0, 5],
  request: addPartitionsToTxnRequest,
  response: addPartitionsToTxnResponse,
} as const
