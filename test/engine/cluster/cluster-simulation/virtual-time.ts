/**
 * Time of a simulation: events in order, each of a process, which may stand still for a while or be gone. The engine's timers, its clock and its
 * sleeping come here while `drive` runs. Between two events everything that promises have to do is done, as between two turns of Node's event
 * loop: each event is an immediate of its own, and those are run without a turn between them.
 */

export class Process {
  readonly name: string
  /** Of the machine that it runs on. */
  readonly bootId: string
  isAlive = true
  #stoppedUntilMs = 0

  constructor(name: string, bootId: string) {
    this.name = name
    this.bootId = bootId
  }

  /** It does nothing before that. */
  get stoppedUntilMs(): number {
    return this.#stoppedUntilMs
  }

  /** Stops it, as by SIGSTOP. */
  standStill(untilMs: number): void {
    this.#stoppedUntilMs = Math.max(this.#stoppedUntilMs, untilMs)
  }
}

interface Timer {
  atMs: number
  /** When it was to come at first: what is postponed to the same time comes in that order. */
  readonly dueMs: number
  readonly order: number
  readonly owner: Process | undefined
  readonly run: () => void
  isCancelled: boolean
  ref(): Timer
  unref(): Timer
}

const EVENTS_AT_ONCE = 200

/** The one whose turn it is. */
let running: VirtualTime | undefined

export class VirtualTime {
  nowMs = 1_000
  events = 0
  /** Whose event it is; what is begun in it belongs to it. */
  current: Process | undefined
  /** What broke a rule, by whoever noticed. */
  failure: unknown
  readonly #heap: Timer[] = []
  #orders = 0

  /** Runs something later, as an event of a process; undefined: of the world. */
  after(delayMs: number, owner: Process | undefined, run: () => void): Timer {
    const timer: Timer = {
      atMs: this.nowMs + Math.max(delayMs, 0),
      dueMs: this.nowMs + Math.max(delayMs, 0),
      order: ++this.#orders,
      owner,
      run,
      isCancelled: false,
      ref: () => timer,
      unref: () => timer,
    }
    this.#push(timer)
    return timer
  }

  /** Resolves later, for the process whose event this is. */
  sleep(delayMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.after(delayMs, this.current, resolve)
    return promise
  }

  /** Runs events until `isOver`, which is asked after each. @throws what broke a rule */
  async drive(isOver: () => boolean): Promise<void> {
    const restore = takeOver(this)
    try {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      let isEnded = false
      const one = (): void => {
        if (isEnded) return
        try {
          // What the last event left to promises is done by now.
          if (this.failure !== undefined) throw this.failure
          if (isOver() || !this.#step()) {
            isEnded = true
            resolve()
          }
        } catch (error) {
          isEnded = true
          reject(error)
        }
      }
      const many = (): void => {
        if (isEnded) return
        for (let count = 0; count < EVENTS_AT_ONCE; count++) realImmediate(one)
        realImmediate(many)
      }
      many()
      await promise
    } finally {
      restore()
    }
  }

  /** One event; false when there is none. */
  #step(): boolean {
    for (;;) {
      const timer = this.#pop()
      if (timer === undefined) return false
      const { owner } = timer
      if (timer.isCancelled || owner?.isAlive === false) continue
      if (owner !== undefined && owner.stoppedUntilMs > timer.atMs) {
        timer.atMs = owner.stoppedUntilMs
        this.#push(timer)
        continue
      }
      this.nowMs = timer.atMs
      this.current = owner
      this.events++
      timer.run()
      return true
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(timer)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent] as Timer, timer)) break
      heap[at] = heap[parent] as Timer
      at = parent
    }
    heap[at] = timer
  }

  #pop(): Timer | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return last
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child++
      if (isBefore(last, heap[child] as Timer)) break
      heap[at] = heap[child] as Timer
      at = child
    }
    heap[at] = last
    return first
  }
}

const isBefore = (a: Timer, b: Timer): boolean => {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)
}

const realImmediate = setImmediate

/** Timers and clock of the process are the simulation's until the function that is returned is called. */
function takeOver(time: VirtualTime): () => void {
  const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis
  running = time
  const later = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): Timer =>
    time.after(ms, time.current, () => run(...args))
  const repeated = (run: () => void, ms: number): Timer => {
    const { current } = time
    const again = (): void => {
      if (handle.isCancelled) return
      time.after(ms, current, again)
      run()
    }
    const handle = time.after(ms, current, again)
    return handle
  }
  const cancel = (timer: Timer | undefined): void => {
    if (timer !== undefined) timer.isCancelled = true
  }
  Object.assign(globalThis, { setTimeout: later, clearTimeout: cancel, setInterval: repeated, clearInterval: cancel })
  Object.defineProperty(performance, 'now', { configurable: true, value: () => time.nowMs })
  return () => {
    running = undefined
    Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval })
    Reflect.deleteProperty(performance, 'now')
  }
}

/** In place of `node:timers/promises`. */
export const virtualTimers = {
  setTimeout(ms: number, value?: unknown, options?: { signal?: AbortSignal }): Promise<unknown> {
    const time = running
    if (time === undefined) throw new Error('nothing is simulated')
    const signal = options?.signal
    if (signal?.aborted) return Promise.reject(signal.reason)
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const abort = (): void => reject(signal?.reason)
    time.after(ms, time.current, () => {
      signal?.removeEventListener('abort', abort)
      resolve(value)
    })
    signal?.addEventListener('abort', abort)
    return promise
  },
  setImmediate(): Promise<void> {
    return running?.sleep(0) ?? Promise.resolve()
  },
}

/** In place of CLOCK_BOOTTIME. */
export const virtualBootTimeMs = (): number => Math.floor(running?.nowMs ?? 0)

/** In place of the boot id of this machine. */
export const virtualBootId = (): string => running?.current?.bootId ?? ''
