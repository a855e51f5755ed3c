import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type ConsumerSubscription,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../../engine/group/consumer-protocol.ts'

const golden = JSON.parse(readFileSync(new URL('./golden/groups.json', import.meta.url), 'utf8'))
const hex = (text: string | null): Uint8Array | null =>
  text === null ? null : new Uint8Array(Buffer.from(text, 'hex'))

const name = fc.string({ unit: 'grapheme', maxLength: 12 })
const bytes = fc.option(fc.uint8Array({ maxLength: 20 }))
const named = fc.array(fc.record({ topic: name, partitions: fc.array(fc.nat(0x7fff_ffff), { maxLength: 5 }) }), {
  maxLength: 4,
})
const subscriptions: fc.Arbitrary<ConsumerSubscription> = fc.record({
  version: fc.integer({ min: 0, max: 3 }),
  topics: fc.array(name, { maxLength: 5 }),
  userData: bytes,
  owned: named,
  generationId: fc.integer({ min: -1, max: 0x7fff_ffff }),
  rackId: fc.option(name),
})

/** What a version has no field for is not there after it was read. */
function asRead(subscription: ConsumerSubscription): ConsumerSubscription {
  const { version } = subscription
  return {
    ...subscription,
    owned: version >= 1 ? subscription.owned : [],
    generationId: version >= 2 ? subscription.generationId : -1,
    rackId: version >= 3 ? subscription.rackId : null,
  }
}

describe('the bytes of Kafka’s Java client', () => {
  test('are read and written for subscriptions', () => {
    expect(golden.subscriptions).toHaveLength(12)
    for (const { bytes, ...fields } of golden.subscriptions) {
      const subscription = { ...fields, userData: hex(fields.userData) }
      expect(decodeSubscription(hex(bytes) as Uint8Array)).toEqual(asRead(subscription))
      expect(Buffer.from(encodeSubscription(subscription)).toString('hex')).toBe(bytes)
    }
  })

  test('are read and written for assignments', () => {
    expect(golden.assignments).toHaveLength(12)
    for (const { bytes, ...fields } of golden.assignments) {
      const assignment = { ...fields, userData: hex(fields.userData) }
      expect(decodeAssignment(hex(bytes) as Uint8Array)).toEqual(assignment)
      expect(Buffer.from(encodeAssignment(assignment)).toString('hex')).toBe(bytes)
    }
  })
})

test('what was written is read', () => {
  fc.assert(
    fc.property(subscriptions, subscription => {
      expect(decodeSubscription(encodeSubscription(subscription))).toEqual(asRead(subscription))
    }),
  )
  fc.assert(
    fc.property(fc.record({ version: fc.integer({ min: 0, max: 3 }), partitions: named, userData: bytes }), one => {
      expect(decodeAssignment(encodeAssignment(one))).toEqual(one)
    }),
  )
})

test('a newer version is read as the newest that is known', () => {
  const bytes = encodeSubscription({
    version: 3,
    topics: ['a'],
    userData: null,
    owned: [],
    generationId: 5,
    rackId: 'r',
  })
  const newer = new Uint8Array([0, 9, ...bytes.subarray(2), 1, 2, 3])
  expect(decodeSubscription(newer)).toMatchObject({ version: 3, topics: ['a'], generationId: 5, rackId: 'r' })
})

test('no bytes are the empty assignment, and no subscription', () => {
  expect(decodeAssignment(new Uint8Array(0))).toEqual({ version: 0, partitions: [], userData: null })
  expect(decodeSubscription(new Uint8Array(0))).toBeUndefined()
})

describe('other bytes are refused', () => {
  test('cut ones, at every length', () => {
    fc.assert(
      fc.property(subscriptions, subscription => {
        const whole = encodeSubscription(subscription)
        for (let length = 0; length < whole.length; length++) {
          expect(decodeSubscription(whole.subarray(0, length))).toBeUndefined()
        }
      }),
    )
  })

  test.each([
    ['a version below 0', 'ffff00000000ffffffff'],
    ['a count below 0', '0000ffffffffffffffff'],
    ['a count that no bytes stand behind', '00007fffffff'],
    ['a topic without a name', '000000000001ffffffffffff'],
    ['a length below -1', '000000000001fff0ffffffff'],
    ['user data of a length below -1', '000000000000fffffff0'],
  ])('%s', (_, bytes) => {
    expect(decodeSubscription(hex(bytes) as Uint8Array)).toBeUndefined()
  })

  test('random ones give a value or nothing, and never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), noise => {
        decodeSubscription(noise)
        decodeAssignment(noise)
      }),
    )
  })
})
