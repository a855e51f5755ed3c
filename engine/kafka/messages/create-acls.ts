/** CreateAcls (key 30): lets someone do something. */
import { answer, array, int8, int16, int32, message, string } from '../codec/notation.ts'

export const createAclsRequest = message('2+', {
  creations: array({
    resourceType: int8(),
    resourceName: string(),
    resourcePatternType: int8('1+', { default: 3 }),
    principal: string(),
    host: string(),
    operation: int8(),
    permissionType: int8(),
  }),
})

export const createAclsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  results: array({
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
  }),
})

export const createAcls = {
  key: 30,
  name: 'CreateAcls',
  versions: [1, 3],
  request: createAclsRequest,
  response: createAclsResponse,
} as const
