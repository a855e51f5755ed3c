/**
 * The short jobs of the second pool, as data: what is asked and what comes back. A job that fails for one of its
 * partitions says so for that one and goes on with the others.
 */
import type { ErrorData } from '../base/errors.ts'
import type { CompactionRequest, CompactionResult } from './compaction.ts'
import type { EpochFile } from './epoch-checkpoint-file.ts'
import type { ForeignLog } from './foreign-log.ts'
import type { RecoveryRequest, RecoveryResult, SegmentInfo } from './recovery-types.ts'
import type { Truncation } from './truncation.ts'

export interface RecoverItem {
  readonly request: RecoveryRequest
  /** Start a new leader epoch at the end of the log: whenever the log may have been cut. */
  readonly newEpoch: boolean
  /** The partition was under this epoch already, -1 when none is known: a new one is higher, whatever the log says. */
  readonly lastEpoch: number
  /** Cut the log first. */
  readonly truncation?: Truncation
}

export interface RepairItem {
  readonly directory: string
  /** Records below are kept, everything above is dropped. */
  readonly keepOffset: number
  /** Below, segments were flushed and need no rewriting. */
  readonly flushedOffset: number
  /** As they were published when the partition stopped. */
  readonly segments: readonly SegmentInfo[]
  readonly request: RecoveryRequest
  /** What goes on there does so under a new leader epoch. */
  readonly newEpoch: boolean
}

export type JobRequest =
  | { readonly kind: 'recover'; readonly items: readonly RecoverItem[] }
  | { readonly kind: 'repair'; readonly item: RepairItem }
  | { readonly kind: 'remove-folders'; readonly paths: readonly string[] }
  /** Looks at folders that something else wrote; the first that cannot be taken in is what is told. */
  | { readonly kind: 'inspect'; readonly directories: readonly string[] }
  | { readonly kind: 'sync-folders'; readonly paths: readonly string[] }
  /** Those that cannot be written are left as they are. */
  | { readonly kind: 'write-epochs'; readonly files: readonly EpochFile[] }
  | { readonly kind: 'compact'; readonly request: CompactionRequest }
  /** After compacted segments were swapped in; `refused` are the base offsets of those that were not. */
  | { readonly kind: 'sweep'; readonly directory: string; readonly refused: readonly number[] }

export interface JobResult {
  recover: readonly ({ readonly result: RecoveryResult } | { readonly error: ErrorData })[]
  repair: RecoveryResult
  'remove-folders': undefined
  inspect: { readonly result: readonly ForeignLog[] } | { readonly error: ErrorData }
  'sync-folders': undefined
  'write-epochs': undefined
  compact: { readonly result: CompactionResult } | { readonly error: ErrorData }
  sweep: undefined
}
