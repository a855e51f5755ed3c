/**
 * The metadata store of a cluster on one machine: an LMDB environment that all its brokers open, in one process or in several.
 *
 *     <directory>/cluster/store     keys and values (engine/store/shared-entries.ts)
 *     <directory>/cluster/leases    leases and the last revision, mapped (engine/memory/lease-table.ts)
 *     <directory>/cluster/lock      whoever has its advisory lock may write
 *
 * LMDB's own lock for writers would stop the thread that waits for it, for as long as its holder is stopped. So there is the lock
 * file: it is tried, not waited for, the kernel gives it back when its holder dies, and who does not get it in time has written
 * nothing. One transaction is one turn of the event loop that holds it.
 *
 * Watching is looking: at the revision in the mapping every few milliseconds, and in LMDB itself now and then, for the case that
 * a writer died before it told. Whoever looks also ends the leases that are over.
 */
import { randomInt } from 'node:crypto'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileError, MillraceError } from '../base/errors.ts'
import { LeaseTable } from '../memory/lease-table.ts'
import { tryLock, unlock } from '../memory/libc.ts'
import { type SharedChange, SharedEntries } from '../store/shared-entries.ts'
import {
  CALL_TIMEOUT_MS,
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
} from './metadata-store.ts'

const LOOK_MS = 5
/** Looks between two of which LMDB itself, and the leases, are looked at too. */
const LOOKS_OF_ALL = 10
const LOCK_RETRY_MS = 2
const LEASE_ID_END = 2 ** 47

interface Watcher {
  readonly prefix: string
  readonly listener: WatchListener
  seen: number
}

export interface LmdbMetadataOptions {
  /** The directory of the cluster; it is created if need be. */
  readonly directory: string
  /** Identity of this boot of the machine: leases of another one are over. */
  readonly bootId: string
  /** Of the wait for the lock. Default CALL_TIMEOUT_MS. */
  readonly timeoutMs?: number
}

export class LmdbMetadata implements MetadataStore {
  readonly address: string
  readonly #lock: WriteLock
  readonly #entries: SharedEntries
  readonly #leases: LeaseTable
  readonly #watchers = new Set<Watcher>()
  readonly #timer: NodeJS.Timeout
  #looks = 0
  #ending = false
  #closing: Promise<void> | undefined

  private constructor(directory: string, lock: WriteLock, entries: SharedEntries, leases: LeaseTable) {
    this.address = `lmdb:${directory}`
    this.#lock = lock
    this.#entries = entries
    this.#leases = leases
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
  }

  /** @throws METADATA_STORE_UNAVAILABLE: the lock was not to be had; CORRUPT_STORE, DISK_FULL, IO_ERROR */
  static async open({ directory, bootId, timeoutMs = CALL_TIMEOUT_MS }: LmdbMetadataOptions): Promise<LmdbMetadata> {
    const folder = join(directory, 'cluster')
    const lock = WriteLock.open(folder, timeoutMs)
    try {
      return await lock.hold(() => {
        const leases = LeaseTable.open(join(folder, 'leases'), bootId)
        try {
          lock.leases = leases
          return new LmdbMetadata(directory, lock, SharedEntries.open(folder), leases)
        } catch (error) {
          leases.close()
          throw error
        }
      })
    } catch (error) {
      lock.close()
      throw error
    }
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#demandOpen()
    return this.#entries.get(key)
  }

  async list(prefix: string): Promise<{ entries: readonly Entry[]; revision: number }> {
    this.#demandOpen()
    return this.#entries.list(prefix)
  }

