/** Look-ups over a cluster: as those of the engine, and each a request or two. */
import type { PortableLookup } from '../connection-types.ts'
import type { ConsumedRecord } from '../record.ts'
import { type Cluster, OFFSET_OF } from './cluster.ts'

/** A look-up wants one record, and gets its batch. */
const LIMITS = { maxBytes: 1, maxWaitMs: 0, isCommitted: false }

export class RemoteLookup implements PortableLookup {
  readonly topic: string
  readonly partitions: number
  readonly #cluster: Cluster

  constructor(cluster: Cluster, topic: string, partitions: number) {
    this.#cluster = cluster
    this.topic = topic
    this.partitions = partitions
  }

  /** @throws OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION */
  async byOffset(partition: number, offset: number): Promise<ConsumedRecord | undefined> {
    // Batches without records, such as the ends of transactions and what compaction emptied, are stepped over.
    for (let at = offset; ; ) {
      const [fetched] = await this.#cluster.fetch([{ topic: this.topic, partition, offset: at }], LIMITS)
      const record = fetched?.records[0]
      if (record !== undefined || fetched === undefined || fetched.nextOffset <= at) return record
      at = fetched.nextOffset
    }
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async byTimestamp(partition: number, timestamp: number): Promise<ConsumedRecord | undefined> {
    const found = (await this.#cluster.offsets(this.topic, [partition], BigInt(timestamp))).get(partition)
    return found === undefined || found.offset < 0 ? undefined : this.byOffset(partition, found.offset)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async earliest(partition: number): Promise<number> {
    return this.#end(partition, OFFSET_OF.earliest)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async latest(partition: number): Promise<number> {
    return this.#end(partition, OFFSET_OF.latest)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async maxTimestamp(partition: number): Promise<{ offset: number; timestamp: number } | undefined> {
    const found = (await this.#cluster.offsets(this.topic, [partition], OFFSET_OF.maxTimestamp)).get(partition)
    return found === undefined || found.offset < 0 ? undefined : found
  }

  async #end(partition: number, end: bigint): Promise<number> {
    return (await this.#cluster.offsets(this.topic, [partition], end)).get(partition)?.offset ?? 0
  }

  close(): void {
    // Nothing is held between two calls.
  }
}
