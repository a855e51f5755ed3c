/**
 * Stores what changed in share partitions: all that changed while one transaction is under way goes into the next, so
 * that a slow disk makes larger transactions. An acknowledgement is answered when its transaction is on disk; what was
 * acquired is written along, for its delivery count, but nobody waits for it. Only then does the floor of retention follow.
 * Owned by the broker's thread.
 *
 * A write that fails fails those who wait for it, and what it was to store comes with the next: an acknowledgement that was refused
 * so holds while the engine runs, and may be forgotten if it dies before that.
 */
import { failpoint } from '../../base/failpoints.ts'
import type { ShareChanges, ShareKey, ShareStore } from '../../store/share-states.ts'
import type { SharePartition } from './share-partition.ts'

/** What is stored as one. */
export interface StoredUnit extends ShareKey {
  readonly share: SharePartition
  /** Its group or topic is gone: nothing of it is stored any more. */
  readonly isClosed: boolean
  /** This start offset is on disk. */
  stored(startOffset: number): void
}

/** Between two tries of a write that failed while nobody waits for it. */
const RETRY_MS = 1_000
/**
 * What was only acquired is stored for its delivery count, which nobody waits for: mostly it is acknowledged before this
 * is over, and then goes along. A transaction of its own would be one that the acknowledgement has to wait for.
 */
const LAZY_MS = 10

export class ShareWrites {
  readonly #store: ShareStore
  readonly #failed: (error: unknown) => void
  readonly #changed = new Set<StoredUnit>()
  /** Of those who wait for the transaction that comes next. */
  #waiting: PromiseWithResolvers<void> | undefined
  #running: Promise<void> | undefined
  #lazy: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined
  #isClosed = false

  /** @param failed told of writes that failed */
  constructor(store: ShareStore, failed: (error: unknown) => void) {
    this.#store = store
    this.#failed = failed
  }

  /** A share partition has changes: they are stored soon, at once when somebody waits for it. */
  note(unit: StoredUnit): void {
    if (unit.isClosed) return
    this.#changed.add(unit)
    if (this.#running === undefined && !this.#isClosed) this.#lazy ??= setTimeout(() => this.#start(), LAZY_MS).unref()
  }

  /** Resolves when all that was noted is on disk. @throws DISK_FULL, IO_ERROR, BACK_PRESSURE */
  stored(): Promise<void> {
    if (this.#changed.size === 0) return this.#running ?? Promise.resolve()
    this.#waiting ??= Promise.withResolvers()
    this.#start()
    return this.#waiting.promise
  }

  #start(): void {
    clearTimeout(this.#lazy)
    this.#lazy = undefined
    this.#running ??= this.#run()
  }

  /** Stores what is left and resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#retry)
    if (this.#changed.size > 0) this.#start()
    await this.#running
  }

  async #run(): Promise<void> {
    let isDone = false
    while (!isDone && this.#changed.size > 0) {
      await new Promise(resolve => setImmediate(resolve)) // what else changes in this turn comes along
      isDone = !(await this.#storeAll())
    }
    this.#running = undefined
  }

  /** False when it failed. */
  async #storeAll(): Promise<boolean> {
    const entries: { unit: StoredUnit; changes: ShareChanges }[] = []
    for (const unit of this.#changed) {
      if (!unit.isClosed && unit.share.hasChanges) entries.push({ unit, changes: unit.share.takeChanges() })
    }
    this.#changed.clear()
    const waiting = this.#waiting
    this.#waiting = undefined
    try {
      failpoint('share-before-put')
      await this.#store.put(entries.map(({ unit, changes }) => ({ ...keyOf(unit), changes })))
      failpoint('share-after-put')
      for (const { unit, changes } of entries) if (!unit.isClosed) unit.stored(changes.facts.startOffset)
      waiting?.resolve()
      return true
    } catch (error) {
      for (const { unit, changes } of entries) {
        unit.share.changesFailed(changes)
        this.#changed.add(unit)
      }
      this.#failed(error)
      waiting?.reject(error)
      if (!this.#isClosed) this.#retry = setTimeout(() => this.#start(), RETRY_MS).unref()
      return false
    }
  }
}

function keyOf({ group, topicId, partition }: ShareKey): ShareKey {
  return { group, topicId, partition }
}
