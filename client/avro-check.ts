/**
 * Walks Avro binary before avsc decodes it. avsc trusts lengths and counts: a damaged array count makes it build an
 * array of billions, a bad length moves it backwards. After this walk every count, length and index is known to fit
 * the bytes, so decoding costs no more than the value's own size. Pure functions; any thread.
 *
 * What is checked is the encoding (Avro specification, "Binary encoding"): varints end in time, lengths stay inside,
 * blocks hold no more items than bytes, unions and enums name a branch or symbol, booleans are 0 or 1, and the value
 * ends where the bytes end. Bytes of strings are not: wrong UTF-8 decodes to U+FFFD.
 */

import avsc from 'avsc'
import { MillraceError } from '../engine/base/errors.ts'
import { AVRO_DEPTH_MAX, AVRO_EMPTY_ITEMS_MAX } from '../engine/base/limits.ts'

/** Checks one value that begins at `at` and returns the position behind it. */
type Step = (bytes: Buffer, at: number, end: number) => number

/**
 * Checks that exactly one value of the type fills `bytes` from `at` to `end`.
 * @param origin where position 0 of the error is
 * @throws SCHEMA_MISMATCH {position, reason}
 */
export type Check = (bytes: Buffer, at: number, end: number, origin: number) => void

// The walk's state beside the position. It is set anew for each value, and a walk never stops half-way to go on later.
let depth = 0
let emptyItems = 0
/** Position behind the number that `readLong` returned. */
let behindLong = 0
let errorOrigin = 0

export function compileCheck(type: avsc.Type): Check {
  const step = compile(type, new Map())
  return (bytes, at, end, origin) => {
    depth = 0
    emptyItems = 0
    errorOrigin = origin
    const next = step(bytes, at, end)
    if (next !== end) fail(next, 'bytes behind the value')
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
  const step: Step = (bytes, at, end) => {
    if (++depth > AVRO_DEPTH_MAX) fail(at, 'too deep')
    let next = at
    for (let i = 0; i < steps.length; i++) next = (steps[i] as Step)(bytes, next, end)
    depth--
    return next
  }
  compiled.set(type, step)
  for (const field of type.fields) steps.push(compile(field.type, compiled))
  return step
}

function compileOther(type: avsc.Type, compiled: Map<avsc.Type, Step>): Step {
  if (type instanceof avsc.types.ArrayType) {
    return blocks(compile(type.itemsType, compiled), leastBytes(type.itemsType, new Set()))
  }
  if (type instanceof avsc.types.MapType) {
    const values = compile(type.valuesType as avsc.Type, compiled)
    return blocks((bytes, at, end) => values(bytes, lengthPrefixed(bytes, at, end), end), 1)
  }
  if (type instanceof avsc.types.EnumType) {
    const symbols = type.symbols.length
    return (bytes, at, end) => {
      index(bytes, at, end, symbols, 'no such symbol')
      return behindLong
    }
  }
  if (type instanceof avsc.types.FixedType) {
    const { size } = type
    return (_, at, end) => skip(at + size, end)
  }
  if (type instanceof avsc.types.UnwrappedUnionType || type instanceof avsc.types.WrappedUnionType) {
    const branches = type.types.map(branch => compile(branch, compiled))
    return (bytes, at, end) => {
      const branch = branches[index(bytes, at, end, branches.length, 'no such branch')] as Step
      return branch(bytes, behindLong, end)
    }
  }
  return primitive(type.typeName)
}

function primitive(typeName: string): Step {
  switch (typeName) {
    case 'null':
      return (_, at) => at
    case 'boolean':
      return (bytes, at, end) => {
        if (at < end && (bytes[at] as number) > 1) fail(at, 'not a boolean')
        return skip(at + 1, end)
      }
    case 'int':
      return (bytes, at, end) => (at < end && (bytes[at] as number) < 0x80 ? at + 1 : varint(bytes, at, end, 5))
    case 'long':
      return (bytes, at, end) => (at < end && (bytes[at] as number) < 0x80 ? at + 1 : varint(bytes, at, end, 10))
    case 'float':
      return (_, at, end) => skip(at + 4, end)
    case 'double':
      return (_, at, end) => skip(at + 8, end)
    default:
      return lengthPrefixed // bytes, string
  }
}

/** Arrays and maps: blocks of a count and as many items, a negative count followed by the block's size, 0 at the end. */
function blocks(item: Step, itemBytesMin: number): Step {
  return (bytes, at, end) => {
    let next = at
    for (;;) {
      let count = readLong(bytes, next, end)
      let blockEnd = -1
      next = behindLong
      if (count === 0) return next
      if (count < 0) {
        count = -count
        const size = readLong(bytes, next, end)
        if (size < 0) fail(next, 'negative block size')
        next = behindLong
        blockEnd = next + size
      }
      if (itemBytesMin > 0 && count > end - next) fail(next, 'more items than bytes')
      if (itemBytesMin === 0) {
        emptyItems += count
        if (emptyItems > AVRO_EMPTY_ITEMS_MAX) fail(next, 'too many items without bytes')
      }
      for (let i = 0; i < count; i++) next = item(bytes, next, end)
      if (blockEnd >= 0 && next !== blockEnd) fail(next, 'wrong block size') // which readers skip the block by
    }
  }
}

/** 0 when a value of the type may take no bytes at all, else 1. */
function leastBytes(type: avsc.Type, inside: Set<avsc.Type>): 0 | 1 {
  if (type.typeName === 'null' || (type instanceof avsc.types.FixedType && type.size === 0)) return 0
  if (!(type instanceof avsc.types.RecordType)) return 1
  if (inside.has(type)) return 0
  inside.add(type)
  const least = type.fields.some(field => leastBytes(field.type, inside) > 0) ? 1 : 0
  inside.delete(type)
  return least
}

function skip(next: number, end: number): number {
  return next <= end ? next : fail(end, 'truncated')
}

function lengthPrefixed(bytes: Buffer, at: number, end: number): number {
  const length = readLong(bytes, at, end)
  if (length < 0) fail(at, 'negative length')
  return skip(behindLong + length, end)
}

function index(bytes: Buffer, at: number, end: number, count: number, reason: string): number {
  const position = readLong(bytes, at, end)
  return position >= 0 && position < count ? position : fail(at, reason)
}

/** 5 bytes hold 32 bits with 4 of them in the last, 10 bytes 64 with 1. */
function varint(bytes: Buffer, at: number, end: number, bytesMax: 5 | 10): number {
  const limit = Math.min(end, at + bytesMax)
  let last = at
  while (last < limit && (bytes[last] as number) > 0x7f) last++
  if (last >= limit) fail(at, last >= end ? 'truncated' : 'number too long')
  if (last - at === bytesMax - 1 && (bytes[last] as number) > (bytesMax === 5 ? 0x0f : 0x01))
    fail(at, 'number too long')
  return last + 1
}

/** A zigzag varint; beyond 2^53 it is inexact, which is still far beyond any length that fits. */
function readLong(bytes: Buffer, at: number, end: number): number {
  if (at < end && (bytes[at] as number) < 0x80) {
    const value = bytes[at] as number
    behindLong = at + 1
    return (value >>> 1) ^ -(value & 1)
  }
  behindLong = varint(bytes, at, end, 10)
  let value = 0
  for (let i = behindLong - 1; i >= at; i--) value = value * 128 + ((bytes[i] as number) & 0x7f)
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

function fail(position: number, reason: string): never {
  throw new MillraceError('SCHEMA_MISMATCH', { position: position - errorOrigin, reason })
}
