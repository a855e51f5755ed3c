/**
 * Keys and values that several processes of one machine change, each change with a revision of its own: what the LMDB kind of
 * the metadata store is made of. An environment in the folder `store` of its directory, with these databases:
 *
 *     entries   key (UTF-8) → {value, version, lease}     version: revision of its last change; lease: absent or its id
 *     changes   revision u64 → [[key, value or null], …]  the last CHANGES_KEPT of them
 *     leased    lease id u64 | key → true
 *     meta      `revision` → the last one, `oldest` → the first one in `changes`
 *
 * All of it is synchronous. Whoever writes holds a lock of the caller's that excludes every other writer (see `Environment.open`).
 */
import { failpoint } from '../base/failpoints.ts'
import { CHANGES_KEPT, REVISION_CHANGES_MAX } from '../base/limits.ts'
import { Environment } from './environment.ts'
import { blockOfKey, prefixRange, textKey, u64Key } from './keys.ts'
import { Table } from './table.ts'
import { isInteger, isObject, isText } from './values.ts'

export interface SharedEntry {
  readonly key: string
  readonly value: string
  /** Revision of its last change. */
  readonly version: number
}

/** A put, or a removal when `value` is undefined. */
export interface SharedChange {
  readonly key: string
  readonly value: string | undefined
  /** The value rests on this lease. */
  readonly lease?: number | undefined
}

interface Stored {
  readonly value: string
  readonly version: number
  readonly lease?: number
}

const NO_PREFIX = Buffer.alloc(0)
const REVISION = textKey('fact', 'revision')
const OLDEST = textKey('fact', 'oldest')

export class SharedEntries {
  readonly #environment: Environment
  readonly #entries: Table<Stored>
  readonly #changes: Table<(readonly [string, string | null])[]>
  readonly #leased: Table<true>
  readonly #meta: Table<number>

  private constructor(environment: Environment) {
    this.#environment = environment
    const table = <V>(name: string, reader: (json: unknown) => V | undefined): Table<V> => {
      const database = environment.database(name, true)
      if (database === undefined) throw new TypeError(`no database ${name}`)
      return new Table(environment, name, database, reader)
    }
    this.#entries = table('entries', readEntry)
    this.#changes = table('changes', readChanges)
    this.#leased = table('leased', json => (json === true ? true : undefined))
    this.#meta = table('meta', json => (isInteger(json) ? json : undefined))
  }

  /** The caller holds the lock. @throws CORRUPT_STORE, IO_ERROR, DISK_FULL */
  static open(directory: string): SharedEntries {
    return new SharedEntries(Environment.open(directory, false, true))
  }

  /** Of the last change; 0 before the first. */
  get revision(): number {
    return this.#meta.get(REVISION) ?? 0
  }

  get(key: string): SharedEntry | undefined {
    const stored = this.#entries.get(entryKey(key))
    return stored === undefined ? undefined : { key, value: stored.value, version: stored.version }
  }

  /** Entries whose keys begin so, in the order of their bytes, and the revision of which they are. */
  list(prefix: string): { entries: SharedEntry[]; revision: number } {
    // One snapshot for both: whoever changes something in between is seen by neither, or the revision says so.
    for (;;) {
      const { revision } = this
      const entries = this.#entries
        .entries(prefixRange(Buffer.from(prefix)))
        .map(({ key, value: { value, version } }) => ({ key: key.toString(), value, version }))
      if (this.revision === revision) return { entries, revision }
    }
  }

  /**
   * Changes after a revision, oldest first, in whole revisions and at most some hundreds of them; undefined when they are not
   * there any more.
   */
  changesAfter(revision: number): { revision: number; changes: SharedChange[] }[] | undefined {
    const last = this.revision
    if (revision >= last) return []
    const end = Math.min(last, revision + REVISION_CHANGES_MAX)
    const found = this.#changes.entries({ start: u64Key(NO_PREFIX, revision + 1), end: u64Key(NO_PREFIX, end + 1) })
    if (found.length < end - revision) return undefined
    return found.map(({ key, value }) => ({
      revision: blockOfKey(key),
      changes: value.map(([name, text]) => ({ key: name, value: text ?? undefined })),
    }))
  }

  /**
   * Makes changes in one transaction, on disk when this returns, if `allow` says so inside of it.
   * @returns their revision; undefined when they were not allowed
   */
  change(changes: readonly SharedChange[], allow: () => boolean): number | undefined {
    return this.#environment.transact(() => {
      if (!allow()) return undefined
      if (changes.length === 0) return this.revision
      const revision = this.revision + 1
      for (const change of changes) this.#put(change, revision)
      this.#record(revision, changes)
      failpoint('metadata-before-commit')
      return revision
    })
  }

  /** Removes what rests on leases that are over. Returns the revision, undefined when there was nothing. */
  removeLeased(leases: readonly number[]): number | undefined {
    const keys = leases.flatMap(lease => this.#leased.keys(prefixRange(u64Key(NO_PREFIX, lease))))
    if (keys.length === 0) return undefined
    const changes = keys.map(key => ({ key: key.subarray(8).toString(), value: undefined }))
    return this.change(changes, () => true)
  }

  close(): Promise<void> {
    return this.#environment.close()
  }

  #put({ key, value, lease }: SharedChange, version: number): void {
    const bytes = entryKey(key)
    const before = this.#entries.get(bytes)
    if (before?.lease !== undefined) this.#leased.remove(leasedKey(before.lease, key))
    if (value === undefined) {
      this.#entries.remove(bytes)
      return
    }
    this.#entries.put(bytes, lease === undefined ? { value, version } : { value, version, lease })
    if (lease !== undefined) this.#leased.put(leasedKey(lease, key), true)
  }

  #record(revision: number, changes: readonly SharedChange[]): void {
    const named = changes.map(({ key, value }) => [key, value ?? null] as const)
    this.#changes.put(u64Key(NO_PREFIX, revision), named)
    this.#meta.put(REVISION, revision)
    const oldest = this.#meta.get(OLDEST) ?? 1
    if (revision - oldest < CHANGES_KEPT) return
    this.#changes.remove(u64Key(NO_PREFIX, oldest))
    this.#meta.put(OLDEST, oldest + 1)
  }
}

const entryKey = (key: string): Buffer => textKey('key', key)
const leasedKey = (lease: number, key: string): Buffer => Buffer.concat([u64Key(NO_PREFIX, lease), entryKey(key)])

function readEntry(json: unknown): Stored | undefined {
  if (!isObject(json) || !isText(json['value']) || !isInteger(json['version'])) return undefined
  if (json['lease'] !== undefined && !isInteger(json['lease'])) return undefined
  return json as unknown as Stored
}

function readChanges(json: unknown): (readonly [string, string | null])[] | undefined {
  if (!Array.isArray(json)) return undefined
  const sound = json.every(one => Array.isArray(one) && isText(one[0]) && (one[1] === null || isText(one[1])))
  return sound ? (json as [string, string | null][]) : undefined
}
