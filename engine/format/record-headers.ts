/**
 * The headers of one record: a count is followed by so many of `key length varint, key in UTF-8, value length varint
 * (-1 null), value`. Pure functions; any thread. Reading allocates, so it happens only when somebody asks for headers.
 */
import { MillraceError } from '../base/errors.ts'
import { readVarint, varintBytes, varintEnd, writeVarint } from './varint.ts'

/** Keys are text and may repeat. */
export interface RecordHeader {
  readonly key: string
  readonly value: Uint8Array | null
}

/** Each takes a key length and a value length. */
export const RECORD_HEADER_BYTES_MIN = 2

/** Bytes of the headers without their count. */
export function headersBytes(headers: readonly RecordHeader[]): number {
  let bytes = 0
  for (const { key, value } of headers) {
    const keyBytes = utf8Bytes(key)
    bytes += varintBytes(keyBytes) + keyBytes
    bytes += value === null ? 1 : varintBytes(value.byteLength) + value.byteLength
  }
  return bytes
}

/** Writes the headers without their count and returns the position behind them. */
export function writeHeaders(bytes: Buffer, at: number, headers: readonly RecordHeader[]): number {
  for (const { key, value } of headers) {
    const keyBytes = utf8Bytes(key)
    at = writeVarint(bytes, at, keyBytes)
    if (keyBytes === key.length) for (let i = 0; i < keyBytes; i++) bytes[at + i] = key.charCodeAt(i)
    else bytes.write(key, at)
    at += keyBytes
    at = writeVarint(bytes, at, value === null ? -1 : value.byteLength)
    if (value === null) continue
    bytes.set(value, at)
    at += value.byteLength
  }
  return at
}

/**
 * Reads `count` headers that fill `bytes[at..end)` exactly; their values are views.
 * @throws CORRUPT_RECORD when they do not
 */
export function readHeaders(bytes: Buffer, at: number, end: number, count: number): RecordHeader[] {
  const headers: RecordHeader[] = []
  for (let i = 0; i < count; i++) {
    const keyBytes = readVarint(bytes, at, end)
    const keyAt = varintEnd(bytes, at, end)
    if (keyBytes < 0 || keyBytes > end - keyAt) throw corrupt(at, 'header key length')
    const valueLengthAt = keyAt + keyBytes
    const valueBytes = readVarint(bytes, valueLengthAt, end)
    const valueAt = varintEnd(bytes, valueLengthAt, end)
    if (valueBytes < -1 || valueBytes > end - valueAt) throw corrupt(valueLengthAt, 'header value length')
    headers.push({
      key: bytes.toString('utf8', keyAt, keyAt + keyBytes),
      value: valueBytes === -1 ? null : new Uint8Array(bytes.buffer, bytes.byteOffset + valueAt, valueBytes),
    })
    at = valueAt + Math.max(0, valueBytes)
  }
  if (at !== end) throw corrupt(at, 'record length')
  return headers
}

/** Keys are short and mostly ASCII, for which asking the runtime takes longer than looking. */
function utf8Bytes(key: string): number {
  for (let i = 0; i < key.length; i++) if (key.charCodeAt(i) >= 0x80) return Buffer.byteLength(key)
  return key.length
}

function corrupt(position: number, reason: string): MillraceError {
  return new MillraceError('CORRUPT_RECORD', { position, reason })
}
