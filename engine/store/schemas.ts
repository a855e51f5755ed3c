/**
 * Registered schemas. Three databases: `schemas`, id → {subject, version, text} of the first registration;
 * `schema-texts`, SHA-256 of the text → id, which makes the same text the same id; `subjects`, (subject, version) → id.
 * Ids and versions count from 1. Owned by the broker's thread.
 * Invariant: the three agree, for they change in one transaction; nothing in them is ever changed or removed.
 */
import type { SchemaId } from '../base/brands.ts'
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { Environment } from './environment.ts'
import {
  ALL_KEYS,
  prefixRange,
  schemaIdKey,
  schemaTextKey,
  subjectOfKey,
  subjectPrefix,
  u32Key,
  versionOfKey,
} from './keys.ts'
import type { MetaStore } from './meta.ts'
import type { Table } from './table.ts'
import { isInteger, isObject, isText } from './values.ts'

/** A schema under a subject; one text has one id under all of its subjects. */
export interface RegisteredSchema {
  readonly id: SchemaId
  readonly subject: string
  /** 1, 2, 3 … within the subject. */
  readonly version: number
  readonly text: string
}

export interface StoredSchema {
  readonly subject: string
  readonly version: number
  readonly text: string
}

export function readSchema(json: unknown): StoredSchema | undefined {
  if (!isObject(json)) return undefined
  const { subject, version, text } = json
  return isText(subject) && isInteger(version) && isText(text) ? { subject, version, text } : undefined
}

export function readSchemaId(json: unknown): SchemaId | undefined {
  return isInteger(json) && json > 0 && json <= 0x7fff_ffff ? (json as SchemaId) : undefined
}

export interface SchemaTables {
  readonly schemas: Table<StoredSchema>
  readonly texts: Table<SchemaId>
  readonly subjects: Table<SchemaId>
}

export class SchemaStore {
  readonly #environment: Environment
  readonly #tables: SchemaTables
  readonly #meta: MetaStore

  constructor(environment: Environment, tables: SchemaTables, meta: MetaStore) {
    this.#environment = environment
    this.#tables = tables
    this.#meta = meta
  }

  /**
   * Registers a text under a subject; on disk when this returns. The same text gets the same id, and under the same
   * subject the same version.
   */
  register(subject: string, text: string): RegisteredSchema {
    const prefix = subjectPrefix(subject)
    const known = this.#find(subject, prefix, text)
    if (known !== undefined) return known
    return this.#environment.transact(() => {
      const version = this.#versions(prefix).length + 1
      const id = this.idOf(text) ?? this.#add(subject, version, text)
      this.#tables.subjects.put(u32Key(prefix, version), id)
      return { id, subject, version, text }
    })
  }

  /** The schema with its first subject and version; undefined when the id was never given out. */
  get(id: number): RegisteredSchema | undefined {
    const known = readSchemaId(id)
    if (known === undefined) return undefined
    const stored = this.#tables.schemas.get(schemaIdKey(known))
    return stored && { id: known, ...stored }
  }

  /** The id of exactly this text. */
  idOf(text: string): SchemaId | undefined {
    const id = this.#tables.texts.get(schemaTextKey(text))
    if (id !== undefined) invariant(this.#text(id) === text, 'two schema texts with one SHA-256')
    return id
  }

  /** All versions of a subject, oldest first; empty when there is no such subject. */
  versions(subject: string): RegisteredSchema[] {
    return this.#versions(subjectPrefix(subject)).map(({ version, id }) => this.#registered(subject, version, id))
  }

  /** The newest version of a subject. */
  latest(subject: string): RegisteredSchema | undefined {
    const last = this.#versions(subjectPrefix(subject)).at(-1)
    return last && this.#registered(subject, last.version, last.id)
  }

  /** Every version of every subject. */
  list(): RegisteredSchema[] {
    return this.#tables.subjects
      .entries(ALL_KEYS)
      .map(({ key, value }) => this.#registered(subjectOfKey(key), versionOfKey(key), value))
  }

  #find(subject: string, prefix: Buffer, text: string): RegisteredSchema | undefined {
    const id = this.idOf(text)
    if (id === undefined) return undefined
    const found = this.#versions(prefix).find(version => version.id === id)
    return found && { id, subject, version: found.version, text }
  }

  #add(subject: string, version: number, text: string): SchemaId {
    const id = this.#meta.takeSchemaId() as SchemaId
    this.#tables.schemas.put(schemaIdKey(id), { subject, version, text })
    this.#tables.texts.put(schemaTextKey(text), id)
    return id
  }

  #versions(prefix: Buffer): { version: number; id: SchemaId }[] {
    return this.#tables.subjects
      .entries(prefixRange(prefix))
      .map(({ key, value }) => ({ version: versionOfKey(key), id: value }))
  }

  #registered(subject: string, version: number, id: SchemaId): RegisteredSchema {
    return { id, subject, version, text: this.#text(id) }
  }

  #text(id: SchemaId): string {
    const stored = this.#tables.schemas.get(schemaIdKey(id))
    if (stored === undefined)
      throw new MillraceError('CORRUPT_STORE', { database: 'schemas', key: id, reason: 'missing' })
    return stored.text
  }
}
