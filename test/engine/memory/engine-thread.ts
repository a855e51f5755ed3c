/** The two sides of what the threads of an engine say to each other through its memory. Reports what went missing. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { Random } from '../../../engine/base/random.ts'
import { SLOT } from '../../../engine/memory/control-block.ts'
import { EngineMemory, type EngineMemoryHandle, SERVICE } from '../../../engine/memory/engine-memory.ts'
import { spin } from './threads.ts'

export interface EngineThread {
  readonly role: 'publisher' | 'reader' | 'marker' | 'indexer' | 'poster' | 'receiver' | 'namer'
  readonly handle: EngineMemoryHandle
  readonly rounds: number
  readonly seed: number
  /** Poster and receiver: the two ends of a channel. */
  readonly port?: MessagePort
  /** Namer: word 0 becomes 1 when the test has seen enough. */
  readonly stop?: SharedArrayBuffer
}

export interface EngineReport {
  readonly fault?: string
  readonly rounds: number
  /** Sleeps that ended by time-out though there was something to see. */
  readonly missed: number
  readonly slept: number
}

const TIME_OUT_MS = 5_000
/** Of the slots that a test uses, some share a word of dirty bits and some do not. */
const SLOTS = [0, 1, 31, 32, 63, 1_000, 16_383]
/** The thread that receives mail. */
const RECEIVER = 3

const data = workerData as EngineThread
const { rounds } = data
const random = new Random(data.seed)
const memory = new EngineMemory(data.handle)
const { control } = memory

let missed = 0
let slept = 0

function delay(): void {
  const kind = random.u32() & 7
  if (kind < 3) return
  spin(random.below(kind < 6 ? 100 : kind < 7 ? 2_000 : 8_000))
}

// ── readers at the tail: `highWatermark` goes up by one, and the reader answers in `logStartOffset` ─────────────────

const WATCHED = 5
const BESIDE = 6

async function publish(): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    delay()
    control.set(WATCHED, SLOT.highWatermark, round)
    memory.notifyReaders(WATCHED)
    if (random.chance(0.1)) memory.notifyReaders(BESIDE)
    await waitedFor(WATCHED, () => control.get(WATCHED, SLOT.logStartOffset) >= round)
  }
}

async function read(): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    await waitedFor(WATCHED, () => control.get(WATCHED, SLOT.highWatermark) >= round)
    delay()
    control.set(WATCHED, SLOT.logStartOffset, round)
    memory.notifyReaders(WATCHED)
  }
}

async function waitedFor(slot: number, arrived: () => boolean): Promise<void> {
  while (!arrived()) {
    const short = random.chance(0.05)
    slept += 1
    const start = performance.now()
    await memory.waitForReaders(
      slot,
      () => {
        const there = arrived()
        delay() // between looking and sleeping
        return there
      },
      short ? 0.05 : TIME_OUT_MS,
    )
    if (!short && performance.now() - start >= TIME_OUT_MS) {
      if (!arrived()) throw new Error('the other side fell silent')
      missed += 1
    }
  }
}

// ── the indexer's bits: the marker counts up in `logEndOffset`, the indexer says in `flushedOffset` what it saw ──────

function mark(): void {
  for (let round = 1; round <= rounds; ) {
    const slot = random.pick(SLOTS)
    for (let burst = random.between(1, 4); burst > 0 && round <= rounds; burst--, round++) {
      control.add(slot, SLOT.logEndOffset, 1)
      memory.markDirty(slot)
    }
    // Now and then nothing more comes before the last mark was seen: a call that was lost is not made good by the next.
    if (random.chance(0.3))
      spinUntil(() => control.get(slot, SLOT.flushedOffset) === control.get(slot, SLOT.logEndOffset))
    else if (random.chance(0.5)) delay()
  }
}

const nowhere = new Int32Array(new SharedArrayBuffer(4))

function spinUntil(done: () => boolean): void {
  const deadline = performance.now() + 3 * TIME_OUT_MS
  while (!done()) {
    for (let look = 0; look < 2_000; look++) if (done()) return
    Atomics.wait(nowhere, 0, 0, 0.01)
    if (performance.now() > deadline) throw new Error('the other side fell silent')
  }
}

function index(): void {
  const cell = memory.cell(SERVICE.indexer)
  let seen = 0
  while (seen < rounds) {
    seen += takeMarks()
    cell.announce()
    delay()
    if (memory.anyDirty || seen === rounds) {
      cell.cancel()
      continue
    }
    slept += 1
    if (cell.wait(TIME_OUT_MS)) continue
    if (!memory.anyDirty) throw new Error('marks are missing')
    missed += 1
  }
}

/** Catches up with every marked slot; gives how far it came. */
function takeMarks(): number {
  let seen = 0
  for (let group = 0; group < EngineMemory.dirtyGroups; group++) {
    for (let bits = memory.takeDirty(group); bits !== 0; bits &= bits - 1) {
      const slot = group * 32 + (31 - Math.clz32(bits & -bits))
      const end = control.get(slot, SLOT.logEndOffset)
      seen += end - control.exchange(slot, SLOT.flushedOffset, end)
    }
  }
  return seen
}

// ── mail ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function post(): void {
  for (let round = 0; round < rounds; round++) {
    data.port?.postMessage(round)
    memory.postedTo(RECEIVER)
    // Now and then the next waits until this one was taken, so that it does not call for both.
    if (random.chance(0.5)) spinUntil(() => control.get(RECEIVER, SLOT.logEndOffset) > round)
    delay()
  }
}

function receive(): string | undefined {
  const port = data.port as MessagePort
  const cell = memory.cell(RECEIVER)
  let counted = 0
  let received = 0
  while (received < rounds) {
    if (memory.mailCount(RECEIVER) === counted) {
      delay()
      cell.announce()
      if (memory.mailCount(RECEIVER) !== counted) cell.cancel()
      else {
        delay()
        slept += 1
        if (!cell.wait(TIME_OUT_MS)) missed += 1
      }
      continue
    }
    counted = memory.mailCount(RECEIVER)
    for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port)) {
      if (got.message !== received) return `message ${received} is ${got.message}`
      received += 1
      control.set(RECEIVER, SLOT.logEndOffset, received)
    }
    // What was counted has arrived: nobody would call again for it.
    if (received < counted) return `${counted} were announced and ${received} are there`
  }
  port.close()
  return undefined
}

// ── identities: slot `s` holds partition `s` of the topic, or one of another topic, or nothing ────────────────────────────

const TOPIC = '11111111-2222-4333-8444-555555555555'
const OTHER = '11111111-2222-4333-8444-666666666666'

function name(): void {
  const stop = new Int32Array(data.stop as SharedArrayBuffer)
  while (Atomics.load(stop, 0) === 0) {
    const slot = random.between(1, 40)
    memory.clearIdentity(slot)
    memory.setIdentity(slot, OTHER, 7)
    memory.clearIdentity(slot)
    memory.setIdentity(slot, TOPIC, slot)
    if (random.chance(0.3)) memory.clearIdentity(slot)
    slept += 1
  }
}

const alive = setInterval(() => {}, 1_000) // an asynchronous wait keeps no thread alive
const sides = {
  publisher: publish,
  reader: read,
  marker: mark,
  indexer: index,
  poster: post,
  receiver: receive,
  namer: name,
}
const fault = await sides[data.role]()
clearInterval(alive)
const report: EngineReport = { rounds, missed, slept, ...(fault === undefined ? {} : { fault }) }
parentPort?.postMessage(report)
