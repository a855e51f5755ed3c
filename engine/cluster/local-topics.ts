/**
 * Makes the topics of this broker those of the cluster: creates what came, deletes what went, grows and configures. One pass at a time, after
 * each change; what fails is tried again with the next pass, which comes by itself.
 */
import type { MillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import type { ClusterImage } from './cluster-image.ts'
import type { ClusterTopic } from './cluster-state.ts'

const RETRY_MS = 1_000

export interface LocalTopicsOptions {
  readonly broker: Broker
  readonly image: ClusterImage
  /** Partitions of a topic are there, or others than before. */
  readonly changed: (topic: string) => void
  /** A topic is about to go. */
  readonly removing: (topic: string) => Promise<void>
  readonly report: (error: unknown) => void
}

export class LocalTopics {
  readonly #options: LocalTopicsOptions
  #isDue = false
  #running: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: LocalTopicsOptions) {
    this.#options = options
  }

  /** Resolves when this broker has what the image had, or could not. */
  look(): Promise<void> {
    this.#isDue = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#retry)
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#isDue && !this.#isClosed) {
      this.#isDue = false
      const { broker, image } = this.#options
      let failed = false
      for (const topic of broker.topicNames()) {
        const isKept = image.topics.get(topic)?.topicId === broker.clientTopic(topic).topicId
        if (!isKept && !(await this.#attempt(() => this.#remove(topic)))) failed = true
      }
      for (const topic of [...image.topics.values()]) {
        if (!(await this.#attempt(() => this.#bring(topic)))) failed = true
      }
      if (failed) this.#later()
    }
  }

  #later(): void {
    clearTimeout(this.#retry)
    if (!this.#isClosed) this.#retry = setTimeout(() => void this.look(), RETRY_MS)
  }

  async #attempt(work: () => Promise<void>): Promise<boolean> {
    if (this.#isClosed) return true
    try {
      await work()
      return true
    } catch (error) {
      this.#options.report(error as MillraceError)
      return false
    }
  }

  async #remove(topic: string): Promise<void> {
    await this.#options.removing(topic)
    await this.#options.broker.deleteTopic(topic)
  }

  async #bring({ topic, topicId, partitions, config }: ClusterTopic): Promise<void> {
    const { broker, changed } = this.#options
    const stored = broker.store.topics.get(topic)
    if (stored === undefined || !broker.topicNames().includes(topic)) {
      await broker.createTopic(topic, partitions, config, topicId)
      changed(topic)
      return
    }
    if (stored.topicId !== topicId) return // it goes first
    if (stored.partitions < partitions) {
      await broker.createPartitions(topic, partitions)
      changed(topic)
    }
    const entries: Record<string, string | null> = {}
    for (const key of Object.keys(stored.config)) if (!(key in config)) entries[key] = null
    for (const [key, value] of Object.entries(config)) if (stored.config[key] !== value) entries[key] = value
    if (Object.keys(entries).length > 0) {
      await broker.alterConfig(topic, entries)
      changed(topic)
    }
  }
}
