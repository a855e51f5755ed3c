/** Random logs, random damage, random recovery points, against a plain model; and crashes in the middle of recovery. */
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { segmentFileName } from '../../../engine/format/file-names.ts'
import { BATCH } from '../../../engine/format/record-batch.ts'
import { recoverPartition } from '../../../engine/log/recovery.ts'
import { mappingStatistics } from '../../../engine/memory/mapping.ts'
import {
  contentOf,
  endOffset,
  logPath,
  type ModelBatch,
  type ModelSegment,
  makeBatch,
  makeLog,
  modelIndex,
  readIndexFiles,
  request,
  sizeOf,
  temporaryDirectories,
  writeLog,
} from './recovery-fixture.ts'

const random = new Random(testSeed())
const directories = temporaryDirectories('recovery-random')
afterAll(() => directories.removeAll())

/** What the log files hold after the damage; one that is gone is not in it. */
type Contents = Map<ModelSegment, Buffer>

/** Where the log is cut, which batches are lost without a cut, and which segments must be marked. */
interface Expected {
  readonly cut: ModelBatch | undefined
  readonly lost: Set<ModelBatch>
  readonly marked: Set<ModelSegment>
  readonly logEndOffset: number
}

/**
 * A run of damaged batches in a segment ends the log when it begins at or above the recovery point; in the last segment also
 * when it reaches there.
 */
function model(
  segments: readonly ModelSegment[],
  damaged: Set<ModelBatch>,
  recoveryPoint: number,
  contents: Contents,
): Expected {
  const lost = new Set<ModelBatch>()
  const marked = new Set<ModelSegment>()
  let unreadableEnd = false
  for (const [index, segment] of segments.entries()) {
    let inRun = false
    const hurtAt = segment.batches.findIndex(batch => damaged.has(batch))
    const hurtBatch = segment.batches[hurtAt]
    // Zeros to the end of the file are an end, wherever the recovery point is.
    const bytes = contents.get(segment) ?? Buffer.alloc(0)
    const rest = bytes.subarray(sizeOf(segment.batches.slice(0, hurtAt)))
    if (hurtBatch !== undefined && index === segments.length - 1 && rest.equals(Buffer.alloc(rest.length))) {
      return { cut: hurtBatch, lost, marked, logEndOffset: hurtBatch.baseOffset }
    }
    for (const batch of segment.batches) {
      const isDamaged = damaged.has(batch)
      const mayReachUp = inRun && index < segments.length - 1
      if (isDamaged && !mayReachUp && batch.baseOffset >= recoveryPoint) {
        return { cut: batch, lost, marked, logEndOffset: batch.baseOffset }
      }
      if (isDamaged) lost.add(batch)
      const nextBase = segments[index + 1]?.baseOffset ?? Infinity
      // A file that ends early but well is no damage in the file.
      const isThere = rest.length > 0
      if (isDamaged && isThere && nextBase > recoveryPoint) marked.add(segment)
      inRun = isDamaged
      unreadableEnd = isDamaged
    }
  }
  return { cut: undefined, lost, marked, logEndOffset: unreadableEnd ? recoveryPoint : endOffset(segments) }
}

function batchesOf(segments: readonly ModelSegment[]): { segment: ModelSegment; batch: ModelBatch }[] {
  return segments.flatMap(segment => segment.batches.map(batch => ({ segment, batch })))
}

/** Bytes of a header that its CRC does not cover: base offset and leader epoch. */
const isUncovered = (byte: number): boolean =>
  byte < BATCH.batchLengthAt || (byte >= BATCH.partitionLeaderEpochAt && byte < BATCH.magicAt)

function flipByte(segments: readonly ModelSegment[], contents: Contents): void {
  const { segment, batch } = random.pick(batchesOf(segments))
  const byte = random.below(batch.bytes.length)
  if (isUncovered(byte)) return
  const bytes = contents.get(segment) as Buffer
  const at = batch.position + byte
  bytes[at] = (bytes[at] as number) ^ random.between(1, 255)
}

/** Only where nothing else is damaged: two batches that both may lie about their offsets cannot be told apart. */
function flipOffset(segments: readonly ModelSegment[], contents: Contents): void {
  const { segment, batch } = random.pick(batchesOf(segments))
  const bytes = contents.get(segment) as Buffer
  const at = batch.position + random.below(8)
  bytes[at] = (bytes[at] as number) ^ random.between(1, 255)
}

