import { join } from 'node:path'
import { open } from 'lmdb'
import { describe, expect, test } from 'vitest'
import { SCHEMA_PROBLEMS_MAX, SCHEMA_REFERENCE_DEPTH_MAX, SCHEMA_REFERENCES_MAX } from '../../../engine/base/limits.ts'
import { parseSchema } from '../../../engine/schema/avro-schema.ts'
import { SchemaRegistry } from '../../../engine/schema/schema-registry.ts'
import { schemaIdKey } from '../../../engine/store/keys.ts'
import type { Compatibility } from '../../../engine/store/schemas.ts'
import { codeAndDetails, errorOf, openStore, putRaw, temporaryDirectory } from '../store/support.ts'

const registry = (directory = temporaryDirectory()): SchemaRegistry => new SchemaRegistry(openStore(directory).schemas)

/** A record `R`: `a` needs a value, `a?` has a default. */
function fields(...names: string[]): object {
  const all = names.map(name =>
    name.endsWith('?') ? { name: name.slice(0, -1), type: 'int', default: 0 } : { name, type: 'int' },
  )
  return { type: 'record', name: 'R', fields: all }
}

describe('compatibility', () => {
  // First {a}, then {a, b?}; the third version is checked. `c` is new without a default, `a` and `b` may go.
  const THIRD: readonly (readonly [level: Compatibility, schema: object, isCompatible: boolean])[] = [
    ['NONE', { type: 'enum', name: 'E', symbols: ['X'] }, true],
    ['BACKWARD', fields('a', 'b'), true], // the second wrote b, the first did not
    ['BACKWARD', fields('a', 'c'), false],
    ['BACKWARD', fields('c?'), true],
    ['BACKWARD_TRANSITIVE', fields('a', 'b'), false],
    ['BACKWARD_TRANSITIVE', fields('c?'), true],
    ['FORWARD', fields('a', 'c'), true], // the second has a default for b
    ['FORWARD', fields('c'), false],
    ['FORWARD_TRANSITIVE', fields('a', 'c'), true],
    ['FORWARD_TRANSITIVE', fields('b'), false],
    ['FULL', fields('a', 'c?'), true],
    ['FULL', fields('a', 'c'), false],
    ['FULL', fields('b?', 'c?'), false],
    ['FULL_TRANSITIVE', fields('a', 'b?', 'c?'), true],
    ['FULL_TRANSITIVE', fields('a', 'b'), false],
  ]

  test.each(THIRD)('%s, %j: %s', async (level, schema, isCompatible) => {
    const schemas = registry()
    schemas.register('s', fields('a'))
    schemas.register('s', fields('a', 'b?'))
    schemas.setCompatibility(level, 's')
    const report = schemas.check('s', schema)
    expect(report).toMatchObject({ isCompatible, compatibility: level })
    expect(report.problems.length > 0).toBe(!isCompatible)
    expect(schemas.versions('s')).toEqual([1, 2]) // nothing was registered
    if (isCompatible) expect(schemas.register('s', schema).version).toBe(3)
    else {
      expect((await errorOf(() => schemas.register('s', schema))).code).toBe('INCOMPATIBLE_SCHEMA')
      expect(schemas.versions('s')).toEqual([1, 2])
    }
  })

  // What docs/SCHEMAS.md says of usual changes.
  const one = (field: object, more: object = {}): object => ({ type: 'record', name: 'R', fields: [field], ...more })
  const typed = (type: unknown): object => one({ name: 'f', type })
  const symbols = (names: string[], more: object = {}): object => ({ type: 'enum', name: 'E', symbols: names, ...more })
  const OTHER = { default: 'A' }
  const CHANGES: readonly (readonly [
    change: string,
    old: object,
    young: object,
    backward: boolean,
    forward: boolean,
  ])[] = [
    ['a field with a default is added', fields('a'), fields('a', 'b?'), true, true],
    ['a field with a default is removed', fields('a', 'b?'), fields('a'), true, true],
    ['a field without a default is added', fields('a'), fields('a', 'b'), false, true],
    ['a field without a default is removed', fields('a', 'b'), fields('a'), true, false],
    ['a field is renamed', fields('a'), one({ name: 'b', aliases: ['a'], type: 'int' }), true, false],
    ['a type is renamed', fields('a'), { ...fields('a'), name: 'S', aliases: ['R'] }, true, false],
    ['int becomes long', typed('int'), typed('long'), true, false],
    ['float becomes double', typed('float'), typed('double'), true, false],
    ['string becomes bytes', typed('string'), typed('bytes'), true, true],
    ['bytes become a string', typed('bytes'), typed('string'), true, true],
    ['a symbol is added', symbols(['A']), symbols(['A', 'B']), true, false],
    ['a symbol is added, the old enum has a default', symbols(['A'], OTHER), symbols(['A', 'B'], OTHER), true, true],
    ['a symbol is removed', symbols(['A', 'B']), symbols(['A']), false, true],
    ['a symbol is removed, the new enum has a default', symbols(['A', 'B']), symbols(['A'], OTHER), true, true],
    ['a branch is added', typed(['null', 'int']), typed(['null', 'int', 'string']), true, false],
  ]

  test.each(CHANGES)('%s', (_, old, young, backward, forward) => {
    const schemas = registry()
    schemas.register('s', old)
    const levels = (['BACKWARD', 'FORWARD', 'FULL'] as const).map(
      compatibility => schemas.check('s', young, { compatibility }).isCompatible,
    )
    expect(levels).toEqual([backward, forward, backward && forward])
  })

  test('FORWARD_TRANSITIVE asks the first version too', () => {
    const schemas = registry()
    schemas.setCompatibility('NONE', 's')
    schemas.register('s', fields('a'))
    schemas.register('s', fields('a?'))
    expect(schemas.check('s', fields('x'), { compatibility: 'FORWARD' }).isCompatible).toBe(true)
    expect(schemas.check('s', fields('x'), { compatibility: 'FORWARD_TRANSITIVE' }).problems).toEqual([
      { version: 1, direction: 'forward', path: 'a', reason: expect.stringContaining('no default') },
    ])
  })

  test('the error of a registration says with which version, and why', async () => {
    const schemas = registry()
    schemas.register('s', fields('a'))
    schemas.setCompatibility('FULL', 's')
    const error = await codeAndDetails(() => schemas.register('s', fields('b', 'c')))
    const missing = 'the writer has no such field, and the reader has no default for it'
    expect(error).toEqual({
      code: 'INCOMPATIBLE_SCHEMA',
      details: {
        subject: 's',
        version: 1,
        compatibility: 'FULL',
        problems: 3,
        reasons: `reading version 1, b: ${missing}; reading version 1, c: ${missing}; read by version 1, a: ${missing}`,
      },
    })
  })

  test('a schema that is there is registered again, whatever came after it', () => {
    const schemas = registry()
    schemas.register('s', fields('a'))
    schemas.register('s', fields('b?'))
    expect(schemas.check('s', fields('a')).isCompatible).toBe(false)
    expect(schemas.register('s', fields('a'))).toMatchObject({ id: 1, version: 1 })
  })

  test('one version may be asked for, and another level', async () => {
    const schemas = registry()
    schemas.register('s', fields('a'))
    schemas.register('s', fields('a', 'b?'))
    expect(schemas.check('s', fields('b'), { version: 1 }).isCompatible).toBe(false)
    expect(schemas.check('s', fields('b'), { version: 2 }).isCompatible).toBe(true)
    expect(schemas.check('s', fields('b'), { version: 1, compatibility: 'NONE' }).isCompatible).toBe(true)
    expect(schemas.check('unknown', fields('b')).isCompatible).toBe(true)
    expect(await codeAndDetails(() => schemas.check('s', fields('b'), { version: 3 }))).toEqual({
      code: 'UNKNOWN_SCHEMA',
      details: { subject: 's', version: 3 },
    })
    expect((await errorOf(() => schemas.check('s', { type: 'nothing' }))).code).toBe('INVALID_SCHEMA')
  })

  test('no more problems are told than a reader wants', () => {
    const schemas = registry()
    schemas.register('s', fields())
    const many = Array.from({ length: 50 }, (_, i) => `f${i}`)
    expect(schemas.check('s', fields(...many)).problems).toHaveLength(SCHEMA_PROBLEMS_MAX)
  })

  test('levels: of the directory, of a subject, and none', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const schemas = new SchemaRegistry(store.schemas)
    expect([schemas.compatibility(), schemas.compatibility('s')]).toEqual(['BACKWARD', 'BACKWARD'])
    schemas.setCompatibility('FORWARD')
    schemas.setCompatibility('FULL_TRANSITIVE', 's')
    await store.close()
    const again = registry(directory)
    expect(['s', 't', undefined].map(subject => again.compatibility(subject))).toEqual([
      'FULL_TRANSITIVE',
      'FORWARD',
      'FORWARD',
    ])
    again.setCompatibility(null, 's')
    expect(again.compatibility('s')).toBe('FORWARD')
    again.setCompatibility(null)
    expect(again.compatibility('s')).toBe('BACKWARD')
    expect(await codeAndDetails(() => again.setCompatibility('backward' as Compatibility))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { argument: 'compatibility', given: 'backward' },
    })
    for (const subject of ['', 7 as never]) {
      expect((await errorOf(() => again.setCompatibility('NONE', subject))).details['argument']).toBe('subject')
      expect((await errorOf(() => again.register(subject, 'int'))).details['argument']).toBe('subject')
    }
  })
})

