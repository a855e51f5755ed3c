/** Heartbeat (key 12): a member of a classic group is alive. */
import { answer, int16, int32, message, string } from '../codec/notation.ts'

export const heartbeatRequest = message('4+', {
  groupId: string(),
  generationId: int32(),
  memberId: string(),
  groupInstanceId: string('3+', { nullable: '3+', default: null }),
})

export const heartbeatResponse = answer('4+', {
  throttleTimeMs: int32('1+', { ignorable: true }),
  errorCode: int16(),
})

export const heartbeat = {
  key: 12,
  name: 'Heartbeat',
  versions: [0, 4],
  request: heartbeatRequest,
  response: heartbeatResponse,
} as const
