/**
 * Walks the records of one batch without making an object for each: the cursor's fields describe the current record, and
 * its bytes are looked at only when asked for. One thread at a time; any number of cursors over the same bytes. Views that it
 * hands out live as long as the memory does. Input may be anything: no byte outside the batch is read, whatever it says,
 * and a record that contradicts itself is reported as `CORRUPT_RECORD`.
 */
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { DECOMPRESSED_BYTES_MAX, RECORD_HEADERS_MAX, SAFE_MAX } from '../base/limits.ts'
import {
  ATTRIBUTE,
  attributesOf,
  BATCH,
  baseOffsetOf,
  baseTimestampOf,
  batchBytes,
  checkBatch,
  codecOf,
  isLogAppendTime,
  maxTimestampOf,
  recordCountOf,
} from './batch-layout.ts'
import { decompress } from './compression.ts'
import { RECORD_HEADER_BYTES_MIN, type RecordHeader, readHeaders } from './record-headers.ts'
import type { Region } from './region.ts'
import { readVarint, readVarlong, VARLONG_BYTES_MAX, varintEnd } from './varint.ts'

export type { RecordHeader } from './record-headers.ts'

/** What `next` may read before it compares: length 2, attributes, timestamp 4, offset 3, key length 2, and without a key value length 2. */
const SHORT_FIELDS_BYTES = 14
/** Timestamp deltas of 4 bytes are smaller than this. */
const SHORT_DELTA_MAX = 2 ** 27

/** Where a cursor over several batches gets the next one from. */
export interface BatchFeed {
  /** Resets `cursor` to the next batch and moves it to its first record; false when there is none. */
  nextBatch(cursor: RecordCursor): boolean
}

export class RecordCursor {
  // Numbers that outgrow 31 bits start as doubles, so that the code which reads them is not compiled twice.
  /** Offset of the current record in its partition; NaN before the first `next`. */
  offset = Number.NaN
  /** Milliseconds since the epoch, -1 for none; NaN before the first `next`. */
  timestamp = Number.NaN
  /** Where the key starts, in the region, or in the decompressed records. */
  keyAt = 0
  /** -1 for null. */
  keyBytes = -1
  valueAt = 0
  /** -1 for null. */
  valueBytes = -1
  headerCount = 0
  headersAt = 0

  readonly #feed: BatchFeed | undefined
  #bytes: Buffer = Buffer.alloc(0)
  // The memory behind it, as looking these up took longer than making a view.
  #buffer: ArrayBufferLike = this.#bytes.buffer
  #byteOffset = 0
  /** Position behind the current record, which is where the next one starts. */
  #recordEnd = 0
  /** Position behind the last record. */
  #end = 0
  /** The last position of a record that may be read the short way. */
  #shortEnd = 0
  #remaining = 0
  /** Records at the end of the batch are left out. */
  #isCut = false
  #lastOffsetDelta = -1
  #offsetDeltaMax = 0
  #baseOffset = Number.NaN
  #baseTimestamp = Number.NaN
  #maxTimestamp = Number.NaN
  /** Whether the broker stamped the records, all with the batch's maximum. */
  #isLogAppendTime = false

  // Not a subclass for cursors over several batches: with two shapes of object `next` would be a third slower for both.
  constructor(feed?: BatchFeed) {
    this.#feed = feed
  }