describe('deletion', () => {
  test('of a version: ids stay, numbers are not used again, checks look past it', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const schemas = new SchemaRegistry(store.schemas)
    schemas.register('s', fields('a'))
    schemas.register('s', fields('a', 'b?'))
    schemas.deleteVersion('s', 2)
    expect(schemas.versions('s')).toEqual([1])
    expect(schemas.latest('s')).toMatchObject({ id: 1, version: 1 })
    expect(schemas.list().map(({ id }) => id)).toEqual([1])
    expect(schemas.get(2)).toMatchObject({ id: 2, subject: 's', version: 2 })
    for (const gone of [
      () => schemas.version('s', 2),
      () => schemas.deleteVersion('s', 2),
      () => schemas.version('s', 0),
    ])
      expect((await errorOf(gone)).code).toBe('UNKNOWN_SCHEMA')
    expect(schemas.check('s', fields('b')).isCompatible).toBe(false) // version 1 has no b
    await store.close()

    const again = registry(directory)
    // The same schema has its id again, under a new number.
    expect(again.register('s', fields('a', 'b?'))).toMatchObject({ id: 2, version: 3 })
    expect(again.versions('s')).toEqual([1, 3])
    expect(again.everySchema('s').map(({ version }) => version)).toEqual([1, 2, 3])
    again.deleteVersion('s', 3)
    expect(again.register('s', fields('a', 'c?'))).toMatchObject({ id: 3, version: 4 })
  })

  test('of a subject', async () => {
    const schemas = registry()
    schemas.register('s', fields('a'))
    schemas.register('s', fields('a', 'b?'))
    schemas.register('t', fields('a'))
    expect(schemas.subjects()).toEqual(['s', 't'])
    expect(schemas.deleteSubject('s')).toEqual([1, 2])
    expect(schemas.subjects()).toEqual(['t'])
    for (const gone of [() => schemas.latest('s'), () => schemas.versions('s'), () => schemas.deleteSubject('s')])
      expect(await codeAndDetails(gone)).toEqual({ code: 'UNKNOWN_SCHEMA', details: { subject: 's' } })
    expect(schemas.everySchema().map(({ id }) => id)).toEqual([1, 2])
    expect(schemas.register('s', 'int')).toMatchObject({ version: 3 }) // nothing is there that it could conflict with
  })
})

