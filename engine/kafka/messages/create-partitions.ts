/** CreatePartitions (key 37): gives topics more partitions. */
import { answer, array, bool, int16, int32, message, string } from '../codec/notation.ts'

export const createPartitionsRequest = message('2+', {
  topics: array({
    name: string(),
    count: int32(),
    assignments: array(
      {
        brokerIds: array('int32'),
      },
      '0+',
      { nullable: '0+' },
    ),
  }),
  timeoutMs: int32(),
  validateOnly: bool(),
})

export const createPartitionsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  results: array({
    name: string(),
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+', default: null }),
  }),
})

export const createPartitions = {
  key: 37,
  name: 'CreatePartitions',
  versions: [0, 3],
  request: createPartitionsRequest,
  response: createPartitionsResponse,
} as const