  async commit(checks: readonly Check[], writes: readonly Write[]): Promise<CommitOutcome> {
    demandCommit(checks, writes)
    const changes: SharedChange[] = writes.map(({ key, value, lease }) => ({ key, value, lease: this.#idOf(lease) }))
    return await this.#write(() => {
      const version = this.#entries.change(changes, () => {
        for (const { lease } of writes) if (lease !== undefined && !(lease as LmdbLease).isAlive) throw leaseLost()
        return checks.every(({ key, version: expected }) => (this.#entries.get(key)?.version ?? 0) === expected)
      })
      if (version !== undefined) return { kind: 'done', version }
      const keys = new Set(checks.map(({ key }) => key))
      return { kind: 'refused', found: [...keys].flatMap(key => this.#entries.get(key) ?? []) }
    })
  }

  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch {
    this.#demandOpen()
    const watcher = { prefix, listener, seen: afterRevision }
    this.#watchers.add(watcher)
    return { stop: () => this.#watchers.delete(watcher) }
  }

  async lease(ms: number): Promise<Lease> {
    return await this.#write(() => {
      const id = randomInt(1, LEASE_ID_END)
      const slot = this.#leases.take(id, ms)
      if (slot === undefined) throw new MillraceError('METADATA_STORE_UNAVAILABLE', { reason: 'too many leases' })
      const lease = new LmdbLease(this.#leases, { slot, id, ms }, () => this.#write(() => this.#endLeases()))
      if (!lease.keep()) throw leaseLost()
      return lease
    })
  }

  /** Process that has the lock just now, 0 for none: whom to blame when nobody can write. */
  get writer(): number {
    return this.#leases.writer
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer)
    this.#watchers.clear()
    await this.#lock.idle()
    await this.#entries.close()
    this.#lock.close()
    this.#leases.close()
  }

  #demandOpen(): void {
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', { store: this.address })
  }

  async #write<T>(work: () => T): Promise<T> {
    this.#demandOpen()
    return await this.#lock.hold(() => {
      try {
        return work()
      } finally {
        this.#leases.tell(this.#entries.revision)
      }
    })
  }

  #idOf(lease: Lease | undefined): number | undefined {
    if (lease === undefined) return undefined
    if (!(lease instanceof LmdbLease)) throw new MillraceError('INVALID_ARGUMENT', { argument: 'lease' })
    return lease.id
  }

  #endLeases(): void {
    const finished = this.#leases.finish()
    this.#entries.removeLeased(finished.map(({ id }) => id))
    for (const { slot } of finished) this.#leases.free(slot)
  }

  #look(): void {
    const looksAtAll = this.#looks++ % LOOKS_OF_ALL === 0
    if (looksAtAll && !this.#ending && this.#leases.hasFinished) {
      this.#ending = true
      // Whoever cannot write now tries again; others do the same.
      const tried = this.#write(() => this.#endLeases()).catch(() => {})
      void tried.finally(() => {
        this.#ending = false
      })
    }
    const { revision } = this.#leases
    for (const watcher of this.#watchers) if (looksAtAll || watcher.seen < revision) this.#tell(watcher)
  }

  #tell(watcher: Watcher): void {
    let behind: ReturnType<SharedEntries['changesAfter']>
    try {
      behind = this.#entries.changesAfter(watcher.seen)
    } catch {
      behind = undefined // its list will say what is wrong
    }
    if (behind === undefined) {
      this.#watchers.delete(watcher)
      watcher.listener.lost()
      return
    }
    for (const { revision, changes } of behind) {
      if (!this.#watchers.has(watcher)) return
      watcher.seen = revision
      const concerned = changes.filter(({ key }) => key.startsWith(watcher.prefix))
      if (concerned.length === 0) continue
      const told = concerned.map(({ key, value }) => ({ key, value, version: revision }))
      watcher.listener.changed(told, revision)
    }
  }
}

class LmdbLease implements Lease {
  readonly id: number
  readonly #leases: LeaseTable
  readonly #slot: number
  readonly #ms: number
  readonly #finish: () => Promise<void>
  #endsAtMs = 0

  constructor(
    leases: LeaseTable,
    { slot, id, ms }: { slot: number; id: number; ms: number },
    finish: () => Promise<void>,
  ) {
    this.#leases = leases
    this.#slot = slot
    this.id = id
    this.#ms = ms
    this.#finish = finish
  }

  get endsAtMs(): number {
    return this.#endsAtMs
  }

  get isAlive(): boolean {
    return this.#leases.isAlive(this.#slot, this.id)
  }

  keep(): boolean {
    const end = this.#leases.keep(this.#slot, this.id, this.#ms)
    if (end !== undefined) this.#endsAtMs = end - leaseMarginMs(this.#ms)
    return end !== undefined
  }

  async keepAlive(): Promise<boolean> {
    return this.keep()
  }

  async revoke(): Promise<void> {
    this.#leases.end(this.#slot, this.id)
    this.#endsAtMs = 0
    await this.#finish()
  }
}

/** The lock file, tried by one at a time of those who want it here. */
class WriteLock {
  readonly #fd: number
  readonly #timeoutMs: number
  /** Where the holder says who it is; known once the file is open. */
  leases: LeaseTable | undefined
  #last: Promise<unknown> = Promise.resolve()
  #isClosed = false

  private constructor(fd: number, timeoutMs: number) {
    this.#fd = fd
    this.#timeoutMs = timeoutMs
  }

  static open(folder: string, timeoutMs: number): WriteLock {
    try {
      mkdirSync(folder, { recursive: true })
      return new WriteLock(openSync(join(folder, 'lock'), 'a+'), timeoutMs)
    } catch (error) {
      throw fileError(error, { path: folder })
    }
  }

  /** Does some work with the lock, in one turn of the event loop. @throws METADATA_STORE_UNAVAILABLE: it was not done */
  hold<T>(work: () => T): Promise<T> {
    const deadline = performance.now() + this.#timeoutMs
    const held = this.#last.then(() => this.#hold(work, deadline))
    this.#last = held.catch(() => {})
    return held
  }

  /** Resolves when nobody wants it here any more. */
  async idle(): Promise<void> {
    await this.#last
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.#fd)
    this.#isClosed = true
  }

  async #hold<T>(work: () => T, deadline: number): Promise<T> {
    while (!tryLock(this.#fd, 'exclusive')) {
      if (performance.now() > deadline) {
        const pid = this.leases?.writer ?? 0
        throw new MillraceError('METADATA_STORE_UNAVAILABLE', { reason: 'another process has its lock', pid })
      }
      await sleep(LOCK_RETRY_MS)
    }
    try {
      if (this.leases !== undefined) this.leases.writer = process.pid
      return work()
    } finally {
      if (this.leases !== undefined) this.leases.writer = 0
      unlock(this.#fd)
    }
  }
}

const leaseLost = (): MillraceError => new MillraceError('LEASE_LOST', {})
