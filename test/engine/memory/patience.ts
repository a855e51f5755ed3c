/**
 * How one side of a test waits for the other. It looks for a while and then either parks on its wake cell or, as a side
 * that spins, lets the other have the core for a moment. A sleep that ends by time-out though there is work is a wake-up
 * that was lost; a wait without end is an error, so that a broken ring fails its test and does not hang it.
 */
import { Random } from '../../../engine/base/random.ts'
import type { WakeCell } from '../../../engine/memory/wake-cell.ts'
import { spin } from './threads.ts'

const TIME_OUT_MS = 5_000
const LOOKS = 2_000

const nowhere = new Int32Array(new SharedArrayBuffer(4))

export class Patience {
  /** How often this side found nothing to do. */
  idle = 0
  lostWakeUps = 0
  readonly #cell: WakeCell
  readonly #parks: boolean

  constructor(cell: WakeCell, parks: boolean) {
    this.#cell = cell
    this.#parks = parks
  }

  /** Returns at the first `ready` that holds; so `ready` may be what does the work, and does it once. */
  until(ready: () => boolean): void {
    if (ready()) return
    this.idle += 1
    const deadline = performance.now() + 2 * TIME_OUT_MS
    for (;;) {
      for (let look = 0; look < LOOKS; look++) if (ready()) return
      if (this.#parks) {
        if (this.#park(ready)) return
      } else Atomics.wait(nowhere, 0, 0, 0.01)
      if (performance.now() > deadline) {
        if (ready()) return
        throw new Error('the other side fell silent')
      }
    }
  }

  /** Sleeps unless `ready` holds by now; true when it held. */
  #park(ready: () => boolean): boolean {
    this.#cell.announce()
    if (ready()) {
      this.#cell.cancel()
      return true
    }
    if (this.#cell.wait(TIME_OUT_MS) || !ready()) return false
    this.lostWakeUps += 1
    return true
  }
}

/** Now and then a little work that has nothing to do with the other side. */
export class Dawdler {
  readonly #random: Random
  readonly #every: number
  #left: number

  /** @param every calls between two stretches of work, on average; 0: never */
  constructor(seed: number, every: number) {
    this.#random = new Random(seed)
    this.#every = every
    this.#left = every
  }

  maybe(): void {
    if (this.#every === 0 || --this.#left > 0) return
    this.#left = 1 + this.#random.below(2 * this.#every)
    spin(this.#random.below(this.#random.chance(0.1) ? 20_000 : 200))
  }
}
