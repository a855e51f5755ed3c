import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { CommandLine, jsonLines, temporaryFolder } from './support/cli.ts'
import { makeRecords } from './support/fixture.ts'

const cli = new CommandLine(join(temporaryFolder(), 'data'))
beforeAll(() => makeRecords(cli.directory))

const values = async (...args: string[]): Promise<string[]> =>
  (await cli.out(['consume', 'orders', '-p', '0', ...args])).split('\n').filter(line => line !== '')

describe('consume', () => {
  test('prints values, of one partition after another', async () => {
    const { bytes } = await cli.run(['consume', 'orders'])
    const plain = Array.from({ length: 10 }, (_, i) => `v${i}\n`).join('')
    expect(bytes).toEqual(
      Buffer.concat([Buffer.from(plain), Buffer.from([0xff, 0, 10, 10]), Buffer.from('grün\n\n\n')]),
    )
    expect(await cli.run(['consume', 'empty'])).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
  })

  test('ranges: --from, --to, -n', async () => {
    const all = Array.from({ length: 10 }, (_, i) => `v${i}`)
    const cases: readonly (readonly [string[], readonly string[]])[] = [
      [['--from', 'start'], all],
      [['--from', 'end'], []],
      [['--from', '7'], all.slice(7)],
      [['--from', '10'], []],
      [['--from', '-3'], all.slice(7)],
      [['--from', '-300'], all],
      [['--from', '@1040'], all.slice(4)],
      [['--from', '@1041'], all.slice(5)],
      [['--from', '@1970-01-01T00:00:01.041Z'], all.slice(5)],
      [['--from', '@-1d'], []],
      [['--to', '4'], all.slice(0, 4)],
      [['--from', '2', '--to', '-2'], all.slice(2, 8)],
      [['--to', '@1050'], all.slice(0, 5)],
      [['--from', '6', '--to', '3'], []],
      [['--to', '99'], all],
      [['-n', '3'], all.slice(0, 3)],
      [['-n', '0'], []],
      [['--from', '8', '--number', '5'], all.slice(8)],
    ]
    for (const [args, expected] of cases) expect(await values(...args), args.join(' ')).toEqual(expected)
    expect(await values('-p', '0,2', '--from', '9')).toEqual(['v9'])
  })

  test('--format', async () => {
    const format = '%t/%p@%o %T %d %K=%k %V=%v%%\\t\\\\\\n'
    expect(await cli.out(['consume', 'orders', '-p', '0', '-n', '1', '-f', format])).toBe(
      'orders/0@0 1000 1970-01-01T00:00:01.000Z 2=k0 2=v0%\t\\\n',
    )
    expect(await cli.out(['consume', 'orders', '-p', '1', '--from', '2', '-f', '%K %V %h;'])).toBe(
      '0 -1 [];1 0 [{"key":"twice","value":"x"},{"key":"twice","value":null}];',
    )
  })

  test('--json', async () => {
    const at = { topic: 'orders', partition: 1 }
    expect(await cli.lines(['consume', 'orders', '-p', '1', '--json'])).toEqual([
      { ...at, offset: 0, timestamp: 1045, key: null, value: { base64: '/wAK' }, headers: [] },
      {
        ...{ ...at, offset: 1, timestamp: 2000, key: { base64: 'wyg=' }, value: 'grün' },
        headers: [
          { key: 'a', value: '1' },
          { key: 'b', value: { base64: 'gA==' } },
        ],
      },
      { ...at, offset: 2, timestamp: 2001, key: '', value: null, headers: [] },
      {
        ...{ ...at, offset: 3, timestamp: 2002, key: 'k', value: '' },
        headers: [
          { key: 'twice', value: 'x' },
          { key: 'twice', value: null },
        ],
      },
    ])
  })

  test('errors say what to do', async () => {
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [['nope'], 1, /UNKNOWN_TOPIC_OR_PARTITION topic=nope[\s\S]*topics list/],
      [['orders', '-p', '9'], 1, /UNKNOWN_TOPIC_OR_PARTITION topic=orders, partition=9/],
      [['orders', '-p', 'x'], 2, /Give a whole number from 0 to 9999/],
      [['orders', '--from', 'middle'], 2, /--from cannot be "middle"[\s\S]*@TIME/],
      [['orders', '--to', '@noon'], 2, /"noon" is not a time[\s\S]*2026-01-31T12:00:00Z/],
      [
        ['orders', '-p', '0', '--from', '11'],
        1,
        /OFFSET_OUT_OF_RANGE.*offset=11.*highWatermark=10[\s\S]*topics describe/,
      ],
      [['orders', '-f', '%x'], 2, /--format has "%x"[\s\S]*Use %t/],
      [['orders', '-f', '%v', '--json'], 2, /exclude each other/],
      [['orders', '--avro'], 1, /NOT_AVRO_ENCODED[\s\S]*without --avro/],
      [['orders', '-n', '-1'], 2, /from 0 on/],
      [[], 2, /missing required argument 'topic'/],
    ]
    for (const [args, code, message] of cases) {
      const { exitCode, stdout, stderr } = await cli.run(['consume', ...args])
      expect([exitCode, stdout], args.join(' ')).toEqual([code, ''])
      expect(stderr).toMatch(message)
    }
  })
})

