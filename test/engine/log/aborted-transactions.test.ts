import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { Region } from '../../../engine/format/region.ts'
import { AbortedTransactions } from '../../../engine/log/aborted-transactions.ts'
import { type ForeignBatch, foreignBatch, writeAborted } from './foreign-fixture.ts'
import { temporaryDirectories } from './recovery-fixture.ts'

const folders = temporaryDirectories('aborted')
afterAll(() => folders.removeAll())

test('a folder without any has none', () => {
  const directory = folders.next()
  expect(AbortedTransactions.read(directory)).toBeUndefined()
  writeAborted(directory, 0, [])
  expect(AbortedTransactions.read(directory)).toBeUndefined()
})

test('covers a producer’s offsets from the first record to the marker, over all segments', () => {
  const directory = folders.next()
  writeAborted(directory, 0, [
    [7, 3, 9],
    [8, 5, 11],
  ])
  writeAborted(directory, 20, [[7, 15, 24]])
  const aborted = AbortedTransactions.read(directory)
  const covered = (producerId: number): number[] =>
    Array.from({ length: 30 }, (_, offset) => offset).filter(offset => aborted?.covers(producerId, offset))
  expect(covered(7)).toEqual([3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24])
  expect(covered(8)).toEqual([5, 6, 7, 8, 9, 10, 11])
  expect(covered(9)).toEqual([])
})

test('covers what a plain list covers', () => {
  const lengths = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat(5), fc.boolean()), {
    minLength: 1,
    maxLength: 40,
  })
  fc.assert(
    fc.property(lengths, list => {
      const transactions: [number, number, number][] = []
      let offset = 0
      for (const [records, gap, isAborted] of list) {
        const first = offset + gap
        offset = first + records + 1
        if (isAborted) transactions.push([7, first, offset - 1])
      }
      const directory = folders.next()
      const half = Math.floor(transactions.length / 2)
      writeAborted(directory, 0, transactions.slice(0, half))
      writeAborted(directory, 1, transactions.slice(half))
      const aborted = AbortedTransactions.read(directory)
      for (let at = 0; at <= offset; at++) {
        const expected = transactions.some(([, first, last]) => first <= at && at <= last)
        expect(aborted?.covers(7, at) ?? false).toBe(expected)
      }
    }),
    { numRuns: 50 },
  )
})

test('only batches of the transaction are taken back: none of others, no marker', () => {
  const directory = folders.next()
  writeAborted(directory, 0, [[7, 3, 9]])
  const aborted = AbortedTransactions.read(directory)
  const isIncluded = (batch: ForeignBatch): boolean | undefined =>
    aborted?.includes(Region.of(foreignBatch(batch)).view, 0)
  expect(isIncluded({ offset: 4, records: ['k=v'], producerId: 7 })).toBe(true)
  expect(isIncluded({ offset: 10, records: ['k=v'], producerId: 7 })).toBe(false)
  expect(isIncluded({ offset: 4, records: ['k=v'], producerId: 8 })).toBe(false)
  expect(isIncluded({ offset: 4, records: ['k=v'] })).toBe(false)
  expect(isIncluded({ offset: 9, producerId: 7, end: 'abort' })).toBe(false)
})

test('a damaged file is told, not passed over', () => {
  const directory = folders.next()
  writeFileSync(join(directory, '00000000000000000000.txnindex'), Buffer.alloc(35))
  expect(() => AbortedTransactions.read(directory)).toThrow('CORRUPT_INDEX')
})
