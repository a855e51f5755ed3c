/** The events of a running engine. */
import type { MillraceError } from '../base/errors.ts'
import type { PartitionLocation } from '../log/partition-reader.ts'
import type { RecoveryReport } from '../log/recovery-types.ts'
import type { ClampedOffset } from '../store/offsets.ts'

/** What a running engine tells: see docs/API.md#events. */
export interface BrokerEvents {
  /** Recovery found something other than a sound log. */
  recovered: [partition: PartitionLocation, reports: readonly RecoveryReport[]]
  /** Committed offsets lay above the recovered end of their partition and were lowered to it. */
  offsetsClamped: [topic: string, partition: number, clamped: readonly ClampedOffset[]]
  /** A partition stopped; appends to it fail with this error. */
  partitionFailed: [partition: PartitionLocation, error: MillraceError]
  /** A writer thread died and was replaced. */
  writerRestarted: [writer: number, error: MillraceError]
  /** Something failed that does not affect records, such as an index entry that a full disk had no room for. */
  warning: [error: MillraceError]
}
