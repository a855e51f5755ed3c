import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { segmentFileName } from '../../../engine/format/file-names.ts'
import { readEpochCheckpoint } from '../../../engine/log/epoch-checkpoint-file.ts'
import { type RecoveryResult, recoverPartition } from '../../../engine/log/recovery.ts'
import { mappingStatistics } from '../../../engine/memory/mapping.ts'
import {
  contentOf,
  endOffset,
  logPath,
  type ModelBatch,
  type ModelSegment,
  makeBatch,
  makeLog,
  modelEpochs,
  modelIndex,
  patch,
  readIndexFiles,
  request,
  sizeOf,
  temporaryDirectories,
  writeIndexFiles,
  writeLog,
} from './recovery-fixture.ts'

const random = new Random(testSeed())
const seed = `MILLRACE_SEED=${random.seed}`
const directories = temporaryDirectories('recovery')
afterAll(() => directories.removeAll())

let directory = ''
let segments: ModelSegment[] = []

beforeEach(() => {
  directory = directories.next()
  segments = makeLog(random, 4)
  writeLog(directory, segments, 4_000)
})

const segment = (index: number): ModelSegment => segments.at(index) as ModelSegment
const batchOf = (index: number, batch: number): ModelBatch => segment(index).batches.at(batch) as ModelBatch
const pathOf = (index: number): string => logPath(directory, segment(index).baseOffset)
const recoveryPoint = (): number => segment(2).baseOffset

const damagePayload = (index: number, batch: number): void => {
  const { position, bytes } = batchOf(index, batch)
  patch(pathOf(index), position + bytes.length - 1, Buffer.of((bytes.at(-1) as number) ^ 0x40))
}

const decisions = ({ reports }: RecoveryResult): string[] => reports.map(({ decision }) => decision)

function expectIndexed(baseOffset: number, batches: readonly ModelBatch[]): void {
  expect(readIndexFiles(directory, baseOffset), seed).toEqual(modelIndex(baseOffset, batches))
}

function expectZerosBehind(path: string, position: number): void {
  const bytes = readFileSync(path).subarray(position)
  expect(bytes.equals(Buffer.alloc(bytes.length)), seed).toBe(true)
}

