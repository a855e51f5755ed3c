/**
 * Kafka's record batch, version 2 (magic 2), as bytes: where its fields are, reading and stamping them, and the check
 * that a stretch of bytes is a whole and sound batch. Pure functions; any thread. All numbers are big-endian.
 *
 *      0  base offset            i64 ┐
 *      8  batch length           i32 │ not covered by the CRC: bytes behind this field
 *     12  partition leader epoch i32 │
 *     16  magic                  i8  │
 *     17  CRC-32C                u32 ┘ of everything from the attributes to the end of the batch
 *     21  attributes             i16   bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
 *     23  last offset delta      i32
 *     27  base timestamp         i64   records hold deltas to it
 *     35  max timestamp          i64   with LogAppendTime every record's timestamp
 *     43  producer id            i64   -1 none
 *     51  producer epoch         i16
 *     53  base sequence          i32
 *     57  record count           i32
 *     61  records, compressed as one when there is a codec
 *
 * The CRC starts at the attributes so that a broker can stamp base offset and leader epoch without another checksum. Damage
 * to those two is therefore not seen here: the log finds it, as offsets continue and leader epochs never decrease.
 * With the delete-horizon bit (KIP-534) the base timestamp is the time from which tombstones may go; the deltas of the
 * records are still relative to it. Compaction leaves batches whose offsets have gaps, or that have no records at all.
 */
import { MillraceError } from '../base/errors.ts'
import { SAFE_MAX } from '../base/limits.ts'
import type { Codec } from './compression.ts'
import { crc32c } from './crc32c.ts'
import { type Region, readI64, readI64Rough, writeI64 } from './region.ts'

export const BATCH = {
  baseOffsetAt: 0,
  batchLengthAt: 8,
  partitionLeaderEpochAt: 12,
  magicAt: 16,
  crcAt: 17,
  attributesAt: 21,
  lastOffsetDeltaAt: 23,
  baseTimestampAt: 27,
  maxTimestampAt: 35,
  producerIdAt: 43,
  producerEpochAt: 51,
  baseSequenceAt: 53,
  recordCountAt: 57,
  headerBytes: 61,
  overheadBytes: 12, // base offset and batch length, which the batch length does not count
} as const

export const BATCH_MAGIC = 2

/** Bits of the attributes. */
export const ATTRIBUTE = {
  codecMask: 0x07,
  logAppendTime: 0x08,
  transactional: 0x10,
  control: 0x20,
  deleteHorizon: 0x40,
} as const

/** Length, attributes, timestamp delta, offset delta, key length, value length and header count, a byte each. */
export const RECORD_BYTES_MIN = 7

/** A codec's number in the attributes is its place here. */
export const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/** Bytes of the whole batch at `at`. 12 or less means no batch: zeros, the end of the log. */
export function batchBytes(view: DataView, at: number): number {
  return BATCH.overheadBytes + view.getInt32(at + BATCH.batchLengthAt)
}

/** @throws UNSUPPORTED_FORMAT beyond 2^53, as all functions here do that read 64 bits */
export function baseOffsetOf(view: DataView, at: number): number {
  return readI64(view, at)
}

/** Inclusive. It may be the offset of a record that compaction removed. */
export function lastOffsetOf(view: DataView, at: number): number {
  return readI64(view, at) + view.getInt32(at + BATCH.lastOffsetDeltaAt)
}

export function leaderEpochOf(view: DataView, at: number): number {
  return view.getInt32(at + BATCH.partitionLeaderEpochAt)
}

/** What the timestamp deltas of the records are relative to; with the delete-horizon bit also that horizon. */
export function baseTimestampOf(view: DataView, at: number): number {
  return readI64(view, at + BATCH.baseTimestampAt)
}

/** Milliseconds since the epoch, -1 when the records have none. */
export function maxTimestampOf(view: DataView, at: number): number {
  return readI64(view, at + BATCH.maxTimestampAt)
}

export function recordCountOf(view: DataView, at: number): number {
  return view.getInt32(at + BATCH.recordCountAt)
}

/** -1 when the producer is neither idempotent nor transactional. */
export function producerIdOf(view: DataView, at: number): number {
  return readI64(view, at + BATCH.producerIdAt)
}

export function producerEpochOf(view: DataView, at: number): number {
  return view.getInt16(at + BATCH.producerEpochAt)
}

export function baseSequenceOf(view: DataView, at: number): number {
  return view.getInt32(at + BATCH.baseSequenceAt)
}

export function attributesOf(view: DataView, at: number): number {
  return view.getInt16(at + BATCH.attributesAt)
}

/** Control batches hold transaction markers, which consumers skip. */
export function isControlBatch(view: DataView, at: number): boolean {
  return (attributesOf(view, at) & ATTRIBUTE.control) !== 0
}

export function isTransactional(view: DataView, at: number): boolean {
  return (attributesOf(view, at) & ATTRIBUTE.transactional) !== 0
}

export function isLogAppendTime(view: DataView, at: number): boolean {
  return (attributesOf(view, at) & ATTRIBUTE.logAppendTime) !== 0
}

export function hasDeleteHorizon(view: DataView, at: number): boolean {
  return (attributesOf(view, at) & ATTRIBUTE.deleteHorizon) !== 0
}

