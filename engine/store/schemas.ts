/**
 * Registered schemas. Four databases: `schemas`, id → {subject, version, text, references} of the first registration;
 * `schema-texts`, SHA-256 of text and references → id, which makes the same schema the same id; `subjects`, (subject,
 * version) → id and whether the version was deleted; `compatibility`, subject → its level, the empty subject standing for
 * all others. Ids and versions count from 1. Owned by the broker's thread.
 * Invariant: the first three agree, for they change in one transaction. Nothing in `schemas` is ever changed or removed,
 * because records hold its ids; a deleted version keeps its number.
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

/** A named type that a schema uses and another one defines. */
export interface SchemaReference {
  /** Full name of the type. */
  readonly name: string
  readonly subject: string
  readonly version: number
}

/** A schema under a subject; one text has one id under all of its subjects. */
export interface RegisteredSchema {
  readonly id: SchemaId
  readonly subject: string
  /** 1, 2, 3 … within the subject. */
  readonly version: number
  readonly text: string
  /** By name; absent when there are none. */
  readonly references?: readonly SchemaReference[]
}

export interface StoredSchema {
  readonly subject: string
  readonly version: number
  readonly text: string
  readonly references?: readonly SchemaReference[]
}

/** What a new version of a subject has to agree with, as in Confluent's registry. */
export const COMPATIBILITIES = [
  'NONE',
  'BACKWARD',
  'BACKWARD_TRANSITIVE',
  'FORWARD',
  'FORWARD_TRANSITIVE',
  'FULL',
  'FULL_TRANSITIVE',
] as const
export type Compatibility = (typeof COMPATIBILITIES)[number]

export function readSchema(json: unknown): StoredSchema | undefined {
  if (!isObject(json)) return undefined
  const { subject, version, text, references } = json
  if (!isText(subject) || !isInteger(version) || !isText(text)) return undefined
  if (references === undefined) return { subject, version, text }
  return Array.isArray(references) && references.every(isReference) ? { subject, version, text, references } : undefined
}

function isReference(json: unknown): json is SchemaReference {
  return isObject(json) && isText(json['name']) && isText(json['subject']) && isInteger(json['version'])
}

export function readSchemaId(json: unknown): SchemaId | undefined {
  return isInteger(json) && json > 0 && json <= 0x7fff_ffff ? (json as SchemaId) : undefined
}

/** A schema id; `{ id, deleted: true }` once the version was deleted. */
export type StoredVersion = SchemaId | { readonly id: SchemaId; readonly deleted: true }

export function readVersion(json: unknown): StoredVersion | undefined {
  if (!isObject(json)) return readSchemaId(json)
  const id = readSchemaId(json['id'])
  return id !== undefined && json['deleted'] === true ? { id, deleted: true } : undefined
}

export function readCompatibility(json: unknown): Compatibility | undefined {
  return COMPATIBILITIES.find(level => level === json)
}

export interface SchemaTables {
  readonly schemas: Table<StoredSchema>
  readonly texts: Table<SchemaId>
  readonly subjects: Table<StoredVersion>
  /** Undefined beside an owner that has none: directories were once made without. */
  readonly compatibility: () => Table<Compatibility> | undefined
}

