/**
 * What one fetch of a reader brought: whole record batches of one partition, as views onto the mapped log. Records before
 * the offset that was asked for, at or behind the reader's end, and control records are left out.
 */

import { RecordCursor } from '../engine/format/record.ts'
import { BATCH, baseOffsetOf, batchBytes, isControlBatch, lastOffsetOf } from '../engine/format/record-batch.ts'
import type { Region } from '../engine/format/region.ts'
import type { FetchedBatches } from '../engine/log/partition-reader.ts'
import { type ConsumedRecord, recordAt } from './record.ts'

/** A cursor that goes on from batch to batch. */
class FetchCursor extends RecordCursor {
  readonly #region: Region
  readonly #end: number
  readonly #fromOffset: number
  readonly #toOffset: number
  #at: number

  constructor(fetched: FetchedBatches, fromOffset: number, toOffset: number) {
    super()
    this.#region = fetched.region
    this.#at = fetched.from
    this.#end = fetched.to
    this.#fromOffset = fromOffset
    this.#toOffset = toOffset
  }

  protected override nextBatch(): boolean {
    const { view } = this.#region
    while (this.#at + BATCH.headerBytes <= this.#end) {
      const at = this.#at
      this.#at += batchBytes(view, at)
      if (isControlBatch(view, at)) continue
      this.reset(this.#region, at)
      const whole = baseOffsetOf(view, at) >= this.#fromOffset && lastOffsetOf(view, at) < this.#toOffset
      if (!whole && !this.#trim(at)) continue
      return this.next()
    }
    return false
  }

  /** Leaves out the records of a batch that lie outside of what was asked for; false when nothing is left. */
  #trim(at: number): boolean {
    const probe = new RecordCursor()
    probe.reset(this.#region, at)
    let before = 0
    let wanted = 0
    while (probe.next() && probe.offset < this.#toOffset) {
      if (probe.offset < this.#fromOffset) before += 1
      else wanted += 1
    }
    if (wanted === 0) return false
    this.cut(before + wanted)
    for (let skipped = 0; skipped < before; skipped++) this.next()
    return true
  }
}

export class ReadBatch implements Iterable<ConsumedRecord> {
  readonly topic: string
  readonly partition: number
  /** First offset that was asked for; the records begin here or behind. */
  readonly baseOffset: number
  /** Offset behind the last record: where reading goes on. */
  readonly nextOffset: number
  /** Of the partition when this was fetched; `highWatermark - nextOffset` is the lag. */
  readonly highWatermark: number
  readonly #fetched: FetchedBatches

  constructor(
    topic: string,
    partition: number,
    fetched: FetchedBatches,
    fromOffset: number,
    toOffset: number,
    highWatermark: number,
  ) {
    this.topic = topic
    this.partition = partition
    this.#fetched = fetched
    this.baseOffset = fromOffset
    this.nextOffset = Math.min(fetched.nextOffset, toOffset)
    this.highWatermark = highWatermark
  }

  get lastOffset(): number {
    return this.nextOffset - 1
  }

  /** Bytes in the log. */
  get sizeBytes(): number {
    return this.#fetched.to - this.#fetched.from
  }

  /** Walks the records without making an object for each: `while (cursor.next()) …`. */
  cursor(): RecordCursor {
    return new FetchCursor(this.#fetched, this.baseOffset, this.nextOffset)
  }

  *[Symbol.iterator](): Generator<ConsumedRecord, undefined> {
    const cursor = this.cursor()
    while (cursor.next()) yield recordAt(this.topic, this.partition, cursor)
    return undefined
  }
}
