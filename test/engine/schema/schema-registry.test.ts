import { describe, expect, test } from 'vitest'
import { SCHEMA_DEPTH_MAX } from '../../../engine/base/limits.ts'
import { SchemaRegistry } from '../../../engine/schema/schema-registry.ts'
import { errorOf, openStore, temporaryDirectory } from '../store/support.ts'

const FLIGHT = {
  type: 'record',
  name: 'Flight',
  doc: 'one flight',
  fields: [
    { name: 'date', type: 'long' },
    { name: 'delay', type: ['null', 'int'], default: null },
  ],
}

function registry(directory = temporaryDirectory()): SchemaRegistry {
  return new SchemaRegistry(openStore(directory).schemas)
}

describe('the schema registry', () => {
  test('gives a schema one id, as an object or as text with any white space', () => {
    const schemas = registry()
    const first = schemas.register('flights-value', FLIGHT)
    expect(first).toEqual({ id: 1, subject: 'flights-value', version: 1, text: JSON.stringify(FLIGHT) })
    expect(schemas.register('flights-value', JSON.stringify(FLIGHT, null, 4))).toEqual(first)
    expect(schemas.register('other', FLIGHT)).toMatchObject({ id: 1, version: 1, subject: 'other' })
    expect(schemas.register('flights-value', { ...FLIGHT, doc: 'changed' })).toMatchObject({ id: 2, version: 2 })
  })

  test('takes primitives by name, in both spellings, and unions', () => {
    const schemas = registry()
    expect(schemas.register('a', 'long')).toMatchObject({ id: 1, text: '"long"' })
    expect(schemas.register('a', '"long"')).toMatchObject({ id: 1 })
    expect(schemas.register('b', ['null', 'string'])).toMatchObject({ id: 2, text: '["null","string"]' })
  })

  test('answers by id and by subject, after a reopening', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    new SchemaRegistry(store.schemas).register('a', { ...FLIGHT, doc: 'first' })
    new SchemaRegistry(store.schemas).register('a', FLIGHT)
    await store.close()
    const schemas = registry(directory)
    expect(schemas.get(2).text).toBe(JSON.stringify(FLIGHT))
    expect(schemas.latest('a')).toMatchObject({ id: 2, version: 2 })
    expect(schemas.list().map(({ id }) => id)).toEqual([1, 2])
    expect((await errorOf(() => schemas.get(3))).details).toEqual({ id: 3 })
    expect((await errorOf(() => schemas.latest('b'))).code).toBe('UNKNOWN_SCHEMA')
  })

  test.each<[string, string | object]>([
    ['not JSON', '{"type":'],
    ['a name that is not a type', 'number'],
    ['an unknown type', { type: 'number' }],
    ['a record without fields', { type: 'record', name: 'R' }],
    ['a field of no type', { type: 'record', name: 'R', fields: [{ name: 'f' }] }],
    ['a bad field name', { type: 'record', name: 'R', fields: [{ name: 'a b', type: 'int' }] }],
    ['a bad default', { type: 'record', name: 'R', fields: [{ name: 'f', type: 'int', default: 'x' }] }],
    ['a prototype as a field', { type: 'record', name: 'R', fields: [{ name: '__proto__', type: 'int' }] }],
    ['an undefined reference', { type: 'array', items: 'Missing' }],
    ['a nested union', ['null', ['int', 'string']]],
    ['null', 'null,'],
    ['an empty text', ''],
    ['JSON null', '[null]'],
    ['a circular object', circular()],
    ['a record without a name', { type: 'record', fields: [] }],
    ['a kind that every object has', { type: 'constructor' }],
    ['a name that every object has', { type: 'array', items: 'toString' }],
    ['one that is too deep', deep(SCHEMA_DEPTH_MAX + 2)],
    ['one that is far too deep', `${'{"type":"array","items":'.repeat(20_000)}"int"${'}'.repeat(20_000)}`],
    ['one that is too long', { type: 'enum', name: 'E', symbols: ['A'], doc: 'x'.repeat(1 << 20) }],
  ])('refuses %s as INVALID_SCHEMA and registers nothing', async (_, schema) => {
    const schemas = registry()
    const error = await errorOf(() => schemas.register('subject', schema))
    expect(error.code).toBe('INVALID_SCHEMA')
    expect(error.details['reason']).toEqual(expect.any(String))
    expect(schemas.list()).toEqual([])
  })

  test('says why', async () => {
    const error = await errorOf(() => registry().register('subject', { type: 'number' }))
    expect(error.details['reason']).toContain('unknown type')
    expect(error.cause).toBeInstanceOf(Error)
  })

  test('refuses an empty subject', async () => {
    expect((await errorOf(() => registry().register('', 'long'))).code).toBe('INVALID_ARGUMENT')
  })
})

function deep(levels: number): object {
  let schema: string | object = 'int'
  for (let level = 0; level < levels; level++) schema = { type: 'array', items: schema }
  return schema as object
}

function circular(): object {
  const schema: { type: string; items?: object } = { type: 'array' }
  schema.items = schema
  return schema
}
