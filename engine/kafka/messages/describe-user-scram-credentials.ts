/** DescribeUserScramCredentials (key 50): which users have SCRAM credentials. */
import { answer, array, int8, int16, int32, message, string } from '../codec/notation.ts'

export const describeUserScramCredentialsRequest = message('0+', {
  users: array(
    {
      name: string(),
    },
    '0+',
    { nullable: '0+' },
  ),
})

export const describeUserScramCredentialsResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+' }),
  results: array({
    user: string(),
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
    credentialInfos: array({
      mechanism: int8(),
      iterations: int32(),
    }),
  }),
})

export const describeUserScramCredentials = {
  key: 50,
  name: 'DescribeUserScramCredentials',
  versions: [0, 0],
  request: describeUserScramCredentialsRequest,
  response: describeUserScramCredentialsResponse,
} as const
