/** ListConfigResources (key 74): what has a configuration. */
import { answer, array, int8, int16, int32, message, string } from '../codec/notation.ts'

export const listConfigResourcesRequest = message('0+', {
  resourceTypes: array('int8', '1+'),
})

export const listConfigResourcesResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  configResources: array({
    resourceName: string(),
    resourceType: int8('1+', { default: 16, ignorable: true }),
  }),
})

export const listConfigResources = {
  key: 74,
  name: 'ListConfigResources',
  versions: [0, 1],
  request: listConfigResourcesRequest,
  response: listConfigResourcesResponse,
} as const
