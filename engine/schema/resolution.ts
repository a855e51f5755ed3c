/**
 * Schema resolution (Avro specification 1.12, "Schema Resolution"): reads what was written with one schema as another.
 * One walk over both schemas says whether that is possible and makes the reader, so that what is called compatible is
 * what can be read. avsc resolves by itself, but takes the first branch of a union that will do (bytes become strings),
 * forgets a record that did not fit inside a union, and wants full names to agree. Pure functions; any thread.
 *
 * Where the specification leaves a choice:
 * - A union takes the branch of the writer's own type and name first, and only then the first one that will do.
 * - Every branch of a writer's union has to be readable, whether it was ever written or not.
 * - Named types agree when their names without namespaces do, or when the reader has the writer's full name as an alias.
 * - Two logical types have to be the same, decimals to their digits; beside a plain type only the base types count.
 */
import avsc from 'avsc'
import { RESOLUTION_DEPTH_MAX } from '../base/limits.ts'
import { isUnion, type UnionType } from './avro-schema.ts'
import { readArray, readMap } from './blocks.ts'
import { describeLogical, fromBase, logicalOf, sameLogical } from './logical-types.ts'
import { type Read, type Tap, tapType } from './tap.ts'

/** Why values cannot be read: where, and what could be done. */
export interface SchemaProblem {
  /** Fields from the root on, with `[]` for items of an array and `{}` for values of a map; empty for the root. */
  readonly path: string
  readonly reason: string
}

/** A reader of the writer's values, or why there is none. */
export type Resolution = Read | readonly SchemaProblem[]

/** @param reader what values become @param writer what they were written with */
export function resolveSchema(reader: avsc.Type, writer: avsc.Type): Resolution {
  return new Walk().resolve(reader, writer)
}

/** What is read as what, beside each type's own. */
const PROMOTIONS: Readonly<Record<string, readonly string[]>> = {
  long: ['int'],
  float: ['int', 'long'],
  double: ['int', 'long', 'float'],
  string: ['bytes'],
  bytes: ['string'],
}

type NamedType = avsc.types.RecordType | avsc.types.EnumType | avsc.types.FixedType

/** Two records that were met together. */
interface Pair {
  readonly reader: avsc.Type
  readonly writer: avsc.Type
  read: Read | undefined
  /** Once it is known not to fit. */
  problems: readonly SchemaProblem[] | undefined
}

class Walk {
  readonly #pairs = new Map<avsc.Type, Map<avsc.Type, Pair>>()
  /** Pairs that fit or are being looked at, oldest first. */
  readonly #trail: Pair[] = []
  #depth = 0

  resolve(reader: avsc.Type, writer: avsc.Type): Resolution {
    if (this.#depth >= RESOLUTION_DEPTH_MAX) return problem('the types nest too deep to be resolved')
    this.#depth++
    const resolution = this.#resolve(reader, baseOf(writer))
    this.#depth--
    return resolution
  }

  #resolve(reader: avsc.Type, writer: avsc.Type): Resolution {
    if (reader instanceof avsc.types.LogicalType) {
      const read = this.#resolve(reader.underlyingType, writer)
      return isRead(read) ? tap => fromBase(reader, read(tap)) : read
    }
    if (isUnion(writer)) return this.#fromUnion(reader, writer)
    if (isUnion(reader)) return this.#toUnion(reader, writer)
    const meaning = logicalProblem(reader, writer)
    if (meaning !== undefined) return problem(meaning)
    if (isRecord(reader) && isRecord(writer)) return this.#record(reader, writer)
    if (reader instanceof avsc.types.ArrayType && writer instanceof avsc.types.ArrayType) {
      const item = this.resolve(reader.itemsType, writer.itemsType)
      return isRead(item) ? tap => readArray(tap, item) : below('[]', item)
    }
    if (reader instanceof avsc.types.MapType && writer instanceof avsc.types.MapType) {
      const value = this.resolve(reader.valuesType as avsc.Type, writer.valuesType as avsc.Type)
      return isRead(value) ? tap => readMap(tap, value) : below('{}', value)
    }
    if (reader instanceof avsc.types.EnumType && writer instanceof avsc.types.EnumType)
      return resolveEnum(reader, writer)
    if (reader instanceof avsc.types.FixedType && writer instanceof avsc.types.FixedType)
      return resolveFixed(reader, writer)
    return resolvePrimitive(reader, writer)
  }

