import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterAll, expect, test, vi } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { rewriteSegment } from '../../../engine/log/segment-rewrite.ts'
import { mappingStatistics } from '../../../engine/memory/mapping.ts'
import {
  contentOf,
  logPath,
  type ModelBatch,
  type ModelSegment,
  makeLog,
  patch,
  sizeOf,
  temporaryDirectories,
  writeLog,
} from './recovery-fixture.ts'

const fail = vi.hoisted(() => ({ fdatasync: false }))
vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>()
  return {
    ...fs,
    fdatasyncSync: (fd: number) => {
      if (fail.fdatasync) throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
      fs.fdatasyncSync(fd)
    },
  }
})

const random = new Random(testSeed())
const directories = temporaryDirectories('rewrite')
afterAll(() => directories.removeAll())

function makeFolder(): { directory: string; path: string; segment: ModelSegment; log: Buffer } {
  const directory = directories.next()
  const segments = makeLog(random, 1)
  writeLog(directory, segments, 3_000)
  const segment = segments[0] as ModelSegment
  const path = logPath(directory, segment.baseOffset)
  return { directory, path, segment, log: readFileSync(path) }
}

test('what is kept is in a new file of exactly its length', () => {
  const mapped = mappingStatistics().mappedBytes
  const { directory, path, segment, log } = makeFolder()
  const { baseOffset, batches } = segment
  const inode = statSync(path).ino
  const kept = batches.slice(0, -1)
  const keepBytes = sizeOf(kept)
  const nextOffset = (kept.at(-1) as ModelBatch).lastOffset + 1
  expect(rewriteSegment({ directory, baseOffset, keepBytes })).toEqual({
    bytes: keepBytes,
    validatedBytes: keepBytes,
    nextOffset,
  })
  expect(readFileSync(path).equals(log.subarray(0, keepBytes)), `MILLRACE_SEED=${random.seed}`).toBe(true)
  expect(statSync(path).ino).not.toBe(inode)
  expect(existsSync(`${path}.repair`)).toBe(false)
  expect(rewriteSegment({ directory, baseOffset, keepBytes: 0 })).toEqual({
    bytes: 0,
    validatedBytes: 0,
    nextOffset: baseOffset,
  })
  expect(statSync(path).size).toBe(0)
  expect(mappingStatistics().mappedBytes).toBe(mapped)
})

test('damage in what was flushed is kept with what follows it, and told', () => {
  const { directory, path, segment } = makeFolder()
  const { baseOffset, batches } = segment
  const { position, bytes } = batches[0] as ModelBatch
  patch(path, position + bytes.length - 1, Buffer.of((bytes.at(-1) as number) ^ 1))
  const log = readFileSync(path)
  const keepBytes = sizeOf(batches)
  expect(rewriteSegment({ directory, baseOffset, keepBytes })).toEqual({
    bytes: keepBytes,
    validatedBytes: 0,
    nextOffset: baseOffset,
    fault: { position: 0, reason: 'crc' },
  })
  expect(readFileSync(path).equals(log.subarray(0, keepBytes))).toBe(true)
})

test('a file that is shorter, or has zeros where batches should be, is told', () => {
  const { directory, path, segment, log } = makeFolder()
  const { baseOffset, batches } = segment
  const size = sizeOf(batches)
  expect(rewriteSegment({ directory, baseOffset, keepBytes: size + 100 })).toMatchObject({
    bytes: size + 100,
    validatedBytes: size,
    fault: { position: size },
  })
  writeFileSync(path, log.subarray(0, size))
  expect(rewriteSegment({ directory, baseOffset, keepBytes: size + 100 })).toMatchObject({
    bytes: size,
    validatedBytes: size,
  })
})

test('a failed flush of the new file leaves the old one', () => {
  const { directory, segment } = makeFolder()
  const before = contentOf(directory)
  fail.fdatasync = true
  try {
    const keepBytes = sizeOf(segment.batches)
    expect(() => rewriteSegment({ directory, baseOffset: segment.baseOffset, keepBytes })).toThrow('IO_ERROR')
  } finally {
    fail.fdatasync = false
  }
  expect(contentOf(directory)).toEqual(before)
  expect(() => rewriteSegment({ directory, baseOffset: 999_999, keepBytes: 1 })).toThrow('IO_ERROR')
})
