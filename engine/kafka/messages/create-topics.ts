/** CreateTopics (key 19): makes topics. */
import { answer, array, bool, int8, int16, int32, message, string, uuid } from '../codec/notation.ts'

export const createTopicsRequest = message('5+', {
  topics: array({
    name: string(),
    numPartitions: int32(),
    replicationFactor: int16(),
    assignments: array({
      partitionIndex: int32(),
      brokerIds: array('int32'),
    }),
    configs: array({
      name: string(),
      value: string('0+', { nullable: '0+' }),
    }),
  }),
  timeoutMs: int32('0+', { default: 60_000 }),
  validateOnly: bool('1+', { default: false }),
})

export const createTopicsResponse = answer('5+', {
  throttleTimeMs: int32('2+', { ignorable: true }),
  topics: array({
    name: string(),
    topicId: uuid('7+', { ignorable: true }),
    errorCode: int16(),
    errorMessage: string('1+', { nullable: '0+', ignorable: true }),
    topicConfigErrorCode: int16('5+', { tag: 0, ignorable: true }),
    numPartitions: int32('5+', { default: -1, ignorable: true }),
    replicationFactor: int16('5+', { default: -1, ignorable: true }),
    configs: array(
      {
        name: string('5+'),
        value: string('5+', { nullable: '5+' }),
        readOnly: bool('5+'),
        configSource: int8('5+', { default: -1, ignorable: true }),
        isSensitive: bool('5+'),
      },
      '5+',
      { nullable: '5+', ignorable: true },
    ),
  }),
})

export const createTopics = {
  key: 19,
  name: 'CreateTopics',
  versions: [2, 7],
  request: createTopicsRequest,
  response: createTopicsResponse,
} as const
