/** ApiVersions (key 18): what the broker speaks. */
import { answer, array, bool, int16, int32, int64, message, string } from '../codec/notation.ts'

export const apiVersionsRequest = message('3+', {
  clientSoftwareName: string('3+', { ignorable: true }),
  clientSoftwareVersion: string('3+', { ignorable: true }),
})

export const apiVersionsResponse = answer('3+', {
  errorCode: int16(),
  apiKeys: array({
    apiKey: int16(),
    minVersion: int16(),
    maxVersion: int16(),
  }),
  throttleTimeMs: int32('1+', { ignorable: true }),
  supportedFeatures: array(
    {
      name: string('3+'),
      minVersion: int16('3+'),
      maxVersion: int16('3+'),
    },
    '3+',
    { tag: 0, ignorable: true },
  ),
  finalizedFeaturesEpoch: int64('3+', { tag: 1, default: -1, ignorable: true }),
  finalizedFeatures: array(
    {
      name: string('3+'),
      maxVersionLevel: int16('3+'),
      minVersionLevel: int16('3+'),
    },
    '3+',
    { tag: 2, ignorable: true },
  ),
  zkMigrationReady: bool('3+', { tag: 3, default: false, ignorable: true }),
})

export const apiVersions = {
  key: 18,
  name: 'ApiVersions',
  versions: [0, 4],
  request: apiVersionsRequest,
  response: apiVersionsResponse,
} as const
