/** AlterUserScramCredentials (key 51): changes SCRAM credentials. */
import { answer, array, bytes, int8, int16, int32, message, string } from '../codec/notation.ts'

export const alterUserScramCredentialsRequest = message('0+', {
  deletions: array({
    name: string(),
    mechanism: int8(),
  }),
  upsertions: array({
    name: string(),
    mechanism: int8(),
    iterations: int32(),
    salt: bytes(),
    saltedPassword: bytes(),
  }),
})

export const alterUserScramCredentialsResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  results: array({
    user: string(),
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
  }),
})

export const alterUserScramCredentials = {
  key: 51,
  name: 'AlterUserScramCredentials',
  versions: [0, 0],
  request: alterUserScramCredentialsRequest,
  response: alterUserScramCredentialsResponse,
} as const
