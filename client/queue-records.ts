/**
 * The records of acquired ranges, read by the consumer's own thread from the mapped log. Not every offset has one, and
 * not every one can be read: what is missing and what is damaged is told by its offsets, so that it can be settled.
 */
import { isMillraceError, type MillraceError } from '../engine/base/errors.ts'
import { MIB } from '../engine/base/limits.ts'
import type { RecordCursor } from '../engine/format/record.ts'
import type { AcquiredRange } from '../engine/group/share/share-types.ts'
import { newReadHint, type PartitionReader } from '../engine/log/partition-reader.ts'
import { ReadBatch } from './read-batch.ts'

export type RangePart =
  /** The record under the cursor, which belongs to the iteration. */
  | { readonly kind: 'record'; readonly cursor: RecordCursor; readonly deliveryCount: number }
  /** Offsets without a record. */
  | { readonly kind: 'gap'; readonly firstOffset: number; readonly lastOffset: number }
  /** Not to be read just now, while the partition is being repaired. */
  | { readonly kind: 'unread'; readonly firstOffset: number; readonly lastOffset: number }
  /** Damage: nobody will ever read them. */
  | {
      readonly kind: 'damaged'
      readonly firstOffset: number
      readonly lastOffset: number
      readonly error: MillraceError
    }

const DAMAGE = ['CORRUPT_BATCH', 'CORRUPT_RECORD', 'DECOMPRESSED_TOO_LARGE', 'UNSUPPORTED_FORMAT'] as const

/** @throws what is no damage: IO_ERROR, UNKNOWN_TOPIC_OR_PARTITION, TIMED_OUT */
export function* recordsOf(reader: PartitionReader, ranges: readonly AcquiredRange[]): Generator<RangePart, undefined> {
  const hint = newReadHint()
  for (const { firstOffset, lastOffset, deliveryCount } of ranges) {
    let offset = firstOffset
    while (offset <= lastOffset) {
      try {
        const { topic, partition } = reader.location
        const fetched = reader.fetch(offset, MIB, hint, lastOffset + 1)
        if (fetched === undefined) {
          yield { kind: 'unread', firstOffset: offset, lastOffset }
          break
        }
        const batch = new ReadBatch(topic, partition, fetched, offset, lastOffset + 1, lastOffset + 1)
        const cursor = batch.cursor()
        const record = { kind: 'record', cursor, deliveryCount } as const
        while (cursor.next()) {
          if (cursor.offset > offset) yield { kind: 'gap', firstOffset: offset, lastOffset: cursor.offset - 1 }
          offset = cursor.offset + 1
          yield record
        }
        const end = Math.min(fetched.nextOffset - 1, lastOffset)
        if (end >= offset) yield { kind: 'gap', firstOffset: offset, lastOffset: end }
        offset = Math.max(offset, end + 1)
      } catch (error) {
        if (isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) {
          const end = Math.min(lastOffset, reader.logStartOffset - 1) // deleted meanwhile
          if (end >= offset) yield { kind: 'gap', firstOffset: offset, lastOffset: end }
          if (end < offset) throw error
          offset = end + 1
        } else if (DAMAGE.some(code => isMillraceError(error, code))) {
          const end = behindDamage(error as MillraceError, offset, lastOffset)
          yield { kind: 'damaged', firstOffset: offset, lastOffset: end, error: error as MillraceError }
          offset = end + 1
        } else throw error
      }
    }
  }
  return undefined
}

/** The last offset that the damage takes: to the end of its batch where that is known. */
function behindDamage({ details }: MillraceError, offset: number, lastOffset: number): number {
  const { nextOffset } = details
  return typeof nextOffset === 'number' && nextOffset > offset ? Math.min(lastOffset, nextOffset - 1) : lastOffset
}
