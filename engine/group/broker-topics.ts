/** The topics of a running engine, for the coordinator beside it. */
import type { TopicId } from '../base/brands.ts'
import type { Broker } from '../broker/broker.ts'
import type { TopicSource } from './coordinator.ts'
import type { TopicsChanged } from './requests.ts'

export class BrokerTopics implements TopicSource {
  readonly #broker: Broker
  readonly #names = new Map<TopicId, string>()
  #namesVersion = -1

  constructor(broker: Broker) {
    this.#broker = broker
  }

  get version(): number {
    return this.#broker.memory.metadataVersion
  }

  list(): TopicsChanged['changed'] {
    return this.#broker.topicNames().map(name => {
      const { topicId, partitions } = this.#broker.clientTopic(name)
      return { name, topicId: topicId as TopicId, partitions: partitions.length }
    })
  }

  /** Undefined for a topic that is gone. */
  nameOf(topicId: TopicId): string | undefined {
    if (this.#namesVersion !== this.version) {
      this.#namesVersion = this.version
      this.#names.clear()
      for (const topic of this.list()) this.#names.set(topic.topicId, topic.name)
    }
    return this.#names.get(topicId)
  }
}
