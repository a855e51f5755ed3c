/**
 * Subjects and their schemas, over what the store keeps. A schema text with its references gets one id for the life of
 * the directory, whatever subjects it is registered under; within a subject, schemas are versions 1, 2, 3 …, each of
 * which goes together with those before it as the subject's compatibility demands. Owned by the broker's thread, where
 * a check and the registration behind it are one step.
 * Invariants: what has an id can be parsed; references lead to versions that were there before, so never in a circle.
 */
import type avsc from 'avsc'
import { MillraceError } from '../base/errors.ts'
import {
  SCHEMA_PROBLEMS_MAX,
  SCHEMA_REFERENCE_DEPTH_MAX,
  SCHEMA_REFERENCES_MAX,
  SCHEMA_TEXT_BYTES_MAX,
} from '../base/limits.ts'
import type {
  CheckOptions,
  CompatibilityReport,
  RegisterOptions,
  SchemaConflict,
  SchemaEntry,
  SchemaService,
} from '../broker/schema-service.ts'
import {
  COMPATIBILITIES,
  type Compatibility,
  type RegisteredSchema,
  type SchemaReference,
  type SchemaStore,
} from '../store/schemas.ts'
import { namesDefined, parseSchema, type SchemaSource, schemaText } from './avro-schema.ts'
import { conflictsWith, DEFAULT_COMPATIBILITY, DEMANDS } from './compatibility.ts'

/** A schema that was handed in, checked as far as it can be alone. */
interface Candidate {
  readonly text: string
  readonly references: readonly SchemaReference[]
  readonly type: avsc.Type
}

/** Problems that the error of a registration names. */
const REASONS_MAX = 3

export class SchemaRegistry implements SchemaService {
  readonly #schemas: SchemaStore

  constructor(schemas: SchemaStore) {
    this.#schemas = schemas
  }

  /**
   * Registers a schema; on disk when this returns. The same schema again gives the same id and version.
   * @param subject by Kafka's convention `<topic>-value` or `<topic>-key`; 1 to 1972 bytes
   * @param schema JSON text, the name of a primitive type, or parsed JSON
   * @throws INVALID_SCHEMA with the reason, INCOMPATIBLE_SCHEMA, UNKNOWN_SCHEMA for a reference, INVALID_ARGUMENT
   * Cost: a transaction and its flush when it is new, else a few reads. The versions that are checked are parsed
   */
  register(subject: string, schema: SchemaSource, options: RegisterOptions = {}): SchemaEntry {
    demandSubject(subject)
    const { text, references, type } = this.#candidate(schema, options.references)
    const known = this.#schemas.find(subject, text, references)
    if (known !== undefined) return this.#entry(known)
    const { isCompatible, compatibility, problems } = this.#check(subject, type, {})
    if (!isCompatible) throw incompatible(subject, compatibility, problems)
    return this.#entry(this.#schemas.register(subject, text, references))
  }

  /**
   * Whether a schema could be registered, without doing so.
   * @throws INVALID_SCHEMA, UNKNOWN_SCHEMA for a reference or `options.version`, INVALID_ARGUMENT
   */
  check(subject: string, schema: SchemaSource, options: CheckOptions = {}): CompatibilityReport {
    demandSubject(subject)
    if (options.compatibility !== undefined) demandLevel(options.compatibility)
    return this.#check(subject, this.#candidate(schema, options.references).type, options)
  }

  /** The schema of an id, with the first subject that it was registered under. @throws UNKNOWN_SCHEMA */
  get(id: number): SchemaEntry {
    const schema = this.#schemas.get(id)
    if (schema === undefined) throw new MillraceError('UNKNOWN_SCHEMA', { id })
    return this.#entry(schema)
  }

  /** The newest schema of a subject. @throws UNKNOWN_SCHEMA */
  latest(subject: string): SchemaEntry {
    demandSubject(subject)
    const schema = this.#schemas.latest(subject)
    if (schema === undefined) throw new MillraceError('UNKNOWN_SCHEMA', { subject })
    return this.#entry(schema)
  }

  /** One version of a subject. @throws UNKNOWN_SCHEMA, also for one that was deleted */
  version(subject: string, version: number): SchemaEntry {
    demandSubject(subject)
    return this.#entry(this.#version(subject, version))
  }

