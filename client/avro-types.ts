/**
 * TypeScript types from Avro schema literals, at no cost when running. `AvroType` is what a value is when it was read,
 * `AvroInput` what may be written: there, fields with a default may be left out and arrays may be read-only. They follow
 * avsc with unions wrapped where they are ambiguous. A schema whose type is not literal (`string`, `object`) gives `unknown`.
 *
 * A name that refers to a type is looked up in the whole schema, as written or with the namespace written beside it;
 * a namespace that is only inherited is not followed, and a name that is not found gives `unknown`.
 */
import type { Duration } from '../engine/schema/logical-types.ts'

interface Primitives {
  null: null
  boolean: boolean
  int: number
  long: number
  float: number
  double: number
  bytes: Buffer
  string: string
}

/** What is unambiguous in a union has a bucket of its own; two branches in one bucket wrap the union. */
interface Buckets {
  null: 'null'
  boolean: 'boolean'
  int: 'number'
  long: 'number'
  float: 'number'
  double: 'number'
  bytes: 'buffer'
  fixed: 'buffer'
  string: 'string'
  enum: 'string'
  array: 'array'
  map: 'object'
  record: 'object'
  error: 'object'
}

/** What is written may leave more out; logical types are mapped to other values or keep those of their base type. */
type Mode = 'read' | 'write' | 'read logical' | 'write logical'

/** The type of a value that was read with the schema. @typeParam L logical types are mapped */
export type AvroType<S, L extends boolean = false> = ValueOf<S, S, L extends true ? 'read logical' : 'read'>

/** The type of a value that can be written with the schema. @typeParam L logical types are mapped */
export type AvroInput<S, L extends boolean = false> = ValueOf<S, S, L extends true ? 'write logical' : 'write'>

type ValueOf<S, Root, M extends Mode> = S extends readonly unknown[]
  ? UnionOf<S, Root, M>
  : S extends keyof Primitives
    ? Primitives[S]
    : S extends string
      ? string extends S
        ? unknown
        : ReferenceOf<Named<Root, S>, Root, M>
      : [LogicalOf<S, M>] extends [never]
        ? BaseOf<S, Root, M>
        : LogicalOf<S, M>

/** The value of a logical type; never where it keeps that of its base type. */
type LogicalOf<S, M extends Mode> = M extends 'read' | 'write'
  ? never
  : S extends
        | { readonly type: 'int'; readonly logicalType: 'date' }
        | { readonly type: 'long'; readonly logicalType: 'timestamp-millis' }
    ? Date
    : S extends
          | { readonly type: 'bytes' | 'fixed'; readonly logicalType: 'decimal' }
          | { readonly type: 'fixed'; readonly logicalType: 'uuid' }
      ? string
      : S extends { readonly type: 'fixed'; readonly logicalType: 'duration' }
        ? Duration
        : never

type BaseOf<S, Root, M extends Mode> = S extends {
  readonly type: 'record' | 'error'
  readonly fields: infer F extends readonly FieldLike[]
}
  ? RecordOf<F, Root, M>
  : S extends { readonly type: 'array'; readonly items: infer I }
    ? M extends 'read' | 'read logical'
      ? ValueOf<I, Root, M>[]
      : readonly ValueOf<I, Root, M>[]
    : S extends { readonly type: 'map'; readonly values: infer V }
      ? { [key: string]: ValueOf<V, Root, M> }
      : S extends { readonly type: 'enum'; readonly symbols: infer E extends readonly string[] }
        ? E[number]
        : S extends { readonly type: 'fixed' }
          ? Buffer
          : S extends { readonly type: infer P extends keyof Primitives }
            ? Primitives[P]
            : unknown

type ReferenceOf<D, Root, M extends Mode> = [D] extends [never] ? unknown : ValueOf<D, Root, M>

interface FieldLike {
  readonly name: string
  readonly type: unknown
}

type RecordOf<F extends readonly FieldLike[], Root, M extends Mode> = Flat<
  {
    [K in F[number] as K extends Optional<M> ? never : K['name']]: ValueOf<K['type'], Root, M>
  } & {
    [K in F[number] as K extends Optional<M> ? K['name'] : never]?: ValueOf<K['type'], Root, M> | undefined
  }
>

/** Fields that may be left out. */
type Optional<M extends Mode> = M extends 'write' | 'write logical' ? { readonly default: unknown } : never

/** One object type in place of an intersection, so that editors show the fields. */
type Flat<T> = { [K in keyof T]: T[K] }

type UnionOf<S extends readonly unknown[], Root, M extends Mode> =
  Ambiguous<S, Root, M> extends true
    ? { [I in keyof S]: WrappedBranch<S[I], Root, M> }[number]
    : { [I in keyof S]: ValueOf<S[I], Root, M> }[number]

type WrappedBranch<B, Root, M extends Mode> =
  BranchName<B> extends 'null' ? null : { [K in BranchName<B>]: ValueOf<B, Root, M> }

type BranchName<B> = B extends string
  ? B
  : B extends { readonly name: infer N extends string }
    ? B extends { readonly namespace: infer S extends string }
      ? `${S}.${N}`
      : N
    : B extends { readonly type: infer T extends string }
      ? T
      : never

type Ambiguous<S extends readonly unknown[], Root, M extends Mode, Seen = never> = S extends readonly [
  infer First,
  ...infer Rest,
]
  ? BucketOf<First, Root, M> extends Seen
    ? true
    : Ambiguous<Rest, Root, M, Seen | BucketOf<First, Root, M>>
  : false

type BucketOf<B, Root, M extends Mode> = B extends keyof Buckets
  ? Buckets[B]
  : B extends string
    ? BucketOfDefinition<Named<Root, B>, M>
    : BucketOfDefinition<B, M>

type BucketOfDefinition<D, M extends Mode> = [LogicalOf<D, M>] extends [never]
  ? D extends { readonly type: infer T extends keyof Buckets }
    ? Buckets[T]
    : 'unknown'
  : LogicalOf<D, M> extends string
    ? 'string'
    : 'object'

/** The definition of a named type somewhere in the schema. */
type Named<Root, Name extends string> =
  Definitions<Root> extends infer D
    ? D extends { readonly name: infer N extends string }
      ? Name extends N | QualifiedName<D>
        ? D
        : never
      : never
    : never

type QualifiedName<D> = D extends { readonly namespace: infer S extends string; readonly name: infer N extends string }
  ? `${S}.${N}`
  : never

/** All definitions with a name, at any depth. */
type Definitions<S> = S extends readonly unknown[]
  ? Definitions<S[number]>
  : S extends { readonly type: infer T }
    ?
        | (S extends { readonly name: string; readonly type: 'record' | 'error' | 'enum' | 'fixed' } ? S : never)
        | (S extends { readonly fields: infer F extends readonly FieldLike[] } ? Definitions<F[number]['type']> : never)
        | (S extends { readonly items: infer I } ? Definitions<I> : never)
        | (S extends { readonly values: infer V } ? Definitions<V> : never)
        | (T extends object ? Definitions<T> : never)
    : never
