/** Configuration keys: Kafka's names, types, defaults and ranges, and what is said about a value that is none. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checkTopicConfig,
  checkTopicConfigs,
  effectiveTopicConfig,
  parseTopicConfig,
  TOPIC_CONFIG_KEYS,
  type TopicConfigKey,
} from '../../../engine/log/topic-config.ts'

const keys = Object.keys(TOPIC_CONFIG_KEYS) as TopicConfigKey[]
const code = 'INVALID_CONFIG'

test('defaults are those of Kafka', () => {
  expect(effectiveTopicConfig({})).toEqual({
    'cleanup.policy': 'delete',
    'delete.retention.ms': '86400000',
    'flush.messages': String(Number.MAX_SAFE_INTEGER),
    'flush.ms': String(Number.MAX_SAFE_INTEGER),
    'index.interval.bytes': '4096',
    'max.compaction.lag.ms': String(Number.MAX_SAFE_INTEGER),
    'max.message.bytes': '1048588',
    'message.timestamp.type': 'CreateTime',
    'min.cleanable.dirty.ratio': '0.5',
    'min.compaction.lag.ms': '0',
    'min.insync.replicas': '1',
    'retention.bytes': '-1',
    'retention.ms': '604800000',
    'segment.bytes': '1073741824',
    'segment.index.bytes': '10485760',
    'segment.ms': '604800000',
    'unclean.leader.election.enable': 'false',
  })
  expect(parseTopicConfig({})).toMatchObject({ durable: false, logAppendTime: false, segmentBytes: 2 ** 30 })
})

test('every default passes its own check', () => {
  for (const [key, value] of Object.entries(effectiveTopicConfig({}))) expect(checkTopicConfig(key, value)).toBe(value)
})

describe('numbers', () => {
  const numeric = keys.filter(key => TOPIC_CONFIG_KEYS[key].kind === 'number')

  test.for(numeric)('%s takes its range and nothing else', key => {
    const { min, max } = TOPIC_CONFIG_KEYS[key] as { min: number; max: number }
    expect(checkTopicConfig(key, min)).toBe(String(min))
    expect(checkTopicConfig(key, String(max))).toBe(String(max))
    const details = expect.objectContaining({ key, min, max })
    const below = String(min - 1)
    for (const value of [below, max + 1, 'x', '', ' ', '1.5', 'NaN', 'Infinity', true, '0x', '1e400']) {
      expect(() => checkTopicConfig(key, value), String(value)).toThrow(expect.objectContaining({ code, details }))
    }
  })

  test('a value is kept in one spelling', () => {
    expect(checkTopicConfig('retention.ms', ' 0010 ')).toBe('10')
    expect(checkTopicConfig('retention.ms', 1e3)).toBe('1000')
  })

  test('the largest number of Kafka means never', () => {
    expect(checkTopicConfig('flush.messages', '9223372036854775807')).toBe(String(Number.MAX_SAFE_INTEGER))
    expect(checkTopicConfig('flush.ms', '9223372036854775807')).toBe(String(Number.MAX_SAFE_INTEGER))
    expect(() => checkTopicConfig('segment.bytes', '9223372036854775807')).toThrow(expect.objectContaining({ code }))
  })

  test('whatever is accepted is parsed to the same number', () => {
    fc.assert(
      fc.property(fc.constantFrom(...numeric), fc.double({ noDefaultInfinity: true }), (key, value) => {
        let text: string
        try {
          text = checkTopicConfig(key, value)
        } catch (error) {
          expect(error).toMatchObject({ code })
          return
        }
        expect(Number(text)).toBe(value + 0)
        expect(Object.values(parseTopicConfig({ [key]: text }))).toContain(Number(text))
      }),
    )
  })
})

describe('choices and names', () => {
  test('message.timestamp.type and cleanup.policy take what is served', () => {
    expect(checkTopicConfig('message.timestamp.type', 'LogAppendTime')).toBe('LogAppendTime')
    for (const value of ['createtime', '', 'compacted', 'compact, delete']) {
      const details = { key: 'cleanup.policy', value, choices: 'delete compact compact,delete delete,compact' }
      expect(() => checkTopicConfig('cleanup.policy', value)).toThrow(expect.objectContaining({ code, details }))
    }
  })

  test('a ratio is a number from 0 to 1', () => {
    for (const value of [0, 1, '0.25']) {
      expect(checkTopicConfig('min.cleanable.dirty.ratio', value)).toBe(String(value))
    }
    for (const value of [-0.1, 1.1, 'half', '', Number.NaN]) {
      const details = expect.objectContaining({ key: 'min.cleanable.dirty.ratio', min: 0, max: 1 })
      expect(() => checkTopicConfig('min.cleanable.dirty.ratio', value)).toThrow(
        expect.objectContaining({ code, details }),
      )
    }
  })

  test('with compact alone nothing is removed for its age or size, and segments close in time to be compacted', () => {
    const limits = { 'retention.ms': '5', 'retention.bytes': '6', 'max.compaction.lag.ms': '1000' }
    expect(parseTopicConfig({ ...limits, 'cleanup.policy': 'compact' })).toMatchObject({
      compacts: true,
      retentionMs: -1,
      retentionBytes: -1,
      segmentMs: 1_000,
    })
    expect(parseTopicConfig({ ...limits, 'cleanup.policy': 'delete,compact' })).toMatchObject({
      compacts: true,
      retentionMs: 5,
      retentionBytes: 6,
    })
    expect(parseTopicConfig(limits)).toMatchObject({ compacts: false, retentionMs: 5, segmentMs: 604_800_000 })
  })

  test('an unknown key is named, cut short, beside the keys that there are', () => {
    for (const key of ['retention.hours', '', '__proto__', 'constructor', 'toString', 'x'.repeat(100_000)]) {
      expect(() => checkTopicConfigs({ [key]: '1' }), key.slice(0, 20)).not.toThrow(TypeError)
      if (key === '__proto__') continue // not an own property of the literal
      const details = { key: key.slice(0, 64), known: keys.join(' ') }
      expect(() => checkTopicConfig(key, 1)).toThrow(expect.objectContaining({ code, details }))
    }
  })

  test('a long value is cut short in the error', () => {
    expect(() => checkTopicConfig('segment.ms', '9'.repeat(10_000))).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ value: '9'.repeat(64) }) }),
    )
  })
})

test('flush.messages=1 is durable, anything else is not', () => {
  expect(parseTopicConfig({ 'flush.messages': '1' })).toMatchObject({ durable: true, flushMessages: 1 })
  expect(parseTopicConfig({ 'flush.messages': '2' })).toMatchObject({ durable: false, flushMessages: 2 })
})
