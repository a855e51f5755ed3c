/**
 * The metadata store of a simulation: what etcd and LMDB promise (`metadata-store.ts`), and the worst that this allows. Answers get lost, changes
 * are made long after their caller was told that nobody knows, watches are late or lost, leases are taken back some time after their end.
 */
import { MillraceError } from '../../../../engine/base/errors.ts'
import type { Random } from '../../../../engine/base/random.ts'
import { KEY } from '../../../../engine/cluster/cluster-state.ts'
import {
  type Change,
  type Check,
  type CommitOutcome,
  demandCommit,
  type Entry,
  type Lease,
  leaseMarginMs,
  type MetadataStore,
  type Watch,
  type WatchListener,
  type Write,
} from '../../../../engine/cluster/metadata-store.ts'
import type { Process, VirtualTime } from './virtual-time.ts'

/** How long a caller waits for an answer. */
const ANSWER_MS = 400
const LATE_MS_MAX = 2_500
/** From the end of a lease until its keys go. */
const REAP_MS_MAX = 150

export interface Troubles {
  /** Of calls, that nothing is done. */
  unavailable: number
  /** Of commits, that the answer is lost. */
  lost: number
  /** Of commits, that they are made late, and nobody is told. */
  late: number
  /** Of changes, that a watch has to begin anew. */
  lostWatch: number
}

interface HeldLease {
  readonly ms: number
  endsAtMs: number
  isOver: boolean
  readonly keys: Set<string>
}

interface Watcher {
  readonly prefix: string
  readonly listener: WatchListener
  readonly client: SimulatedStore
  lastAtMs: number
  isStopped: boolean
}

/** What is wrong on purpose, to see that the simulation notices. */
export interface StoreMistakes {
  /** Changes of partitions are made whatever version these keys have. */
  readonly unchecked?: string
  /** A lease goes on for its holder longer than for the store. */
  readonly leaseOverMs?: number
}

export class SimulatedMetadata {
  readonly time: VirtualTime
  readonly random: Random
  readonly mistakes: StoreMistakes
  troubles: Troubles = { unavailable: 0, lost: 0, late: 0, lostWatch: 0 }
  /** Told of each change before anybody else, with what was there before. */
  changed: (change: Change, before: string | undefined) => void = () => {}
  readonly #entries = new Map<string, Entry>()
  readonly #leaseOf = new Map<string, HeldLease>()
  readonly #watchers = new Set<Watcher>()
  readonly #history: { readonly revision: number; readonly changes: readonly Change[] }[] = []
  /** Keep-alives come too late also where the keys are still there (LMDB). */
  readonly #isStrict: boolean
  #revision = 0

  constructor(time: VirtualTime, random: Random, mistakes: StoreMistakes) {
    this.time = time
    this.random = random
    this.mistakes = mistakes
    this.#isStrict = random.chance(0.5)
  }

  get revision(): number {
    return this.#revision
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key)
  }

  list(prefix: string): { entries: Entry[]; revision: number } {
    const entries = [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix))
    return { entries: entries.sort((a, b) => (a.key < b.key ? -1 : 1)), revision: this.#revision }
  }

  /** @throws LEASE_LOST */
  commit(checks: readonly Check[], writes: readonly Write[], leases: ReadonlyMap<Lease, HeldLease>): CommitOutcome {
    const held = writes.map(({ lease }) => (lease === undefined ? undefined : leases.get(lease)))
    if (held.some(lease => lease?.isOver)) throw new MillraceError('LEASE_LOST', {})
    const unchecked = writes.every(({ key }) => key.startsWith(KEY.partitions)) ? this.mistakes.unchecked : undefined
    const isSo = ({ key, version }: Check): boolean =>
      (unchecked !== undefined && key.startsWith(unchecked)) || (this.#entries.get(key)?.version ?? 0) === version
    if (!checks.every(isSo)) {
      return { kind: 'refused', found: checks.flatMap(({ key }) => this.#entries.get(key) ?? []) }
    }
    const version = this.put(writes, held)
    return { kind: 'done', version }
  }

  put(writes: readonly Write[], leases: readonly (HeldLease | undefined)[] = []): number {
    const revision = ++this.#revision
    const changes: Change[] = []
    for (const [index, { key, value }] of writes.entries()) {
      const before = this.#entries.get(key)?.value
      if (value === undefined && before === undefined) continue
      this.#leaseOf.get(key)?.keys.delete(key)
      this.#leaseOf.delete(key)
      if (value === undefined) this.#entries.delete(key)
      else {
        this.#entries.set(key, { key, value, version: revision })
        const lease = leases[index]
        if (lease !== undefined) this.#leaseOf.set(key, lease)
        lease?.keys.add(key)
      }
      const change = { key, value, version: revision }
      changes.push(change)
      this.changed(change, before)
    }
    this.#history.push({ revision, changes })
    for (const watcher of this.#watchers) this.#tell(watcher, changes, revision)
    return revision
  }

  grant(ms: number): HeldLease {
    const lease = { ms, endsAtMs: this.time.nowMs + ms, isOver: false, keys: new Set<string>() }
    this.#reapAfter(lease)
    return lease
  }

  keep(lease: HeldLease): boolean {
    if (lease.isOver || (this.#isStrict && this.time.nowMs >= lease.endsAtMs)) return false
    lease.endsAtMs = this.time.nowMs + lease.ms
    return true
  }

  end(lease: HeldLease): void {
    if (lease.isOver) return
    lease.isOver = true
    if (lease.keys.size > 0) this.put([...lease.keys].map(key => ({ key, value: undefined })))
  }

  watch(watcher: Watcher, afterRevision: number): void {
    this.#watchers.add(watcher)
    for (const { revision, changes } of this.#history.slice(afterRevision)) {
      if (this.#watchers.has(watcher)) this.#tell(watcher, changes, revision)
    }
  }

  forget(watcher: Watcher): void {
    this.#watchers.delete(watcher)
  }

  #reapAfter(lease: HeldLease): void {
    const waitMs = lease.endsAtMs - this.time.nowMs + this.random.below(REAP_MS_MAX)
    this.time.after(waitMs, undefined, () => {
      if (lease.isOver) return
      if (this.time.nowMs >= lease.endsAtMs) this.end(lease)
      else this.#reapAfter(lease)
    })
  }

  #tell(watcher: Watcher, all: readonly Change[], revision: number): void {
    const changes = all.filter(({ key }) => key.startsWith(watcher.prefix))
    if (this.random.chance(this.troubles.lostWatch)) this.#lose(watcher)
    else if (changes.length > 0) this.#deliver(watcher, () => watcher.listener.changed(changes, revision))
  }

  #lose(watcher: Watcher): void {
    this.forget(watcher)
    this.#deliver(watcher, () => {
      watcher.isStopped = true
      watcher.listener.lost()
    })
  }

  /** In order, each no earlier than the last. */
  #deliver(watcher: Watcher, tell: () => void): void {
    const { client } = watcher
    const atMs = Math.max(this.time.nowMs + client.watchDelayMs(), client.cutOffUntilMs, watcher.lastAtMs)
    watcher.lastAtMs = atMs
    this.time.after(atMs - this.time.nowMs, client.process, () => {
      if (!watcher.isStopped) tell()
    })
  }
}

