/** DescribeClientQuotas (key 48): quotas of clients. */
import { answer, array, bool, float64, int8, int16, int32, message, string } from '../codec/notation.ts'

export const describeClientQuotasRequest = message('1+', {
  components: array({
    entityType: string(),
    matchType: int8(),
    match: string('0+', { nullable: '0+' }),
  }),
  strict: bool(),
})

export const describeClientQuotasResponse = answer('1+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+' }),
  entries: array(
    {
      entity: array({
        entityType: string(),
        entityName: string('0+', { nullable: '0+' }),
      }),
      values: array({
        key: string(),
        value: float64(),
      }),
    },
    '0+',
    { nullable: '0+' },
  ),
})

export const describeClientQuotas = {
  key: 48,
  name: 'DescribeClientQuotas',
  versions: [0, 1],
  request: describeClientQuotasRequest,
  response: describeClientQuotasResponse,
} as const
