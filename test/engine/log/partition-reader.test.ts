/**
 * Reading and looking up against the plain list of what was appended: without indexes, with indexes that lag by any amount, with
 * timestamps out of order, and while segments come and go.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import { BATCH, batchBytes, encodeBatch, type RecordInput } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { newReadHint, type PartitionReader } from '../../../engine/log/partition-reader.ts'
import { SegmentIndexWriter } from '../../../engine/log/segment-index.ts'
import { parseTopicConfig } from '../../../engine/log/topic-config.ts'
import { SLOT } from '../../../engine/memory/control-block.ts'
import { SEGMENT } from '../../../engine/memory/segment-table.ts'
import { type FixtureOptions, PartitionFixture, START_MS } from './partition-fixture.ts'
import { temporaryDirectories } from './recovery-fixture.ts'

const directories = temporaryDirectories('partition-reader')
let open: PartitionFixture[] = []
afterEach(() => {
  for (const fixture of open) fixture.close()
  open = []
})
afterAll(() => directories.removeAll())

function start(options: FixtureOptions = {}): PartitionFixture {
  const fixture = new PartitionFixture(directories.next(), options)
  open.push(fixture)
  return fixture
}

interface Flat {
  readonly offset: number
  readonly timestamp: number
  readonly value: string
}

/** Every record with its offset, those that were deleted left out. */
function flatten(fixture: PartitionFixture): Flat[] {
  const all = fixture.batches.flatMap(({ baseOffset, records }) =>
    records.map(({ timestamp, value }, i) => ({
      offset: baseOffset + i,
      timestamp,
      value: Buffer.from(value ?? []).toString('latin1'),
    })),
  )
  return all.filter(({ offset }) => offset >= fixture.log.logStartOffset && offset < fixture.log.highWatermark)
}

function fill(fixture: PartitionFixture, random: Random, batches: number): void {
  for (let i = 0; i < batches; i++) {
    const nowMs = START_MS + fixture.log.logEndOffset
    const records: RecordInput[] = Array.from({ length: random.between(1, 6) }, () => ({
      timestamp: random.chance(0.03) ? -1 : nowMs + random.pick([0, 0, random.between(-60, 60)]),
      value: Buffer.alloc(random.below(random.chance(0.05) ? 3_000 : 60), `${random.u32()};`),
    }))
    fixture.append(records)
  }
}

/** Indexes each segment up to some batch of it, as an indexer that lags has it. */
function indexPartly(fixture: PartitionFixture, random: Random): void {
  const { segments } = fixture.memory
  for (const { entry, baseOffset, sizeBytes } of fixture.listed()) {
    const log = Region.of(readFileSync(fixture.logPath(baseOffset)))
    const ends = [0]
    for (let at = 0; at < sizeBytes; ends.push(at)) at += batchBytes(log.view, at)
    const to = random.chance(0.3) ? sizeBytes : random.pick(ends)
    const { directory } = fixture
    const writer = new SegmentIndexWriter({ directory, baseOffset, indexIntervalBytes: 300, indexBytesMax: 16_384 })
    const counts = writer.extend(log, to)
    for (const name of ['offsetEntries', 'timeEntries', 'indexedPosition'] as const)
      segments.set(entry, SEGMENT[name], counts[name])
    writer.release()
  }
}

function expectFound(cursor: RecordCursor | undefined, expected: Flat | undefined, what: string): void {
  expect(cursor?.offset, what).toBe(expected?.offset)
  if (cursor === undefined || expected === undefined) return
  expect(cursor.timestamp, what).toBe(expected.timestamp)
  expect(Buffer.from(cursor.value() ?? []).toString('latin1'), what).toBe(expected.value)
}

function firstMax(records: readonly Flat[]): { offset: number; timestamp: number } | undefined {
  const timestamp = Math.max(...records.map(record => record.timestamp))
  const found = records.find(record => record.timestamp === timestamp)
  return found === undefined ? undefined : { offset: found.offset, timestamp }
}

