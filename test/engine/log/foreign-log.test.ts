import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { inspectForeignLog } from '../../../engine/log/foreign-log.ts'
import { type ForeignBatch, foreignBatch, writeAborted, writeForeign } from './foreign-fixture.ts'
import { contentOf, logPath, patch, temporaryDirectories } from './recovery-fixture.ts'

const folders = temporaryDirectories('foreign')
afterAll(() => folders.removeAll())

function folderOf(...segments: readonly ForeignBatch[][]): string {
  const directory = folders.next()
  writeForeign(directory, segments)
  return directory
}

/** What is refused is left as it is. */
function refusal(directory: string): unknown {
  const before = contentOf(directory)
  try {
    inspectForeignLog(directory)
  } catch (error) {
    expect(contentOf(directory)).toEqual(before)
    if (isMillraceError(error)) return { code: error.code, ...error.details }
    throw error
  }
  throw new Error('it was not refused')
}

const one = (offset: number, epoch = 0): ForeignBatch => ({ offset, records: ['k=v'], epoch })

describe('a sound log', () => {
  test('says where it begins and ends, and what lies in closed segments', () => {
    const directory = folderOf([one(5), one(6, 2)], [one(7, 2), { offset: 8, records: ['a=1', 'b=2'], epoch: 4 }])
    expect(inspectForeignLog(directory)).toEqual({
      topicId: undefined,
      logStartOffset: 5,
      logEndOffset: 10,
      recoveryPoint: 7,
      cleanedOffset: 0,
      leaderEpoch: 4,
    })
  })

  test('an empty folder is an empty log', () => {
    const ends = { logStartOffset: 0, logEndOffset: 0, recoveryPoint: 0, cleanedOffset: 0, leaderEpoch: -1 }
    expect(inspectForeignLog(folders.next())).toEqual({ topicId: undefined, ...ends })
  })

  test('knows the id of its topic', () => {
    const directory = folderOf([one(0)])
    writeFileSync(join(directory, 'partition.metadata'), 'version: 0\ntopic_id: 98ENSI2WT86JF8Da5VeCQQ')
    expect(inspectForeignLog(directory).topicId).toBe('f7c10d48-8d96-4fce-8917-c0dae5578241')
  })

  test('offsets that are missing below an end say how far it was compacted', () => {
    expect(inspectForeignLog(folderOf([one(0), one(5), one(6)])).cleanedOffset).toBe(5)
    expect(inspectForeignLog(folderOf([one(0)], [one(9), one(10)])).cleanedOffset).toBe(9)
    const swapping = folderOf([one(0), one(1)])
    writeFileSync(`${logPath(swapping, 0)}.swap`, foreignBatch(one(1)))
    expect(inspectForeignLog(swapping).cleanedOffset).toBe(2)
  })

  test('the last segment may end in a torn batch, or in zeros', () => {
    const torn = folderOf([one(0)], [one(1), one(2)])
    truncateSync(logPath(torn, 1), readFileSync(logPath(torn, 1)).length - 1)
    expect(inspectForeignLog(torn)).toMatchObject({ logEndOffset: 2, recoveryPoint: 1 })
    const zeros = folderOf([one(0)])
    truncateSync(logPath(zeros, 0), 4_096)
    expect(inspectForeignLog(zeros)).toMatchObject({ logEndOffset: 1 })
  })
})

describe('is refused', () => {
  test('damage in a closed segment: it is no crash that did it', () => {
    const directory = folderOf([one(0), one(1)], [one(2)])
    patch(logPath(directory, 0), foreignBatch(one(0)).length + 17, Buffer.from([0, 0, 0, 0]))
    expect(refusal(directory)).toMatchObject({
      code: 'CORRUPT_BATCH',
      reason: 'crc',
      position: foreignBatch(one(0)).length,
    })
  })

  test('segments that share offsets', () => {
    expect(refusal(folderOf([one(0), { offset: 1, records: ['a=1', 'b=2'] }], [one(2)]))).toMatchObject({
      code: 'CORRUPT_BATCH',
      reason: 'order',
    })
  })

  test('another batch format, also where a torn batch would be cut', () => {
    for (const magic of [0, 1, 3]) {
      const directory = folderOf([one(0)])
      patch(logPath(directory, 0), 16, Buffer.from([magic]))
      expect(refusal(directory)).toMatchObject({ code: 'UNSUPPORTED_FORMAT', position: 0 })
    }
  })

  test('a transaction that has not ended', () => {
    const begun: ForeignBatch = { offset: 1, records: ['k=v'], producerId: 9 }
    expect(refusal(folderOf([one(0), begun]))).toMatchObject({ code: 'UNSUPPORTED_FORMAT', producerId: 9, offset: 1 })
    expect(inspectForeignLog(folderOf([one(0), begun, { offset: 2, producerId: 9, end: 'commit' }])).logEndOffset).toBe(
      3,
    )
  })

  test('an aborted transaction that readers could not leave out', () => {
    const batches: ForeignBatch[] = [
      one(0),
      { offset: 1, records: ['k=v'], producerId: 9 },
      { offset: 2, producerId: 9, end: 'abort' },
    ]
    const directory = folderOf(batches)
    expect(refusal(directory)).toMatchObject({ code: 'CORRUPT_INDEX', producerId: 9, offset: 2 })
    writeAborted(directory, 0, [[8, 1, 2]])
    expect(refusal(directory)).toMatchObject({ code: 'CORRUPT_INDEX', producerId: 9, offset: 2 })
    writeAborted(directory, 0, [[9, 1, 2]])
    expect(inspectForeignLog(directory).logEndOffset).toBe(3)
    truncateSync(join(directory, '00000000000000000000.txnindex'), 33)
    expect(refusal(directory)).toMatchObject({ code: 'CORRUPT_INDEX' })
  })
})
