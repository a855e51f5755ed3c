import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import {
  checkTopicName,
  parsePartitionDirectory,
  parseSegmentFileName,
  partitionDirectory,
  segmentFileName,
} from '../../../engine/format/file-names.ts'

const legalCharacters = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-']
const topicNames = fc
  .string({ unit: fc.constantFrom(...legalCharacters), minLength: 1, maxLength: 249 })
  .filter(name => name !== '.' && name !== '..')

describe('segment files', () => {
  test('have 20 digits, so they sort as their offsets do', () => {
    expect(segmentFileName(0, 'log')).toBe('00000000000000000000.log')
    expect(segmentFileName(Number.MAX_SAFE_INTEGER, 'timeindex')).toBe('00009007199254740991.timeindex')
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
        expect(segmentFileName(a, 'log') < segmentFileName(b, 'log')).toBe(a < b)
      }),
    )
  })

  test('read back', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        fc.constantFrom('log', 'index', 'timeindex', 'snapshot' as const),
        (baseOffset, suffix) => {
          expect(parseSegmentFileName(segmentFileName(baseOffset, suffix))).toEqual({ baseOffset, suffix })
        },
      ),
    )
  })

  test('of other kinds that Kafka writes are told by their suffix', () => {
    expect(parseSegmentFileName('00000000000000000012.txnindex')).toEqual({ baseOffset: 12, suffix: 'txnindex' })
    expect(parseSegmentFileName('00000000000000000012.log.deleted')).toEqual({ baseOffset: 12, suffix: 'log.deleted' })
  })

  test.each([
    '',
    '.log',
    '12.log',
    '00000000000000000012',
    '000000000000000000012.log',
    '-0000000000000000012.log',
    '00009007199254740992.log',
    '99999999999999999999.log',
    '00000000000000000012.log\n',
    'x00000000000000000012.log',
    '00000000000000000012./log',
  ])('other names are none: %j', name => {
    expect(parseSegmentFileName(name)).toBeUndefined()
  })

  test.each([-1, 0.5, Number.NaN, 2 ** 53])('are not named after %s', baseOffset => {
    expect(() => segmentFileName(baseOffset, 'log')).toThrow(/invariant/)
  })
})

describe('partition folders', () => {
  test('read back for every legal topic name, hyphens included', () => {
    fc.assert(
      fc.property(topicNames, fc.integer({ min: 0, max: 2 ** 31 - 1 }), (topic, partition) => {
        expect(parsePartitionDirectory(partitionDirectory(topic, partition))).toEqual({ topic, partition })
      }),
      {
        examples: [
          ['a-1', 2],
          ['-', 0],
          ['a--', 10],
        ],
      },
    )
  })

  test.each([
    '',
    'a',
    '-0',
    'a-',
    'a-01',
    'a-+1',
    'a-1x',
    'a-2147483648',
    'a-99999999999',
    '.-0',
    '..-0',
    'a b-0',
    'a/b-0',
    'a-0\n',
    'a-0.4f1c-delete',
    'a-0.4f1c-future',
    `${'a'.repeat(250)}-0`,
  ])('other names are none: %j', name => {
    expect(parsePartitionDirectory(name)).toBeUndefined()
  })
})

describe('topic names', () => {
  test('of legal characters and length pass', () => {
    fc.assert(fc.property(topicNames, name => checkTopicName(name)))
    checkTopicName('a'.repeat(249))
    checkTopicName('...')
  })

  test.each(['', '.', '..', 'a'.repeat(250), 'a b', 'a/b', 'ä', 'a\0', 'a\n', '../x'])('%j is refused', name => {
    expect(() => checkTopicName(name)).toThrow(/INVALID_TOPIC_NAME/)
  })

  test('the error cuts a long name', () => {
    try {
      checkTopicName('x'.repeat(1_000_000))
      expect.unreachable()
    } catch (error) {
      expect(isMillraceError(error, 'INVALID_TOPIC_NAME') && error.details).toEqual({
        topic: 'x'.repeat(64),
        reason: 'longer than 249 characters',
      })
    }
  })
})
