/** SaslHandshake (key 17): chooses how to authenticate. */
import { answer, array, int16, message, string } from '../codec/notation.ts'

export const saslHandshakeRequest = message('none', {
  mechanism: string(),
})

export const saslHandshakeResponse = answer('none', {
  errorCode: int16(),
  mechanisms: array('string'),
})

export const saslHandshake = {
  key: 17,
  name: 'SaslHandshake',
  versions: [0, 1],
  request: saslHandshakeRequest,
  response: saslHandshakeResponse,
} as const
