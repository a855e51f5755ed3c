import { cpSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { DirectoryState } from '../../../client/cli/verify-directory.ts'
import { verifySegments } from '../../../client/cli/verify-threads.ts'
import { Millrace } from '../../../client/index.ts'
import { planFolder } from '../../../engine/log/verify-partition.ts'
import { CommandLine, temporaryFolder, WAIT_MS } from './support/cli.ts'

const folder = temporaryFolder()
const THREADS = { writers: 1, jobThreads: 1 }
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
const SMALL = { 'segment.bytes': 16_384, 'index.interval.bytes': 500, 'retention.ms': -1 }

/** The same records in three states: left by their owner, as a crash leaves them, and with an owner. */
const lines: Record<DirectoryState, CommandLine> = {
  closed: new CommandLine(join(folder, 'closed')),
  crashed: new CommandLine(join(folder, 'crashed')),
  owned: new CommandLine(join(folder, 'owned')),
}

async function fill(engine: Millrace, topic: string, records: number, compression: (typeof CODECS)[number] = 'none') {
  await using producer = await engine.producer({ compression, batchBytes: 1_024 })
  for (let at = 0; at < records; at += 8) {
    const messages = Array.from({ length: 8 }, (_, i) => ({
      key: `k${(at + i) % 5}`,
      value: Buffer.from(`${(at + i) * 7_919} `.repeat(12)),
      timestamp: 1_000 + (((at + i) * 37) % 9_000),
      ...(i === 0 ? { headers: { source: 'test' } } : {}),
    }))
    await producer.send({ topic, messages })
  }
}

let engine: Millrace
beforeAll(async () => {
  engine = await Millrace.open(lines.owned.directory, THREADS)
  const create = (topic: string, config: object = {}) =>
    engine.admin.createTopic({ topic, config: { ...SMALL, ...config } })
  for (const codec of CODECS) {
    await create(codec)
    await fill(engine, codec, codec === 'none' ? 480 : 160, codec)
  }
  await create('compacted', { 'cleanup.policy': 'compact' })
  await fill(engine, 'compacted', 480)
  await engine.admin.applyCompaction({ force: true })
  await create('trimmed', { 'message.timestamp.type': 'LogAppendTime' })
  await fill(engine, 'trimmed', 320)
  await engine.admin.deleteRecords('trimmed', 0, 250)
  await create('empty')
  await engine.close()
  cpSync(lines.owned.directory, lines.closed.directory, { recursive: true })
  engine = await Millrace.open(lines.owned.directory, THREADS)
  for (const topic of ['none', 'zstd', 'compacted']) await fill(engine, topic, 16)
  // What a process that is killed leaves is what is in its files.
  cpSync(lines.owned.directory, lines.crashed.directory, { recursive: true })
  return () => engine.close()
}, WAIT_MS)

interface Report {
  readonly state: DirectoryState
  readonly partitions: number
  readonly segments: number
  readonly records: number
  readonly damaged: number
  readonly findings: readonly { readonly kind: string; readonly severity: string; readonly path: string }[]
}

async function verify(cli: CommandLine, ...topics: string[]): Promise<Report & { readonly exitCode: number }> {
  const { exitCode, stdout, stderr } = await cli.run(['verify', ...topics, '--json'])
  expect(stderr).toBe('')
  return { exitCode, ...(JSON.parse(stdout) as Report) }
}

const segmentsOf = (directory: string, topic: string): string[] =>
  readdirSync(join(directory, `${topic}-0`)).flatMap(name => (name.endsWith('.log') ? [name.slice(0, 20)] : []))

describe.each(['closed', 'crashed', 'owned'] as const)('%s', state => {
  const cli = lines[state]

  test('nothing is found where nothing is wrong', async () => {
    const report = await verify(cli)
    expect(report).toMatchObject({ exitCode: 0, state, partitions: 8, damaged: 0, findings: [] })
    expect(report.segments).toBeGreaterThan(10)
    expect(report.records).toBeGreaterThan(480 + 4 * 160)
    const one = await verify(cli, 'none')
    expect(one).toMatchObject({ partitions: 1, records: state === 'closed' ? 480 : 496 })
    const text = await cli.out(['verify', 'none', 'zstd'])
    expect(text).toMatch(
      /^.*: .*\nread 2 partitions, \d+ segments, \d+\.\d KB, \d+ batches, \d+ records, \d+ index entries in \d/,
    )
    expect(text).toMatch(/\nno damage\n$/)
  })

  const first = (suffix: string): string =>
    join(cli.directory, 'none-0', `${segmentsOf(cli.directory, 'none')[0]}.${suffix}`)
  const second = (suffix: string): string =>
    join(cli.directory, 'none-0', `${segmentsOf(cli.directory, 'none')[1]}.${suffix}`)

  /** Runs it with a file changed, and puts the file back. */
  async function damaged(
    path: string,
    change: (path: string) => void,
  ): Promise<Report & { readonly exitCode: number }> {
    const before = readFileSync(path)
    change(path)
    try {
      return await verify(cli, 'none')
    } finally {
      writeFileSync(path, before)
    }
  }
  const flip = (at: number) => (path: string) => {
    const bytes = readFileSync(path)
    bytes[at] = (bytes[at] as number) ^ 0x10
    writeFileSync(path, bytes)
  }

  test.for<[what: string, path: () => string, change: (path: string) => void, kind: string]>([
    ['a byte in a batch', () => first('log'), flip(3_000), 'batch'],
    ['a byte in an offset index', () => first('index'), flip(6), 'index'],
    ['a byte in a time index', () => first('timeindex'), flip(6), 'index'],
    ['a log file that is missing', () => second('log'), path => rmSync(path), state === 'crashed' ? 'gap' : 'file'],
    ['an index file that is missing', () => second('index'), path => rmSync(path), 'index'],
    ['a log file that is cut', () => second('log'), path => truncateSync(path, 5_000), 'batch'],
    ['an index file that is cut', () => first('index'), path => truncateSync(path, 17), 'index'],
    [
      'leader epochs that are not those of the log',
      () => join(cli.directory, 'none-0', 'leader-epoch-checkpoint'),
      path => writeFileSync(path, '0\n1\n7 0\n'),
      'epoch',
    ],
  ])('%s', async ([, path, change, kind]) => {
    const damagedPath = path()
    const report = await damaged(damagedPath, change)
    expect(report.exitCode).toBe(1)
    expect(report.damaged).toBeGreaterThan(0)
    expect(report.findings.map(finding => finding.kind)).toContain(kind)
    if (kind !== 'gap') expect(report.findings.map(finding => finding.path)).toContain(damagedPath)
  })

  test('all of it is as it was', async () => {
    expect((await verify(cli)).findings).toEqual([])
  })
})

describe('closed', () => {
  const { closed } = lines

  test('findings as text', async () => {
    const path = join(closed.directory, 'none-0', '00000000000000000000.log')
    const bytes = readFileSync(path)
    writeFileSync(path, Buffer.from(bytes).fill(0xff, 90, 95))
    const { exitCode, stdout } = await closed.run(['verify'])
    writeFileSync(path, bytes)
    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/^damage: .*\.log at 0: the CRC-32C of a batch does not fit its bytes; offsets 0 to \d+\n/)
    expect(stdout).toMatch(/: closed by its last owner\nread .*\n1 place with damage\n$/)
  })

  test('a partition without its folder, and a store that cannot be read', async () => {
    const copy = new CommandLine(join(folder, 'store'))
    cpSync(closed.directory, copy.directory, { recursive: true })
    rmSync(join(copy.directory, 'gzip-0'), { recursive: true })
    expect(await verify(copy)).toMatchObject({
      exitCode: 1,
      damaged: 1,
      findings: [{ topic: 'gzip', kind: 'file', reason: 'the folder is missing' }],
    })
    const store = join(copy.directory, 'store', 'data.mdb')
    writeFileSync(store, Buffer.alloc(statSync(store).size, 0x55))
    const report = await verify(copy)
    expect(report).toMatchObject({ exitCode: 1, damaged: 1, partitions: 7, findings: [{ kind: 'file', path: store }] })
  })

  test('a directory or a topic that is not there', async () => {
    expect((await closed.run(['verify', 'nope'])).stderr).toContain('UNKNOWN_TOPIC_OR_PARTITION topic=nope')
    const nowhere = await new CommandLine(join(folder, 'nowhere')).run(['verify'])
    expect([nowhere.exitCode, nowhere.stdout]).toEqual([1, ''])
    expect(nowhere.stderr).toContain('DIRECTORY_NOT_FOUND')
  })

  test('progress is on stderr, on a terminal or when it is asked for', async () => {
    const shown = async (args: string[], isTerminal: boolean) =>
      (await closed.run(['verify', ...args], { isTerminal })).stderr
    expect(await shown([], true)).toMatch(/█.* {2}verify 100 %, \d+\.\d KB in .* s\n$/)
    expect(await shown(['--progress'], false)).toMatch(/^verify \d+ %, .*\n[\s\S]*verify 100 %, .*\n$/)
    expect(await shown(['--no-progress'], true)).toBe('')
  })
})

