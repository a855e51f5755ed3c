/** AlterClientQuotas (key 49): changes quotas of clients. */
import { answer, array, bool, float64, int16, int32, message, string } from '../codec/notation.ts'

export const alterClientQuotasRequest = message('1+', {
  entries: array({
    entity: array({
      entityType: string(),
      entityName: string('0+', { nullable: '0+' }),
    }),
    ops: array({
      key: string(),
      value: float64(),
      remove: bool(),
    }),
  }),
  validateOnly: bool(),
})

export const alterClientQuotasResponse = answer('1+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  entries: array({
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
    entity: array({
      entityType: string(),
      entityName: string('0+', { nullable: '0+' }),
    }),
  }),
})

export const alterClientQuotas = {
  key: 49,
  name: 'AlterClientQuotas',
  versions: [0, 1],
  request: alterClientQuotasRequest,
  response: alterClientQuotasResponse,
} as const
