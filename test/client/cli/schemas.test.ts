import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CommandLine, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const cli = new CommandLine(join(folder, 'data'))
const order = { type: 'record', name: 'Order', fields: [{ name: 'item', type: 'string' }] }
const newer = { ...order, fields: [...order.fields, { name: 'count', type: 'int', default: 1 }] }
const other = { ...order, fields: [...order.fields, { name: 'count', type: 'int' }] }

/** Every command is a process of its own. */
const LONG = { timeout: 180_000 }

function file(name: string, schema: object): string {
  const path = join(folder, name)
  writeFileSync(path, JSON.stringify(schema, null, 2))
  return path
}

test('schemas are registered, listed, shown and checked', LONG, async () => {
  const first = await cli.json(['schemas', 'register', 'orders-value', file('order.avsc', order)])
  expect(first).toEqual({ subject: 'orders-value', version: 1, id: 1 })
  const second = await cli.run(['schemas', 'register', 'orders-value', '-'], { input: JSON.stringify(newer) })
  expect(second).toMatchObject({ exitCode: 0, stdout: '', stderr: 'orders-value version 2 has the id 2\n' })

  expect(await cli.out(['schemas', 'list'])).toBe(
    'subject       version  id\norders-value        1   1\norders-value        2   2\n',
  )
  expect(await cli.json(['schemas', 'list', 'orders-value'])).toEqual([
    { subject: 'orders-value', version: 1, id: 1 },
    { subject: 'orders-value', version: 2, id: 2 },
  ])
  expect(await cli.run(['schemas', 'list', 'nope'])).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })

  expect(JSON.parse(await cli.out(['schemas', 'show', 'orders-value']))).toEqual(newer)
  expect(await cli.json(['schemas', 'show', '1'])).toEqual({
    subject: 'orders-value',
    version: 1,
    id: 1,
    schema: order,
  })

  const check = ['schemas', 'check', 'orders-value']
  const compatible = { subject: 'orders-value', isCompatible: true, compatibility: 'BACKWARD', problems: [] }
  expect(await cli.json([...check, file('newer.avsc', newer)])).toEqual(compatible)
  expect(await cli.run([...check, '-'], { input: JSON.stringify(order) })).toMatchObject({
    exitCode: 0,
    stdout: 'compatible with orders-value, BACKWARD\n',
  })
  expect(await cli.out(['schemas', 'check', 'new', file('other.avsc', other)])).toBe(
    'compatible: new has no version yet\n',
  )
  const refused = await cli.run([...check, '-', '--json'], { input: '"string"' })
  expect(refused.exitCode).toBe(1)
  const reason = 'record Order cannot be read as string'
  const problems = [{ version: 2, direction: 'backward', path: '', reason }]
  expect(JSON.parse(refused.stdout)).toEqual({ ...compatible, isCompatible: false, problems })
  const all = await cli.run([...check, '-', '--level', 'FULL_TRANSITIVE'], { input: '"string"' })
  expect(all.exitCode).toBe(1)
  expect(all.stdout.split('\n').slice(0, 3)).toEqual([
    'not compatible with orders-value, FULL_TRANSITIVE:',
    `  it reads version 2, the whole value: ${reason}`,
    '  version 2 reads it, the whole value: string cannot be read as record Order',
  ])

  const cases: readonly (readonly [string[], string, number, RegExp])[] = [
    [['show', '99'], '', 1, /UNKNOWN_SCHEMA id=99[\s\S]*schemas list/],
    [['show', 'nope'], '', 1, /UNKNOWN_SCHEMA subject=nope/],
    [['register', 's', '/no/such/file'], '', 1, /\/no\/such\/file cannot be read/],
    [['register', 's', '-'], '{', 1, /INVALID_SCHEMA reason=not JSON/],
    [['register', 's', '-'], '{"type":"thing"}', 1, /INVALID_SCHEMA/],
    [['register', 's'], '', 2, /missing required argument 'file'/],
    [
      ['register', 'orders-value', '-'],
      '"string"',
      1,
      /INCOMPATIBLE_SCHEMA subject=orders-value[\s\S]*schemas compatibility/,
    ],
    [['register', 's', '-', '-r', 'nonsense'], '"int"', 2, /NAME=SUBJECT:VERSION/],
    [['check', 's', '-', '-l', 'SOME'], '"int"', 2, /Allowed choices/],
    [['show', 'orders-value', '9'], '', 1, /UNKNOWN_SCHEMA subject=orders-value, version=9/],
    [['compatibility', 'SOME'], '', 2, /Allowed choices/],
    [['delete', 'nope'], '', 1, /UNKNOWN_SCHEMA subject=nope/],
  ]
  for (const [args, input, code, message] of cases) {
    const { exitCode, stdout, stderr } = await cli.run(['schemas', ...args], { input })
    expect([exitCode, stdout], args.join(' ')).toEqual([code, ''])
    expect(stderr).toMatch(message)
  }
})

test('compatibility is shown and set', LONG, async () => {
  const compatibility = (...args: string[]): Promise<string> => cli.out(['schemas', 'compatibility', ...args])
  expect(await compatibility()).toBe('BACKWARD\n')
  expect(await compatibility('FULL', '-s', 'people')).toBe('FULL\n')
  expect(await cli.json(['schemas', 'compatibility', '-s', 'people'])).toEqual({
    subject: 'people',
    compatibility: 'FULL',
  })
  expect(await compatibility('default', '-s', 'people')).toBe('BACKWARD\n')
})

test('types of other subjects are referred to, and kept while they are', LONG, async () => {
  const address = { type: 'record', name: 'x.Address', fields: [{ name: 'zip', type: 'string' }] }
  const person = { type: 'record', name: 'x.Person', fields: [{ name: 'home', type: 'x.Address' }] }
  await cli.out(['schemas', 'register', 'address', file('address.avsc', address)])
  const reference = ['-r', 'x.Address=address:1']
  await cli.out(['schemas', 'register', 'people-value', file('person.avsc', person), ...reference])
  expect(await cli.json(['schemas', 'check', 'people-value', file('person.avsc', person), ...reference])).toMatchObject(
    {
      isCompatible: true,
    },
  )
  expect(await cli.json(['schemas', 'show', 'people-value', '1'])).toMatchObject({
    references: [{ name: 'x.Address', subject: 'address', version: 1 }],
    schema: person,
  })
  await cli.out(['topics', 'create', 'people'])
  await cli.out(['produce', 'people', '--schema', 'people-value'], { input: '{"home":{"zip":"1"}}\n' })
  expect(await cli.out(['consume', 'people', '--avro'])).toBe('{"home":{"zip":"1"}}\n')

  const used = await cli.run(['schemas', 'delete', 'address'])
  expect([used.exitCode, used.stdout]).toEqual([1, ''])
  expect(used.stderr).toMatch(/SCHEMA_IN_USE[\s\S]*schemas delete/)
  const deleted = await cli.run(['schemas', 'delete', 'people-value', '1'])
  expect(deleted).toMatchObject({ exitCode: 0, stdout: '', stderr: expect.stringContaining('people-value version 1') })
  expect(await cli.json(['schemas', 'delete', 'address'])).toEqual({ subject: 'address', versions: [1] })
  expect(await cli.out(['consume', 'people', '--avro'])).toBe('{"home":{"zip":"1"}}\n')
})
