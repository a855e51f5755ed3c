/** IncrementalAlterConfigs (key 44): changes configuration key by key. */
import { answer, array, bool, int8, int16, int32, message, string } from '../codec/notation.ts'

export const incrementalAlterConfigsRequest = message('1+', {
  resources: array({
    resourceType: int8(),
    resourceName: string(),
    configs: array({
      name: string(),
      configOperation: int8(),
      value: string('0+', { nullable: '0+' }),
    }),
  }),
  validateOnly: bool(),
})

export const incrementalAlterConfigsResponse = answer('1+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  responses: array({
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
    resourceType: int8(),
    resourceName: string(),
  }),
})

export const incrementalAlterConfigs = {
  key: 44,
  name: 'IncrementalAlterConfigs',
  versions: [0, 1],
  request: incrementalAlterConfigsRequest,
  response: incrementalAlterConfigsResponse,
} as const
