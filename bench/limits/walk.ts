/**
 * Limits of reading: the headers and lengths of every record, and one view per record on its value, over batches that lie
 * in memory, by one thread. No bounds, no CRC, no offsets, no fetch. Frozen: no engine code.
 */
import type { Side } from '../harness/side.ts'
import { fillBatches, HEADER_BYTES } from './encode.ts'
import type { Scratch } from './scratch.ts'
import { makeValues } from './values.ts'

const RECORD_COUNT_AT = 57

/** What a walk adds up, so that no field can be left unread. */
export interface WalkSums {
  records: number
  valueBytes: number
  keyBytes: number
  timestampDeltas: number
  offsetDeltas: number
}

/** Reads length, attributes, timestamp delta, offset delta, key length and value length of all records in `[0, end)`. */
export function walkRecords(scratch: Scratch, end: number): WalkSums {
  const sums: WalkSums = { records: 0, valueBytes: 0, keyBytes: 0, timestampDeltas: 0, offsetDeltas: 0 }
  const { bytes, view } = scratch
  for (let batch = 0; batch < end; batch += 12 + view.getInt32(batch + 8)) {
    walkBatch(bytes, batch + HEADER_BYTES, view.getInt32(batch + RECORD_COUNT_AT), sums)
  }
  return sums
}

/** The varints are read in place, with the position in a local variable: as a function each costs a third more. */
function walkBatch(bytes: Uint8Array, at: number, count: number, sums: WalkSums): void {
  let valueBytes = 0
  let keyBytes = 0
  let timestampDeltas = 0
  let offsetDeltas = 0
  for (let i = 0; i < count; i++) {
    let byte = bytes[at++] as number
    let raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    const next = at + ((raw >>> 1) ^ -(raw & 1))
    at += 1 // attributes
    byte = bytes[at++] as number
    raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    timestampDeltas += (raw >>> 1) ^ -(raw & 1)
    byte = bytes[at++] as number
    raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    offsetDeltas += (raw >>> 1) ^ -(raw & 1)
    byte = bytes[at++] as number
    raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    const key = (raw >>> 1) ^ -(raw & 1)
    keyBytes += key
    if (key > 0) at += key
    byte = bytes[at++] as number
    raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    valueBytes += (raw >>> 1) ^ -(raw & 1)
    at = next
  }
  sums.records += count
  sums.valueBytes += valueBytes
  sums.keyBytes += keyBytes
  sums.timestampDeltas += timestampDeltas
  sums.offsetDeltas += offsetDeltas
}

/** Views that are kept a while, as a reader's would be: without that the compiler need not make them. A power of two. */
export const KEPT = 1024

/** One view per record on its value; the last views are kept in `kept`. Returns the number of records. */
export function viewRecords(scratch: Scratch, end: number, kept: Uint8Array[]): number {
  const { view } = scratch
  const bytes = new Uint8Array(view.buffer, view.byteOffset, end) // its subarray is faster than a Buffer's
  let records = 0
  for (let batch = 0; batch < end; batch += 12 + view.getInt32(batch + 8)) {
    const count = view.getInt32(batch + RECORD_COUNT_AT)
    viewBatch(bytes, batch + HEADER_BYTES, count, kept)
    records += count
  }
  return records
}

function viewBatch(bytes: Uint8Array, at: number, count: number, kept: Uint8Array[]): void {
  for (let i = 0; i < count; i++) {
    let byte = bytes[at++] as number
    let raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    const next = at + ((raw >>> 1) ^ -(raw & 1))
    at += 1 // attributes
    while ((bytes[at++] as number) > 0x7f); // timestamp delta
    while ((bytes[at++] as number) > 0x7f); // offset delta
    byte = bytes[at++] as number
    raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    const key = (raw >>> 1) ^ -(raw & 1)
    if (key > 0) at += key
    byte = bytes[at++] as number
    raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    const valueBytes = (raw >>> 1) ^ -(raw & 1)
    kept[i & (KEPT - 1)] = bytes.subarray(at, at + valueBytes)
    at = next
  }
}

/** Rounds over `roundBytes` of batches of 64 KiB; the work is records. */
export function walkLimit(scratch: Scratch, valueBytes: number, roundBytes: number, mode: 'headers' | 'views'): Side {
  const { records, end } = fillBatches(scratch, makeValues(valueBytes), roundBytes)
  const kept: Uint8Array[] = new Array(KEPT).fill(scratch.bytes.subarray(0, 0))
  return {
    work: records,
    round() {
      const start = performance.now()
      const walked = mode === 'headers' ? walkRecords(scratch, end).records : viewRecords(scratch, end, kept)
      const ms = performance.now() - start
      if (walked !== records) throw new Error(`walked ${walked} records of ${records}`)
      return ms
    },
  }
}
