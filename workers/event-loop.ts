/**
 * Turns of the event loop for threads that run as one long task. Node and V8 leave work for a thread in its event loop:
 * what belongs to a collected view of mapped memory is freed there (some 300 bytes each), and tasks of the garbage
 * collector wait there. A thread that only parks would never come to it, and its heap would grow for ever.
 */
import { setImmediate } from 'node:timers/promises'

/** Between two turns. A turn takes some 20 µs. */
const TURN_MS = 1_000

export class EventLoopTurns {
  #nextMs = 0

  /** @param nowMs monotonic */
  due(nowMs: number): boolean {
    return nowMs >= this.#nextMs
  }

  /** One turn; what waits in the event loop has been done when this resolves. */
  async turn(nowMs: number): Promise<void> {
    this.#nextMs = nowMs + TURN_MS
    await setImmediate()
  }
}
