import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { beforeEach, describe, expect, test } from 'vitest'
import { PARTITIONS_MAX, SEGMENTS_MAX, WRITERS_MAX } from '../../../engine/base/limits.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { SLOT } from '../../../engine/memory/control-block.ts'
import {
  CONTROL_FILE,
  createEngineMemory,
  EngineMemory,
  type EngineMemoryHandle,
  openEngineMemory,
  SERVICE,
  STOP_PHASE,
} from '../../../engine/memory/engine-memory.ts'
import { SEGMENT } from '../../../engine/memory/segment-table.ts'
import type { EngineReport, EngineThread } from './engine-thread.ts'
import { makeFolder } from './folders.ts'
import { printSeed, runThread, runThreads, SHARE } from './threads.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

const folder = makeFolder()
const newDirectory = (): string => mkdtempSync(join(folder, 'engine-'))

function create(): { directory: string; handle: EngineMemoryHandle; memory: EngineMemory } {
  const directory = newDirectory()
  const handle = createEngineMemory(directory)
  return { directory, handle, memory: new EngineMemory(handle) }
}

const TOPICS = [
  '6f1c2a34-0b5d-4e6f-8a9b-0c1d2e3f4a5b',
  '6f1c2a34-0b5d-4e6f-8a9b-0c1d2e3f4a5c', // differs in its last digit
  '00000000-0000-4000-8000-000000000001',
  'ffffffff-ffff-4fff-bfff-ffffffffffff',
] as const

