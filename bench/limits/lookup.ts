/**
 * Limit of a lookup: a binary search over as many 8-byte index entries as there are batches, then a walk over the record
 * headers of one batch up to the record, half a batch on average. One thread, random targets over all of the log's bytes,
 * which lie in a mapping of the same size. Frozen: no engine code.
 */
import type { Side } from '../harness/side.ts'
import { fillBatches, HEADER_BYTES } from './encode.ts'
import type { Scratch } from './scratch.ts'
import { makeValues } from './values.ts'

/** u32 offset, u32 position, big-endian, one entry a batch. */
const ENTRY_BYTES = 8
const RECORD_COUNT_AT = 57

export interface LookupLog {
  readonly scratch: Scratch
  readonly index: DataView
  readonly entries: number
  readonly records: number
}

/** Fills the mapping with batches of `batchBytes` and indexes every one. */
export function makeLookupLog(scratch: Scratch, valueBytes: number, batchBytes: number, bytes: number): LookupLog {
  const { batches, records, end } = fillBatches(scratch, makeValues(valueBytes), bytes, batchBytes)
  const index = new DataView(new ArrayBuffer(batches * ENTRY_BYTES))
  let offset = 0
  let entry = 0
  for (let at = 0; at < end; at += 12 + scratch.view.getInt32(at + 8)) {
    index.setUint32(entry * ENTRY_BYTES, offset)
    index.setUint32(entry * ENTRY_BYTES + 4, at)
    offset += scratch.view.getInt32(at + RECORD_COUNT_AT)
    entry += 1
  }
  return { scratch, index, entries: entry, records }
}

/** Position of the value of the record at `offset`; -1 when there is none. */
export function findRecord(log: LookupLog, offset: number): number {
  const { index, scratch } = log
  let low = 0
  let high = log.entries - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (index.getUint32(middle * ENTRY_BYTES) <= offset) low = middle
    else high = middle - 1
  }
  const batch = index.getUint32(low * ENTRY_BYTES + 4)
  const delta = offset - index.getUint32(low * ENTRY_BYTES)
  return findInBatch(scratch.bytes, batch + HEADER_BYTES, scratch.view.getInt32(batch + RECORD_COUNT_AT), delta)
}

function findInBatch(bytes: Uint8Array, at: number, count: number, target: number): number {
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
    byte = bytes[at++] as number
    raw = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    if (raw >>> 1 >= target) return valueAt(bytes, at)
    at = next
  }
  return -1
}

/** From the key length on. */
function valueAt(bytes: Uint8Array, at: number): number {
  let byte = bytes[at++] as number
  let raw = byte & 0x7f
  for (let shift = 7; byte > 0x7f; shift += 7) {
    byte = bytes[at++] as number
    raw |= (byte & 0x7f) << shift
  }
  if ((raw & 1) === 0) at += raw >>> 1
  while ((bytes[at++] as number) > 0x7f); // value length
  return at
}

/** Random record numbers below `records`, the same in every run. */
export function randomTargets(records: number, count: number): Float64Array {
  const targets = new Float64Array(count)
  let state = 0x2545_f491
  for (let i = 0; i < count; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    targets[i] = Math.floor(((state >>> 0) / 0x1_0000_0000) * records)
  }
  return targets
}

/** Rounds of `lookups` random ones; the work is lookups. */
export function lookupLimit(log: LookupLog, lookups: number): Side {
  const targets = randomTargets(log.records, lookups)
  return {
    work: lookups,
    round() {
      let found = 0
      const start = performance.now()
      for (let i = 0; i < lookups; i++) if (findRecord(log, targets[i] as number) >= 0) found += 1
      const ms = performance.now() - start
      if (found !== lookups) throw new Error(`found ${found} of ${lookups} records`)
      return ms
    },
  }
}
