/**
 * Facts about the directory itself. Database `meta`, one entry a fact:
 *
 *     format          1, the version of all that is in the directory; a newer one is refused and left as it is
 *     directory-id    UUID, drawn when the directory is created
 *     next-schema-id  the id that the next new schema gets, 1 at first
 *     next-producer-id  the id that the next block of producer ids begins with, 0 at first
 *     clean-shutdown  {bootId, atMs}; there only between a clean close and the next open
 *
 * Owned by the broker's thread. Invariant: whoever finds `clean-shutdown` has removed it durably before it trusts it, so
 * one clean close is never believed twice.
 */
import { randomUUID } from 'node:crypto'
import { MillraceError } from '../base/errors.ts'
import { failpoint } from '../base/failpoints.ts'
import type { Environment } from './environment.ts'
import { textKey } from './keys.ts'
import type { Table } from './table.ts'
import { isInteger, isObject, isText } from './values.ts'

/** The format that this version writes, and the newest that it reads. */
export const FORMAT_VERSION = 1

/** What a clean close leaves behind. */
export interface CleanShutdown {
  /** The kernel's id of the boot during which the directory was closed. */
  readonly bootId: string
  readonly atMs: number
}

export const META_DATABASE = 'meta'

const FORMAT = textKey('fact', 'format')
const DIRECTORY_ID = textKey('fact', 'directory-id')
const NEXT_SCHEMA_ID = textKey('fact', 'next-schema-id')
const NEXT_PRODUCER_ID = textKey('fact', 'next-producer-id')
const CLEAN_SHUTDOWN = textKey('fact', 'clean-shutdown')

/** Any JSON: each fact has a shape of its own. */
export function readFact(json: unknown): unknown {
  return json
}

export class MetaStore {
  readonly #environment: Environment
  readonly #table: Table<unknown>

  constructor(environment: Environment, table: Table<unknown>) {
    this.#environment = environment
    this.#table = table
  }

  /** The directory's format version; undefined in a directory whose creation was not finished. */
  formatVersion(): number | undefined {
    const format = this.#table.get(FORMAT)
    return format === undefined || isInteger(format) ? format : unreadable('format')
  }

  /** Writes the first facts of a new directory, within the transaction that is open. */
  initialize(): void {
    this.#table.put(DIRECTORY_ID, randomUUID())
    this.#table.put(NEXT_SCHEMA_ID, 1)
    this.#table.put(NEXT_PRODUCER_ID, 0)
    this.#table.put(FORMAT, FORMAT_VERSION)
  }

  directoryId(): string {
    const id = this.#table.get(DIRECTORY_ID)
    return isText(id) ? id : unreadable('directory-id')
  }

  /** Takes the next schema id, within the transaction that is open. */
  takeSchemaId(): number {
    const id = this.#table.get(NEXT_SCHEMA_ID)
    if (!isInteger(id) || id < 1) return unreadable('next-schema-id')
    this.#table.put(NEXT_SCHEMA_ID, id + 1)
    return id
  }

  /** Takes the next `count` producer ids, on disk when this returns. Returns the first. */
  takeProducerIds(count: number): number {
    return this.#environment.transact(() => {
      const first = this.#table.get(NEXT_PRODUCER_ID) ?? 0 // a directory from before there were any
      if (!isInteger(first) || first < 0) return unreadable('next-producer-id')
      this.#table.put(NEXT_PRODUCER_ID, first + count)
      return first
    })
  }

  /** The marker of a clean close, if the last close was one and nobody opened the directory for writing since. */
  cleanShutdown(): CleanShutdown | undefined {
    const marker = this.#table.get(CLEAN_SHUTDOWN)
    if (marker === undefined) return undefined
    if (!isObject(marker) || !isText(marker['bootId']) || !isInteger(marker['atMs']))
      return unreadable('clean-shutdown')
    return { bootId: marker['bootId'], atMs: marker['atMs'] }
  }

  /** Returns the marker and removes it, on disk when this returns. */
  takeCleanShutdown(): CleanShutdown | undefined {
    return this.#environment.transact(() => {
      const marker = this.cleanShutdown()
      if (marker !== undefined) this.#table.remove(CLEAN_SHUTDOWN)
      return marker
    })
  }

  /** Leaves the marker, behind everything that was submitted before; resolves when it is on disk. */
  markCleanShutdown(marker: CleanShutdown): Promise<void> {
    return this.#environment.transactLater(() => {
      failpoint('close-before-marker')
      this.#table.put(CLEAN_SHUTDOWN, marker)
    })
  }
}

function unreadable(key: string): never {
  throw new MillraceError('CORRUPT_STORE', { database: META_DATABASE, key, reason: 'shape' })
}
