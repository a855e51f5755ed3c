/**
 * What goes into the recovery of a partition and what comes out of it. Plain data: it crosses threads by structured clone, and
 * the segment list of a clean close is stored.
 */
import type { EpochEntry } from '../format/leader-epoch-checkpoint.ts'
import type { ProducerSnapshotEntry } from '../format/producer-snapshot.ts'

/** One segment as its files are. */
export interface SegmentInfo {
  readonly baseOffset: number
  /** Bytes of record batches. Exactly the length of a closed file; the active one may be longer, with zeros behind. */
  readonly sizeBytes: number
  /** Offset behind the last record. */
  readonly nextOffset: number
  /** Milliseconds, -1 when no record has a timestamp. */
  readonly maxTimestamp: number
  /** Last offset of the first batch that has the largest timestamp, -1 when there is none. */
  readonly maxTimestampOffset: number
  /** Base timestamp of the first batch, -1 when empty. */
  readonly firstTimestamp: number
  readonly offsetEntries: number
  readonly timeEntries: number
  /** Position up to which the indexes cover the log. */
  readonly indexedPosition: number
  /** What is damaged in it; absent when nothing is known to be. A file beside it says the same: `<base offset>.quarantined`. */
  readonly quarantined?: string
}

export interface RecoveryRequest {
  /** Folder of the partition. */
  readonly directory: string
  /** The owner closed it: nothing was under way, everything is durable. */
  readonly clean: boolean
  /** Everything below this offset was made durable. 0 when nothing is known. */
  readonly recoveryPoint: number
  /** As it was stored last; the first segment's base offset raises it. */
  readonly logStartOffset: number
  /** `index.interval.bytes`. */
  readonly indexIntervalBytes: number
  /** `segment.index.bytes`. */
  readonly indexBytesMax: number
  /** The segments as they were when the partition was closed. Used only when `clean`. */
  readonly segments?: readonly SegmentInfo[]
  /** How many idempotent producers were known when the partition was closed. Used only when `clean`; default 0. */
  readonly producers?: number
  /** The topic is, or ever was, compacted, so that offsets may be missing. Default false: a gap above the recovery point is damage. */
  readonly compacted?: boolean
  /** Where the folder holds no log yet, what is made in it is left for the caller to make durable. Default false. */
  readonly syncLater?: boolean
}

/** Something that was not as it should be, and what was done about it. */
export interface RecoveryReport {
  readonly path: string
  /** Byte position in the file. */
  readonly position: number
  readonly reason: string
  readonly decision: ReportedDecision
  /** Bytes that were damaged, cut or deleted. */
  readonly bytes: number
}

/**
 * `keep`: left as it is. `truncate`: the log ends there now. `cut-tail`: bytes behind a complete segment went. `drop`: the file was
 * deleted. `finish-delete`: a deletion that was under way is done. `restore`: a file was renamed to the one it was to replace.
 * `quarantine`: marked, nothing was cut. `roll`: appends go on in a new segment at the offset in `reason`. `rebuild-index`,
 * `rewrite-epochs`, `rebuild-producers`: derived files were written anew, or done without.
 */
export type ReportedDecision =
  | 'keep'
  | 'truncate'
  | 'cut-tail'
  | 'drop'
  | 'finish-delete'
  | 'restore'
  | 'quarantine'
  | 'roll'
  | 'rebuild-index'
  | 'rewrite-epochs'
  | 'rebuild-producers'

export interface RecoveryResult {
  /** At least one; the last is the active one. Ascending; where an offset is in two of them, the later one counts. */
  readonly segments: readonly SegmentInfo[]
  readonly logStartOffset: number
  /** Everything below it is durable. */
  readonly logEndOffset: number
  /** Of the last record, or a later one that has begun without a record; -1 when none is known. */
  readonly leaderEpoch: number
  readonly epochs: readonly EpochEntry[]
  /** What is known of idempotent producers at the end of the log. */
  readonly producers: readonly ProducerSnapshotEntry[]
  readonly reports: readonly RecoveryReport[]
  /** Bytes of log that were walked, by headers or in full. */
  readonly scannedBytes: number
}

/** A segment that holds nothing yet. */
export function emptySegmentInfo(baseOffset: number): SegmentInfo {
  return {
    baseOffset,
    sizeBytes: 0,
    nextOffset: baseOffset,
    maxTimestamp: -1,
    maxTimestampOffset: -1,
    firstTimestamp: -1,
    offsetEntries: 0,
    timeEntries: 0,
    indexedPosition: 0,
  }
}