/** Never shorter than a header, and never only the part of one that the CRC does not cover. */
function overwrite(segments: readonly ModelSegment[], contents: Contents, fill: 'zeros' | 'garbage'): void {
  const { segment, batch } = random.pick(batchesOf(segments))
  const bytes = contents.get(segment) as Buffer
  const from = random.chance(0.5) ? batch.position : batch.position + random.below(batch.bytes.length)
  const wanted = Math.min(sizeOf(segment.batches), from + random.between(BATCH.headerBytes, 400))
  const touched = segment.batches.findLast(({ position }) => position < wanted) as ModelBatch
  const to = wanted - touched.position <= BATCH.crcAt ? touched.position : wanted
  if (to - from < BATCH.headerBytes) return
  bytes.set(fill === 'zeros' ? Buffer.alloc(to - from) : random.bytes(to - from), from)
}

function shorten(segments: readonly ModelSegment[], contents: Contents): void {
  const segment = random.pick(segments)
  const bytes = contents.get(segment) as Buffer
  contents.set(segment, bytes.subarray(0, random.below(sizeOf(segment.batches))))
}

/** Stale batches behind the end whose CRCs hold and whose offsets fit, or nearly. */
function staleTail(segments: readonly ModelSegment[], contents: Contents, jumps: readonly number[]): void {
  const segment = segments.at(-1) as ModelSegment
  const last = segment.batches.at(-1) as ModelBatch
  const bytes = contents.get(segment) as Buffer
  const size = sizeOf(segment.batches)
  const at = size + random.pick([0, 0, 12, 200])
  const baseOffset = last.lastOffset + 1 + random.pick(jumps)
  const stale = makeBatch(random, { position: at, baseOffset, epoch: last.epoch + random.pick([0, -1]) })
  const tail = Buffer.alloc(2_000)
  tail.set(stale.bytes, at - size)
  contents.set(segment, Buffer.concat([bytes.subarray(0, size), tail]))
}

function damagedBatches(segments: readonly ModelSegment[], contents: Contents): Set<ModelBatch> {
  const isHurt = ({ segment, batch }: { segment: ModelSegment; batch: ModelBatch }): boolean => {
    const bytes = contents.get(segment)
    return (
      bytes === undefined || !bytes.subarray(batch.position, batch.position + batch.bytes.length).equals(batch.bytes)
    )
  }
  return new Set(
    batchesOf(segments)
      .filter(isHurt)
      .map(({ batch }) => batch),
  )
}

function hurt(directory: string, segments: readonly ModelSegment[]): Contents {
  const contents: Contents = new Map(
    segments.map(segment => [segment, readFileSync(logPath(directory, segment.baseOffset))]),
  )
  const kinds = [
    flipByte,
    (s: readonly ModelSegment[], c: Contents) => overwrite(s, c, 'zeros'),
    (s: readonly ModelSegment[], c: Contents) => overwrite(s, c, 'garbage'),
  ]
  const only = random.below(10)
  if (only === 0) shorten(segments, contents)
  else if (only === 1 && segments.length > 2)
    contents.delete(segments[random.between(1, segments.length - 2)] as ModelSegment)
  else if (only === 2) staleTail(segments, contents, [-1, 1, 5])
  else if (only === 3) flipOffset(segments, contents)
  else {
    for (let i = random.below(4); i > 0; i--) random.pick(kinds)(segments, contents)
    if (random.chance(0.4)) staleTail(segments, contents, [1, 2, 100])
  }
  for (const { baseOffset } of segments) rmSync(logPath(directory, baseOffset))
  for (const [segment, bytes] of contents) writeFileSync(logPath(directory, segment.baseOffset), bytes)
  for (const { baseOffset } of segments) {
    for (const suffix of ['index', 'timeindex'] as const) {
      const path = join(directory, segmentFileName(baseOffset, suffix))
      const fate = random.below(10)
      if (fate === 0) rmSync(path)
      if (fate === 1) writeFileSync(path, random.bytes(48))
    }
  }
  if (random.chance(0.15)) rmSync(join(directory, 'leader-epoch-checkpoint'))
  return contents
}

function expectAsModel(
  directory: string,
  segments: readonly ModelSegment[],
  damaged: Set<ModelBatch>,
  expected: Expected,
  context: string,
): void {
  let isCut = false
  for (const segment of segments) {
    const path = logPath(directory, segment.baseOffset)
    const stat = statSync(path, { throwIfNoEntry: false })
    const bytes = stat === undefined ? undefined : readFileSync(path)
    for (const batch of segment.batches) {
      const at = bytes?.subarray(batch.position, batch.position + batch.bytes.length)
      if (batch === expected.cut) isCut = true
      if (isCut && damaged.has(batch)) continue // unless it begins below the recovery point, where it stays, it is zeros now
      if (isCut) expect(at?.every(byte => byte === 0) ?? true, `${context}: ${batch.baseOffset} is cut`).toBe(true)
      else if (!expected.lost.has(batch)) {
        expect(at?.equals(batch.bytes), `${context}: ${batch.baseOffset} is kept`).toBe(true)
      }
    }
  }
}

