/** Schemas of the directory, from any thread: registering, checking, looking up, deleting. docs/SCHEMAS.md tells how they evolve. */
import type {
  CheckOptions,
  CompatibilityReport,
  RegisterOptions,
  SchemaCall,
  SchemaEntry,
  SchemaService,
} from '../engine/broker/schema-service.ts'
import { schemaText } from '../engine/schema/avro-schema.ts'
import type { Compatibility } from '../engine/store/schemas.ts'
import type { SchemaLookup } from './avro.ts'

/** Where schemas are kept: the engine, from any thread, or a directory that is only read. */
export interface SchemaSource {
  schemas<C extends SchemaCall>(call: C, ...args: Parameters<SchemaService[C]>): Promise<ReturnType<SchemaService[C]>>
}

/** A call by its name, as it comes over a port. */
export function callSchemas<C extends SchemaCall>(
  service: SchemaService,
  call: C,
  args: Parameters<SchemaService[C]>,
): ReturnType<SchemaService[C]> {
  const method = service[call] as (...args: readonly unknown[]) => unknown
  return method.apply(service, args) as ReturnType<SchemaService[C]>
}

export class Schemas {
  readonly #source: SchemaSource

  /** @internal Use `Millrace.schemas`. */
  constructor(source: SchemaSource) {
    this.#source = source
  }

  /**
   * Registers an Avro schema under a subject, as its next version. The same text with the same references has the same id,
   * whoever registers it, and under the same subject the same version.
   * @param schema JSON text, the name of a primitive type, an object, or what `avro` returns
   * @throws INVALID_SCHEMA with the cause, INCOMPATIBLE_SCHEMA {subject, version, compatibility, problems, reasons},
   *   UNKNOWN_SCHEMA for a reference, INVALID_ARGUMENT, READ_ONLY
   */
  async register(subject: string, schema: string | object, options: RegisterOptions = {}): Promise<SchemaEntry> {
    return this.#source.schemas('register', subject, schemaText(schema), options)
  }

  /**
   * Whether a schema could be registered, and if not why; nothing is changed.
   * @throws INVALID_SCHEMA, UNKNOWN_SCHEMA for a reference or `options.version`, INVALID_ARGUMENT
   */
  async check(subject: string, schema: string | object, options: CheckOptions = {}): Promise<CompatibilityReport> {
    return this.#source.schemas('check', subject, schemaText(schema), options)
  }

  /** The schema of an id, also of a version that was deleted, with the first subject it was registered under. @throws UNKNOWN_SCHEMA */
  async get(id: number): Promise<SchemaEntry> {
    return this.#source.schemas('get', id)
  }

  /** The newest version of a subject. @throws UNKNOWN_SCHEMA */
  async latest(subject: string): Promise<SchemaEntry> {
    return this.#source.schemas('latest', subject)
  }

  /** @throws UNKNOWN_SCHEMA, also for a version that was deleted */
  async version(subject: string, version: number): Promise<SchemaEntry> {
    return this.#source.schemas('version', subject, version)
  }

  /** The numbers of a subject's versions, oldest first. @throws UNKNOWN_SCHEMA */
  async versions(subject: string): Promise<number[]> {
    return this.#source.schemas('versions', subject)
  }

  /** All subjects that have a version. */
  async subjects(): Promise<string[]> {
    return this.#source.schemas('subjects')
  }

  /** Every version of every subject. */
  async list(): Promise<SchemaEntry[]> {
    return this.#source.schemas('list')
  }

  /**
   * What a serde looks the schemas of other ids up in: those that are registered now, deleted versions included.
   * @param subject only those of a subject; default all of the directory
   */
  async lookup(subject?: string): Promise<SchemaLookup> {
    const entries = await this.#source.schemas('everySchema', subject)
    const byId = new Map(entries.map(entry => [entry.id, entry]))
    return id => byId.get(id)
  }

  /** The compatibility that holds for a subject; without one, for all that have none of their own. Default 'BACKWARD'. */
  async compatibility(subject?: string): Promise<Compatibility> {
    return this.#source.schemas('compatibility', subject)
  }

  /**
   * Sets the compatibility of a subject, or without one the default of all. Versions that are there are not looked at.
   * @param level null takes what was set away
   * @throws INVALID_ARGUMENT, READ_ONLY
   */
  async setCompatibility(level: Compatibility | null, subject?: string): Promise<void> {
    return this.#source.schemas('setCompatibility', level, subject)
  }

  /**
   * Deletes a version: new schemas are no longer checked against it. Its id stays readable, because records hold it; its
   * number is not used again.
   * @throws UNKNOWN_SCHEMA, SCHEMA_IN_USE {subject, version, bySubject, byVersion}, READ_ONLY
   */
  async deleteVersion(subject: string, version: number): Promise<void> {
    return this.#source.schemas('deleteVersion', subject, version)
  }

  /** Deletes all versions of a subject. @returns their numbers @throws as `deleteVersion` */
  async deleteSubject(subject: string): Promise<number[]> {
    return this.#source.schemas('deleteSubject', subject)
  }
}
