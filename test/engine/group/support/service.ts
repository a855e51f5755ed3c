/** A coordinator over a real store in a temporary directory, with a clock that moves only when told. */
import type { TopicId } from '../../../../engine/base/brands.ts'
import { ManualClock } from '../../../../engine/base/clock.ts'
import type { GroupConfig } from '../../../../engine/group/config.ts'
import { type CoordinatorOptions, GroupCoordinator, type TopicSource } from '../../../../engine/group/coordinator.ts'
import type { GroupStorage } from '../../../../engine/group/storage.ts'
import type { Store } from '../../../../engine/store/store.ts'
import { openStore, temporaryDirectory } from '../../store/support.ts'

export class Service {
  readonly directory = temporaryDirectory()
  readonly clock = new ManualClock(1_700_000_000_000)
  readonly topics: TopicSource & { version: number }
  store: Store
  groups: GroupCoordinator
  readonly #config: Partial<GroupConfig>
  #ids = 0

  constructor(config: Partial<GroupConfig> = {}) {
    this.#config = { initialRebalanceDelayMs: 0, ...config }
    this.store = openStore(this.directory)
    const list = () =>
      this.store.topics.list().map(({ topic, topicId, partitions }) => ({ name: topic, topicId, partitions }))
    this.topics = { version: 0, list }
    this.groups = this.coordinator(this.store)
  }

  coordinator(storage: GroupStorage, more: Partial<CoordinatorOptions> = {}): GroupCoordinator {
    const newId = () => `id${++this.#ids}`
    return new GroupCoordinator(storage, this.topics, { config: this.#config, clock: this.clock, newId, ...more })
  }

  topic(name: string, partitions: number): TopicId {
    const { topicId } = this.store.topics.create(name, partitions)
    this.topics.version++
    return topicId
  }

  advance(ms: number): void {
    this.clock.advance(ms)
    this.groups.tick()
  }

  /** Closes coordinator and store, and opens both again. */
  async restart(): Promise<void> {
    await this.groups.close()
    await this.store.close()
    this.store = openStore(this.directory)
    this.groups = this.coordinator(this.store)
  }
}
