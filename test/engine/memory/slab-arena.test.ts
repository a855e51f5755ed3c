import { afterEach, beforeEach, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { Mapping } from '../../../engine/memory/mapping.ts'
import { ringWords } from '../../../engine/memory/ring.ts'
import { SlabArena, type SlabArenaHandle } from '../../../engine/memory/slab-arena.ts'
import type { SlabReport, SlabThread } from './slab-thread.ts'
import { printSeed, runThreads } from './threads.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

const mappings: Mapping[] = []
afterEach(() => {
  for (const mapping of mappings.splice(0)) mapping.release()
})

function handle(slabBytes: number, slabCount: number): SlabArenaHandle {
  const mapping = Mapping.anonymous(slabBytes * slabCount)
  mappings.push(mapping)
  return { address: mapping.address, slabBytes, slabCount, states: new SharedArrayBuffer(slabCount * 4) }
}

const arenaOf = (slabBytes: number, slabCount: number): SlabArena => new SlabArena(handle(slabBytes, slabCount))

test('single slabs are taken in turn, and a freed one only after the others', () => {
  const arena = arenaOf(64, 4)
  expect([1, 2, 3].map(id => arena.take(1, id))).toEqual([0, 1, 2])
  arena.free(0, 1)
  expect(arena.take(1, 4)).toBe(3)
  expect(arena.take(1, 5)).toBe(0)
  expect(arena.take(1, 6)).toBe(-1)
  arena.free(2, 1)
  expect([arena.take(1, 7), arena.take(1, 8)]).toEqual([2, -1])
})

test('a run is made of neighbours, does not go round the end, and is given up when there is none', () => {
  const arena = arenaOf(64, 6)
  expect(arena.take(7, 1)).toBe(-1)
  expect(arena.take(6, 1)).toBe(0)
  arena.free(0, 6)
  expect(arena.take(2, 2)).toBe(0)
  expect(arena.take(2, 3)).toBe(2)
  arena.free(0, 2)
  expect(arena.freeCount()).toBe(4)
  // 0, 1, 4 and 5 are free: 4 and 5 are not neighbours of 0 and 1.
  expect(arena.take(3, 4)).toBe(-1)
  expect(arena.freeCount()).toBe(4)
  arena.free(2, 2)
  expect(arena.take(5, 5)).toBe(0)
})

test('slabs of a batch', () => {
  const arena = arenaOf(1_024, 2)
  expect([1, 1_023, 1_024, 1_025, 2_048, 2_049].map(bytes => arena.slabsFor(bytes))).toEqual([1, 1, 1, 2, 2, 3])
})

test('both threads look at the same bytes', () => {
  const shared = handle(64, 4)
  const producer = new SlabArena(shared)
  const writer = new SlabArena(shared)
  const first = producer.take(2, 9)
  producer.region.bytes.fill(0xab, first * 64, (first + 2) * 64)
  expect(writer.region.bytes.subarray(first * 64, (first + 2) * 64).every(byte => byte === 0xab)).toBe(true)
  expect(producer.region.length).toBe(256)
  writer.free(first, 2)
  expect(producer.freeCount()).toBe(4)
})

test('an arena needs a state for every slab', () => {
  expect(() => new SlabArena({ ...handle(64, 4), states: new SharedArrayBuffer(12) })).toThrow('has a state')
})

test('only what a dead request still holds is freed, also after its slabs went to another', () => {
  const arena = arenaOf(64, 4)
  const first = arena.take(4, 100)
  // The writer freed the run before it died; two of its slabs went to the next request.
  arena.free(first, 4)
  const second = arena.take(2, 101)
  expect(second).toBe(first)
  arena.freeHeldBy(first, 4, 100)
  expect(arena.freeCount()).toBe(2)
  arena.freeHeldBy(second, 2, 101)
  expect(arena.freeCount()).toBe(4)
  // And what was freed half-way is freed to the end, once.
  const third = arena.take(4, 102)
  arena.free(third, 1)
  expect(arena.take(1, 103)).toBe(third)
  arena.freeHeldBy(third, 4, 102)
  expect(arena.freeCount()).toBe(3)
})

test('ids above 2^31 are ids like others', () => {
  const arena = arenaOf(64, 2)
  const id = 0x9000_0000
  arena.take(2, id)
  arena.freeHeldBy(0, 2, id - 1)
  expect(arena.freeCount()).toBe(0)
  arena.freeHeldBy(0, 2, id)
  expect(arena.freeCount()).toBe(2)
})

test('random takes and frees agree with a model', () => {
  const random = new Random(seed)
  for (let round = 0; round < 60; round++) {
    const slabCount = random.between(1, 24)
    const arena = arenaOf(64, slabCount)
    const owner = new Array<number>(slabCount).fill(0)
    const runs: { first: number; count: number; id: number }[] = []
    let id = random.pick([1, 0x7fff_fff0, -20])
    const hasRun = (count: number): boolean =>
      owner.some((_, slab) => slab + count <= slabCount && owner.slice(slab, slab + count).every(by => by === 0))
    for (let turn = 0; turn < 300; turn++) {
      const freed = random.chance(0.5) && runs.length > 0 ? runs.splice(random.below(runs.length), 1)[0] : undefined
      if (freed === undefined) {
        id = (id + 1) | 0 || 1
        const count = random.chance(0.6) ? 1 : random.between(1, slabCount + 1)
        const first = arena.take(count, id)
        expect(first !== -1, seedText).toBe(hasRun(count))
        if (first === -1) continue
        expect(
          owner.slice(first, first + count).map(by => by === 0),
          seedText,
        ).toEqual(new Array(count).fill(true))
        owner.fill(id, first, first + count)
        runs.push({ first, count, id })
      } else if (random.chance(0.5)) {
        arena.free(freed.first, freed.count)
        owner.fill(0, freed.first, freed.first + freed.count)
      } else {
        // The writer died after some slabs of it; a stale request must not free anything of another.
        const done = random.below(freed.count + 1)
        arena.free(freed.first, done)
        const stale = runs[0]
        if (stale !== undefined) arena.freeHeldBy(stale.first, stale.count, freed.id)
        arena.freeHeldBy(freed.first, freed.count, freed.id)
        owner.fill(0, freed.first, freed.first + freed.count)
      }
      expect(arena.freeCount(), seedText).toBe(owner.filter(by => by === 0).length)
    }
  }
})

test('two threads never have the same slab, and every slab comes back', async () => {
  const requests = 80_000
  const ringCapacity = 64
  const arena = handle(256, 32)
  const shared = {
    arena,
    ring: new SharedArrayBuffer(ringWords(ringCapacity, 4) * 4),
    ringCapacity,
    cells: new SharedArrayBuffer(128),
    requests,
    firstId: -requests / 2,
  }
  const [producer, writer] = await runThreads<SlabReport>('slab-thread.ts', [
    { ...shared, role: 'producer', seed } satisfies SlabThread,
    { ...shared, role: 'writer', seed: seed + 1 } satisfies SlabThread,
  ])
  if (producer === undefined || writer === undefined) throw new Error('two reports')
  expect([producer.requests, writer.requests]).toEqual([requests, requests])
  expect([producer.lostWakeUps, writer.lostWakeUps], seedText).toEqual([0, 0])
  expect(producer.waits).toBeGreaterThan(0) // the arena ran dry
  expect(writer.waits).toBeGreaterThan(1) // runs were freed in another order
  expect(new SlabArena(arena).freeCount()).toBe(32)
})
