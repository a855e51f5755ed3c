/**
 * The notation in which the messages of the Kafka protocol are written down: data, from which readers, writers and the TypeScript
 * types of messages are derived. Pure.
 *
 *     const heartbeat = message('4+', { groupId: string(), generationId: int32(), instanceId: string('3+', { nullable: '3+', default: null }) })
 *
 * The first argument of a field is the range of versions in which it is on the wire: '0+', '0-7', '3'. Fields are written in
 * their order. A message that was read always has every field; those that its version lacks have their default. When writing, a
 * field that not every version has, or that has a default, may be left out.
 *
 * | type            | in JavaScript                                                                         |
 * |-----------------|---------------------------------------------------------------------------------------|
 * | int8 … uint32   | number                                                                                |
 * | int64           | number: offsets, times, ids. What lies beyond 2^53 - 1 is read as that                |
 * | uuid            | text in lower case, 8-4-4-4-12                                                        |
 * | bytes           | `Uint8Array`, read as a view of the request                                           |
 * | records         | the same; written as one or several pieces, which are passed on and not copied        |
 * | array, struct   | array, object                                                                         |
 */

/** '3+', '0-7' or '4'. */
export type Versions = `${number}+` | `${number}-${number}` | `${number}`

export type ScalarKind =
  | 'bool'
  | 'int8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'float64'
  | 'string'
  | 'uuid'
  | 'bytes'
  | 'records'

export interface FieldOptions {
  /** Versions in which it may be null. */
  readonly nullable?: Versions
  /** Zero, '' and so on without it. */
  readonly default?: unknown
  /** Where the version lacks the field, a value that is not the default is left out in silence. */
  readonly ignorable?: boolean
  /** It is a tagged field, in all versions that have it. */
  readonly tag?: number
}

export type Fields = { readonly [name: string]: Field }

export interface Field<V extends Versions = Versions, O extends FieldOptions = FieldOptions> {
  readonly kind: ScalarKind | 'array' | 'struct'
  readonly versions: V
  readonly options: O
  /** Of an array: what it holds. */
  readonly element?: ScalarKind | Fields
  /** Of a struct. */
  readonly fields?: Fields
}

export interface ScalarField<K extends ScalarKind, V extends Versions, O extends FieldOptions> extends Field<V, O> {
  readonly kind: K
}

export interface ArrayField<E extends ScalarKind | Fields, V extends Versions, O extends FieldOptions>
  extends Field<V, O> {
  readonly kind: 'array'
  readonly element: E
}

export interface StructField<F extends Fields, V extends Versions, O extends FieldOptions> extends Field<V, O> {
  readonly kind: 'struct'
  readonly fields: F
}

/** A message: its fields, and the versions that use the flexible encoding (KIP-482). */
export interface Message<F extends Fields = Fields> {
  readonly flexible: Versions | 'none'
  readonly fields: F
  /** What a version cannot carry is left out when it is written: it says more than a client of that version asked for. */
  readonly isAnswer: boolean
}

// ── types ───────────────────────────────────────────────────────────────────────────────────────────────────────────

type ScalarOf<K> = K extends 'string' | 'uuid'
  ? string
  : K extends 'bool'
    ? boolean
    : K extends 'bytes' | 'records'
      ? Uint8Array
      : number

type ElementOf<E> = E extends Fields ? ReadFields<E> : ScalarOf<E>

type ReadBase<F> =
  F extends ArrayField<infer E, Versions, FieldOptions>
    ? ElementOf<E>[]
    : F extends StructField<infer S, Versions, FieldOptions>
      ? ReadFields<S>
      : F extends { readonly kind: infer K }
        ? ScalarOf<K>
        : never

type Nullable<F, T> = F extends { readonly options: { readonly nullable: Versions } } ? T | null : T

type ReadFields<S extends Fields> = { -readonly [N in keyof S]: Nullable<S[N], ReadBase<S[N]>> }

type WrittenElement<E> = E extends Fields ? WrittenFields<E> : ScalarOf<E>

