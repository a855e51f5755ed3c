/**
 * Walks Avro binary before avsc decodes it. avsc trusts lengths and counts: a damaged array count makes it build an
 * array of billions, a bad length moves it backwards. After this walk every count, length and index is known to fit
 * the bytes, so decoding costs no more than the value's own size. Stateless but for one cursor; any thread.
 *
 * What is checked is the encoding (Avro specification, "Binary encoding"): varints end in time, lengths stay inside,
 * blocks hold no more items than bytes, unions and enums name a branch or symbol, booleans are 0 or 1, and the value
 * ends where the bytes end. Bytes of strings are not: wrong UTF-8 decodes to U+FFFD.
 */
import avsc from 'avsc'
import { MillraceError } from '../engine/base/errors.ts'

/** Records inside one another; recursive schemas would let a small value exhaust the stack. */
export const AVRO_DEPTH_MAX = 512

/** Items of a value's arrays that take no bytes (null, empty records), which no length bounds. */
export const AVRO_EMPTY_ITEMS_MAX = 65_536

class Walk {
  bytes: Buffer = Buffer.alloc(0)
  at = 0
  end = 0
  depth = 0
  emptyItems = 0
}

type Step = (walk: Walk) => void

/** Checks that exactly one value of the type fills `bytes` from `at` on. @throws SCHEMA_MISMATCH {position, reason} */
export type Check = (bytes: Buffer, at: number) => void

export function compileCheck(type: avsc.Type): Check {
  const step = compile(type, new Map())
  const walk = new Walk()
  return (bytes, at) => {
    walk.bytes = bytes
    walk.at = at
    walk.end = bytes.length
    walk.depth = 0
    walk.emptyItems = 0
    step(walk)
    if (walk.at !== walk.end) fail(walk, 'bytes behind the value')
  }
}

function compile(type: avsc.Type, compiled: Map<avsc.Type, Step>): Step {
  const known = compiled.get(type)
  if (known !== undefined) return known
  if (type instanceof avsc.types.RecordType) return record(type, compiled)
  const step = compileOther(type, compiled)
  compiled.set(type, step)
  return step
}

/** Recursion goes through records only, so a record is known before its fields are compiled. */
function record(type: avsc.types.RecordType, compiled: Map<avsc.Type, Step>): Step {
  const steps: Step[] = []
  const step: Step = walk => {
    if (++walk.depth > AVRO_DEPTH_MAX) fail(walk, 'too deep')
    for (let i = 0; i < steps.length; i++) (steps[i] as Step)(walk)
    walk.depth--
  }
  compiled.set(type, step)
  for (const field of type.fields) steps.push(compile(field.type, compiled))
  return step
}

function compileOther(type: avsc.Type, compiled: Map<avsc.Type, Step>): Step {
  if (type instanceof avsc.types.ArrayType) {
    const items = compile(type.itemsType, compiled)
    return blocks(items, leastBytes(type.itemsType, new Set()))
  }
  if (type instanceof avsc.types.MapType) {
    const values = compile(type.valuesType as avsc.Type, compiled)
    const entry: Step = walk => {
      lengthPrefixed(walk)
      values(walk)
    }
    return blocks(entry, 1)
  }
  if (type instanceof avsc.types.EnumType) {
    const symbols = type.symbols.length
    return walk => void index(walk, symbols, 'no such symbol')
  }
  if (type instanceof avsc.types.FixedType) {
    const { size } = type
    return walk => skip(walk, size)
  }
  if (type instanceof avsc.types.UnwrappedUnionType || type instanceof avsc.types.WrappedUnionType) {
    const branches = type.types.map(branch => compile(branch, compiled))
    return walk => (branches[index(walk, branches.length, 'no such branch')] as Step)(walk)
  }
  return primitive(type.typeName)
}

function primitive(typeName: string): Step {
  switch (typeName) {
    case 'null':
      return () => {}
    case 'boolean':
      return walk => {
        if (walk.at < walk.end && (walk.bytes[walk.at] as number) > 1) fail(walk, 'not a boolean')
        skip(walk, 1)
      }
    case 'int':
      return walk => varint(walk, 5)
    case 'long':
      return walk => varint(walk, 10)
    case 'float':
      return walk => skip(walk, 4)
    case 'double':
      return walk => skip(walk, 8)
    default:
      return lengthPrefixed // bytes, string
  }
}

/** Arrays and maps: blocks of a count and as many items, a negative count followed by the block's size, 0 at the end. */
function blocks(item: Step, itemBytesMin: number): Step {
  return walk => {
    for (;;) {
      let count = readLong(walk)
      if (count === 0) return
      if (count < 0) {
        count = -count
        if (readLong(walk) < 0) fail(walk, 'negative block size')
      }
      if (itemBytesMin > 0 && count > walk.end - walk.at) fail(walk, 'more items than bytes')
      if (itemBytesMin === 0) {
        walk.emptyItems += count
        if (walk.emptyItems > AVRO_EMPTY_ITEMS_MAX) fail(walk, 'too many items without bytes')
      }
      for (let i = 0; i < count; i++) item(walk)
    }
  }
}

/** 0 when a value of the type may take no bytes at all, else 1. */
function leastBytes(type: avsc.Type, inside: Set<avsc.Type>): 0 | 1 {
  if (type.typeName === 'null' || (type instanceof avsc.types.FixedType && type.size === 0)) return 0
  if (!(type instanceof avsc.types.RecordType) || inside.has(type)) return type instanceof avsc.types.RecordType ? 0 : 1
  inside.add(type)
  const least = type.fields.some(field => leastBytes(field.type, inside) > 0) ? 1 : 0
  inside.delete(type)
  return least
}

function skip(walk: Walk, bytes: number): void {
  walk.at += bytes
  if (walk.at > walk.end) fail(walk, 'truncated')
}

function lengthPrefixed(walk: Walk): void {
  const length = readLong(walk)
  if (length < 0) fail(walk, 'negative length')
  if (length > walk.end - walk.at) fail(walk, 'truncated')
  walk.at += length
}

function index(walk: Walk, count: number, reason: string): number {
  const position = readLong(walk)
  if (position < 0 || position >= count) fail(walk, reason)
  return position
}

function varint(walk: Walk, bytesMax: number): void {
  const { bytes, end } = walk
  let at = walk.at
  const limit = Math.min(end, at + bytesMax)
  while (at < limit && (bytes[at] as number) > 0x7f) at++
  walk.at = at + 1
  if (at >= limit) fail(walk, at >= end ? 'truncated' : 'number too long')
}

/** A zigzag varint; beyond 2^53 it is inexact, which is still far beyond any length that fits. */
function readLong(walk: Walk): number {
  const first = walk.at < walk.end ? (walk.bytes[walk.at] as number) : 0x80
  if (first < 0x80) {
    walk.at++
    return (first >>> 1) ^ -(first & 1)
  }
  const start = walk.at
  varint(walk, 10)
  let value = 0
  for (let at = walk.at - 1; at >= start; at--) value = value * 128 + ((walk.bytes[at] as number) & 0x7f)
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

function fail(walk: Walk, reason: string): never {
  throw new MillraceError('SCHEMA_MISMATCH', { position: Math.min(walk.at, walk.end), reason })
}