describe('the control file', () => {
  test('all threads look at the same slots and entries, and no two of them overlap', () => {
    const { handle, memory } = create()
    const other = new EngineMemory(handle)
    const slots = [0, 1, PARTITIONS_MAX - 1]
    const entries = [0, 1, 2, 3, SEGMENTS_MAX - 1]
    const slotWord = (slot: number, word: number): number => slot * 1_000 + word + 1
    const entryWord = (entry: number, word: number): number => -(entry * 1_000 + word + 1)
    for (const slot of slots) {
      memory.setIdentity(slot, TOPICS[3], slot % 10_000)
      for (let word = 0; word < SLOT.words; word++) memory.control.set(slot, word, slotWord(slot, word))
    }
    for (const entry of entries) {
      for (let word = 0; word < SEGMENT.words; word++) memory.segments.set(entry, word, entryWord(entry, word))
    }
    for (const slot of slots) {
      for (let word = 0; word < SLOT.words; word++) expect(other.control.get(slot, word)).toBe(slotWord(slot, word))
    }
    for (const entry of entries) {
      for (let word = 0; word < SEGMENT.words; word++) {
        expect(other.segments.get(entry, word)).toBe(entryWord(entry, word))
      }
    }
    expect(other.slotsOf(TOPICS[3])).toEqual(new Map(slots.map(slot => [slot % 10_000, slot])))
    expect(other.segments.capacity).toBe(SEGMENTS_MAX)
    expect([other.closed, other.metadataVersion]).toEqual([false, 0])
    // Nothing else was touched.
    expect(other.control.get(2, 0)).toBe(0)
    expect(other.control.get(PARTITIONS_MAX - 2, SLOT.words - 1)).toBe(0)
    expect(other.segments.get(4, 0)).toBe(0)
  })

  test('another process sees what the owner stores, and has no words to wake the owner with', () => {
    const { directory, handle, memory } = create()
    const observed = openEngineMemory(directory)
    expect(observed.path).toBe(handle.path)
    const observer = new EngineMemory(observed, true)
    expect([observer.closed, observer.metadataVersion]).toEqual([false, 0])
    memory.control.set(4, SLOT.highWatermark, 77)
    memory.setIdentity(4, TOPICS[0], 2)
    memory.bumpMetadataVersion()
    memory.bumpMetadataVersion()
    expect(observer.control.get(4, SLOT.highWatermark)).toBe(77)
    expect(observer.slotsOf(TOPICS[0])).toEqual(new Map([[2, 4]]))
    expect(observer.metadataVersion).toBe(2)
    memory.markClosed()
    expect(observer.closed).toBe(true)
    expect(observed.words).not.toBe(handle.words)
    memory.stop(STOP_PHASE.writers)
    expect(observer.stopPhase).toBe(STOP_PHASE.running)
  })

  test('it is made anew beside readers of the old one, who go on seeing what it said', () => {
    const { directory, memory: old } = create()
    old.control.set(1, SLOT.logEndOffset, 1_000)
    old.segments.set(2, SEGMENT.sizeBytes, 2_000)
    old.setIdentity(1, TOPICS[0], 0)
    old.markClosed()
    const fresh = new EngineMemory(createEngineMemory(directory))
    expect([fresh.closed, fresh.metadataVersion]).toEqual([false, 0])
    expect(fresh.control.get(1, SLOT.logEndOffset)).toBe(0)
    expect(fresh.segments.get(2, SEGMENT.sizeBytes)).toBe(0)
    expect(fresh.slotsOf(TOPICS[0]).size).toBe(0)
    fresh.control.set(1, SLOT.logEndOffset, 5)
    old.control.set(1, SLOT.highWatermark, 6)
    expect(old.closed).toBe(true)
    expect(old.control.get(1, SLOT.logEndOffset)).toBe(1_000)
    expect(old.segments.get(2, SEGMENT.sizeBytes)).toBe(2_000)
    expect(fresh.control.get(1, SLOT.highWatermark)).toBe(0)
    expect(readdirSync(directory)).toEqual([CONTROL_FILE])
  })

  test('what a maker that died left behind is in nobody’s way', () => {
    const directory = newDirectory()
    writeFileSync(join(directory, `${CONTROL_FILE}.new`), 'half of a file')
    const memory = new EngineMemory(createEngineMemory(directory))
    expect(memory.control.get(0, 0)).toBe(0)
    expect(readdirSync(directory)).toEqual([CONTROL_FILE])
  })

  test('a file of another format is not read, whatever its length', () => {
    const store = (bytes: Buffer, at: number, length?: number): string => {
      const { directory, handle } = create()
      const fd = openSync(handle.path, 'r+')
      writeSync(fd, bytes, 0, bytes.length, at)
      closeSync(fd)
      if (length !== undefined) truncateSync(handle.path, length)
      return directory
    }
    const refused = (code: string, details: object) =>
      expect.objectContaining({ code, details: expect.objectContaining(details) })
    const two = Buffer.alloc(8)
    two.writeBigInt64LE(2n)
    const newer = store(two, 8)
    expect(() => new EngineMemory(openEngineMemory(newer), true)).toThrow(refused('NEWER_FORMAT', { found: '2' }))
    const newerAndShorter = store(two, 8, 8_192)
    expect(() => new EngineMemory(openEngineMemory(newerAndShorter), true)).toThrow(refused('NEWER_FORMAT', {}))
    const foreign = store(Buffer.from('not ours'), 0)
    expect(() => new EngineMemory(openEngineMemory(foreign), true)).toThrow(refused('NEWER_FORMAT', {}))
    // Cut short: a look beyond its end would end the process.
    for (const length of [0, 100, 4_096, 1 << 20]) {
      const short = store(Buffer.alloc(0), 0, length)
      expect(() => new EngineMemory(openEngineMemory(short), true)).toThrow(refused('IO_ERROR', { fileBytes: length }))
    }
    expect(() => new EngineMemory(openEngineMemory(newDirectory()), true)).toThrow(
      expect.objectContaining({ code: 'IO_ERROR', cause: expect.objectContaining({ code: 'ENOENT' }) }),
    )
  })

  test('a directory that is not there is a typed error', () => {
    expect(() => createEngineMemory(join(folder, 'nowhere'))).toThrow(
      expect.objectContaining({ code: 'IO_ERROR', cause: expect.objectContaining({ code: 'ENOENT' }) }),
    )
  })

  test('a reader cannot store into it', () => {
    const { directory } = create()
    const before = readFileSync(join(directory, CONTROL_FILE))
    const observer = new EngineMemory(openEngineMemory(directory), true)
    // Waiting and marking go to words of its own.
    observer.markDirty(3)
    observer.postedTo(0)
    observer.notifyReaders(3)
    expect(readFileSync(join(directory, CONTROL_FILE)).equals(before)).toBe(true)
  })
})

