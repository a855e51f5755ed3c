/**
 * Lets others lead what this broker leads and cannot write: a log that has stopped, and one for which the disk takes nothing more. The broker leaves the
 * replicas in sync as it goes, so that nobody waits for it; it follows then, and is in sync again once its log goes on.
 *
 *     stopped                  at least one other is in sync and lives
 *     refused by the disk      as many others as `min.insync.replicas`: with fewer nobody could write either, and this log is whole
 */
import { asMillraceError, type ErrorCode, type MillraceError } from '../base/errors.ts'
import { mayPass } from '../broker/mending.ts'
import type { PartitionLocation } from '../log/partition-reader.ts'
import type { ClusterImage } from './cluster-image.ts'
import { NO_LEADER, partitionKey, partitionValue } from './cluster-state.ts'
import type { MetadataStore } from './metadata-store.ts'

/** From one time to the next for the same partition: where no broker has room the leader does not change with each record. */
const AGAIN_MS = 10_000

export interface SteppingDownOptions {
  readonly brokerId: number
  readonly image: ClusterImage
  readonly store: MetadataStore
  readonly report: (error: MillraceError) => void
}

export class SteppingDown {
  readonly #options: SteppingDownOptions
  /** When this broker last let others lead because its disk took nothing, by partition; those of the last AGAIN_MS. */
  readonly #lastMs = new Map<string, number>()

  constructor(options: SteppingDownOptions) {
    this.#options = options
  }

  /** The log has stopped. */
  readonly stopped = (partition: PartitionLocation): void => {
    void this.#letLead(partition, 1)
  }

  /** The log has refused a batch, and goes on. */
  readonly refused = (partition: PartitionLocation, code: ErrorCode): void => {
    if (!mayPass(code)) return
    const { image } = this.#options
    const topic = image.topics.get(partition.topic)
    if (topic === undefined) return
    const key = partitionKey(topic.topicId, partition.partition)
    const nowMs = performance.now()
    for (const [known, ms] of this.#lastMs) if (nowMs - ms >= AGAIN_MS) this.#lastMs.delete(known)
    if (this.#lastMs.has(key)) return
    this.#lastMs.set(key, nowMs)
    void this.#letLead(partition, Number(topic.config['min.insync.replicas'] ?? 1)).then(isDone => {
      if (!isDone) this.#lastMs.delete(key) // the next batch asks again
    })
  }

  /** @param needed others that have to be in sync @returns true when it leads no more */
  async #letLead({ topic, partition }: PartitionLocation, needed: number): Promise<boolean> {
    const { image, brokerId, store, report } = this.#options
    const topicId = image.topics.get(topic)?.topicId
    const state = topicId === undefined ? undefined : image.partition(topicId, partition)
    if (state === undefined || state.leader !== brokerId) return false
    const isr = state.isr.filter(id => id !== brokerId)
    const present = isr.filter(id => image.brokers.has(id) && !image.draining.has(id))
    if (present.length < Math.max(needed, 1)) return false
    const key = partitionKey(state.topicId, partition)
    const value = partitionValue({ ...state, isr, leader: NO_LEADER, leaderEpoch: state.leaderEpoch + 1 })
    try {
      // Refused: it is not the leader any more, or something else has changed.
      const { kind } = await store.commit([{ key, version: state.version }], [{ key, value }])
      return kind === 'done'
    } catch (error) {
      report(asMillraceError(error))
      return false
    }
  }
}
