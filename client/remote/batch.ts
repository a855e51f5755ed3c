/** Records that a fetch brought, in the shape of a batch of the embedded reader. */
import type { ConsumedBatch } from '../consumer-backend.ts'
import type { ConsumedRecord } from '../record.ts'
import type { Fetched } from './cluster.ts'

export class RemoteBatch implements ConsumedBatch {
  readonly topic: string
  readonly partition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly highWatermark: number
  readonly #records: readonly ConsumedRecord[]
  readonly #leaderEpochs: Fetched['leaderEpochs']

  /** @param endOffset what is at or behind it is left out */
  constructor(fetched: Fetched, endOffset = Number.POSITIVE_INFINITY) {
    this.topic = fetched.topic
    this.partition = fetched.partition
    this.baseOffset = fetched.offset
    this.nextOffset = Math.min(fetched.nextOffset, endOffset)
    this.highWatermark = fetched.highWatermark
    this.#leaderEpochs = fetched.leaderEpochs
    this.#records = fetched.records.filter(({ offset }) => offset < endOffset)
  }

  /** Without records: what is here are ends of transactions, or what compaction left. */
  get isEmpty(): boolean {
    return this.#records.length === 0
  }

  leaderEpochs(): Fetched['leaderEpochs'] {
    return this.#leaderEpochs
  }

  [Symbol.iterator](): Iterator<ConsumedRecord> {
    return this.#records[Symbol.iterator]()
  }
}
