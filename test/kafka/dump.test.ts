/**
 * Kafka's own `DumpLogSegments` reads every kind of folder that Millrace writes: each batch and record, each index entry against the
 * log, and the sanity check of Kafka's start. What it reads is what Millrace's reader reads.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FETCH_TIMEOUT_MS, whyNoKafka } from '../../bench/kafka/jars.ts'
import { Millrace } from '../../client/index.ts'
import { BATCH, batchBytes, Region, segmentFileName } from '../../engine/format/index.ts'
import { type Dumped, dumpFolders } from './support/dump.ts'
import { kill } from './support/killed.ts'
import { KINDS } from './support/kinds.ts'
import { asDumped, dumpedRecords, type PlainRecord, readAll } from './support/records.ts'
import { verify } from './support/verify.ts'

const reason = whyNoKafka()
if (reason !== undefined) console.log(`skipped: Kafka's DumpLogSegments: ${reason}`)

const KILLS = 3
const KILLED = { topic: 'killed', isWhole: true }
const TORN = { topic: 'torn', isWhole: true }

describe.skipIf(reason !== undefined)("Kafka's DumpLogSegments", () => {
  const home = mkdtempSync(join(tmpdir(), 'millrace-kafka-'))
  const data = join(home, 'data')
  const expected = new Map<string, PlainRecord[]>()
  const folderOf = (topic: string): string => join(data, `${topic}-0`)
  let dumps: Map<string, Dumped>

  beforeAll(async () => {
    await kill(data, 'killed', KILLS)
    await kill(data, 'torn', 1)
    tearLastBatch(folderOf('torn'))
    {
      await using engine = await Millrace.open(data, { writers: 2, jobThreads: 1, cleanerBackoffMs: 3_600_000 })
      for (const { topic, config = {}, fill } of KINDS) {
        await engine.admin.createTopic({ topic, config: { 'retention.ms': -1, ...config } })
        await fill(engine, topic)
      }
      copyFolder(folderOf('rolled'), join(home, 'running'))
      for (const topic of await engine.admin.listTopics()) expected.set(topic, await readAll(engine, topic))
    }
    dumps = await dumpFolders([...expected.keys()].map(folderOf))
  }, FETCH_TIMEOUT_MS + 300_000)

  afterAll(() => rmSync(home, { recursive: true, force: true }))

  for (const { topic, isWhole = true } of [...KINDS, KILLED, TORN]) {
    test(`reads ${topic} without a complaint`, () => {
      const dump = dumps.get(folderOf(topic)) as Dumped
      const records = expected.get(topic) ?? []
      expect(dump.complaints).toEqual([])
      const read = dumpedRecords(dump)
      expect(read.slice(read.length - records.length)).toEqual(records.map(asDumped))
      if (isWhole) expect([read.length, dump.gaps]).toEqual([records.length, []])
      expect(dump.sane).toBe(readdirSync(folderOf(topic)).filter(name => /index$/.test(name)).length)
    })
  }

  test('sees what each kind is there for', () => {
    const of = (topic: string): Dumped => dumps.get(folderOf(topic)) as Dumped
    for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
      expect(new Set(of(`codec-${codec}`).batches.map(batch => batch.codec))).toEqual(new Set([codec]))
    }
    expect(new Set(of('killed').batches.map(batch => batch.leaderEpoch)).size).toBe(KILLS)
    expect(of('append-time').batches.every(batch => batch.timestampType === 'LogAppendTime')).toBe(true)
    expect(of('compacted').gaps.length).toBeGreaterThan(10)
    expect(of('compacted').batches.some(batch => batch.deleteHorizonMs !== undefined)).toBe(true)
    expect(of('encoded').batches.map(batch => batch.producerId)).toEqual([77, 77, 77, 77, 77])
    expect(new Set(of('idempotent').batches.map(batch => batch.producerId)).size).toBe(2)
    for (const topic of ['idempotent', 'truncated']) {
      const known = new Set(of(topic).producers.map(line => /^producerId: (\d+) producerEpoch: 0 /.exec(line)?.[1]))
      expect([known.size, known.has(undefined)], topic).toEqual([2, false])
    }
    expect(new Set(of('truncated').batches.map(batch => batch.leaderEpoch)).size).toBe(3)
    expect(of('trimmed').batches[0]?.baseOffset).toBeGreaterThan(0)
    for (const topic of ['rolled', 'unordered-times', 'index-full', 'killed']) {
      expect(of(topic).offsetEntries, topic).toBeGreaterThan(30)
      expect(of(topic).timeEntries, topic).toBeGreaterThan(2)
    }
    expect(readdirSync(folderOf('index-full')).filter(name => name.endsWith('.log')).length).toBeGreaterThan(2)
    expect(of('no-times').timeEntries).toBe(0)
  })

  test('and millrace verify says the same', async () => {
    const { code, output } = await verify(data)
    expect(code, output).toBe(0)
  })

  test('complains of what is wrong: the judge can tell', async () => {
    const plant = (name: string, suffix: string, change: (bytes: Buffer) => unknown): string => {
      const folder = join(home, name)
      copyFolder(folderOf('rolled'), folder)
      const path = join(folder, segmentFileName(0, suffix as 'log'))
      const bytes = readFileSync(path)
      const changed = change(bytes)
      writeFileSync(path, Buffer.isBuffer(changed) ? changed : bytes)
      return folder
    }
    const second = (bytes: Buffer): number => batchBytes(Region.of(bytes).view, 0)
    const faults = {
      crc: plant('crc', 'log', bytes => bytes.writeUInt8(bytes.readUInt8(BATCH.crcAt) ^ 1, BATCH.crcAt)),
      offset: plant('offset', 'log', bytes => bytes.writeBigInt64BE(1_000n, second(bytes))),
      tail: plant('tail', 'log', bytes => Buffer.concat([bytes, Buffer.alloc(10, 1)])),
      index: plant('index', 'index', bytes => bytes.writeUInt32BE(bytes.readUInt32BE(0) + 1, 0)),
      time: plant('time', 'timeindex', bytes => bytes.writeBigInt64BE(1n, 12)),
    }
    const found = await dumpFolders(Object.values(faults))
    const complaintsOf = (name: keyof typeof faults): string => found.get(faults[name])?.complaints.join('\n') ?? ''
    expect(complaintsOf('crc')).toMatch(/isvalid: false$/m)
    expect(found.get(faults.offset)?.gaps[0]).toBe('0, 1000')
    expect(complaintsOf('index')).toMatch(/Index offset: \d+, log offset: \d+/)
    expect(complaintsOf('time')).toMatch(/Found timestamp mismatch in :/)
    expect(complaintsOf('time')).toMatch(/Found out of order timestamp in :/)
    expect(complaintsOf('tail')).toMatch(/^Found \d+ invalid bytes at the end of/)
  })

  test('stops at the zeros behind an active segment of a running engine, as at those of a preallocated one of Kafka', async () => {
    const found = await dumpFolders([join(home, 'running')])
    const complaints = found.get(join(home, 'running'))?.complaints.join('\n') ?? ''
    expect(complaints).toMatch(/Found record size 0 smaller than minimum record overhead \(14\) in file/)
  })
})

/** As a loss of power may leave it: of the last batch only the beginning is there. */
function tearLastBatch(folder: string): void {
  const name = readdirSync(folder)
    .filter(file => file.endsWith('.log'))
    .sort()
    .at(-1) as string
  const path = join(folder, name)
  const bytes = readFileSync(path)
  const { view, length } = Region.of(bytes)
  let last = 0
  for (
    let at = 0;
    at + BATCH.headerBytes <= length && batchBytes(view, at) > BATCH.overheadBytes;
    at += batchBytes(view, at)
  )
    last = at
  writeFileSync(path, bytes.fill(0, last + BATCH.headerBytes + 1))
}

function copyFolder(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-r', '--sparse=always', from, to], { encoding: 'utf8' })
  expect(status, stderr).toBe(0)
}
