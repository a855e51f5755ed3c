/** ListGroups (key 16): which groups there are. */
import { answer, array, int16, int32, message, string } from '../codec/notation.ts'

export const listGroupsRequest = message('3+', {
  statesFilter: array('string', '4+'),
  typesFilter: array('string', '5+'),
})

export const listGroupsResponse = answer('3+', {
  throttleTimeMs: int32('1+', { ignorable: true }),
  errorCode: int16(),
  groups: array({
    groupId: string(),
    protocolType: string(),
    groupState: string('4+', { ignorable: true }),
    groupType: string('5+', { ignorable: true }),
  }),
})

export const listGroups = {
  key: 16,
  name: 'ListGroups',
  versions: [0, 5],
  request: listGroupsRequest,
  response: listGroupsResponse,
} as const
