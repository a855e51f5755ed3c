/**
 * Derives from a message's notation what reads and writes one version of it. Made once for each message and version. Pure.
 *
 * In the flexible encoding every struct ends with its tagged fields: their number, then tag, size and content of each, in the order of
 * tags. Unknown ones are skipped. What has its default is not written as a tagged field.
 */
import { MillraceError } from '../../base/errors.ts'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import { type Field, type Fields, includes, type Message, type MessageOf, type WrittenMessage } from './notation.ts'
import { COMPACT_LENGTH, FLEXIBLE_SCALARS, INT32_LENGTH, OLD_SCALARS, type ScalarCodec } from './scalars.ts'

type Values = Record<string, unknown>

export interface MessageCodec<M extends Message> {
  /** Reads a message from where the reader stands. @throws INVALID_REQUEST */
  read(from: ByteReader): MessageOf<M>
  /** @throws UNSUPPORTED_VERSION for a value of a request that this version cannot carry */
  write(to: ByteWriter, value: WrittenMessage<M>): void
}

const cache = new WeakMap<Message, Map<number, MessageCodec<Message>>>()

/** @param version one that the message has: nothing checks it here */
export function codecOf<M extends Message>(message: M, version: number): MessageCodec<M> {
  let versions = cache.get(message)
  if (versions === undefined) {
    versions = new Map()
    cache.set(message, versions)
  }
  let codec = versions.get(version)
  if (codec === undefined) {
    const encoding = { version, isFlexible: includes(message.flexible, version), isAnswer: message.isAnswer }
    const fields = structOf(message.fields, encoding)
    codec = { read: from => fields.read(from) as MessageOf<Message>, write: (to, value) => fields.write(to, value) }
    versions.set(version, codec)
  }
  return codec as MessageCodec<M>
}

/** What a field holds that is not on the wire. Each message gets an array or struct of its own. */
function defaultOf({ kind, options, fields }: Field): () => unknown {
  if (options.default !== undefined) return () => options.default
  if (kind === 'array') return () => []
  if (kind === 'struct') {
    const entries = Object.entries(fields as Fields).map(([name, field]) => [name, defaultOf(field)] as const)
    return () => Object.fromEntries(entries.map(([name, make]) => [name, make()]))
  }
  const { zero } = OLD_SCALARS[kind]
  return () => zero
}

interface FieldCodec extends ScalarCodec {
  readonly name: string
  readonly fallback: () => unknown
  /** Undefined: not a tagged field. */
  readonly tag: number | undefined
}

/** What all of a message has in common. */
interface Encoding {
  readonly version: number
  readonly isFlexible: boolean
  readonly isAnswer: boolean
}

function structOf(fields: Fields, encoding: Encoding): ScalarCodec {
  const { version, isFlexible, isAnswer } = encoding
  const present: FieldCodec[] = []
  const tagged: FieldCodec[] = []
  const absent: { name: string; fallback: () => unknown }[] = []
  const forbidden: { name: string; isDefault: (value: unknown) => boolean }[] = []
  for (const [name, field] of Object.entries(fields)) {
    const fallback = defaultOf(field)
    const { tag, ignorable } = field.options
    const isThere = includes(field.versions, version) && (tag === undefined || isFlexible)
    if (!isThere) {
      absent.push({ name, fallback })
      if (ignorable !== true && !isAnswer)
        forbidden.push({ name, isDefault: value => isDefault(field, fallback, value) })
      continue
    }
    const codec = fieldOf(name, field, fallback, encoding)
    if (tag === undefined) present.push(codec)
    else {
      tagged.push(codec)
      absent.push({ name, fallback })
    }
  }
  tagged.sort((a, b) => (a.tag as number) - (b.tag as number))
  const bytesMin = present.reduce((sum, field) => sum + field.bytesMin, isFlexible ? 1 : 0)
  return {
    read: from => {
      const value: Values = {}
      for (const { name, read } of present) value[name] = read(from)
      for (const { name, fallback } of absent) value[name] = fallback()
      if (isFlexible) readTagged(from, tagged, value)
      return value
    },
    write: (to, given) => {
      const value = given as Values
      for (const { name, isDefault } of forbidden) {
        const held = value[name]
        if (held !== undefined && !isDefault(held))
          throw new MillraceError('UNSUPPORTED_VERSION', { field: name, version })
      }
      for (const { name, write, fallback } of present)
        write(to, value[name] ?? (value[name] === null ? null : fallback()))
      if (isFlexible) writeTagged(to, tagged, value)
    },
    bytesMin,
    zero: undefined,
  }
}

