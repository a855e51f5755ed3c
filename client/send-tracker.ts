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
  #resolve!: (results: RecordMetadata[]) => void
  #reject!: (error: unknown) => void
  readonly #results: RecordMetadata[] = []
  #open: number

  constructor(messages: number) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#open = messages
    if (messages === 0) this.#resolve([])
  }

  delivered(partition: Pick<ClientPartition, 'topic' | 'partition'>, baseOffset: number, count: number): void {
    const { topic, partition: number } = partition
    if (this.#open === count && this.#results.length === 0) {
      this.#open = 0
      this.#resolve([{ topic, partition: number, baseOffset, count }])
      return
    }
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
