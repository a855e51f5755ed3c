/** The clock of a loop that runs in passes. */
import { type Clock, systemClock } from '../engine/base/clock.ts'

/** The time as of the beginning of the pass: asking the system for it takes as long as some of the work on a batch. */
export class PassClock implements Clock {
  #monotonicMs = systemClock.monotonicMs()

  refresh(): void {
    this.#monotonicMs = systemClock.monotonicMs()
  }

  nowMs(): number {
    return systemClock.nowMs()
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }
}
