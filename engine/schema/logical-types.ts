/**
 * Avro's logical types: what a schema says about the meaning of a base type. They always take part in resolution; their
 * values become other JavaScript values only where a serde asks for it. As the specification demands, an annotation that
 * is unknown or does not fit its type is ignored. Pure functions.
 *
 *     logical type                  base                 value, where they are mapped
 *     date                          int, days            Date at midnight UTC
 *     timestamp-millis              long, ms             Date
 *     decimal                       bytes, fixed         string: '-12.30'
 *     uuid                          fixed of 16 bytes    string: '123e4567-e89b-…'
 *     duration                      fixed of 12 bytes    { months, days, millis }
 *     all others, uuid on string    int, long, …         the base value
 */
import avsc from 'avsc'

/** A valid annotation of a type. */
export interface Logical {
  readonly name: string
  /** Digits of a decimal, all of them and those behind the point. */
  readonly precision?: number
  readonly scale?: number
}

export interface Duration {
  readonly months: number
  readonly days: number
  readonly millis: number
}

const BASES: Readonly<Record<string, readonly string[]>> = {
  decimal: ['bytes', 'fixed'],
  'big-decimal': ['bytes'],
  uuid: ['string', 'fixed'],
  date: ['int'],
  'time-millis': ['int'],
  'time-micros': ['long'],
  'timestamp-millis': ['long'],
  'timestamp-micros': ['long'],
  'timestamp-nanos': ['long'],
  'local-timestamp-millis': ['long'],
  'local-timestamp-micros': ['long'],
  'local-timestamp-nanos': ['long'],
  duration: ['fixed'],
}

const DAY_MS = 86_400_000
const UUID_BYTES = 16
const DURATION_BYTES = 12

/** What annotates the types that were parsed: avsc keeps no annotation itself. */
const annotations = new WeakMap<avsc.Type, Logical>()

export function annotate(type: avsc.Type, logical: Logical): void {
  annotations.set(type, logical)
}

export function logicalOf(type: avsc.Type): Logical | undefined {
  return annotations.get(type)
}

/** The annotation of a schema; undefined when there is none that counts. */
export function readLogical(schema: Readonly<Record<string, unknown>>): Logical | undefined {
  const { logicalType: name, type, size } = schema
  if (typeof name !== 'string' || typeof type !== 'string' || !Object.hasOwn(BASES, name)) return undefined
  if (!BASES[name]?.includes(type)) return undefined
  if (name === 'decimal') return readDecimal(schema)
  if (name === 'uuid' && type === 'fixed' && size !== UUID_BYTES) return undefined
  if (name === 'duration' && size !== DURATION_BYTES) return undefined
  return { name }
}

