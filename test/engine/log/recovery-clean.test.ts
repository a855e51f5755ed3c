import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { segmentFileName } from '../../../engine/format/file-names.ts'
import { readEpochCheckpoint, writeEpochCheckpoint } from '../../../engine/log/epoch-checkpoint-file.ts'
import { type RecoveryResult, recoverPartition } from '../../../engine/log/recovery.ts'
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
const directories = temporaryDirectories('recovery-clean')
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

describe('after a clean close', () => {
  const closed = (): RecoveryResult => {
    const result = recoverPartition(request(directory))
    truncateSync(pathOf(-1), sizeOf(segment(-1).batches))
    return result
  }

  test('a list that fits the files is trusted, and nothing is read or written', () => {
    const { segments: list } = closed()
    damagePayload(1, 0) // would be found by reading
    const before = contentOf(directory)
    const result = recoverPartition(
      request(directory, { clean: true, segments: list, recoveryPoint: endOffset(segments) }),
    )
    expect(result).toMatchObject({
      segments: list,
      logEndOffset: endOffset(segments),
      epochs: modelEpochs(segments),
      reports: [],
      scannedBytes: 0,
    })
    expect(contentOf(directory)).toEqual(before)
  })

  const spoilers: Record<string, () => void> = {
    'a longer log': () => writeFileSync(pathOf(0), Buffer.concat([readFileSync(pathOf(0)), Buffer.alloc(1)])),
    'a missing index': () => rmSync(join(directory, segmentFileName(segment(0).baseOffset, 'timeindex'))),
    'a segment more': () => writeFileSync(logPath(directory, endOffset(segments)), ''),
    'no epoch checkpoint': () => rmSync(join(directory, 'leader-epoch-checkpoint')),
    'a damaged epoch checkpoint': () => writeFileSync(join(directory, 'leader-epoch-checkpoint'), '0\n9\n'),
  }
  test.each(Object.entries(spoilers))('%s makes every segment be looked at', (_, spoil) => {
    const { segments: list } = closed()
    spoil()
    const result = recoverPartition(
      request(directory, { clean: true, segments: list, recoveryPoint: endOffset(segments) }),
    )
    expect(result.scannedBytes).toBe(segments.reduce((sum, { batches }) => sum + sizeOf(batches), 0))
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(result.segments.slice(0, 4)).toEqual(list)
    expect(result.epochs).toEqual(modelEpochs(segments))
    expect(readEpochCheckpoint(directory)).toEqual({ state: 'sound', entries: modelEpochs(segments) })
  })

  test('a folder from elsewhere is opened without a list', () => {
    closed()
    const result = recoverPartition(request(directory, { clean: true }))
    expect(result.reports).toEqual([])
    expect(result.logEndOffset).toBe(endOffset(segments))
  })

  test('damage in a middle is marked even where no recovery point is known', () => {
    closed()
    damagePayload(1, 1)
    const result = recoverPartition(request(directory, { clean: true }))
    expect(result.logEndOffset).toBe(endOffset(segments))
    expect(result.segments[1]?.quarantined).toContain('crc')
    expect(decisions(result)).toEqual(['quarantine'])
  })

  test('gaps between and inside segments are kept, for the topic may have been compacted', () => {
    closed()
    const batches: ModelBatch[] = []
    for (const jump of [20, 40, 90]) {
      const last = batches.at(-1) ?? batchOf(-1, -1)
      const position = batches.length === 0 ? 0 : last.position + last.bytes.length
      batches.push(makeBatch(random, { position, baseOffset: last.lastOffset + jump, epoch: last.epoch }))
    }
    const baseOffset = (batches[0] as ModelBatch).baseOffset - 3
    writeFileSync(logPath(directory, baseOffset), Buffer.concat(batches.map(({ bytes }) => bytes)))
    const result = recoverPartition(request(directory, { clean: true }))
    expect(result.logEndOffset).toBe((batches.at(-1) as ModelBatch).lastOffset + 1)
    expect(result.segments.every(info => info.quarantined === undefined)).toBe(true)
    expect(decisions(result)).toEqual(['keep', 'rebuild-index'])
  })

  test('an index that is wrong is built anew', () => {
    closed()
    const { baseOffset, batches } = segment(1)
    writeIndexFiles(directory, { baseOffset, batches: batches.slice(0, -1) })
    patch(join(directory, segmentFileName(baseOffset, 'timeindex')), 3, Buffer.of(9))
    const result = recoverPartition(request(directory, { clean: true, recoveryPoint: endOffset(segments) }))
    expect(decisions(result)).toEqual(['rebuild-index'])
    expectIndexed(baseOffset, batches)
  })
})

describe('leader epochs', () => {
  test('entries above the end go, one at the end that has no record yet stays', () => {
    const end = endOffset(segments)
    const known = modelEpochs(segments)
    const { epoch } = batchOf(-1, -1)
    writeEpochCheckpoint(directory, [
      ...known,
      { epoch: epoch + 1, startOffset: end },
      { epoch: epoch + 2, startOffset: end + 1 },
    ])
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(result.epochs).toEqual([...known, { epoch: epoch + 1, startOffset: end }])
    expect(result.leaderEpoch).toBe(epoch + 1)
    expect(result.reports).toEqual([])
    expect(readEpochCheckpoint(directory)).toEqual({ state: 'sound', entries: result.epochs })
  })

  test('a checkpoint that contradicts segments that were not walked makes them be walked', () => {
    writeEpochCheckpoint(directory, [{ epoch: 77, startOffset: segment(0).baseOffset }])
    const result = recoverPartition(request(directory, { recoveryPoint: recoveryPoint() }))
    expect(result.epochs).toEqual(modelEpochs(segments))
    expect(decisions(result)).toEqual(['rewrite-epochs'])
    rmSync(join(directory, 'leader-epoch-checkpoint'))
    expect(recoverPartition(request(directory, { recoveryPoint: recoveryPoint() })).epochs).toEqual(
      modelEpochs(segments),
    )
  })

  test('epochs that began in segments which retention deleted are remembered', () => {
    const { epoch } = batchOf(1, 0)
    rmSync(pathOf(0))
    const file = [...modelEpochs(segments)]
    const kept = file.filter(entry => entry.startOffset < segment(1).baseOffset)
    const result = recoverPartition(request(directory, { logStartOffset: segment(1).baseOffset }))
    expect(result.epochs).toEqual(file)
    expect(kept.length).toBeGreaterThan(0)
    expect(kept.every(entry => entry.epoch <= epoch)).toBe(true)
  })
})