type WrittenBase<F> =
  F extends ArrayField<infer E, Versions, FieldOptions>
    ? readonly WrittenElement<E>[]
    : F extends StructField<infer S, Versions, FieldOptions>
      ? WrittenFields<S>
      : F extends { readonly kind: 'records' }
        ? Uint8Array | readonly Uint8Array[]
        : F extends { readonly kind: infer K }
          ? ScalarOf<K>
          : never

/** Fields that may be left out: those with a default, tagged and ignorable ones, and those that not every version has. */
type OptionalNames<S extends Fields> = {
  [N in keyof S]: S[N]['versions'] extends '0+'
    ? S[N]['options'] extends { readonly default: unknown } | { readonly tag: number } | { readonly ignorable: true }
      ? N
      : never
    : N
}[keyof S]

type WrittenFields<S extends Fields> = {
  readonly [N in Exclude<keyof S, OptionalNames<S>>]: Nullable<S[N], WrittenBase<S[N]>>
} & {
  readonly [N in OptionalNames<S>]?: Nullable<S[N], WrittenBase<S[N]>> | undefined
}

/** A message as it is read. */
export type MessageOf<M extends Message> = ReadFields<M['fields']>

/** A message as it may be given to be written. */
export type WrittenMessage<M extends Message> = WrittenFields<M['fields']>

// ── the notation ────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param flexible versions with the flexible encoding */
export function message<const F extends Fields>(flexible: Versions | 'none', fields: F): Message<F> {
  return { flexible, fields, isAnswer: false }
}

/** The same for the answer to a request. */
export function answer<const F extends Fields>(flexible: Versions | 'none', fields: F): Message<F> {
  return { flexible, fields, isAnswer: true }
}

type Always = '0+'
/** Without options. */
type Plain = Record<never, never>

interface Scalar<K extends ScalarKind> {
  (): ScalarField<K, Always, Plain>
  <const V extends Versions>(versions: V): ScalarField<K, V, Plain>
  <const V extends Versions, const O extends FieldOptions>(versions: V, options: O): ScalarField<K, V, O>
}

const scalar =
  <K extends ScalarKind>(kind: K): Scalar<K> =>
  (versions: Versions = '0+', options: FieldOptions = {}) =>
    ({ kind, versions, options }) as never

export const bool = scalar('bool')
export const int8 = scalar('int8')
export const int16 = scalar('int16')
export const uint16 = scalar('uint16')
export const int32 = scalar('int32')
export const int64 = scalar('int64')
export const float64 = scalar('float64')
export const string = scalar('string')
export const uuid = scalar('uuid')
export const bytes = scalar('bytes')
export const records = scalar('records')

type Element = ScalarKind | Fields

/** @param element a scalar type, or the fields of the structs in it */
export function array<const E extends Element>(element: E): ArrayField<E, Always, Plain>
export function array<const E extends Element, const V extends Versions>(
  element: E,
  versions: V,
): ArrayField<E, V, Plain>
export function array<const E extends Element, const V extends Versions, const O extends FieldOptions>(
  element: E,
  versions: V,
  options: O,
): ArrayField<E, V, O>
export function array(element: Element, versions: Versions = '0+', options: FieldOptions = {}): Field {
  return { kind: 'array', element, versions, options }
}

export function struct<const F extends Fields>(fields: F): StructField<F, Always, Plain>
export function struct<const F extends Fields, const V extends Versions>(
  fields: F,
  versions: V,
): StructField<F, V, Plain>
export function struct<const F extends Fields, const V extends Versions, const O extends FieldOptions>(
  fields: F,
  versions: V,
  options: O,
): StructField<F, V, O>
export function struct(fields: Fields, versions: Versions = '0+', options: FieldOptions = {}): Field {
  return { kind: 'struct', fields, versions, options }
}

/** Lowest and highest version of a range. */
export function rangeOf(versions: Versions | 'none'): readonly [first: number, last: number] {
  if (versions === 'none') return [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  const [first = '', last] = versions.split('-')
  if (first.endsWith('+')) return [Number(first.slice(0, -1)), Number.POSITIVE_INFINITY]
  return [Number(first), Number(last ?? first)]
}

export function includes(versions: Versions | 'none', version: number): boolean {
  const [first, last] = rangeOf(versions)
  return version >= first && version <= last
}
