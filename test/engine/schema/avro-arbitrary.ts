/** Random Avro schemas, schemas that they evolve into, and values, drawn from a fast-check generator. */
import fc from 'fast-check'
import type { FieldModel, Logical, Model, Primitive, SchemaModel } from './avro-model.ts'

export type Draw = fc.GeneratorValue

const PRIMITIVES: readonly Primitive[] = ['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']
const NAMES = ['A', 'B', 'C', 'x.A', 'x.B', 'y.A']
const FIELDS = ['f', 'g', 'h', 'constructor']
const SYMBOLS = ['P', 'Q', 'R', 'S']
const LOGICALS: Record<string, readonly Logical[]> = {
  int: [{ logicalType: 'date' }, { logicalType: 'time-millis' }],
  long: [{ logicalType: 'timestamp-millis' }, { logicalType: 'timestamp-micros' }],
  bytes: [
    { logicalType: 'decimal', precision: 4, scale: 2 },
    { logicalType: 'decimal', precision: 4, scale: 1 },
  ],
}

const chance = (draw: Draw, percent: number): boolean => draw(fc.integer, { min: 1, max: 100 }) <= percent
const below = (draw: Draw, end: number): number => draw(fc.integer, { min: 0, max: end - 1 })
const pick = <T>(draw: Draw, items: readonly T[]): T => items[below(draw, items.length)] as T
const subset = <T>(draw: Draw, items: readonly T[], percent: number): T[] => items.filter(() => chance(draw, percent))

/** Draws schemas; every full name is used once, and records may contain those around them. */
export class SchemaDrawer {
  readonly #draw: Draw
  readonly #names: string[]
  readonly #named: SchemaModel[] = []

  constructor(draw: Draw) {
    this.#draw = draw
    this.#names = [...NAMES]
  }