function checkLookups(fixture: PartitionFixture, reader: PartitionReader, random: Random, label: string): void {
  const records = flatten(fixture)
  expect([reader.logStartOffset, reader.highWatermark]).toEqual([fixture.log.logStartOffset, fixture.log.highWatermark])
  for (let i = 0; i < 60 && records.length > 0; i++) {
    const expected = random.pick(records)
    expectFound(reader.seekOffset(expected.offset), expected, `${label}, offset ${expected.offset}`)
    const timestamp = random.pick(records).timestamp + random.between(-2, 2)
    const first = records.find(record => record.timestamp >= timestamp)
    expectFound(reader.seekTime(timestamp), first, `${label}, time ${timestamp}`)
  }
  expectFound(reader.seekTime(-1), records[0], `${label}, any time`)
  expect(reader.seekTime(START_MS * 2)).toBe(undefined)
  expect(reader.maxTimestamp(), label).toEqual(firstMax(records))
}

/** Every record from `offset` on, by fetches of at most `maxBytes`. */
function scan(reader: PartitionReader, offset: number, maxBytes: number): Flat[] {
  const found: Flat[] = []
  const hint = newReadHint()
  const cursor = new RecordCursor()
  for (let next = offset; ; ) {
    const fetched = reader.fetch(next, maxBytes, hint)
    if (fetched === undefined) return found
    const { region, from, to, nextOffset } = fetched
    expect(to - from <= maxBytes || from + batchBytes(region.view, from) === to).toBe(true)
    for (let at = from; at < to; at += batchBytes(region.view, at)) {
      cursor.reset(region, at)
      while (cursor.next()) {
        const value = Buffer.from(cursor.value() ?? []).toString('latin1')
        if (cursor.offset >= offset) found.push({ offset: cursor.offset, timestamp: cursor.timestamp, value })
      }
    }
    expect(nextOffset).toBeGreaterThan(next)
    next = nextOffset
  }
}

const ROUNDS = 8

test.for(Array.from({ length: ROUNDS }, (_, round) => round))('lookups and scans are right, round %i', round => {
  const random = new Random(testSeed() + round)
  const label = `MILLRACE_SEED=${random.seed}`
  const fixture = start({ config: { 'segment.bytes': '16384' }, baseOffset: random.pick([0, 2 ** 33]) })
  const reader = fixture.reader()
  for (let step = 0; step < 6; step++) {
    fill(fixture, random, random.between(1, 120))
    checkLookups(fixture, reader, random, `${label}, not indexed`)
    indexPartly(fixture, random)
    checkLookups(fixture, reader, random, `${label}, partly indexed`)
    const all = flatten(fixture)
    const from = all.length === 0 ? fixture.log.logStartOffset : random.pick(all).offset
    const maxBytes = random.pick([1, 500, 4_000, 1_000_000])
    expect(scan(reader, from, maxBytes), label).toEqual(all.filter(({ offset }) => offset >= from))
    if (random.chance(0.5)) fixture.deleteRecords(random.between(fixture.log.logStartOffset, fixture.log.highWatermark))
    if (random.chance(0.3)) fixture.reopen()
    checkLookups(fixture, reader, random, `${label}, changed`)
  }
  reader.unmap()
})

describe('ranges', () => {
  test('at the high watermark there is nothing yet; beyond the ends is OFFSET_OUT_OF_RANGE with the ends', () => {
    const fixture = start()
    fixture.appendMany(10, 10)
    fixture.deleteRecords(4)
    const reader = fixture.reader()
    expect(reader.fetch(10, 1_000, newReadHint())).toBe(undefined)
    expect(reader.seekOffset(10)).toBe(undefined)
    for (const offset of [3, 11, -1]) {
      const details = { topic: 't', partition: 0, offset, logStartOffset: 4, highWatermark: 10 }
      const expected = expect.objectContaining({ code: 'OFFSET_OUT_OF_RANGE', details })
      expect(() => reader.fetch(offset, 1_000, newReadHint())).toThrow(expected)
      expect(() => reader.seekOffset(offset)).toThrow(expected)
    }
  })

  test('between high watermark and log end there is nothing yet either', () => {
    const fixture = start({ inline: false, config: { 'flush.messages': '1' } })
    fixture.append([{ timestamp: START_MS, value: null }])
    fixture.services.answerAll()
    fixture.append([{ timestamp: START_MS + 5, value: null }])
    expect([fixture.log.highWatermark, fixture.log.logEndOffset]).toEqual([1, 2])
    const reader = fixture.reader()
    expect(reader.fetch(1, 1_000, newReadHint())).toBe(undefined)
    expect(reader.seekOffset(2)).toBe(undefined)
    expect(reader.seekTime(START_MS + 1)).toBe(undefined)
    expect(reader.maxTimestamp()).toEqual({ offset: 0, timestamp: START_MS })
    expect(scan(reader, 0, 1_000)).toHaveLength(1) // not the unflushed batch behind it
  })

  test('an empty log has no records and no largest timestamp', () => {
    const reader = start({ baseOffset: 9 }).reader()
    expect([reader.seekTime(0), reader.maxTimestamp(), reader.seekOffset(9)]).toEqual([undefined, undefined, undefined])
  })

  test('a limit below the high watermark holds a fetch back', () => {
    const fixture = start()
    fixture.appendMany(10, 10)
    expect(fixture.reader().fetch(3, 1_000_000, newReadHint(), 6)?.nextOffset).toBe(6)
  })
})

