/**
 * A player of ping-pong over two wake cells, or one of several wakers of one sleeper. Between a look for work and the sleep,
 * and before each wake-up, lie random stretches of work, so that wake-ups fall before, into and behind the parking.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { Random } from '../../../engine/base/random.ts'
import { WakeCell } from '../../../engine/memory/wake-cell.ts'
import { spin } from './threads.ts'

export interface WakeThread {
  /** For each player a counter and, 16 words further, its cell. */
  readonly words: SharedArrayBuffer
  readonly playerWords: number
  /** This player, and whom it wakes. */
  readonly me: number
  readonly other: number
  readonly role: 'player' | 'waker' | 'sleeper'
  readonly rounds: number
  readonly waits: 'blocking' | 'async' | 'mixed'
  /** How many of the sleeps have a time-out so short that it usually wins, 0 to 1. */
  readonly shortSleeps: number
  readonly seed: number
}

export interface WakeReport {
  readonly fault?: string
  readonly rounds: number
  /** Long sleeps that ended by time-out though there was work. */
  readonly lostWakeUps: number
  readonly parked: number
  readonly timedOut: number
}

const LONG_MS = 5_000

const data = workerData as WakeThread
const random = new Random(data.seed)
const words = new Int32Array(data.words)
const counterAt = (player: number): number => player * data.playerWords
const myCell = new WakeCell(words, counterAt(data.me) + 16)
const otherCell = new WakeCell(words, counterAt(data.other) + 16)

let lostWakeUps = 0
let parked = 0
let timedOut = 0

function delay(): void {
  const kind = random.u32() & 7
  if (kind < 2) return
  spin(random.below(kind < 6 ? 100 : kind < 7 ? 1_500 : 10_000))
}

/** Announces, looks again, and gives the time-out of the sleep that is due; undefined when there is work after all. */
function beforeSleep(ready: () => boolean): number | undefined {
  myCell.announce()
  delay()
  if (ready()) {
    myCell.cancel()
    return undefined
  }
  delay()
  parked += 1
  return random.chance(data.shortSleeps) ? random.below(50) / 1_000 : LONG_MS
}

function afterSleep(woken: boolean, timeoutMs: number, ready: () => boolean): void {
  if (woken) return
  timedOut += 1
  if (timeoutMs < LONG_MS) return
  if (!ready()) throw new Error('the other side fell silent')
  lostWakeUps += 1
}

function sleepBlocking(ready: () => boolean): void {
  const timeoutMs = beforeSleep(ready)
  if (timeoutMs !== undefined) afterSleep(myCell.wait(timeoutMs), timeoutMs, ready)
}

async function sleepAsync(ready: () => boolean): Promise<void> {
  const timeoutMs = beforeSleep(ready)
  if (timeoutMs === undefined) return
  const outcome = await myCell.waitAsync(timeoutMs)
  afterSleep(outcome !== 'timed-out', timeoutMs, ready)
}

async function until(ready: () => boolean): Promise<void> {
  while (!ready()) {
    if (data.waits === 'blocking' || (data.waits === 'mixed' && random.chance(0.5))) sleepBlocking(ready)
    else await sleepAsync(ready)
  }
}

async function play(): Promise<void> {
  const mine = counterAt(data.me)
  const theirs = counterAt(data.other)
  const serves = data.me < data.other
  for (let round = 1; round <= data.rounds; round++) {
    if (!serves) await until(() => Atomics.load(words, theirs) >= round)
    delay()
    Atomics.store(words, mine, round)
    otherCell.wake()
    if (serves) await until(() => Atomics.load(words, theirs) >= round)
  }
}

/** Adds to the counter of the sleeper. */
function wakeOnly(): void {
  for (let round = 0; round < data.rounds; round++) {
    delay()
    if (random.chance(0.05)) spin(20_000) // lets the sleeper catch up and park
    Atomics.add(words, counterAt(data.other), 1)
    otherCell.wake()
  }
}

async function sleepOnly(): Promise<void> {
  let seen = 0
  while (seen < data.rounds) {
    await until(() => Atomics.load(words, counterAt(data.me)) !== seen)
    seen = Atomics.load(words, counterAt(data.me))
  }
}

async function main(): Promise<void> {
  const alive = setInterval(() => {}, 1_000) // an asynchronous wait keeps no thread alive
  if (data.role === 'player') await play()
  else if (data.role === 'sleeper') await sleepOnly()
  else wakeOnly()
  clearInterval(alive)
  const report: WakeReport = { rounds: data.rounds, lostWakeUps, parked, timedOut }
  parentPort?.postMessage(report)
}

await main()