  /** The numbers of a subject's versions. @throws UNKNOWN_SCHEMA */
  versions(subject: string): number[] {
    return this.#versions(subject).map(({ version }) => version)
  }

  /** Subjects that have a version, sorted by the bytes of their names and shorter ones first. */
  subjects(): string[] {
    return [...new Set(this.#schemas.list().map(({ subject }) => subject))]
  }

  /** Every version of every subject. */
  list(): SchemaEntry[] {
    return this.#schemas.list().map(schema => this.#entry(schema))
  }

  /** Every schema that a record may have been written with, deleted versions included. */
  everySchema(subject?: string): SchemaEntry[] {
    const schemas = subject === undefined ? this.#schemas.everySchema() : this.#schemas.everyVersion(subject)
    return schemas.map(schema => this.#entry(schema))
  }

  /** The level that holds for a subject; without one, for subjects that have none of their own. */
  compatibility(subject?: string): Compatibility {
    if (subject !== undefined) demandSubject(subject)
    const own = subject === undefined ? undefined : this.#schemas.compatibility(subject)
    return own ?? this.#schemas.compatibility('') ?? DEFAULT_COMPATIBILITY
  }

  /** Sets the level of a subject, or the default; null takes it away. Versions that are there are not looked at. */
  setCompatibility(level: Compatibility | null, subject?: string): void {
    if (subject !== undefined) demandSubject(subject)
    if (level !== null) demandLevel(level)
    this.#schemas.setCompatibility(subject ?? '', level ?? undefined)
  }

  /**
   * Deletes a version: new schemas are not checked against it any more. Its id stays readable, its number is not used again.
   * @throws UNKNOWN_SCHEMA, SCHEMA_IN_USE while another schema refers to it
   */
  deleteVersion(subject: string, version: number): void {
    demandSubject(subject)
    this.#delete(subject, [this.#version(subject, version)])
  }

  /** Deletes all versions of a subject. @returns their numbers @throws UNKNOWN_SCHEMA, SCHEMA_IN_USE */
  deleteSubject(subject: string): number[] {
    const versions = this.#versions(subject)
    this.#delete(subject, versions)
    return versions.map(({ version }) => version)
  }

  #delete(subject: string, versions: readonly RegisteredSchema[]): void {
    const going = new Set(versions.map(({ version }) => version))
    for (const user of this.#schemas.list()) {
      if (user.subject === subject && going.has(user.version)) continue
      const used = user.references?.find(reference => reference.subject === subject && going.has(reference.version))
      if (used === undefined) continue
      const by = { bySubject: user.subject, byVersion: user.version }
      throw new MillraceError('SCHEMA_IN_USE', { subject, version: used.version, ...by })
    }
    this.#schemas.remove(subject, versions)
  }

  #version(subject: string, version: number): RegisteredSchema {
    const found = this.#schemas.versions(subject).find(schema => schema.version === version)
    if (found === undefined) throw new MillraceError('UNKNOWN_SCHEMA', { subject, version })
    return found
  }

  #versions(subject: string): RegisteredSchema[] {
    demandSubject(subject)
    const versions = this.#schemas.versions(subject)
    if (versions.length === 0) throw new MillraceError('UNKNOWN_SCHEMA', { subject })
    return versions
  }

