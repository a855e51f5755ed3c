import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { isMillraceError, MillraceError } from '../../../engine/base/errors.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { segmentFileName } from '../../../engine/format/file-names.ts'
import { floorOffsetEntry, offsetEntryPosition } from '../../../engine/format/offset-index.ts'
import { batchBytes, lastOffsetOf, maxTimestampOf } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { floorTimeEntry, timeEntryRelativeOffset } from '../../../engine/format/time-index.ts'
import { checkIndex, type IndexBytes, readIndexes, rebuildIndex } from '../../../engine/log/recovery-index.ts'
import { NO_INDEX, SegmentIndexWriter } from '../../../engine/log/segment-index.ts'
import { mappingStatistics } from '../../../engine/memory/mapping.ts'
import {
  encodeIndex,
  INDEX_BYTES_MAX,
  INTERVAL_BYTES,
  type ModelBatch,
  type ModelSegment,
  makeLog,
  modelIndex,
  readIndexFiles,
  sizeOf,
  temporaryDirectories,
} from './recovery-fixture.ts'

const disk = vi.hoisted(() => ({ isFull: false }))
vi.mock('../../../engine/memory/libc.ts', async original => {
  const libc = await original<typeof import('../../../engine/memory/libc.ts')>()
  const allocate: typeof libc.allocate = (...args) => {
    if (disk.isFull) throw new MillraceError('DISK_FULL', { call: 'fallocate' })
    libc.allocate(...args)
  }
  return { ...libc, allocate }
})

const random = new Random(testSeed())
const seed = `MILLRACE_SEED=${random.seed}`
const directories = temporaryDirectories('index')
afterAll(() => directories.removeAll())

function makeSegment(batchesMax = 80): ModelSegment {
  return makeLog(random, 1, batchesMax)[0] as ModelSegment
}

const logOf = ({ batches }: ModelSegment): Region => Region.of(Buffer.concat(batches.map(({ bytes }) => bytes)))

function writerFor(directory: string, baseOffset: number, more: { indexBytesMax?: number } = {}): SegmentIndexWriter {
  const indexIntervalBytes = INTERVAL_BYTES
  return new SegmentIndexWriter({ directory, baseOffset, indexIntervalBytes, indexBytesMax: INDEX_BYTES_MAX, ...more })
}

const path = (directory: string, baseOffset: number, suffix: 'index' | 'timeindex'): string =>
  join(directory, segmentFileName(baseOffset, suffix))

/** Every offset and every timestamp is found by floor and forward walk. */
function expectLookupsRight(directory: string, { baseOffset, batches }: ModelSegment): void {
  const log = logOf({ baseOffset, batches })
  const { offsets, times } = readIndexes(directory, baseOffset) as IndexBytes
  const entries = offsets.length / 8
  const positionOf = (relativeOffset: number): number => {
    const floor = floorOffsetEntry(offsets.view, entries, relativeOffset)
    return floor === -1 ? 0 : offsetEntryPosition(offsets.view, floor)
  }
  const walk = (from: number, wanted: (at: number) => boolean): number => {
    let at = from
    while (at < log.length && !wanted(at)) at += batchBytes(log.view, at)
    return at
  }
  for (const batch of batches) {
    for (let offset = batch.baseOffset; offset <= batch.lastOffset; offset++) {
      const found = walk(positionOf(offset - baseOffset), at => lastOffsetOf(log.view, at) >= offset)
      expect(found, `offset ${offset}, ${seed}`).toBe(batch.position)
    }
  }
  const timestamps = batches.flatMap(({ maxTimestamp }) => [maxTimestamp - 1, maxTimestamp, maxTimestamp + 1])
  for (const timestamp of timestamps) {
    const floor = floorTimeEntry(times.view, times.length / 12, timestamp)
    const from = floor === -1 ? 0 : positionOf(timeEntryRelativeOffset(times.view, floor))
    const found = walk(from, at => maxTimestampOf(log.view, at) >= timestamp)
    const expected = batches.find(({ maxTimestamp }) => maxTimestamp >= timestamp)?.position ?? log.length
    expect(found, `timestamp ${timestamp}, ${seed}`).toBe(expected)
  }
}

