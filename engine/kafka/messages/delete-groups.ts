/** DeleteGroups (key 42): removes groups that have no members. */
import { answer, array, int16, int32, message, string } from '../codec/notation.ts'

export const deleteGroupsRequest = message('2+', {
  groupsNames: array('string'),
})

export const deleteGroupsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  results: array({
    groupId: string(),
    errorCode: int16(),
  }),
})

export const deleteGroups = {
  key: 42,
  name: 'DeleteGroups',
  versions: [0, 2],
  request: deleteGroupsRequest,
  response: deleteGroupsResponse,
} as const
