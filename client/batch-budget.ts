/**
 * How much memory a batch gets when it is opened, and how much of its buffer a producer uses. Pure arithmetic; used by the
 * producer's thread.
 *
 * With few partitions every batch may grow to `batchBytes`. With many, all of which have a batch open, a batch gets its share
 * of half the buffer; the other half is for what is on its way. So batches become smaller before they become many that hold a
 * record each. The buffer itself begins with `usualBytes`, which the caches like, and grows with the number of open batches.
 */
import { KIB } from '../engine/base/limits.ts'

export interface BudgetOptions {
  /** Most bytes of a batch. */
  readonly batchBytes: number
  /** Most memory for batches. */
  readonly bufferBytes: number
  /** Memory for batches as long as they are few. */
  readonly usualBytes: number
  /** Memory is given out in multiples of this. */
  readonly slabBytes: number
}

/** Share of an open batch for which the buffer grows as far as it may: its costs weigh little against 150 small records. */
const SHARE_BYTES = 16 * KIB
/** Opened batches after which a number of open ones that was reached counts little. */
const MEMORY_BATCHES = 1_024

export class BatchBudget {
  readonly #options: BudgetOptions
  #open = 0
  /** How many batches are open at once, as far as the last ones tell. */
  #expected = 1

  constructor(options: BudgetOptions) {
    this.#options = options
  }

  opened(): void {
    this.#open += 1
    if (this.#open >= this.#expected) this.#expected = this.#open
    else this.#expected -= (this.#expected - this.#open) / MEMORY_BATCHES
  }

  /** A batch was sealed or discarded. */
  closed(): void {
    this.#open -= 1
  }

  /** No memory was left although nothing is on its way: there are more batches than their shares allow for. */
  refused(): void {
    this.#expected = Math.max(this.#expected, 2 * this.#open)
  }

  /** Slabs of the buffer that are in use. */
  get limitSlabs(): number {
    const { usualBytes, bufferBytes, slabBytes } = this.#options
    const wantedBytes = Math.max(usualBytes, 2 * SHARE_BYTES * this.#expected)
    return Math.ceil(Math.min(wantedBytes, bufferBytes) / slabBytes)
  }

  /** Bytes that a batch may grow to which is opened now. */
  get shareBytes(): number {
    const { batchBytes, slabBytes } = this.#options
    const slabs = Math.floor(this.limitSlabs / (2 * this.#expected))
    return Math.min(Math.max(slabs, 1) * slabBytes, batchBytes)
  }

  /** Slabs that should be free before a producer goes on that had to wait: for all batches that it will open, or an eighth. */
  get resumeSlabs(): number {
    const { limitSlabs, shareBytes } = this
    const open = Math.ceil(shareBytes / this.#options.slabBytes) * (this.#expected - this.#open)
    return Math.min(Math.max(limitSlabs >>> 3, open), limitSlabs >>> 1)
  }
}
