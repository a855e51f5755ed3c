/**
 * Avro by the book, to hold the engine's resolution to: schemas as graphs, an encoder, and schema resolution of single
 * values, each written down as the specification says it and with no thought of speed. Shares no code with the engine.
 */
export type Primitive = 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string'

export interface FieldModel {
  name: string
  aliases: string[]
  type: SchemaModel
  /** As JSON, and as the value that it stands for. */
  default?: { json: unknown; value: unknown }
}

interface Named {
  /** Full name. */
  name: string
  /** Full names. */
  aliases: string[]
}

export type SchemaModel =
  | { kind: Primitive; logical?: Logical }
  | { kind: 'array'; items: SchemaModel }
  | { kind: 'map'; values: SchemaModel }
  | (Named & { kind: 'enum'; symbols: string[]; default?: string })
  | (Named & { kind: 'fixed'; size: number })
  | (Named & { kind: 'record'; fields: FieldModel[] })
  | { kind: 'union'; branches: SchemaModel[] }

export interface Logical {
  logicalType: string
  precision?: number
  scale?: number
}

/** A value of a union, before it is written. */
export interface Chosen {
  branch: number
  value: unknown
}

export type Model<K extends SchemaModel['kind']> = Extract<SchemaModel, { kind: K }>

/** The JSON of a schema: a named type is defined where it comes first. */
export function toJson(schema: SchemaModel, defined = new Set<SchemaModel>()): unknown {
  if (schema.kind === 'union') return schema.branches.map(branch => toJson(branch, defined))
  if (schema.kind === 'array') return { type: 'array', items: toJson(schema.items, defined) }
  if (schema.kind === 'map') return { type: 'map', values: toJson(schema.values, defined) }
  if (!('name' in schema)) return schema.logical === undefined ? schema.kind : { type: schema.kind, ...schema.logical }
  // A leading dot keeps the namespace around it away.
  if (defined.has(schema)) return schema.name.includes('.') ? schema.name : `.${schema.name}`
  defined.add(schema)
  const dot = schema.name.lastIndexOf('.')
  const named = {
    type: schema.kind,
    name: schema.name.slice(dot + 1),
    namespace: dot < 0 ? '' : schema.name.slice(0, dot),
    ...(schema.aliases.length === 0
      ? {}
      : { aliases: schema.aliases.map(alias => (alias.includes('.') ? alias : `.${alias}`)) }),
  }
  if (schema.kind === 'fixed') return { ...named, size: schema.size }
  if (schema.kind === 'enum') {
    return { ...named, symbols: schema.symbols, ...(schema.default === undefined ? {} : { default: schema.default }) }
  }
  const fields = schema.fields.map(field => ({
    name: field.name,
    ...(field.aliases.length === 0 ? {} : { aliases: field.aliases }),
    type: toJson(field.type, defined),
    ...(field.default === undefined ? {} : { default: field.default.json }),
  }))
  return { ...named, fields }
}

/** Avro binary. */
export function encode(schema: SchemaModel, value: unknown): Buffer {
  switch (schema.kind) {
    case 'null':
      return Buffer.alloc(0)
    case 'boolean':
      return Buffer.of(value === true ? 1 : 0)
    case 'int':
    case 'long':
      return varint(value as number)
    case 'float': {
      const bytes = Buffer.alloc(4)
      bytes.writeFloatLE(value as number)
      return bytes
    }
    case 'double': {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleLE(value as number)
      return bytes
    }
    case 'bytes':
      return Buffer.concat([varint((value as Buffer).length), value as Buffer])
    case 'string': {
      const bytes = Buffer.from(value as string)
      return Buffer.concat([varint(bytes.length), bytes])
    }
    case 'fixed':
      return value as Buffer
    case 'enum':
      return varint(schema.symbols.indexOf(value as string))
    case 'array': {
      const items = value as unknown[]
      if (items.length === 0) return varint(0)
      return Buffer.concat([varint(items.length), ...items.map(item => encode(schema.items, item)), varint(0)])
    }
    case 'map': {
      const entries = [...(value as Map<string, unknown>)]
      if (entries.length === 0) return varint(0)
      // With the size of the block, as writers may.
      const key: SchemaModel = { kind: 'string' }
      const block = Buffer.concat(entries.flatMap(([name, item]) => [encode(key, name), encode(schema.values, item)]))
      return Buffer.concat([varint(-entries.length), varint(block.length), block, varint(0)])
    }
    case 'record':
      return Buffer.concat(
        schema.fields.map(field => encode(field.type, (value as Record<string, unknown>)[field.name])),
      )
    case 'union': {
      const { branch, value: inner } = value as Chosen
      return Buffer.concat([varint(branch), encode(schema.branches[branch] as SchemaModel, inner)])
    }
  }
}

