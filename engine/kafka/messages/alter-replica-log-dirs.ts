/** AlterReplicaLogDirs (key 34): moves replicas between directories of a broker. */
import { answer, array, int16, int32, message, string } from '../codec/notation.ts'

export const alterReplicaLogDirsRequest = message('2+', {
  dirs: array({
    path: string(),
    topics: array({
      name: string(),
      partitions: array('int32'),
    }),
  }),
})

export const alterReplicaLogDirsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  results: array({
    topicName: string(),
    partitions: array({
      partitionIndex: int32(),
      errorCode: int16(),
    }),
  }),
})

export const alterReplicaLogDirs = {
  key: 34,
  name: 'AlterReplicaLogDirs',
  versions: [1, 2],
  request: alterReplicaLogDirsRequest,
  response: alterReplicaLogDirsResponse,
} as const
