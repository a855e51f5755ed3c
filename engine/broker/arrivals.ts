/**
 * Tells of records that arrive in partitions, to any number who wait for any number of partitions. For each partition one wait
 * on the engine's memory is under way at most, whoever comes and goes: such a wait cannot be taken back. Used by one thread.
 */

import type { PartitionLocation } from '../log/partition-reader.ts'
import { SLOT } from '../memory/control-block.ts'
import type { EngineMemory } from '../memory/engine-memory.ts'

/** How long a wait goes on for nobody. */
const WAIT_MS = 1_000

interface Watched {
  readonly listeners: Set<() => void>
  isWaiting: boolean
}

export class Arrivals {
  readonly #memory: EngineMemory
  readonly #waitMs: number
  readonly #bySlot = new Map<number, Watched>()

  constructor(memory: EngineMemory, waitMs = WAIT_MS) {
    this.#memory = memory
    this.#waitMs = waitMs
  }

  /**
   * Calls `listener` after the high watermark of a partition, or its log end, has moved beyond `offset`, and when the partition goes:
   * once or more often, now and then for nothing. Balance with `unwatch`.
   */
  watch({ slot }: PartitionLocation, offset: number, listener: () => void): void {
    let watched = this.#bySlot.get(slot)
    if (watched === undefined) {
      watched = { listeners: new Set(), isWaiting: false }
      this.#bySlot.set(slot, watched)
    }
    watched.listeners.add(listener)
    if (!watched.isWaiting) void this.#wait(slot, watched, offset)
    else if (this.#memory.control.get(slot, SLOT.logEndOffset) > offset) queueMicrotask(listener)
  }

  unwatch({ slot }: PartitionLocation, listener: () => void): void {
    const watched = this.#bySlot.get(slot)
    watched?.listeners.delete(listener)
    if (watched?.listeners.size === 0 && !watched.isWaiting) this.#bySlot.delete(slot)
  }

  async #wait(slot: number, watched: Watched, offset: number): Promise<void> {
    const { control } = this.#memory
    let shown = offset
    let end = offset
    let hasMoved = (): boolean =>
      control.get(slot, SLOT.highWatermark) > offset || control.get(slot, SLOT.logEndOffset) > offset
    const isOther = (): boolean =>
      control.get(slot, SLOT.highWatermark) !== shown || control.get(slot, SLOT.logEndOffset) !== end
    watched.isWaiting = true
    do {
      const isTold = await this.#memory.waitForReaders(slot, hasMoved, this.#waitMs)
      const isNews = isTold || hasMoved()
      shown = control.get(slot, SLOT.highWatermark)
      end = control.get(slot, SLOT.logEndOffset)
      hasMoved = isOther
      // The waits of thousands of partitions end together: nobody is to look at them for that.
      if (isNews) for (const listener of [...watched.listeners]) listener()
    } while (watched.listeners.size > 0 && !this.#memory.closed)
    watched.isWaiting = false
    if (watched.listeners.size === 0) this.#bySlot.delete(slot)
  }
}
