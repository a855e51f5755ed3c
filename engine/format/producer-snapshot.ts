/**
 * Kafka's `<offset>.snapshot` file: what is known of the producers that wrote below that offset, so that recovery need not
 * read the whole log for it. Pure functions over bytes; any thread. All numbers are big-endian.
 *
 *      0  version       i16   1
 *      2  CRC-32C       u32   of everything behind it
 *      6  entries       i32
 *     10  per entry, 46 bytes:
 *          0  producer id                    i64
 *          8  producer epoch                 i16
 *         10  last sequence                  i32   -1 when no batch of this epoch is known
 *         14  last offset                    i64   -1 likewise
 *         22  offset delta                   i32   of the batch: last offset less base offset
 *         26  timestamp                      i64   the batch's largest
 *         34  coordinator epoch              i32   of the last transaction marker, -1 for none
 *         38  first offset of the transaction i64  -1 when none is open
 *
 * Kafka writes one entry a producer, its last batch. Of several entries for one producer its reader keeps the last, so up to
 * five batches of a producer are written here one after the other, oldest first: Kafka finds what it would have written, and
 * this reader finds what it needs to recognise a batch that is sent again. (KIP-98; Kafka 4.4, `ProducerSnapshot.json`.)
 */
import { SAFE_MAX } from '../base/limits.ts'
import { crc32c } from './crc32c.ts'
import { Region, readI64Rough, writeI64 } from './region.ts'

export const PRODUCER_SNAPSHOT = {
  versionAt: 0,
  crcAt: 2,
  entryCountAt: 6,
  headerBytes: 10,
} as const

export const PRODUCER_ENTRY = {
  producerIdAt: 0,
  producerEpochAt: 8,
  lastSequenceAt: 10,
  lastOffsetAt: 14,
  offsetDeltaAt: 22,
  timestampAt: 26,
  coordinatorEpochAt: 34,
  transactionFirstOffsetAt: 38,
  sizeBytes: 46,
} as const

export const PRODUCER_SNAPSHOT_VERSION = 1

/** One batch of a producer. */
export interface ProducerSnapshotEntry {
  readonly producerId: number
  readonly producerEpoch: number
  readonly lastSequence: number
  readonly lastOffset: number
  readonly offsetDelta: number
  readonly timestamp: number
  readonly coordinatorEpoch: number
  readonly transactionFirstOffset: number
}

export function encodeProducerSnapshot(entries: readonly ProducerSnapshotEntry[]): Buffer {
  const { view, bytes } = new Region(
    new ArrayBuffer(PRODUCER_SNAPSHOT.headerBytes + entries.length * PRODUCER_ENTRY.sizeBytes),
  )
  view.setInt16(PRODUCER_SNAPSHOT.versionAt, PRODUCER_SNAPSHOT_VERSION)
  view.setInt32(PRODUCER_SNAPSHOT.entryCountAt, entries.length)
  let at: number = PRODUCER_SNAPSHOT.headerBytes
  for (const entry of entries) {
    writeI64(view, at + PRODUCER_ENTRY.producerIdAt, entry.producerId)
    view.setInt16(at + PRODUCER_ENTRY.producerEpochAt, entry.producerEpoch)
    view.setInt32(at + PRODUCER_ENTRY.lastSequenceAt, entry.lastSequence)
    writeI64(view, at + PRODUCER_ENTRY.lastOffsetAt, entry.lastOffset)
    view.setInt32(at + PRODUCER_ENTRY.offsetDeltaAt, entry.offsetDelta)
    writeI64(view, at + PRODUCER_ENTRY.timestampAt, entry.timestamp)
    view.setInt32(at + PRODUCER_ENTRY.coordinatorEpochAt, entry.coordinatorEpoch)
    writeI64(view, at + PRODUCER_ENTRY.transactionFirstOffsetAt, entry.transactionFirstOffset)
    at += PRODUCER_ENTRY.sizeBytes
  }
  view.setUint32(PRODUCER_SNAPSHOT.crcAt, crc32c(bytes, PRODUCER_SNAPSHOT.entryCountAt, bytes.length))
  return bytes
}

/** The entries, or `undefined` when the bytes are damaged in any way, of another version, or beyond 2^53. Never throws. */
export function decodeProducerSnapshot(bytes: Uint8Array): ProducerSnapshotEntry[] | undefined {
  const { view, bytes: buffer, length } = Region.of(bytes)
  if (length < PRODUCER_SNAPSHOT.headerBytes) return undefined
  if (view.getInt16(PRODUCER_SNAPSHOT.versionAt) !== PRODUCER_SNAPSHOT_VERSION) return undefined
  if (view.getUint32(PRODUCER_SNAPSHOT.crcAt) !== crc32c(buffer, PRODUCER_SNAPSHOT.entryCountAt, length))
    return undefined
  const count = view.getInt32(PRODUCER_SNAPSHOT.entryCountAt)
  if (length !== PRODUCER_SNAPSHOT.headerBytes + count * PRODUCER_ENTRY.sizeBytes) return undefined
  const entries: ProducerSnapshotEntry[] = []
  for (let at: number = PRODUCER_SNAPSHOT.headerBytes; at < length; at += PRODUCER_ENTRY.sizeBytes) {
    const entry = decodeEntry(view, at)
    if (entry === undefined) return undefined
    entries.push(entry)
  }
  return entries
}

function decodeEntry(view: DataView, at: number): ProducerSnapshotEntry | undefined {
  const entry = {
    producerId: readI64Rough(view, at + PRODUCER_ENTRY.producerIdAt),
    producerEpoch: view.getInt16(at + PRODUCER_ENTRY.producerEpochAt),
    lastSequence: view.getInt32(at + PRODUCER_ENTRY.lastSequenceAt),
    lastOffset: readI64Rough(view, at + PRODUCER_ENTRY.lastOffsetAt),
    offsetDelta: view.getInt32(at + PRODUCER_ENTRY.offsetDeltaAt),
    timestamp: readI64Rough(view, at + PRODUCER_ENTRY.timestampAt),
    coordinatorEpoch: view.getInt32(at + PRODUCER_ENTRY.coordinatorEpochAt),
    transactionFirstOffset: readI64Rough(view, at + PRODUCER_ENTRY.transactionFirstOffsetAt),
  }
  const { producerId, lastOffset, timestamp, transactionFirstOffset } = entry
  const isSafe = [producerId, lastOffset, timestamp, transactionFirstOffset].every(value => Math.abs(value) <= SAFE_MAX)
  return isSafe && producerId >= 0 ? entry : undefined
}
