/** SyncGroup (key 14): the leader of a classic group assigns; everyone gets what is theirs. */
import { answer, array, bytes, int16, int32, message, string } from '../codec/notation.ts'

export const syncGroupRequest = message('4+', {
  groupId: string(),
  generationId: int32(),
  memberId: string(),
  groupInstanceId: string('3+', { nullable: '3+', default: null }),
  protocolType: string('5+', { nullable: '5+', default: null, ignorable: true }),
  protocolName: string('5+', { nullable: '5+', default: null, ignorable: true }),
  assignments: array({
    memberId: string(),
    assignment: bytes(),
  }),
})

export const syncGroupResponse = answer('4+', {
  throttleTimeMs: int32('1+', { ignorable: true }),
  errorCode: int16(),
  protocolType: string('5+', { nullable: '5+', default: null, ignorable: true }),
  protocolName: string('5+', { nullable: '5+', default: null, ignorable: true }),
  assignment: bytes(),
})

export const syncGroup = {
  key: 14,
  name: 'SyncGroup',
  versions: [0, 5],
  request: syncGroupRequest,
  response: syncGroupResponse,
} as const
