import { beforeEach, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { RingReader, RingWriter, ringWords } from '../../../engine/memory/ring.ts'
import { isMessage, putMessage } from './message.ts'
import type { RingReport, RingThread } from './ring-thread.ts'
import { printSeed, runThreads, SHARE } from './threads.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

/** Where head and tail lie, as the picture at the top of ring.ts says. */
const HEAD = 0
const TAIL = 16

/** A ring whose counters stand at `start`, as after so many messages. */
function ringAt(start: number, capacity: number, entryWords: number): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(ringWords(capacity, entryWords) * 4)
  const words = new Int32Array(buffer)
  words[HEAD] = start
  words[TAIL] = start
  return buffer
}

function ends(buffer: SharedArrayBuffer, capacity: number, entryWords: number) {
  const words = new Int32Array(buffer)
  return { writer: new RingWriter(words, capacity, entryWords), reader: new RingReader(words, capacity, entryWords) }
}

test('head and tail lie on cache lines of their own, apart from the entries', () => {
  const buffer = ringAt(0, 4, 8)
  const { writer, reader } = ends(buffer, 4, 8)
  const words = new Int32Array(buffer)
  const first = writer.reserve()
  writer.publish()
  expect([words[HEAD], words[TAIL]]).toEqual([0, 1])
  expect(reader.peek()).toBe(first)
  reader.release()
  expect([words[HEAD], words[TAIL]]).toEqual([1, 1])
  const lines = [HEAD, TAIL, first].map(word => Math.floor((word * 4) / 64))
  expect(new Set(lines).size).toBe(3)
})

test.each([
  ['0', 0],
  ['2^31 - 2', 0x7fff_fffe],
  ['2^32 - 2', 0xffff_fffe],
])('a ring takes as many entries as it has, and gives them back in order, from counter %s', (_, start) => {
  const { writer, reader } = ends(ringAt(start, 4, 2), 4, 2)
  for (let turn = 0; turn < 5; turn++) {
    expect(reader.peek()).toBe(-1)
    const places: number[] = []
    for (let entry = 0; entry < 4; entry++) {
      const at = writer.reserve()
      expect(writer.reserve()).toBe(at) // the same until it is published
      places.push(at)
      putMessage(writer.words, at, 2, turn * 4 + entry)
      writer.publish()
    }
    expect(new Set(places).size).toBe(4)
    expect(writer.reserve()).toBe(-1)
    for (let entry = 0; entry < 4; entry++) {
      const at = reader.peek()
      expect(at).toBe(places[entry])
      expect(reader.peek()).toBe(at)
      expect(isMessage(reader.words, at, 2, turn * 4 + entry)).toBe(true)
      reader.release()
    }
  }
})

test('the last entry ends where the buffer ends, and nothing lies behind it', () => {
  for (const [capacity, entryWords] of [
    [1, 1],
    [2, 3],
    [8, 16],
  ] as const) {
    const { writer } = ends(ringAt(0, capacity, entryWords), capacity, entryWords)
    let last = -1
    for (let entry = 0; entry < capacity; entry++) {
      last = writer.reserve()
      writer.publish()
    }
    expect(last + entryWords).toBe(ringWords(capacity, entryWords))
  }
})

test('a shape that cannot work is refused', () => {
  for (const capacity of [0, -4, 3, 12]) {
    expect(() => new RingWriter(new Int32Array(1_000), capacity, 4)).toThrow('power of two')
    expect(() => new RingReader(new Int32Array(1_000), capacity, 4)).toThrow('power of two')
  }
  expect(() => new RingWriter(new Int32Array(ringWords(8, 4) - 1), 8, 4)).toThrow('fits')
  expect(() => new RingReader(new Int32Array(ringWords(8, 4) - 1), 8, 4)).toThrow('fits')
})

