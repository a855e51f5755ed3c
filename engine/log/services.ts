/**
 * What a partition's log asks of other threads, so that nothing slow happens on the append path. The writer loop turns
 * the calls into orders on the service rings; a test may do them in place.
 *
 * | order      | service | a                | b               | c                    | reply                             |
 * |------------|---------|------------------|-----------------|----------------------|-----------------------------------|
 * | `allocate` | janitor | from position    | to position     | address of mapping   | a = position allocated up to      |
 * | `flush`    | flusher | offset to reach  | segment base    |                      | a = offset flushed                |
 * | `seal`     | flusher | final length     | address         | mapped bytes         | a = offset of the segment's end   |
 * | `remove`   | janitor | segment base     |                 |                      | none                              |
 * | `snapshot` | flusher | offset           |                 |                      | none                              |
 */

import type { ProducerSnapshotEntry } from '../format/producer-snapshot.ts'

export const ALLOCATE_FLAG = { sync: 1 } as const

/** A closed segment that is handed over: the service flushes it, cuts it to its length, unmaps it and closes it. */
export interface SealOrder {
  readonly fd: number
  readonly finalBytes: number
  readonly address: number
  readonly mappedBytes: number
}

export interface LogServices {
  /** Reserve and prefault `[from, to)` of the active segment; answered by `PartitionLog.allocated`. */
  allocate(slot: number, fd: number, from: number, to: number, address: number, sync: boolean): void
  /** Make everything below `offset` durable; answered by `PartitionLog.flushed`. */
  flush(slot: number, fd: number, offset: number, baseOffset: number): void
  /** Answered by `PartitionLog.sealed`. */
  seal(slot: number, order: SealOrder): void
  /** Delete the files of a segment that no list holds any more. */
  remove(slot: number, baseOffset: number): void
  /** Write what is known of producers below `offset` into a snapshot file. One that cannot be written is done without. */
  snapshot(slot: number, directory: string, offset: number, entries: readonly ProducerSnapshotEntry[]): void
  /** The indexes do not cover the log any more. */
  dirty(slot: number): void
  /** The high watermark moved: readers may be waiting. */
  moved(slot: number): void
}
