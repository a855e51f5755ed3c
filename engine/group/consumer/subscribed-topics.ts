/**
 * What subscriptions come to: the topics that exist of those that a member names or its pattern matches. Found once for each
 * subscription and version of the topics, and shared by all members of a group that subscribe alike: in a large group that
 * is most of what a change of one member costs.
 */
import type { TopicId } from '../../base/brands.ts'
import type { KnownTopic, TopicDirectory } from '../topic-directory.ts'
import type { TopicPattern } from '../topic-pattern.ts'

export interface SubscribedTopics {
  readonly list: readonly KnownTopic[]
  readonly topicIds: readonly TopicId[]
}

interface Named {
  readonly topicNames: readonly string[]
  readonly topicRegex: string
}

export class SubscriptionCache {
  #version = -1
  #found = new Map<string, SubscribedTopics>()
  /** By the names' own array, which a member keeps while its subscription stays: spares making the key. */
  #byNames = new WeakMap<readonly string[], Map<string, SubscribedTopics>>()

  /** @param patternOf compiles a pattern, once */
  topicsOf(
    subscription: Named,
    directory: TopicDirectory,
    patternOf: (text: string) => TopicPattern,
  ): SubscribedTopics {
    if (this.#version !== directory.version) this.clear(directory.version)
    const { topicNames, topicRegex } = subscription
    let byPattern = this.#byNames.get(topicNames)
    const known = byPattern?.get(topicRegex)
    if (known !== undefined) return known
    const key = JSON.stringify([topicRegex, topicNames])
    const topics = this.#found.get(key) ?? find(subscription, directory, patternOf)
    this.#found.set(key, topics)
    byPattern ??= new Map()
    byPattern.set(topicRegex, topics)
    this.#byNames.set(topicNames, byPattern)
    return topics
  }

  /** Forgets everything, also subscriptions that no member has any more. */
  clear(version = -1): void {
    this.#version = version
    this.#found = new Map()
    this.#byNames = new WeakMap()
  }
}

function find(
  { topicNames, topicRegex }: Named,
  directory: TopicDirectory,
  patternOf: (text: string) => TopicPattern,
): SubscribedTopics {
  const matching = topicRegex === '' ? [] : patternOf(topicRegex).topicsOf(directory)
  const list: KnownTopic[] = []
  for (const name of matching.length === 0 ? topicNames : new Set([...topicNames, ...matching])) {
    const topic = directory.named(name)
    if (topic !== undefined) list.push(topic)
  }
  return { list, topicIds: list.map(({ topicId }) => topicId) }
}