describe('crashed', () => {
  const { crashed } = lines

  test('a torn tail is no damage, and gone when the directory was opened', async () => {
    const path = join(crashed.directory, 'none-0', `${segmentsOf(crashed.directory, 'none').at(-1)}.log`)
    const bytes = readFileSync(path)
    const end = bytes.findLastIndex(byte => byte !== 0)
    bytes[end - 20] = (bytes[end - 20] as number) ^ 1
    writeFileSync(path, bytes)
    const torn = await verify(crashed)
    expect(torn).toMatchObject({ exitCode: 0, state: 'crashed', damaged: 0, findings: [{ severity: 'torn', path }] })
    const text = await crashed.out(['verify'])
    expect(text).toMatch(
      /^torn: [\s\S]*\nno damage\n1 place that a crash left torn, which is cut off when the directory is opened\n$/,
    )

    const recovered = await crashed.run(['produce', 'empty'], { input: 'one\n' })
    expect(recovered.stderr).toMatch(/^recovered none\/0: truncate .*\n1 record to empty\n$/)
    expect(await verify(crashed)).toMatchObject({ exitCode: 0, state: 'closed', findings: [] })
  })
})

test('an owner that appends, compacts and removes segments in between', async () => {
  expect((await verify(lines.owned)).state).toBe('owned')
  await fill(engine, 'none', 320)
  await engine.admin.applyCompaction({ force: true })
  expect(await verify(lines.owned)).toMatchObject({ exitCode: 0, state: 'owned', findings: [] })
})

test('several threads find what one finds', async () => {
  const path = join(lines.closed.directory, 'none-0', '00000000000000000000.log')
  renameSync(path, `${path}.away`)
  try {
    const stored = { isClean: false, recoveryPoint: 0, logStartOffset: 0, cleanedOffset: 0, compacts: true }
    const { segments: there } = planFolder(join(lines.closed.directory, 'none-0'), stored)
    const { segments: packed } = planFolder(join(lines.closed.directory, 'zstd-0'), stored)
    const segments = [...there, { ...(there[0] as (typeof there)[0]), baseOffset: 0 }, ...packed]
    const run = async (totalBytes: number) => {
      let bytes = 0
      const onProgress = (done: number): void => {
        bytes = done
      }
      const { signal } = new AbortController()
      const verified = await verifySegments({ segments, totalBytes, signal, onProgress, bytesPerThread: 1_000 })
      return { verified, bytes }
    }
    const [one, several] = [await run(1), await run(1_000_000)]
    expect(several).toEqual(one)
    expect(one.verified.map(result => result === undefined)).toEqual(segments.map((_, i) => i === there.length))
    expect(one.bytes).toBeGreaterThan(10_000)
  } finally {
    renameSync(`${path}.away`, path)
  }
})
