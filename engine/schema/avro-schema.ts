/**
 * Avro schemas as text and as avsc types: pure functions. A schema's text is its JSON without insignificant white space,
 * with everything that was written (documentation, defaults, aliases, custom attributes) in the order it was written, so
 * that two schemas are the same exactly when their texts are.
 */
import avsc from 'avsc'
import { MillraceError } from '../base/errors.ts'
import { SCHEMA_TEXT_BYTES_MAX } from '../base/limits.ts'
import { ExactLong } from './exact-long.ts'

/** A schema as JSON text, as the name of a primitive type, or as the parsed JSON itself. */
export type SchemaSource = string | object

const PRIMITIVES = ['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']

// avsc keeps symbols and branch names in plain objects, so that "constructor" would pass as a symbol of any enum.
const LOOKUPS = ['_indices', '_branchIndices', '_bucketIndices'] as const

/**
 * The schema's text.
 * @throws INVALID_SCHEMA when it is no JSON or too long; whether it is a schema is for `parseSchema` to say
 */
export function schemaText(schema: SchemaSource): string {
  let text: string | undefined
  try {
    text = JSON.stringify(typeof schema === 'string' && !PRIMITIVES.includes(schema) ? JSON.parse(schema) : schema)
  } catch (error) {
    throw new MillraceError('INVALID_SCHEMA', { reason: 'not JSON' }, error)
  }
  if (text === undefined) throw new MillraceError('INVALID_SCHEMA', { reason: 'not JSON' })
  const bytes = Buffer.byteLength(text)
  if (bytes > SCHEMA_TEXT_BYTES_MAX) {
    throw new MillraceError('INVALID_SCHEMA', { reason: 'too long', bytes, bytesMax: SCHEMA_TEXT_BYTES_MAX })
  }
  return text
}

/**
 * The avsc type of a schema text. Unions are unwrapped where that is unambiguous (avsc's `auto`), `long` is an exact
 * number, logical types keep their base type.
 * @throws INVALID_SCHEMA with avsc's own error as the cause
 */
export function parseSchema(text: string): avsc.Type {
  try {
    const type = avsc.Type.forSchema(JSON.parse(text) as avsc.Schema, { wrapUnions: 'auto', typeHook: longHook })
    harden(type, new Set())
    return type
  } catch (error) {
    if (error instanceof MillraceError) throw error
    throw new MillraceError('INVALID_SCHEMA', { reason: (error as Error).message.slice(0, 200) }, error)
  }
}

function longHook(schema: avsc.Schema): avsc.Type | undefined {
  const name: unknown = typeof schema === 'object' && 'type' in schema ? schema.type : schema
  return name === 'long' ? new ExactLong() : undefined
}

/** Takes the prototypes off avsc's lookups, and refuses the one field name that sets a record's prototype. */
function harden(type: avsc.Type, seen: Set<avsc.Type>): void {
  if (seen.has(type)) return
  seen.add(type)
  for (const name of LOOKUPS) {
    const lookup = (type as unknown as Record<string, unknown>)[name]
    if (typeof lookup === 'object' && lookup !== null) Object.setPrototypeOf(lookup, null)
  }
  if (type instanceof avsc.types.RecordType) {
    for (const field of type.fields) {
      if (field.name === '__proto__') throw new MillraceError('INVALID_SCHEMA', { reason: 'a field named __proto__' })
      harden(field.type, seen)
    }
  } else if (type instanceof avsc.types.ArrayType) harden(type.itemsType, seen)
  else if (type instanceof avsc.types.MapType) harden(type.valuesType as avsc.Type, seen)
  else if (type instanceof avsc.types.UnwrappedUnionType || type instanceof avsc.types.WrappedUnionType) {
    for (const branch of type.types) harden(branch, seen)
  }
}