describe('a record in the middle of a batch', () => {
  test('below the log start is not found by its time, however well it fits', () => {
    const fixture = start()
    fixture.append([100, 200, 50, 200, 300].map(timestamp => ({ timestamp, value: null })))
    fixture.append([{ timestamp: 150, value: null }])
    fixture.deleteRecords(2)
    const reader = fixture.reader()
    expect(reader.seekTime(60)?.offset).toBe(3)
    expect(reader.seekTime(0)?.offset).toBe(2)
    fixture.deleteRecords(5)
    expect(reader.seekTime(120)?.offset).toBe(5)
    expect(reader.seekTime(160)).toBe(undefined)
    expect(reader.maxTimestamp()).toEqual({ offset: 5, timestamp: 150 })
  })
})

describe('damage', () => {
  test('is reported with file, position and the offset behind it; what follows is readable', () => {
    const fixture = start()
    fixture.appendMany(5, 100)
    const path = fixture.logPath(0)
    const position = (fixture.batches[0]?.bytes.length as number) * 2
    const bytes = readFileSync(path)
    bytes[position + 100] = (bytes[position + 100] as number) ^ 1
    writeFileSync(path, bytes, { flag: 'r+' })
    const reader = fixture.reader()
    const code = 'CORRUPT_BATCH'
    const details = expect.objectContaining({ path, position, reason: 'crc', nextOffset: 3 })
    expect(() => reader.seekOffset(2)).toThrow(expect.objectContaining({ code, details }))
    const hint = newReadHint()
    expect(reader.fetch(0, 1_000_000, hint)?.nextOffset).toBe(2) // what is sound comes first
    expect(() => reader.fetch(2, 1_000_000, hint)).toThrow(expect.objectContaining({ code, details }))
    expect(reader.fetch(3, 1_000_000, newReadHint())?.nextOffset).toBe(5)
  })

  test('in a length that was read before leads nobody astray, wherever the walk lands', () => {
    const fixture = start()
    const batches = 8
    // As a header, the end of such a value has a small offset and a length far below zero.
    const value = Buffer.alloc(100)
    value.writeInt32BE(-(2 ** 31), 92)
    for (let i = 0; i < batches; i++) fixture.append([{ timestamp: START_MS, value }])
    const path = fixture.logPath(0)
    const sound = readFileSync(path)
    const size = fixture.batches[0]?.bytes.length as number
    const lengthAt = size * 2 + BATCH.batchLengthAt
    const length = sound.readInt32BE(lengthAt)
    for (let by = -60; by <= 60; by++) {
      if (by === 0) continue
      const reader = fixture.reader()
      expect(scan(reader, 0, 1)).toHaveLength(batches) // every batch has been read and checked
      const damaged = Buffer.from(sound)
      damaged.writeInt32BE(length + by, lengthAt)
      writeFileSync(path, damaged, { flag: 'r+' })
      for (let offset = 3; offset < batches; offset++) {
        expect(reader.seekOffset(offset)?.offset, `${by}`).toBe(offset)
        expect(reader.fetch(offset, 1, newReadHint())?.nextOffset, `${by}`).toBe(offset + 1)
      }
      expect(() => reader.seekOffset(2), `${by}`).toThrow(expect.objectContaining({ code: 'CORRUPT_BATCH' }))
      writeFileSync(path, sound, { flag: 'r+' })
      reader.unmap()
    }
  })
})

