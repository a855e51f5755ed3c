/** AlterPartitionReassignments (key 45): moves replicas to other brokers. */
import { answer, array, bool, int16, int32, message, string } from '../codec/notation.ts'

export const alterPartitionReassignmentsRequest = message('0+', {
  timeoutMs: int32('0+', { default: 60_000 }),
  allowReplicationFactorChange: bool('1+', { default: true }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      replicas: array('int32', '0+', { nullable: '0+', default: null }),
    }),
  }),
})

export const alterPartitionReassignmentsResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  allowReplicationFactorChange: bool('1+', { default: true, ignorable: true }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+' }),
  responses: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
      errorMessage: string('0+', { nullable: '0+' }),
    }),
  }),
})

export const alterPartitionReassignments = {
  key: 45,
  name: 'AlterPartitionReassignments',
  versions: [0, 1],
  request: alterPartitionReassignmentsRequest,
  response: alterPartitionReassignmentsResponse,
} as const
