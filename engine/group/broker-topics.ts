/** The topics of a running engine, for the coordinator beside it. */
import type { TopicId } from '../base/brands.ts'
import type { Broker } from '../broker/broker.ts'
import type { TopicSource } from './coordinator.ts'
import type { TopicsChanged } from './requests.ts'

export class BrokerTopics implements TopicSource {
  readonly #broker: Broker

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
}
