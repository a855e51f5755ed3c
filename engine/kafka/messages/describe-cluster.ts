/** DescribeCluster (key 60): brokers of the cluster. */
import { answer, array, bool, int8, int16, int32, message, string } from '../codec/notation.ts'

export const describeClusterRequest = message('0+', {
  includeClusterAuthorizedOperations: bool(),
  endpointType: int8('1+', { default: 1 }),
  includeFencedBrokers: bool('2+'),
})

export const describeClusterResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+', default: null }),
  endpointType: int8('1+', { default: 1 }),
  clusterId: string(),
  controllerId: int32('0+', { default: -1 }),
  brokers: array({
    brokerId: int32(),
    host: string(),
    port: int32(),
    rack: string('0+', { nullable: '0+', default: null }),
    isFenced: bool('2+'),
  }),
  clusterAuthorizedOperations: int32('0+', { default: -2_147_483_648 }),
})

export const describeCluster = {
  key: 60,
  name: 'DescribeCluster',
  versions: [0, 2],
  request: describeClusterRequest,
  response: describeClusterResponse,
} as const
