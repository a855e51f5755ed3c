/**
 * Topics of a cluster: created, grown, configured and deleted in the metadata store, by whichever broker is asked. Partitions come first and
 * the topic last, so that nobody sees half of it; what a creation that was cut short left is the controller's to remove.
 */
import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TopicId } from '../base/brands.ts'
import { type ErrorDetails, MillraceError } from '../base/errors.ts'
import { TOPIC_PARTITIONS_MAX } from '../base/limits.ts'
import { checkTopicName } from '../format/file-names.ts'
import { checkTopicConfigs, demandTopicConfigKey } from '../log/topic-config.ts'
import type { ClusterImage } from './cluster-image.ts'
import {
  type ClusterPartition,
  type ClusterTopic,
  type PartitionAssignment,
  partitionKey,
  partitionValue,
  topicKey,
} from './cluster-state.ts'
import { type Check, type MetadataStore, OPERATIONS_MAX, type Write } from './metadata-store.ts'
import { placeReplicas } from './placement.ts'

/** Changes of a topic that meet one another are tried again so often. */
const ATTEMPTS = 20
const RETRY_MS = 20

type Config = Readonly<Record<string, string | number | boolean>>

export interface NewClusterTopic {
  readonly topic: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly config?: Config
  /** Replicas of each partition, in place of `replicationFactor`. */
  readonly assignments?: readonly (readonly number[])[]
}

export type ElectionOutcome = 'elected' | 'not-needed' | 'not-available'

export class ClusterTopics {
  readonly #store: MetadataStore
  readonly #image: ClusterImage
  readonly #report: (error: MillraceError) => void

  /** @param report told of unclean elections */
  constructor(store: MetadataStore, image: ClusterImage, report: (error: MillraceError) => void) {
    this.#store = store
    this.#image = image
    this.#report = report
  }

