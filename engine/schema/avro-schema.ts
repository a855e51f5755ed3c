/**
 * Avro schemas as text and as avsc types: pure functions. A schema's text is its JSON without insignificant white space,
 * with everything that was written (documentation, defaults, aliases, custom attributes) in the order it was written, so
 * that two schemas are the same exactly when their texts are.
 */
import avsc from 'avsc'
import { MillraceError } from '../base/errors.ts'
import { SCHEMA_DEPTH_MAX, SCHEMA_TEXT_BYTES_MAX } from '../base/limits.ts'
import { ExactMap } from './blocks.ts'
import { ExactLong } from './exact-long.ts'
import { annotate, mappedBucket, mappedType, readLogical } from './logical-types.ts'
import { ShortText } from './short-text.ts'

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

export interface ParseOptions {
  /** Texts of schemas whose named types this one uses, each before those that use it. */
  readonly definitions?: readonly string[] | undefined
  /** Map values of logical types (logical-types.ts); default: they keep their base type. */
  readonly logicalTypes?: boolean
}

type Registry = Record<string, avsc.Type>

/**
 * The avsc type of a schema text. Unions are unwrapped where that is unambiguous (avsc's `auto`), `long` is an exact
 * number.
 * @throws INVALID_SCHEMA with avsc's own error as the cause
 */
export function parseSchema(text: string, options: ParseOptions = {}): avsc.Type {
  return parseWith(Object.create(null) as Registry, text, options)
}

/** Full names of the types that a schema and its definitions define. @throws INVALID_SCHEMA */
export function namesDefined(text: string, definitions: readonly string[] = []): Set<string> {
  const registry = Object.create(null) as Registry
  parseWith(registry, text, { definitions })
  return new Set(Object.keys(registry).filter(name => !PRIMITIVES.includes(name)))
}

function parseWith(
  registry: Registry,
  text: string,
  { definitions = [], logicalTypes = false }: ParseOptions,
): avsc.Type {
  const mapping = new Set<object>()
  const forSchema = (source: string): avsc.Type =>
    avsc.Type.forSchema(
      JSON.parse(source) as avsc.Schema,
      {
        wrapUnions: 'auto',
        noAnonymousTypes: true,
        registry,
        typeHook: (schema: avsc.Schema, opts: unknown) => hook(schema, opts, logicalTypes ? mapping : undefined),
      } as Partial<avsc.ForSchemaOptions>,
    )
  try {
    for (const definition of definitions) forSchema(definition)
    const type = forSchema(text)
    harden(type, new Set(), 0)
    return type
  } catch (error) {
    if (error instanceof MillraceError) throw error
    throw new MillraceError('INVALID_SCHEMA', { reason: (error as Error).message.slice(0, 200) }, error)
  }
}

/** @param mapping schemas whose mapped type is being made, which asks for their base type; undefined: nothing is mapped */
function hook(schema: avsc.Schema, options: unknown, mapping: Set<object> | undefined): avsc.Type | undefined {
  if (typeof schema === 'string') return ownPrimitive(schema)
  if (typeof schema !== 'object' || schema === null) return undefined
  if (Array.isArray(schema)) return mapping === undefined ? undefined : mappedUnion(schema, options)
  const attributes = schema as unknown as Readonly<Record<string, unknown>>
  const { type: kind } = attributes
  // avsc looks kinds up in a plain object.
  if (typeof kind === 'string' && kind in Object.prototype) throw new Error(`unknown type: ${JSON.stringify(kind)}`)
  if (kind === 'map') return new ExactMap(schema, options)
  const logical = readLogical(attributes)
  if (logical === undefined) return kind === 'long' || kind === 'string' ? ownPrimitive(kind) : undefined
  const Mapped = mapping?.has(schema) === false ? mappedType(logical, kind) : undefined
  if (Mapped !== undefined) {
    mapping?.add(schema)
    return new Mapped(schema as never, options)
  }
  const type = annotated(kind) ?? new avsc.types.FixedType(schema, options)
  annotate(type, logical)
  return type
}

/** Types of primitives that are read in another way than avsc's. */
function ownPrimitive(name: string): avsc.Type | undefined {
  if (name === 'long') return new ExactLong()
  return name === 'string' ? new ShortText() : undefined
}

/** A type of its own for a base type that can be annotated: avsc shares those that it makes. */
function annotated(base: unknown): avsc.Type | undefined {
  if (base === 'int') return new avsc.types.IntType()
  if (base === 'bytes') return new avsc.types.BytesType()
  return ownPrimitive(base as string)
}

/** As avsc's `auto`, but with an eye on what the values of logical types look like. */
function mappedUnion(schema: readonly avsc.Schema[], options: unknown): avsc.Type {
  const types = schema.map(branch => avsc.Type.forSchema(branch, options as Partial<avsc.ForSchemaOptions>))
  const buckets = new Set(types.map(type => mappedBucket(type) ?? BUCKETS[type.typeName] ?? type.typeName))
  const Union = buckets.size < types.length ? avsc.types.WrappedUnionType : avsc.types.UnwrappedUnionType
  return new Union(types as unknown as avsc.Schema, options)
}

/** Types whose values a union cannot tell apart by their JavaScript type. */
const BUCKETS: Readonly<Record<string, string>> = {
  int: 'number',
  long: 'number',
  float: 'number',
  double: 'number',
  bytes: 'buffer',
  fixed: 'buffer',
  enum: 'string',
  map: 'object',
  record: 'object',
  error: 'object',
}

/** Takes the prototypes off avsc's lookups, and refuses the one field name that sets a record's prototype. */
function harden(type: avsc.Type, seen: Set<avsc.Type>, depth: number): void {
  if (seen.has(type)) return
  if (depth > SCHEMA_DEPTH_MAX)
    throw new MillraceError('INVALID_SCHEMA', { reason: 'too deep', depthMax: SCHEMA_DEPTH_MAX })
  seen.add(type)
  for (const name of LOOKUPS) {
    const lookup = (type as unknown as Record<string, unknown>)[name]
    if (typeof lookup === 'object' && lookup !== null) Object.setPrototypeOf(lookup, null)
  }
  if (type instanceof avsc.types.RecordType) {
    for (const field of type.fields) {
      if (field.name === '__proto__') throw new MillraceError('INVALID_SCHEMA', { reason: 'a field named __proto__' })
      harden(field.type, seen, depth + 1)
    }
  } else if (type instanceof avsc.types.ArrayType) harden(type.itemsType, seen, depth + 1)
  else if (type instanceof avsc.types.MapType) harden(type.valuesType as avsc.Type, seen, depth + 1)
  else if (isUnion(type)) for (const branch of type.types) harden(branch, seen, depth + 1)
}

export type UnionType = avsc.types.UnwrappedUnionType | avsc.types.WrappedUnionType

export function isUnion(type: avsc.Type): type is UnionType {
  return type instanceof avsc.types.UnwrappedUnionType || type instanceof avsc.types.WrappedUnionType
}
