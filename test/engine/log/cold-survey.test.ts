/** A folder that nobody owns, as a reader finds it: after a clean close, after a crash, and while files are missing. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { surveyCold } from '../../../engine/log/cold-survey.ts'
import { recoverPartition } from '../../../engine/log/recovery.ts'
import {
  contentOf,
  endOffset,
  logPath,
  makeLog,
  patch,
  request,
  sizeOf,
  temporaryDirectories,
  writeLog,
} from './recovery-fixture.ts'

const directories = temporaryDirectories('cold-survey')
afterAll(() => directories.removeAll())

const random = new Random(testSeed())

test('an empty folder and one that is not there hold no segments', () => {
  const directory = directories.next()
  expect(surveyCold(directory, undefined)).toEqual([])
  rmSync(directory, { recursive: true })
  expect(surveyCold(directory, undefined)).toEqual([])
})

test('after a clean close the known segments are taken as they are', () => {
  const directory = directories.next()
  writeLog(directory, makeLog(random, 3))
  const recovered = recoverPartition(request(directory))
  const before = contentOf(directory)
  expect(surveyCold(directory, recovered.segments)).toEqual(recovered.segments)
  expect(contentOf(directory)).toEqual(before)
})

test('a random log that was not closed ends where recovery would end it, and nothing is changed', () => {
  for (let round = 0; round < 20; round++) {
    const directory = directories.next()
    const log = makeLog(random, random.between(1, 4))
    writeLog(directory, log, random.pick([0, 1, 5_000, 65_536]))
    const last = log.at(-1)
    const tear = random.chance(0.5) && last !== undefined
    if (tear) {
      // The last batch is torn: its second half was never written.
      const batch = last.batches.at(-1)
      const at = (batch?.position ?? 0) + Math.floor((batch?.bytes.length ?? 0) / 2)
      const path = logPath(directory, last.baseOffset)
      patch(path, at, Buffer.alloc(Math.min(batch?.bytes.length ?? 0, statSync(path).size - at)))
    }
    const before = contentOf(directory)
    const found = surveyCold(directory, undefined)
    const label = `MILLRACE_SEED=${random.seed}, round ${round}`
    expect(contentOf(directory), label).toEqual(before)
    const recovered = recoverPartition(request(directory, { recoveryPoint: log[0]?.baseOffset ?? 0 }))
    expect(found.at(-1)?.nextOffset, label).toBe(recovered.logEndOffset)
    expect(
      found.map(({ baseOffset, sizeBytes, maxTimestamp }) => ({ baseOffset, sizeBytes, maxTimestamp })),
      label,
    ).toEqual(
      recovered.segments.map(({ baseOffset, sizeBytes, maxTimestamp }) => ({ baseOffset, sizeBytes, maxTimestamp })),
    )
    if (!tear) expect(found.at(-1)?.nextOffset).toBe(endOffset(log))
    rmSync(directory, { recursive: true })
  }
})

test('a segment whose length is not the known one is walked', () => {
  const directory = directories.next()
  const log = makeLog(random, 2, 20)
  writeLog(directory, log)
  const known = recoverPartition(request(directory)).segments
  const last = log.at(-1)
  const path = logPath(directory, last?.baseOffset ?? 0)
  const lastBatch = last?.batches.at(-1)
  truncateSync(path, lastBatch?.position ?? 0)
  const found = surveyCold(directory, known)
  expect(found[0]).toEqual(known[0])
  expect(found[1]).toMatchObject({
    sizeBytes: sizeOf(last?.batches.slice(0, -1) ?? []),
    nextOffset: lastBatch?.baseOffset,
  })
  expect([found[1]?.offsetEntries, found[1]?.timeEntries]).toEqual([0, 0]) // its indexes are not trusted
})

test('other files in the folder do not matter', () => {
  const directory = directories.next()
  const log = makeLog(random, 1)
  writeLog(directory, log)
  writeFileSync(join(directory, 'notes.log'), 'not a segment')
  mkdirSync(join(directory, 'folder'))
  expect(surveyCold(directory, undefined)).toHaveLength(1)
  expect(readdirSync(directory)).toContain('notes.log')
  expect(readFileSync(join(directory, 'notes.log'), 'utf8')).toBe('not a segment')
})
