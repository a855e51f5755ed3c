/**
 * Limit of the time from send to acknowledgement: a word to another thread and a word back, both threads asleep when theirs
 * arrives. The wake-up calls are the engine's: `Atomics.notify` on `Atomics.wait` there, on `Atomics.waitAsync` here, on the
 * main thread. No batch, no copy, no ring. Frozen: no engine code.
 */
import { Worker } from 'node:worker_threads'
import { median, type Side } from '../harness/side.ts'

/** Words of the shared array. A request is the number of the trip; the reply repeats it; a negative request ends the worker. */
export const WORDS = { request: 0, reply: 16, count: 32 } as const

export class RoundTrip {
  readonly #words = new Int32Array(new SharedArrayBuffer(WORDS.count * 4))
  readonly #worker: Worker
  #trips = 0

  constructor() {
    this.#worker = new Worker(new URL('./round-trip-worker.ts', import.meta.url), { workerData: this.#words })
  }

  /** One trip; milliseconds. */
  async once(): Promise<number> {
    const words = this.#words
    const before = this.#trips++
    const start = performance.now()
    // Asks to be woken before it wakes the other side, so that this thread is never still running when the reply comes.
    const reply = Atomics.waitAsync(words, WORDS.reply, before)
    Atomics.store(words, WORDS.request, this.#trips)
    Atomics.notify(words, WORDS.request)
    await reply.value
    const ms = performance.now() - start
    const got = Atomics.load(words, WORDS.reply)
    if (got !== this.#trips) throw new Error(`reply ${got} to request ${this.#trips}`)
    return ms
  }

  async close(): Promise<void> {
    const exited = new Promise(resolve => this.#worker.once('exit', resolve))
    Atomics.store(this.#words, WORDS.request, -1)
    Atomics.notify(this.#words, WORDS.request)
    await exited
  }
}

/** Rounds of `trips`, one after the other; a round gives its median. */
export function roundTripLimit(trips: number): Side {
  const roundTrip = new RoundTrip()
  return {
    work: 1,
    async round() {
      const times: number[] = []
      for (let i = 0; i < trips; i++) times.push(await roundTrip.once())
      return median(times)
    },
    close: () => roundTrip.close(),
  }
}
