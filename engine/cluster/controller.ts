/**
 * The broker that carries elections out. Whoever writes its id under `controller`, with its lease, is it; each of its changes rests on that
 * key, so one that is not the controller any more changes nothing. All brokers run this, and one of them acts.
 */
import { asMillraceError, MillraceError } from '../base/errors.ts'
import type { ClusterImage } from './cluster-image.ts'
import { type ClusterTopic, KEY, partitionKey, partitionValue } from './cluster-state.ts'
import { type Transition, transitionsOf } from './elections.ts'
import { type Lease, type MetadataStore, OPERATIONS_MAX } from './metadata-store.ts'

/** Partitions in one commit: a check and a write each, and the check of the controller's key. */
const BATCH = Math.floor((OPERATIONS_MAX - 1) / 2)
/** A commit that was refused is tried again when the image has moved on, or after this. */
const RETRY_MS = 100

export interface ControllerOptions {
  readonly brokerId: number
  readonly store: MetadataStore
  readonly image: ClusterImage
  /** Of this broker, while it is registered. */
  readonly lease: () => Lease | undefined
  /** How often leaders are given back to preferred replicas. 0: never by itself. */
  readonly balanceMs: number
  /** Told of what went wrong, and of unclean elections. */
  readonly report: (error: MillraceError) => void
}

export class Controller {
  readonly #options: ControllerOptions
  #isRunning = false
  #isDue = false
  #isClosed = false
  #prefersFirst = false
  #retry: NodeJS.Timeout | undefined
  readonly #balancing: NodeJS.Timeout | undefined
  #work: Promise<void> = Promise.resolve()

  constructor(options: ControllerOptions) {
    this.#options = options
    options.image.onChange(() => this.look())
    if (options.balanceMs > 0) this.#balancing = setInterval(() => this.balance(), options.balanceMs).unref()
  }

  get isController(): boolean {
    const { image, brokerId, lease } = this.#options
    return image.controllerId === brokerId && lease() !== undefined
  }

  /** Gives leaders to the replicas that are preferred, if this broker is the controller. */
  balance(): void {
    this.#prefersFirst = true
    this.look()
  }

  /** Does what there is to do, soon. */
  look(): void {
    this.#isDue = true
    if (this.#isRunning || this.#isClosed) return
    this.#isRunning = true
    this.#work = this.#run()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#retry)
    clearInterval(this.#balancing)
    await this.#work
  }

  async #run(): Promise<void> {
    // What arrives in one turn is looked at once.
    await Promise.resolve()
    while (this.#isDue && !this.#isClosed) {
      this.#isDue = false
      try {
        if (!(await this.#act())) this.#lookAgain()
      } catch (error) {
        this.#lookAgain()
        if (!this.#isClosed) this.#options.report(asMillraceError(error))
      }
    }
    this.#isRunning = false
  }

  #lookAgain(): void {
    clearTimeout(this.#retry)
    if (!this.#isClosed) this.#retry = setTimeout(() => this.look(), RETRY_MS)
  }

  /** False: look again, also if nothing changes. */
  async #act(): Promise<boolean> {
    const { image, store, brokerId, lease } = this.#options
    const mine = lease()
    if (mine === undefined) return true // registering looks again
    if (image.controllerId === undefined) {
      const write = { key: KEY.controller, value: JSON.stringify({ brokerId }), lease: mine }
      const outcome = await store.commit([{ key: KEY.controller, version: 0 }], [write])
      if (outcome.kind === 'done') await image.reach(outcome.version)
      return outcome.kind !== 'undecided'
    }
    if (image.controllerId !== brokerId) return true
    const orphans = [...image.partitions.values()].filter(({ topicId }) => this.#isOrphan(topicId))
    const transitions = this.#due()
    this.#prefersFirst = false
    for (let from = 0; from < transitions.length && !this.#isClosed; from += BATCH) {
      if (!(await this.#commit(transitions.slice(from, from + BATCH)))) return false
    }
    this.#noteOrphans(orphans.map(({ topicId }) => topicId))
    return true
  }

  #due(): Transition[] {
    const { image } = this.#options
    return transitionsOf(image.partitions.values(), {
      live: new Set(image.brokers.keys()),
      draining: image.draining,
      prefersFirst: this.#prefersFirst,
      isUnclean: topicId => isUnclean(image.topicById(topicId)),
    })
  }

  async #commit(transitions: readonly Transition[]): Promise<boolean> {
    const { image, store, report } = this.#options
    const keys = transitions.map(({ partition: { topicId, partition } }) => partitionKey(topicId, partition))
    const checks = transitions.map(({ partition: { version } }, index) => ({ key: keys[index] as string, version }))
    const writes = transitions.map(({ to }, index) => ({ key: keys[index] as string, value: partitionValue(to) }))
    const mine = { key: KEY.controller, version: image.controllerVersion }
    const outcome = await store.commit([mine, ...checks], writes)
    if (outcome.kind !== 'done') return false
    for (const { partition, to, isUnclean: lossy } of transitions) {
      if (!lossy) continue
      const { topicId, partition: number } = partition
      report(new MillraceError('UNCLEAN_ELECTION', { topicId, partition: number, leader: to.leader }))
    }
    await image.reach(outcome.version)
    return true
  }

  // ── what a creation or deletion that was cut short has left ───────────────────────────────────────────────────────

  readonly #orphansSinceMs = new Map<string, number>()

  #isOrphan(topicId: string): boolean {
    return this.#options.image.topicById(topicId) === undefined
  }

  /** Partitions of a topic that has not been there for so long are of no creation under way. */
  #noteOrphans(topicIds: readonly string[]): void {
    const now = performance.now()
    const present = new Set(topicIds)
    for (const topicId of this.#orphansSinceMs.keys()) if (!present.has(topicId)) this.#orphansSinceMs.delete(topicId)
    for (const topicId of present) if (!this.#orphansSinceMs.has(topicId)) this.#orphansSinceMs.set(topicId, now)
    for (const [topicId, sinceMs] of this.#orphansSinceMs) {
      if (now - sinceMs > ORPHAN_MS) void this.#removeOrphans(topicId)
    }
    if (present.size > 0) this.#lookAgain()
  }

  async #removeOrphans(topicId: string): Promise<void> {
    const { image, store, report } = this.#options
    this.#orphansSinceMs.delete(topicId)
    const left = [...image.partitions.values()].filter(one => one.topicId === topicId)
    try {
      for (let from = 0; from < left.length; from += BATCH) {
        const some = left.slice(from, from + BATCH)
        const keys = some.map(({ partition }) => partitionKey(topicId, partition))
        const mine = { key: KEY.controller, version: image.controllerVersion }
        await store.commit(
          [mine],
          keys.map(key => ({ key, value: undefined })),
        )
      }
    } catch (error) {
      report(asMillraceError(error))
    }
  }
}

const ORPHAN_MS = 60_000

const isUnclean = (topic: ClusterTopic | undefined): boolean =>
  topic?.config['unclean.leader.election.enable'] === 'true'
