/**
 * Recovery that is interrupted: after every step that changes something it is stopped as if the process had died there, and a
 * second recovery must end where an undisturbed one does. And real kills at the failpoints.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { segmentFileName } from '../../../engine/format/file-names.ts'
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
  patch,
  request,
  sizeOf,
  temporaryDirectories,
  writeLog,
} from './recovery-fixture.ts'

/** Counts the calls that change something, and throws instead of the one it is told. */
const disk = vi.hoisted(() => ({
  remaining: Number.POSITIVE_INFINITY,
  hasHoles: true,
  step(): void {
    if (disk.remaining-- === 0) throw Object.assign(new Error('the process died here'), { code: 'EIO' })
  },
}))

vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>()
  const counted = <A extends unknown[], R>(call: (...args: A) => R) => {
    return (...args: A): R => {
      disk.step()
      return call(...args)
    }
  }
  return {
    ...fs,
    fdatasyncSync: counted(fs.fdatasyncSync),
    fsyncSync: counted(fs.fsyncSync),
    ftruncateSync: counted(fs.ftruncateSync),
    renameSync: counted(fs.renameSync),
    rmSync: counted(fs.rmSync),
    writeSync: counted(fs.writeSync as (...args: unknown[]) => number),
  }
})

vi.mock('../../../engine/memory/libc.ts', async original => {
  const libc = await original<typeof import('../../../engine/memory/libc.ts')>()
  const punchHole: typeof libc.punchHole = (...args) => {
    disk.step()
    return disk.hasHoles && libc.punchHole(...args)
  }
  return { ...libc, punchHole }
})

const random = new Random(testSeed())
const seed = `MILLRACE_SEED=${random.seed}`
const directories = temporaryDirectories('recovery-crash')
afterAll(() => directories.removeAll())

let directory = ''
let segments: ModelSegment[] = []

beforeEach(() => {
  directory = directories.next()
  segments = makeLog(random, 4, 12)
  writeLog(directory, segments, 3_000)
})

const segment = (index: number): ModelSegment => segments.at(index) as ModelSegment
const batchOf = (index: number, batch: number): ModelBatch => segment(index).batches.at(batch) as ModelBatch

function spoil(index: number, batch: number): void {
  const { position, bytes } = batchOf(index, batch)
  patch(
    logPath(directory, segment(index).baseOffset),
    position + bytes.length - 1,
    Buffer.of((bytes.at(-1) as number) ^ 8),
  )
}

function copy(): string {
  const target = directories.next()
  cpSync(directory, target, { recursive: true })
  return target
}

const answerOf = ({ reports: _, scannedBytes: __, ...answer }: RecoveryResult): object => answer

/** @returns how many steps there were to be stopped at */
function interruptEverywhere(more: Parameters<typeof request>[1]): number {
  const mapped = mappingStatistics().mappedBytes
  const undisturbed = copy()
  const expected = answerOf(recoverPartition(request(undisturbed, more)))
  const content = contentOf(undisturbed)
  for (let step = 0; ; step++) {
    const interrupted = copy()
    disk.remaining = step
    let died = false
    try {
      recoverPartition(request(interrupted, more))
    } catch {
      died = true
    } finally {
      disk.remaining = Number.POSITIVE_INFINITY
    }
    expect(mappingStatistics().mappedBytes, 'an error leaves nothing mapped').toBe(mapped)
    if (!died) return step
    expect(answerOf(recoverPartition(request(interrupted, more))), `step ${step}, ${seed}`).toEqual(expected)
    expect(contentOf(interrupted), `step ${step}, ${seed}`).toEqual(content)
    rmSync(interrupted, { recursive: true })
  }
}

describe('stopped after any step, recovery comes to the same end', () => {
  test('a torn batch with segments behind it', () => {
    spoil(1, 1)
    expect(interruptEverywhere({ recoveryPoint: batchOf(1, 1).baseOffset })).toBeGreaterThan(15)
  })

  test('damage on both sides of the recovery point, and no room to go on in the segment', () => {
    spoil(3, 0)
    const { position, bytes, lastOffset, epoch } = batchOf(3, -1)
    const stale = makeBatch(random, { position: position + bytes.length, baseOffset: lastOffset + 7, epoch })
    patch(logPath(directory, segment(3).baseOffset), stale.position, stale.bytes)
    expect(interruptEverywhere({ recoveryPoint: batchOf(3, 1).baseOffset })).toBeGreaterThan(8)
  })

  test('damage at rest at the end of the log', () => {
    spoil(3, -1)
    expect(interruptEverywhere({ recoveryPoint: endOffset(segments) })).toBeGreaterThan(8)
  })

  test('an interrupted roll, leftovers, a lost checkpoint', () => {
    const path = logPath(directory, segment(2).baseOffset)
    writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.alloc(5_000)]))
    writeFileSync(join(directory, segmentFileName(segment(2).baseOffset, 'index')), Buffer.alloc(8_192))
    writeFileSync(`${path}.repair`, 'half')
    writeFileSync(`${logPath(directory, segment(0).baseOffset)}.deleted`, 'old')
    rmSync(join(directory, 'leader-epoch-checkpoint'))
    expect(interruptEverywhere({ recoveryPoint: segment(3).baseOffset })).toBeGreaterThan(8)
  })

  test('a log start beyond the end', () => {
    expect(interruptEverywhere({ logStartOffset: endOffset(segments) + 5 })).toBeGreaterThan(8)
  })

  test('a folder from elsewhere with every index missing', () => {
    for (const { baseOffset } of segments) rmSync(join(directory, segmentFileName(baseOffset, 'index')))
    expect(interruptEverywhere({ clean: true })).toBeGreaterThan(8)
  })
})

describe('killed at a failpoint, recovery comes to the same end', () => {
  const script = `
    const { recoverPartition } = await import(process.argv[1])
    recoverPartition(JSON.parse(process.argv[2]))`
  const recovery = fileURLToPath(new URL('../../../engine/log/recovery.ts', import.meta.url))

  test.each([
    ['recovery-before-cut', 1],
    ['truncate-before-zero', 1],
    ['truncate-after-zero', 1],
    ['recovery-after-cut', 1],
  ])('%s', (name, pass) => {
    spoil(1, -1)
    const more = { recoveryPoint: batchOf(1, -1).baseOffset }
    const undisturbed = copy()
    const expected = answerOf(recoverPartition(request(undisturbed, more)))
    let signal: unknown
    try {
      execFileSync(
        process.execPath,
        ['--input-type=module', '-e', script, recovery, JSON.stringify(request(directory, more))],
        { env: { ...process.env, MILLRACE_FAILPOINTS: `${name}=kill@${pass}` }, stdio: 'pipe' },
      )
    } catch (error) {
      signal = (error as { signal?: unknown }).signal
    }
    expect(signal).toBe('SIGKILL')
    expect(answerOf(recoverPartition(request(directory, more))), seed).toEqual(expected)
    expect(contentOf(directory), seed).toEqual(contentOf(undisturbed))
  })
})

test('where the file system punches no holes, zeros are written', () => {
  const path = logPath(directory, segment(-1).baseOffset)
  const kept = sizeOf(segment(-1).batches)
  const { lastOffset, epoch } = batchOf(-1, -1)
  patch(path, kept, makeBatch(random, { position: kept, baseOffset: lastOffset + 2, epoch }).bytes)
  disk.hasHoles = false
  try {
    expect(recoverPartition(request(directory)).logEndOffset).toBe(endOffset(segments))
  } finally {
    disk.hasHoles = true
  }
  expect(readFileSync(path).subarray(kept).equals(Buffer.alloc(3_000)), seed).toBe(true)
})
