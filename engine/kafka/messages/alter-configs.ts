/** AlterConfigs (key 33): replaces configuration as a whole. */
import { answer, array, bool, int8, int16, int32, message, string } from '../codec/notation.ts'

export const alterConfigsRequest = message('2+', {
  resources: array({
    resourceType: int8(),
    resourceName: string(),
    configs: array({
      name: string(),
      value: string('0+', { nullable: '0+' }),
    }),
  }),
  validateOnly: bool(),
})

export const alterConfigsResponse = answer('2+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  responses: array({
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
    resourceType: int8(),
    resourceName: string(),
  }),
})

export const alterConfigs = {
  key: 33,
  name: 'AlterConfigs',
  versions: [0, 2],
  request: alterConfigsRequest,
  response: alterConfigsResponse,
} as const
