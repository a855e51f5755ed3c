/** Turns the messages that a service hands in into bytes. */
import { MillraceError } from '../engine/base/errors.ts'
import type { RecordHeader } from '../engine/format/record.ts'
import type { BytesLike, Message } from './types.ts'

/** @throws INVALID_ARGUMENT for anything but bytes, text and null */
export function toBytes(value: BytesLike | null): Uint8Array | null {
  if (value === null || value instanceof Uint8Array) return value
  if (typeof value === 'string') return Buffer.from(value)
  throw new MillraceError('INVALID_ARGUMENT', {
    argument: 'value',
    type: typeof value,
    accepted: 'Uint8Array, string, null',
  })
}

function toHeader(header: RecordHeader): RecordHeader {
  const { key, value } = Object(header) as RecordHeader
  if (typeof key !== 'string') throw invalidHeader(typeof key)
  return { key, value: toBytes(value) }
}

const invalidHeader = (type: string): MillraceError =>
  new MillraceError('INVALID_ARGUMENT', { argument: 'headers', type, accepted: 'object, or array of {key, value}' })

/** @throws INVALID_ARGUMENT as `toBytes` */
export function toHeaders(headers: NonNullable<Message['headers']>): readonly RecordHeader[] {
  if (Array.isArray(headers)) return (headers as readonly RecordHeader[]).map(toHeader)
  if (typeof headers !== 'object') throw invalidHeader(typeof headers)
  const entries = Object.entries(headers as Readonly<Record<string, BytesLike | null>>)
  return entries.map(([key, value]) => ({ key, value: toBytes(value) }))
}
