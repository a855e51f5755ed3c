/** DescribeLogDirs (key 35): directories of a broker, and the size of what is in them. */
import { answer, array, bool, int16, int32, int64, message, string } from '../codec/notation.ts'

export const describeLogDirsRequest = message('2+', {
  topics: array(
    {
      topic: string(),
      partitions: array('int32'),
    },
    '0+',
    { nullable: '0+' },
  ),
})

export const describeLogDirsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16('3+', { ignorable: true }),
  results: array({
    errorCode: int16(),
    logDir: string(),
    topics: array({
      name: string(),
      partitions: array({
        partitionIndex: int32(),
        partitionSize: int64(),
        offsetLag: int64(),
        isFutureKey: bool(),
      }),
    }),
    totalBytes: int64('4+', { default: -1, ignorable: true }),
    usableBytes: int64('4+', { default: -1, ignorable: true }),
    isCordoned: bool('5+', { default: false, ignorable: true }),
  }),
})

export const describeLogDirs = {
  key: 35,
  name: 'DescribeLogDirs',
  versions: [1, 5],
  request: describeLogDirsRequest,
  response: describeLogDirsResponse,
} as const
