/** DeleteAcls (key 31): takes permissions back. */
import { answer, array, int8, int16, int32, message, string } from '../codec/notation.ts'

export const deleteAclsRequest = message('2+', {
  filters: array({
    resourceTypeFilter: int8(),
    resourceNameFilter: string('0+', { nullable: '0+' }),
    patternTypeFilter: int8('1+', { default: 3 }),
    principalFilter: string('0+', { nullable: '0+' }),
    hostFilter: string('0+', { nullable: '0+' }),
    operation: int8(),
    permissionType: int8(),
  }),
})

export const deleteAclsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  filterResults: array({
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
    matchingAcls: array({
      errorCode: int16(),
      errorMessage: string('0+', { nullable: '0+' }),
      resourceType: int8(),
      resourceName: string(),
      patternType: int8('1+', { default: 3 }),
      principal: string(),
      host: string(),
      operation: int8(),
      permissionType: int8(),
    }),
  }),
})

export const deleteAcls = {
  key: 31,
  name: 'DeleteAcls',
  versions: [1, 3],
  request: deleteAclsRequest,
  response: deleteAclsResponse,
} as const
