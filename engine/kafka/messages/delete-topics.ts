/** DeleteTopics (key 20): removes topics, by name or by id. */
import { answer, array, int16, int32, message, string, uuid } from '../codec/notation.ts'

export const deleteTopicsRequest = message('4+', {
  topics: array(
    {
      name: string('6+', { nullable: '6+', default: null }),
      topicId: uuid('6+'),
    },
    '6+',
  ),
  topicNames: array('string', '0-5', { ignorable: true }),
  timeoutMs: int32(),
})

export const deleteTopicsResponse = answer('4+', {
  throttleTimeMs: int32('1+', { ignorable: true }),
  responses: array({
    name: string('0+', { nullable: '6+' }),
    topicId: uuid('6+', { ignorable: true }),
    errorCode: int16(),
    errorMessage: string('5+', { nullable: '5+', default: null, ignorable: true }),
  }),
})

export const deleteTopics = {
  key: 20,
  name: 'DeleteTopics',
  versions: [1, 6],
  request: deleteTopicsRequest,
  response: deleteTopicsResponse,
} as const
