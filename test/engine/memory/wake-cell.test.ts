import { beforeEach, describe, expect, test } from 'vitest'
import { testSeed } from '../../../engine/base/random.ts'
import { WAKE_CELL_BYTES, WakeCell } from '../../../engine/memory/wake-cell.ts'
import { printSeed, runThreads, SHARE } from './threads.ts'
import type { WakeReport, WakeThread } from './wake-thread.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

/** A counter and a cell, on cache lines of their own. */
const PLAYER_WORDS = 32

function cell() {
  const words = new Int32Array(new SharedArrayBuffer(WAKE_CELL_BYTES))
  return { words, cell: new WakeCell(words, 3) }
}

test('a sleeper that was woken after it announced itself does not sleep', async () => {
  const { cell: one } = cell()
  one.announce()
  one.wake()
  const start = performance.now()
  expect(one.wait(5_000)).toBe(true)
  expect(one.waitAsync(5_000)).toBeUndefined()
  expect(performance.now() - start).toBeLessThan(2_500)
})

test('a sleeper that found work itself is not woken, and its next sleep waits for a new wake-up', () => {
  const { words, cell: one } = cell()
  one.announce()
  one.cancel()
  one.wake()
  expect(words[3]).toBe(0)
  one.announce()
  expect(one.wait(1)).toBe(false)
})

test('a wake-up of a sleeper that is awake is not kept for later', () => {
  const { cell: one } = cell()
  one.wake()
  one.announce()
  expect(one.wait(1)).toBe(false)
})

test('after a time-out the sleeper is awake, and later wakers pay nothing', () => {
  const { words, cell: one } = cell()
  one.announce()
  expect(words[3]).not.toBe(0)
  expect(one.wait(0)).toBe(false)
  expect(words[3]).toBe(0)
})

test('an asynchronous sleep ends with a wake-up or with its time-out', async () => {
  const { cell: one } = cell()
  one.announce()
  const woken = one.waitAsync(5_000)
  one.wake()
  expect(await woken).toBe('ok')
  one.announce()
  expect(await one.waitAsync(2)).toBe('timed-out')
  // Whoever goes to sleep again after a time-out announces itself again.
  one.announce()
  const again = one.waitAsync(5_000)
  one.wake()
  expect(await again).toBe('ok')
})

test('a waker touches its own cell only', () => {
  const words = new Int32Array(new SharedArrayBuffer(3 * WAKE_CELL_BYTES))
  const cells = [0, 1, 2].map(index => new WakeCell(words, (index * WAKE_CELL_BYTES) / 4))
  for (const one of cells) one.announce()
  cells[1]?.wake()
  expect(cells.map((_, index) => words[(index * WAKE_CELL_BYTES) / 4])).toEqual([1, 0, 1])
})

describe('no wake-up is lost between threads', () => {
  const player = (
    words: SharedArrayBuffer,
    me: number,
    waits: WakeThread['waits'],
    rounds: number,
    shortSleeps: number,
  ): WakeThread => ({
    words,
    playerWords: PLAYER_WORDS,
    me,
    other: 1 - me,
    role: 'player',
    rounds,
    waits,
    shortSleeps,
    seed: seed + me,
  })

  test.each([
    ['both block', 'blocking', 'blocking', 120_000 * SHARE, 0],
    ['both block, and often time out', 'blocking', 'blocking', 120_000 * SHARE, 0.5],
    ['one blocks, one waits asynchronously', 'blocking', 'async', 100_000 * SHARE, 0.1],
    ['both do either', 'mixed', 'mixed', 100_000 * SHARE, 0.2],
  ] as const)('ping-pong: %s', async (_, first, second, rounds, short) => {
    const words = new SharedArrayBuffer(2 * PLAYER_WORDS * 4)
    const reports = await runThreads<WakeReport>('wake-thread.ts', [
      player(words, 0, first, rounds, short),
      player(words, 1, second, rounds, short),
    ])
    for (const report of reports) {
      expect(report.rounds).toBe(rounds)
      expect(report.lostWakeUps, seedText).toBe(0)
      expect(report.parked).toBeGreaterThan(rounds / 100) // else this run proved nothing
      if (short > 0) expect(report.timedOut).toBeGreaterThan(0)
    }
    const counters = new Int32Array(words)
    expect([counters[0], counters[PLAYER_WORDS]]).toEqual([rounds, rounds])
  })

  test('two threads wake one sleeper', async () => {
    const words = new SharedArrayBuffer(3 * PLAYER_WORDS * 4)
    const rounds = 50_000 * SHARE
    const waker = (me: number): WakeThread => ({
      ...player(words, me, 'blocking', rounds, 0),
      role: 'waker',
      other: 0,
    })
    const sleeper: WakeThread = { ...waker(0), role: 'sleeper', rounds: 2 * rounds, shortSleeps: 0.1 }
    const [slept] = await runThreads<WakeReport>('wake-thread.ts', [sleeper, waker(1), waker(2)])
    expect(slept?.lostWakeUps, seedText).toBe(0)
    expect(slept?.parked).toBeGreaterThan(100)
    expect(new Int32Array(words)[0]).toBe(2 * rounds)
  })
})