/** The store as one broker reaches it. */
export class SimulatedStore implements MetadataStore {
  readonly address = 'simulated:'
  readonly process: Process
  /** It reaches nobody before that. */
  cutOffUntilMs = 0
  readonly #data: SimulatedMetadata
  readonly #leases = new Map<Lease, HeldLease>()
  readonly #slowness: number

  constructor(data: SimulatedMetadata, process: Process) {
    this.#data = data
    this.process = process
    this.#slowness = data.random.pick([2, 10, 200])
  }

  /** Until a change is told here. */
  watchDelayMs(): number {
    const { random } = this.#data
    return 1 + random.below(random.chance(0.1) ? 3 * this.#slowness : this.#slowness)
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#call(() => this.#data.get(key))
  }

  list(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    return this.#call(() => this.#data.list(prefix))
  }

  async commit(checks: readonly Check[], writes: readonly Write[]): Promise<CommitOutcome> {
    demandCommit(checks, writes)
    const { random, troubles, time } = this.#data
    const make = (): CommitOutcome => this.#data.commit(checks, writes, this.#leases)
    const isLate = random.chance(troubles.late)
    if (!isLate && !random.chance(troubles.lost)) return await this.#call(make)
    const afterMs = isLate ? ANSWER_MS + random.below(LATE_MS_MAX) : random.below(10)
    if (!this.#isCutOff && random.chance(0.9)) {
      time.after(afterMs, undefined, () => {
        try {
          make()
        } catch {
          // Its lease is over by then.
        }
      })
    }
    await time.sleep(ANSWER_MS)
    return { kind: 'undecided' }
  }

  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch {
    const watcher: Watcher = { prefix, listener, client: this, lastAtMs: 0, isStopped: false }
    this.#data.watch(watcher, afterRevision)
    return {
      stop: () => {
        watcher.isStopped = true
        this.#data.forget(watcher)
      },
    }
  }

  async lease(ms: number): Promise<Lease> {
    const data = this.#data
    const marginMs = leaseMarginMs(ms) - (data.mistakes.leaseOverMs ?? 0)
    let endsAtMs = data.time.nowMs + ms - marginMs
    const held = await this.#call(() => data.grant(ms))
    const lease: Lease = {
      get endsAtMs() {
        return endsAtMs
      },
      keepAlive: async () => {
        const sentAtMs = data.time.nowMs
        const isKept = await this.#call(() => data.keep(held))
        if (isKept) endsAtMs = sentAtMs + ms - marginMs
        return isKept
      },
      revoke: () => this.#call(() => data.end(held)),
    }
    this.#leases.set(lease, held)
    return lease
  }

  async close(): Promise<void> {}

  get #isCutOff(): boolean {
    return this.#data.time.nowMs < this.cutOffUntilMs
  }

  /** There, done, and back; or nothing. */
  #call<T>(work: () => T): Promise<T> {
    const { time, random, troubles } = this.#data
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const fail = (): void => reject(new MillraceError('METADATA_STORE_UNAVAILABLE', {}))
    if (this.#isCutOff || random.chance(troubles.unavailable)) time.after(random.below(100), this.process, fail)
    else {
      const backMs = random.below(3)
      time.after(random.below(random.chance(0.05) ? 150 : 3), undefined, () => {
        try {
          const answer = work()
          time.after(backMs, this.process, () => resolve(answer))
        } catch (error) {
          time.after(backMs, this.process, () => reject(error))
        }
      })
    }
    return promise
  }
}
