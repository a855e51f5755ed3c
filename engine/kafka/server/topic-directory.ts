/** The topics of a running engine by name and by id, remembered until one of them changes. Used by the broker's thread. */
import type { Broker } from '../../broker/broker.ts'
import type { ClientTopic } from '../../broker/topic-metadata.ts'

export class TopicDirectory {
  readonly #broker: Broker
  readonly #byName = new Map<string, ClientTopic>()
  readonly #byId = new Map<string, ClientTopic>()
  /** Topics whose records have the time at which they were appended. */
  readonly #logAppendTime = new Set<string>()
  #version = -1

  constructor(broker: Broker) {
    this.#broker = broker
  }

  /** Undefined for a topic that is not there. */
  byName(topic: string): ClientTopic | undefined {
    this.#refresh()
    return this.#byName.get(topic)
  }

  /** @param topicId a UUID as text, in lower case */
  byId(topicId: string): ClientTopic | undefined {
    this.#refresh()
    return this.#byId.get(topicId)
  }

  /** Its records have the time at which they were appended: `message.timestamp.type=LogAppendTime`. */
  isLogAppendTime(topic: string): boolean {
    this.#refresh()
    return this.#logAppendTime.has(topic)
  }

  /** By name. */
  all(): readonly ClientTopic[] {
    this.#refresh()
    return [...this.#byName.values()]
  }

  #refresh(): void {
    const version = this.#broker.memory.metadataVersion
    if (version === this.#version) return
    this.#byName.clear()
    this.#byId.clear()
    this.#logAppendTime.clear()
    for (const name of this.#broker.topicNames()) {
      const topic = this.#broker.clientTopic(name)
      this.#byName.set(name, topic)
      this.#byId.set(topic.topicId, topic)
      if (this.#broker.topicConfig(name)['message.timestamp.type'] === 'LogAppendTime') this.#logAppendTime.add(name)
    }
    this.#version = version
  }
}