describe('identities', () => {
  test('they agree with a model', () => {
    const random = new Random(seed)
    const { memory } = create()
    const model = new Map<number, { topicId: string; partition: number }>()
    for (let turn = 0; turn < 300; turn++) {
      const slot = random.pick([0, 1, 2, 31, 32, 500, PARTITIONS_MAX - 1])
      if (model.delete(slot)) memory.clearIdentity(slot)
      else {
        const topicId = random.pick(TOPICS)
        const used = new Set([...model.values()].flatMap(at => (at.topicId === topicId ? [at.partition] : [])))
        const partition = [0, 1, 2, 9_999, 4, 5, 6].find(number => !used.has(number)) as number
        model.set(slot, { topicId, partition })
        memory.setIdentity(slot, topicId, partition)
      }
      if (turn % 10 !== 0) continue
      for (const topicId of TOPICS) {
        const expected = [...model].flatMap(([at, identity]) =>
          identity.topicId === topicId ? [[identity.partition, at] as const] : [],
        )
        expect(memory.slotsOf(topicId), seedText).toEqual(new Map(expected))
      }
    }
  })

  test('a reader never takes a slot for another partition’s while the owner gives it one', async () => {
    const { handle, memory } = create()
    const topicId = '11111111-2222-4333-8444-555555555555'
    const stop = new SharedArrayBuffer(4)
    memory.setIdentity(0, topicId, 0)
    const running = runThread<EngineReport>('engine-thread.ts', { role: 'namer', handle, rounds: 0, seed, stop })
    const wrong: [number, number][] = []
    const sizes = new Set<number>()
    try {
      const until = performance.now() + 20_000
      for (let look = 0; (look < 4_000 * SHARE || sizes.size < 10) && performance.now() < until; look++) {
        if (look % 100 === 0) await new Promise(resolve => setImmediate(resolve))
        const slots = memory.slotsOf(topicId)
        sizes.add(slots.size)
        for (const [partition, slot] of slots) if (partition !== slot) wrong.push([partition, slot])
      }
    } finally {
      Atomics.store(new Int32Array(stop), 0, 1)
    }
    expect(wrong, seedText).toEqual([])
    expect(sizes.size).toBeGreaterThan(1)
    expect((await running).slept).toBeGreaterThan(1_000 * SHARE)
  })
})

describe('stopping and mail', () => {
  test('a stop is seen by all, and wakes every thread', () => {
    const { handle, memory } = create()
    const other = new EngineMemory(handle)
    expect(other.stopPhase).toBe(STOP_PHASE.running)
    const threads = [0, WRITERS_MAX - 1, ...Object.values(SERVICE)]
    for (const thread of threads) other.cell(thread).announce()
    memory.stop(STOP_PHASE.writers)
    expect(other.stopPhase).toBe(STOP_PHASE.writers)
    for (const thread of threads) expect(other.cell(thread).wait(0), `thread ${thread}`).toBe(true)
    memory.stop(STOP_PHASE.services)
    expect(other.stopPhase).toBe(STOP_PHASE.services)
  })

  test('mail is counted for the thread it is for, and wakes that thread alone', () => {
    const { handle, memory } = create()
    const other = new EngineMemory(handle)
    const threads = Array.from({ length: WRITERS_MAX + 3 }, (_, thread) => thread)
    for (const thread of threads) memory.cell(thread).announce()
    for (const thread of [SERVICE.indexer, 0, 0]) other.postedTo(thread)
    expect(threads.map(thread => memory.mailCount(thread))).toEqual(
      threads.map(thread => (thread === 0 ? 2 : thread === SERVICE.indexer ? 1 : 0)),
    )
    const awake = threads.filter(thread => memory.cell(thread).wait(0))
    expect(awake).toEqual([0, SERVICE.indexer])
  })

  test('every message of a port that was announced is there, and no announcement is missed', async () => {
    const { handle } = create()
    const rounds = 30_000 * SHARE
    const { port1, port2 } = new MessageChannel()
    const sides: EngineThread[] = [
      { role: 'poster', handle, rounds, seed, port: port1 },
      { role: 'receiver', handle, rounds, seed: seed + 1, port: port2 },
    ]
    const [, received] = await runThreads<EngineReport>('engine-thread.ts', sides, [port1, port2])
    expect(received?.missed, seedText).toBe(0)
    expect(received?.slept).toBeGreaterThan(10)
  })
})