test('entries are those of the rule, however the log grows and however often the writer changes', () => {
  for (let round = 0; round < 60; round++) {
    const segment = makeSegment()
    const { baseOffset, batches } = segment
    const log = logOf(segment)
    const directory = directories.next()
    let writer = writerFor(directory, baseOffset)
    for (let done = 0; done < batches.length; ) {
      done = Math.min(batches.length, done + random.between(1, 15))
      const counts = writer.extend(log, sizeOf(batches.slice(0, done)))
      const open = modelIndex(baseOffset, batches.slice(0, done), false)
      expect(counts, seed).toEqual({
        offsetEntries: open.offsets.length,
        timeEntries: open.times.length,
        indexedPosition: sizeOf(batches.slice(0, done)),
      })
      if (random.chance(0.2)) writer.release()
      if (random.chance(0.2)) {
        writer.release()
        writer = writerFor(directory, baseOffset)
        writer.resume(counts, log)
      }
    }
    writer.finish()
    expect(readIndexFiles(directory, baseOffset), seed).toEqual(modelIndex(baseOffset, batches))
    expectLookupsRight(directory, segment)
  }
})

test('a log that was closed and goes on keeps its lookups right', () => {
  for (let round = 0; round < 30; round++) {
    const segment = makeSegment()
    const { baseOffset, batches } = segment
    const log = logOf(segment)
    const directory = directories.next()
    const half = random.below(batches.length)
    let writer = writerFor(directory, baseOffset)
    writer.extend(log, sizeOf(batches.slice(0, half)))
    const counts = writer.finish()
    writer = writerFor(directory, baseOffset)
    writer.resume(counts, log)
    writer.extend(log, log.length)
    writer.finish()
    expectLookupsRight(directory, segment)
    const check = checkIndex(readIndexes(directory, baseOffset) as IndexBytes, {
      log,
      endPosition: log.length,
      baseOffset,
      indexIntervalBytes: INTERVAL_BYTES,
    })
    expect(check.fault, seed).toBeUndefined()
  }
})

test('truncation forgets what the log lost, and the file is not shortened under a reader', () => {
  for (let round = 0; round < 60; round++) {
    const segment = makeSegment()
    const { baseOffset, batches } = segment
    const log = logOf(segment)
    const directory = directories.next()
    const writer = writerFor(directory, baseOffset)
    writer.extend(log, sizeOf(batches.slice(0, random.between(1, batches.length))))
    const kept = batches.slice(0, random.between(0, batches.length))
    const endOffset = (kept.at(-1)?.lastOffset ?? baseOffset - 1) + 1
    const counts = writer.truncateTo(sizeOf(kept), endOffset, log)
    expect(counts.indexedPosition).toBeLessThanOrEqual(sizeOf(kept))
    writer.extend(log, sizeOf(kept))
    writer.finish()
    expect(readIndexFiles(directory, baseOffset), seed).toEqual(modelIndex(baseOffset, kept))
  }
})

test('a file that lost whole pages is replaced, so that a mapping of the old one stays whole', () => {
  const segment: ModelSegment = { baseOffset: 0, batches: [] }
  while (segment.batches.length < 1_500) {
    const [part] = makeLog(new Random(1), 1)
    for (const batch of (part as ModelSegment).batches) {
      const last = segment.batches.at(-1)
      const copy = Buffer.from(batch.bytes)
      const baseOffset = (last?.lastOffset ?? -1) + 1
      copy.writeBigInt64BE(BigInt(baseOffset))
      segment.batches.push({
        ...batch,
        bytes: copy,
        position: (last?.position ?? 0) + (last?.bytes.length ?? 0),
        baseOffset,
        lastOffset: baseOffset + batch.lastOffset - batch.baseOffset,
      })
    }
  }
  const log = logOf(segment)
  const directory = directories.next()
  const indexPath = path(directory, 0, 'index')
  const writer = new SegmentIndexWriter({ directory, baseOffset: 0, indexIntervalBytes: 0, indexBytesMax: 65_536 })
  const { offsetEntries } = writer.extend(log, log.length)
  expect(offsetEntries * 8).toBeGreaterThan(4_096)
  const before = statSync(indexPath)
  writer.truncateTo(0, 0, log)
  writer.finish()
  expect(statSync(indexPath).size).toBe(0)
  expect(statSync(indexPath).ino).not.toBe(before.ino)
})

