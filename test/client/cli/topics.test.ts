import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CommandLine, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const cli = new CommandLine(join(folder, 'data'))

describe('topics', () => {
  test('in a directory that is not there', async () => {
    for (const args of [['list'], ['alter', 't', '-c', 'retention.ms=1']]) {
      const { exitCode, stdout, stderr } = await cli.run(['topics', ...args])
      expect([exitCode, stdout], args[0]).toEqual([1, ''])
      expect(stderr).toContain('[DIRECTORY_NOT_FOUND directory=')
      expect(stderr).toContain('topics create TOPIC')
    }
    expect(existsSync(cli.directory)).toBe(false)
  })

  test('create makes the directory, and list shows what is there', async () => {
    const created = await cli.run(['topics', 'create', 'orders', '-p', '3', '-c', 'retention.ms=1000'])
    expect(created).toMatchObject({ exitCode: 0, stdout: '', stderr: 'created orders with 3 partitions\n' })
    const other = await cli.json<object>(['topics', 'create', 'a', '--config', 'cleanup.policy=compact'])
    expect(other).toEqual({ topic: 'a', topicId: expect.any(String), partitions: 1, created: true })
    expect(await cli.out(['topics', 'list'])).toBe('a\norders\n')
    expect(await cli.json(['topics', 'list'])).toEqual([
      { topic: 'a', topicId: expect.any(String), partitions: 1 },
      { topic: 'orders', topicId: expect.any(String), partitions: 3 },
    ])
  })

  test('adopt takes in folders that lie there, and create does not', async () => {
    cpSync(join(cli.directory, 'a-0'), join(cli.directory, 'found-0'), { recursive: true })
    expect(await cli.json(['topics', 'adopt', 'found', '-c', 'retention.ms=-1'])).toEqual({
      topic: 'found',
      topicId: expect.any(String),
      partitions: 1,
    })
    expect(await cli.run(['topics', 'adopt', 'lost'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('DIRECTORY_NOT_FOUND'),
    })
    expect((await cli.run(['topics', 'delete', 'found'])).exitCode).toBe(0)
  })

  test('create does not do it twice', async () => {
    expect(await cli.run(['topics', 'create', 'orders'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/TOPIC_ALREADY_EXISTS[\s\S]*--if-not-exists/),
    })
    expect(await cli.json(['topics', 'create', 'orders', '--if-not-exists'])).toMatchObject({
      partitions: 3,
      created: false,
    })
  })

  test('create refuses what makes no sense', async () => {
    const wrong: readonly (readonly [string[], number, RegExp])[] = [
      [['t', '-p', '0'], 2, /millrace: option '-p, --partitions <number>'.*from 1 to 10000/],
      [['t', '-c', 'retention.ms'], 2, /--config cannot be "retention.ms"[\s\S]*KEY=VALUE/],
      [['t', '-c', 'retention.ms=soon'], 1, /INVALID_CONFIG key=retention.ms, value=soon/],
      [[], 2, /missing required argument 'topic'/],
      [['t', '--bogus'], 2, /unknown option '--bogus'/],
    ]
    for (const [args, code, message] of wrong) {
      const { exitCode, stdout, stderr } = await cli.run(['topics', 'create', ...args])
      expect([exitCode, stdout], args.join(' ')).toEqual([code, ''])
      expect(stderr).toMatch(message)
    }
    expect(await cli.out(['topics', 'list'])).toBe('a\norders\n')
  })

  test('describe shows what was set, --all and --json everything', async () => {
    const text = await cli.out(['topics', 'describe', 'orders'])
    expect(text).toMatch(/^orders {2}[0-9a-f-]{36}\n {2}retention.ms=1000\n {2}partition {2}logStartOffset/)
    expect(text.trim().split('\n')).toHaveLength(6)
    expect(await cli.out(['topics', 'describe', 'orders', '--all'])).toContain('  segment.bytes=1073741824\n')
    const all = await cli.json<{ topic: string; config: Record<string, string> }[]>(['topics', 'describe'])
    expect(all.map(({ topic }) => topic)).toEqual(['a', 'orders'])
    expect(all[0]?.config).toMatchObject({ 'cleanup.policy': 'compact', 'retention.ms': '604800000' })
    expect((await cli.run(['topics', 'describe', 'nope'])).stderr).toMatch(
      /UNKNOWN_TOPIC_OR_PARTITION[\s\S]*topics list/,
    )
  })

  test('alter sets and clears keys', async () => {
    const { config } = await cli.json<{ config: object }>([
      ...['topics', 'alter', 'orders', '-c', 'retention.ms=', '-c', 'flush.messages=1'],
    ])
    expect(config).toMatchObject({ 'retention.ms': '604800000', 'flush.messages': '1' })
    expect(await cli.run(['topics', 'alter', 'orders'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('KEY=VALUE'),
    })
  })

  test('add-partitions only adds', async () => {
    expect((await cli.run(['topics', 'add-partitions', 'orders', '4'])).stderr).toBe('orders has 4 partitions\n')
    expect(await cli.run(['topics', 'add-partitions', 'orders', '2'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/INVALID_PARTITIONS.*existing=4[\s\S]*can only grow/),
    })
  })

  test('trim takes offsets, times and the end', async () => {
    const input = Array.from(
      { length: 10 },
      (_, i) => `{"value":"${i}","timestamp":${1_000 + i},"partition":${i % 2}}\n`,
    )
    await cli.out(['produce', 'orders', '-i', 'ndjson'], { input: input.join('') })
    const starts = async (...args: string[]) => {
      const { partitions } = await cli.json<{ partitions: { logStartOffset: number }[] }>([
        'topics',
        'trim',
        'orders',
        ...args,
      ])
      return partitions.map(({ logStartOffset }) => logStartOffset)
    }
    expect(await starts('--before', '@1005')).toEqual([3, 2, 0, 0])
    expect((await cli.run(['topics', 'trim', 'orders', '-b', '99', '-p', '0'])).stderr).toContain('OFFSET_OUT_OF_RANGE')
    expect((await cli.run(['topics', 'trim', 'orders', '-b', 'end'])).stderr).toContain('orders/1 begins at 5\n')
    expect(await cli.run(['topics', 'trim', 'orders'])).toMatchObject({ exitCode: 2 })
  })

  test('delete takes all that are named, or none', async () => {
    expect((await cli.run(['topics', 'delete', 'a', 'nope'])).exitCode).toBe(1)
    expect(await cli.out(['topics', 'list'])).toBe('a\norders\n')
    expect(await cli.json(['topics', 'delete', 'a', 'orders'])).toEqual({ topics: ['a', 'orders'] })
    expect(await cli.run(['topics', 'list'])).toMatchObject({ exitCode: 0, stdout: '' })
  })
})

test('a folder or a file that is no data directory', async () => {
  const foreign = new CommandLine(join(folder, 'foreign'))
  mkdirSync(foreign.directory)
  writeFileSync(join(foreign.directory, 'letter.txt'), 'hello')
  expect((await foreign.run(['topics', 'list'])).stderr).toContain('DIRECTORY_NOT_FOUND')
  expect((await foreign.run(['produce', 't'], { input: 'x\n' })).stderr).toContain('DIRECTORY_NOT_FOUND')
  const file = new CommandLine(join(foreign.directory, 'letter.txt'))
  const { exitCode, stderr } = await file.run(['topics', 'list'])
  expect(exitCode).toBe(1)
  expect(stderr).toMatch(/^millrace: .*letter.txt/)
})
