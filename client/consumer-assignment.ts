/**
 * The partitions that a consumer owns, and whose turn it is: hands out batches, waits at the tail of all of them, applies
 * the reset policy where a position has left the log. Used by the consumer's thread.
 */
import { setImmediate } from 'node:timers/promises'
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import type { ConsumedPartition, Delivery } from './consumed-partition.ts'
import type { OffsetReset, OffsetToSeek, TopicPartition } from './consumer-types.ts'
import { TailWait } from './read-track.ts'

/** Whoever handles without waiting for anything keeps heartbeats, commits and other members waiting no longer than this. */
const TURN_MS = 5

export interface AssignmentOptions {
  readonly maxBytes: number
  readonly autoOffsetReset: OffsetReset
}

export class ConsumerAssignment {
  readonly #options: AssignmentOptions
  readonly #onReset: (at: OffsetToSeek) => void
  readonly #tail = new TailWait()
  #partitions: ConsumedPartition[] = []
  #next = 0
  /** When the event loop had its last turn, as far as is known. */
  #turnMs = performance.now()
  #failure: { readonly error: unknown } | undefined
  #isClosed = false

  constructor(options: AssignmentOptions, onReset: (at: OffsetToSeek) => void) {
    this.#options = options
    this.#onReset = onReset
  }

  get partitions(): readonly ConsumedPartition[] {
    return this.#partitions
  }

  find({ topic, partition }: TopicPartition): ConsumedPartition | undefined {
    return this.#partitions.find(each => each.partition === partition && each.topic === topic)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION for one that is not assigned */
  demand({ topic, partition }: TopicPartition): ConsumedPartition {
    const found = this.find({ topic, partition })
    if (found !== undefined) return found
    throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition, reason: 'not assigned to this consumer' })
  }

  add(partitions: readonly ConsumedPartition[]): void {
    this.#partitions.push(...partitions)
  }

  /** They are not handed out any more; what is in hand is not affected. */
  remove(partitions: readonly ConsumedPartition[]): void {
    const gone = new Set(this.#partitions.filter(partition => partitions.includes(partition)))
    this.#partitions = this.#partitions.filter(partition => !gone.has(partition))
    for (const partition of gone) {
      partition.isLeaving = true
      partition.track.close()
    }
    this.wake()
  }

  /** Whoever takes looks again. */
  wake(): void {
    this.#tail.wake()
  }

  /** The next `take` throws it. */
  fail(error: unknown): void {
    this.#failure = { error }
    this.wake()
  }

  close(): void {
    this.#isClosed = true
    this.wake()
  }

  /**
   * The next batch; waits for one. Undefined when closed, or once `isOver` says so: call `wake` then.
   * @throws what the partition's log or the membership failed with
   */
  async take(isOver: () => boolean): Promise<Delivery | undefined> {
    while (!this.#isClosed && !isOver()) {
      if (this.#failure !== undefined) {
        const { error } = this.#failure
        this.#failure = undefined
        throw error
      }
      if (performance.now() - this.#turnMs > TURN_MS) {
        await setImmediate()
        this.#turnMs = performance.now()
        continue
      }
      const delivery = this.#poll()
      if (delivery !== undefined) return delivery
      await this.#more()
      this.#turnMs = performance.now()
    }
    return undefined
  }

  async #more(): Promise<void> {
    try {
      await this.#tail.wait(this.#partitions.filter(({ isReadable }) => isReadable).map(({ track }) => track))
    } catch (error) {
      if (!isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) throw error // else the next look finds out which
    }
  }

  #poll(): Delivery | undefined {
    const { length } = this.#partitions
    for (let tried = 0; tried < length; tried++) {
      const partition = this.#partitions[this.#next % length] as ConsumedPartition
      this.#next += 1
      if (!partition.isReadable) continue
      if (partition.problem !== undefined) throw partition.problem
      const delivery = this.#takeFrom(partition)
      if (delivery !== undefined) return delivery
    }
    return undefined
  }

  #takeFrom(partition: ConsumedPartition): Delivery | undefined {
    try {
      return partition.take(this.#options.maxBytes)
    } catch (error) {
      if (isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) {
        partition.isGone = true // its topic was deleted; the group will say so
        return undefined
      }
      if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
      this.reset(partition, error)
      return partition.problem === undefined ? partition.take(this.#options.maxBytes) : this.#refuse(partition)
    }
  }

  #refuse({ problem }: ConsumedPartition): never {
    throw problem
  }

  /** Moves to where the policy says; without one the partition has a problem. */
  reset(partition: ConsumedPartition, problem: MillraceError): void {
    const { autoOffsetReset } = this.#options
    if (autoOffsetReset === 'none') {
      partition.problem = problem
      return
    }
    const { logStartOffset, highWatermark } = partition.track.reader
    partition.moveTo(autoOffsetReset === 'earliest' ? logStartOffset : highWatermark)
    this.#onReset(partition.at)
  }
}
