/** Look-ups over a cluster: as those of the engine, and each a request or two. */
import { isMillraceError, MillraceError } from '../../engine/base/errors.ts'
import type { PortableLookup } from '../connection-types.ts'
import type { ConsumedRecord } from '../record.ts'
import { type Cluster, type Fetched, OFFSET_OF, offsetAt } from './cluster.ts'

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

  /** @throws OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE */
  async byOffset(partition: number, offset: number): Promise<ConsumedRecord | undefined> {
    // Batches without records, such as the ends of transactions and what compaction emptied, are stepped over.
    for (let at = offset; ; ) {
      const [fetched] = await this.#fetch(partition, at)
      const record = fetched?.records[0]
      if (record !== undefined || fetched === undefined || fetched.nextOffset <= at) return record
      at = fetched.nextOffset
    }
  }

  /** Once more of the leader that there is now, where it has changed. */
  async #fetch(partition: number, offset: number): Promise<Fetched[]> {
    try {
      return await this.#fetchOnce(partition, offset, false)
    } catch (error) {
      if (!isMillraceError(error, 'LEADER_NOT_AVAILABLE')) throw error
      return this.#fetchOnce(partition, offset, true)
    }
  }

  async #fetchOnce(partition: number, offset: number, forceUpdate: boolean): Promise<Fetched[]> {
    const { topic } = this
    const leader = (await this.#cluster.leaders(topic, forceUpdate))[partition]
    if (leader === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
    if (leader < 0) throw new MillraceError('LEADER_NOT_AVAILABLE', { topic, partition })
    return this.#cluster.fetchFrom(leader, [{ topic, partition, offset }], LIMITS)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async byTimestamp(partition: number, timestamp: number): Promise<ConsumedRecord | undefined> {
    const found = (await this.#cluster.offsets(this.topic, [partition], offsetAt(timestamp))).get(partition)
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
