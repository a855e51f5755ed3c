/** What the tests of this folder share: plain records as the model, random ones, and reading a batch into them. */
import fc from 'fast-check'
import type { Codec } from '../../../engine/format/compression.ts'
import type { RecordHeader } from '../../../engine/format/record.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import { Region } from '../../../engine/format/region.ts'

export const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
export const SAFE_MAX = Number.MAX_SAFE_INTEGER

/** Bytes as hexadecimal digits: compares well and prints well. */
export interface PlainRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
}

export interface ModelRecord {
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

export function hex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('hex')
}

export function plain(record: ModelRecord, offset: number): PlainRecord {
  const { timestamp, key, value, headers } = record
  return {
    offset,
    timestamp,
    key: hex(key),
    value: hex(value),
    headers: headers.map(h => [h.key, hex(h.value)] as const),
  }
}

/** The record that the cursor is at. */
export function current(cursor: RecordCursor): PlainRecord {
  const { offset, timestamp } = cursor
  const headers = cursor.headers().map(h => [h.key, hex(h.value)] as const)
  return { offset, timestamp, key: hex(cursor.key()), value: hex(cursor.value()), headers }
}

/** Every record of the batch at `at`. */
export function readRecords(region: Region, at = 0, maxBytes?: number): PlainRecord[] {
  const cursor = new RecordCursor()
  cursor.reset(region, at, maxBytes)
  const records: PlainRecord[] = []
  while (cursor.next()) records.push(current(cursor))
  return records
}

/** Copies bytes into a region of exactly their size, so that reading further throws. */
export function regionOf(bytes: Uint8Array): Region {
  return Region.of(Uint8Array.from(bytes))
}

const timestamps = fc.oneof(
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
  fc.integer({ min: 0, max: 4_000_000_000_000 }),
  fc.constantFrom(-1, 0, 1, 2 ** 31, 2 ** 32, SAFE_MAX - 2, SAFE_MAX - 1),
)

const payloads = fc.option(
  fc.oneof(
    { weight: 6, arbitrary: fc.uint8Array({ maxLength: 40 }) },
    // The lengths at which a length takes another byte, and the one where copying changes its way.
    {
      weight: 3,
      arbitrary: fc.constantFrom(8, 9, 63, 64, 100, 8191, 8192).map(length => new Uint8Array(length).fill(length)),
    },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 30_000 }).map(length => new Uint8Array(length).fill(length)) },
  ),
)

const headers = fc.array(
  fc.record({
    key: fc.string({ unit: 'grapheme', maxLength: 12 }),
    value: fc.option(fc.uint8Array({ maxLength: 20 })),
  }),
  { maxLength: 4 },
)

export const modelRecords: fc.Arbitrary<ModelRecord[]> = fc.array(
  fc.record({
    timestamp: timestamps,
    key: payloads,
    value: payloads,
    headers: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: headers }),
  }),
  { minLength: 1, maxLength: 30 },
)
