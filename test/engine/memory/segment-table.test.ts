import { beforeEach, expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { SEGMENT, SegmentEntries, SegmentTable } from '../../../engine/memory/segment-table.ts'
import { printSeed } from './threads.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

const tableOf = (entries: number): SegmentTable =>
  new SegmentTable(new BigInt64Array(new SharedArrayBuffer(entries * SEGMENT.words * 8)))

/** Takes until the share is used up. */
function takeAll(entries: SegmentEntries): number[] {
  const taken: number[] = []
  for (;;) {
    try {
      taken.push(entries.take())
    } catch (error) {
      if (isMillraceError(error, 'TOO_MANY_SEGMENTS')) return taken
      throw error
    }
  }
}

const sorted = (numbers: Iterable<number>): number[] => [...numbers].sort((a, b) => a - b)
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index)

test('an entry takes one cache line and every word has a place of its own', () => {
  const { words, ...places } = SEGMENT
  expect(words * 8).toBe(64)
  expect(sorted(Object.values(places))).toEqual(range(0, words))
})

test('words hold every safe integer, and each entry its own', () => {
  const table = tableOf(3)
  expect(table.capacity).toBe(3)
  table.set(1, SEGMENT.maxTimestamp, Number.MAX_SAFE_INTEGER)
  table.set(1, SEGMENT.nextSegment, -1)
  expect(table.get(1, SEGMENT.maxTimestamp)).toBe(Number.MAX_SAFE_INTEGER)
  expect(table.get(1, SEGMENT.nextSegment)).toBe(-1)
  for (const entry of [0, 2]) {
    for (let word = 0; word < SEGMENT.words; word++) expect(table.get(entry, word)).toBe(0)
  }
})

test('shares do not overlap, and a used-up one says so', () => {
  const table = tableOf(100)
  const shares = range(0, 3).map(share => takeAll(new SegmentEntries(table, share, 3)))
  expect(shares.map(taken => sorted(taken))).toEqual([range(0, 33), range(33, 66), range(66, 99)])
  const full = new SegmentEntries(table, 0, 3, new Set(shares[0]))
  expect(() => full.take()).toThrow(expect.objectContaining({ code: 'TOO_MANY_SEGMENTS', details: { segments: 100 } }))
  full.give(5)
  expect(full.take()).toBe(5)
})

test('an entry that is taken ends its list', () => {
  const table = tableOf(4)
  const entries = new SegmentEntries(table, 0, 1)
  const entry = entries.take()
  expect(table.get(entry, SEGMENT.nextSegment)).toBe(-1)
  table.set(entry, SEGMENT.nextSegment, 3)
  entries.give(entry)
  // A walker that was overtaken stops here: the mark of a free entry is no entry.
  expect(table.get(entry, SEGMENT.nextSegment)).toBeLessThan(0)
  expect(entries.take()).toBe(entry)
  expect(table.get(entry, SEGMENT.nextSegment)).toBe(-1)
})

test('an entry that is freed twice is a bug', () => {
  const entries = new SegmentEntries(tableOf(4), 0, 1)
  const entry = entries.take()
  entries.give(entry)
  expect(() => entries.give(entry)).toThrow('freed once')
})

test('entries in use when the share is set up are not given out, in any number', () => {
  const random = new Random(seed)
  for (let round = 0; round < 50; round++) {
    const shares = random.between(1, 4)
    const share = random.below(shares)
    const capacity = random.between(shares, 60)
    const size = Math.floor(capacity / shares)
    const inUse = new Set(range(share * size, (share + 1) * size).filter(() => random.chance(0.4)))
    const entries = new SegmentEntries(tableOf(capacity), share, shares, inUse)
    const free = range(share * size, (share + 1) * size).filter(entry => !inUse.has(entry))
    expect(sorted(takeAll(entries)), seedText).toEqual(free)
  }
})

test('random takes and gives agree with a set', () => {
  const random = new Random(seed)
  for (let round = 0; round < 30; round++) {
    const size = random.between(1, 40)
    const table = tableOf(2 * size)
    const inUse = new Set(range(size, 2 * size).filter(() => random.chance(0.2)))
    const entries = new SegmentEntries(table, 1, 2, inUse)
    const taken = new Set(inUse)
    for (let turn = 0; turn < 500; turn++) {
      if (random.chance(0.55)) {
        if (taken.size === size) {
          expect(() => entries.take(), seedText).toThrow(expect.objectContaining({ code: 'TOO_MANY_SEGMENTS' }))
          continue
        }
        const entry = entries.take()
        expect(entry >= size && entry < 2 * size && !taken.has(entry), seedText).toBe(true)
        taken.add(entry)
      } else if (taken.size > 0) {
        const entry = random.pick([...taken])
        entries.give(entry)
        taken.delete(entry)
      }
    }
    // The other share was never touched.
    for (let entry = 0; entry < size; entry++) expect(table.get(entry, SEGMENT.nextSegment)).toBe(0)
  }
})