  /**
   * Starts before the first record of the batch at `at`. The CRC is not checked; see `checkBatch`.
   * @param maxDecompressedBytes the most that the records may take uncompressed
   * @throws CORRUPT_BATCH {position, reason}, UNSUPPORTED_FORMAT, DECOMPRESSED_TOO_LARGE
   * Cost: a few reads; decompression where there is a codec.
   */
  reset(region: Region, at: number, maxDecompressedBytes = DECOMPRESSED_BYTES_MAX): void {
    const { view } = region
    // No record is current, and a reset that throws leaves an empty cursor.
    this.#remaining = this.#recordEnd = this.#end = this.headerCount = 0
    this.keyBytes = this.valueBytes = -1
    this.offset = this.timestamp = Number.NaN
    const fault = checkBatch(region, at, region.length, false)
    if (fault === 'magic') throw new MillraceError('UNSUPPORTED_FORMAT', { position: at, reason: fault })
    if (fault !== undefined) throw new MillraceError('CORRUPT_BATCH', { position: at, reason: fault })
    this.#baseOffset = baseOffsetOf(view, at)
    this.#baseTimestamp = baseTimestampOf(view, at)
    this.#maxTimestamp = maxTimestampOf(view, at)
    this.#isLogAppendTime = isLogAppendTime(view, at)
    this.#lastOffsetDelta = -1
    this.#offsetDeltaMax = view.getInt32(at + BATCH.lastOffsetDeltaAt)
    if ((attributesOf(view, at) & ATTRIBUTE.codecMask) === 0) {
      this.#bytes = region.bytes
      this.#recordEnd = at + BATCH.headerBytes
      this.#end = at + batchBytes(view, at)
    } else {
      this.#bytes = decompressRecords(region, at, maxDecompressedBytes)
      this.#end = this.#bytes.length
    }
    this.#buffer = this.#bytes.buffer
    this.#byteOffset = this.#bytes.byteOffset
    this.#remaining = recordCountOf(view, at)
    this.#isCut = false
    // With a base timestamp so far out every sum needs the check that only the other way makes.
    const isFar = Math.abs(this.#baseTimestamp) > SAFE_MAX - SHORT_DELTA_MAX
    this.#shortEnd = isFar ? -1 : this.#end - SHORT_FIELDS_BYTES
  }

  /**
   * Moves to the next record.
   * @returns false at the end, where the fields keep the last record
   * @throws CORRUPT_RECORD {position, reason}, UNSUPPORTED_FORMAT; the cursor stays where it is
   * Cost: about 10 ns.
   */
  next(): boolean {
    if (this.#remaining === 0) return this.#atEnd()
    const recordAt = this.#recordEnd
    if (recordAt > this.#shortEnd) return this.#nextAny()
    // Written out, for 10 ns a record: short varints in line; whatever is long or wrong goes the other way, which
    // finds the words for it. Only at the end is it known whether the fields were inside the record.
    const bytes = this.#bytes
    let at = recordAt
    let byte = bytes[at++] as number
    let length = byte
    if (byte >= 0x80) {
      byte = bytes[at++] as number
      if (byte >= 0x80) return this.#nextAny()
      length = (length & 0x7f) | (byte << 7)
    }
    const recordEnd = at + (length >>> 1)
    at++ // attributes, which records do not use
    byte = bytes[at++] as number
    let timestampDelta = byte
    if (byte >= 0x80) {
      byte = bytes[at++] as number
      timestampDelta = (timestampDelta & 0x7f) | ((byte & 0x7f) << 7)
      if (byte >= 0x80) {
        byte = bytes[at++] as number
        timestampDelta |= (byte & 0x7f) << 14
        if (byte >= 0x80) {
          byte = bytes[at++] as number
          if (byte >= 0x80) return this.#nextAny()
          timestampDelta |= byte << 21
        }
      }
    }
    byte = bytes[at++] as number
    let offsetDelta = byte
    if (byte >= 0x80) {
      byte = bytes[at++] as number
      offsetDelta = (offsetDelta & 0x7f) | ((byte & 0x7f) << 7)
      if (byte >= 0x80) {
        byte = bytes[at++] as number
        if (byte >= 0x80) return this.#nextAny()
        offsetDelta |= byte << 14
      }
    }
    byte = bytes[at++] as number
    let keyBytes = byte
    if (byte >= 0x80) {
      byte = bytes[at++] as number
      if (byte >= 0x80) return this.#nextAny()
      keyBytes = (keyBytes & 0x7f) | (byte << 7)
    }
    keyBytes = (keyBytes >>> 1) ^ -(keyBytes & 1)
    const keyAt = at
    if (keyBytes > 0) {
      at += keyBytes
      if (at + 2 > this.#end) return this.#nextAny()
    }
    byte = bytes[at++] as number
    let valueBytes = byte
    if (byte >= 0x80) {
      byte = bytes[at++] as number
      if (byte >= 0x80) return this.#nextAny()
      valueBytes = (valueBytes & 0x7f) | (byte << 7)
    }
    valueBytes = (valueBytes >>> 1) ^ -(valueBytes & 1)
    const valueAt = at
    if (valueBytes > 0) at += valueBytes
    // The header count is inside the record, so everything before it was as well.
    const headersAt = at + 1
    if (headersAt > recordEnd || recordEnd > this.#end) return this.#nextAny()
    const headersZigzag = bytes[at] as number // twice the count, and a header takes two bytes or more
    if (headersZigzag === 0) {
      if (headersAt !== recordEnd) return this.#nextAny()
    } else if (headersZigzag > recordEnd - headersAt || (headersZigzag & 0x81) !== 0) return this.#nextAny()
    offsetDelta = (offsetDelta >>> 1) ^ -(offsetDelta & 1)
    if (offsetDelta <= this.#lastOffsetDelta || offsetDelta > this.#offsetDeltaMax) return this.#nextAny()
    if ((length & 1) !== 0 || keyBytes < -1 || valueBytes < -1) return this.#nextAny()
    this.keyAt = keyAt
    this.keyBytes = keyBytes
    this.valueAt = valueAt
    this.valueBytes = valueBytes
    this.headerCount = headersZigzag >>> 1
    if (headersZigzag !== 0) this.headersAt = headersAt
    this.#moved(recordEnd, offsetDelta, (timestampDelta >>> 1) ^ -(timestampDelta & 1))
    return true
  }

  /** Reads any record at all, checking every step. */
  #nextAny(): boolean {
    const bytes = this.#bytes
    let at = this.#recordEnd
    const length = readVarint(bytes, at, this.#end)
    at = varintEnd(bytes, at, this.#end)
    if (length < 0 || length > this.#end - at) throw corrupt(this.#recordEnd, 'record length')
    const end = at + length
    at++ // attributes
    const timestampDelta = readVarlong(bytes, at, end)
    at = varintEnd(bytes, at, end, VARLONG_BYTES_MAX)
    const offsetDelta = readVarint(bytes, at, end)
    if (offsetDelta <= this.#lastOffsetDelta || offsetDelta > this.#offsetDeltaMax) throw corrupt(at, 'offset delta')
    at = varintEnd(bytes, at, end)
    const keyBytes = readVarint(bytes, at, end)
    const keyAt = varintEnd(bytes, at, end)
    if (keyBytes < -1 || keyBytes > end - keyAt) throw corrupt(at, 'key length')
    at = keyAt + Math.max(0, keyBytes)
    const valueBytes = readVarint(bytes, at, end)
    const valueAt = varintEnd(bytes, at, end)
    if (valueBytes < -1 || valueBytes > end - valueAt) throw corrupt(at, 'value length')
    at = valueAt + Math.max(0, valueBytes)
    const headerCount = readVarint(bytes, at, end)
    const headersAt = varintEnd(bytes, at, end)
    const headersBytes = end - headersAt
    const isCountPossible =
      headerCount === 0 ? headersBytes === 0 : headerCount * RECORD_HEADER_BYTES_MIN <= headersBytes
    if (headerCount < 0 || headerCount > RECORD_HEADERS_MAX || !isCountPossible) throw corrupt(at, 'header count')
    if (!Number.isSafeInteger(this.#baseTimestamp + timestampDelta)) {
      throw new MillraceError('UNSUPPORTED_FORMAT', { position: this.#recordEnd, reason: 'timestamp' })
    }
    this.keyAt = keyAt
    this.keyBytes = keyBytes
    this.valueAt = valueAt
    this.valueBytes = valueBytes
    this.headerCount = headerCount
    this.headersAt = headersAt
    this.#moved(end, offsetDelta, timestampDelta)
    return true
  }

  #moved(recordEnd: number, offsetDelta: number, timestampDelta: number): void {
    this.#recordEnd = recordEnd
    this.#lastOffsetDelta = offsetDelta
    this.#remaining--
    this.offset = this.#baseOffset + offsetDelta
    this.timestamp = this.#isLogAppendTime ? this.#maxTimestamp : this.#baseTimestamp + timestampDelta
  }

  #atEnd(): boolean {
    if (this.#recordEnd !== this.#end && !this.#isCut) throw corrupt(this.#recordEnd, 'bytes behind the last record')
    return this.#feed?.nextBatch(this) ?? false
  }

  /** Leaves out what follows the next `records` records of this batch. */
  cut(records: number): void {
    if (records >= this.#remaining) return
    this.#remaining = records
    this.#isCut = true
  }

  /** What positions of this cursor are positions in: the region's bytes, or the decompressed records. */
  get source(): Buffer {
    return this.#bytes
  }

  /** Position behind the current record; before the first `next` that of the first record. */
  get recordEnd(): number {
    return this.#recordEnd
  }

  /** The key of the current record: a view, or null. */
  key(): Uint8Array | null {
    return this.keyBytes < 0 ? null : new Uint8Array(this.#buffer, this.#byteOffset + this.keyAt, this.keyBytes)
  }

  /** The value of the current record: a view, or null. */
  value(): Uint8Array | null {
    return this.valueBytes < 0 ? null : new Uint8Array(this.#buffer, this.#byteOffset + this.valueAt, this.valueBytes)
  }

  /**
   * The headers of the current record; their values are views.
   * @throws CORRUPT_RECORD, as their content is not checked before
   */
  headers(): RecordHeader[] {
    if (this.headerCount === 0) return []
    return readHeaders(this.#bytes, this.headersAt, this.#recordEnd, this.headerCount)
  }

  /** Moves on, if need be, to the first record with offset >= `offset`; false, and at the end, when there is none. */
  seekOffset(offset: number): boolean {
    while (!(this.offset >= offset)) if (!this.next()) return false
    return true
  }

  /** Moves on, if need be, to the first record with timestamp >= `timestamp`; false, and at the end, when there is none. */
  seekTimestamp(timestamp: number): boolean {
    while (!(this.timestamp >= timestamp)) if (!this.next()) return false
    return true
  }
}

/** The records of the compressed batch at `at`, uncompressed; errors say where the batch is. */
function decompressRecords(region: Region, at: number, maxBytes: number): Buffer {
  const compressed = region.bytes.subarray(at + BATCH.headerBytes, at + batchBytes(region.view, at))
  try {
    return decompress(codecOf(region.view, at), compressed, maxBytes)
  } catch (error) {
    if (!isMillraceError(error)) throw error
    throw new MillraceError(error.code, { position: at, ...error.details }, error.cause)
  }
}

function corrupt(position: number, reason: string): MillraceError {
  return new MillraceError('CORRUPT_RECORD', { position, reason })
}

// V8 sizes a class by its first objects. When all of too few were collected before it decided, every later cursor of the
// thread would be a dictionary, and `next` fifteen times slower; so there are enough of them from the start.
for (let made = 0; made < 8; made++) new RecordCursor()