function varint(value: number): Buffer {
  let zigzag = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
  const bytes: number[] = []
  for (; zigzag > 0x7fn; zigzag >>= 7n) bytes.push(Number(zigzag & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(zigzag)])
}

const PROMOTIONS: Record<string, string[]> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
}

const shortName = (name: string): string => name.split('.').at(-1) as string

const namesAgree = (reader: Named, writer: Named): boolean =>
  shortName(reader.name) === shortName(writer.name) || reader.aliases.includes(writer.name)

const logicalText = (schema: SchemaModel): string | undefined =>
  'logical' in schema && schema.logical !== undefined ? JSON.stringify(schema.logical) : undefined

/** The writer's field that a reader's field is read from; undefined for none, null where there are several. A default is its own. */
function writtenField(field: FieldModel, writer: Model<'record'>): FieldModel | undefined | null {
  if (writer.fields.includes(field)) return field
  const found = writer.fields.filter(({ name }) => name === field.name || field.aliases.includes(name))
  return found.length > 1 ? null : found[0]
}

type Pairs = readonly (readonly [SchemaModel, SchemaModel])[]

/** Whether all values of the writer can be read. @param assumed pairs that are being asked about */
export function canRead(reader: SchemaModel, writer: SchemaModel, assumed: Pairs = []): boolean {
  if (writer.kind === 'union') return writer.branches.every(branch => canRead(reader, branch, assumed))
  if (reader.kind === 'union') return reader.branches.some(branch => canRead(branch, writer, assumed))
  if (
    logicalText(reader) !== undefined &&
    logicalText(writer) !== undefined &&
    logicalText(reader) !== logicalText(writer)
  ) {
    return false
  }
  if (reader.kind === 'array') return writer.kind === 'array' && canRead(reader.items, writer.items, assumed)
  if (reader.kind === 'map') return writer.kind === 'map' && canRead(reader.values, writer.values, assumed)
  if (reader.kind === 'fixed')
    return writer.kind === 'fixed' && namesAgree(reader, writer) && reader.size === writer.size
  if (reader.kind === 'enum') {
    if (writer.kind !== 'enum' || !namesAgree(reader, writer)) return false
    return reader.default !== undefined || writer.symbols.every(symbol => reader.symbols.includes(symbol))
  }
  if (reader.kind === 'record') {
    if (writer.kind !== 'record' || !namesAgree(reader, writer)) return false
    if (assumed.some(([r, w]) => r === reader && w === writer)) return true
    const inside: Pairs = [...assumed, [reader, writer]]
    return reader.fields.every(field => {
      const written = writtenField(field, writer)
      if (written === undefined) return field.default !== undefined
      return written !== null && canRead(field.type, written.type, inside)
    })
  }
  return reader.kind === writer.kind || PROMOTIONS[writer.kind]?.includes(reader.kind) === true
}

