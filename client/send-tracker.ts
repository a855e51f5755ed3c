/**
 * The promise of one `send`: collects where its messages went and resolves when all are settled. With several failures the
 * first one counts; the promise is settled once.
 */
import { MillraceError } from '../engine/base/errors.ts'
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import type { Delivery } from './batch.ts'
import type { RecordMetadata } from './types.ts'

export class SendTracker implements Delivery {
  readonly promise: Promise<RecordMetadata[]>
  readonly #resolve: (results: RecordMetadata[]) => void
  readonly #reject: (error: unknown) => void
  readonly #results: RecordMetadata[] = []
  #open: number

  constructor(messages: number) {
    const { promise, resolve, reject } = Promise.withResolvers<RecordMetadata[]>()
    this.promise = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#open = messages
    if (messages === 0) resolve([])
  }

  delivered(partition: ClientPartition, baseOffset: number, count: number): void {
    const { topic, partition: number } = partition
    const last = this.#results.findLastIndex(result => result.partition === number)
    const before = this.#results[last]
    if (before !== undefined && (baseOffset === -1 || before.baseOffset + before.count === baseOffset)) {
      this.#results[last] = { ...before, count: before.count + count }
    } else this.#results.push({ topic, partition: number, baseOffset, count })
    this.#open -= count
    if (this.#open === 0) this.#resolve(this.#results)
  }

  /** A message that was handed over and that nobody answers for. */
  unconfirmed(partition: ClientPartition): void {
    this.delivered(partition, -1, 1)
  }

  failed(error: unknown): void {
    this.#reject(error instanceof MillraceError ? error : new MillraceError('INVALID_ARGUMENT', {}, error))
  }
}
