/**
 * A queue whose consumers are threads that are terminated in the middle of their work: every job is done once, and of what was
 * acknowledged nothing is delivered again.
 */
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import { printSeed } from '../engine/memory/threads.ts'
import { EngineHome, sleep, until } from './support/engine.ts'

const JOBS = 2_000
const THREADS = 3
const TERMINATIONS = 4

interface Step {
  readonly what: 'delivered' | 'acknowledged' | 'refused'
  readonly offset: number
  readonly deliveryCount: number
}

const seed = testSeed()
let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
  printSeed(seed)
})
afterAll(() => home.close())

const running = new Set<Worker>()
afterEach(async () => {
  await Promise.all([...running].map(worker => worker.terminate()))
})

/** What became of each job, as its consumers told it. */
class Book {
  readonly acknowledged = new Map<number, number>()
  readonly deliveries = new Map<number, number[]>()
  readonly refused: Step[] = []

  note(step: Step): void {
    const { what, offset, deliveryCount } = step
    if (what === 'delivered') this.deliveries.set(offset, [...(this.deliveries.get(offset) ?? []), deliveryCount])
    else if (what === 'refused') this.refused.push(step)
    else {
      expect(this.acknowledged.has(offset), `job ${offset} was acknowledged twice`).toBe(false)
      this.acknowledged.set(offset, deliveryCount)
    }
  }
}

function start(queue: string, book: Book): Worker {
  const handle = home.engine.threadHandle()
  const path = new URL('programs/queue-thread.ts', import.meta.url)
  const worker = new Worker(path, { workerData: { handle, queue }, transferList: [handle.port] })
  worker.on('message', (step: Step) => book.note(step))
  worker.on('error', error => home.faults.push(String(error)))
  worker.once('exit', () => running.delete(worker))
  running.add(worker)
  return worker
}

test('consumers that are terminated mid-batch lose no job and repeat none that was acknowledged', {
  timeout: 120_000,
}, async () => {
  const random = new Random(seed)
  await using queue = home.engine.queue('shared', { create: { partitions: 1 }, deliveryCountLimit: 100 })
  await queue.open()
  const producer = await home.engine.producer()
  const messages = Array.from({ length: JOBS }, (_, i) => ({ value: `${i}` }))
  await producer.send({ topic: 'shared', messages: messages.slice(0, JOBS / 2) })

  const book = new Book()
  for (let i = 0; i < THREADS; i++) start('shared', book)
  const pushing = producer.send({ topic: 'shared', messages: messages.slice(JOBS / 2) })
  for (let i = 0; i < TERMINATIONS; i++) {
    const before = book.acknowledged.size
    await until(() => book.acknowledged.size > before || book.acknowledged.size === JOBS, 'something is done', 60_000)
    await sleep(random.below(30))
    await random.pick([...running]).terminate()
    start('shared', book)
  }
  await pushing
  await until(async () => (await queue.statistics()).acknowledged === JOBS, 'all jobs are done', 60_000)
  expect(await queue.statistics()).toMatchObject({ available: 0, inFlight: 0, delayed: 0, deadLettered: 0 })
  const workers = [...running]
  for (const worker of workers) worker.postMessage('stop')
  await until(() => running.size === 0, 'the threads end by themselves', 30_000)

  // A terminated thread may have been acknowledged without being able to say so; nobody else may.
  expect(JOBS - book.acknowledged.size).toBeLessThanOrEqual(TERMINATIONS * 96)
  let repeated = 0
  for (const [offset, counts] of book.deliveries) {
    expect(new Set(counts).size, `job ${offset} was delivered twice at once`).toBe(counts.length)
    const done = book.acknowledged.get(offset)
    if (done !== undefined) expect(Math.max(...counts), `job ${offset} came after it was acknowledged`).toBe(done)
    if (counts.length > 1) repeated += 1
  }
  expect(repeated).toBeGreaterThan(JOBS / 20) // those that were given back, at least
  expect(book.refused).toEqual([])
})