describe('after a crash', () => {
  test('a whole log is kept, its tail zeroed, its indexes are right, and nothing stays mapped', () => {
    const before = mappingStatistics().mappedBytes
    patch(pathOf(-1), sizeOf(segment(-1).batches) + 500, Buffer.from('stale bytes'))
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(result.reports).toEqual([])
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(result.logStartOffset).toBe(segment(0).baseOffset)
    expect(result.epochs).toEqual(modelEpochs(segments))
    expect(result.leaderEpoch).toBe(batchOf(-1, -1).epoch)
    for (const [index, info] of result.segments.entries()) {
      const { baseOffset, batches } = segment(index)
      const maxTimestamp = Math.max(...batches.map(batch => batch.maxTimestamp))
      const model = modelIndex(baseOffset, batches)
      expect(info, seed).toEqual({
        baseOffset,
        sizeBytes: sizeOf(batches),
        nextOffset: batchOf(index, -1).lastOffset + 1,
        maxTimestamp,
        maxTimestampOffset: batches.find(batch => batch.maxTimestamp === maxTimestamp)?.lastOffset,
        firstTimestamp: batchOf(index, 0).baseTimestamp,
        offsetEntries: model.offsets.length,
        timeEntries: model.times.length,
        indexedPosition: sizeOf(batches),
      })
      expectIndexed(baseOffset, batches)
    }
    expectZerosBehind(pathOf(-1), sizeOf(segment(-1).batches))
    expect(statSync(pathOf(-1)).size).toBe(sizeOf(segment(-1).batches) + 4_000)
    expect(mappingStatistics().mappedBytes).toBe(before)
  })

  test('what lies below the recovery point is not read, but for its edges', () => {
    const all = segments.reduce((sum, { batches }) => sum + sizeOf(batches), 0)
    const above = sizeOf(segment(2).batches) + sizeOf(segment(3).batches)
    expect(recoverPartition(request(directory, { recoveryPoint: recoveryPoint() })).scannedBytes).toBe(above)
    expect(recoverPartition(request(directory)).scannedBytes).toBe(all)
  })

  test('a torn batch above the recovery point ends the log, and later segments are gone', () => {
    damagePayload(2, 1)
    const { position, baseOffset } = batchOf(2, 1)
    const length = statSync(pathOf(2)).size
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(result.logEndOffset).toBe(baseOffset)
    expect(result.segments).toHaveLength(3)
    expect(existsSync(pathOf(3))).toBe(false)
    expect(existsSync(join(directory, segmentFileName(segment(3).baseOffset, 'index')))).toBe(false)
    expect(result.reports).toEqual([
      { path: pathOf(2), position, reason: 'crc', decision: 'truncate', bytes: length - position },
      {
        path: pathOf(3),
        position: 0,
        reason: 'behind the end of the log',
        decision: 'drop',
        bytes: sizeOf(segment(3).batches) + 4_000,
      },
    ])
    expectZerosBehind(pathOf(2), position)
    expect(statSync(pathOf(2)).size, 'the file may be mapped to its end').toBe(length)
    expectIndexed(segment(2).baseOffset, segment(2).batches.slice(0, 1))
    // An epoch that began with the torn batch has begun all the same.
    const known = modelEpochs(segments).filter(({ startOffset }) => startOffset <= baseOffset)
    expect(result.epochs, seed).toEqual(known)
    expect(readEpochCheckpoint(directory)).toEqual({ state: 'sound', entries: known })
  })

  test('a stale batch with a valid CRC and fitting offsets behind a torn one does not come back', () => {
    const torn = batchOf(-1, -1)
    const end = torn.position + torn.bytes.length
    const stale = makeBatch(random, { position: end, baseOffset: torn.lastOffset + 1, epoch: torn.epoch })
    patch(pathOf(-1), end, stale.bytes)
    patch(pathOf(-1), torn.position + 61, Buffer.alloc(torn.bytes.length - 61))
    const first = recoverPartition(request(directory))
    expect(first.logEndOffset).toBe(torn.baseOffset)
    // Another batch of the same length is appended, torn in another way.
    patch(pathOf(-1), torn.position, torn.bytes)
    expect(recoverPartition(request(directory)).logEndOffset).toBe(torn.lastOffset + 1)
    expectZerosBehind(pathOf(-1), end)
  })

  test('a stale batch where nothing tears before it is cut by its offset', () => {
    const { position, bytes, lastOffset, epoch } = batchOf(-1, -1)
    const end = position + bytes.length
    patch(pathOf(-1), end, makeBatch(random, { position: end, baseOffset: lastOffset + 5, epoch }).bytes)
    const result = recoverPartition(request(directory))
    expect(result.logEndOffset).toBe(lastOffset + 1)
    expect(result.reports).toMatchObject([{ position: end, reason: 'gap', decision: 'truncate' }])
    expectZerosBehind(pathOf(-1), end)
  })

  test('damage below the recovery point is marked and reported, and what follows stays', () => {
    damagePayload(2, 0)
    const { position, bytes } = batchOf(2, 0)
    const point = batchOf(2, 1).baseOffset
    const result = recoverPartition(request(directory, { recoveryPoint: point }))
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(result.segments.map(info => info.quarantined)).toEqual([undefined, undefined, 'crc at 0', undefined])
    expect(result.reports).toEqual([
      { path: pathOf(2), position, reason: 'crc', decision: 'quarantine', bytes: bytes.length },
    ])
    expect(readFileSync(pathOf(2)).length).toBe(sizeOf(segment(2).batches))
    const behind = batchOf(2, 1)
    const entry = { relativeOffset: behind.lastOffset - segment(2).baseOffset, position: behind.position }
    expect(readIndexFiles(directory, segment(2).baseOffset).offsets).toContainEqual(entry)
    // The mark is found again when the recovery point has moved on, and taken away when the file was repaired.
    const later = recoverPartition(request(directory, { recoveryPoint: endOffset(segments) }))
    expect(later.segments).toEqual(result.segments)
    patch(pathOf(2), 0, Buffer.concat(segment(2).batches.map(batch => batch.bytes)))
    expect(recoverPartition(request(directory, { recoveryPoint: point })).segments[2]).not.toHaveProperty('quarantined')
  })

  test('damage below the recovery point in the last segment lets appends go on in a new one', () => {
    damagePayload(3, -1)
    const end = endOffset(segments)
    const result = recoverPartition(request(directory, { recoveryPoint: end }))
    expect(result.logEndOffset).toBe(end)
    expect(result.segments).toHaveLength(5)
    expect(result.segments[3]).toMatchObject({ sizeBytes: sizeOf(segment(3).batches), nextOffset: end })
    expect(result.segments[4]).toEqual({
      baseOffset: end,
      sizeBytes: 0,
      nextOffset: end,
      maxTimestamp: -1,
      maxTimestampOffset: -1,
      firstTimestamp: -1,
      offsetEntries: 0,
      timeEntries: 0,
      indexedPosition: 0,
    })
    expect(statSync(logPath(directory, end)).size).toBe(0)
    expect(decisions(result)).toEqual(['quarantine', 'roll'])
    expect(recoverPartition(request(directory, { recoveryPoint: end })).segments).toEqual(result.segments)
  })

  test('damage on both sides of the recovery point: the one is marked, the other cut, and appends go on elsewhere', () => {
    segments[3] = { baseOffset: segment(3).baseOffset, batches: [] }
    let position = 0
    let { baseOffset } = segment(3)
    for (let i = 0; i < 6; i++) {
      const batch = makeBatch(random, { position, baseOffset, epoch: 99 })
      segment(3).batches.push(batch)
      position += batch.bytes.length
      baseOffset = batch.lastOffset + 1
    }
    writeLog(directory, segments, 100)
    damagePayload(3, 1)
    damagePayload(3, 4)
    const result = recoverPartition(request(directory, { recoveryPoint: batchOf(3, 2).baseOffset }))
    const cut = batchOf(3, 4)
    expect(result.logEndOffset).toBe(cut.baseOffset)
    expect(result.segments[3]).toMatchObject({
      sizeBytes: cut.position,
      quarantined: `crc at ${batchOf(3, 1).position}`,
    })
    expect(result.segments[4]).toMatchObject({ baseOffset: cut.baseOffset, sizeBytes: 0 })
    expect(decisions(result)).toEqual(['truncate', 'quarantine', 'roll'])
    const again = recoverPartition(request(directory, { recoveryPoint: batchOf(3, 2).baseOffset }))
    expect(again.segments).toEqual(result.segments)
  })

  test('zeros below the recovery point are damage, above it they are the end', () => {
    const hurt = batchOf(3, 0)
    patch(pathOf(3), 0, Buffer.alloc(hurt.bytes.length))
    const below = recoverPartition(request(directory, { recoveryPoint: batchOf(3, 1).baseOffset }))
    expect(below.logEndOffset).toBe(endOffset(segments))
    expect(below.segments[3]?.quarantined).toBe('zeros at 0')
    const above = recoverPartition(request(directory, { recoveryPoint: hurt.baseOffset }))
    expect(above.logEndOffset).toBe(hurt.baseOffset)
  })

  test('a closed segment of which pages never reached the disk ends the log', () => {
    const lost = batchOf(2, 1)
    patch(pathOf(2), lost.position, Buffer.alloc(sizeOf(segment(2).batches) - lost.position))
    for (const compacted of [false, true]) {
      const copy = directories.next()
      for (const name of Object.keys(contentOf(directory))) {
        writeFileSync(join(copy, name), readFileSync(join(directory, name)))
      }
      const result = recoverPartition(request(copy, { recoveryPoint: recoveryPoint(), compacted }))
      expect(result.logEndOffset).toBe(lost.baseOffset)
      expect(existsSync(logPath(copy, segment(3).baseOffset))).toBe(false)
    }
  })

  test('closing a segment was interrupted: it is cut to its content and its indexes are built anew', () => {
    const { baseOffset, batches } = segment(1)
    writeFileSync(pathOf(1), Buffer.concat([readFileSync(pathOf(1)), Buffer.alloc(10_000)]))
    writeFileSync(join(directory, segmentFileName(baseOffset, 'index')), Buffer.alloc(16_384))
    writeFileSync(join(directory, segmentFileName(baseOffset, 'timeindex')), Buffer.alloc(16_380))
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(decisions(result)).toEqual(['rebuild-index'])
    expect(statSync(pathOf(1)).size).toBe(sizeOf(batches))
    expectIndexed(baseOffset, batches)
  })

  test('stale bytes behind a segment that is complete go without the next one', () => {
    writeFileSync(pathOf(2), Buffer.concat([readFileSync(pathOf(2)), Buffer.alloc(300, 0x55)]))
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(statSync(pathOf(2)).size).toBe(sizeOf(segment(2).batches))
    expect(result.reports).toMatchObject([{ decision: 'cut-tail', bytes: 300, position: sizeOf(segment(2).batches) }])
  })

  test('a lost middle segment ends the log above the recovery point and is reported below it', () => {
    rmSync(pathOf(1))
    const below = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(below.logEndOffset).toBe(endOffset(segments))
    expect(below.segments).toHaveLength(3)
    expect(below.reports).toMatchObject([
      { decision: 'finish-delete', reason: 'companion' },
      { decision: 'finish-delete', reason: 'companion' },
      { path: pathOf(0), reason: 'offsets are missing behind it', decision: 'keep' },
    ])
    const above = recoverPartition(request(directory, { recoveryPoint: 0 }))
    expect(above.logEndOffset).toBe(segment(1).baseOffset)
    expect(above.segments).toHaveLength(1)
    expect(existsSync(pathOf(3))).toBe(false)
  })

  test('a segment that came back behind a truncation loses against the log that went on', () => {
    const { lastOffset, epoch } = batchOf(-1, -1)
    const revived: ModelSegment = { baseOffset: lastOffset, batches: [] }
    revived.batches.push(makeBatch(random, { position: 0, baseOffset: lastOffset, epoch, records: 50 }))
    writeFileSync(logPath(directory, lastOffset), (revived.batches[0] as ModelBatch).bytes)
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    // A batch of one record that is the revived segment's whole overlap makes no difference to the rule.
    expect(result.logEndOffset).toBe(lastOffset + 1)
    expect(existsSync(logPath(directory, lastOffset))).toBe(false)
  })

  test('an overlap below the recovery point deletes nothing', () => {
    const inside = batchOf(0, 1)
    writeFileSync(logPath(directory, inside.baseOffset), inside.bytes)
    writeIndexFiles(directory, { baseOffset: inside.baseOffset, batches: [{ ...inside, position: 0 }] })
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(result.segments).toHaveLength(5)
    expect(result.segments[0]).toMatchObject({ nextOffset: inside.baseOffset, sizeBytes: inside.position })
    expect(result.segments[0]?.quarantined).toContain('shared')
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(statSync(pathOf(0)).size).toBe(sizeOf(segment(0).batches))
  })

  test('an empty file between segments goes, an empty last one stays', () => {
    const end = endOffset(segments)
    writeFileSync(logPath(directory, end), '')
    const result = recoverPartition(request(directory, { recoveryPoint: end }))
    expect(result.segments.at(-1)).toMatchObject({ baseOffset: end, sizeBytes: 0, nextOffset: end })
    const strange = segment(0).baseOffset + 1
    expect(strange).toBeLessThan(segment(1).baseOffset)
    writeFileSync(pathOf(0), '')
    const again = recoverPartition(request(directory, { recoveryPoint: end }))
    expect(again.segments[0]?.baseOffset).toBe(segment(1).baseOffset)
    expect(again.reports).toMatchObject([{ path: pathOf(0), decision: 'drop' }])
  })

  test('a recovery point above the end is reported and cuts nothing', () => {
    const end = endOffset(segments)
    const result = recoverPartition(request(directory, { recoveryPoint: end + 100 }))
    expect(result.logEndOffset).toBe(end)
    expect(result.reports).toMatchObject([{ decision: 'keep' }])
  })

  test('offsets that jump are damage, except in a topic that was compacted', () => {
    const { lastOffset, epoch, position, bytes } = batchOf(-1, -1)
    const batch = makeBatch(random, { position: position + bytes.length, baseOffset: lastOffset + 9, epoch })
    patch(pathOf(-1), batch.position, batch.bytes)
    const compacted = recoverPartition(request(directory, { compacted: true }))
    expect(compacted.logEndOffset).toBe(batch.lastOffset + 1)
    expect(compacted.reports).toEqual([])
    expect(recoverPartition(request(directory)).logEndOffset).toBe(lastOffset + 1)
  })

  test('a leader epoch that only damage can have made does not outlive it', () => {
    const hurt = batchOf(3, 0)
    const raised = Buffer.alloc(4)
    raised.writeInt32BE(hurt.epoch + 5_000)
    patch(pathOf(3), hurt.position + 12, raised)
    const result = recoverPartition(request(directory, { recoveryPoint: batchOf(3, 1).baseOffset }))
    expect(result.leaderEpoch, seed).toBe(batchOf(3, -1).epoch)
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(result.segments[3]?.quarantined).toBe('epoch at 0')
  })

  test('the log start offset finishes deletions, and never lies above the end', () => {
    const start = batchOf(1, -1).baseOffset
    const some = recoverPartition(request(directory, { logStartOffset: start, recoveryPoint: recoveryPoint() }))
    expect(some.logStartOffset).toBe(start)
    expect(existsSync(pathOf(0))).toBe(false)
    expect(some.segments[0]?.baseOffset).toBe(segment(1).baseOffset)
    const beyond = endOffset(segments) + 10
    const none = recoverPartition(request(directory, { logStartOffset: beyond }))
    expect(none).toMatchObject({ logStartOffset: beyond, logEndOffset: beyond })
    expect(none.segments.map(info => info.baseOffset)).toEqual([beyond])
    expect(existsSync(logPath(directory, beyond))).toBe(true)
  })
})