describe('a partition that changes', () => {
  test('what was fetched stays readable when its segment is deleted', () => {
    const fixture = start({ config: { 'segment.bytes': '16384' } })
    fixture.appendMany(40, 1_000)
    const reader = fixture.reader()
    const fetched = reader.fetch(0, 1_000_000, newReadHint())
    const before = Buffer.from(fetched?.region.bytes.subarray(fetched.from, fetched.to) as Buffer)
    fixture.deleteRecords(40)
    expect(() => reader.fetch(0, 1_000, newReadHint())).toThrow('OFFSET_OUT_OF_RANGE')
    reader.unmap()
    expect(fetched?.region.bytes.subarray(fetched.from, fetched.to).equals(before)).toBe(true)
  })

  test('a topic that is gone is unknown, also when its slot has another partition', () => {
    const fixture = start()
    fixture.appendMany(1, 10)
    const reader = fixture.reader()
    fixture.memory.control.add(fixture.slot, SLOT.slotGeneration, 1)
    const gone = expect.objectContaining({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    expect(() => reader.fetch(0, 1_000, newReadHint())).toThrow(gone)
    expect(() => reader.highWatermark).toThrow(gone)
    expect(() => reader.seekTime(0)).toThrow(gone)
  })

  test('while it is being repaired a fetch has nothing, and look-ups say that it comes back', () => {
    const fixture = start()
    fixture.appendMany(3, 10)
    const reader = fixture.reader()
    expect(scan(reader, 0, 1_000)).toHaveLength(3)
    const state = { segments: fixture.log.describe(), logStartOffset: 0, logEndOffset: 3, leaderEpoch: 1 }
    fixture.log.flush()
    fixture.log.close(true)
    expect(reader.fetch(0, 1_000, newReadHint())).toBe(undefined)
    const later = expect.objectContaining({ code: 'TIMED_OUT', retriable: true })
    expect(() => reader.seekOffset(0)).toThrow(later)
    expect(() => reader.seekTime(0)).toThrow(later)
    expect(() => reader.maxTimestamp()).toThrow(later)
    fixture.adopt(parseTopicConfig({}), state)
    expect(scan(reader, 0, 1_000)).toHaveLength(3)
    expect(reader.seekOffset(1)?.offset).toBe(1)
  })

  test('new files under old names are read anew after a repair', () => {
    const fixture = start()
    fixture.appendMany(3, 10)
    const reader = fixture.reader()
    expect(scan(reader, 0, 1_000)).toHaveLength(3)
    const { bytes } = encodeBatch([{ timestamp: START_MS, value: Buffer.from('rewritten') }])
    fixture.log.close(true)
    writeFileSync(fixture.logPath(0), bytes)
    const kept = {
      baseOffset: 0,
      sizeBytes: bytes.length,
      nextOffset: 1,
      maxTimestamp: START_MS,
      maxTimestampOffset: 0,
    }
    const indexed = { firstTimestamp: START_MS, offsetEntries: 0, timeEntries: 0, indexedPosition: 0 }
    const state = { segments: [{ ...kept, ...indexed }], logStartOffset: 0, logEndOffset: 1, leaderEpoch: 1 }
    fixture.adopt(parseTopicConfig({ 'segment.bytes': '65536' }), state)
    expect(scan(reader, 0, 1_000).map(({ value }) => value)).toEqual(['rewritten'])
    fixture.batches.length = 0
  })
})

test('describe counts segments, bytes and index entries as they are', () => {
  const fixture = start({ config: { 'segment.bytes': '16384' }, leaderEpoch: 4 })
  fixture.appendMany(40, 1_000)
  indexPartly(fixture, new Random(1))
  const { segments } = fixture.memory
  const indexEntries = fixture
    .listed()
    .reduce(
      (sum, { entry }) => sum + segments.get(entry, SEGMENT.offsetEntries) + segments.get(entry, SEGMENT.timeEntries),
      0,
    )
  expect(fixture.reader().describe()).toEqual({
    segments: 3,
    sizeBytes: fixture.batches.reduce((sum, { bytes }) => sum + bytes.length, 0),
    indexEntries,
    leaderEpoch: 4,
  })
})
