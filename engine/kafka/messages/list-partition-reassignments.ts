/** ListPartitionReassignments (key 46): replicas that are being moved. */
import { answer, array, int16, int32, message, string } from '../codec/notation.ts'

export const listPartitionReassignmentsRequest = message('0+', {
  timeoutMs: int32('0+', { default: 60_000 }),
  topics: array(
    {
      name: string(),
      partitionIndexes: array('int32'),
    },
    '0+',
    { nullable: '0+', default: null },
  ),
})

export const listPartitionReassignmentsResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+' }),
  topics: array({
    name: string(),
    partitions: array({
      partitionIndex: int32(),
      replicas: array('int32'),
      addingReplicas: array('int32'),
      removingReplicas: array('int32'),
    }),
  }),
})

export const listPartitionReassignments = {
  key: 46,
  name: 'ListPartitionReassignments',
  versions: [0, 0],
  request: listPartitionReassignmentsRequest,
  response: listPartitionReassignmentsResponse,
} as const