describe('folders', () => {
  test('one that is not there is an error, an empty one begins anew', () => {
    expect(() => recoverPartition(request(join(directory, 'nowhere')))).toThrow('DIRECTORY_NOT_FOUND')
    expect(() => recoverPartition(request(pathOf(0)))).toThrow('DIRECTORY_NOT_FOUND')
    const empty = directories.next()
    const result = recoverPartition(request(empty, { logStartOffset: 7 }))
    expect(result).toMatchObject({ logStartOffset: 7, logEndOffset: 7, leaderEpoch: -1, epochs: [], reports: [] })
    expect(Object.keys(contentOf(empty))).toEqual([segmentFileName(7, 'log')])
  })

  test('offsets that were safe are not given again when every file is gone', () => {
    const result = recoverPartition(request(directories.next(), { recoveryPoint: 900 }))
    expect(result).toMatchObject({ logStartOffset: 900, logEndOffset: 900 })
    expect(result.reports).toMatchObject([{ decision: 'roll' }])
  })

  test('what an interrupted step left is tidied up', () => {
    const name = (offset: number, rest: string): string => segmentFileName(offset, 'log').replace('log', rest)
    const orphan = endOffset(segments) + 1_000
    const leftovers = [
      name(segment(0).baseOffset, 'log.deleted'),
      name(segment(0).baseOffset, 'index.deleted'),
      name(segment(1).baseOffset, 'log.repair'),
      name(segment(1).baseOffset, 'timeindex.repair'),
      name(segment(1).baseOffset, 'log.swap'),
      name(segment(2).baseOffset, 'log.cleaned'),
      'leader-epoch-checkpoint.repair',
      'leader-epoch-checkpoint.tmp',
      name(orphan, 'index'),
      name(orphan, 'timeindex'),
      name(orphan, 'quarantined'),
    ]
    const before = Object.keys(contentOf(directory))
    const strangers = ['partition.metadata', 'notes.tmp', 'my.log.deleted']
    for (const file of [...leftovers, ...strangers]) writeFileSync(join(directory, file), 'x')
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    const snapshot = name(result.logEndOffset, 'snapshot') // there was none, so the log was read for producers
    expect(Object.keys(contentOf(directory)).sort()).toEqual([...before, ...strangers, snapshot].sort())
    expect(decisions(result)).toEqual(leftovers.map(() => 'finish-delete'))
  })

  test('a replacement that is the only copy is put in place', () => {
    const content = readFileSync(pathOf(1))
    writeFileSync(`${pathOf(1)}.swap`, content)
    rmSync(pathOf(1))
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(readFileSync(pathOf(1)).equals(content)).toBe(true)
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(result.segments).toHaveLength(4)
  })

  test('producer snapshots above the end go', () => {
    const end = endOffset(segments)
    for (const offset of [end - 1, end, end + 1])
      writeFileSync(join(directory, segmentFileName(offset, 'snapshot')), 'x')
    recoverPartition(request(directory))
    expect(existsSync(join(directory, segmentFileName(end, 'snapshot')))).toBe(true)
    expect(existsSync(join(directory, segmentFileName(end + 1, 'snapshot')))).toBe(false)
  })
})
