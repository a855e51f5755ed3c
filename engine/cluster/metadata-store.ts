/**
 * What the brokers of a cluster agree on, in a store that somebody else keeps consistent: LMDB for the brokers of one machine,
 * etcd for those of many. Text under keys; every key has a version, changes are made together or not at all, and rest on versions
 * (compare-and-swap). No consensus of our own is built on it: whoever changes the same thing second is refused and looks again.
 *
 * A change whose outcome is not known is *undecided*: it may be made later still. It is settled when the version of a key that it rests
 * on is seen to be another one, or when a later change that rests on the same version is answered.
 */
import { MillraceError } from '../base/errors.ts'

/** Checks and writes of one commit together: etcd's limit for a transaction. */
export const OPERATIONS_MAX = 128

/** How long a call waits for its answer. */
export const CALL_TIMEOUT_MS = 5_000

/** Of a lease, by which it is over earlier for its holder than for the store. */
export const leaseMarginMs = (ms: number): number => Math.min(100, ms / 10)

export interface Entry {
  readonly key: string
  readonly value: string
  /** Revision of the store in which the value was written; it grows with each change and is never used again. */
  readonly version: number
}

/** A key has this version still; 0: there is no such key. */
export interface Check {
  readonly key: string
  readonly version: number
}

export interface Write {
  readonly key: string
  /** undefined removes the key. */
  readonly value: string | undefined
  /** The key goes when this lease is over. */
  readonly lease?: Lease
}

export type CommitOutcome =
  /** All of it is written, and survives a loss of power; what was put has this version. */
  | { readonly kind: 'done'; readonly version: number }
  /** Nothing is written; found: the keys of the checks that exist. */
  | { readonly kind: 'refused'; readonly found: readonly Entry[] }
  | { readonly kind: 'undecided' }

export interface Change {
  readonly key: string
  /** undefined: it was removed, by whom or by the end of its lease. */
  readonly value: string | undefined
  readonly version: number
}

export interface WatchListener {
  /** All changes of one revision that concern the prefix, in the order of revisions, none left out. */
  changed(changes: readonly Change[], revision: number): void
  /** The store has the past no more, or the watch failed: list anew and watch from there. Nothing follows. */
  lost(): void
}

export interface Watch {
  /** No call of the listener follows. */
  stop(): void
}

/** Time during which a holder may take itself for alive, see `endsAtMs`. */
export interface Lease {
  /**
   * Until when the holder may rely on it: milliseconds on CLOCK_BOOTTIME. Counted from when the last keep-alive that succeeded was
   * *sent*, less a margin, so it is over here before the store takes its keys away.
   */
  readonly endsAtMs: number
  /** Puts the end off. False: the lease is over and cannot be had again. @throws METADATA_STORE_UNAVAILABLE */
  keepAlive(): Promise<boolean>
  /** Ends it now; its keys go. An end that cannot be told comes by itself. */
  revoke(): Promise<void>
}

export interface MetadataStore {
  /** `lmdb:DIRECTORY` or `etcd://…`, for messages. */
  readonly address: string
  /** The value as it is now, not an older one. @throws METADATA_STORE_UNAVAILABLE */
  get(key: string): Promise<Entry | undefined>
  /** All keys that begin so, in byte order, and the revision to watch from. @throws METADATA_STORE_UNAVAILABLE */
  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }>
  /**
   * Writes all if every check holds, else nothing.
   * @throws METADATA_STORE_UNAVAILABLE: nothing was written; LEASE_LOST: a lease of a write is over, nothing was written;
   *   INVALID_ARGUMENT: more than OPERATIONS_MAX operations, or a key twice among the writes
   */
  commit(checks: readonly Check[], writes: readonly Write[]): Promise<CommitOutcome>
  /** Tells of changes after a revision until it is stopped, through outages of the store. */
  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch
  /** @param ms whole seconds for etcd, from 2 s; @throws METADATA_STORE_UNAVAILABLE */
  lease(ms: number): Promise<Lease>
  /** Ends watches and waits; leases go on until they end by themselves. */
  close(): Promise<void>
}

/** @throws INVALID_ARGUMENT */
export function demandCommit(checks: readonly Check[], writes: readonly Write[]): void {
  const operations = checks.length + writes.length
  if (operations > OPERATIONS_MAX) {
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'commit', operations, operationsMax: OPERATIONS_MAX })
  }
  const keys = new Set(writes.map(({ key }) => key))
  if (keys.size < writes.length)
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'writes', reason: 'a key twice' })
}
