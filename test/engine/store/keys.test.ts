import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SchemaId, TopicId } from '../../../engine/base/brands.ts'
import {
  groupPrefix,
  type KeyRange,
  partitionKey,
  partitionOfKey,
  prefixRange,
  schemaIdKey,
  subjectOfKey,
  subjectPrefix,
  topicIdOfKey,
  u32Key,
  versionOfKey,
} from '../../../engine/store/keys.ts'

const text = fc.string({ unit: 'binary', maxLength: 30 }).filter(t => t.isWellFormed())
const topicId = fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<TopicId>
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })

function inside({ start, end }: KeyRange, key: Buffer): boolean {
  return start.compare(key) <= 0 && (end === undefined || key.compare(end) < 0)
}

describe('keys', () => {
  test('give back their parts', () => {
    fc.assert(
      fc.property(text, topicId, u32, (name, id, number) => {
        const offset = partitionKey(id, number, groupPrefix(name))
        expect([topicIdOfKey(offset), partitionOfKey(offset)]).toEqual([id, number])
        const subject = u32Key(subjectPrefix(name), number)
        expect([subjectOfKey(subject), versionOfKey(subject)]).toEqual([name, number])
      }),
    )
  })

  test('sort by their parts', () => {
    fc.assert(
      fc.property(topicId, topicId, u32, u32, (a, b, m, n) => {
        const expected = a === b ? Math.sign(m - n) : a < b ? -1 : 1
        expect(partitionKey(a, m).compare(partitionKey(b, n))).toBe(expected)
        expect(schemaIdKey(m as SchemaId).compare(schemaIdKey(n as SchemaId))).toBe(Math.sign(m - n))
      }),
    )
  })

  test('of a group are a range that holds no key of another', () => {
    fc.assert(
      fc.property(text, text, topicId, u32, (a, b, id, partition) => {
        expect(inside(prefixRange(groupPrefix(a)), partitionKey(id, partition, groupPrefix(b)))).toBe(a === b)
      }),
    )
  })

  test('a prefix range is exactly the keys with the prefix', () => {
    const bytes = fc.uint8Array({ maxLength: 4 }).map(b => Buffer.from(b))
    const high = fc.array(fc.constantFrom(0, 254, 255), { maxLength: 4 }).map(b => Buffer.from(b))
    fc.assert(
      fc.property(fc.oneof(bytes, high), fc.oneof(bytes, high), (prefix, key) => {
        expect(inside(prefixRange(prefix), key)).toBe(key.subarray(0, prefix.length).equals(prefix))
      }),
    )
  })
})
