/** Batches that Kafka's Java client wrote, against what it read back from them. See golden/GoldenBatches.java. */
import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import {
  baseOffsetOf,
  baseSequenceOf,
  baseTimestampOf,
  batchBytes,
  checkBatch,
  codecOf,
  encodeBatch,
  hasDeleteHorizon,
  isControlBatch,
  isLogAppendTime,
  isTransactional,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  RecordCursor,
  Region,
  recordCountOf,
  stampBatch,
} from '../../../engine/format/index.ts'
import { hex, regionOf } from './records.ts'

/** Hexadecimal digits, or of long values a digest. */
type Bytes = string | null | { readonly crc32: number; readonly length: number }

interface GoldenRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Bytes
  readonly value: Bytes
  readonly headers: readonly (readonly [string, Bytes])[]
}

interface GoldenBatch {
  readonly name: string
  readonly batch: string
  readonly records: readonly GoldenRecord[]
  readonly deleteHorizonMs: number | null
  readonly [field: string]: unknown
}

const golden: GoldenBatch[] = JSON.parse(readFileSync(new URL('golden/batches.json', import.meta.url), 'utf8'))
const cases = golden.map(batch => [batch.name, batch] as const)
const LONG_BYTES = 20_000

function shown(bytes: Uint8Array | null): Bytes {
  return bytes !== null && bytes.length > LONG_BYTES ? { crc32: crc32(bytes), length: bytes.length } : hex(bytes)
}

function read(region: Region): GoldenRecord[] {
  const cursor = new RecordCursor()
  cursor.reset(region, 0)
  const records: GoldenRecord[] = []
  while (cursor.next()) {
    const headers = cursor.headers().map(({ key, value }) => [key, shown(value)] as const)
    const { offset, timestamp } = cursor
    records.push({ offset, timestamp, key: shown(cursor.key()), value: shown(cursor.value()), headers })
  }
  return records
}

describe('batches of the Java client', () => {
  test('cover every codec and kind', () => {
    const has = (field: string, value: unknown) => golden.some(batch => batch[field] === value)
    for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) expect(has('codec', codec)).toBe(true)
    for (const field of ['isControl', 'isTransactional', 'isLogAppendTime']) expect(has(field, true)).toBe(true)
    expect(golden.some(batch => batch.deleteHorizonMs !== null)).toBe(true)
    expect(golden.some(batch => batch.records.length === 0)).toBe(true)
  })

  test.each(cases)('%s: is sound, and its fields and records are read as Java reads them', (_, expected) => {
    const region = regionOf(Buffer.from(expected.batch, 'hex'))
    const { view } = region
    expect(checkBatch(region, 0, region.length)).toBeUndefined()
    expect(batchBytes(view, 0)).toBe(region.length)
    const { name, batch, records, ...fields } = expected
    expect({
      codec: codecOf(view, 0),
      baseOffset: baseOffsetOf(view, 0),
      lastOffset: lastOffsetOf(view, 0),
      leaderEpoch: leaderEpochOf(view, 0),
      baseTimestamp: baseTimestampOf(view, 0),
      maxTimestamp: maxTimestampOf(view, 0),
      producerId: producerIdOf(view, 0),
      producerEpoch: producerEpochOf(view, 0),
      baseSequence: baseSequenceOf(view, 0),
      isTransactional: isTransactional(view, 0),
      isControl: isControlBatch(view, 0),
      isLogAppendTime: isLogAppendTime(view, 0),
      deleteHorizonMs: hasDeleteHorizon(view, 0) ? baseTimestampOf(view, 0) : null,
    }).toEqual(fields)
    expect(recordCountOf(view, 0)).toBe(records.length)
    expect(read(region)).toEqual(records)
  })

  // Compressed bytes depend on the compressor, offsets with gaps and stamped timestamps are not what a producer sends.
  const ours = cases.filter(
    ([name, batch]) => batch['codec'] === 'none' && !/compacted|horizon|empty|append-time/.test(name),
  )

  test.each(ours)('%s: encoded again it is the same bytes', (_, expected) => {
    const bytes = (value: Bytes) => (typeof value === 'string' ? Buffer.from(value, 'hex') : null)
    const records = expected.records.map(({ timestamp, key, value, headers }) => ({
      timestamp,
      key: bytes(key),
      value: bytes(value),
      headers: headers.map(([name, content]) => ({ key: name, value: bytes(content) })),
    }))
    const batch = encodeBatch(records, {
      producerId: expected['producerId'] as number,
      producerEpoch: expected['producerEpoch'] as number,
      baseSequence: expected['baseSequence'] as number,
      isTransactional: expected['isTransactional'] as boolean,
      isControl: expected['isControl'] as boolean,
    }).bytes
    stampBatch(Region.of(batch).view, 0, expected['baseOffset'] as number, expected['leaderEpoch'] as number)
    expect(batch.toString('hex')).toBe(expected.batch)
  })
})