function fieldOf(name: string, field: Field, fallback: () => unknown, encoding: Encoding): FieldCodec {
  const { version, isFlexible } = encoding
  const { kind, options } = field
  const isNullable = options.nullable !== undefined && includes(options.nullable, version)
  const codec =
    kind === 'array'
      ? arrayOf(field, encoding)
      : kind === 'struct'
        ? nullableStruct(structOf(field.fields as Fields, encoding), isNullable)
        : (isFlexible ? FLEXIBLE_SCALARS : OLD_SCALARS)[kind]
  const read = (from: ByteReader): unknown => {
    const value = codec.read(from)
    return value === null && !isNullable ? from.fail(`${name} is null`) : value
  }
  const write = (to: ByteWriter, value: unknown): void => {
    if (value === null && !isNullable) throw new MillraceError('UNSUPPORTED_VERSION', { field: name, version, value })
    codec.write(to, value)
  }
  return { name, fallback, tag: options.tag, read, write, bytesMin: codec.bytesMin, zero: codec.zero }
}

/** A struct that may be null begins with a byte: -1 for null, 1 else. */
function nullableStruct(codec: ScalarCodec, isNullable: boolean): ScalarCodec {
  if (!isNullable) return codec
  return {
    read: from => (from.int8() < 0 ? null : codec.read(from)),
    write: (to, value) => {
      to.int8(value === null ? -1 : 1)
      if (value !== null) codec.write(to, value)
    },
    bytesMin: 1,
    zero: null,
  }
}

function arrayOf({ element }: Field, encoding: Encoding): ScalarCodec {
  const { isFlexible } = encoding
  const length = isFlexible ? COMPACT_LENGTH : INT32_LENGTH
  const items =
    typeof element === 'string'
      ? (isFlexible ? FLEXIBLE_SCALARS : OLD_SCALARS)[element]
      : structOf(element as Fields, encoding)
  return {
    read: from => {
      const count = length.read(from)
      if (count === -1) return null
      // Before anything is allocated: so many cannot be there.
      if (count * Math.max(items.bytesMin, 1) > from.left) return from.fail('array ends early')
      const values: unknown[] = []
      for (let i = 0; i < count; i++) values.push(items.read(from) ?? from.fail('an item is null'))
      return values
    },
    write: (to, value) => {
      if (value === null) {
        length.write(to, -1)
        return
      }
      const values = value as readonly unknown[]
      length.write(to, values.length)
      for (const item of values) items.write(to, item)
    },
    bytesMin: length.bytesMin,
    zero: [],
  }
}

// ── tagged fields ───────────────────────────────────────────────────────────────────────────────────────────────────

function readTagged(from: ByteReader, known: readonly FieldCodec[], value: Values): void {
  const count = from.uvarint()
  for (let i = 0; i < count; i++) {
    const tag = from.uvarint()
    const bytes = from.uvarint()
    const content = from.view(bytes)
    const field = known.find(candidate => candidate.tag === tag)
    if (field !== undefined) value[field.name] = field.read(new ByteReader(content))
  }
}

function writeTagged(to: ByteWriter, known: readonly FieldCodec[], value: Values): void {
  const written: { readonly tag: number; readonly pieces: Uint8Array[]; readonly bytes: number }[] = []
  for (const field of known) {
    const held = value[field.name]
    if (held === undefined || same(held, field.fallback())) continue
    const inner = new ByteWriter(64)
    field.write(inner, held)
    written.push({ tag: field.tag as number, bytes: inner.length, pieces: inner.finish() })
  }
  to.uvarint(written.length)
  for (const { tag, pieces, bytes } of written) {
    to.uvarint(tag)
    to.uvarint(bytes)
    for (const piece of pieces) to.bytes(piece)
  }
}

function isDefault({ kind }: Field, fallback: () => unknown, value: unknown): boolean {
  if (kind === 'array' && (value === null || (value as readonly unknown[]).length === 0)) return true
  return same(value, fallback())
}

/** Deep equality of plain values. */
function same(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0
  }
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  for (const name of names) if (!same((a as Values)[name], (b as Values)[name])) return false
  return true
}