  #fromUnion(reader: avsc.Type, writer: UnionType): Resolution {
    const reads: Read[] = []
    const problems: SchemaProblem[] = []
    for (const branch of writer.types) {
      const read = this.resolve(reader, branch)
      if (isRead(read)) reads.push(read)
      else problems.push(...read)
    }
    if (problems.length > 0) return problems
    return tap => (reads[tap.readLong()] as Read)(tap)
  }

  #toUnion(reader: UnionType, writer: avsc.Type): Resolution {
    let closest: readonly SchemaProblem[] | undefined
    for (const branch of branchesFor(reader, writer)) {
      const read = this.resolve(branch, writer)
      if (isRead(read)) return intoBranch(reader, branch, read)
      // What is wrong with the branch that was meant says more than that none will do.
      if (closest === undefined && isMeant(branch, writer)) closest = read
    }
    const branches = reader.types.map(describe).join(', ')
    return closest ?? problem(`${describe(writer)} fits no branch of the reader's union (${branches})`)
  }

  /**
   * Records may contain themselves, so a pair that is met again while it is looked at is taken to fit. When it turns out
   * not to, whatever was found to fit since then may have relied on it and is forgotten; what did not fit even so stays.
   */
  #record(reader: avsc.types.RecordType, writer: avsc.types.RecordType): Resolution {
    const name = nameProblem(reader, writer)
    if (name !== undefined) return problem(name)
    const known = this.#pairs.get(reader)?.get(writer)
    if (known !== undefined) return known.problems ?? (known.read as Read)
    const pair: Pair = { reader, writer, read: undefined, problems: undefined }
    let read: Read | undefined
    pair.read = tap => (read as Read)(tap)
    const start = this.#trail.push(pair) - 1
    this.#keep(pair)
    const { reads, problems } = this.#fields(reader, writer)
    if (problems.length === 0) {
      read = recordReader(reader, writer, reads)
      return pair.read
    }
    for (const dropped of this.#trail.splice(start)) this.#pairs.get(dropped.reader)?.delete(dropped.writer)
    pair.problems = problems
    this.#keep(pair)
    return problems
  }

  #keep(pair: Pair): void {
    const pairs = this.#pairs.get(pair.reader)
    if (pairs === undefined) this.#pairs.set(pair.reader, new Map([[pair.writer, pair]]))
    else pairs.set(pair.writer, pair)
  }

  #fields(
    reader: avsc.types.RecordType,
    writer: avsc.types.RecordType,
  ): { reads: FieldRead[]; problems: SchemaProblem[] } {
    const written = new Map(writer.fields.map(field => [field.name, field]))
    const reads: FieldRead[] = []
    const problems: SchemaProblem[] = []
    for (const [index, field] of reader.fields.entries()) {
      const names = [...new Set([field.name, ...field.aliases])].filter(name => written.has(name))
      const [name] = names
      if (names.length > 1) {
        problems.push(
          ...below(field.name, problem(`the writer has several fields of its name and aliases: ${names.join(', ')}`)),
        )
      } else if (name === undefined) {
        if (field.defaultValue() !== undefined) continue
        problems.push(
          ...below(field.name, problem('the writer has no such field, and the reader has no default for it')),
        )
      } else {
        const read = this.resolve(field.type, (written.get(name) as avsc.types.Field).type)
        if (isRead(read)) reads.push({ name, index, read })
        else problems.push(...below(field.name, read))
      }
    }
    return { reads, problems }
  }
}

/** A field of the reader that the writer has as well, under this name. */
interface FieldRead {
  readonly name: string
  /** Place in the reader's record. */
  readonly index: number
  readonly read: Read
}

const isRead = (resolution: Resolution): resolution is Read => typeof resolution === 'function'

const problem = (reason: string): readonly SchemaProblem[] => [{ path: '', reason }]

/** The problems of a part, as those of the whole. */
function below(step: string, problems: readonly SchemaProblem[]): readonly SchemaProblem[] {
  return problems.map(({ path, reason }) => {
    const joint = path === '' || path.startsWith('[') || path.startsWith('{') ? '' : '.'
    return { path: `${step}${joint}${path}`, reason }
  })
}

/** Without its logical type, if its values are mapped. */
function baseOf(type: avsc.Type): avsc.Type {
  return type instanceof avsc.types.LogicalType ? type.underlyingType : type
}

const isRecord = (type: avsc.Type): type is avsc.types.RecordType => type instanceof avsc.types.RecordType

function isNamed(type: avsc.Type): type is NamedType {
  return isRecord(type) || type instanceof avsc.types.EnumType || type instanceof avsc.types.FixedType
}

/** The same type but for what is inside; named types of any name. */
function sameKind(a: avsc.Type, b: avsc.Type): boolean {
  return a.typeName === b.typeName || (isRecord(a) && isRecord(b))
}

const unqualified = (name: string | undefined): string => name?.slice(name.lastIndexOf('.') + 1) ?? ''

function namesAgree(reader: avsc.Type, writer: avsc.Type): boolean {
  const { aliases } = reader as unknown as { readonly aliases: readonly string[] }
  return unqualified(reader.name) === unqualified(writer.name) || aliases.includes(writer.name as string)
}

function nameProblem(reader: avsc.Type, writer: avsc.Type): string | undefined {
  if (namesAgree(reader, writer)) return undefined
  return `the writer's ${describe(writer)} is the reader's ${describe(reader)}: keep the name, or add the writer's as an alias`
}

