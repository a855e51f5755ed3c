import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CommandLine, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const cli = new CommandLine(join(folder, 'data'))
const order = { type: 'record', name: 'Order', fields: [{ name: 'item', type: 'string' }] }
const newer = { ...order, fields: [...order.fields, { name: 'count', type: 'int', default: 1 }] }
const other = { ...order, fields: [...order.fields, { name: 'count', type: 'int' }] }

function file(name: string, schema: object): string {
  const path = join(folder, name)
  writeFileSync(path, JSON.stringify(schema, null, 2))
  return path
}

test('schemas are registered, listed, shown and checked', async () => {
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
  const reads = { subject: 'orders-value', isCompatible: true, version: 2, id: 2 }
  expect(await cli.json([...check, file('newer.avsc', newer)])).toEqual(reads)
  expect(await cli.run([...check, '-'], { input: JSON.stringify(order) })).toMatchObject({
    exitCode: 0,
    stdout: 'compatible: it reads what version 2 of orders-value wrote\n',
  })
  expect(await cli.out(['schemas', 'check', 'new', file('other.avsc', other)])).toBe(
    'compatible: new has no version yet\n',
  )
  const refused = await cli.run([...check, '-', '--json'], { input: '"string"' })
  expect(refused.exitCode).toBe(1)
  expect(JSON.parse(refused.stdout)).toEqual({
    ...reads,
    isCompatible: false,
    reason: expect.stringContaining('cannot read'),
  })

  const cases: readonly (readonly [string[], string, number, RegExp])[] = [
    [['show', '99'], '', 1, /UNKNOWN_SCHEMA id=99[\s\S]*schemas list/],
    [['show', 'nope'], '', 1, /UNKNOWN_SCHEMA subject=nope/],
    [['register', 's', '/no/such/file'], '', 1, /\/no\/such\/file cannot be read/],
    [['register', 's', '-'], '{', 1, /INVALID_SCHEMA reason=not JSON/],
    [['register', 's', '-'], '{"type":"thing"}', 1, /INVALID_SCHEMA/],
    [['register', 's'], '', 2, /missing required argument 'file'/],
  ]
  for (const [args, input, code, message] of cases) {
    const { exitCode, stdout, stderr } = await cli.run(['schemas', ...args], { input })
    expect([exitCode, stdout], args.join(' ')).toEqual([code, ''])
    expect(stderr).toMatch(message)
  }
})
