/** Schemas of the directory, from any thread: registering and looking up, and serdes that are bound to an id. */

import { MillraceError } from '../engine/base/errors.ts'
import type { SchemaEntry } from '../engine/broker/client-link.ts'

/** Where schemas are kept: the engine, from any thread, or a directory that is only read. */
export interface SchemaSource {
  registerSchema(subject: string, schema: string): Promise<SchemaEntry>
  schema(id: number): Promise<SchemaEntry | undefined>
}

export class Schemas {
  readonly #link: SchemaSource

  /** @internal Use `Millrace.schemas`. */
  constructor(link: SchemaSource) {
    this.#link = link
  }

  /**
   * Registers an Avro schema under a subject. The same text has the same id, whoever registers it.
   * @throws INVALID_SCHEMA with the cause
   */
  register(subject: string, schema: string | object): Promise<SchemaEntry> {
    return this.#link.registerSchema(subject, typeof schema === 'string' ? schema : JSON.stringify(schema))
  }

  /** @throws UNKNOWN_SCHEMA */
  async get(id: number): Promise<SchemaEntry> {
    const entry = await this.#link.schema(id)
    if (entry === undefined) throw new MillraceError('UNKNOWN_SCHEMA', { id })
    return entry
  }
}