  /**
   * Resolves when this broker's image has it; the logs come after.
   * @throws TOPIC_ALREADY_EXISTS, INVALID_REPLICATION_FACTOR, INVALID_PARTITIONS, INVALID_TOPIC_NAME, INVALID_CONFIG,
   *   METADATA_STORE_UNAVAILABLE
   */
  async create({
    topic,
    partitions,
    replicationFactor,
    config = {},
    assignments,
  }: NewClusterTopic): Promise<ClusterTopic> {
    checkTopicName(topic)
    demandPartitions(topic, partitions)
    const checked = checkTopicConfigs(config)
    if (this.#image.topics.has(topic)) throw new MillraceError('TOPIC_ALREADY_EXISTS', { topic })
    const topicId = randomUUID() as string as TopicId
    const placed = assignments ?? this.#place(topic, 0, partitions, replicationFactor)
    this.#demandLive(placed)
    await this.#putPartitions(topicId, 0, placed)
    const factor = placed[0]?.length ?? replicationFactor
    const value = { topicId, partitions, replicationFactor: factor, config: checked }
    const write = { key: topicKey(topic), value: JSON.stringify(value) }
    const outcome = await this.#store.commit([{ key: topicKey(topic), version: 0 }], [write])
    if (outcome.kind === 'refused') throw new MillraceError('TOPIC_ALREADY_EXISTS', { topic })
    if (outcome.kind === 'undecided')
      throw new MillraceError('METADATA_STORE_UNAVAILABLE', { topic, outcome: 'undecided' })
    await this.#image.reach(outcome.version)
    return { topic, ...value, version: outcome.version }
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION, METADATA_STORE_UNAVAILABLE */
  async delete(topic: string): Promise<void> {
    const found = this.#demand(topic)
    await this.#change(topic, () => undefined)
    const writes = Array.from({ length: found.partitions }, (_, partition) => ({
      key: partitionKey(found.topicId, partition),
      value: undefined,
    }))
    await this.#putAll(writes)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, METADATA_STORE_UNAVAILABLE */
  async grow(topic: string, partitions: number, assignments?: readonly (readonly number[])[]): Promise<void> {
    demandPartitions(topic, partitions)
    const { topicId, partitions: existing, replicationFactor } = this.#demand(topic)
    if (partitions <= existing) throw new MillraceError('INVALID_PARTITIONS', { topic, partitions, existing })
    const placed = assignments ?? this.#place(topic, existing, partitions - existing, replicationFactor)
    this.#demandLive(placed)
    await this.#putPartitions(topicId, existing, placed)
    await this.#change(topic, now => topicValue({ ...now, partitions }))
  }

  /** Sets keys, or removes those whose value is null. @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, METADATA_STORE_UNAVAILABLE */
  async configure(topic: string, entries: Readonly<Record<string, string | number | boolean | null>>): Promise<void> {
    await this.#change(topic, now => {
      const config: Record<string, string> = { ...now.config }
      for (const [key, value] of Object.entries(entries)) {
        if (value === null) delete config[demandTopicConfigKey(key)]
        else Object.assign(config, checkTopicConfigs({ [key]: value }))
      }
      return topicValue({ ...now, config })
    })
  }

  /**
   * Asks that other brokers have a partition; the controller finishes it once they are in sync. Undefined takes an earlier request back.
   * @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICATION_FACTOR, METADATA_STORE_UNAVAILABLE
   */
  async reassign(topic: string, partition: number, target: readonly number[] | undefined): Promise<void> {
    if (target !== undefined) this.#demandLive([target])
    await this.#revise(topic, partition, now => {
      const { adding = [], removing = [] } = now
      if (target === undefined && adding.length === 0 && removing.length === 0) return undefined
      const before = now.replicas.filter(id => !adding.includes(id))
      const wanted = target ?? before
      const goes = before.filter(id => !wanted.includes(id))
      return {
        ...now,
        replicas: [...wanted, ...goes],
        adding: wanted.filter(id => !before.includes(id)),
        removing: goes,
      }
    })
  }

  /**
   * Lets the first replica lead a partition, or with `isUnclean` any that is there, if none in sync is.
   * @throws UNKNOWN_TOPIC_OR_PARTITION, METADATA_STORE_UNAVAILABLE
   */
  async elect(topic: string, partition: number, isUnclean: boolean): Promise<ElectionOutcome> {
    let outcome: ElectionOutcome = 'not-needed'
    let lossy: MillraceError | undefined
    await this.#revise(topic, partition, now => {
      const { replicas, isr, leader, leaderEpoch } = now
      const isThere = (id: number): boolean => this.#image.brokers.has(id)
      const [first] = replicas as [number]
      outcome = 'not-needed'
      if (isUnclean ? isr.includes(leader) && isThere(leader) : leader === first) return undefined
      const elected = replicas.find(id => isThere(id) && (isUnclean || (id === first && isr.includes(id))))
      outcome = elected === undefined ? 'not-available' : 'elected'
      if (elected === undefined) return undefined
      const inSync = isr.includes(elected)
      lossy = inSync ? undefined : new MillraceError('UNCLEAN_ELECTION', { topic, partition, leader: elected })
      return { ...now, isr: inSync ? isr : [elected], leader: elected, leaderEpoch: leaderEpoch + 1 }
    })
    if (lossy !== undefined) this.#report(lossy)
    return outcome
  }

  /** Changes a partition as it is now, if there is anything to change. */
  async #revise(
    topic: string,
    partition: number,
    change: (now: ClusterPartition) => PartitionAssignment | undefined,
  ): Promise<void> {
    const { topicId } = this.#demand(topic)
    await this.#compareAndSwap({ topic, partition }, () => {
      const now = this.#image.partition(topicId, partition)
      if (now === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
      const assignment = change(now)
      const key = partitionKey(topicId, partition)
      return assignment && { check: { key, version: now.version }, write: { key, value: partitionValue(assignment) } }
    })
  }

  #demand(topic: string): ClusterTopic {
    const found = this.#image.topics.get(topic)
    if (found === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: topic.slice(0, 64) })
    return found
  }

  #place(topic: string, first: number, count: number, replicationFactor: number): number[][] {
    const { brokers, draining } = this.#image
    const ids = [...brokers.keys()].filter(id => !draining.has(id))
    const start = createHash('sha256').update(topic).digest().readUInt16BE()
    return placeReplicas(ids, first, count, replicationFactor, start)
  }

  /** @throws INVALID_REPLICATION_FACTOR */
  #demandLive(placed: readonly (readonly number[])[]): void {
    const { brokers } = this.#image
    for (const replicas of placed) {
      const isSound = replicas.length > 0 && new Set(replicas).size === replicas.length
      if (isSound && replicas.every(id => brokers.has(id))) continue
      const live = [...brokers.keys()].join(' ')
      throw new MillraceError('INVALID_REPLICATION_FACTOR', { replicas: replicas.join(' '), liveBrokers: live })
    }
  }

  async #putPartitions(topicId: string, first: number, placed: readonly (readonly number[])[]): Promise<void> {
    const writes = placed.map((replicas, index) => ({
      key: partitionKey(topicId, first + index),
      value: partitionValue({ replicas, isr: replicas, leader: replicas[0] as number, leaderEpoch: 0 }),
    }))
    await this.#putAll(writes)
  }

  async #putAll(writes: readonly Write[]): Promise<void> {
    for (let from = 0; from < writes.length; from += OPERATIONS_MAX) {
      const outcome = await this.#store.commit([], writes.slice(from, from + OPERATIONS_MAX))
      if (outcome.kind !== 'done') throw new MillraceError('METADATA_STORE_UNAVAILABLE', { outcome: outcome.kind })
    }
  }

  /** Changes a topic as it is now; an undefined value removes it. */
  async #change(topic: string, change: (now: ClusterTopic) => string | undefined): Promise<void> {
    const key = topicKey(topic)
    await this.#compareAndSwap({ topic }, () => {
      const now = this.#demand(topic)
      return { check: { key, version: now.version }, write: { key, value: change(now) } }
    })
  }

  /** Until nobody else was faster; nothing when there is nothing to do. */
  async #compareAndSwap(what: ErrorDetails, next: () => { check: Check; write: Write } | undefined): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const step = next()
      if (step === undefined) return
      const outcome = await this.#store.commit([step.check], [step.write])
      if (outcome.kind === 'done') return await this.#image.reach(outcome.version)
      await sleep(RETRY_MS)
    }
    throw new MillraceError('METADATA_STORE_UNAVAILABLE', { ...what, reason: 'it changes all the time' })
  }
}

function topicValue({ topicId, partitions, replicationFactor, config }: ClusterTopic): string {
  return JSON.stringify({ topicId, partitions, replicationFactor, config })
}

/** @throws INVALID_PARTITIONS */
function demandPartitions(topic: string, partitions: number): void {
  if (Number.isInteger(partitions) && partitions >= 1 && partitions <= TOPIC_PARTITIONS_MAX) return
  throw new MillraceError('INVALID_PARTITIONS', { topic, partitions, most: TOPIC_PARTITIONS_MAX })
}
