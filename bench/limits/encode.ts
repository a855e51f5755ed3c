/**
 * Limit of the append path: records encoded as Kafka's RecordBatch v2, with their CRC-32C, straight into a prefaulted
 * mapping by one thread. No rings, no copies, no offsets to hand out, nobody to tell. Frozen: no engine code.
 *
 *     batch   base offset 8 | length 4 | leader epoch 4 | magic 1 | crc 4 | attributes 2 | last offset delta 4
 *             base timestamp 8 | max timestamp 8 | producer id 8 | epoch 2 | base sequence 4 | record count 4 | records
 *     record  length | attributes 1 | timestamp delta | offset delta | key length (-1) | value length | value | headers (0)
 */
import crc32 from '@node-rs/crc32'
import type { Side } from '../harness/side.ts'
import type { Scratch } from './scratch.ts'
import { FIRST_TIMESTAMP, makeValues, VALUE_COUNT } from './values.ts'

export const HEADER_BYTES = 61

/** Default size of a producer's batch. */
export const BATCH_BYTES = 64 * 1024

/** What was written so far. */
export interface Filled {
  batches: number
  records: number
  /** Position behind the last batch. */
  end: number
}

/** Writes a zigzag varint of a number from 0 to 2^27 - 1; returns the position behind it. */
function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  const raw = value << 1
  if (raw < 0x80) {
    bytes[at] = raw
    return at + 1
  }
  bytes[at] = raw | 0x80 // the array keeps the low eight bits
  if (raw < 0x4000) {
    bytes[at + 1] = raw >>> 7
    return at + 2
  }
  return writeLongVarint(bytes, at + 1, raw >>> 7)
}

function writeLongVarint(bytes: Uint8Array, at: number, raw: number): number {
  let rest = raw
  while (rest > 0x7f) {
    bytes[at++] = rest | 0x80
    rest >>>= 7
  }
  bytes[at] = rest
  return at + 1
}

const varintBytes = (value: number): number => (value < 1 << 6 ? 1 : value < 1 << 13 ? 2 : value < 1 << 20 ? 3 : 4)

/** Appends one batch of at most `batchBytes` behind what is filled. Its first record is number `filled.records`. */
function encodeBatch(scratch: Scratch, values: readonly Uint8Array[], batchBytes: number, filled: Filled): void {
  const { bytes } = scratch
  const at = filled.end
  const end = at + batchBytes
  const first = filled.records
  const baseTick = first >>> 10
  const valueBytes = (values[0] as Uint8Array).length
  // Attributes, key length -1 and header count take a byte each; the value's length is the same for all.
  const fixedBytes = 3 + varintBytes(valueBytes) + valueBytes
  let position = at + HEADER_BYTES
  let count = 0
  for (;;) {
    const timestampDelta = ((first + count) >>> 10) - baseTick
    const recordBytes = fixedBytes + varintBytes(timestampDelta) + varintBytes(count)
    if (position + recordBytes + varintBytes(recordBytes) > end) break
    position = writeVarint(bytes, position, recordBytes)
    bytes[position] = 0
    position = writeVarint(bytes, position + 1, timestampDelta)
    position = writeVarint(bytes, position, count)
    bytes[position] = 1
    position = writeVarint(bytes, position + 1, valueBytes)
    bytes.set(values[(first + count) & (VALUE_COUNT - 1)] as Uint8Array, position)
    bytes[position + valueBytes] = 0
    position += valueBytes + 1
    count += 1
  }
  if (count === 0) throw new RangeError(`a record of ${valueBytes} bytes does not fit a batch of ${batchBytes}`)
  writeHeader(scratch, at, position, first, count)
  filled.batches += 1
  filled.records += count
  filled.end = position
}

function writeHeader(scratch: Scratch, at: number, end: number, first: number, count: number): void {
  const { bytes, view } = scratch
  view.setUint32(at, 0)
  view.setUint32(at + 4, first)
  view.setInt32(at + 8, end - at - 12)
  view.setInt32(at + 12, 0)
  view.setInt8(at + 16, 2)
  view.setInt16(at + 21, 0)
  view.setInt32(at + 23, count - 1)
  writeTimestamp(view, at + 27, first)
  writeTimestamp(view, at + 35, first + count - 1)
  view.setInt32(at + 43, -1)
  view.setInt32(at + 47, -1)
  view.setInt16(at + 51, -1)
  view.setInt32(at + 53, -1)
  view.setInt32(at + 57, count)
  view.setUint32(at + 17, crc32.crc32c(bytes.subarray(at + 21, end)))
}

/** Big-endian i64 of the record's timestamp (`timestampOf`). */
function writeTimestamp(view: DataView, at: number, record: number): void {
  const timestamp = FIRST_TIMESTAMP + (record >>> 10)
  view.setUint32(at, Math.floor(timestamp / 0x1_0000_0000))
  view.setUint32(at + 4, timestamp % 0x1_0000_0000)
}

/** Fills `[0, end)` of the mapping with batches of at most `batchBytes`, one behind the other, until one no longer fits. */
export function fillBatches(
  scratch: Scratch,
  values: readonly Uint8Array[],
  end: number,
  batchBytes = BATCH_BYTES,
): Readonly<Filled> {
  const filled: Filled = { batches: 0, records: 0, end: 0 }
  while (filled.end + batchBytes <= end) encodeBatch(scratch, values, batchBytes, filled)
  return filled
}

/**
 * Rounds that encode `roundBytes` of batches.
 * @param unit what `work` counts: the records, or the bytes of their values
 */
export function encodeLimit(scratch: Scratch, valueBytes: number, roundBytes: number, unit: 'records' | 'bytes'): Side {
  const values = makeValues(valueBytes)
  const { records } = fillBatches(scratch, values, roundBytes)
  return {
    work: unit === 'records' ? records : records * valueBytes,
    prepare: () => scratch.prefault(0, roundBytes),
    round() {
      const start = performance.now()
      fillBatches(scratch, values, roundBytes)
      return performance.now() - start
    },
  }
}