function expectIndexes(
  directory: string,
  segments: readonly ModelSegment[],
  expected: Expected,
  context: string,
): void {
  const cutOffset = expected.cut?.baseOffset ?? Infinity
  for (const segment of segments) {
    if (segment.baseOffset > cutOffset || segment.batches.some(batch => expected.lost.has(batch))) continue
    const kept = segment.batches.filter(batch => batch.baseOffset < cutOffset)
    if (kept.length === 0) continue
    expect(readIndexFiles(directory, segment.baseOffset), context).toEqual(modelIndex(segment.baseOffset, kept))
  }
}

const ROUNDS = process.env['MILLRACE_FAULTS'] === 'all' ? 350 : 120

test('whatever is damaged, what may be cut is cut, the rest stays, and doing it again changes nothing', () => {
  const mapped = mappingStatistics().mappedBytes
  for (let round = 0; round < ROUNDS; round++) {
    const directory = directories.next()
    const segments = makeLog(random, random.between(1, 4), 14)
    writeLog(directory, segments, random.pick([0, 1_000]))
    const contents = hurt(directory, segments)
    const damaged = damagedBatches(segments, contents)
    const all = batchesOf(segments)
    const end = endOffset(segments)
    const recoveryPoint = random.pick([0, end, random.pick(all).batch.baseOffset, random.pick(all).batch.baseOffset])
    const expected = model(segments, damaged, recoveryPoint, contents)

    const asked = request(directory, { recoveryPoint })
    const first = recoverPartition(asked)
    const context = JSON.stringify({
      seed: random.seed,
      round,
      bases: segments.map(({ baseOffset }) => baseOffset),
      batches: segments.flatMap(s => s.batches.map(b => [b.baseOffset, b.position, damaged.has(b)])),
      recoveryPoint,
      end,
      done: first.reports.map(({ path, ...rest }) => ({ ...rest, file: basename(path) })),
    })
    expect(first.logEndOffset, context).toBe(expected.logEndOffset)
    expectAsModel(directory, segments, damaged, expected, context)
    expectIndexes(directory, segments, expected, context)
    for (const { baseOffset, quarantined } of first.segments) {
      const segment = segments.find(candidate => candidate.baseOffset === baseOffset)
      if (segment !== undefined && expected.marked.has(segment)) expect(quarantined, context).toBeDefined()
    }
    const last = first.segments.at(-1)
    const tail = readFileSync(logPath(directory, last?.baseOffset ?? -1)).subarray(last?.sizeBytes)
    expect(tail.equals(Buffer.alloc(tail.length)), context).toBe(true)
    expect(last?.quarantined, context).toBeUndefined()

    const content = contentOf(directory)
    const second = recoverPartition(asked)
    const { reports: _, scannedBytes: __, ...answer } = first
    expect(second, context).toMatchObject(answer)
    expect(contentOf(directory), context).toEqual(content)
    rmSync(directory, { recursive: true })
  }
  expect(mappingStatistics().mappedBytes).toBe(mapped)
})

test('after a clean close nothing that is whole is ever cut', () => {
  for (let round = 0; round < 150; round++) {
    const directory = directories.next()
    const segments = makeLog(random, random.between(1, 4), 14)
    writeLog(directory, segments, random.pick([0, 1_000]))
    const damaged = damagedBatches(segments, hurt(directory, segments))
    const recoveryPoint = random.pick([0, endOffset(segments)])
    const compacted = random.chance(0.3)
    const asked = request(directory, { clean: true, recoveryPoint, compacted })
    const first = recoverPartition(asked)
    const context = `MILLRACE_SEED=${random.seed} round ${round}`
    for (const { segment, batch } of batchesOf(segments)) {
      if (damaged.has(batch)) continue
      const bytes = readFileSync(logPath(directory, segment.baseOffset))
      const found = bytes.subarray(batch.position, batch.position + batch.bytes.length)
      expect(found.equals(batch.bytes), `${context}: ${batch.baseOffset} is kept`).toBe(true)
      expect(first.logEndOffset, context).toBeGreaterThan(batch.lastOffset)
    }
    const content = contentOf(directory)
    const { reports: _, scannedBytes: __, ...answer } = first
    expect(recoverPartition(asked), context).toMatchObject(answer)
    expect(contentOf(directory), context).toEqual(content)
    rmSync(directory, { recursive: true })
  }
})