/** The branch of a reader's union: the writer's own type, then one of its name, then the first that will do. */
function branchFor(reader: Model<'union'>, writer: SchemaModel): number {
  const fits = reader.branches.map(branch => canRead(branch, writer))
  const find = (test: (branch: SchemaModel) => boolean): number =>
    reader.branches.findIndex((branch, index) => fits[index] === true && test(branch))
  const same = find(
    branch => branch.kind === writer.kind && (!('name' in branch) || branch.name === (writer as Named).name),
  )
  if (same >= 0) return same
  const named = find(branch => branch.kind === writer.kind)
  return named >= 0 ? named : find(() => true)
}

/** What one value becomes, in the shape that a serde gives it. @throws when it cannot be read */
export function readAs(reader: SchemaModel, writer: SchemaModel, value: unknown): unknown {
  const refuse = (): never => {
    throw new Error(`${writer.kind} cannot be read as ${reader.kind}`)
  }
  if (writer.kind === 'union') {
    const { branch, value: inner } = value as Chosen
    return readAs(reader, writer.branches[branch] as SchemaModel, inner)
  }
  if (reader.kind === 'union') {
    const branch = reader.branches[branchFor(reader, writer)] ?? refuse()
    const read = readAs(branch, writer, value)
    return isAmbiguous(reader) && branch.kind !== 'null' ? { [branchName(branch)]: read } : read
  }
  const [to, from] = [logicalText(reader), logicalText(writer)]
  if (to !== undefined && from !== undefined && to !== from) refuse()
  if (reader.kind === 'array') {
    return writer.kind === 'array'
      ? (value as unknown[]).map(item => readAs(reader.items, writer.items, item))
      : refuse()
  }
  if (reader.kind === 'map') {
    if (writer.kind !== 'map') return refuse()
    const entries = [...(value as Map<string, unknown>)]
    return Object.fromEntries(entries.map(([key, item]) => [key, readAs(reader.values, writer.values, item)]))
  }
  if (reader.kind === 'record') return writer.kind === 'record' ? readRecord(reader, writer, value, refuse) : refuse()
  if (reader.kind === 'enum') {
    if (writer.kind !== 'enum' || !namesAgree(reader, writer)) return refuse()
    return reader.symbols.includes(value as string) ? value : (reader.default ?? refuse())
  }
  if (reader.kind === 'fixed') {
    const fits = writer.kind === 'fixed' && namesAgree(reader, writer) && reader.size === writer.size
    return fits ? value : refuse()
  }
  if (reader.kind === writer.kind) return value
  if (!PROMOTIONS[writer.kind]?.includes(reader.kind)) return refuse()
  if (reader.kind === 'float') return Math.fround(value as number)
  if (reader.kind === 'string') return (value as Buffer).toString('utf8')
  return reader.kind === 'bytes' ? Buffer.from(value as string) : value
}

function readRecord(reader: Model<'record'>, writer: Model<'record'>, value: unknown, refuse: () => never): unknown {
  if (!namesAgree(reader, writer)) return refuse()
  const fields = reader.fields.map(field => {
    const written = writtenField(field, writer)
    if (written === undefined) {
      const { value: fallback } = field.default ?? refuse()
      return [field.name, readAs(field.type, field.type, fallback)]
    }
    if (written === null) return refuse()
    return [field.name, readAs(field.type, written.type, (value as Record<string, unknown>)[written.name])]
  })
  return Object.fromEntries(fields)
}

const BUCKETS: Record<string, string> = {
  int: 'number',
  long: 'number',
  float: 'number',
  double: 'number',
  bytes: 'buffer',
  fixed: 'buffer',
  string: 'string',
  enum: 'string',
  map: 'object',
  record: 'object',
}

/** Whether values of the union stand in an object with the branch's name. */
function isAmbiguous({ branches }: Model<'union'>): boolean {
  return new Set(branches.map(({ kind }) => BUCKETS[kind] ?? kind)).size < branches.length
}

function branchName(branch: SchemaModel): string {
  return 'name' in branch ? branch.name : branch.kind
}
