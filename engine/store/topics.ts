/**
 * Topics. Database `topics`: name → {topicId, partitions, createdAtMs, config}. `topicId` is a UUID that stays with the
 * topic for its life, `partitions` only grows, `config` holds what was set for this topic as Kafka's text values.
 * Owned by the broker's thread. Invariant: nothing refers to the id of a deleted topic, because deleting removes the
 * topic's checkpoints and committed offsets in the same transaction, behind the writes that were under way.
 */
import { randomUUID } from 'node:crypto'
import type { TopicId } from '../base/brands.ts'
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { TOPIC_PARTITIONS_MAX } from '../base/limits.ts'
import type { Environment } from './environment.ts'
import { ALL_KEYS, isTopicId, textKey } from './keys.ts'
import type { Table } from './table.ts'
import { isInteger, isObject, isText, isTextMap } from './values.ts'

export interface TopicMetadata {
  readonly topicId: TopicId
  /** Number of partitions, 1 to TOPIC_PARTITIONS_MAX. */
  readonly partitions: number
  readonly createdAtMs: number
  readonly config: Readonly<Record<string, string>>
}

export interface NamedTopic extends TopicMetadata {
  readonly topic: string
}

/** Removes what belongs to a topic in other databases, within the transaction that is open. */
export type PurgeTopic = (topicId: TopicId) => void

export function readTopic(json: unknown): TopicMetadata | undefined {
  if (!isObject(json)) return undefined
  const { topicId, partitions, createdAtMs, config } = json
  if (!isText(topicId) || !isTopicId(topicId) || !isInteger(partitions) || partitions < 1) return undefined
  if (!isInteger(createdAtMs) || !isTextMap(config)) return undefined
  return { topicId, partitions, createdAtMs, config }
}

export class TopicStore {
  readonly #environment: Environment
  readonly #table: Table<TopicMetadata>
  readonly #clock: Clock
  readonly #purge: PurgeTopic
  /** Ids of the topics that exist, so that a late write for a deleted one can be told; empty when read-only. */
  readonly #live = new Set<TopicId>()

  constructor(environment: Environment, table: Table<TopicMetadata>, clock: Clock, purge: PurgeTopic) {
    this.#environment = environment
    this.#table = table
    this.#clock = clock
    this.#purge = purge
    if (!environment.readOnly) for (const { topicId } of this.list()) this.#live.add(topicId)
  }

  get(topic: string): TopicMetadata | undefined {
    return this.#table.get(textKey('topic', topic))
  }

  /** All topics in the byte order of their names. */
  list(): NamedTopic[] {
    return this.#table.entries(ALL_KEYS).map(({ key, value }) => ({ topic: key.toString('utf8'), ...value }))
  }

  /** True from the creation of the topic until its deletion was asked for. */
  isLive(topicId: TopicId): boolean {
    return this.#live.has(topicId)
  }

  /**
   * Creates a topic, on disk when this returns.
   * @param topicId that of a topic which is known elsewhere; drawn when it is left out
   * @param alongside stores what belongs to the topic, within the transaction
   * @throws TOPIC_ALREADY_EXISTS also when another topic has the id, INVALID_PARTITIONS
   */
  create(
    topic: string,
    partitions: number,
    config: Readonly<Record<string, string>> = {},
    topicId: TopicId = randomUUID() as string as TopicId,
    alongside: (topicId: TopicId) => void = () => undefined,
  ): TopicMetadata {
    const key = textKey('topic', topic)
    checkPartitions(topic, partitions, 1)
    if (this.#live.has(topicId)) throw new MillraceError('TOPIC_ALREADY_EXISTS', { topic, topicId })
    const metadata: TopicMetadata = { topicId, partitions, createdAtMs: this.#clock.nowMs(), config: { ...config } }
    this.#environment.transact(() => {
      if (this.#table.get(key) !== undefined) throw new MillraceError('TOPIC_ALREADY_EXISTS', { topic })
      this.#table.put(key, metadata)
      alongside(topicId)
    })
    this.#live.add(metadata.topicId)
    return metadata
  }

  /**
   * Gives a topic more partitions; on disk when this returns.
   * @throws INVALID_PARTITIONS when it would have fewer, UNKNOWN_TOPIC_OR_PARTITION
   */
  setPartitions(topic: string, partitions: number): TopicMetadata {
    return this.#update(topic, metadata => {
      checkPartitions(topic, partitions, metadata.partitions)
      return { ...metadata, partitions }
    })
  }

  /** Replaces what was configured for a topic; on disk when this returns. @throws UNKNOWN_TOPIC_OR_PARTITION */
  setConfig(topic: string, config: Readonly<Record<string, string>>): TopicMetadata {
    return this.#update(topic, metadata => ({ ...metadata, config: { ...config } }))
  }

  /**
   * Deletes a topic with its checkpoints and committed offsets, in one transaction behind all that was submitted
   * before; later writes for it are refused from now on.
   * @returns what the topic was, once the deletion is on disk
   * @throws UNKNOWN_TOPIC_OR_PARTITION
   */
  async delete(topic: string): Promise<TopicMetadata> {
    const key = textKey('topic', topic)
    const { topicId } = this.#existing(topic, key)
    this.#live.delete(topicId)
    try {
      return await this.#environment.transactLater(() => {
        const metadata = this.#existing(topic, key)
        // Another deletion of the name may have come first, and a new topic of the name after it.
        if (metadata.topicId !== topicId) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic })
        this.#table.remove(key)
        this.#purge(topicId)
        return metadata
      })
    } catch (error) {
      if (this.get(topic)?.topicId === topicId) this.#live.add(topicId)
      throw error
    }
  }

  #update(topic: string, change: (metadata: TopicMetadata) => TopicMetadata): TopicMetadata {
    const key = textKey('topic', topic)
    return this.#environment.transact(() => {
      const changed = change(this.#existing(topic, key))
      this.#table.put(key, changed)
      return changed
    })
  }

  #existing(topic: string, key: Buffer): TopicMetadata {
    const metadata = this.#table.get(key)
    if (metadata === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic })
    return metadata
  }
}

function checkPartitions(topic: string, partitions: number, least: number): void {
  if (Number.isInteger(partitions) && partitions >= least && partitions <= TOPIC_PARTITIONS_MAX) return
  throw new MillraceError('INVALID_PARTITIONS', { topic, partitions, least, most: TOPIC_PARTITIONS_MAX })
}
