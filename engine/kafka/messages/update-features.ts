/** UpdateFeatures (key 57): finalizes feature levels. */
import { answer, array, bool, int8, int16, int32, message, string } from '../codec/notation.ts'

export const updateFeaturesRequest = message('0+', {
  timeoutMs: int32('0+', { default: 60_000 }),
  featureUpdates: array({
    feature: string(),
    maxVersionLevel: int16(),
    allowDowngrade: bool('0'),
    upgradeType: int8('1+', { default: 1 }),
  }),
  validateOnly: bool('1+', { default: false }),
})

export const updateFeaturesResponse = answer('0+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  errorCode: int16(),
  errorMessage: string('0+', { nullable: '0+' }),
  results: array(
    {
      feature: string(),
      errorCode: int16(),
      errorMessage: string('0+', { nullable: '0+' }),
    },
    '0-1',
    { ignorable: true },
  ),
})

export const updateFeatures = {
  key: 57,
  name: 'UpdateFeatures',
  versions: [0, 2],
  request: updateFeaturesRequest,
  response: updateFeaturesResponse,
} as const
