import { expect, test } from 'vitest'
import { avroValueFromJson, avroValueToJson } from '../../../client/cli/avro-json.ts'
import { bytesFromJson, bytesToJson, messageFromJson, recordToJson } from '../../../client/cli/record-json.ts'
import type { ConsumedRecord } from '../../../client/index.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'

test('bytes come back as they were', () => {
  const random = new Random(testSeed())
  for (let round = 0; round < 500; round++) {
    const text = Buffer.from(
      String.fromCodePoint(...Array.from({ length: random.below(8) }, () => random.below(0xd000))),
    )
    for (const bytes of [Buffer.from(random.bytes(random.below(12))), text]) {
      const json = JSON.parse(JSON.stringify(bytesToJson(bytes))) as unknown
      const back = bytesFromJson(json, 'value')
      expect(Buffer.from(back as Uint8Array), `MILLRACE_SEED=${random.seed}`).toEqual(bytes)
    }
  }
  expect(bytesToJson(null)).toBe(null)
  // A byte-order mark, an overlong form and a lone surrogate are kept too.
  for (const bytes of [[0xef, 0xbb, 0xbf, 0x61], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xff]].map(list =>
    Buffer.from(list),
  )) {
    expect(Buffer.from(bytesFromJson(bytesToJson(bytes), 'value') as Uint8Array)).toEqual(bytes)
  }
})

test('a record comes back as a message', () => {
  const headers = [{ key: 'a', value: Buffer.from([0xff]) }]
  const record = { topic: 't', partition: 3, offset: 9, timestamp: 5, key: Buffer.from('k'), value: null, headers }
  const line = JSON.stringify(recordToJson(record as unknown as ConsumedRecord))
  const message = messageFromJson(line)
  expect(message).toMatchObject({ partition: 3, timestamp: 5, value: null })
  expect(Buffer.from(message.key as Uint8Array).toString()).toBe('k')
  expect(message.headers).toEqual([{ key: 'a', value: expect.objectContaining({ 0: 0xff, length: 1 }) }])
})

test('lines that are none say why', () => {
  const cases: Readonly<Record<string, RegExp>> = {
    '': /not JSON/,
    '[1]': /not a JSON object/,
    null: /not a JSON object/,
    '{}': /"value" is missing/,
    '{"value":1}': /value must be a string, null, or/,
    '{"value":{"base64":1}}': /value must be a string, null, or/,
    '{"value":"","key":true}': /key must be/,
    '{"value":"","valu":""}': /no field "valu"; the fields are key, value/,
    '{"value":"","partition":-1}': /partition must be a whole number from 0 on/,
    '{"value":"","timestamp":1.5}': /timestamp must be a whole number from -1 on/,
    '{"value":"","headers":7}': /headers must be an object, or a list/,
    '{"value":"","headers":[{"name":"a"}]}': /headers must be an object, or a list/,
    '{"value":"","headers":{"a":1}}': /header "a" must be/,
  }
  for (const [line, message] of Object.entries(cases)) expect(() => messageFromJson(line), line).toThrow(message)
})

test('bytes in Avro values, wherever they are', () => {
  const value = { photo: Buffer.from([0, 255]), list: [{ deep: Buffer.from('x') }], text: 'é', none: null, count: 3 }
  const json = avroValueToJson(value)
  expect(json).toMatchObject({ photo: { base64: 'AP8=' }, list: [{ deep: { base64: 'eA==' } }], text: 'é', count: 3 })
  expect(avroValueFromJson(JSON.parse(JSON.stringify(json)))).toEqual(value)
})
