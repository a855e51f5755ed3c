import { beforeEach, describe, expect, test } from 'vitest'
import { testSeed } from '../../../engine/base/random.ts'
import { ControlBlock, type PartitionSnapshot, SLOT } from '../../../engine/memory/control-block.ts'
import { SEGMENT, SegmentTable } from '../../../engine/memory/segment-table.ts'
import type { ChangeReport, ChangingPartition } from './changing-partition.ts'
import { printSeed, runThread, SHARE } from './threads.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

const { words: slotWords, ...places } = SLOT
const wordCount = Object.keys(places).length

function block(slots = 3) {
  const words = new BigInt64Array(new SharedArrayBuffer(slots * SLOT.words * 8))
  return { words, control: new ControlBlock(words) }
}

test('every word of a slot has a place of its own, and slots are whole cache lines', () => {
  expect(new Set(Object.values(places)).size).toBe(wordCount)
  expect(Math.max(...Object.values(places))).toBeLessThan(slotWords)
  expect((slotWords * 8) % 64).toBe(0)
})

test('words hold every safe integer, and each slot its own', () => {
  const { words, control } = block()
  for (const value of [0, -1, 1, 2 ** 31, 2 ** 32, 2 ** 47, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
    control.set(1, SLOT.highWatermark, value)
    expect(control.get(1, SLOT.highWatermark)).toBe(value)
  }
  control.set(1, SLOT.highWatermark, 5)
  expect(words.filter(word => word !== 0n)).toEqual(new BigInt64Array([5n]))
  expect(words[SLOT.words + SLOT.highWatermark]).toBe(5n)
})

test('add and exchange give the value before; swap only replaces what it expects', () => {
  const { control } = block()
  expect(control.add(0, SLOT.state, 7)).toBe(0)
  expect(control.add(0, SLOT.state, -3)).toBe(7)
  expect(control.exchange(0, SLOT.state, 9)).toBe(4)
  expect(control.swap(0, SLOT.state, 8, 1)).toBe(false)
  expect(control.get(0, SLOT.state)).toBe(9)
  expect(control.swap(0, SLOT.state, 9, -1)).toBe(true)
  expect(control.swap(0, SLOT.state, -1, 2)).toBe(true)
  expect(control.get(0, SLOT.state)).toBe(2)
})

test('a slot that is cleared is empty, for another partition, and its generations go on rising', () => {
  const { control, words } = block()
  for (let word = 0; word < SLOT.words; word++) control.set(1, word, 1_000 + word)
  control.set(1, SLOT.generation, 40)
  control.set(1, SLOT.slotGeneration, 6)
  control.clear(1)
  expect(control.get(1, SLOT.generation)).toBe(42)
  expect(control.get(1, SLOT.slotGeneration)).toBe(7)
  expect([control.get(1, SLOT.headSegment), control.get(1, SLOT.tailSegment)]).toEqual([-1, -1])
  const set = [SLOT.generation, SLOT.slotGeneration, SLOT.headSegment, SLOT.tailSegment] as number[]
  for (let word = 0; word < SLOT.words; word++) {
    if (!set.includes(word)) expect(control.get(1, word), `word ${word}`).toBe(0)
  }
  expect(words.subarray(0, SLOT.words).every(word => word === 0n)).toBe(true)
  expect(words.subarray(2 * SLOT.words).every(word => word === 0n)).toBe(true)
})

test('clearing ends the change that a dead thread began', () => {
  const { control } = block()
  control.beginChange(0)
  expect(control.snapshot(0, 10)).toBeUndefined()
  control.clear(0)
  expect(control.get(0, SLOT.generation) % 2).toBe(0)
  expect(control.snapshot(0, 10)).toBeDefined()
  control.beginChange(0)
  expect(control.snapshot(0, 10)).toBeUndefined()
})

test('a snapshot has each word, and there is none while the partition changes', () => {
  const { control } = block()
  const picture: Omit<PartitionSnapshot, 'generation'> = {
    logStartOffset: 11,
    logEndOffset: 2 ** 52,
    highWatermark: 33,
    lastStableOffset: 32,
    flushedOffset: 31,
    leaderEpoch: 5,
    segmentCount: 2,
    headSegment: 1_234,
  }
  for (const [name, value] of Object.entries(picture)) control.set(2, SLOT[name as keyof typeof picture], value)
  expect(control.snapshot(2)).toEqual({ ...picture, generation: 0 })
  control.beginChange(2)
  expect(control.snapshot(2, 5)).toBeUndefined()
  expect(control.snapshot(1)).toBeDefined()
  control.endChange(2)
  expect(control.snapshot(2)).toEqual({ ...picture, generation: 2 })
})

describe('beside a thread that changes the partition all the time', () => {
  const SNAPSHOTS = 100_000 * SHARE
  const GENERATIONS = 500 * SHARE
  const SLOT_OF_IT = 1

  /** What every snapshot must say by itself. */
  function tornSnapshot(snapshot: PartitionSnapshot): string | undefined {
    const { generation, leaderEpoch, logStartOffset, segmentCount, headSegment } = snapshot
    const { lastStableOffset, highWatermark, logEndOffset, flushedOffset } = snapshot
    if (generation % 2 !== 0) return 'an odd generation'
    if (segmentCount === 0) {
      // Between two partitions: nothing of either.
      const sum = logStartOffset + leaderEpoch + lastStableOffset + highWatermark + logEndOffset + flushedOffset
      return sum === 0 && headSegment === -1 ? undefined : 'half cleared'
    }
    if (leaderEpoch !== generation / 2) return 'an epoch of another generation'
    if (lastStableOffset > highWatermark) return 'LSO > HW'
    if (highWatermark > flushedOffset) return 'HW > flushed offset'
    if (flushedOffset > logEndOffset) return 'flushed offset > LEO'
    return undefined
  }

  /** What a list must be that was walked while the generation stayed the same. */
  function tornList({ logStartOffset, segmentCount, logEndOffset }: PartitionSnapshot, bases: number[]) {
    if (bases.length !== segmentCount) return 'a list of another length'
    if (segmentCount === 0) return undefined
    if (bases[0] !== logStartOffset) return 'a list that does not begin at the log start'
    if (bases.some((base, index) => index > 0 && base <= (bases[index - 1] as number))) return 'a list out of order'
    if ((bases.at(-1) as number) > logEndOffset) return 'a segment behind the end'
    return undefined
  }

  test('no snapshot is torn, and no list that was walked in one generation', async () => {
    const { words, control } = block()
    const tableWords = new SharedArrayBuffer(64 * SEGMENT.words * 8)
    const table = new SegmentTable(new BigInt64Array(tableWords))
    const signals = new SharedArrayBuffer(8)
    const stop = new Int32Array(signals)
    const data: ChangingPartition = {
      control: words.buffer as SharedArrayBuffer,
      table: tableWords,
      signals,
      slot: SLOT_OF_IT,
      seed,
    }
    const running = runThread<ChangeReport>('changing-partition.ts', data)
    const faults: { fault: string; snapshot: PartitionSnapshot; bases: number[] }[] = []
    let overtaken = 0
    try {
      const started = Atomics.waitAsync(stop, 1, 0, 20_000)
      if (started.async) await started.value
      const generations = new Set<number>()
      const nowhere = new Int32Array(new SharedArrayBuffer(4))
      let good = 0
      let sameFor = 0
      for (
        const until = performance.now() + 20_000;
        (good < SNAPSHOTS || generations.size < GENERATIONS) && performance.now() < until;
      ) {
        const snapshot = control.snapshot(SLOT_OF_IT)
        if (snapshot === undefined) continue
        good += 1
        if (!generations.has(snapshot.generation)) sameFor = 0
        else if (++sameFor % 1_000 === 0) Atomics.wait(nowhere, 0, 0, 0.05) // the writer may need this core
        generations.add(snapshot.generation)
        const bases: number[] = []
        for (let entry = snapshot.headSegment; entry >= 0 && bases.length <= snapshot.segmentCount; ) {
          bases.push(table.get(entry, SEGMENT.baseOffset))
          entry = table.get(entry, SEGMENT.nextSegment)
        }
        const stayed = control.get(SLOT_OF_IT, SLOT.generation) === snapshot.generation
        if (!stayed) overtaken += 1
        const fault = tornSnapshot(snapshot) ?? (stayed ? tornList(snapshot, bases) : undefined)
        if (fault !== undefined && faults.length < 5) faults.push({ fault, snapshot, bases })
      }
      expect(faults, seedText).toEqual([])
      expect(good).toBeGreaterThanOrEqual(SNAPSHOTS)
      expect(generations.size).toBeGreaterThanOrEqual(GENERATIONS)
      expect(overtaken).toBeGreaterThan(0)
    } finally {
      Atomics.store(stop, 0, 1)
    }
    const { changes, partitions } = await running
    expect(changes).toBeGreaterThanOrEqual(GENERATIONS)
    expect(partitions).toBeGreaterThan(5)
  })
})
