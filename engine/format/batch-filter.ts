/**
 * Leaves records out of a batch, as compaction does: offsets stay what they were, so the batch keeps its base offset, its last
 * offset, its producer and its leader epoch, and its records keep their bytes. Pure functions over bytes, with memory that is
 * used again; one thread at a time.
 *
 * A tombstone (a record whose value is null) stays for a while, so that readers see it. From when on it may go is written
 * into its batch at the first compaction that meets it (KIP-534): the base timestamp becomes that time, with a bit in
 * the attributes, and the records' deltas are written anew to say the same timestamps.
 */
import {
  ATTRIBUTE,
  attributesOf,
  BATCH,
  baseTimestampOf,
  codecNumber,
  codecOf,
  hasDeleteHorizon,
  isLogAppendTime,
  recordCountOf,
  stampCrc,
} from './batch-layout.ts'
import { compress } from './compression.ts'
import { RecordCursor } from './record.ts'
import { RecordGroup } from './record-group.ts'
import { Region, writeI64 } from './region.ts'
import { readVarlong, VARLONG_BYTES_MAX, varintEnd, varlongBytes, writeVarint, writeVarlong } from './varint.ts'

/** What becomes of a batch: copied as it is, dropped, or replaced by other bytes, which are valid until the next call. */
export type Filtered = 'whole' | 'nothing' | Buffer

/** A record whose length and timestamp delta are written anew may grow by this. */
const GROWTH_BYTES = 12

export class BatchFilter {
  readonly #cursor = new RecordCursor()
  readonly #group = new RecordGroup()
  /** Where the kept records begin and end, in turn; neighbours are one stretch. */
  readonly #stretches: number[] = []
  #scratch = Buffer.alloc(64 * 1024)
  #records = Buffer.alloc(64 * 1024)

  /**
   * @param choose told the records, some at a time, with what their positions are in; marks in `kept` those that stay
   * @param horizonMs from when on tombstones of this batch may go, written into it unless it has a horizon already
   * @param keepEmpty leave the header when no record is kept
   * @throws CORRUPT_RECORD, CORRUPT_BATCH, UNSUPPORTED_FORMAT, DECOMPRESSED_TOO_LARGE
   */
  filter(
    region: Region,
    at: number,
    choose: (records: RecordGroup, source: Buffer) => void,
    horizonMs: number,
    keepEmpty: boolean,
  ): Filtered {
    const { view } = region
    const cursor = this.#cursor
    const group = this.#group
    const stretches = this.#stretches
    stretches.length = 0
    cursor.reset(region, at)
    let kept = 0
    let maxTimestamp = -1
    let hasTombstone = false
    let from = cursor.recordEnd
    while (group.fill(cursor)) {
      choose(group, cursor.source)
      for (let i = 0; i < group.count; i++) {
        const start = from
        from = group.ends[i] as number
        if (group.kept[i] === 0) continue
        kept += 1
        if ((group.valueBytes[i] as number) < 0) hasTombstone = true
        maxTimestamp = Math.max(maxTimestamp, group.timestamps[i] as number)
        if (stretches.at(-1) === start) stretches[stretches.length - 1] = from
        else stretches.push(start, from)
      }
    }
    const total = recordCountOf(view, at)
    const needsHorizon = hasTombstone && !hasDeleteHorizon(view, at)
    if (kept === total && !needsHorizon && (total > 0 || keepEmpty)) return 'whole'
    if (kept === 0 && !keepEmpty) return 'nothing'
    const bytes = this.#copyRecords(cursor.source, kept, needsHorizon ? baseTimestampOf(view, at) - horizonMs : 0)
    return this.#finish(region, at, bytes, kept, {
      maxTimestamp: kept > 0 && isLogAppendTime(view, at) ? undefined : maxTimestamp,
      horizonMs: needsHorizon ? horizonMs : undefined,
    })
  }

  /** Copies the kept records; with `shift` their timestamp deltas rise by that much. Returns how many bytes they take. */
  #copyRecords(source: Buffer, kept: number, shift: number): number {
    const stretches = this.#stretches
    let bytes = kept * GROWTH_BYTES
    for (let i = 0; i < stretches.length; i += 2) bytes += (stretches[i + 1] as number) - (stretches[i] as number)
    if (bytes > this.#records.length) this.#records = Buffer.alloc(Math.max(bytes, 2 * this.#records.length))
    let to = 0
    for (let i = 0; i < stretches.length; i += 2) {
      const from = stretches[i] as number
      const end = stretches[i + 1] as number
      if (shift === 0) to += source.copy(this.#records, to, from, end)
      else to = this.#copyShifted(source, from, end, shift, to)
    }
    return to
  }

  #copyShifted(source: Buffer, from: number, end: number, shift: number, to: number): number {
    const records = this.#records
    for (let at = from; at < end; ) {
      const attributesAt = varintEnd(source, at, end)
      const recordEnd = attributesAt + recordLength(source, at)
      const delta = readVarlong(source, attributesAt + 1, recordEnd) + shift
      const restAt = varintEnd(source, attributesAt + 1, recordEnd, VARLONG_BYTES_MAX)
      to = writeVarint(records, to, 1 + varlongBytes(delta) + recordEnd - restAt)
      records[to++] = source[attributesAt] as number
      to = writeVarlong(records, to, delta)
      to += source.copy(records, to, restAt, recordEnd)
      at = recordEnd
    }
    return to
  }

  #finish(
    region: Region,
    at: number,
    recordsBytes: number,
    kept: number,
    changes: { readonly maxTimestamp: number | undefined; readonly horizonMs: number | undefined },
  ): Buffer {
    let records: Buffer = this.#records.subarray(0, recordsBytes)
    let codec = codecOf(region.view, at)
    if (kept === 0) codec = 'none'
    if (codec !== 'none') {
      const compressed = compress(codec, records)
      if (compressed.length < recordsBytes) records = compressed
      else codec = 'none'
    }
    const bytes = BATCH.headerBytes + records.length
    if (bytes > this.#scratch.length) this.#scratch = Buffer.alloc(Math.max(bytes, 2 * this.#scratch.length))
    const out = Region.of(this.#scratch.subarray(0, bytes))
    region.bytes.copy(out.bytes, 0, at, at + BATCH.headerBytes)
    records.copy(out.bytes, BATCH.headerBytes)
    let attributes = (attributesOf(region.view, at) & ~ATTRIBUTE.codecMask) | codecNumber(codec)
    if (changes.horizonMs !== undefined) {
      attributes |= ATTRIBUTE.deleteHorizon
      writeI64(out.view, BATCH.baseTimestampAt, changes.horizonMs)
    }
    if (changes.maxTimestamp !== undefined) writeI64(out.view, BATCH.maxTimestampAt, changes.maxTimestamp)
    out.view.setInt16(BATCH.attributesAt, attributes)
    out.view.setInt32(BATCH.batchLengthAt, bytes - BATCH.overheadBytes)
    out.view.setInt32(BATCH.recordCountAt, kept)
    stampCrc(out, 0)
    return out.bytes
  }
}

/** What a record that the cursor has walked says of its length; it is in range. */
function recordLength(source: Buffer, at: number): number {
  return readVarlong(source, at, source.length)
}