  #check(subject: string, type: avsc.Type, { compatibility, version }: CheckOptions): CompatibilityReport {
    const level = compatibility ?? this.compatibility(subject)
    const demand = DEMANDS[level]
    const problems: SchemaConflict[] = []
    const all = version === undefined ? this.#schemas.versions(subject) : [this.#version(subject, version)]
    const checked = demand.isTransitive ? all.toReversed() : all.slice(-1)
    if (demand.backward || demand.forward) {
      for (const registered of checked) {
        problems.push(...conflictsWith(type, registered.version, this.#parse(registered), demand))
        if (problems.length >= SCHEMA_PROBLEMS_MAX) break
      }
    }
    const first = problems.slice(0, SCHEMA_PROBLEMS_MAX)
    return { isCompatible: problems.length === 0, compatibility: level, problems: first }
  }

  #candidate(schema: SchemaSource, given: readonly SchemaReference[] = []): Candidate {
    const text = schemaText(schema)
    const references = normalize(given)
    for (const { subject, version } of references) this.#version(subject, version)
    const definitions = this.#definitions(references)
    const bytes = [text, ...definitions].reduce((sum, part) => sum + Buffer.byteLength(part), 0)
    if (bytes > SCHEMA_TEXT_BYTES_MAX) {
      const reason = 'too long with what it refers to'
      throw new MillraceError('INVALID_SCHEMA', { reason, bytes, bytesMax: SCHEMA_TEXT_BYTES_MAX })
    }
    for (const { name, subject, version } of references) {
      const { text: definition, references: inner = [] } = this.#version(subject, version)
      if (namesDefined(definition, this.#definitions(inner)).has(name)) continue
      throw new MillraceError('INVALID_SCHEMA', {
        reason: 'the reference defines no such type',
        name,
        subject,
        version,
      })
    }
    return { text, references, type: parseSchema(text, { definitions }) }
  }

  #parse({ text, references = [] }: RegisteredSchema): avsc.Type {
    return parseSchema(text, { definitions: this.#definitions(references) })
  }

  /** Texts of all schemas behind references, each before those that use it. */
  #definitions(references: readonly SchemaReference[]): string[] {
    const texts = new Map<number, string>()
    const visit = (inner: readonly SchemaReference[], above: ReadonlySet<number>): void => {
      if (inner.length > 0 && above.size >= SCHEMA_REFERENCE_DEPTH_MAX) {
        throw new MillraceError('INVALID_SCHEMA', {
          reason: 'references too deep',
          depthMax: SCHEMA_REFERENCE_DEPTH_MAX,
        })
      }
      for (const { subject, version } of inner) {
        const schema = this.#schemas.version(subject, version)
        if (schema === undefined || above.has(schema.id)) {
          const reason = schema === undefined ? 'a reference to nothing' : 'schemas refer to each other'
          throw new MillraceError('CORRUPT_STORE', { database: 'schemas', subject, version, reason })
        }
        if (texts.has(schema.id)) continue
        visit(schema.references ?? [], new Set([...above, schema.id]))
        texts.set(schema.id, schema.text)
      }
    }
    visit(references, new Set())
    return [...texts.values()]
  }

  #entry(schema: RegisteredSchema): SchemaEntry {
    return schema.references === undefined ? schema : { ...schema, definitions: this.#definitions(schema.references) }
  }
}

function demandSubject(subject: string): void {
  if (typeof subject === 'string' && subject !== '') return
  const reason = subject === '' ? 'empty' : `a ${typeof subject}`
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'subject', reason })
}

function demandLevel(level: Compatibility): void {
  if (COMPATIBILITIES.includes(level)) return
  const accepted = COMPATIBILITIES.join(' ')
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'compatibility', given: String(level), accepted })
}

/** References by name, with nothing else in them, so that the same ones give the same id. */
function normalize(references: readonly SchemaReference[]): SchemaReference[] {
  const invalid = (reason: string): MillraceError =>
    new MillraceError('INVALID_ARGUMENT', { argument: 'references', reason })
  if (!Array.isArray(references)) throw invalid('not a list')
  if (references.length > SCHEMA_REFERENCES_MAX) throw invalid(`more than ${SCHEMA_REFERENCES_MAX}`)
  const sorted = (references as readonly SchemaReference[]).map(reference => {
    const { name, subject, version } = Object(reference) as SchemaReference
    if (typeof name !== 'string' || name === '') throw invalid('a reference without a name')
    demandSubject(subject)
    return { name, subject, version }
  })
  sorted.sort((a, b) => (a.name < b.name ? -1 : 1))
  if (sorted.some(({ name }, index) => sorted[index - 1]?.name === name)) throw invalid('a name twice')
  return sorted
}

function incompatible(subject: string, compatibility: string, problems: readonly SchemaConflict[]): MillraceError {
  const [first] = problems as [SchemaConflict]
  const reasons = problems
    .slice(0, REASONS_MAX)
    .map(({ version, direction, path, reason }) => {
      const who = direction === 'backward' ? `reading version ${version}` : `read by version ${version}`
      return `${who}, ${path === '' ? 'the schema' : path}: ${reason}`
    })
    .join('; ')
  const details = { subject, version: first.version, compatibility, problems: problems.length, reasons }
  return new MillraceError('INCOMPATIBLE_SCHEMA', details)
}
