import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { avro } from '../../../client/avro.ts'
import type { AvroType } from '../../../client/avro-types.ts'
import { isMillraceError } from '../../../engine/base/errors.ts'

const date = { type: 'int', logicalType: 'date' } as const
const timestamp = { type: 'long', logicalType: 'timestamp-millis' } as const
const micros = { type: 'long', logicalType: 'timestamp-micros' } as const
const price = { type: 'bytes', logicalType: 'decimal', precision: 6, scale: 2 } as const
const amount = { type: 'fixed', name: 'Amount', size: 4, logicalType: 'decimal', precision: 9, scale: 0 } as const
const uuid = { type: 'fixed', name: 'Uuid', size: 16, logicalType: 'uuid' } as const
const duration = { type: 'fixed', name: 'Duration', size: 12, logicalType: 'duration' } as const

const refuses = (call: () => unknown): boolean => {
  try {
    call()
    return false
  } catch (error) {
    return isMillraceError(error, 'SCHEMA_MISMATCH')
  }
}

describe('mapped logical types', () => {
  test.each<[string, object, unknown, string]>([
    ['a date', date, new Date('1969-12-31'), '01'],
    ['a timestamp', timestamp, new Date(-1), '01'],
    ['microseconds stay a number', micros, 3, '06'],
    ['a decimal', price, '-12.30', `04${'fb32'}`],
    ['a decimal of zero', price, '0.00', `02${'00'}`],
    ['a decimal that needs a byte for its sign', price, '1.28', `04${'0080'}`],
    ['a decimal of the least byte', price, '-1.28', `02${'80'}`],
    ['a fixed decimal', amount, '-2', 'fffffffe'],
    ['a fixed uuid', uuid, '00112233-4455-6677-8899-aabbccddeeff', '00112233445566778899aabbccddeeff'],
    ['text of a uuid', { type: 'string', logicalType: 'uuid' }, 'anything', '10616e797468696e67'],
    ['a duration', duration, { months: 1, days: 2, millis: 0xffff_ffff }, '0100000002000000ffffffff'],
  ])('%s', (_, schema, value, body) => {
    const serde = avro(schema, { logicalTypes: true }).serde(1)
    const bytes = serde.encode(value)
    expect(bytes.subarray(5).toString('hex')).toBe(body)
    expect(serde.decode(bytes)).toEqual(value)
  })

  test.each<[string, object, unknown[]]>([
    ['a date', date, [new Date(1), new Date(Number.NaN), 0, '2020-01-01']],
    ['a timestamp', timestamp, [new Date(Number.NaN), 0, null]],
    ['a decimal', price, ['1.234', '10000.00', '-10000', '1e3', '', '.5', ' 1', 1.5, Buffer.of(1)]],
    ['a uuid', uuid, ['00112233-4455-6677-8899', '', null, Buffer.alloc(16)]],
    ['a duration', duration, [{}, { months: -1, days: 0, millis: 0 }, { months: 0.5, days: 0, millis: 0 }, null]],
  ])('%s of another shape is refused', (_, schema, values) => {
    const serde = avro(schema, { logicalTypes: true }).serde(1)
    for (const value of values)
      expect(
        refuses(() => serde.encode(value as never)),
        String(value),
      ).toBe(true)
  })

  test('a time that Date does not hold is refused when read', () => {
    const far = avro('long')
    const serde = avro(timestamp, { logicalTypes: true }).serde(2, () => far.text)
    expect(serde.decode(far.serde(1).encode(8.64e15))).toEqual(new Date(8.64e15))
    expect(refuses(() => serde.decode(far.serde(1).encode(8.64e15 + 1)))).toBe(true)
  })

  test('every decimal comes back, whatever its size', () => {
    const schema = { type: 'bytes', logicalType: 'decimal', precision: 40, scale: 7 }
    const serde = avro(schema, { logicalTypes: true }).serde(1)
    const raw = avro({ type: 'bytes' }).serde(1)
    const property = fc.property(fc.bigInt(-(10n ** 40n) + 1n, 10n ** 40n - 1n), unscaled => {
      const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(8, '0')
      const text = `${unscaled < 0n ? '-' : ''}${digits.slice(0, -7)}.${digits.slice(-7)}`
      const bytes = serde.encode(text)
      expect(serde.decode(bytes)).toBe(text)
      // The fewest bytes of two's complement.
      const body = raw.decode(bytes) as Buffer
      expect(BigInt.asIntN(body.length * 8, BigInt(`0x${body.toString('hex')}`))).toBe(unscaled)
      if (body.length > 1) expect(BigInt.asIntN((body.length - 1) * 8, unscaled)).not.toBe(unscaled)
    })
    fc.assert(property)
  })

  test('unions are wrapped where the mapped values would not tell', () => {
    const plain = avro(['null', price, timestamp], { logicalTypes: true }).serde(1)
    for (const value of [null, '1.00', new Date(5)]) expect(plain.decode(plain.encode(value))).toEqual(value)
    const wrapped = avro(['string', price, { type: 'map', values: 'int' }, timestamp], { logicalTypes: true }).serde(1)
    for (const value of [{ string: '1.00' }, { bytes: '1.00' }, { map: { a: 1 } }, { long: new Date(5) }]) {
      expect(wrapped.decode(wrapped.encode(value))).toEqual(value)
    }
  })

  test('records, references and defaults', () => {
    const order = avro(
      {
        type: 'record',
        name: 'Order',
        fields: [
          { name: 'id', type: uuid },
          { name: 'parent', type: ['null', 'Uuid'], default: null },
          { name: 'at', type: timestamp, default: 0 },
          { name: 'total', type: price },
        ],
      },
      { logicalTypes: true },
    )
    const serde = order.serde(1)
    const id = '00112233-4455-6677-8899-aabbccddeeff'
    const value = serde.decode(serde.encode({ id, parent: id, total: '5' }))
    expect(value).toEqual({ id, parent: id, at: new Date(0), total: '5.00' })
    expectTypeOf(value).toEqualTypeOf<{ id: string; parent: string | null; at: Date; total: string }>()
    const [first, second] = [
      serde.decode(serde.encode({ id, total: '1' })),
      serde.decode(serde.encode({ id, total: '1' })),
    ]
    expect(first.at).not.toBe(second.at) // a Date may be changed by whoever has it
  })

  test('are read through resolution, from writers of the base type too', () => {
    const reader = avro(['null', timestamp], { logicalTypes: true }).serde(9, id =>
      id === 1 ? '"int"' : JSON.stringify(timestamp),
    )
    expect(reader.decode(avro('int').serde(1).encode(7))).toEqual(new Date(7))
    expect(reader.decode(avro(timestamp).serde(2).encode(7))).toEqual(new Date(7))
  })

  test('without being asked for they keep their base type', () => {
    expect(avro(timestamp).serde(1).decode(avro(timestamp).serde(1).encode(7))).toBe(7)
    expectTypeOf<AvroType<typeof timestamp>>().toEqualTypeOf<number>()
    expectTypeOf<AvroType<typeof timestamp, true>>().toEqualTypeOf<Date>()
    expectTypeOf<AvroType<['string', typeof price], true>>().toEqualTypeOf<{ string: string } | { bytes: string }>()
    expectTypeOf<AvroType<['string', typeof price]>>().toEqualTypeOf<string | Buffer>()
    expectTypeOf<AvroType<['null', typeof duration], true>>().toEqualTypeOf<null | {
      readonly months: number
      readonly days: number
      readonly millis: number
    }>()
  })
})
