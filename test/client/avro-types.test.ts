/** Types are checked by the compiler (`npm run types`); what each literal gives is checked against avsc when running. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import { type AvroSerde, avro } from '../../client/avro.ts'
import type { AvroInput, AvroType } from '../../client/avro-types.ts'

describe('types from schema literals', () => {
  test('primitives', () => {
    expectTypeOf<AvroType<'null'>>().toEqualTypeOf<null>()
    expectTypeOf<AvroType<'boolean'>>().toEqualTypeOf<boolean>()
    expectTypeOf<AvroType<'int' | 'float'>>().toEqualTypeOf<number>()
    expectTypeOf<AvroType<'bytes'>>().toEqualTypeOf<Buffer>()
    expectTypeOf<AvroType<{ type: 'string' }>>().toEqualTypeOf<string>()
    expectTypeOf<AvroType<{ type: 'long'; logicalType: 'timestamp-millis' }>>().toEqualTypeOf<number>()
    expect(avro('long').serde(1).decode(avro('long').serde(1).encode(3))).toBe(3)
  })

  test('a record, its optional fields only when writing', () => {
    const flight = avro({
      type: 'record',
      name: 'Flight',
      fields: [
        { name: 'date', type: { type: 'long', logicalType: 'timestamp-millis' } },
        { name: 'delay', type: ['null', 'int'], default: null },
        { name: 'origin', type: 'string' },
        { name: 'legs', type: { type: 'array', items: 'string' }, default: [] },
      ],
    })
    const serde = flight.serde(1)
    type Read = ReturnType<typeof serde.decode>
    type Written = Parameters<typeof serde.encode>[0]
    expectTypeOf<Read>().toEqualTypeOf<{ date: number; delay: number | null; origin: string; legs: string[] }>()
    expectTypeOf<Written>().toEqualTypeOf<{
      date: number
      origin: string
      delay?: number | null | undefined
      legs?: readonly string[] | undefined
    }>()
    // @ts-expect-error a field is missing
    expect(() => serde.encode({ date: 1 })).toThrow('SCHEMA_MISMATCH')
    // @ts-expect-error a field has another type
    expect(() => serde.encode({ date: 'today', origin: 'JFK' })).toThrow('SCHEMA_MISMATCH')
    const read = serde.decode(serde.encode({ date: 1, origin: 'JFK' }))
    expect(read).toEqual({ date: 1, delay: null, origin: 'JFK', legs: [] })
  })

  test('arrays, maps, enums, fixed', () => {
    const schema = {
      type: 'record',
      name: 'All',
      fields: [
        { name: 'list', type: { type: 'array', items: { type: 'array', items: 'int' } } },
        { name: 'map', type: { type: 'map', values: 'boolean' } },
        { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['WORK', 'LEISURE'] } },
        { name: 'code', type: { type: 'fixed', name: 'Code', size: 2 } },
        { name: 'inner', type: { type: 'record', name: 'Inner', fields: [{ name: 'x', type: 'double' }] } },
      ],
    } as const
    type All = AvroType<typeof schema>
    expectTypeOf<All>().toEqualTypeOf<{
      list: number[][]
      map: { [key: string]: boolean }
      kind: 'WORK' | 'LEISURE'
      code: Buffer
      inner: { x: number }
    }>()
    const serde = avro(schema).serde(1)
    const value: All = { list: [[1], []], map: { a: true }, kind: 'WORK', code: Buffer.from('ab'), inner: { x: 1 } }
    expect(serde.decode(serde.encode(value))).toEqual(value)
  })

  test('unions: plain when the value says which branch it is, else wrapped', () => {
    type Plain = AvroType<readonly ['null', 'int', 'string', 'bytes', 'boolean']>
    expectTypeOf<Plain>().toEqualTypeOf<null | number | string | Buffer | boolean>()
    type Numbers = AvroType<readonly ['null', 'int', 'double']>
    expectTypeOf<Numbers>().toEqualTypeOf<null | { int: number } | { double: number }>()
    const schema = [
      { type: 'record', name: 'A', fields: [{ name: 'a', type: 'int' }] },
      { type: 'record', name: 'B', namespace: 'ns', fields: [{ name: 'b', type: 'int' }] },
      'string',
    ] as const
    type Either = AvroType<typeof schema>
    expectTypeOf<Either>().toEqualTypeOf<{ A: { a: number } } | { 'ns.B': { b: number } } | { string: string }>()
    const serde = avro(schema).serde(1)
    const values: Either[] = [{ A: { a: 1 } }, { 'ns.B': { b: 2 } }, { string: 'x' }]
    for (const value of values) expect(serde.decode(serde.encode(value))).toEqual(value)
    const numbers = avro(['null', 'int', 'double']).serde(1)
    expect(numbers.decode(numbers.encode({ double: 1.5 }))).toEqual({ double: 1.5 })
    // @ts-expect-error it has to be wrapped
    expect(() => numbers.encode(1.5)).toThrow('SCHEMA_MISMATCH')
    type EnumAndString = AvroType<readonly [{ type: 'enum'; name: 'E'; symbols: readonly ['X'] }, 'string']>
    expectTypeOf<EnumAndString>().toEqualTypeOf<{ E: 'X' } | { string: string }>()
  })

  test('names that refer to types, also to the one around them', () => {
    const tree = avro({
      type: 'record',
      name: 'Tree',
      fields: [
        {
          name: 'origin',
          type: { type: 'record', name: 'Point', namespace: 'geo', fields: [{ name: 'x', type: 'int' }] },
        },
        { name: 'target', type: 'geo.Point' },
        { name: 'children', type: { type: 'array', items: 'Tree' } },
        { name: 'parent', type: ['null', 'Tree'] },
      ],
    })
    const serde = tree.serde(1)
    type Tree = ReturnType<typeof serde.decode>
    expectTypeOf<Tree['target']>().toEqualTypeOf<{ x: number }>()
    expectTypeOf<Tree['children'][number]['children'][number]['target']['x']>().toEqualTypeOf<number>()
    expectTypeOf<NonNullable<Tree['parent']>['origin']>().toEqualTypeOf<{ x: number }>()
    const leaf = { origin: { x: 1 }, target: { x: 2 }, children: [], parent: null }
    expect(serde.decode(serde.encode({ ...leaf, children: [leaf] }))).toEqual({ ...leaf, children: [leaf] })
  })

  test('what is not literal is unknown', () => {
    expectTypeOf<AvroType<string>>().toEqualTypeOf<unknown>()
    expectTypeOf<AvroType<object>>().toEqualTypeOf<unknown>()
    expectTypeOf<AvroInput<'Missing'>>().toEqualTypeOf<unknown>()
    const text: string = '"int"'
    const serde = avro(text).serde(1)
    expectTypeOf(serde).toEqualTypeOf<AvroSerde<unknown, unknown>>()
    expect(serde.decode(serde.encode(3))).toBe(3)
  })
})
