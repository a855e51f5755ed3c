/**
 * One 32-bit word on which a single thread parks and any thread wakes it.
 *
 * The sleeper announces that it is about to park, looks for work once more, and only then waits; a waker first makes its
 * work visible and then looks at the word. Both sides use sequentially consistent operations, so one of the two always
 * sees the other: no wake-up is lost. A waker that finds the sleeper awake pays one load.
 *
 *     AWAKE (0) ── announce ──▶ PARKED (1) ── wake, time-out of `wait`, or cancel ──▶ AWAKE
 */
const AWAKE = 0
const PARKED = 1

/** Bytes that a cell takes when it must not share a cache line with its neighbour. */
export const WAKE_CELL_BYTES = 64

export class WakeCell {
  readonly #words: Int32Array
  readonly #at: number

  constructor(words: Int32Array, at: number) {
    this.#words = words
    this.#at = at
  }

  /** Says that this thread is about to park. Look for work after this, then `wait` or `cancel`. */
  announce(): void {
    Atomics.store(this.#words, this.#at, PARKED)
  }

  /** There was work after all. */
  cancel(): void {
    Atomics.store(this.#words, this.#at, AWAKE)
  }

  /** Blocks this thread until woken or until the time is over; false on a time-out. */
  wait(timeoutMs: number): boolean {
    const result = Atomics.wait(this.#words, this.#at, PARKED, timeoutMs)
    if (result === 'timed-out') Atomics.store(this.#words, this.#at, AWAKE)
    return result !== 'timed-out'
  }

  /**
   * As `wait`, without blocking the event loop; it does not keep the process alive. `undefined` when already woken. After a
   * time-out the cell says PARKED until the next `announce` or `cancel`, which costs a waker one needless call.
   */
  waitAsync(timeoutMs: number): Promise<unknown> | undefined {
    const result = Atomics.waitAsync(this.#words, this.#at, PARKED, timeoutMs)
    return result.async ? result.value : undefined
  }

  /** Wakes the sleeper if it is parked. Its work must be visible before this call. */
  wake(): void {
    const words = this.#words
    const at = this.#at
    if (Atomics.load(words, at) === PARKED && Atomics.exchange(words, at, AWAKE) === PARKED) Atomics.notify(words, at)
  }
}
