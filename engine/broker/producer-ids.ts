/**
 * Ids of idempotent producers, unique in the directory: taken from the store in blocks, so that most cost nothing. What is left of
 * a block when the engine ends is never given. Owned by the broker's thread.
 */
import type { Store } from '../store/store.ts'

/** As many as Kafka's brokers take at once. */
const BLOCK_IDS = 1_000

export class ProducerIds {
  readonly #store: Store
  #next = 0
  #end = 0

  constructor(store: Store) {
    this.#store = store
  }

  /** @throws DISK_FULL, IO_ERROR. Cost: every thousandth time a durable transaction. */
  allocate(): number {
    if (this.#next === this.#end) {
      this.#next = this.#store.takeProducerIds(BLOCK_IDS)
      this.#end = this.#next + BLOCK_IDS
    }
    return this.#next++
  }
}
