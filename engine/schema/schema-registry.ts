/**
 * Subjects and their schemas, over what the store keeps. A schema text gets one id for the life of the directory,
 * whatever subjects it is registered under; within a subject, schemas are versions 1, 2, 3 …. Owned by the broker's
 * thread. Invariant: what has an id is a schema that avsc can read.
 */
import { MillraceError } from '../base/errors.ts'
import type { RegisteredSchema, SchemaStore } from '../store/schemas.ts'
import { parseSchema, type SchemaSource, schemaText } from './avro-schema.ts'

export class SchemaRegistry {
  readonly #schemas: SchemaStore

  constructor(schemas: SchemaStore) {
    this.#schemas = schemas
  }

  /**
   * Registers a schema; on disk when this returns. The same schema again gives the same id and version.
   * @param subject by Kafka's convention `<topic>-value` or `<topic>-key`; 1 to 1972 bytes
   * @param schema JSON text, the name of a primitive type, or parsed JSON
   * @throws INVALID_SCHEMA with the reason, INVALID_ARGUMENT
   * Cost: a transaction and its flush when it is new, else a few reads
   */
  register(subject: string, schema: SchemaSource): RegisteredSchema {
    if (subject === '') throw new MillraceError('INVALID_ARGUMENT', { argument: 'subject', reason: 'empty' })
    const text = schemaText(schema)
    parseSchema(text)
    return this.#schemas.register(subject, text)
  }

  /** The schema of an id, with the first subject that it was registered under. @throws UNKNOWN_SCHEMA */
  get(id: number): RegisteredSchema {
    const schema = this.#schemas.get(id)
    if (schema === undefined) throw new MillraceError('UNKNOWN_SCHEMA', { id })
    return schema
  }

  /** The text of an id, undefined when there is none: what an AvroSerde asks for schemas other than its own. */
  textOf(id: number): string | undefined {
    return this.#schemas.get(id)?.text
  }

  /** The newest schema of a subject. @throws UNKNOWN_SCHEMA */
  latest(subject: string): RegisteredSchema {
    const schema = this.#schemas.latest(subject)
    if (schema === undefined) throw new MillraceError('UNKNOWN_SCHEMA', { subject })
    return schema
  }

  /** Every version of every subject. */
  list(): RegisteredSchema[] {
    return this.#schemas.list()
  }
}