describe("the indexer's bits", () => {
  test('they agree with a set', () => {
    const random = new Random(seed)
    const { handle, memory } = create()
    const indexer = new EngineMemory(handle)
    for (let round = 0; round < 50; round++) {
      const marked = new Set<number>()
      for (let mark = random.below(40); mark > 0; mark--) {
        const slot = random.chance(0.3) ? random.pick([0, 31, 32, PARTITIONS_MAX - 1]) : random.below(PARTITIONS_MAX)
        memory.markDirty(slot)
        marked.add(slot)
      }
      expect(indexer.anyDirty, seedText).toBe(marked.size > 0)
      const taken: number[] = []
      for (let group = 0; group < EngineMemory.dirtyGroups; group++) {
        const bits = indexer.takeDirty(group)
        for (let bit = 0; bit < 32; bit++) if ((bits & (1 << bit)) !== 0) taken.push(group * 32 + bit)
      }
      expect(taken, seedText).toEqual([...marked].sort((a, b) => a - b))
      expect(indexer.anyDirty).toBe(false)
    }
  })

  test('the first mark of a slot calls the indexer; until it comes the slot costs no more calls', () => {
    const { memory } = create()
    const cell = memory.cell(SERVICE.indexer)
    cell.announce()
    memory.markDirty(40)
    expect(cell.wait(0)).toBe(true)
    cell.announce()
    memory.markDirty(40)
    expect(cell.wait(0)).toBe(false)
    cell.announce()
    memory.markDirty(41)
    expect(cell.wait(0)).toBe(true)
    memory.takeDirty(1)
    cell.announce()
    memory.markDirty(40)
    expect(cell.wait(0)).toBe(true)
  })

  test('no mark is missed across threads', async () => {
    const { handle, memory } = create()
    const rounds = 200_000 * SHARE
    const [, indexed] = await runThreads<EngineReport>('engine-thread.ts', [
      { role: 'marker', handle, rounds, seed },
      { role: 'indexer', handle, rounds, seed: seed + 1 },
    ] satisfies EngineThread[])
    expect(indexed?.missed, seedText).toBe(0)
    expect(indexed?.slept).toBeGreaterThan(100)
    let seen = 0
    for (let slot = 0; slot < PARTITIONS_MAX; slot++) seen += memory.control.get(slot, SLOT.flushedOffset)
    expect(seen).toBe(rounds)
    expect(memory.anyDirty).toBe(false)
  })
})

describe('readers at the tail', () => {
  test('what has arrived is not waited for', async () => {
    const { memory } = create()
    const start = performance.now()
    await memory.waitForReaders(0, () => true, 10_000)
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  test('without news the wait ends with its time-out', async () => {
    const { memory } = create()
    const start = performance.now()
    await memory.waitForReaders(0, () => false, 30)
    expect(performance.now() - start).toBeGreaterThanOrEqual(29)
  })

  test('news wake every reader of the partition, of every object, and nobody else', async () => {
    const { handle, memory } = create()
    const other = new EngineMemory(handle)
    const ended: string[] = []
    const waits = (
      [
        ['a', memory, 7],
        ['b', memory, 7],
        ['c', other, 7],
        ['beside', other, 8],
      ] as const
    ).map(async ([name, object, slot]) => {
      await object.waitForReaders(slot, () => false, 10_000)
      ended.push(name)
    })
    memory.notifyReaders(7)
    await Promise.all(waits.slice(0, 3))
    expect(ended.toSorted()).toEqual(['a', 'b', 'c'])
    other.notifyReaders(8)
    await Promise.all(waits)
    expect(ended).toContain('beside')
  })

  test('news that come between the look and the sleep are not missed', async () => {
    const { memory } = create()
    let looks = 0
    const start = performance.now()
    await memory.waitForReaders(
      3,
      () => {
        looks += 1
        memory.notifyReaders(3)
        return false
      },
      10_000,
    )
    expect(looks).toBe(1)
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  test('a look that throws leaves nobody counted as waiting', async () => {
    const { handle, memory } = create()
    const before = new Int32Array(handle.words).slice()
    await expect(
      memory.waitForReaders(
        3,
        () => {
          throw new Error('closed')
        },
        10_000,
      ),
    ).rejects.toThrow('closed')
    memory.notifyReaders(3) // nobody waits, so nothing is counted
    expect(new Int32Array(handle.words)).toEqual(before)
  })

  test('a close wakes them', async () => {
    const { memory } = create()
    const waiting = memory.waitForReaders(11, () => memory.closed, 10_000)
    const start = performance.now()
    memory.markClosed()
    await waiting
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  test('nothing that was published is missed between two threads', async () => {
    const { handle } = create()
    const rounds = 100_000 * SHARE
    const reports = await runThreads<EngineReport>('engine-thread.ts', [
      { role: 'publisher', handle, rounds, seed },
      { role: 'reader', handle, rounds, seed: seed + 1 },
    ] satisfies EngineThread[])
    for (const { missed, slept } of reports) {
      expect(missed, seedText).toBe(0)
      expect(slept).toBeGreaterThan(rounds / 100)
    }
  })
})
