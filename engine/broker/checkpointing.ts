/**
 * Stores the recovery points of the partitions from time to time: those that have moved since the last time. Owned by the broker's
 * thread.
 */
import type { CheckpointEntry } from '../store/checkpoints.ts'
import type { Store } from '../store/store.ts'
import type { Partitions } from './partitions.ts'

export class Checkpointing {
  readonly #partitions: Partitions
  readonly #store: Store
  /** What was stored last, by slot. */
  readonly #stored = new Map<number, string>()

  constructor(partitions: Partitions, store: Store) {
    this.#partitions = partitions
    this.#store = store
  }

  /** @throws DISK_FULL, IO_ERROR */
  async storeMoved(): Promise<void> {
    const moved: CheckpointEntry[] = []
    for (const partition of this.#partitions.all) {
      const entry = this.#partitions.checkpoint(partition)
      const { recoveryPoint, logStartOffset, leaderEpoch } = entry.checkpoint
      const facts = `${partition.slotGeneration} ${recoveryPoint} ${logStartOffset} ${leaderEpoch}`
      if (this.#stored.get(partition.slot) === facts) continue
      this.#stored.set(partition.slot, facts)
      moved.push(entry)
    }
    if (moved.length > 0) await this.#store.checkpoints.put(moved)
  }
}
