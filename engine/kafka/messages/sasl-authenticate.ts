/** SaslAuthenticate (key 36): one step of an authentication. */
import { answer, bytes, int16, int64, message, string } from '../codec/notation.ts'

export const saslAuthenticateRequest = message('2+', {
  authBytes: bytes(),
})

export const saslAuthenticateResponse = answer('2+', {
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+' }),
  authBytes: bytes(),
  sessionLifetimeMs: int64('1+', { default: 0, ignorable: true }),
})

export const saslAuthenticate = {
  key: 36,
  name: 'SaslAuthenticate',
  versions: [0, 2],
  request: saslAuthenticateRequest,
  response: saslAuthenticateResponse,
} as const
