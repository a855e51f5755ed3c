/** DescribeAcls (key 29): who may do what. */
import { answer, array, int8, int16, int32, message, string } from '../codec/notation.ts'

export const describeAclsRequest = message('2+', {
  resourceTypeFilter: int8(),
  resourceNameFilter: string('0+', { nullable: '0+' }),
  patternTypeFilter: int8('1+', { default: 3 }),
  principalFilter: string('0+', { nullable: '0+' }),
  hostFilter: string('0+', { nullable: '0+' }),
  operation: int8(),
  permissionType: int8(),
})

export const describeAclsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+' }),
  resources: array({
    resourceType: int8(),
    resourceName: string(),
    patternType: int8('1+', { default: 3 }),
    acls: array({
      principal: string(),
      host: string(),
      operation: int8(),
      permissionType: int8(),
    }),
  }),
})

export const describeAcls = {
  key: 29,
  name: 'DescribeAcls',
  versions: [1, 3],
  request: describeAclsRequest,
  response: describeAclsResponse,
} as const
