/** Random messages, derived from their notation. */
import fc from 'fast-check'
import { type Field, type Fields, includes, type Message } from '../../../../engine/kafka/codec/notation.ts'

const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => {
  const hex = Buffer.from(bytes).toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
})
const blob = fc.uint8Array({ maxLength: 20 }).map(bytes => Buffer.from(bytes))
const whole = (bits: number): fc.Arbitrary<number> => fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })

const SCALARS: Record<string, fc.Arbitrary<unknown>> = {
  bool: fc.boolean(),
  int8: whole(8),
  int16: whole(16),
  uint16: fc.nat(0xffff),
  int32: whole(32),
  int64: fc.maxSafeInteger().map(value => value + 0), // never -0
  float64: fc.double({ noNaN: true }).map(value => (Object.is(value, -0) ? 0 : value)),
  string: fc.string({ unit: 'grapheme', maxLength: 12 }),
  uuid,
  bytes: blob,
  records: blob,
}

/** What a reader gives for a field that is not on the wire. */
export function fallbackOf({ kind, options, fields }: Field): unknown {
  if (options.default !== undefined) return options.default
  if (kind === 'array') return []
  if (kind === 'struct')
    return Object.fromEntries(Object.entries(fields as Fields).map(([name, field]) => [name, fallbackOf(field)]))
  if (kind === 'bool') return false
  if (kind === 'string') return ''
  if (kind === 'uuid') return '00000000-0000-0000-0000-000000000000'
  return kind === 'bytes' || kind === 'records' ? Buffer.alloc(0) : 0
}

function arbitraryOf(
  { kind, element, fields, options }: Field,
  version: number,
  isFlexible: boolean,
): fc.Arbitrary<unknown> {
  let value: fc.Arbitrary<unknown>
  if (kind === 'struct') value = structOf(fields as Fields, version, isFlexible)
  else if (kind === 'array') {
    const item = typeof element === 'string' ? SCALARS[element] : structOf(element as Fields, version, isFlexible)
    value = fc.array(item as fc.Arbitrary<unknown>, { maxLength: 3 })
  } else value = SCALARS[kind] as fc.Arbitrary<unknown>
  const isNullable = options.nullable !== undefined && includes(options.nullable, version)
  return isNullable ? fc.option(value, { freq: 4 }) : value
}

function structOf(fields: Fields, version: number, isFlexible: boolean): fc.Arbitrary<Record<string, unknown>> {
  const entries = Object.entries(fields).map(([name, field]) => {
    const isThere = includes(field.versions, version) && (field.options.tag === undefined || isFlexible)
    const fallback = fc.constant(fallbackOf(field))
    if (!isThere) return [name, fallback] as const
    const value = arbitraryOf(field, version, isFlexible)
    return [name, field.options.tag === undefined ? value : fc.oneof(fallback, value)] as const
  })
  return fc.record(Object.fromEntries(entries)) as fc.Arbitrary<Record<string, unknown>>
}

/** A message as a reader of `version` gives it. */
export function arbitraryMessage(message: Message, version: number): fc.Arbitrary<Record<string, unknown>> {
  return structOf(message.fields, version, includes(message.flexible, version))
}
