/**
 * Watches whether a consumer is still asked for records: too long between two calls, or too long with one batch or record
 * in hand, and its partitions are better off with others. Used by the consumer's thread.
 */
import type { ConsumedPartition } from './consumed-partition.ts'

/** Looks in the longest time that is allowed. */
const LOOKS = 10
const LOOK_MS_MAX = 1_000

export class ConsumerWatchdog {
  readonly #maxPollIntervalMs: number
  readonly #onStalled: (stalled: readonly ConsumedPartition[], forMs: number) => void
  #askedMs = performance.now()
  /** Calls for records that wait. */
  #asking = 0
  #timer: NodeJS.Timeout | undefined

  constructor(maxPollIntervalMs: number, onStalled: (stalled: readonly ConsumedPartition[], forMs: number) => void) {
    this.#maxPollIntervalMs = maxPollIntervalMs
    this.#onStalled = onStalled
  }

  start(partitions: () => readonly ConsumedPartition[]): void {
    this.stop()
    this.#askedMs = performance.now()
    const lookMs = Math.max(1, Math.min(LOOK_MS_MAX, this.#maxPollIntervalMs / LOOKS))
    this.#timer = setInterval(() => this.#look(partitions()), lookMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Somebody asks for records, until `answered`. */
  asked(): void {
    this.#asking += 1
  }

  answered(): void {
    this.#asking -= 1
    this.#askedMs = performance.now()
  }

  #look(partitions: readonly ConsumedPartition[]): void {
    const nowMs = performance.now()
    const late = partitions.filter(({ delivery }) => forMs(delivery?.sinceMs, nowMs) > this.#maxPollIntervalMs)
    const inHand = partitions.some(({ delivery }) => delivery !== undefined)
    const isUnasked = !inHand && this.#asking === 0 && nowMs - this.#askedMs > this.#maxPollIntervalMs
    if (late.length === 0 && !isUnasked) return
    this.stop()
    const waitedMs = isUnasked ? nowMs - this.#askedMs : Math.max(...late.map(p => forMs(p.delivery?.sinceMs, nowMs)))
    this.#onStalled(late, waitedMs)
  }
}

const forMs = (sinceMs: number | undefined, nowMs: number): number => (sinceMs === undefined ? 0 : nowMs - sinceMs)