function logicalProblem(reader: avsc.Type, writer: avsc.Type): string | undefined {
  const [to, from] = [logicalOf(reader), logicalOf(writer)]
  if (to === undefined || from === undefined || sameLogical(to, from)) return undefined
  return `${describeLogical(from)} would be read as ${describeLogical(to)}, which means another value`
}

/** The union's branches in the order in which they are tried: the writer's own type, one of its name, then all others. */
function branchesFor(union: UnionType, writer: avsc.Type): avsc.Type[] {
  const rank = (branch: avsc.Type): number => {
    if (!isMeant(branch, writer)) return 2
    return !isNamed(writer) || baseOf(branch).name === writer.name ? 0 : 1
  }
  return union.types.toSorted((a, b) => rank(a) - rank(b))
}

function isMeant(branch: avsc.Type, writer: avsc.Type): boolean {
  const base = baseOf(branch)
  return sameKind(base, writer) && (!isNamed(writer) || namesAgree(base, writer))
}

/** Values of a wrapped union stand in an object with the branch's name, which avsc has a class for; null stands alone. */
function intoBranch(union: UnionType, branch: avsc.Type, read: Read): Read {
  if (union instanceof avsc.types.UnwrappedUnionType || branch.typeName === 'null') return read
  const { _branchConstructor: Branch } = branch as unknown as { _branchConstructor: new (value: unknown) => object }
  return tap => new Branch(read(tap))
}

function resolveEnum(reader: avsc.types.EnumType, writer: avsc.types.EnumType): Resolution {
  const name = nameProblem(reader, writer)
  if (name !== undefined) return problem(name)
  const fallback = (reader as unknown as { readonly default?: string }).default
  const known = new Set(reader.symbols)
  const unknown = writer.symbols.filter(symbol => !known.has(symbol))
  if (unknown.length > 0 && fallback === undefined) {
    const names = unknown.slice(0, 5).join(', ')
    return problem(`the reader's enum lacks symbols of the writer and has no default: ${names}`)
  }
  const symbols = writer.symbols.map(symbol => (known.has(symbol) ? symbol : fallback))
  return tap => symbols[tap.readLong()]
}

function resolveFixed(reader: avsc.types.FixedType, writer: avsc.types.FixedType): Resolution {
  const name = nameProblem(reader, writer)
  if (name !== undefined) return problem(name)
  const { size } = reader
  if (size !== writer.size) return problem(`a fixed of ${writer.size} bytes cannot be read as one of ${size} bytes`)
  return tap => tap.readFixed(size)
}

function resolvePrimitive(reader: avsc.Type, writer: avsc.Type): Resolution {
  const [to, from] = [reader.typeName, writer.typeName]
  const isPrimitive = !isNamed(reader) && !isContainer(reader)
  if (isPrimitive && (to === from || PROMOTIONS[to]?.includes(from) === true)) {
    // Text and bytes lie there alike; numbers are read as they were written.
    const source = tapType(to === 'string' || to === 'bytes' ? reader : writer)
    if (to === 'float' && from !== 'float') return tap => Math.fround(source._read(tap) as number)
    return tap => source._read(tap)
  }
  return problem(`${describe(writer)} cannot be read as ${describe(reader)}`)
}

const isContainer = (type: avsc.Type): boolean =>
  type instanceof avsc.types.ArrayType || type instanceof avsc.types.MapType

/** Reads the writer's fields in their order and builds the reader's record; an argument left out takes its default. */
function recordReader(reader: avsc.types.RecordType, writer: avsc.types.RecordType, reads: readonly FieldRead[]): Read {
  const Record = reader.recordConstructor as new (...values: unknown[]) => object
  const count = reader.fields.length
  const steps = writer.fields.map(field =>
    fieldStep(
      field.type,
      reads.filter(({ name }) => name === field.name),
    ),
  )
  return tap => {
    const values = new Array<unknown>(count)
    for (let i = 0; i < steps.length; i++) (steps[i] as FieldStep)(tap, values)
    return new Record(...values)
  }
}

type FieldStep = (tap: Tap, values: unknown[]) => void

/** A field of the writer may be one, none, or several of the reader, which then read it again. */
function fieldStep(type: avsc.Type, reads: readonly FieldRead[]): FieldStep {
  const [only] = reads
  if (only === undefined) return tap => tapType(type)._skip(tap)
  const { index, read } = only
  if (reads.length === 1) {
    return (tap, values) => {
      values[index] = read(tap)
    }
  }
  return (tap, values) => {
    const start = tap.pos
    for (const again of reads) {
      tap.pos = start
      values[again.index] = again.read(tap)
    }
  }
}

/** A type in a few words. */
function describe(type: avsc.Type): string {
  const base = baseOf(type)
  const logical = logicalOf(base)
  if (isUnion(base)) return `a union of ${base.types.map(describe).join(', ')}`
  const name = isNamed(base) ? `${base.typeName} ${base.name}` : base.typeName
  return logical === undefined ? name : `${name} (${describeLogical(logical)})`
}
