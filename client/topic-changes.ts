/** Who changes topics: the engine itself, or the cluster of which it is one broker. */
import { MillraceError } from '../engine/base/errors.ts'
import type { Broker } from '../engine/broker/broker.ts'

type Config = Readonly<Record<string, string | number | boolean>>

export interface NewTopic {
  readonly topic: string
  readonly partitions: number
  readonly replicationFactor: number | undefined
  readonly config: Config
}

export interface TopicChanges {
  /** @returns the topic's id */
  createTopic(topic: NewTopic): Promise<string>
  createPartitions(topic: string, partitions: number): Promise<void>
  alterConfig(topic: string, config: Readonly<Record<string, string | number | boolean | null>>): Promise<void>
  deleteTopic(topic: string): Promise<void>
  /** @throws INVALID_ARGUMENT for what is done to a directory that stands alone only */
  demandAlone(work: string): void
}

export class OwnTopics implements TopicChanges {
  readonly #broker: Broker

  constructor(broker: Broker) {
    this.#broker = broker
  }

  async createTopic({ topic, partitions, replicationFactor = 1, config }: NewTopic): Promise<string> {
    if (replicationFactor !== 1)
      throw new MillraceError('INVALID_REPLICATION_FACTOR', { topic, replicationFactor, liveBrokers: 1 })
    return await this.#broker.createTopic(topic, partitions, config)
  }

  createPartitions(topic: string, partitions: number): Promise<void> {
    return this.#broker.createPartitions(topic, partitions)
  }

  alterConfig(topic: string, config: Readonly<Record<string, string | number | boolean | null>>): Promise<void> {
    return this.#broker.alterConfig(topic, config)
  }

  deleteTopic(topic: string): Promise<void> {
    return this.#broker.deleteTopic(topic)
  }

  demandAlone(): void {
    // It does.
  }
}

/** Of a broker that is one of several, once it has joined them. */
export class SharedTopics implements TopicChanges {
  readonly #joined: () => Omit<TopicChanges, 'demandAlone'> | undefined

  constructor(joined: () => Omit<TopicChanges, 'demandAlone'> | undefined) {
    this.#joined = joined
  }

  get #cluster(): Omit<TopicChanges, 'demandAlone'> {
    const joined = this.#joined()
    if (joined !== undefined) return joined
    throw new MillraceError('INVALID_ARGUMENT', {
      argument: 'engine',
      expected: 'one that has joined its cluster: listen first',
    })
  }

  async createTopic(topic: NewTopic): Promise<string> {
    return await this.#cluster.createTopic(topic)
  }

  async createPartitions(topic: string, partitions: number): Promise<void> {
    await this.#cluster.createPartitions(topic, partitions)
  }

  async alterConfig(topic: string, config: Readonly<Record<string, string | number | boolean | null>>): Promise<void> {
    await this.#cluster.alterConfig(topic, config)
  }

  async deleteTopic(topic: string): Promise<void> {
    await this.#cluster.deleteTopic(topic)
  }

  demandAlone(work: string): void {
    throw new MillraceError('INVALID_ARGUMENT', {
      argument: work,
      expected: 'an engine that is no broker of a cluster',
    })
  }
}
