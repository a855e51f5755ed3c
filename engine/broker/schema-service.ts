/** What clients ask about schemas, from any thread, and what they are told: plain data. engine/schema answers. */
import type { Compatibility, SchemaReference } from '../store/schemas.ts'

/** A schema as it was registered. */
export interface SchemaEntry {
  readonly id: number
  readonly subject: string
  /** 1, 2, 3 … within the subject. */
  readonly version: number
  /** JSON without white space. */
  readonly text: string
  /** Types of other subjects that the text uses, by name; absent when there are none. */
  readonly references?: readonly SchemaReference[]
  /** Texts of all schemas behind the references, each before those that use it; absent when there are none. */
  readonly definitions?: readonly string[]
}

export interface RegisterOptions {
  /** Types that the text uses and other subjects define. Default: none. */
  readonly references?: readonly SchemaReference[]
}

export interface CheckOptions extends RegisterOptions {
  /** Default: the subject's own level. */
  readonly compatibility?: Compatibility
  /** Check against this version only. Default: those that the level names. */
  readonly version?: number
}

/** Why a schema and a version of its subject do not go together. */
export interface SchemaConflict {
  readonly version: number
  /** 'backward': the new schema cannot read what the version wrote; 'forward': the other way round. */
  readonly direction: 'backward' | 'forward'
  /** Where in the values: fields from the root on, `[]` for items, `{}` for values of a map; empty for the root. */
  readonly path: string
  readonly reason: string
}

export interface CompatibilityReport {
  readonly isCompatible: boolean
  /** The level that was checked. */
  readonly compatibility: Compatibility
  /** At most 20, newest version first. */
  readonly problems: readonly SchemaConflict[]
}

export interface SchemaService {
  register(subject: string, schema: string, options?: RegisterOptions): SchemaEntry
  check(subject: string, schema: string, options?: CheckOptions): CompatibilityReport
  get(id: number): SchemaEntry
  latest(subject: string): SchemaEntry
  version(subject: string, version: number): SchemaEntry
  versions(subject: string): number[]
  subjects(): string[]
  list(): SchemaEntry[]
  everySchema(subject?: string): SchemaEntry[]
  compatibility(subject?: string): Compatibility
  setCompatibility(level: Compatibility | null, subject?: string): void
  deleteVersion(subject: string, version: number): void
  deleteSubject(subject: string): number[]
}

export type SchemaCall = keyof SchemaService

/** Calls that write; a directory that is only read refuses them. */
export const SCHEMA_WRITES: ReadonlySet<SchemaCall> = new Set([
  'register',
  'setCompatibility',
  'deleteVersion',
  'deleteSubject',
])
