import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { Millrace } from '../../../client/index.ts'
import { CommandLine, jsonLines, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const cli = new CommandLine(join(folder, 'data'))
const file = (suffix: string): string => join(cli.directory, 't-0', `00000000000000000000.${suffix}`)

beforeAll(async () => {
  await using engine = await Millrace.open(cli.directory, { writers: 1, jobThreads: 1 })
  await engine.admin.createTopic({ topic: 't', config: { 'index.interval.bytes': 100 } })
  for (const [round, compression] of (['none', 'gzip', 'none'] as const).entries()) {
    await using producer = await engine.producer({ compression })
    const messages = [0, 1].map(i => ({
      key: i === 0 ? null : `k\n${round}`,
      value: i === 0 ? Buffer.from([0xff]) : 'v'.repeat(50),
      timestamp: 1_000 + round * 10 + i,
      headers: i === 0 ? {} : { h: 'x' },
    }))
    await producer.send({ topic: 't', messages })
  }
})

interface Line {
  readonly [name: string]: unknown
}

test('batches, and records in them', async () => {
  const batches = await cli.lines<Line>(['dump-log', file('log'), '--json'])
  const sizes = batches.map(({ sizeBytes }) => sizeBytes as number)
  expect(batches).toMatchObject([
    { position: 0, baseOffset: 0, lastOffset: 1, count: 2, compression: 'none', maxTimestamp: 1001, producerId: -1 },
    { position: sizes[0], baseOffset: 2, lastOffset: 3, compression: 'gzip', timestampType: 'CreateTime' },
    {
      baseOffset: 4,
      lastOffset: 5,
      compression: 'none',
      partitionLeaderEpoch: 0,
      isControl: false,
      maxTimestamp: 1021,
    },
  ])
  const all = await cli.lines<Line>(['dump-log', file('log'), '--json', '--records'])
  expect(all).toHaveLength(9)
  expect(all[1]).toEqual({ offset: 0, timestamp: 1000, key: null, value: { base64: '/w==' }, headers: [] })
  expect(all[5]).toEqual({
    ...{ offset: 3, timestamp: 1011, key: 'k\n1', value: 'v'.repeat(50) },
    headers: [{ key: 'h', value: 'x' }],
  })
  const text = await cli.out(['dump-log', '-r', file('log')])
  expect(text.trimEnd().split('\n')).toHaveLength(9)
  expect(text).toContain('  offset: 3  timestamp: 1011  key: "k\\n1"  value: "vvv')
  expect(text).toMatch(/^position: 0 {2}baseOffset: 0 {2}lastOffset: 1 {2}count: 2 {2}sizeBytes: \d+ /)
})

test('index entries', async () => {
  const offsets = await cli.lines<Line>(['dump-log', file('index'), '--json'])
  const batches = await cli.lines<Line>(['dump-log', file('log'), '--json'])
  expect(offsets.length).toBeGreaterThan(0)
  for (const { offset, position } of offsets) {
    expect(batches.find(batch => batch['position'] === position)).toMatchObject({ lastOffset: offset })
  }
  expect(await cli.out(['dump-log', file('timeindex')])).toMatch(/^(timestamp: 10\d1 {2}offset: \d\n)+$/)
})

test('damage is told on stderr, and what follows is printed', async () => {
  const bytes = readFileSync(file('log'))
  const [first] = jsonLines<Line>(await cli.out(['dump-log', file('log'), '--json']))
  const position = first?.['sizeBytes'] as number
  bytes[position + 70] = (bytes[position + 70] as number) ^ 1
  const damaged = join(folder, '00000000000000000000.log')
  writeFileSync(damaged, bytes)
  const { exitCode, stdout, stderr } = await cli.run(['dump-log', damaged, '--json'])
  expect([exitCode, stderr]).toEqual([
    1,
    expect.stringMatching(new RegExp(`no sound batch at position ${position}: crc; it goes on at \\d+`)),
  ])
  expect(jsonLines<Line>(stdout).map(({ baseOffset }) => baseOffset)).toEqual([0, 4])
  writeFileSync(
    damaged,
    'this is no log, though its name is one, and it is long enough to look at as a batch'.repeat(3),
  )
  const noise = await cli.run(['dump-log', damaged])
  expect([noise.exitCode, noise.stdout, noise.stderr]).toEqual([
    1,
    '',
    expect.stringContaining('nothing sound follows'),
  ])
  writeFileSync(damaged, '')
  expect(await cli.run(['dump-log', damaged])).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
})

test('files that are none of a segment', async () => {
  const named = await cli.run(['dump-log', join(folder, 'letter.txt')])
  expect([named.exitCode, named.stderr]).toEqual([
    1,
    expect.stringMatching(/no file of a segment[\s\S]*0\.log, \.index or \.timeindex/),
  ])
  for (const suffix of ['log', 'index']) {
    const missing = await cli.run(['dump-log', join(folder, `00000000000000000007.${suffix}`)])
    expect([missing.exitCode, missing.stderr]).toEqual([1, expect.stringMatching(/IO_ERROR[\s\S]*ENOENT/)])
  }
})
