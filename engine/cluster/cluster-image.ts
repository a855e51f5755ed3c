/**
 * The cluster as one broker knows it: everything in the metadata store, followed by a watch. It may be a little behind, never ahead, and
 * changes in the order of the store's revisions; whoever acts on it does so by compare-and-swap on the versions that are in it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError } from '../base/errors.ts'
import {
  type ClusterPartition,
  type ClusterTopic,
  idOf,
  KEY,
  type LiveBroker,
  readBroker,
  readController,
  readPartition,
  readTopic,
} from './cluster-state.ts'
import type { Change, Entry, MetadataStore, Watch } from './metadata-store.ts'

const RETRY_MS = 200

/** What changed since the last time. */
export interface ImageChange {
  readonly brokers: boolean
  readonly controller: boolean
  /** Names of topics that came, went or changed. */
  readonly topics: ReadonlySet<string>
  /** Keys of partitions that did. */
  readonly partitions: ReadonlySet<string>
}

interface Collected {
  brokers: boolean
  controller: boolean
  topics: Set<string>
  partitions: Set<string>
}

export class ClusterImage {
  readonly #store: MetadataStore
  readonly #brokers = new Map<number, LiveBroker>()
  readonly #draining = new Set<number>()
  readonly #topics = new Map<string, ClusterTopic>()
  readonly #topicsById = new Map<string, ClusterTopic>()
  readonly #partitions = new Map<string, ClusterPartition>()
  /** By key. The same value under another version is news: a broker that registered again, a controller that is it again. */
  readonly #versions = new Map<string, number>()
  #controllerId: number | undefined
  #controllerVersion = 0
  #revision = 0
  #watch: Watch | undefined
  #isClosed = false
  readonly #waiting = new Set<{ readonly isSo: () => boolean; readonly resolve: (isSo: boolean) => void }>()
  readonly #listeners = new Set<(change: ImageChange) => void>()
  readonly #failed: (error: unknown) => void

  private constructor(store: MetadataStore, failed: (error: unknown) => void) {
    this.#store = store
    this.#failed = failed
  }

  /** @param failed told of what cannot be read, which is passed over @throws METADATA_STORE_UNAVAILABLE */
  static async open(store: MetadataStore, failed: (error: unknown) => void): Promise<ClusterImage> {
    const image = new ClusterImage(store, failed)
    await image.#load()
    return image
  }

  /** Called after each change, also for changes of its own broker. */
  onChange(listener: (change: ImageChange) => void): void {
    this.#listeners.add(listener)
  }

  /** Of the store, as of which everything here is. */
  get revision(): number {
    return this.#revision
  }

  get brokers(): ReadonlyMap<number, LiveBroker> {
    return this.#brokers
  }

  get draining(): ReadonlySet<number> {
    return this.#draining
  }

  get controllerId(): number | undefined {
    return this.#controllerId
  }

  /** Version of the key that says who the controller is, 0 without one. */
  get controllerVersion(): number {
    return this.#controllerVersion
  }

  get topics(): ReadonlyMap<string, ClusterTopic> {
    return this.#topics
  }

  /** By key. */
  get partitions(): ReadonlyMap<string, ClusterPartition> {
    return this.#partitions
  }

  topicById(topicId: string): ClusterTopic | undefined {
    return this.#topicsById.get(topicId)
  }

  partition(topicId: string, partition: number): ClusterPartition | undefined {
    return this.#partitions.get(`${KEY.partitions}${topicId}/${partition}`)
  }

  /** Resolves when everything up to a revision is here. @throws TIMED_OUT, CLOSED */
  async reach(revision: number, timeoutMs = 10_000): Promise<void> {
    if (await this.until(() => this.#revision >= revision, timeoutMs)) return
    if (this.#isClosed) throw new MillraceError('CLOSED', { object: 'cluster' })
    throw new MillraceError('TIMED_OUT', { revision, timeoutMs })
  }

  /** Resolves when something is so, which is asked after each change; with false when the time is over, or the image is closed. */
  async until(isSo: () => boolean, timeoutMs: number): Promise<boolean> {
    if (isSo()) return true
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const waiting = { isSo, resolve }
    this.#waiting.add(waiting)
    const timer = setTimeout(() => resolve(false), timeoutMs)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(waiting)
    }
  }

  close(): void {
    this.#isClosed = true
    this.#watch?.stop()
    for (const { resolve } of this.#waiting) resolve(false)
  }

  /** Everything anew; what differs from before has changed. */
  async #load(): Promise<void> {
    const { entries, revision } = await this.#store.list('')
    if (this.#isClosed) return
    const now = new Set(entries.map(({ key }) => key))
    const gone: Change[] = [...this.#versions.keys()]
      .filter(key => !now.has(key))
      .map(key => ({ key, value: undefined, version: revision }))
    const changed = entries.filter(({ key, version }) => this.#versions.get(key) !== version)
    this.#apply([...gone, ...changed], revision)
    this.#watch = this.#store.watch('', revision, {
      changed: (changes, at) => this.#apply(changes, at),
      lost: () => void this.#reload(),
    })
  }

  async #reload(): Promise<void> {
    while (!this.#isClosed) {
      try {
        await this.#load()
        return
      } catch (error) {
        if (!this.#isClosed) this.#failed(error)
        await sleep(RETRY_MS)
      }
    }
  }

  #apply(changes: readonly Change[], revision: number): void {
    const collected: Collected = { brokers: false, controller: false, topics: new Set(), partitions: new Set() }
    for (const change of changes) {
      try {
        this.#take(change, collected)
      } catch (error) {
        this.#failed(error)
      }
    }
    this.#revision = revision
    if (changes.length > 0) for (const listener of this.#listeners) listener(collected)
    for (const { isSo, resolve } of this.#waiting) if (isSo()) resolve(true)
  }

  #take({ key, value, version }: Change, collected: Collected): void {
    if (value === undefined) this.#versions.delete(key)
    else this.#versions.set(key, version)
    const entry: Entry | undefined = value === undefined ? undefined : { key, value, version }
    if (key.startsWith(KEY.brokers)) {
      collected.brokers = true
      if (entry === undefined) this.#brokers.delete(idOf(key))
      else this.#brokers.set(idOf(key), readBroker(entry))
    } else if (key.startsWith(KEY.draining)) {
      collected.brokers = true
      if (entry === undefined) this.#draining.delete(idOf(key))
      else this.#draining.add(idOf(key))
    } else if (key === KEY.controller) {
      collected.controller = true
      this.#controllerId = entry === undefined ? undefined : readController(entry)
      this.#controllerVersion = entry === undefined ? 0 : version
    } else if (key.startsWith(KEY.partitions)) {
      collected.partitions.add(key)
      if (entry === undefined) this.#partitions.delete(key)
      else this.#partitions.set(key, readPartition(entry))
    } else if (key.startsWith(KEY.topics)) this.#takeTopic(key.slice(KEY.topics.length), entry, collected)
  }

  #takeTopic(topic: string, entry: Entry | undefined, collected: Collected): void {
    collected.topics.add(topic)
    const before = this.#topics.get(topic)
    if (before !== undefined) this.#topicsById.delete(before.topicId)
    this.#topics.delete(topic)
    if (entry === undefined) return
    const now = readTopic(entry)
    this.#topics.set(topic, now)
    this.#topicsById.set(now.topicId, now)
  }
}
