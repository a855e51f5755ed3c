/**
 * The registered schemas of a directory, read from its store beside its owner too, and which of them a command means: an id, a
 * subject for the newest of it, or `@FILE` for one that is to be registered.
 */
import { readFile } from 'node:fs/promises'
import type { SchemaEntry } from '../../engine/broker/schema-service.ts'
import { parseSchema, schemaText } from '../../engine/schema/avro-schema.ts'
import { SchemaRegistry } from '../../engine/schema/schema-registry.ts'
import { Store } from '../../engine/store/store.ts'
import type { Context } from './context.ts'
import { CommandError } from './failure.ts'

/** Runs `work` on the schemas of the directory, which only reads them. @throws DIRECTORY_NOT_FOUND, CORRUPT_STORE */
export async function withSchemas<T>(directory: string, work: (schemas: SchemaRegistry) => T): Promise<T> {
  const store = Store.open(directory, { readOnly: true })
  try {
    return work(new SchemaRegistry(store.schemas))
  } finally {
    await store.close()
  }
}

/** @param choice an id, or a subject for its newest version @throws UNKNOWN_SCHEMA */
export function chooseSchema(schemas: SchemaRegistry, choice: string): SchemaEntry {
  return /^\d+$/.test(choice) ? schemas.get(Number(choice)) : schemas.latest(choice)
}

/** As `readSchemaText`, of a schema that refers to no other. @throws INVALID_SCHEMA, CommandError */
export async function readSchema(context: Context, file: string): Promise<string> {
  const text = await readSchemaText(context, file)
  parseSchema(text)
  return text
}

/**
 * Text of a schema file, or of stdin for `-`, without white space.
 * @throws INVALID_SCHEMA, CommandError when the file cannot be read
 */
export async function readSchemaText(context: Context, file: string): Promise<string> {
  let text: string
  try {
    text = await (file === '-' ? textOf(context.stdin) : readFile(file, 'utf8'))
  } catch (error) {
    throw new CommandError(`${file} cannot be read`, 'Correct the path of the schema.', error)
  }
  return schemaText(text)
}

async function textOf(input: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of input) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