test('export is consume --json', async () => {
  for (const range of [[], ['--from', '-2', '--to', 'end'], ['-p', '1']]) {
    const exported = await cli.out(['export', 'orders', ...range])
    expect(exported).toBe(await cli.out(['consume', 'orders', '--json', ...range]))
    expect(jsonLines(exported).length).toBeGreaterThan(0)
  }
})

describe('lookup', () => {
  test('the ends of the partitions', async () => {
    expect(await cli.json(['lookup', 'orders'])).toEqual([
      { topic: 'orders', partition: 0, earliest: 0, latest: 10, maxTimestamp: { offset: 9, timestamp: 1090 } },
      { topic: 'orders', partition: 1, earliest: 0, latest: 4, maxTimestamp: { offset: 3, timestamp: 2002 } },
      { topic: 'orders', partition: 2, earliest: 0, latest: 0, maxTimestamp: null },
    ])
    const rows = (await cli.out(['lookup', 'orders', '-p', '0'])).trim().split('\n')
    expect(rows.map(row => row.trim().split(/\s+/))).toEqual([
      ['partition', 'earliest', 'latest', 'newestOffset', 'newestTimestamp'],
      ['0', '0', '10', '9', '1970-01-01T00:00:01.090Z'],
    ])
  })

  test('a record by offset, and by time', async () => {
    expect(await cli.out(['lookup', 'orders', '-p', '0', '-o', '4'])).toBe('0 4 1040 v4\n')
    expect(await cli.out(['lookup', 'orders', '-t', '1041', '-f', '%p:%o '])).toBe('0:5 1:0 ')
    const found = await cli.lines<{ offset: number }>(['lookup', 'orders', '-t', '1970-01-01T00:00:02Z', '--json'])
    expect(found).toMatchObject([{ partition: 1, offset: 1 }])
  })

  test('errors say what to do', async () => {
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [['orders', '-o', '4'], 2, /orders has 3 partitions[\s\S]*--partition/],
      [['orders', '-p', '0', '-o', '10'], 1, /no record at offset 10 yet|OFFSET_OUT_OF_RANGE.*offset=10/],
      [['orders', '-p', '0', '-o', '12'], 1, /OFFSET_OUT_OF_RANGE/],
      [
        ['orders', '-t', '3000'],
        1,
        /no record of that time or later[\s\S]*The newest is of 2002, 1970-01-01T00:00:02.002Z/,
      ],
      [['empty', '-t', '1'], 1, /It has no records with timestamps/],
      [['orders', '-o', '1', '-t', '1'], 2, /exclude each other/],
      [['orders', '-t', 'soon'], 2, /"soon" is not a time/],
      [['orders', '-p', '9'], 1, /UNKNOWN_TOPIC_OR_PARTITION/],
    ]
    for (const [args, code, message] of cases) {
      const { exitCode, stdout, stderr } = await cli.run(['lookup', ...args])
      expect([exitCode, stdout], args.join(' ')).toEqual([code, ''])
      expect(stderr).toMatch(message)
    }
  })
})