test('random turns of both ends agree with a queue, also when an end is made anew in between', () => {
  const random = new Random(seed)
  for (let round = 0; round < 200; round++) {
    const capacity = 1 << random.below(6)
    const entryWords = random.between(1, 9)
    const start = random.pick([0, random.u32(), 0x8000_0000 - random.below(50), 0x1_0000_0000 - random.below(50)])
    const buffer = ringAt(start, capacity, entryWords)
    let { writer, reader } = ends(buffer, capacity, entryWords)
    const queue: number[] = []
    let sequence = 0
    for (let turn = 0; turn < 200; turn++) {
      if (random.chance(0.02)) writer = ends(buffer, capacity, entryWords).writer
      if (random.chance(0.02)) reader = ends(buffer, capacity, entryWords).reader
      if (random.chance(0.5)) {
        const at = writer.reserve()
        expect(at === -1, seedText).toBe(queue.length === capacity)
        if (at === -1) continue
        putMessage(writer.words, at, entryWords, sequence)
        if (random.chance(0.1)) continue // reserved and not published: nobody sees it
        writer.publish()
        queue.push(sequence++)
      } else {
        const at = reader.peek()
        expect(at === -1, seedText).toBe(queue.length === 0)
        if (at === -1) continue
        expect(isMessage(reader.words, at, entryWords, queue[0] as number), seedText).toBe(true)
        if (random.chance(0.1)) continue // looked at and not released: it stays the oldest
        reader.release()
        queue.shift()
      }
    }
  }
})

describe('across threads no message is lost, doubled, torn or reordered', () => {
  interface Run {
    readonly title: string
    readonly messages: number
    readonly capacity: number
    readonly entryWords: number
    readonly start: number
    readonly writerParks: boolean
    readonly readerParks: boolean
    readonly writerDawdles?: number
    readonly readerDawdles?: number
  }

  const runs: Run[] = [
    {
      title: 'both sides spin, counters pass 2^32',
      messages: 10_000_000 * SHARE,
      capacity: 256,
      entryWords: 4,
      start: -5_000_000 * SHARE,
      writerParks: false,
      readerParks: false,
    },
    {
      title: 'both sides park, counters pass 2^31',
      messages: 1_000_000 * SHARE,
      capacity: 64,
      entryWords: 8,
      start: 0x8000_0000 - 500_000 * SHARE,
      writerParks: true,
      readerParks: true,
    },
    {
      title: 'a slow reader that parks holds a fast writer back',
      messages: 100_000 * SHARE,
      capacity: 16,
      entryWords: 3,
      start: -50_000 * SHARE,
      writerParks: false,
      readerParks: true,
      readerDawdles: 20,
    },
    {
      title: 'a slow writer that parks',
      messages: 100_000 * SHARE,
      capacity: 16,
      entryWords: 16,
      start: -1,
      writerParks: true,
      readerParks: false,
      writerDawdles: 20,
    },
    {
      title: 'a ring of one entry',
      messages: 20_000,
      capacity: 1,
      entryWords: 8,
      start: -10_000,
      writerParks: true,
      readerParks: true,
    },
  ]

  test.each(runs)('$title', async run => {
    const { capacity, entryWords, messages } = run
    const ring = ringAt(run.start, capacity, entryWords)
    const shared = { ring, cells: new SharedArrayBuffer(128), capacity, entryWords, messages }
    const writer: RingThread = {
      ...shared,
      role: 'writer',
      parks: run.writerParks,
      dawdleEvery: run.writerDawdles ?? 0,
      seed,
    }
    const reader: RingThread = {
      ...shared,
      role: 'reader',
      parks: run.readerParks,
      dawdleEvery: run.readerDawdles ?? 0,
      seed: seed + 1,
    }
    const [wrote, got] = await runThreads<RingReport>('ring-thread.ts', [writer, reader])
    if (wrote === undefined || got === undefined) throw new Error('two reports')
    expect([wrote.messages, got.messages]).toEqual([messages, messages])
    expect([wrote.lostWakeUps, got.lostWakeUps], seedText).toEqual([0, 0])
    const words = new Int32Array(ring)
    expect([words[HEAD], words[TAIL]]).toEqual([(run.start + messages) | 0, (run.start + messages) | 0])
    // Back-pressure was at work: somebody had to wait for the other.
    expect(wrote.idle + got.idle).toBeGreaterThan(0)
  })
})