test('a full index takes no further entry, keeps one for the end, and stays right', () => {
  const segment = makeSegment(200)
  const { baseOffset, batches } = segment
  const log = logOf(segment)
  const directory = directories.next()
  const writer = writerFor(directory, baseOffset, { indexBytesMax: 50 })
  writer.extend(log, log.length)
  const isFull = writer.isFull
  const counts = writer.finish()
  const model = modelIndex(baseOffset, batches, false)
  expect(isFull, seed).toBe(model.times.length >= 3 || model.offsets.length >= 6)
  expect(counts.timeEntries).toBeLessThanOrEqual(4)
  expect(counts.offsetEntries).toBeLessThanOrEqual(6)
  expectLookupsRight(directory, segment)
})

test('files are exact when finished, there even when empty, and nothing stays mapped', () => {
  const before = mappingStatistics().mappedBytes
  const directory = directories.next()
  const empty = writerFor(directory, 7)
  expect(empty.finish()).toEqual(NO_INDEX)
  expect(statSync(path(directory, 7, 'index')).size).toBe(0)
  expect(statSync(path(directory, 7, 'timeindex')).size).toBe(0)
  const segment = makeSegment()
  const writer = writerFor(directory, segment.baseOffset)
  const log = logOf(segment)
  writer.extend(log, log.length)
  const counts = writer.finish()
  expect(statSync(path(directory, segment.baseOffset, 'index')).size).toBe(counts.offsetEntries * 8)
  expect(statSync(path(directory, segment.baseOffset, 'timeindex')).size).toBe(counts.timeEntries * 12)
  expect(() => writer.extend(log, log.length)).toThrow('an open index')
  expect(mappingStatistics().mappedBytes).toBe(before)
})

test('bytes that are no batches are reported with their place', () => {
  const segment = makeSegment()
  const log = logOf(segment)
  const directory = directories.next()
  const at = (segment.batches[1] as ModelBatch).position
  for (const length of [0, -5, 20, 1_000_000]) {
    log.view.setInt32(at + 8, length)
    const writer = writerFor(directory, segment.baseOffset)
    let error: unknown
    try {
      writer.extend(log, log.length)
    } catch (thrown) {
      error = thrown
    }
    expect(isMillraceError(error, 'CORRUPT_BATCH')).toBe(true)
    expect((error as { details: object }).details).toMatchObject({ position: at })
    writer.release()
  }
})

test('counts that the files do not have are a damaged index', () => {
  const segment = makeSegment()
  const directory = directories.next()
  writeFileSync(path(directory, segment.baseOffset, 'index'), Buffer.alloc(8))
  const writer = writerFor(directory, segment.baseOffset)
  const counts = { offsetEntries: 2, timeEntries: 0, indexedPosition: 0 }
  expect(() => writer.resume(counts, logOf(segment))).toThrow('CORRUPT_INDEX')
})

