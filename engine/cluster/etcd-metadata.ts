/**
 * The metadata store of a cluster on many machines: etcd, through `etcd3`. Versions are etcd's modification revisions.
 *
 * Nothing is sent twice: a transaction that was sent again by the library after it had been applied would be refused by what it
 * wrote itself. So what got no answer is undecided, and what to do is the caller's.
 */
import { noop } from 'cockatiel'
import { Etcd3, EtcdLeaseInvalidError, type Lease as GrantedLease, type IRequestOp, type IWatchResponse } from 'etcd3'
import { MillraceError } from '../base/errors.ts'
import { bootTimeMs } from '../memory/libc.ts'
import {
  CALL_TIMEOUT_MS,
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
} from './metadata-store.ts'

/** How soon the library tries to reach etcd again, for calls and for watches. */
const RECONNECT_MS = 200
const RECONNECT_MAX_MS = 1_000
/** A silent connection is asked for a sign of life; etcd forbids to ask more often than every 5 s. */
const PING_MS = 5_000
const PING_TIMEOUT_MS = 2_000
/** etcd grants no shorter lease with its usual election timeout. */
export const ETCD_LEASE_MIN_MS = 2_000

export interface EtcdMetadataOptions {
  /** `host:port` of its members. */
  readonly hosts: readonly string[]
  /** In front of every key. Default `millrace/`. */
  readonly prefix?: string
  /** Of a call. Default CALL_TIMEOUT_MS. */
  readonly timeoutMs?: number
}

export class EtcdMetadata implements MetadataStore {
  readonly address: string
  readonly #client: Etcd3
  readonly #prefix: string
  readonly #timeoutMs: number
  readonly #watches = new Set<EtcdWatch>()
  #isClosed = false

