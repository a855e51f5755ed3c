import { describe, expect, test } from 'vitest'
import { AvroSerde } from '../../../client/avro.ts'
import { RESOLUTION_DEPTH_MAX } from '../../../engine/base/limits.ts'
import { parseSchema, schemaText } from '../../../engine/schema/avro-schema.ts'
import { resolveSchema, type SchemaProblem } from '../../../engine/schema/resolution.ts'

type Source = string | object

function problemsOf(reader: Source, writer: Source): readonly SchemaProblem[] {
  const resolution = resolveSchema(parseSchema(schemaText(reader)), parseSchema(schemaText(writer)))
  return typeof resolution === 'function' ? [] : resolution
}

/** What a value that was written with one schema is with another. */
function through(writer: Source, reader: Source, value: unknown): unknown {
  const serde = new AvroSerde(2, reader, () => schemaText(writer))
  return serde.decode(new AvroSerde(1, writer).encode(value))
}

const array = (items: Source): object => ({ type: 'array', items })
const map = (values: Source): object => ({ type: 'map', values })
const enumOf = (name: string, symbols: string[], more: object = {}): object => ({
  type: 'enum',
  name,
  symbols,
  ...more,
})
const fixed = (size: number, name = 'Fixed'): object => ({ type: 'fixed', name, size })
const record = (name: string, fields: Record<string, Source | [Source, unknown]>, more: object = {}): object => ({
  type: 'record',
  name,
  fields: Object.entries(fields).map(([field, type]) =>
    Array.isArray(type) && type.length === 2 && type[0] !== 'null' && !isBranch(type[1])
      ? { name: field, type: type[0], default: type[1] }
      : { name: field, type },
  ),
  ...more,
})
const isBranch = (part: unknown): boolean => typeof part === 'string' || (typeof part === 'object' && part !== null)
const decimal = (precision: number, scale: number): object => ({
  type: 'bytes',
  logicalType: 'decimal',
  precision,
  scale,
})

const AB = enumOf('Enum1', ['A', 'B'])
const ABC = enumOf('Enum1', ['A', 'B', 'C'])
const A_INT = record('Record1', { a: 'int' })
const A_DEFAULT = record('Record1', { a: ['int', 0] })
const AB_DEFAULT = record('Record1', { a: ['int', 0], b: ['int', 0] })
const EMPTY = record('Record1', {})
const list = (name: string, head: string): object => ({
  type: 'record',
  name,
  fields: [
    { name: 'head', type: head },
    { name: 'tail', type: array(name) },
  ],
})
const nested = (namespace: string): object =>
  record('Record1', { f: { type: 'array', items: { ...record('Inner', { a: 'int' }), namespace } } })

// The cases that Avro's own implementations are tested with (the compatibility tests of its Java and Python libraries).
const COMPATIBLE: readonly (readonly [reader: Source, writer: Source])[] = [
  ...['null', 'boolean', 'int', 'long', 'float', 'double', 'string', 'bytes'].map(name => [name, name] as const),
  ['long', 'int'],
  ['float', 'int'],
  ['float', 'long'],
  ['double', 'int'],
  ['double', 'long'],
  ['double', 'float'],
  ['string', 'bytes'],
  ['bytes', 'string'],
  [array('int'), array('int')],
  [array('long'), array('int')],
  [map('int'), map('int')],
  [map('long'), map('int')],
  [AB, AB],
  [ABC, AB],
  [enumOf('E', ['A', 'B'], { default: 'A' }), enumOf('E', ['A', 'B', 'C'])],
  [['float'], ['int']],
  [['float'], ['long']],
  [['float'], ['int', 'long']],
  [['int'], ['int']],
  [
    ['int', 'string'],
    ['string', 'int'],
  ],
  [['long'], ['int']],
  [['double'], ['int', 'float']],
  [['string'], ['bytes']],
  [['bytes'], ['string']],
  ['float', ['int', 'float']],
  ['long', ['int', 'long']],
  ['double', ['int', 'long', 'float', 'double']],
  [['int'], 'int'],
  ['int', ['int']],
  [fixed(4), fixed(4)],
  [EMPTY, EMPTY],
  [EMPTY, A_INT],
  [A_INT, A_INT],
  [A_DEFAULT, A_INT],
  [A_INT, A_DEFAULT],
  [record('Record1', { a: 'long' }), A_INT],
  [A_INT, record('Record1', { a: 'int', b: 'int' })],
  [record('Record1', { a: 'int', b: ['int', 0] }), A_INT],
  [AB_DEFAULT, EMPTY],
  [record('Record1', { a: 'int', b: 'int' }), AB_DEFAULT],
  [list('List', 'int'), list('List', 'int')],
  [list('List', 'long'), list('List', 'int')],
  [nested('ns1'), nested('ns2')],
  [record('Record', { f: 'int' }), record('ns.Record', { f: 'int' })],
  [record('Other', { f: 'int' }, { aliases: ['Foo'] }), record('Foo', { f: 'int', g: 'string' })],
  [
    { type: 'record', name: 'Foo', fields: [{ name: 'bar', type: 'int', aliases: ['f'] }] },
    record('Foo', { f: 'int' }),
  ],
  [decimal(4, 2), decimal(4, 2)],
]

