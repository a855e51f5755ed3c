/** The topics as the coordinator sees them: names, ids and numbers of partitions, and a version that rises with every change. */
import type { TopicId } from '../base/brands.ts'
import type { TopicsChanged } from './requests.ts'

export interface KnownTopic {
  readonly name: string
  readonly topicId: TopicId
  readonly partitions: number
}

export class TopicDirectory {
  readonly #byName = new Map<string, KnownTopic>()
  readonly #byId = new Map<TopicId, KnownTopic>()
  #version = 0

  get version(): number {
    return this.#version
  }

  names(): Iterable<string> {
    return this.#byName.keys()
  }

  named(name: string): KnownTopic | undefined {
    return this.#byName.get(name)
  }

  withId(topicId: TopicId): KnownTopic | undefined {
    return this.#byId.get(topicId)
  }

  apply({ changed, removed }: TopicsChanged): void {
    for (const name of removed) this.#remove(name)
    for (const { name, topicId, partitions } of changed) {
      this.#remove(name)
      const topic = { name, topicId, partitions }
      this.#byName.set(name, topic)
      this.#byId.set(topicId, topic)
    }
    this.#version++
  }

  #remove(name: string): void {
    const topic = this.#byName.get(name)
    if (topic === undefined) return
    this.#byName.delete(name)
    this.#byId.delete(topic.topicId)
  }
}