  schema(depth = 3, inUnion = false): SchemaModel {
    const kinds =
      depth === 0
        ? ['primitive']
        : ['primitive', 'primitive', 'array', 'map', 'enum', 'fixed', 'record', 'record', 'union', 'again']
    const kind = pick(this.#draw, kinds)
    if (kind === 'union') return inUnion ? this.#primitive() : this.union(depth)
    if (kind === 'array') return { kind, items: this.schema(depth - 1) }
    if (kind === 'map') return { kind, values: this.schema(depth - 1) }
    if (kind === 'again' && this.#named.length > 0) return pick(this.#draw, this.#named)
    if (kind === 'primitive' || kind === 'again' || this.#names.length === 0) return this.#primitive()
    return this.#namedType(kind as 'enum' | 'fixed' | 'record', depth)
  }

  union(depth: number): SchemaModel {
    const branches = Array.from({ length: 1 + below(this.#draw, 4) }, () => this.schema(depth - 1, true))
    return { kind: 'union', branches: distinct(branches) }
  }

  field(depth: number, names: readonly string[]): FieldModel {
    const field: FieldModel = { name: pick(this.#draw, names), aliases: [], type: this.schema(depth) }
    if (chance(this.#draw, 40)) setDefault(this.#draw, field)
    return field
  }

  name(): string | undefined {
    return this.#names.length === 0 ? undefined : this.#names.splice(below(this.#draw, this.#names.length), 1)[0]
  }

  /** Keeps names away that a schema has which is made from another one. */
  reserve(names: readonly string[]): void {
    for (const name of names) if (this.#names.includes(name)) this.#names.splice(this.#names.indexOf(name), 1)
  }

  #primitive(): SchemaModel {
    const kind = pick(this.#draw, PRIMITIVES)
    const logicals = LOGICALS[kind]
    return logicals !== undefined && chance(this.#draw, 25) ? { kind, logical: pick(this.#draw, logicals) } : { kind }
  }

  #namedType(kind: 'enum' | 'fixed' | 'record', depth: number): SchemaModel {
    const name = this.name() as string
    if (kind === 'fixed') return this.#keep({ kind, name, aliases: [], size: 1 + below(this.#draw, 3) })
    if (kind === 'enum') {
      const symbols = subset(this.#draw, SYMBOLS, 60)
      if (symbols.length === 0) symbols.push('P')
      const fallback = chance(this.#draw, 30) ? { default: pick(this.#draw, symbols) } : {}
      return this.#keep({ kind, name, aliases: [], symbols, ...fallback })
    }
    const record: Model<'record'> = { kind, name, aliases: [], fields: [] }
    this.#keep(record)
    open.add(record)
    for (const field of subset(this.#draw, FIELDS, 60)) record.fields.push(this.field(depth - 1, [field]))
    open.delete(record)
    return record
  }

  #keep(schema: SchemaModel): SchemaModel {
    this.#named.push(schema)
    return schema
  }
}

/** Changes a schema here and there, as people do. */
export class Evolution {
  readonly #draw: Draw
  readonly #drawer: SchemaDrawer
  readonly #done = new Map<SchemaModel, SchemaModel>()

  constructor(draw: Draw, schema: SchemaModel) {
    this.#draw = draw
    this.#drawer = new SchemaDrawer(draw)
    this.#drawer.reserve(namesIn(schema))
  }

  evolve(schema: SchemaModel, inUnion = false): SchemaModel {
    const known = this.#done.get(schema)
    if (known !== undefined) return known
    if (schema.kind === 'union') return this.#union(schema)
    const evolved = this.#one(schema)
    if (inUnion || !chance(this.#draw, 10)) return evolved
    const branches = distinct([
      evolved,
      ...Array.from({ length: below(this.#draw, 3) }, () => this.#drawer.schema(1, true)),
    ])
    return { kind: 'union', branches: chance(this.#draw, 50) ? branches : branches.reverse() }
  }

  #union({ branches }: Model<'union'>): SchemaModel {
    const kept = branches.filter(() => chance(this.#draw, 93)).map(branch => this.evolve(branch, true))
    if (chance(this.#draw, 20)) kept.splice(below(this.#draw, kept.length + 1), 0, this.#drawer.schema(1, true))
    const evolved = distinct(chance(this.#draw, 25) ? kept.reverse() : kept)
    if (evolved.length === 1 && chance(this.#draw, 30)) return evolved[0] as SchemaModel
    return { kind: 'union', branches: evolved.length === 0 ? [{ kind: 'null' }] : evolved }
  }

  #one(schema: Exclude<SchemaModel, { kind: 'union' }>): SchemaModel {
    if (schema.kind === 'array') return { kind: 'array', items: this.evolve(schema.items) }
    if (schema.kind === 'map') return { kind: 'map', values: this.evolve(schema.values) }
    if (!('name' in schema)) return this.#primitive(schema)
    const aliases: string[] = []
    let { name } = schema
    if (chance(this.#draw, 12)) {
      name = this.#drawer.name() ?? name
      if (chance(this.#draw, 70)) aliases.push(schema.name)
    }
    if (schema.kind === 'fixed') {
      const size = chance(this.#draw, 8) ? schema.size + 1 : schema.size
      return this.#keep(schema, { kind: 'fixed', name, aliases, size })
    }
    if (schema.kind === 'enum') {
      const symbols = SYMBOLS.filter(symbol => schema.symbols.includes(symbol) !== chance(this.#draw, 12))
      if (symbols.length === 0) symbols.push('S')
      const fallback = chance(this.#draw, 30) ? { default: pick(this.#draw, symbols) } : {}
      return this.#keep(schema, { kind: 'enum', name, aliases, symbols, ...fallback })
    }
    const record: Model<'record'> = { kind: 'record', name, aliases, fields: [] }
    this.#keep(schema, record)
    open.add(record)
    this.#fields(schema, record)
    open.delete(record)
    return record
  }

  #fields(schema: Model<'record'>, record: Model<'record'>): void {
    for (const field of schema.fields) {
      if (chance(this.#draw, 10)) continue
      const evolved: FieldModel = { name: field.name, aliases: [], type: this.evolve(field.type) }
      if (chance(this.#draw, 12)) {
        evolved.name = `${field.name}2`
        if (chance(this.#draw, 75)) evolved.aliases.push(field.name)
      }
      if (chance(this.#draw, 40)) setDefault(this.#draw, evolved)
      record.fields.push(evolved)
    }
    if (chance(this.#draw, 25)) {
      const field = this.#drawer.field(1, ['added'])
      if (chance(this.#draw, 60)) setDefault(this.#draw, field)
      if (chance(this.#draw, 20)) field.aliases.push(pick(this.#draw, FIELDS))
      record.fields.push(field)
    }
    if (chance(this.#draw, 25)) record.fields.reverse()
  }

  #primitive(schema: Model<Primitive>): SchemaModel {
    if (!chance(this.#draw, 20)) return schema
    const { kind } = schema
    const wider = { int: 'long', long: 'double', float: 'double', string: 'bytes', bytes: 'string' } as const
    if (chance(this.#draw, 70) && kind in wider) return { kind: wider[kind as keyof typeof wider] }
    return { kind: pick(this.#draw, PRIMITIVES) }
  }

  #keep(schema: SchemaModel, evolved: SchemaModel): SchemaModel {
    this.#done.set(schema, evolved)
    return evolved
  }
}

function namesIn(schema: SchemaModel, seen = new Set<SchemaModel>()): string[] {
  if (seen.has(schema)) return []
  seen.add(schema)
  if (schema.kind === 'union') return schema.branches.flatMap(branch => namesIn(branch, seen))
  if (schema.kind === 'array') return namesIn(schema.items, seen)
  if (schema.kind === 'map') return namesIn(schema.values, seen)
  if (!('name' in schema)) return []
  const inside = schema.kind === 'record' ? schema.fields.flatMap(({ type }) => namesIn(type, seen)) : []
  return [schema.name, ...inside]
}

/** A union has one branch of each unnamed type, and of each full name. */
function distinct(branches: readonly SchemaModel[]): SchemaModel[] {
  const keys = branches.map(branch => ('name' in branch ? branch.name : branch.kind))
  return branches.filter((_, index) => keys.indexOf(keys[index] as string) === index)
}

/** Records whose fields are being drawn: no field has a default of their type, which avsc does not take. */
const open = new Set<SchemaModel>()

/** Of a union the first branch. */
function setDefault(draw: Draw, field: FieldModel): void {
  const drawn = drawDefault(draw, field.type, 4)
  if (drawn !== undefined) field.default = drawn
}

function drawDefault(draw: Draw, schema: SchemaModel, depth: number): { json: unknown; value: unknown } | undefined {
  if (schema.kind === 'union') {
    const first = drawDefault(draw, schema.branches[0] as SchemaModel, depth)
    return first && { json: first.json, value: { branch: 0, value: first.value } }
  }
  if (schema.kind === 'array') return { json: [], value: [] }
  if (schema.kind === 'map') return { json: {}, value: new Map() }
  if (schema.kind === 'record') {
    if (open.has(schema)) return undefined
    const fields = schema.fields.map(field => ({
      field,
      drawn: depth === 0 ? undefined : drawDefault(draw, field.type, depth - 1),
    }))
    if (fields.some(({ drawn }) => drawn === undefined)) return undefined
    const collect = (part: 'json' | 'value'): unknown =>
      Object.fromEntries(fields.map(({ field, drawn }) => [field.name, drawn?.[part]]))
    return { json: collect('json'), value: collect('value') }
  }
  // JSON has no infinity, no negative zero.
  const isFraction = schema.kind === 'float' || schema.kind === 'double'
  const value = isFraction ? below(draw, 100) / 4 : drawValue(draw, schema, 1)
  return { json: Buffer.isBuffer(value) ? value.toString('latin1') : value, value }
}

/** A value of a schema; below a depth arrays and maps are empty and unions end where they can. */
export function drawValue(draw: Draw, schema: SchemaModel, depth: number): unknown {
  switch (schema.kind) {
    case 'null':
      return null
    case 'boolean':
      return chance(draw, 50)
    case 'int':
      return draw(fc.integer)
    case 'long':
      return draw(fc.maxSafeInteger)
    case 'float':
      return draw(fc.float)
    case 'double':
      return draw(fc.double)
    case 'bytes':
      return Buffer.from(draw(fc.uint8Array, { maxLength: 5 }))
    case 'string':
      return draw(fc.string, { unit: 'grapheme', maxLength: 5 })
    case 'fixed':
      return Buffer.from(draw(fc.uint8Array, { minLength: schema.size, maxLength: schema.size }))
    case 'enum':
      return pick(draw, schema.symbols)
    case 'array':
      return Array.from({ length: depth > 0 ? 1 + below(draw, 2) : 0 }, () => drawValue(draw, schema.items, depth - 1))
    case 'map': {
      const keys = depth > 0 ? ['k', '__proto__'].slice(below(draw, 2)) : []
      return new Map(keys.map(key => [key, drawValue(draw, schema.values, depth - 1)]))
    }
    case 'record':
      if (depth < -20) throw new EndlessValue()
      return Object.fromEntries(schema.fields.map(field => [field.name, drawValue(draw, field.type, depth - 1)]))
    case 'union': {
      const flat = schema.branches.flatMap((branch, index) => (branch.kind === 'record' ? [] : [index]))
      const branch = depth > 0 || flat.length === 0 ? below(draw, schema.branches.length) : pick(draw, flat)
      return { branch, value: drawValue(draw, schema.branches[branch] as SchemaModel, depth - 1) }
    }
  }
}

/** A record that contains itself without a way out has no values. */
export class EndlessValue extends Error {}
