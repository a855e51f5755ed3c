/**
 * One named database of the store: binary keys in byte order, values as JSON text that is checked when it is read. A
 * value is in one of three states: absent (`undefined`), present, or unreadable, which is CORRUPT_STORE with the
 * database and the key, never a guess. JSON keeps every value inspectable with LMDB's own tools and carries safe
 * integers exactly. Used on the broker's thread only.
 */
import type { Database } from 'lmdb'
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { KeyRange } from './keys.ts'
import type { Write } from './write-queue.ts'

/** What a table needs of its environment. */
export interface TableHost {
  readonly inTransaction: boolean
  /** Runs a read on the latest committed state and reports lmdb's errors as ours. */
  read<T>(read: () => T): T
  /** Counts a write of the transaction that is open, so that it has room on the disk. @param bytes key and value */
  note(bytes: number): void
}

export interface TableEntry<V> {
  readonly key: Buffer
  readonly value: V
}

/** Checks the shape of a parsed value; `undefined` means that it is not one. */
export type ValueReader<V> = (json: unknown) => V | undefined

export class Table<V> {
  readonly name: string
  readonly #host: TableHost
  readonly #database: Database<string, Buffer>
  readonly #reader: ValueReader<V>

  constructor(host: TableHost, name: string, database: Database<string, Buffer>, reader: ValueReader<V>) {
    this.#host = host
    this.name = name
    this.#database = database
    this.#reader = reader
  }

  /** @throws CORRUPT_STORE when the value is there and cannot be read */
  get(key: Buffer): V | undefined {
    const text = this.#host.read(() => this.#database.get(key))
    return text === undefined ? undefined : this.#parse(key, text)
  }

  /** All entries of a range, in key order. */
  entries(range: KeyRange): TableEntry<V>[] {
    const raw = this.#host.read(() => Array.from(this.#database.getRange(bounds(range))))
    return raw.map(({ key, value }) => ({ key, value: this.#parse(key, value) }))
  }

  keys(range: KeyRange): Buffer[] {
    return this.#host.read(() => Array.from(this.#database.getKeys(bounds(range))))
  }

  firstKey(range: KeyRange): Buffer | undefined {
    return this.#host.read(() => Array.from(this.#database.getKeys({ ...bounds(range), limit: 1 })))[0]
  }

  /** Puts within the transaction that is open. */
  put(key: Buffer, value: V): void {
    invariant(this.#host.inTransaction, 'a put outside of a transaction')
    const text = JSON.stringify(value)
    this.#host.note(key.length + Buffer.byteLength(text))
    this.#database.putSync(key, text)
  }

  /** Removes within the transaction that is open; nothing happens when the key is absent. */
  remove(key: Buffer): void {
    invariant(this.#host.inTransaction, 'a removal outside of a transaction')
    this.#host.note(key.length)
    this.#database.removeSync(key)
  }

  removeRange(range: KeyRange): void {
    for (const key of this.keys(range)) this.remove(key)
  }

  /** A put for the write queue. */
  putLater(key: Buffer, value: V): Write {
    return { database: this.#database, key, value: JSON.stringify(value) }
  }

  /** A put for the write queue of a value that is JSON already. */
  putTextLater(key: Buffer, text: string): Write {
    return { database: this.#database, key, value: text }
  }

  /** A removal for the write queue. */
  removeLater(key: Buffer): Write {
    return { database: this.#database, key, value: undefined }
  }

  #parse(key: Buffer, text: string): V {
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch (error) {
      throw new MillraceError('CORRUPT_STORE', { database: this.name, key: printable(key), reason: 'not JSON' }, error)
    }
    const value = this.#reader(json)
    if (value === undefined) {
      throw new MillraceError('CORRUPT_STORE', { database: this.name, key: printable(key), reason: 'shape' })
    }
    return value
  }
}

function bounds({ start, end }: KeyRange): { start: Buffer; end?: Buffer } {
  return end === undefined ? { start } : { start, end }
}

/** A key for an error: as text where it is text, else in hexadecimal. */
function printable(key: Buffer): string {
  const text = key.toString('utf8')
  return /^[\x20-\x7e]+$/.test(text) ? text : key.toString('hex')
}