  /** Connects with the first call. */
  constructor({ hosts, prefix = 'millrace/', timeoutMs = CALL_TIMEOUT_MS }: EtcdMetadataOptions) {
    this.address = `etcd://${hosts.join(',')}`
    this.#prefix = prefix
    this.#timeoutMs = timeoutMs
    this.#client = new Etcd3({
      hosts: [...hosts],
      dialTimeout: timeoutMs,
      faultHandling: { host: () => noop, global: noop },
      grpcOptions: {
        'grpc.initial_reconnect_backoff_ms': RECONNECT_MS,
        'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
        'grpc.keepalive_time_ms': PING_MS,
        'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
      },
    })
  }

  async get(key: string): Promise<Entry | undefined> {
    const { kvs } = await this.#ask(() => this.#client.get(this.#prefix + key).exec())
    return kvs[0] === undefined ? undefined : this.#entry(kvs[0])
  }

  async list(prefix: string): Promise<{ entries: readonly Entry[]; revision: number }> {
    const { kvs, header } = await this.#ask(() =>
      this.#client
        .getAll()
        .prefix(this.#prefix + prefix)
        .exec(),
    )
    return { entries: kvs.map(one => this.#entry(one)), revision: Number(header.revision) }
  }

  async commit(checks: readonly Check[], writes: readonly Write[]): Promise<CommitOutcome> {
    demandCommit(checks, writes)
    const compare = checks.map(({ key, version }) => ({
      result: 'Equal' as const,
      target: 'Mod' as const,
      key: this.#bytes(key),
      mod_revision: String(version),
    }))
    const success = writes.map(write => this.#operation(write))
    const keys = [...new Set(checks.map(({ key }) => key))]
    const failure = keys.map(key => ({ request_range: { key: this.#bytes(key) } }))
    try {
      const answer = await this.#within(() => this.#client.kv.txn({ compare, success, failure }))
      if (answer.succeeded) return { kind: 'done', version: Number(answer.header.revision) }
      const found = answer.responses.flatMap(one => one.response_range?.kvs ?? [])
      return { kind: 'refused', found: found.map(one => this.#entry(one)) }
    } catch (error) {
      if (error instanceof EtcdLeaseInvalidError || /lease not found/.test(String(error))) {
        throw new MillraceError('LEASE_LOST', {}, error)
      }
      if (error instanceof MillraceError && error.code !== 'METADATA_STORE_UNAVAILABLE') throw error
      return { kind: 'undecided' }
    }
  }

  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch {
    this.#demandOpen()
    const watch = new EtcdWatch(
      {
        connect: () => this.#client.watchClient.watch(),
        key: this.#bytes(prefix),
        hidden: this.#prefix.length,
        listener,
        stopped: ended => this.#watches.delete(ended),
      },
      afterRevision,
    )
    this.#watches.add(watch)
    return watch
  }

  async lease(ms: number): Promise<Lease> {
    const seconds = Math.ceil(Math.max(ms, ETCD_LEASE_MIN_MS) / 1000)
    const sentAtMs = bootTimeMs()
    const granted = this.#client.lease(seconds, { autoKeepAlive: false })
    const id = await this.#ask(() => granted.grant())
    return new EtcdLease({ id, granted, ms: seconds * 1000, sentAtMs, timeoutMs: this.#timeoutMs })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const watch of this.#watches) watch.stop()
    this.#client.close()
  }

  #demandOpen(): void {
    if (this.#isClosed) throw new MillraceError('CLOSED', { store: this.address })
  }

  #bytes(key: string): Buffer {
    return Buffer.from(this.#prefix + key)
  }

  #entry({ key, value, mod_revision }: { key: Buffer; value: Buffer; mod_revision: string }): Entry {
    return { key: key.toString().slice(this.#prefix.length), value: value.toString(), version: Number(mod_revision) }
  }

  #operation({ key, value, lease }: Write): IRequestOp {
    if (value === undefined) return { request_delete_range: { key: this.#bytes(key) } }
    if (lease !== undefined && !(lease instanceof EtcdLease)) {
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'lease' })
    }
    const rests = lease === undefined ? {} : { lease: lease.id }
    return { request_put: { key: this.#bytes(key), value: Buffer.from(value), ...rests } }
  }

  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await this.#within(call)
    } catch (error) {
      if (error instanceof MillraceError) throw error
      throw new MillraceError('METADATA_STORE_UNAVAILABLE', { store: this.address }, error)
    }
  }

  async #within<T>(call: () => Promise<T>): Promise<T> {
    this.#demandOpen()
    return await within(call(), this.#timeoutMs)
  }
}

/**
 * A watch with a stream of its own, which is opened again from where it was when it breaks. The library's watches share a stream and
 * go on from the revision of the last answer; a late error of the old stream can end the new one.
 */
class EtcdWatch implements Watch {
  readonly #options: EtcdWatchOptions
  #seen: number
  #stream: WatchStream | undefined
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(options: EtcdWatchOptions, afterRevision: number) {
    this.#options = options
    this.#seen = afterRevision
    void this.#open()
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#options.stopped(this)
    this.#stream?.cancel()
  }

  async #open(): Promise<void> {
    const { connect, key } = this.#options
    try {
      const stream = await connect()
      if (this.#isOver) {
        stream.on('error', () => {})
        stream.cancel()
        return
      }
      this.#stream = stream
      stream.on('data', answer => this.#take(answer, stream))
      stream.on('error', () => this.#again(stream))
      stream.on('end', () => this.#again(stream))
      stream.write({ create_request: { key, range_end: endOfPrefix(key), start_revision: String(this.#seen + 1) } })
    } catch {
      this.#again(undefined)
    }
  }

  #again(stream: WatchStream | undefined): void {
    if (this.#isOver || stream !== this.#stream) return
    this.#stream = undefined
    stream?.cancel()
    this.#timer = setTimeout(() => void this.#open(), RECONNECT_MS)
  }

  #take({ events, canceled }: IWatchResponse, stream: WatchStream): void {
    if (stream !== this.#stream) return
    if (canceled) {
      this.stop()
      this.#options.listener.lost()
      return
    }
    const byRevision = new Map<number, Change[]>()
    for (const { type, kv } of events) {
      const version = Number(kv.mod_revision)
      if (version <= this.#seen) continue
      const key = kv.key.toString().slice(this.#options.hidden)
      const changes = byRevision.get(version) ?? []
      changes.push({ key, value: type === 'Put' ? kv.value.toString() : undefined, version })
      byRevision.set(version, changes)
    }
    for (const [revision, changes] of byRevision) {
      if (this.#isOver) return
      this.#seen = revision
      this.#options.listener.changed(changes, revision)
    }
  }
}

type WatchStream = Awaited<ReturnType<Etcd3['watchClient']['watch']>>

interface EtcdWatchOptions {
  readonly connect: () => Promise<WatchStream>
  /** The whole prefix, and the characters of it that callers do not see. */
  readonly key: Buffer
  readonly hidden: number
  readonly listener: WatchListener
  stopped(watch: EtcdWatch): void
}

/** The first key behind all that begin so; a prefix is text, whose bytes are below 0xff. */
function endOfPrefix(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix)
  end[end.length - 1] = (end.at(-1) ?? 0) + 1
  return end
}

class EtcdLease implements Lease {
  readonly id: string
  readonly #granted: GrantedLease
  readonly #ms: number
  readonly #timeoutMs: number
  #endsAtMs: number

  constructor({
    id,
    granted,
    ms,
    sentAtMs,
    timeoutMs,
  }: {
    id: string
    granted: GrantedLease
    ms: number
    /** When it was asked for. */
    sentAtMs: number
    timeoutMs: number
  }) {
    this.id = id
    this.#granted = granted
    this.#ms = ms
    this.#timeoutMs = Math.min(timeoutMs, ms / 2) // late is too late
    this.#endsAtMs = sentAtMs + ms - leaseMarginMs(ms)
  }

  get endsAtMs(): number {
    return this.#endsAtMs
  }

  async keepAlive(): Promise<boolean> {
    const sentAtMs = bootTimeMs()
    try {
      const deadline = new Date(Date.now() + this.#timeoutMs)
      await within(this.#granted.keepaliveOnce({ deadline }), this.#timeoutMs)
    } catch (error) {
      if (error instanceof EtcdLeaseInvalidError) return false
      throw new MillraceError('METADATA_STORE_UNAVAILABLE', {}, error)
    }
    this.#endsAtMs = Math.max(this.#endsAtMs, sentAtMs + this.#ms - leaseMarginMs(this.#ms))
    return true
  }

  async revoke(): Promise<void> {
    this.#endsAtMs = 0
    await within(this.#granted.revoke(), this.#timeoutMs).catch(() => {}) // it ends by itself
  }
}

/** The outcome of a call, or METADATA_STORE_UNAVAILABLE when it takes longer. */
async function within<T>(call: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new MillraceError('METADATA_STORE_UNAVAILABLE', { timeoutMs })), timeoutMs)
  })
  try {
    return await Promise.race([call, late])
  } finally {
    clearTimeout(timer)
    call.catch(() => {})
  }
}