/** @throws UNSUPPORTED_COMPRESSION for a number that is no codec's */
export function codecOf(view: DataView, at: number): Codec {
  const number = attributesOf(view, at) & ATTRIBUTE.codecMask
  const codec = CODECS[number]
  if (codec === undefined) throw new MillraceError('UNSUPPORTED_COMPRESSION', { position: at, codec: number })
  return codec
}

/** The codec's number in the attributes. */
export function codecNumber(codec: Codec): number {
  const number = CODECS.indexOf(codec)
  if (number === -1) throw new MillraceError('UNSUPPORTED_COMPRESSION', { codec: String(codec) })
  return number
}

/** Sets the fields before the CRC that the leader decides, so the CRC stays as it is. */
export function stampBatch(view: DataView, at: number, baseOffset: number, leaderEpoch: number): void {
  writeI64(view, at, baseOffset)
  view.setInt32(at + BATCH.partitionLeaderEpochAt, leaderEpoch)
}

/** Makes `timestampMs` the timestamp of every record of a sound batch. Cost: one CRC over the batch. */
export function stampLogAppendTime(region: Region, at: number, timestampMs: number): void {
  const { view } = region
  view.setInt16(at + BATCH.attributesAt, attributesOf(view, at) | ATTRIBUTE.logAppendTime)
  writeI64(view, at + BATCH.maxTimestampAt, timestampMs)
  stampCrc(region, at)
}

/** Sets what the CRC covers of an idempotent producer; `stampCrc` has to follow. */
export function stampProducer(view: DataView, at: number, id: number, epoch: number, baseSequence: number): void {
  writeI64(view, at + BATCH.producerIdAt, id)
  view.setInt16(at + BATCH.producerEpochAt, epoch)
  view.setInt32(at + BATCH.baseSequenceAt, baseSequence)
}

/** Computes and writes the CRC of the batch at `at`, all other fields of which are set. */
export function stampCrc(region: Region, at: number): void {
  region.view.setUint32(at + BATCH.crcAt, batchCrc(region, at))
}

function batchCrc(region: Region, at: number): number {
  return crc32c(region.bytes, at + BATCH.attributesAt, at + batchBytes(region.view, at))
}

/**
 * Why bytes are not a batch, in the order of the checks. `zero`: the length is 0, as behind the end of a log. `short`: the
 * batch does not end before `end`. `magic`: another version of the format. `length`: too small for a header.
 */
export type BatchFault =
  | 'zero'
  | 'short'
  | 'magic'
  | 'length'
  | 'crc'
  | 'attributes'
  | 'offset'
  | 'count'
  | 'timestamp'
  | 'producer'

/**
 * Checks the bytes at `at` as a batch that ends at or before `end`. The records inside are not decoded.
 * @returns what is wrong first, `undefined` for a whole and sound batch
 * Never throws and never reads outside `[at, end)`, which must lie inside the region. Cost: one CRC over the batch.
 */
export function checkBatch(region: Region, at: number, end: number, checkCrc = true): BatchFault | undefined {
  const { view } = region
  const room = end - at
  if (room < BATCH.overheadBytes) return 'short'
  const batchLength = view.getInt32(at + BATCH.batchLengthAt)
  if (batchLength === 0) return 'zero'
  if (room <= BATCH.magicAt) return 'short'
  if (view.getInt8(at + BATCH.magicAt) !== BATCH_MAGIC) return 'magic'
  if (batchLength < BATCH.headerBytes - BATCH.overheadBytes) return 'length'
  if (batchLength > room - BATCH.overheadBytes) return 'short'
  if (checkCrc && batchCrc(region, at) !== view.getUint32(at + BATCH.crcAt)) return 'crc'
  return headerFault(view, at, batchLength)
}

/** What the CRC cannot see: a writer that computed it over fields that contradict each other or that we do not serve. */
function headerFault(view: DataView, at: number, batchLength: number): BatchFault | undefined {
  const codec = attributesOf(view, at) & ATTRIBUTE.codecMask
  if (codec >= CODECS.length) return 'attributes'
  const baseOffset = readI64Rough(view, at)
  const lastOffsetDelta = view.getInt32(at + BATCH.lastOffsetDeltaAt)
  if (baseOffset < 0 || lastOffsetDelta < 0 || baseOffset + lastOffsetDelta > SAFE_MAX) return 'offset'
  const count = view.getInt32(at + BATCH.recordCountAt)
  // Compaction leaves fewer records than offsets. More cannot be, and each takes its bytes unless it is compressed.
  if (count < 0 || count > lastOffsetDelta + 1) return 'count'
  const recordsBytes = batchLength + BATCH.overheadBytes - BATCH.headerBytes
  if (codec === 0 && count * RECORD_BYTES_MIN > recordsBytes) return 'count'
  if (Math.abs(readI64Rough(view, at + BATCH.baseTimestampAt)) > SAFE_MAX) return 'timestamp'
  if (Math.abs(readI64Rough(view, at + BATCH.maxTimestampAt)) > SAFE_MAX) return 'timestamp'
  if (Math.abs(readI64Rough(view, at + BATCH.producerIdAt)) > SAFE_MAX) return 'producer'
  return undefined
}
