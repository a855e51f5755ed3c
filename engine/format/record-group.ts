/**
 * Some neighbouring records of one batch in columns, for work that goes over them several times: a loop that only loads what
 * it needs keeps many cache misses under way at once, where a walk record by record waits for each. One thread; the columns
 * are used again by the next `fill`. Positions are positions in the cursor's source.
 */
import type { RecordCursor } from './record.ts'

/** As many as keep the memory busy; all they lead to still fits the first cache. */
export const GROUP_RECORDS = 64

export class RecordGroup {
  count = 0
  readonly offsets = new Float64Array(GROUP_RECORDS)
  readonly timestamps = new Float64Array(GROUP_RECORDS)
  readonly keyAt = new Int32Array(GROUP_RECORDS)
  /** -1 for null. */
  readonly keyBytes = new Int32Array(GROUP_RECORDS)
  /** -1 for null. */
  readonly valueBytes = new Int32Array(GROUP_RECORDS)
  /** Position behind the record. */
  readonly ends = new Int32Array(GROUP_RECORDS)
  /** Not 0 for what is to stay; for whoever chooses among the records. */
  readonly kept = new Uint8Array(GROUP_RECORDS)

  /**
   * Takes up the next records of the cursor. False when there were none left.
   * @throws CORRUPT_RECORD, UNSUPPORTED_FORMAT as `RecordCursor.next`
   */
  fill(cursor: RecordCursor): boolean {
    let count = 0
    for (; count < GROUP_RECORDS && cursor.next(); count++) {
      this.offsets[count] = cursor.offset
      this.timestamps[count] = cursor.timestamp
      this.keyAt[count] = cursor.keyAt
      this.keyBytes[count] = cursor.keyBytes
      this.valueBytes[count] = cursor.valueBytes
      this.ends[count] = cursor.recordEnd
    }
    this.count = count
    return count > 0
  }
}
