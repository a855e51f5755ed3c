/** LeaveGroup (key 13): members leave a classic group. */
import { answer, array, int16, int32, message, string } from '../codec/notation.ts'

export const leaveGroupRequest = message('4+', {
  groupId: string(),
  memberId: string('0-2'),
  members: array(
    {
      memberId: string('3+'),
      groupInstanceId: string('3+', { nullable: '3+', default: null }),
      reason: string('5+', { nullable: '5+', default: null, ignorable: true }),
    },
    '3+',
  ),
})

export const leaveGroupResponse = answer('4+', {
  throttleTimeMs: int32('1+', { ignorable: true }),
  errorCode: int16(),
  members: array(
    {
      memberId: string('3+'),
      groupInstanceId: string('3+', { nullable: '3+' }),
      errorCode: int16('3+'),
    },
    '3+',
  ),
})

export const leaveGroup = {
  key: 13,
  name: 'LeaveGroup',
  versions: [0, 5],
  request: leaveGroupRequest,
  response: leaveGroupResponse,
} as const
