/** What recovery finds out about idempotent producers: from snapshots, from the log behind them, or from the log alone. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { type BatchOptions, encodeBatch, stampBatch } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import {
  listProducerSnapshots,
  readProducerSnapshot,
  snapshotPath,
  writeProducerSnapshot,
} from '../../../engine/log/producer-snapshot-file.ts'
import { ProducerStates } from '../../../engine/log/producer-state.ts'
import { recoverProducers } from '../../../engine/log/recovery-producers.ts'
import { emptySegmentInfo, type RecoveryReport, type SegmentInfo } from '../../../engine/log/recovery-types.ts'
import { logPath, patch, temporaryDirectories } from './recovery-fixture.ts'

const directories = temporaryDirectories('producers')
afterAll(() => directories.removeAll())

interface Built {
  readonly directory: string
  readonly segments: SegmentInfo[]
  /** What is known at each offset where a batch begins or the log ends. */
  readonly known: Map<number, ReturnType<ProducerStates['entries']>>
  readonly logEndOffset: number
}

/** A log of `segmentCount` segments with several producers, some batches without one; a snapshot where each segment begins. */
function build(random: Random, segmentCount: number): Built {
  const directory = directories.next()
  const states = new ProducerStates(Number.POSITIVE_INFINITY)
  const sequences = new Map<number, number>()
  const known: Built['known'] = new Map()
  const segments: SegmentInfo[] = []
  let offset = 0
  for (let index = 0; index < segmentCount; index++) {
    const baseOffset = offset
    const chunks: Buffer[] = []
    if (index > 0) writeProducerSnapshot(directory, offset, states.entries())
    for (let count = random.between(3, 12); count > 0; count--) {
      known.set(offset, states.entries())
      const id = random.below(5)
      const records = Array.from({ length: random.between(1, 4) }, () => ({ timestamp: 5, value: random.bytes(9) }))
      const baseSequence = sequences.get(id) ?? 0
      const options: BatchOptions = id === 0 ? {} : { producerId: id, producerEpoch: 0, baseSequence }
      const region = Region.of(encodeBatch(records, options).bytes)
      stampBatch(region.view, 0, offset, 0)
      if (id !== 0) states.appended(region.view, 0, 0)
      sequences.set(id, baseSequence + records.length)
      chunks.push(region.bytes)
      offset += records.length
    }
    const bytes = Buffer.concat(chunks)
    writeFileSync(logPath(directory, baseOffset), bytes)
    segments.push({ ...emptySegmentInfo(baseOffset), sizeBytes: bytes.length, nextOffset: offset })
  }
  known.set(offset, states.entries())
  return { directory, segments, known, logEndOffset: offset }
}

function recovered(
  { directory, segments }: Built,
  known?: number,
): { entries: unknown; scannedBytes: number; decisions: string[] } {
  const reports: RecoveryReport[] = []
  const { entries, scannedBytes } = recoverProducers(directory, segments, known, reports)
  return { entries: sorted(entries), scannedBytes, decisions: reports.map(({ decision }) => decision) }
}

const byProducer = (a: { producerId: number }, b: { producerId: number }): number => a.producerId - b.producerId
/** The batches of a producer stay in their order. */
const sorted = <T extends { producerId: number }>(entries: readonly T[]): T[] => [...entries].sort(byProducer)

describe('after a crash', () => {
  const random = new Random(testSeed())

  test('one header a batch of the last segment is read, and what is known is what was known', () => {
    for (let round = 0; round < 30; round++) {
      const built = build(random, random.between(1, 5))
      const { entries, scannedBytes, decisions } = recovered(built)
      expect(entries, `seed ${random.seed}`).toEqual(sorted(built.known.get(built.logEndOffset) ?? []))
      expect(scannedBytes).toBe(built.segments.at(-1)?.sizeBytes)
      expect(decisions).toEqual([])
    }
  })

  test('damaged or missing snapshots are done without; the whole log is read once', () => {
    for (let round = 0; round < 30; round++) {
      const built = build(random, 4)
      const { directory, logEndOffset, known } = built
      const offsets = listProducerSnapshots(directory)
      for (const offset of offsets) {
        if (random.chance(0.5)) rmSync(snapshotPath(directory, offset))
        else patch(snapshotPath(directory, offset), random.below(10), Buffer.from([0xff, 0xfe]))
      }
      const damaged = listProducerSnapshots(directory).length
      const first = recovered(built)
      expect(first.entries, `seed ${random.seed}`).toEqual(sorted(known.get(logEndOffset) ?? []))
      expect(first.decisions).toEqual(Array(damaged).fill('rebuild-producers'))
      const again = recovered(built)
      expect(again).toEqual({ entries: first.entries, scannedBytes: 0, decisions: [] })
    }
  })

  test('a log that was cut goes on with what was known there', () => {
    for (let round = 0; round < 30; round++) {
      const built = build(random, 4)
      const offsets = [...built.known.keys()]
      const end = offsets[random.between(1, offsets.length - 1)] as number
      const segments = built.segments
        .filter(({ baseOffset }) => baseOffset < end)
        .map(segment => ({ ...segment, nextOffset: Math.min(segment.nextOffset, end) }))
      const last = segments.at(-1) as SegmentInfo
      const bytes = Region.of(readFileSync(logPath(built.directory, last.baseOffset)))
      let at = 0
      while (at < bytes.length && Number(bytes.view.getBigInt64(at)) < end) at += 12 + bytes.view.getInt32(at + 8)
      segments[segments.length - 1] = { ...last, sizeBytes: at }
      expect(recovered({ ...built, segments }).entries, `seed ${random.seed}`).toEqual(
        sorted(built.known.get(end) ?? []),
      )
    }
  })

  test('strays go: only snapshots where a segment begins, and the newest, are kept', () => {
    const built = build(random, 3)
    const { directory, segments, logEndOffset } = built
    writeProducerSnapshot(directory, 1, [])
    writeProducerSnapshot(directory, logEndOffset, built.known.get(logEndOffset) ?? [])
    recovered(built)
    const bases = segments.slice(1).map(({ baseOffset }) => baseOffset)
    expect(listProducerSnapshots(directory)).toEqual([...new Set([...bases, logEndOffset])])
  })
})

describe('after a clean close', () => {
  const random = new Random(testSeed())

  test('nothing is read', () => {
    const built = build(random, 3)
    const entries = built.known.get(built.logEndOffset) ?? []
    writeProducerSnapshot(built.directory, built.logEndOffset, entries)
    expect(recovered(built, 4)).toEqual({ entries: sorted(entries), scannedBytes: 0, decisions: [] })
    expect(recovered(built, 0)).toEqual({ entries: [], scannedBytes: 0, decisions: [] })
  })

  test('a snapshot that is gone is reported and written anew', () => {
    const built = build(random, 3)
    const entries = sorted(built.known.get(built.logEndOffset) ?? [])
    expect(recovered(built, 4)).toMatchObject({ entries, decisions: ['rebuild-producers'] })
    expect(sorted(readProducerSnapshot(built.directory, built.logEndOffset) ?? [])).toEqual(entries)
    expect(recovered(built, 4)).toEqual({ entries, scannedBytes: 0, decisions: [] })
  })
})