interface Version {
  readonly version: number
  readonly id: SchemaId
  readonly isDeleted: boolean
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
   * Registers a schema under a subject; on disk when this returns. The same text with the same references gets the same
   * id, and under the same subject the same version, unless that was deleted.
   */
  register(subject: string, text: string, references: readonly SchemaReference[] = []): RegisteredSchema {
    const known = this.find(subject, text, references)
    if (known !== undefined) return known
    const prefix = subjectPrefix(subject)
    return this.#environment.transact(() => {
      const version = (this.#versions(prefix).at(-1)?.version ?? 0) + 1
      const id = this.idOf(text, references) ?? this.#add({ subject, version, text, ...optional(references) })
      this.#tables.subjects.put(u32Key(prefix, version), id)
      return { id, subject, version, text, ...optional(references) }
    })
  }

  /** The version of a subject that is exactly this schema. */
  find(subject: string, text: string, references: readonly SchemaReference[] = []): RegisteredSchema | undefined {
    const prefix = subjectPrefix(subject)
    const id = this.idOf(text, references)
    if (id === undefined) return undefined
    const found = this.#live(prefix).find(version => version.id === id)
    return found && this.#registered(subject, found)
  }

  /** The schema with its first subject and version; undefined when the id was never given out. */
  get(id: number): RegisteredSchema | undefined {
    const known = readSchemaId(id)
    if (known === undefined) return undefined
    const stored = this.#tables.schemas.get(schemaIdKey(known))
    return stored && { id: known, ...stored }
  }

  /** The id of exactly this text with these references. */
  idOf(text: string, references: readonly SchemaReference[] = []): SchemaId | undefined {
    const id = this.#tables.texts.get(schemaTextKey(text, references))
    if (id !== undefined) invariant(this.#stored(id).text === text, 'two schema texts with one SHA-256')
    return id
  }

  /** A version of a subject, also one that was deleted. */
  version(subject: string, version: number): RegisteredSchema | undefined {
    if (!isInteger(version) || version < 1 || version > VERSION_MAX) return undefined
    const stored = this.#tables.subjects.get(u32Key(subjectPrefix(subject), version))
    return stored === undefined ? undefined : this.#registered(subject, toVersion(version, stored))
  }

  /** All versions of a subject, oldest first; empty when there is no such subject. */
  versions(subject: string): RegisteredSchema[] {
    return this.#live(subjectPrefix(subject)).map(version => this.#registered(subject, version))
  }

  /** All versions of a subject and those that were deleted. */
  everyVersion(subject: string): RegisteredSchema[] {
    return this.#versions(subjectPrefix(subject)).map(version => this.#registered(subject, version))
  }

  /** The newest version of a subject. */
  latest(subject: string): RegisteredSchema | undefined {
    const last = this.#live(subjectPrefix(subject)).at(-1)
    return last && this.#registered(subject, last)
  }

  /** Every version of every subject. */
  list(): RegisteredSchema[] {
    return this.#tables.subjects.entries(ALL_KEYS).flatMap(({ key, value }) => {
      const version = toVersion(versionOfKey(key), value)
      return version.isDeleted ? [] : [this.#registered(subjectOfKey(key), version)]
    })
  }

  /** Every schema that has an id. */
  everySchema(): RegisteredSchema[] {
    return this.#tables.schemas
      .entries(ALL_KEYS)
      .map(({ key, value }) => ({ id: key.readUInt32BE(0) as SchemaId, ...value }))
  }

  /** Deletes versions of a subject; their ids stay readable and their numbers taken. On disk when this returns. */
  remove(subject: string, versions: readonly RegisteredSchema[]): void {
    const prefix = subjectPrefix(subject)
    this.#environment.transact(() => {
      for (const { id, version } of versions) {
        this.#tables.subjects.put(u32Key(prefix, version), { id, deleted: true })
      }
    })
  }

  /** The level that was set for a subject, or with `''` for those that have none. */
  compatibility(subject: string): Compatibility | undefined {
    return this.#tables.compatibility()?.get(subjectPrefix(subject))
  }

  /** Sets a level, or with undefined takes it away; on disk when this returns. */
  setCompatibility(subject: string, level: Compatibility | undefined): void {
    const key = subjectPrefix(subject)
    this.#environment.transact(() => {
      const table = this.#tables.compatibility()
      invariant(table !== undefined, 'an owner without the database of compatibility')
      if (level === undefined) table.remove(key)
      else table.put(key, level)
    })
  }

  #add(schema: StoredSchema): SchemaId {
    const id = this.#meta.takeSchemaId() as SchemaId
    this.#tables.schemas.put(schemaIdKey(id), schema)
    this.#tables.texts.put(schemaTextKey(schema.text, schema.references), id)
    return id
  }

  #versions(prefix: Buffer): Version[] {
    return this.#tables.subjects
      .entries(prefixRange(prefix))
      .map(({ key, value }) => toVersion(versionOfKey(key), value))
  }

  #live(prefix: Buffer): Version[] {
    return this.#versions(prefix).filter(({ isDeleted }) => !isDeleted)
  }

  #registered(subject: string, { version, id }: Version): RegisteredSchema {
    const { text, references } = this.#stored(id)
    return { id, subject, version, text, ...optional(references) }
  }

  #stored(id: SchemaId): StoredSchema {
    const stored = this.#tables.schemas.get(schemaIdKey(id))
    if (stored === undefined)
      throw new MillraceError('CORRUPT_STORE', { database: 'schemas', key: id, reason: 'missing' })
    return stored
  }
}

/** Versions are four bytes of a key. */
const VERSION_MAX = 0xffff_ffff

function toVersion(version: number, stored: StoredVersion): Version {
  if (typeof stored === 'number') return { version, id: stored, isDeleted: false }
  return { version, id: stored.id, isDeleted: true }
}

function optional(references: readonly SchemaReference[] | undefined): { references?: readonly SchemaReference[] } {
  return references === undefined || references.length === 0 ? {} : { references }
}
