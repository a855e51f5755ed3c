import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { Millrace } from '../../../client/index.ts'
import { CommandLine, temporaryFolder } from './support/cli.ts'
import { makeRecords } from './support/fixture.ts'

const folder = temporaryFolder()
const cli = new CommandLine(join(folder, 'data'))
beforeAll(async () => {
  await using engine = await Millrace.open(cli.directory, { writers: 1, jobThreads: 1 })
  for (const topic of ['lines', 'json', 'avro', 'many', 'wrong'])
    await engine.admin.createTopic({ topic, partitions: 2 })
})

interface Row {
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: unknown
  readonly value: unknown
  readonly headers: unknown
}
const rows = (topic: string, ...args: string[]): Promise<Row[]> => cli.lines(['consume', topic, '--json', ...args])

describe('produce', () => {
  test('lines are values, as bytes, whatever the pieces they come in', async () => {
    const input = [Buffer.from('one\ntw'), Buffer.from([0x6f, 0x0d, 0x0a, 0xff]), Buffer.from('\n\nlast')]
    const { stdout, stderr, exitCode } = await cli.run(['produce', 'lines', '-p', '0'], { input })
    expect([exitCode, stdout, stderr]).toEqual([0, '', '5 records to lines\n'])
    expect((await rows('lines')).map(({ value, key }) => [key, value])).toEqual([
      [null, 'one'],
      [null, 'two\r'],
      [null, { base64: '/w==' }],
      [null, ''],
      [null, 'last'],
    ])
  })

  test('options for all lines, a file, and what --json says', async () => {
    const file = join(folder, 'access.log')
    writeFileSync(file, 'a=1\nb=2=3\n')
    const options = ['-K', '=', '-H', 'h=1', '--header', 'h=a=b', '-T', '77', '-p', '1', '-z', 'zstd']
    expect(await cli.json(['produce', 'lines', file, ...options])).toEqual({
      topic: 'lines',
      count: 2,
      partitions: [{ partition: 1, baseOffset: 0, lastOffset: 1, count: 2 }],
    })
    const headers = [
      { key: 'h', value: '1' },
      { key: 'h', value: 'a=b' },
    ]
    expect(await rows('lines', '-p', '1')).toMatchObject([
      { key: 'a', value: '1', timestamp: 77, headers },
      { key: 'b', value: '2=3', timestamp: 77, headers },
    ])
  })

  test('NDJSON has everything in each line', async () => {
    const input = `{"value":"plain"}\n
{"key":{"base64":"/w=="},"value":null,"headers":{"a":"1","b":{"base64":"gA=="}},"partition":1,"timestamp":5}
{"value":"","headers":[{"key":"x","value":null}],"partition":1,"timestamp":6,"offset":99,"topic":"other"}`
    expect((await cli.run(['produce', 'json', '--input', 'ndjson'], { input })).stderr).toBe('3 records to json\n')
    expect(await rows('json', '-p', '1', '--from', '-2')).toMatchObject([
      {
        ...{ key: { base64: '/w==' }, value: null, timestamp: 5 },
        headers: [
          { key: 'a', value: '1' },
          { key: 'b', value: { base64: 'gA==' } },
        ],
      },
      { key: null, value: '', timestamp: 6, headers: [{ key: 'x', value: null }] },
    ])
  })

  test('100,000 lines keep their order', async () => {
    const lines = Array.from({ length: 100_000 }, (_, i) => `${i}\n`)
    await cli.out(['produce', 'many', '-p', '0', '-z', 'lz4'], {
      input: [lines.slice(0, 70_000).join(''), lines.slice(70_000).join('')],
    })
    expect(await cli.out(['consume', 'many'])).toBe(lines.join(''))
  })

  test('--schema writes Avro, and consume --avro reads it', async () => {
    const schema = join(folder, 'order.avsc')
    const fields = [
      { name: 'item', type: 'string' },
      { name: 'count', type: 'int', default: 1 },
      { name: 'photo', type: ['null', 'bytes'], default: null },
    ]
    writeFileSync(schema, JSON.stringify({ type: 'record', name: 'Order', fields }))
    const input = '{"item":"tea"}\n{"item":"jam","count":3,"photo":{"base64":"/wA="}}\n'
    await cli.out(['produce', 'avro', '-p', '0', '--schema', `@${schema}`], { input })
    const wrong = '{"value":{"item":"rye","count":2},"partition":0}\n{"value":{"item":7}}\n'
    const failed = await cli.run(['produce', 'avro', '-i', 'ndjson', '-s', 'avro-value'], { input: wrong })
    expect(failed.exitCode).toBe(1)
    expect(failed.stderr).toMatch(/line 2: the value does not fit the schema: item is .* should be/)
    expect(failed.stderr).toContain('1 record in front of it is in the topic')
    expect(await cli.out(['consume', 'avro', '--avro'])).toBe(
      '{"item":"tea","count":1,"photo":null}\n{"item":"jam","count":3,"photo":{"base64":"/wA="}}\n{"item":"rye","count":2,"photo":null}\n',
    )
    const unknown = await cli.run(['produce', 'avro', '-s', 'nope-value'], { input: '{}\n' })
    expect(unknown.stderr).toMatch(/UNKNOWN_SCHEMA subject=nope-value[\s\S]*schemas list/)
  })

  test('a wrong line stops it, and what came before is there', async () => {
    const input = '{"value":"good","partition":0}\n{"valu":"bad"}\n{"value":"never"}\n'
    const { exitCode, stdout, stderr } = await cli.run(['produce', 'wrong', '-i', 'ndjson'], { input })
    expect([exitCode, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/line 2: there is no field "valu"[\s\S]*1 record in front of it/)
    expect(await rows('wrong')).toMatchObject([{ value: 'good' }])
  })

  test('options that make no sense', async () => {
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [['-k', 'a', '-K', ':'], 2, /--key and --key-delimiter exclude each other/],
      [['-i', 'ndjson', '-k', 'a'], 2, /--key is for lines[\s\S]*"partition"/],
      [['-i', 'ndjson', '-H', 'a=b'], 2, /--header is for lines/],
      [['-i', 'xml'], 2, /Allowed choices are lines, ndjson/],
      [['-H', 'novalue'], 2, /NAME=VALUE/],
      [['-z', 'brotli'], 2, /Allowed choices are none, gzip, snappy, lz4, zstd/],
      [['-T', 'now'], 2, /whole number from -1 on/],
      [['/no/such/file'], 1, /\/no\/such\/file cannot be read/],
      [['-s', '@/no/such/schema'], 1, /\/no\/such\/schema cannot be read/],
    ]
    for (const [args, code, message] of cases) {
      const { exitCode, stdout, stderr } = await cli.run(['produce', 'wrong', ...args], { input: 'x\n' })
      expect([exitCode, stdout], args.join(' ')).toEqual([code, ''])
      expect(stderr).toMatch(message)
    }
  })
})

describe('import', () => {
  test('makes what was exported, offsets apart', async () => {
    const source = new CommandLine(join(folder, 'source'))
    const target = new CommandLine(join(folder, 'target'))
    await makeRecords(source.directory)
    const exported = await source.out(['export', 'orders'])
    const args = ['import', 'copy', '--create', '-p', '3', '-c', 'segment.bytes=16384', '-z', 'gzip']
    expect(await target.json(args, { input: exported })).toMatchObject({ topic: 'copy', count: 14 })
    expect((await target.out(['export', 'copy'])).replaceAll('"topic":"copy"', '"topic":"orders"')).toBe(exported)
    const again = await target.run(args, { input: exported })
    expect(again).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('TOPIC_ALREADY_EXISTS') })
  })

  test('options that make no sense', async () => {
    const { exitCode, stderr } = await cli.run(['import', 'lines', '-p', '3'], { input: '' })
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('--create')])
    const missing = await cli.run(['import', 'new', '/no/such/file', '--create'])
    expect([missing.exitCode, missing.stderr]).toEqual([1, expect.stringContaining('cannot be read')])
    expect(await cli.out(['topics', 'list'])).not.toContain('new')
  })
})
