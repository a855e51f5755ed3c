/** Metadata (key 3): which topics there are, and who leads their partitions. */
import { answer, array, bool, int16, int32, message, string, uuid } from '../codec/notation.ts'

export const metadataRequest = message('9+', {
  topics: array(
    {
      topicId: uuid('10+', { ignorable: true }),
      name: string('0+', { nullable: '10+' }),
    },
    '0+',
    { nullable: '1+' },
  ),
  allowAutoTopicCreation: bool('4+', { default: true }),
  includeClusterAuthorizedOperations: bool('8-10'),
  includeTopicAuthorizedOperations: bool('8+'),
})

export const metadataResponse = answer('9+', {
  throttleTimeMs: int32('3+', { ignorable: true }),
  brokers: array({
    nodeId: int32(),
    host: string(),
    port: int32(),
    rack: string('1+', { nullable: '1+', default: null, ignorable: true }),
  }),
  clusterId: string('2+', { nullable: '2+', default: null, ignorable: true }),
  controllerId: int32('1+', { default: -1, ignorable: true }),
  topics: array({
    errorCode: int16(),
    name: string('0+', { nullable: '12+' }),
    topicId: uuid('10+', { ignorable: true }),
    isInternal: bool('1+', { default: false, ignorable: true }),
    partitions: array({
      errorCode: int16(),
      partitionIndex: int32(),
      leaderId: int32(),
      leaderEpoch: int32('7+', { default: -1, ignorable: true }),
      replicaNodes: array('int32'),
      isrNodes: array('int32'),
      offlineReplicas: array('int32', '5+', { ignorable: true }),
    }),
    topicAuthorizedOperations: int32('8+', { default: -2_147_483_648 }),
  }),
  clusterAuthorizedOperations: int32('8-10', { default: -2_147_483_648 }),
  errorCode: int16('13+', { ignorable: true }),
})

export const metadata = {
  key: 3,
  name: 'Metadata',
  versions: [0, 13],
  request: metadataRequest,
  response: metadataResponse,
} as const
