/** DescribeGroups (key 15): state and members of classic groups. */
import { answer, array, bool, bytes, int16, int32, message, string } from '../codec/notation.ts'

export const describeGroupsRequest = message('5+', {
  groups: array('string'),
  includeAuthorizedOperations: bool('3+'),
})

export const describeGroupsResponse = answer('5+', {
  throttleTimeMs: int32('1+', { ignorable: true }),
  groups: array({
    errorCode: int16(),
    errorMessage: string('6+', { nullable: '6+', default: null }),
    groupId: string(),
    groupState: string(),
    protocolType: string(),
    protocolData: string(),
    members: array({
      memberId: string(),
      groupInstanceId: string('4+', { nullable: '4+', default: null, ignorable: true }),
      clientId: string(),
      clientHost: string(),
      memberMetadata: bytes(),
      memberAssignment: bytes(),
    }),
    authorizedOperations: int32('3+', { default: -2_147_483_648 }),
  }),
})

export const describeGroups = {
  key: 15,
  name: 'DescribeGroups',
  versions: [0, 6],
  request: describeGroupsRequest,
  response: describeGroupsResponse,
} as const