const INCOMPATIBLE: readonly (readonly [reader: Source, writer: Source, path: string, reason: string | RegExp])[] = [
  ['null', 'int', '', 'int cannot be read as null'],
  ['boolean', 'int', '', 'int cannot be read as boolean'],
  ['int', 'long', '', 'long cannot be read as int'],
  ['int', 'float', '', 'float cannot be read as int'],
  ['long', 'float', '', 'float cannot be read as long'],
  ['long', 'double', '', 'double cannot be read as long'],
  ['float', 'double', '', 'double cannot be read as float'],
  ['string', 'boolean', '', 'boolean cannot be read as string'],
  ['string', 'int', '', 'int cannot be read as string'],
  ['bytes', 'null', '', 'null cannot be read as bytes'],
  ['bytes', fixed(4), '', 'fixed Fixed cannot be read as bytes'],
  [fixed(4), 'bytes', '', 'bytes cannot be read as fixed Fixed'],
  [AB, 'string', '', 'string cannot be read as enum Enum1'],
  ['int', AB, '', 'enum Enum1 cannot be read as int'],
  [array('int'), array('long'), '[]', 'long cannot be read as int'],
  [map('int'), array('int'), '', 'array cannot be read as map'],
  [array('int'), map('int'), '', 'map cannot be read as array'],
  [map('int'), map('long'), '{}', 'long cannot be read as int'],
  [AB, ABC, '', /lacks symbols of the writer and has no default: C$/],
  [enumOf('Enum1', ['B', 'C']), ABC, '', /: A$/],
  [AB, enumOf('Enum2', ['A', 'B']), '', /enum Enum2 is the reader's enum Enum1/],
  [fixed(4), fixed(8), '', 'a fixed of 8 bytes cannot be read as one of 4 bytes'],
  [fixed(4), fixed(4, 'AnotherName'), '', /fixed AnotherName is the reader's fixed Fixed/],
  [record('Record2', {}), EMPTY, '', /record Record1 is the reader's record Record2.*add the writer's as an alias/],
  [['int'], ['int', 'string'], '', /^string fits no branch of the reader's union \(int\)$/],
  [['string'], ['int', 'string'], '', /^int fits no branch/],
  [['int'], ['int', A_INT], '', /^record Record1 fits no branch/],
  [['int', A_INT], ['int', record('Record2', { a: 'int' })], '', /^record Record2 fits no branch/],
  [['int'], ['long'], '', /^long fits no branch/],
  [['int', 'string'], ['int', 'string', 'long'], '', /^long fits no branch/],
  ['string', ['null', 'string'], '', 'null cannot be read as string'],
  [A_INT, EMPTY, 'a', 'the writer has no such field, and the reader has no default for it'],
  [record('Record1', { a: 'int', b: ['int', 0] }), EMPTY, 'a', /no default/],
  [record('Record1', { a: fixed(8) }), record('Record1', { a: fixed(4) }), 'a', /^a fixed of 4 bytes/],
  [list('List', 'int'), list('List', 'long'), 'head', 'long cannot be read as int'],
  [
    decimal(3, 3),
    decimal(3, 2),
    '',
    /^decimal of 3 digits, 2 behind the point would be read as decimal of 3 digits, 3/,
  ],
  [decimal(3, 3), decimal(4, 3), '', /another value$/],
]

describe('Avro’s published cases', () => {
  test.each(COMPATIBLE)('%j reads %j', (reader, writer) => {
    expect(problemsOf(reader, writer)).toEqual([])
  })

  test.each(INCOMPATIBLE)('%j does not read %j', (reader, writer, path, reason) => {
    const [first] = problemsOf(reader, writer)
    expect(first).toEqual({ path, reason: typeof reason === 'string' ? reason : expect.stringMatching(reason) })
  })

  // The example of the specification's chapter on records.
  test('LongList is read by a list that has a new name and a wider head', () => {
    const longs = {
      type: 'record',
      name: 'LongList',
      aliases: ['LinkedLongs'],
      fields: [
        { name: 'value', type: 'long' },
        { name: 'next', type: ['null', 'LongList'] },
      ],
    }
    const linked = JSON.parse(
      JSON.stringify({ ...longs, name: 'LinkedLongs', aliases: [] }).replaceAll('"LongList"', '"LinkedLongs"'),
    )
    const value = { value: 1, next: { value: 2, next: null } }
    expect(through(linked, longs, value)).toEqual(value)
    expect(problemsOf(linked, longs)).toHaveLength(1)
  })
})

describe('values', () => {
  test('numbers become what the reader’s type holds', () => {
    expect(through('int', 'float', 16_777_217)).toBe(16_777_216)
    expect(through('long', 'float', Number.MAX_SAFE_INTEGER)).toBe(2 ** 53)
    expect(through('long', 'double', Number.MIN_SAFE_INTEGER)).toBe(Number.MIN_SAFE_INTEGER)
    expect(through('float', 'double', 0.1)).toBe(Math.fround(0.1))
    expect(through('string', 'bytes', 'é')).toEqual(Buffer.from('é'))
    expect(through('bytes', 'string', Buffer.from('é'))).toBe('é')
  })

  test('a union takes the writer’s own branch, whatever stands before it', () => {
    const bytes = Buffer.of(0xff, 0xfe)
    expect(through('bytes', ['string', 'bytes'], bytes)).toEqual(bytes)
    expect(through(['bytes', 'string'], ['string', 'bytes'], bytes)).toEqual(bytes)
    expect(through('int', ['double', 'int'], 7)).toEqual({ int: 7 })
    expect(through('int', ['null', 'double'], 7)).toBe(7)
    expect(through(['null', 'int'], ['long', 'float', 'null'], 7)).toEqual({ long: 7 })
    expect(through(['null', 'int'], ['long', 'float', 'null'], null)).toBe(null)
    const one = record('x.A', { f: 'int' })
    const two = record('y.A', { f: 'int' })
    expect(through(two, [one, two], { f: 1 })).toEqual({ 'y.A': { f: 1 } })
    expect(through(record('z.A', { f: 'int' }), [one, two], { f: 1 })).toEqual({ 'x.A': { f: 1 } })
  })

  test('a union goes on to the next branch when a record of the right name does not fit', () => {
    const reader = [record('x.A', { f: 'string' }), record('y.A', { f: 'long' })]
    expect(through(record('x.A', { f: 'int' }), reader, { f: 1 })).toEqual({ 'y.A': { f: 1 } })
  })

  test('symbols that the reader does not know become its default', () => {
    const reader = enumOf('E', ['B', 'OTHER'], { default: 'OTHER' })
    expect(['A', 'B'].map(symbol => through(enumOf('E', ['A', 'B']), reader, symbol))).toEqual(['OTHER', 'B'])
  })

  test('fields are matched by name and alias, filled from defaults, and left out', () => {
    const writer = record('R', { a: 'int', gone: { type: 'array', items: 'string' }, b: 'string' })
    const reader = {
      type: 'record',
      name: 'R',
      fields: [
        { name: 'b2', type: 'string', aliases: ['b'] },
        { name: 'twice', type: 'long', aliases: ['a'] },
        { name: 'a', type: 'int' },
        { name: 'added', type: ['null', 'string'], default: null },
        { name: 'bytes', type: 'bytes', default: '\u00ff' },
      ],
    }
    const value = { a: 1, gone: ['x', 'y'], b: 'z' }
    const expected = { b2: 'z', twice: 1, a: 1, added: null, bytes: Buffer.of(0xff) }
    expect(through(writer, reader, value)).toEqual(expected)
  })

  test('a field whose name and alias the writer both has is refused', () => {
    const reader = { type: 'record', name: 'R', fields: [{ name: 'a', type: 'int', aliases: ['b'] }] }
    expect(problemsOf(reader, record('R', { a: 'int', b: 'int' }))).toEqual([
      { path: 'a', reason: 'the writer has several fields of its name and aliases: a, b' },
    ])
  })

  test('field names that every object has are fields like all others', () => {
    const reader = { type: 'record', name: 'R', fields: [{ name: 'constructor', type: 'int', default: 3 }] }
    expect(through(record('R', { toString: 'int' }), reader, { toString: 1 })).toEqual({ constructor: 3 })
    expect(through(record('R', { constructor: 'int' }), reader, { constructor: 1 })).toEqual({ constructor: 1 })
  })
})

describe('recursion', () => {
  test('a pair that did not fit inside a union is forgotten with all that relied on it', () => {
    // Inside the first branch A meets A', which fits only as long as B fits B', which it does not.
    const tree = (leaf: Source): object => ({
      type: 'record',
      name: 'B',
      fields: [
        { name: 'a', type: { type: 'record', name: 'A', fields: [{ name: 'b', type: ['null', 'B'] }] } },
        { name: 'leaf', type: leaf },
      ],
    })
    const writer = record('R', { one: tree('string'), two: 'A' })
    const reader = record('R', { one: ['null', tree('int'), { ...record('C', {}), aliases: ['B'] }], two: 'A' })
    expect(problemsOf(reader, writer).map(({ path }) => path)).toEqual(['two.b.leaf'])
  })

  test('circles of different length meet in all their pairs', () => {
    const circle = (length: number): object => {
      let type: Source = 'N0'
      for (let i = length - 1; i >= 0; i--) {
        type = record(
          `N${i}`,
          { next: ['null', type] },
          { aliases: Array.from({ length: 7 }, (_, other) => `N${other}`) },
        )
      }
      return type as object
    }
    const value = { next: { next: { next: { next: { next: null } } } } }
    expect(through(circle(3), circle(2), value)).toEqual(value)
    expect(through(circle(5), circle(7), value)).toEqual(value)
  })

  test('what is nested too deep to be resolved is refused', () => {
    const names = Array.from({ length: 70 }, (_, i) => `N${i}`)
    const circle = (length: number): object => {
      let type: Source = 'N0'
      for (let i = length - 1; i >= 0; i--) type = record(`N${i}`, { next: ['null', type] }, { aliases: names })
      return type as object
    }
    expect(61 * 67).toBeGreaterThan(RESOLUTION_DEPTH_MAX)
    expect(problemsOf(circle(61), circle(67))[0]?.reason).toBe('the types nest too deep to be resolved')
  })
})

describe('logical types', () => {
  const long = (logicalType: string): object => ({ type: 'long', logicalType })

  test('have to be the same, or be read as what they are made of', () => {
    expect(problemsOf(long('timestamp-millis'), long('timestamp-millis'))).toEqual([])
    expect(problemsOf('long', long('timestamp-millis'))).toEqual([])
    expect(problemsOf(long('timestamp-millis'), 'long')).toEqual([])
    expect(problemsOf(long('timestamp-millis'), 'int')).toEqual([])
    expect(problemsOf(long('timestamp-micros'), long('timestamp-millis'))).toEqual([
      { path: '', reason: 'timestamp-millis would be read as timestamp-micros, which means another value' },
    ])
    expect(problemsOf(long('timestamp-millis'), { type: 'int', logicalType: 'date' })).toHaveLength(1)
  })

  test('that are unknown or do not fit their type are ignored', () => {
    expect(problemsOf(long('timestamp-millis'), long('lamport'))).toEqual([])
    expect(problemsOf(long('timestamp-millis'), long('date'))).toEqual([])
    expect(problemsOf(decimal(4, 2), decimal(4, 5))).toEqual([])
    expect(problemsOf(decimal(4, 2), { type: 'bytes', logicalType: 'decimal', precision: '4' })).toEqual([])
  })
})
