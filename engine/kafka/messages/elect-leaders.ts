/** ElectLeaders (key 43): lets preferred or unclean replicas lead. */
import { answer, array, int8, int16, int32, message, string } from '../codec/notation.ts'

export const electLeadersRequest = message('2+', {
  electionType: int8('1+'),
  topicPartitions: array(
    {
      topic: string(),
      partitions: array('int32'),
    },
    '0+',
    { nullable: '0+' },
  ),
  timeoutMs: int32('0+', { default: 60_000 }),
})

export const electLeadersResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16('1+'),
  replicaElectionResults: array({
    topic: string(),
    partitionResult: array({
      partitionId: int32(),
      errorCode: int16(),
      errorMessage: string('0+', { nullable: '0+' }),
    }),
  }),
})

export const electLeaders = {
  key: 43,
  name: 'ElectLeaders',
  versions: [0, 2],
  request: electLeadersRequest,
  response: electLeadersResponse,
} as const
