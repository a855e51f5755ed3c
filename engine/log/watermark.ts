/**
 * How far the records of a partition may be shown and acknowledged, published by its writer. What stands alone shows all that it has
 * (with `flush.messages=1`, all that is flushed); a replica shows no more than the brokers of the cluster have agreed on, which
 * the broker's thread puts into the control block. It never goes back.
 */
import { invariant } from '../base/invariant.ts'
import { type ControlBlock, ROLE, SLOT } from '../memory/control-block.ts'
import type { LogServices } from './services.ts'

/** What of a log it depends on. */
export interface LogExtent {
  readonly slot: number
  readonly config: { readonly durable: boolean }
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly flushedOffset: number
}

export class Watermark {
  readonly #control: ControlBlock
  readonly #services: LogServices
  #shownOffset = 0

  constructor(control: ControlBlock, services: LogServices) {
    this.#control = control
    this.#services = services
  }

  /** Highest offset that may be shown and acknowledged, plus one. */
  of({ slot, config, logEndOffset, flushedOffset }: LogExtent): number {
    const end = config.durable ? flushedOffset : logEndOffset
    const isAlone = this.#control.get(slot, SLOT.role) === ROLE.alone
    const offset = isAlone ? end : Math.min(end, this.#control.get(slot, SLOT.committedOffset))
    return Math.max(offset, this.#shownOffset)
  }

  /** Publishes it if it has moved. True when it has. */
  advance(log: LogExtent): boolean {
    const offset = this.of(log)
    if (offset === this.#shownOffset) return false
    this.#show(log, offset)
    return true
  }

  /** Something was appended that is not shown yet: a leader's followers wait for it, and who watches a follower for its leader. */
  appended({ slot }: LogExtent): void {
    if (this.#control.get(slot, SLOT.role) !== ROLE.alone) this.#services.moved(slot)
  }

  /** Publishes it as it is, at the log start at least. */
  publish(log: LogExtent): void {
    this.#show(log, Math.max(this.of(log), log.logStartOffset))
  }

  #show(log: LogExtent, offset: number): void {
    invariant(offset <= log.logEndOffset, 'HW <= LEO')
    this.#control.set(log.slot, SLOT.highWatermark, offset)
    this.#control.set(log.slot, SLOT.lastStableOffset, offset)
    this.#shownOffset = offset
    this.#services.moved(log.slot)
  }
}
