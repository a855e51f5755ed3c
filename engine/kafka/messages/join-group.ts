/** JoinGroup (key 11): a member of a classic group joins, and waits for the rebalance. */
import { answer, array, bool, bytes, int16, int32, message, string } from '../codec/notation.ts'

export const joinGroupRequest = message('6+', {
  groupId: string(),
  sessionTimeoutMs: int32(),
  rebalanceTimeoutMs: int32('1+', { default: -1, ignorable: true }),
  memberId: string(),
  groupInstanceId: string('5+', { nullable: '5+', default: null }),
  protocolType: string(),
  protocols: array({
    name: string(),
    metadata: bytes(),
  }),
  reason: string('8+', { nullable: '8+', default: null, ignorable: true }),
})

export const joinGroupResponse = answer('6+', {
  throttleTimeMs: int32('2+', { ignorable: true }),
  errorCode: int16(),
  generationId: int32('0+', { default: -1 }),
  protocolType: string('7+', { nullable: '7+', default: null, ignorable: true }),
  protocolName: string('0+', { nullable: '7+' }),
  leader: string(),
  skipAssignment: bool('9+', { default: false }),
  memberId: string(),
  members: array({
    memberId: string(),
    groupInstanceId: string('5+', { nullable: '5+', default: null, ignorable: true }),
    metadata: bytes(),
  }),
})

export const joinGroup = {
  key: 11,
  name: 'JoinGroup',
  versions: [0, 9],
  request: joinGroupRequest,
  response: joinGroupResponse,
} as const
