/** What a verification is asked and what it answers. Plain data: it crosses threads by structured clone. */
import type { EpochEntry } from '../format/leader-epoch-checkpoint.ts'

/** What a finding is about: one record batch, a record in it, offsets that are missing, an index entry, a whole file, leader epochs. */
export type FindingKind = 'batch' | 'record' | 'gap' | 'index' | 'file' | 'epoch'

/** Something that is not as it should be. */
export interface Finding {
  readonly kind: FindingKind
  /** `torn`: a crash explains it, the next owner of the directory cuts it off, and nothing that was safe is lost. */
  readonly severity: 'damage' | 'torn'
  readonly path: string
  /** Byte position in the file. */
  readonly position: number
  readonly reason: string
  /** Offsets `[baseOffset, nextOffset)` cannot be read because of it; absent where nothing is lost, or nobody can tell. */
  readonly baseOffset?: number
  readonly nextOffset?: number
}

/** How much of the index files of a segment counts; undefined: as much as the files hold. */
export interface IndexExpectation {
  readonly offsetEntries: number | undefined
  readonly timeEntries: number | undefined
  /** The segment is closed and indexed to its end, so its largest timestamp has an entry. */
  readonly isComplete: boolean
}

export interface SegmentToVerify {
  /** Folder of the partition. */
  readonly directory: string
  readonly baseOffset: number
  /** Bytes of it that may be looked at: what is published beside a live owner. Undefined: the file as long as it is. */
  readonly sizeBytes: number | undefined
  /** Where its batches must end, when that is known. */
  readonly endPosition: number | undefined
  /** Offset at which the log goes on behind it; undefined for the last segment of a log whose end nobody knows. */
  readonly endOffset: number | undefined
  /** Offsets may be missing, as compaction leaves them. */
  readonly hasGaps: boolean
  /** From this offset on a crash may have torn the log; infinite where none can have. */
  readonly tornFromOffset: number
  /** Undefined: the indexes are not looked at, since the next owner builds them anew. */
  readonly indexes: IndexExpectation | undefined
}

export interface SegmentVerification {
  readonly baseOffset: number
  /** Bytes of batches that were read. */
  readonly logBytes: number
  /** Offset behind the last sound batch. */
  readonly nextOffset: number
  readonly batches: number
  readonly records: number
  readonly indexEntries: number
  /** Where leader epochs begin in it. */
  readonly epochs: readonly EpochEntry[]
  /** That of the last batch, -1 when there is none. */
  readonly lastEpoch: number
  /** A crash tore it: the log ends in here. */
  readonly isTorn: boolean
  /** The end of it is among the findings, so that nothing is said about what should follow. */
  readonly isCutShort: boolean
  /** At most `FINDINGS_MAX`. */
  readonly findings: readonly Finding[]
}

/** Findings of one segment that are told one by one: a file of noise would have millions. */
export const FINDINGS_MAX = 1_000
