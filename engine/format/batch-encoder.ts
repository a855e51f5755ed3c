/**
 * Encodes records as one batch of version 2, straight into memory that is lent for it, which then belongs to the
 * encoder until `finish`. One thread at a time. Nothing is allocated per record; whatever does not fit is refused before a
 * byte of it is written; and the CRC is computed once, over the finished batch.
 *
 *     record: length varint | attributes i8 = 0 | timestamp delta varlong | offset delta varint
 *             | key length varint (-1 null), key | value length varint (-1 null), value | header count varint, headers
 *     header: key length varint, key in UTF-8 | value length varint (-1 null), value
 */
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { RECORD_HEADERS_MAX, SAFE_MAX, SEGMENT_BYTES_MAX } from '../base/limits.ts'
import { ATTRIBUTE, BATCH, BATCH_MAGIC, codecNumber, stampCrc } from './batch-layout.ts'
import { type Codec, compress } from './compression.ts'
import { headersBytes, type RecordHeader, writeHeaders } from './record-headers.ts'
import { Region, writeI64 } from './region.ts'
import {
  unsignedVarintBytes,
  VARINT_BYTES_MAX,
  VARLONG_BYTES_MAX,
  varintBytes,
  varlongBytes,
  writeUnsignedVarint,
  writeVarint,
  writeVarlong,
} from './varint.ts'

/** A record to encode. */
export interface RecordInput {
  /** Milliseconds since the epoch, or -1 for none. */
  readonly timestamp: number
  readonly key?: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers?: readonly RecordHeader[]
}

export interface BatchOptions {
  /** Default `none`. A batch that compression would not make smaller stays uncompressed. */
  readonly codec?: Codec
  /** Defaults -1: neither idempotent nor transactional. */
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly isTransactional?: boolean
  readonly isControl?: boolean
  /** Says that the base timestamp given to `begin` is a delete horizon (KIP-534). */
  readonly hasDeleteHorizon?: boolean
}

const NO_HEADERS: readonly RecordHeader[] = []
const OFFSET_DELTA_MAX = 0x7fff_ffff
/** Twice such a delta is still a small integer. */
const SHORT_OFFSET_DELTA_END = 0x2000_0000
/** Below this a loop over the bytes is faster than the call that copies them. */
const LOOP_BYTES_MAX = 8

export class BatchEncoder {
  #region = new Region(new ArrayBuffer(0))
  #bytes = this.#region.bytes
  #batchAt = 0
  #end = 0
  /** Where the next record goes. */
  #at = 0
  #recordCount = 0
  #nextOffsetDelta = 0
  // Not small integers, so that the fields hold doubles from the start and the code is not compiled twice.
  #baseTimestamp = Number.NaN
  #maxTimestamp = Number.NaN

  /** Records appended since `begin`. */
  get recordCount(): number {
    return this.#recordCount
  }

  /** Bytes of the batch so far, uncompressed, header included. */
  get bytesUsed(): number {
    return this.#at - this.#batchAt
  }

  /**
   * Begins a batch at `at`; nothing is written at or beyond `end`, which lies inside the region.
   * @param baseTimestamp what timestamps are relative to, default: the first record's
   */
  begin(region: Region, at: number, end: number, baseTimestamp = Number.NaN): void {
    invariant(at >= 0 && end <= region.length && end - at <= SEGMENT_BYTES_MAX, 'a batch is begun inside its region')
    invariant(!(baseTimestamp < -1 || baseTimestamp > SAFE_MAX), 'a base timestamp is a timestamp')
    this.#region = region
    this.#bytes = region.bytes
    this.#batchAt = at
    this.#end = end
    this.#at = at + BATCH.headerBytes
    this.#recordCount = 0
    this.#nextOffsetDelta = 0
    this.#baseTimestamp = baseTimestamp
    this.#maxTimestamp = -1
  }