describe('references', () => {
  const ADDRESS = { type: 'record', name: 'x.Address', fields: [{ name: 'zip', type: 'string' }] }
  const PERSON = { type: 'record', name: 'x.Person', fields: [{ name: 'home', type: 'x.Address' }] }
  const ORDER = {
    type: 'record',
    name: 'Order',
    fields: [
      { name: 'by', type: 'x.Person' },
      { name: 'to', type: 'x.Address' },
    ],
  }
  const address = { name: 'x.Address', subject: 'address', version: 1 }
  const person = { name: 'x.Person', subject: 'person', version: 1 }

  function filled(directory = temporaryDirectory()): SchemaRegistry {
    const schemas = registry(directory)
    schemas.register('address', ADDRESS)
    schemas.register('person', PERSON, { references: [address] })
    return schemas
  }

  test('lead to definitions, each before those that use it', () => {
    const schemas = filled()
    const order = schemas.register('order', ORDER, { references: [person, address] })
    expect(order).toEqual({
      id: 3,
      subject: 'order',
      version: 1,
      text: JSON.stringify(ORDER),
      references: [address, person],
      definitions: [JSON.stringify(ADDRESS), JSON.stringify(PERSON)],
    })
    expect(schemas.get(3)).toEqual(order)
    expect(schemas.latest('address')).not.toHaveProperty('definitions')
    const value = { by: { home: { zip: '1' } }, to: { zip: '2' } }
    const type = parseSchema(order.text, { definitions: order.definitions })
    expect(type.fromBuffer(type.toBuffer(value))).toEqual(value)
  })

  test('belong to the identity of a schema', () => {
    const schemas = filled()
    const first = schemas.register('order', ORDER, { references: [person, address] })
    expect(schemas.register('order', ORDER, { references: [address, person] })).toEqual(first)
    expect(schemas.register('other', ORDER, { references: [{ ...person, more: 1 } as never, address] }).id).toBe(
      first.id,
    )
    schemas.register('address', { ...ADDRESS, doc: 'changed' })
    const second = schemas.register('order', ORDER, { references: [{ ...address, version: 1 }, person] })
    expect(second.id).toBe(first.id)
    const newer = schemas.register('person', PERSON, { references: [{ ...address, version: 2 }] })
    expect(newer).toMatchObject({ version: 2, id: 5 })
  })

  test('are followed by checks', () => {
    const schemas = filled()
    schemas.setCompatibility('NONE', 'address')
    schemas.register('address', { ...ADDRESS, fields: [{ name: 'zip', type: 'int' }] })
    const references = [{ ...address, version: 2 }]
    expect(schemas.check('person', PERSON, { references }).problems).toEqual([
      { version: 1, direction: 'backward', path: 'home.zip', reason: 'string cannot be read as int' },
    ])
  })

  test.each<[string, unknown, string]>([
    ['a version that is not there', [{ ...address, version: 2 }], 'UNKNOWN_SCHEMA'],
    ['a subject that is not there', [{ ...address, subject: 'nobody' }], 'UNKNOWN_SCHEMA'],
    ['a version that is no number', [{ ...address, version: '1' }], 'UNKNOWN_SCHEMA'],
    ['a name that is not defined there', [{ ...address, name: 'x.Person' }, address], 'INVALID_SCHEMA'],
    ['a name twice', [address, address], 'INVALID_ARGUMENT'],
    ['no name', [{ ...address, name: '' }], 'INVALID_ARGUMENT'],
    ['no subject', [{ ...address, subject: undefined }], 'INVALID_ARGUMENT'],
    ['no list', address, 'INVALID_ARGUMENT'],
    ['null', [null], 'INVALID_ARGUMENT'],
    ['none, where one is needed', [], 'INVALID_SCHEMA'],
    ['too many', Array(SCHEMA_REFERENCES_MAX + 1).fill(address), 'INVALID_ARGUMENT'],
  ])('%s is refused', async (_, references, code) => {
    const schemas = filled()
    expect((await errorOf(() => schemas.register('p', PERSON, { references: references as never }))).code).toBe(code)
    expect(schemas.list()).toHaveLength(2)
  })

  test('two schemas that define one name do not go together', async () => {
    const schemas = filled()
    schemas.register('address2', { ...ADDRESS, doc: 'another' })
    const references = [person, { ...address, subject: 'address2' }]
    expect((await errorOf(() => schemas.register('order', ORDER, { references }))).details['reason']).toContain(
      'duplicate',
    )
  })

  test('keep what they lead to from being deleted, and still lead to what was deleted with them', async () => {
    const schemas = filled()
    for (const refused of [() => schemas.deleteVersion('address', 1), () => schemas.deleteSubject('address')]) {
      expect(await codeAndDetails(refused)).toEqual({
        code: 'SCHEMA_IN_USE',
        details: { subject: 'address', version: 1, bySubject: 'person', byVersion: 1 },
      })
    }
    schemas.deleteSubject('person')
    schemas.deleteVersion('address', 1)
    expect(schemas.get(2).definitions).toEqual([JSON.stringify(ADDRESS)])
    expect((await errorOf(() => schemas.register('p', PERSON, { references: [address] }))).code).toBe('UNKNOWN_SCHEMA')
  })

  test('a subject may refer to itself and goes as a whole', () => {
    const schemas = registry()
    schemas.register('s', ADDRESS)
    schemas.setCompatibility('NONE', 's')
    schemas.register('s', PERSON, { references: [{ ...address, subject: 's' }] })
    expect(schemas.deleteSubject('s')).toEqual([1, 2])
  })

  test('go only so deep, and together only so long', async () => {
    const schemas = registry()
    schemas.register('0', { type: 'enum', name: 'T0', symbols: ['A'] })
    const at = (i: number): [string, object, object] => [
      String(i),
      { type: 'record', name: `T${i}`, fields: [{ name: 'f', type: `T${i - 1}` }] },
      { references: [{ name: `T${i - 1}`, subject: String(i - 1), version: 1 }] },
    ]
    for (let i = 1; i <= SCHEMA_REFERENCE_DEPTH_MAX; i++) schemas.register(...at(i))
    const error = await errorOf(() => schemas.register(...at(SCHEMA_REFERENCE_DEPTH_MAX + 1)))
    expect(error).toMatchObject({ code: 'INVALID_SCHEMA', details: { depthMax: SCHEMA_REFERENCE_DEPTH_MAX } })
    schemas.register('long', { type: 'enum', name: 'Long', symbols: ['A'], doc: 'x'.repeat(600_000) })
    const user = { type: 'array', items: 'Long', doc: 'x'.repeat(600_000) }
    const references = [{ name: 'Long', subject: 'long', version: 1 }]
    expect((await errorOf(() => schemas.register('user', user, { references }))).details['reason']).toContain(
      'too long',
    )
  })

  test('a circle in the store is damage', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    new SchemaRegistry(store.schemas).register('s', ADDRESS)
    await store.close()
    const references = [{ name: 'x.Address', subject: 's', version: 1 }]
    const raw = JSON.stringify({ subject: 's', version: 1, text: JSON.stringify(ADDRESS), references })
    await putRaw(directory, 'schemas', schemaIdKey(1 as never), raw)
    expect((await errorOf(() => registry(directory).latest('s'))).code).toBe('CORRUPT_STORE')
  })
})

test('a directory from before there were levels of compatibility opens, and can be given one', async () => {
  const directory = temporaryDirectory()
  const store = openStore(directory)
  store.schemas.register('s', '"int"')
  await store.close()
  const root = open<string, Buffer>({ path: join(directory, 'store'), overlappingSync: false })
  await root.openDB({ name: 'compatibility', encoding: 'string', keyEncoding: 'binary' }).drop()
  expect([...root.getKeys()].map(String)).not.toContain('compatibility')
  await root.close()

  const reader = openStore(directory, { readOnly: true })
  expect(new SchemaRegistry(reader.schemas).compatibility('s')).toBe('BACKWARD')
  expect((await errorOf(() => reader.schemas.setCompatibility('s', 'FULL'))).code).toBe('READ_ONLY')
  await reader.close()
  const schemas = registry(directory)
  schemas.setCompatibility('FULL', 's')
  expect(schemas.compatibility('s')).toBe('FULL')
})
