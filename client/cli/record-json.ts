/**
 * Records as JSON and back. Bytes are a string where they are valid UTF-8, and else `{"base64": "…"}`, so that what was written comes
 * back byte for byte; null is null. Headers are a list, because their keys may repeat and have an order.
 */
import { isUtf8 } from 'node:buffer'
import type { RecordHeader } from '../../engine/format/record.ts'
import type { ConsumedRecord } from '../record.ts'
import type { Message } from '../types.ts'

export type JsonBytes = string | null | { readonly base64: string }

export interface RecordJson {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since the Unix epoch, -1 for none. */
  readonly timestamp: number
  readonly key: JsonBytes
  readonly value: unknown
  readonly headers: readonly { readonly key: string; readonly value: JsonBytes }[]
}

export function bytesToJson(bytes: Uint8Array | null): JsonBytes {
  if (bytes === null) return null
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer) ? buffer.toString() : { base64: buffer.toString('base64') }
}

/** @param value of the record, where it is not the bytes themselves */
export function recordToJson(record: ConsumedRecord, value: unknown = bytesToJson(record.value)): RecordJson {
  const { topic, partition, offset, timestamp, key, headers } = record
  return {
    topic,
    partition,
    offset,
    timestamp,
    key: bytesToJson(key),
    value,
    headers: headers.map(header => ({ key: header.key, value: bytesToJson(header.value) })),
  }
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** @param what names the field in the error @throws Error when it is not what `bytesToJson` makes */
export function bytesFromJson(json: unknown, what: string): Uint8Array | null {
  if (json === null || json === undefined) return null
  if (typeof json === 'string') return Buffer.from(json)
  const base64 = isBase64(json) ? json.base64 : undefined
  if (base64 === undefined) throw new Error(`${what} must be a string, null, or {"base64": "…"}`)
  if (!BASE64.test(base64)) throw new Error(`${what} has a base64 text that is not one`)
  return Buffer.from(base64, 'base64')
}

function isBase64(json: unknown): json is { base64: string } {
  if (typeof json !== 'object' || json === null) return false
  return Object.keys(json).length === 1 && typeof (json as { base64?: unknown }).base64 === 'string'
}

/** Fields of a line of input; `offset` and `topic`, as exported records have them, say nothing here. */
const FIELDS = ['key', 'value', 'headers', 'partition', 'timestamp', 'offset', 'topic']

/**
 * A message from one line of NDJSON.
 * @param encode what becomes of `value`; default: the bytes that `bytesToJson` wrote
 * @throws Error that says what is wrong with the line
 */
export function messageFromJson(
  text: string,
  encode: (value: unknown) => Uint8Array | null = value => bytesFromJson(value, 'value'),
): Message {
  const json = parseJson(text)
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error('the line is not a JSON object')
  const unknown = Object.keys(json).find(field => !FIELDS.includes(field))
  if (unknown !== undefined) throw new Error(`there is no field "${unknown}"; the fields are ${FIELDS.join(', ')}`)
  const { key, value, headers, partition, timestamp } = json as Readonly<Record<string, unknown>>
  if (value === undefined) throw new Error('the field "value" is missing; null makes a tombstone')
  return {
    key: bytesFromJson(key, 'key'),
    value: encode(value),
    ...(headers === undefined || headers === null ? {} : { headers: headersFromJson(headers) }),
    ...(partition === undefined ? {} : { partition: wholeNumber(partition, 'partition', 0) }),
    ...(timestamp === undefined ? {} : { timestamp: wholeNumber(timestamp, 'timestamp', -1) }),
  }
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Error(`this is not JSON: ${(error as Error).message}`)
  }
}

function headersFromJson(json: unknown): RecordHeader[] {
  if (Array.isArray(json)) {
    return json.map(header => {
      const { key, value } = Object(header) as { key?: unknown; value?: unknown }
      if (typeof key !== 'string') throw new Error('headers must be an object, or a list of {"key": …, "value": …}')
      return { key, value: bytesFromJson(value, `header "${key}"`) }
    })
  }
  if (typeof json !== 'object') throw new Error('headers must be an object, or a list of {"key": …, "value": …}')
  const entries = Object.entries(json as Readonly<Record<string, unknown>>)
  return entries.map(([key, value]) => ({ key, value: bytesFromJson(value, `header "${key}"`) }))
}

function wholeNumber(value: unknown, what: string, min: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= min) return value as number
  throw new Error(`${what} must be a whole number from ${min} on`)
}