function readDecimal({ precision, scale = 0, type, size }: Readonly<Record<string, unknown>>): Logical | undefined {
  if (!isCount(precision) || precision < 1 || !isCount(scale) || scale > precision) return undefined
  if (type === 'fixed' && !(isCount(size) && precision <= Math.floor(Math.log10(2) * (8 * size - 1)))) return undefined
  return { name: 'decimal', precision, scale }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** The same meaning: the same name and, of decimals, the same digits. */
export function sameLogical(a: Logical, b: Logical): boolean {
  return a.name === b.name && a.precision === b.precision && a.scale === b.scale
}

export function describeLogical({ name, precision, scale }: Logical): string {
  return precision === undefined ? name : `${name} of ${precision} digits, ${scale} behind the point`
}

interface LogicalSchema {
  readonly logicalType?: string
  readonly type?: unknown
  readonly precision?: number
  readonly scale?: number
  readonly size?: number
}

/** avsc calls these two with base values and mapped values; `undefined` from `_toValue` refuses the value. */
abstract class MappedType extends avsc.types.LogicalType {
  override _resolve(): undefined {
    return undefined // resolution.ts does it
  }
}

/** Reads the mapped value of a base value that was read already. */
export function fromBase(type: avsc.types.LogicalType, value: unknown): unknown {
  return (type as unknown as { _fromValue(value: unknown): unknown })._fromValue(value)
}

/** A date beyond what `Date` holds is refused rather than read as an invalid one. */
function dateAt(ms: number): Date {
  const date = new Date(ms)
  if (Number.isNaN(date.getTime())) throw new Error('a time beyond the range of Date')
  return date
}

class DateType extends MappedType {
  override _fromValue(days: number): Date {
    return dateAt(days * DAY_MS)
  }

  override _toValue(date: unknown): number | undefined {
    const ms = date instanceof Date ? date.getTime() : Number.NaN
    return ms % DAY_MS === 0 ? ms / DAY_MS + 0 : undefined
  }
}

class TimestampType extends MappedType {
  override _fromValue(ms: number): Date {
    return dateAt(ms)
  }

  override _toValue(date: unknown): number | undefined {
    const ms = date instanceof Date ? date.getTime() : Number.NaN
    return Number.isNaN(ms) ? undefined : ms
  }
}

class DecimalType extends MappedType {
  readonly #digits: number
  readonly #scale: number
  /** Bytes of a fixed; undefined for `bytes`, which take as few as needed. */
  readonly #size: number | undefined

  constructor(schema: LogicalSchema, options: unknown) {
    super(schema as avsc.Schema, options)
    this.#digits = schema.precision as number
    this.#scale = schema.scale ?? 0
    this.#size = schema.type === 'fixed' ? schema.size : undefined
  }

  override _fromValue(bytes: Buffer): string {
    let unscaled = 0n
    if (bytes.length > 0) unscaled = BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`))
    const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(this.#scale + 1, '0')
    const point = digits.length - this.#scale
    return `${unscaled < 0n ? '-' : ''}${digits.slice(0, point)}${this.#scale > 0 ? `.${digits.slice(point)}` : ''}`
  }

  override _toValue(text: unknown): Buffer | undefined {
    const [, sign, whole, behind = ''] = (typeof text === 'string' && /^(-?)(\d+)(?:\.(\d+))?$/.exec(text)) || []
    if (whole === undefined || behind.length > this.#scale) return undefined
    const digits = BigInt(whole + behind.padEnd(this.#scale, '0'))
    if (digits >= 10n ** BigInt(this.#digits)) return undefined
    return toTwosComplement(sign === '-' ? -digits : digits, this.#size)
  }
}

/** Big-endian; in as few bytes as hold it with its sign, or in `size`. */
function toTwosComplement(value: bigint, size: number | undefined): Buffer {
  const bits = (value < 0n ? -value - 1n : value).toString(2).length + 1
  const bytes = size ?? Math.ceil(bits / 8)
  const hex = BigInt.asUintN(bytes * 8, value).toString(16)
  return Buffer.from(hex.padStart(bytes * 2, '0'), 'hex')
}

class UuidType extends MappedType {
  override _fromValue(bytes: Buffer): string {
    return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }

  override _toValue(text: unknown): Buffer | undefined {
    const isUuid = typeof text === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)
    return isUuid ? Buffer.from(text.replaceAll('-', ''), 'hex') : undefined
  }
}

/** Three unsigned numbers of four bytes, little-endian. */
class DurationType extends MappedType {
  override _fromValue(bytes: Buffer): Duration {
    return { months: bytes.readUInt32LE(0), days: bytes.readUInt32LE(4), millis: bytes.readUInt32LE(8) }
  }

  override _toValue(duration: unknown): Buffer | undefined {
    const { months, days, millis } = Object(duration) as Partial<Duration>
    const parts = [months, days, millis]
    if (!parts.every(part => isCount(part) && part <= 0xffff_ffff)) return undefined
    const bytes = Buffer.allocUnsafe(DURATION_BYTES)
    for (const [index, part] of parts.entries()) bytes.writeUInt32LE(part as number, index * 4)
    return bytes
  }
}

/** The class that maps values of a schema with this annotation; undefined where they stay as they are. */
export function mappedType(
  { name }: Logical,
  base: unknown,
): (new (schema: never, options: unknown) => avsc.Type) | undefined {
  switch (name) {
    case 'date':
      return DateType
    case 'timestamp-millis':
      return TimestampType
    case 'decimal':
      return DecimalType
    case 'uuid':
      return base === 'fixed' ? UuidType : undefined
    case 'duration':
      return DurationType
    default:
      return undefined
  }
}

/** What the mapped values of a type look like to a union; undefined for a type that is not mapped. */
export function mappedBucket(type: avsc.Type): 'string' | 'object' | undefined {
  if (!(type instanceof MappedType)) return undefined
  return type instanceof DecimalType || type instanceof UuidType ? 'string' : 'object'
}
