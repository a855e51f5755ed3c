/**
 * Avro values in records: Confluent's wire format, encoded and decoded by avsc. A serde belongs to one registered schema
 * and to one thread; it keeps no state but caches.
 *
 *      0      1               5
 *     +------+---------------+--------------------
 *     | 0x00 | schema id, BE | Avro binary …
 *     +------+---------------+--------------------
 *
 * In TypeScript: records are objects, `int` and `long` numbers, `bytes` and `fixed` Buffers, enums strings, maps objects.
 * A `long` beyond the safe integers, ±(2^53 - 1), is refused when written and when read, because a number would not hold
 * it. A field with a default may be left out when writing. Unions hold the plain value where its JavaScript type says which branch it is,
 * else `{ branchName: value }`. Logical types keep their base type, unless they are asked for.
 * Invariant: what `decode` returns shares no memory with the bytes it was given.
 */
import type avsc from 'avsc'
import { MillraceError } from '../engine/base/errors.ts'
import { KIB } from '../engine/base/limits.ts'
import { type ParseOptions, parseSchema, type SchemaSource, schemaText } from '../engine/schema/avro-schema.ts'
import { resolveSchema, type SchemaProblem } from '../engine/schema/resolution.ts'
import { makeTap, type Read, tapType } from '../engine/schema/tap.ts'
import { type Check, compileCheck } from './avro-check.ts'
import type { AvroInput, AvroType } from './avro-types.ts'

/** Bytes in front of the Avro binary. */
export const AVRO_PREFIX_BYTES = 5

/** Values up to this size are encoded here first and then copied; larger ones are encoded twice. */
const SCRATCH_BYTES = 64 * KIB

/** Writers' schemas that a serde keeps resolvers for; more than this at once in one topic is not known to happen. */
const WRITERS_MAX = 1000

const scratch = Buffer.alloc(SCRATCH_BYTES)

const tap = makeTap()
const NOTHING = Buffer.alloc(0)

/**
 * The memory that the bytes decoded last lie in, as a Buffer, which values beside them are read from as well: a view for
 * each would cost more than decoding it. Held until the event loop turns, because it may be a mapped file; a `WeakRef`, which is held as
 * long, takes twice the time.
 */
let lastMemory: Buffer | undefined

/** A schema's text and those of the schemas that it refers to; a `SchemaEntry` is one. */
export interface SchemaTexts {
  readonly text: string
  readonly definitions?: readonly string[]
}

/** Finds a registered schema; undefined when there is none of this id. `schemas.lookup()` makes one. */
export type SchemaLookup = (id: number) => string | SchemaTexts | undefined

export interface AvroOptions<L extends boolean = boolean> {
  /** Schemas that define types which this one uses, each before those that use it. Default: none. */
  readonly definitions?: readonly SchemaSource[]
  /**
   * Logical types become JavaScript values: `date` and `timestamp-millis` a `Date`, `decimal` and a fixed `uuid` text,
   * `duration` an object. Default false: they keep their base type.
   */
  readonly logicalTypes?: L
}

/** Reads what was written with one schema. */
interface Reader {
  readonly check: Check
  readonly read: Read
}

/** A schema with its TypeScript types, before it has an id. It stands wherever a schema is expected. */
export class AvroDefinition<T = unknown, Input = T> {
  /** The schema's JSON without white space. */
  readonly text: string
  readonly #options: AvroOptions

  constructor(schema: SchemaSource, options: AvroOptions = {}) {
    this.text = schemaText(schema)
    this.#options = options
    parseSchema(this.text, parseOptions(options))
  }

  /** The serde of the registered schema. */
  serde(id: number, schemaOf?: SchemaLookup): AvroSerde<T, Input> {
    return new AvroSerde(id, this.text, schemaOf, this.#options)
  }

  toJSON(): unknown {
    return JSON.parse(this.text)
  }
}

/**
 * Defines a schema from a literal and infers the types of its values from it.
 * @throws INVALID_SCHEMA
 * @example
 * const flight = avro({ type: 'record', name: 'Flight', fields: [{ name: 'delay', type: 'int' }] })
 * // AvroDefinition<{ delay: number }>
 */
export function avro<const S, const L extends boolean = false>(
  schema: S & SchemaSource,
  options: AvroOptions<L> = {},
): AvroDefinition<AvroType<S, L>, AvroInput<S, L>> {
  return new AvroDefinition(schema, options)
}

export class AvroSerde<T = unknown, Input = T> {
  /** Id of the schema that this writes with, and that it reads into. */
  readonly id: number
  readonly #type: avsc.Type
  readonly #own: Reader
  readonly #schemaOf: SchemaLookup
  readonly #writers = new Map<number, Reader>()

  /**
   * @param schemaOf asked for the schemas of other ids that are met in records; without it they are UNKNOWN_SCHEMA
   * @throws INVALID_SCHEMA
   */
  constructor(id: number, schema: SchemaSource, schemaOf: SchemaLookup = () => undefined, options: AvroOptions = {}) {
    if (!Number.isInteger(id) || id < 0 || id > 0x7fff_ffff)
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'id', id })
    this.id = id
    const text = schemaText(schema)
    const parsing = parseOptions(options)
    this.#type = parseSchema(text, parsing)
    const base = parsing.logicalTypes === true ? parseSchema(text, { ...parsing, logicalTypes: false }) : this.#type
    const own = tapType(this.#type)
    this.#own = { check: compileCheck(base), read: from => own._read(from) }
    this.#schemaOf = schemaOf
  }