test('the check accepts what was built and finds every way of being wrong', () => {
  for (let round = 0; round < 60; round++) {
    const segment = makeSegment()
    const { baseOffset, batches } = segment
    const log = logOf(segment)
    const model = modelIndex(baseOffset, batches)
    const maxTimestamp = Math.max(...batches.map(batch => batch.maxTimestamp))
    const input = { log, endPosition: log.length, baseOffset, indexIntervalBytes: INTERVAL_BYTES, maxTimestamp }
    const check = (change: (index: { offsets: Buffer; times: Buffer }) => void): string | undefined => {
      const index = encodeIndex(model)
      change(index)
      return checkIndex({ offsets: Region.of(index.offsets), times: Region.of(index.times) }, input).fault
    }
    expect(
      check(() => undefined),
      seed,
    ).toBeUndefined()
    expect(check(index => (index.times = index.times.subarray(0, -1)))).toBeDefined()
    expect(check(index => (index.times = index.times.subarray(0, -12)))).toBeDefined()
    expect(check(index => (index.times = Buffer.concat([index.times, Buffer.alloc(12)])))).toBeDefined()
    expect(check(index => (index.offsets = Buffer.concat([index.offsets, Buffer.alloc(8)])))).toBeDefined()
    expect(check(index => (index.offsets = Buffer.concat([index.offsets, Buffer.alloc(3)])))).toBeDefined()
    expect(check(index => index.times.fill(0))).toBeDefined()
    if (model.offsets.length === 0) continue
    expect(check(index => index.offsets.fill(0))).toBeDefined()
    expect(check(index => index.offsets.writeUInt32BE(log.length, index.offsets.length - 4))).toBeDefined()
    expect(
      check(index => (index.offsets = index.offsets.subarray(0, -8))),
      seed,
    ).toBe('entries are missing at the end')
    expect(check(index => index.offsets.writeUInt32BE(index.offsets.readUInt32BE(0) + 1, 0))).toBeDefined()
    expect(check(index => index.offsets.writeUInt32BE(index.offsets.readUInt32BE(4) + 1, 4))).toBeDefined()
  }
})

test('a rebuilt index replaces the files, and leads behind damage', () => {
  for (let round = 0; round < 40; round++) {
    const segment = makeSegment()
    const { baseOffset, batches } = segment
    const log = logOf(segment)
    const directory = directories.next()
    writeFileSync(path(directory, baseOffset, 'index'), random.bytes(40))
    const input = {
      directory,
      log,
      endPosition: log.length,
      baseOffset,
      indexIntervalBytes: INTERVAL_BYTES,
      indexBytesMax: 24, // lowered since: a closed segment is indexed whole all the same
    }
    rebuildIndex({ ...input, damages: [] })
    expect(readIndexFiles(directory, baseOffset), seed).toEqual(modelIndex(baseOffset, batches))
    const hurt = random.below(batches.length)
    const { position, bytes } = batches[hurt] as ModelBatch
    log.bytes.fill(0xff, position, position + bytes.length)
    const to = position + bytes.length
    const counts = rebuildIndex({ ...input, damages: [{ from: position, to }] })
    expect(counts.indexedPosition).toBe(log.length)
    const { offsets } = readIndexFiles(directory, baseOffset)
    const behind = batches[hurt + 1]
    if (behind !== undefined) {
      expect(offsets).toContainEqual({ relativeOffset: behind.lastOffset - baseOffset, position: behind.position })
    }
    for (const entry of offsets) {
      expect(batches.some(batch => batch.position === entry.position && entry.position !== position)).toBe(true)
    }
    expect(readFileSync(path(directory, baseOffset, 'index')).length).toBe(counts.offsetEntries * 8)
  }
})

test('a full disk is an error before any store, and the next call goes on where it stopped', () => {
  for (let round = 0; round < 20; round++) {
    const segment = makeSegment()
    const { baseOffset, batches } = segment
    const log = logOf(segment)
    const model = modelIndex(baseOffset, batches)
    if (model.offsets.length === 0) continue
    const directory = directories.next()
    const writer = writerFor(directory, baseOffset)
    disk.isFull = true
    try {
      expect(() => writer.extend(log, log.length), seed).toThrow('DISK_FULL')
      expect(writer.counts).toMatchObject({ offsetEntries: 0, timeEntries: 0 })
      expect(writer.counts.indexedPosition).toBe(model.offsets[0]?.position)
      expect(() => writer.extend(log, log.length)).toThrow('DISK_FULL')
    } finally {
      disk.isFull = false
    }
    writer.extend(log, log.length)
    writer.finish()
    expect(readIndexFiles(directory, baseOffset), seed).toEqual(model)
  }
})
