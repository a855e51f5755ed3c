/** DescribeConfigs (key 32): configuration of topics and brokers. */
import { answer, array, bool, int8, int16, int32, message, string } from '../codec/notation.ts'

export const describeConfigsRequest = message('4+', {
  resources: array({
    resourceType: int8(),
    resourceName: string(),
    configurationKeys: array('string', '0+', { nullable: '0+' }),
  }),
  includeSynonyms: bool('1+', { default: false }),
  includeDocumentation: bool('3+', { default: false }),
})

export const describeConfigsResponse = answer('4+', {
  throttleTimeMs: int32('0+', { default: 0 }),
  results: array({
    errorCode: int16(),
    errorMessage: string('0+', { nullable: '0+' }),
    resourceType: int8(),
    resourceName: string(),
    configs: array({
      name: string(),
      value: string('0+', { nullable: '0+' }),
      readOnly: bool(),
      configSource: int8('1+', { default: -1, ignorable: true }),
      isDefault: bool('0'),
      isSensitive: bool(),
      synonyms: array(
        {
          name: string('1+'),
          value: string('1+', { nullable: '0+' }),
          source: int8('1+'),
        },
        '1+',
        { ignorable: true },
      ),
      configType: int8('3+', { default: 0, ignorable: true }),
      documentation: string('3+', { nullable: '0+', ignorable: true }),
    }),
  }),
})

export const describeConfigs = {
  key: 32,
  name: 'DescribeConfigs',
  versions: [1, 4],
  request: describeConfigsRequest,
  response: describeConfigsResponse,
} as const
