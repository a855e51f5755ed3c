/**
 * The registered schemas of a directory, read from its store beside its owner too, and which of them a command means: an id, a
 * subject for the newest of it, or `@FILE` for one that is to be registered.
 */
import { readFile } from 'node:fs/promises'
import { MillraceError } from '../../engine/base/errors.ts'
import { parseSchema, schemaText } from '../../engine/schema/avro-schema.ts'
import type { RegisteredSchema } from '../../engine/store/schemas.ts'
import { Store } from '../../engine/store/store.ts'
import type { Context } from './context.ts'
import { CommandError } from './failure.ts'

/** Every version of every subject, oldest first. @throws DIRECTORY_NOT_FOUND, CORRUPT_STORE */
export async function storedSchemas(directory: string): Promise<RegisteredSchema[]> {
  const store = Store.open(directory, { readOnly: true })
  try {
    return store.schemas.list()
  } finally {
    await store.close()
  }
}

/** @param choice an id, or a subject for its newest version @throws UNKNOWN_SCHEMA */
export function chooseSchema(schemas: readonly RegisteredSchema[], choice: string): RegisteredSchema {
  const isId = /^\d+$/.test(choice)
  const found = isId
    ? schemas.find(({ id }) => id === Number(choice))
    : schemas.findLast(({ subject }) => subject === choice)
  if (found === undefined)
    throw new MillraceError('UNKNOWN_SCHEMA', isId ? { id: Number(choice) } : { subject: choice })
  return found
}

/**
 * Text of a schema file, or of stdin for `-`, without white space.
 * @throws INVALID_SCHEMA, CommandError when the file cannot be read
 */
export async function readSchema(context: Context, file: string): Promise<string> {
  let text: string
  try {
    text = await (file === '-' ? textOf(context.stdin) : readFile(file, 'utf8'))
  } catch (error) {
    throw new CommandError(`${file} cannot be read`, 'Correct the path of the schema.', error)
  }
  const schema = schemaText(text)
  parseSchema(schema)
  return schema
}

async function textOf(input: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of input) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
