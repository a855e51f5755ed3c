/**
 * Removal of segments in a writer's partitions, by retention and below the log start, and what the indexer held back of it: while
 * it works in a partition nothing is removed there. It lets go every few milliseconds, but takes a busy partition again at once,
 * so what was held back is tried often. Owned by the writer's thread.
 */
import type { Clock } from '../engine/base/clock.ts'
import { MillraceError } from '../engine/base/errors.ts'
import type { PartitionHost } from '../engine/log/partition-host.ts'

/** Between two tries to remove segments while the indexer is at work in their partition. */
const RETRY_MS = 0.5

export class Removals {
  readonly #warn: (error: unknown) => void
  /** By slot: whether retention was to be applied. */
  readonly #heldBack = new Map<number, boolean>()
  #nextRetryMs = 0

  constructor(warn: (error: unknown) => void) {
    this.#warn = warn
  }

  get waiting(): boolean {
    return this.#heldBack.size > 0
  }

  /** Applies retention to a partition that runs. Returns the number of segments removed. */
  apply({ log }: PartitionHost, nowMs: number): number {
    try {
      let removed = log.removeBelowStart()
      const isHeldBack = log.isRemovalHeldBack
      if (!isHeldBack) removed += log.applyRetention(nowMs)
      if (isHeldBack || log.isRemovalHeldBack) this.#holdBack(log.slot, true)
      return removed
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
      this.#warn(error) // a full disk while rolling: the next pass tries again
      return 0
    }
  }

  removeBelowStart({ log }: PartitionHost): void {
    if (log.removeBelowStart() === 0 && log.isRemovalHeldBack) this.#holdBack(log.slot, false)
  }

  /** Tries what was held back. @param running the partition in a slot, unless it has stopped or is about to go */
  retry(clock: Clock, running: (slot: number) => PartitionHost | undefined): void {
    const nowMs = clock.monotonicMs()
    if (nowMs < this.#nextRetryMs) return
    this.#nextRetryMs = nowMs + RETRY_MS
    const heldBack = [...this.#heldBack]
    this.#heldBack.clear()
    for (const [slot, withRetention] of heldBack) {
      const host = running(slot)
      if (host === undefined) continue
      if (withRetention) this.apply(host, clock.nowMs())
      else this.removeBelowStart(host)
    }
  }

  #holdBack(slot: number, withRetention: boolean): void {
    this.#heldBack.set(slot, withRetention || this.#heldBack.get(slot) === true)
  }
}