  /**
   * Appends a record. Its bytes are copied before this returns.
   * @param timestamp milliseconds since the epoch, or -1 for none
   * @returns false when it does not fit; then nothing was written
   * @throws INVALID_ARGUMENT for a timestamp that is neither, or too many headers
   */
  append(
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[] = NO_HEADERS,
  ): boolean {
    const timestampDelta = timestamp - this.#baseTimestamp
    // NaN is no whole number either, so the first record, whose base timestamp is not set yet, takes the other way.
    const isDeltaShort = (timestampDelta | 0) === timestampDelta && this.#nextOffsetDelta < SHORT_OFFSET_DELTA_END
    if (!isDeltaShort || timestamp < -1 || timestamp > SAFE_MAX || headers.length !== 0) {
      return this.#appendAny(timestamp, key, value, headers)
    }
    const timestampZigzag = ((timestampDelta << 1) ^ (timestampDelta >> 31)) >>> 0
    const offsetZigzag = this.#nextOffsetDelta * 2
    const keyBytes = key === null ? 0 : key.length
    const keyZigzag = key === null ? 1 : keyBytes * 2
    const valueBytes = value === null ? 0 : value.length
    const valueZigzag = value === null ? 1 : valueBytes * 2
    const contentBytes = // attributes and header count take a byte each
      2 +
      unsignedVarintBytes(timestampZigzag) +
      unsignedVarintBytes(offsetZigzag) +
      unsignedVarintBytes(keyZigzag) +
      keyBytes +
      unsignedVarintBytes(valueZigzag) +
      valueBytes
    const lengthZigzag = contentBytes * 2
    let at = this.#at
    if (at + unsignedVarintBytes(lengthZigzag) + contentBytes > this.#end) return false

    const bytes = this.#bytes
    at = writeUnsignedVarint(bytes, at, lengthZigzag)
    bytes[at++] = 0
    at = writeUnsignedVarint(bytes, at, timestampZigzag)
    at = writeUnsignedVarint(bytes, at, offsetZigzag)
    at = writeUnsignedVarint(bytes, at, keyZigzag)
    if (key !== null) {
      copyBytes(bytes, at, key)
      at += keyBytes
    }
    at = writeUnsignedVarint(bytes, at, valueZigzag)
    if (value !== null) {
      copyBytes(bytes, at, value)
      at += valueBytes
    }
    bytes[at++] = 0
    this.#appended(at, timestamp)
    return true
  }

  /** Any record at all: the first of a batch, one with headers, one whose timestamp is far from the base. */
  #appendAny(
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[],
  ): boolean {
    if (!Number.isSafeInteger(timestamp) || timestamp < -1) throw invalid('timestamp', timestamp)
    if (headers.length > RECORD_HEADERS_MAX) throw invalid('headers', headers.length)
    if (this.#nextOffsetDelta > OFFSET_DELTA_MAX) return false
    const baseTimestamp = Number.isNaN(this.#baseTimestamp) ? timestamp : this.#baseTimestamp
    const timestampDelta = timestamp - baseTimestamp
    if (!Number.isSafeInteger(timestampDelta)) throw invalid('timestamp', timestamp)
    const keyBytes = key === null ? 0 : key.byteLength
    const valueBytes = value === null ? 0 : value.byteLength
    const contentBytes =
      1 +
      varlongBytes(timestampDelta) +
      varintBytes(this.#nextOffsetDelta) +
      varintBytes(key === null ? -1 : keyBytes) +
      keyBytes +
      varintBytes(value === null ? -1 : valueBytes) +
      valueBytes +
      varintBytes(headers.length) +
      headersBytes(headers)
    let at = this.#at
    if (at + varintBytes(contentBytes) + contentBytes > this.#end) return false

    const bytes = this.#bytes
    at = writeVarint(bytes, at, contentBytes)
    bytes[at++] = 0
    at = writeVarlong(bytes, at, timestampDelta)
    at = writeVarint(bytes, at, this.#nextOffsetDelta)
    at = writeVarint(bytes, at, key === null ? -1 : keyBytes)
    if (key !== null) bytes.set(key, at)
    at = writeVarint(bytes, at + keyBytes, value === null ? -1 : valueBytes)
    if (value !== null) bytes.set(value, at)
    at = writeVarint(bytes, at + valueBytes, headers.length)
    at = writeHeaders(bytes, at, headers)
    this.#baseTimestamp = baseTimestamp
    this.#appended(at, timestamp)
    return true
  }

  #appended(at: number, timestamp: number): void {
    this.#at = at
    this.#recordCount++
    this.#nextOffsetDelta++
    if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
  }

  /** Leaves out `count` offsets, as compaction does; before `finish` it makes the batch end with removed records. */
  skipOffsets(count: number): void {
    const isPossible = count >= 0 && this.#nextOffsetDelta + count <= OFFSET_DELTA_MAX + 1
    invariant(isPossible, 'offset deltas are signed 32-bit and increase')
    this.#nextOffsetDelta += count
  }

  /**
   * Completes the batch: compresses in place, writes the header with base offset 0 and leader epoch -1, and the CRC.
   * @returns bytes of the whole batch
   */
  finish(options: BatchOptions = {}): number {
    const { view } = this.#region
    const at = this.#batchAt
    invariant(this.#nextOffsetDelta > 0, 'a batch has at least one offset')
    invariant(this.#at <= this.#end, 'a batch has room for its header')
    let attributes = 0
    if (options.codec !== undefined && options.codec !== 'none' && this.#compress(options.codec)) {
      attributes |= codecNumber(options.codec)
    }
    if (options.isTransactional === true) attributes |= ATTRIBUTE.transactional
    if (options.isControl === true) attributes |= ATTRIBUTE.control
    if (options.hasDeleteHorizon === true) attributes |= ATTRIBUTE.deleteHorizon
    writeI64(view, at + BATCH.baseOffsetAt, 0)
    view.setInt32(at + BATCH.batchLengthAt, this.bytesUsed - BATCH.overheadBytes)
    view.setInt32(at + BATCH.partitionLeaderEpochAt, -1)
    view.setInt8(at + BATCH.magicAt, BATCH_MAGIC)
    view.setInt16(at + BATCH.attributesAt, attributes)
    view.setInt32(at + BATCH.lastOffsetDeltaAt, this.#nextOffsetDelta - 1)
    writeI64(view, at + BATCH.baseTimestampAt, Number.isNaN(this.#baseTimestamp) ? -1 : this.#baseTimestamp)
    writeI64(view, at + BATCH.maxTimestampAt, this.#maxTimestamp)
    writeI64(view, at + BATCH.producerIdAt, options.producerId ?? -1)
    view.setInt16(at + BATCH.producerEpochAt, options.producerEpoch ?? -1)
    view.setInt32(at + BATCH.baseSequenceAt, options.baseSequence ?? -1)
    view.setInt32(at + BATCH.recordCountAt, this.#recordCount)
    stampCrc(this.#region, at)
    return this.bytesUsed
  }

  /** Replaces the records by their compressed form if that is smaller. */
  #compress(codec: Codec): boolean {
    const recordsAt = this.#batchAt + BATCH.headerBytes
    const compressed = compress(codec, this.#bytes.subarray(recordsAt, this.#at))
    if (compressed.byteLength >= this.#at - recordsAt) return false
    this.#bytes.set(compressed, recordsAt)
    this.#at = recordsAt + compressed.byteLength
    return true
  }
}

/**
 * Upper bound of what `append` writes for a record, whatever its place in the batch.
 * @param keyBytes length of the key, 0 for null; `valueBytes` likewise
 */
export function recordBytesMax(
  keyBytes: number,
  valueBytes: number,
  headers: readonly RecordHeader[] = NO_HEADERS,
): number {
  const lengths = VARINT_BYTES_MAX * 5 // record, offset delta, key, value, header count
  return lengths + 1 + VARLONG_BYTES_MAX + keyBytes + valueBytes + headersBytes(headers)
}

let makeEncodedBatch: (bytes: Buffer, recordCount: number) => EncodedBatch

/** A sound batch. Only `encodeBatch` can make one, so its CRC need not be checked again. */
export class EncodedBatch {
  static {
    makeEncodedBatch = (bytes, recordCount) => new EncodedBatch(bytes, recordCount)
  }

  /** The whole batch, with base offset 0 and leader epoch -1. */
  readonly bytes: Buffer
  readonly recordCount: number

  private constructor(bytes: Buffer, recordCount: number) {
    this.bytes = bytes
    this.recordCount = recordCount
  }
}

/**
 * Encodes records into a batch in memory of its own, for when there is no memory to encode into.
 * @throws INVALID_ARGUMENT for no records or a bad timestamp, RECORD_TOO_LARGE beyond 2^31 bytes
 */
export function encodeBatch(records: readonly RecordInput[], options: BatchOptions = {}): EncodedBatch {
  if (records.length === 0) throw invalid('records', 0)
  let bytesMax = BATCH.headerBytes
  for (const { key, value, headers } of records) {
    bytesMax += recordBytesMax(key?.byteLength ?? 0, value?.byteLength ?? 0, headers)
  }
  if (bytesMax > SEGMENT_BYTES_MAX)
    throw new MillraceError('RECORD_TOO_LARGE', { bytesMax, limitBytes: SEGMENT_BYTES_MAX })
  const region = new Region(new ArrayBuffer(bytesMax))
  const encoder = new BatchEncoder()
  encoder.begin(region, 0, bytesMax)
  for (const { timestamp, key, value, headers } of records) {
    const fits = encoder.append(timestamp, key ?? null, value, headers)
    invariant(fits, 'recordBytesMax is an upper bound')
  }
  return makeEncodedBatch(region.bytes.subarray(0, encoder.finish(options)), records.length)
}

function copyBytes(to: Buffer, at: number, from: Uint8Array): void {
  const length = from.length
  if (length > LOOP_BYTES_MAX) to.set(from, at)
  else for (let i = 0; i < length; i++) to[at + i] = from[i] as number
}

function invalid(argument: string, value: number): MillraceError {
  return new MillraceError('INVALID_ARGUMENT', { argument, value })
}