  /**
   * A value as bytes of its own.
   * @throws SCHEMA_MISMATCH {path, expected, found} naming the first field that does not fit; fields that the schema does
   *   not know are left out without a word
   */
  encode(value: Input): Buffer {
    const end = this.#write(value, scratch, AVRO_PREFIX_BYTES)
    const bytes = Buffer.allocUnsafe(end >= 0 ? end : SCRATCH_BYTES - end)
    if (end >= 0) scratch.copy(bytes, 0, 0, end)
    else this.#write(value, bytes, AVRO_PREFIX_BYTES)
    writePrefix(bytes, 0, this.id)
    return bytes
  }

  /**
   * Encodes into memory that is lent.
   * @returns the number of bytes written from `at` on, or -1 when they do not fit into `target`; its bytes from `at` on are
   *   then undefined, as they are after a throw
   * @throws SCHEMA_MISMATCH
   */
  encodeInto(value: Input, target: Uint8Array, at = 0): number {
    if (at + AVRO_PREFIX_BYTES > target.length) return -1
    const bytes = asBuffer(target)
    const end = this.#write(value, bytes, at + AVRO_PREFIX_BYTES)
    if (end < 0) return -1
    writePrefix(bytes, at, this.id)
    return end - at
  }

  /**
   * The value that `bytes` hold, resolved into this serde's schema when it was written with another.
   * @throws NOT_AVRO_ENCODED when the prefix is not there, UNKNOWN_SCHEMA, SCHEMA_MISMATCH when the body is damaged or the
   *   writer's schema cannot be read as this one
   */
  decode(bytes: Uint8Array): T {
    const { length } = bytes
    if (length < AVRO_PREFIX_BYTES || bytes[0] !== 0) {
      throw new MillraceError('NOT_AVRO_ENCODED', { bytes: length, firstByte: bytes[0] ?? null })
    }
    const memory = memoryOf(bytes)
    const at = memory === bytes ? 0 : bytes.byteOffset
    const id = readId(memory, at + 1)
    const { check, read } = id === this.id ? this.#own : this.#readerOf(id)
    const body = at + AVRO_PREFIX_BYTES
    check(memory, body, at + length, at)
    tap.buf = memory
    tap.pos = body
    try {
      return read(tap) as T
    } catch (error) {
      throw new MillraceError('SCHEMA_MISMATCH', { id, reason: reasonOf(error) }, error)
    } finally {
      tap.buf = NOTHING
    }
  }

  #write(value: Input, target: Buffer, at: number): number {
    try {
      return this.#type.encode(value, target, at)
    } catch (error) {
      throw this.#mismatch(value, error)
    }
  }

  #readerOf(id: number): Reader {
    const known = this.#writers.get(id)
    if (known !== undefined) return known
    const found = this.#schemaOf(id)
    if (found === undefined) throw new MillraceError('UNKNOWN_SCHEMA', { id })
    const { text, definitions }: SchemaTexts = typeof found === 'string' ? { text: found } : found
    const writer = parseSchema(text, { definitions })
    const read = resolveSchema(this.#type, writer)
    if (typeof read !== 'function') {
      const [{ path, reason }] = read as [SchemaProblem]
      throw new MillraceError('SCHEMA_MISMATCH', { id, readerId: this.id, path, reason })
    }
    const reader = { check: compileCheck(writer), read }
    if (this.#writers.size >= WRITERS_MAX) this.#writers.clear()
    this.#writers.set(id, reader)
    return reader
  }

  /** The first place where a value does not fit; asked only after avsc refused it, since a full check costs as much. */
  #mismatch(value: unknown, error: unknown): MillraceError {
    let details: { path: string; expected: string; found: string } | undefined
    const errorHook = (path: string[], found: unknown, type: avsc.Type): void => {
      details ??= { path: path.join('.'), expected: String(type).slice(0, 200), found: describe(found) }
    }
    try {
      this.#type.isValid(value, { errorHook })
    } catch {
      // The value itself throws when it is looked at; the first error says why.
    }
    return new MillraceError('SCHEMA_MISMATCH', details ?? { reason: reasonOf(error) }, error)
  }
}

function parseOptions({ definitions = [], logicalTypes = false }: AvroOptions): ParseOptions {
  return { definitions: definitions.map(schemaText), logicalTypes }
}

function writePrefix(bytes: Buffer, at: number, id: number): void {
  bytes[at] = 0
  bytes.writeInt32BE(id, at + 1)
}

/** Quicker than `readInt32BE`, which checks its arguments. */
function readId(bytes: Buffer, at: number): number {
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16)
  return high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
}

function memoryOf(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes
  const { buffer } = bytes
  // A buffer may have grown since.
  if (lastMemory?.buffer === buffer && bytes.byteOffset + bytes.length <= lastMemory.length) return lastMemory
  if (lastMemory === undefined) setImmediate(forgetMemory)
  lastMemory = Buffer.from(buffer)
  return lastMemory
}

function forgetMemory(): void {
  lastMemory = undefined
}

/** avsc wants Buffers; a view of another kind is looked at as one, not copied. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 200)
}

function describe(value: unknown): string {
  if (value === null || typeof value === 'undefined') return String(value)
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (typeof value === 'object' || typeof value === 'function') return value.constructor?.name ?? typeof value
  return `${typeof value} ${String(value)}`
}
