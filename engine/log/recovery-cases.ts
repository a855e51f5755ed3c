/**
 * What recovery decides, as tables: facts in, one decision out. Pure data; a test walks every combination of facts and
 * demands that exactly one row has it. The code around them only finds facts and carries decisions out.
 *
 *     OPEN_CASES      how much of the directory is to be looked at
 *     FILE_CASES      what becomes of each file that is there
 *     DEPTH_CASES     how closely a segment is read
 *     FAULT_CASES     is a bad batch what a crash left behind, or damage to what was safe?
 *     BOUNDARY_CASES  does the next segment continue this one?
 *     LOG_CASES       what becomes of a segment and of those behind it
 *     MARK_CASES      is the segment marked as damaged, and may the log go on in it?
 *     INDEX_CASES     are the indexes good?
 *
 * The recovery point is the offset below which everything was durable. At or above it a crash may have torn anything, and
 * nothing was promised beyond what is whole; below it nothing is ever cut, because no crash of ours can explain damage there.
 */
import { BOOLEAN, type CaseTable } from '../base/case-table.ts'

export interface OpenFacts {
  /** The owner closed the partition: everything is durable and nothing was under way. */
  readonly clean: boolean
  /** The list of segments that the owner left, against the files that are there. */
  readonly checkpoint: 'matches' | 'differs' | 'none'
}

/** `trust`: nothing is read. `check`: every batch header is read. `recover`: from the recovery point on every byte is. */
export const OPEN_CASES: CaseTable<OpenFacts, 'trust' | 'check' | 'recover'> = {
  domains: { clean: BOOLEAN, checkpoint: ['matches', 'differs', 'none'] },
  rows: [
    { clean: true, checkpoint: 'matches', decision: 'trust' },
    { clean: true, checkpoint: 'differs', decision: 'check' }, // files were exchanged, or copied without the list
    { clean: true, checkpoint: 'none', decision: 'check' }, // a folder from elsewhere
    { clean: false, checkpoint: 'any', decision: 'recover' }, // the list is older than the crash
  ],
}

export interface FileFacts {
  /**
   * `companion`: an index, or the marker of a damaged segment. `half-done`: `.repair`, `.cleaned`, `.tmp`, and a `.swap` that is
   * not whole. `swap`: whole, and about to replace a segment.
   */
  readonly kind: 'log' | 'companion' | 'half-done' | 'deleted' | 'swap' | 'other'
  /** The log file of the same base offset is there. */
  readonly logThere: boolean
  /** The segment ends at or below the log start offset, which is stored before files are deleted. */
  readonly belowStart: boolean
}

export const FILE_CASES: CaseTable<FileFacts, 'keep' | 'delete' | 'restore'> = {
  domains: {
    kind: ['log', 'companion', 'half-done', 'deleted', 'swap', 'other'],
    logThere: BOOLEAN,
    belowStart: BOOLEAN,
  },
  rows: [
    { kind: 'log', logThere: 'any', belowStart: false, decision: 'keep' },
    { kind: 'log', logThere: 'any', belowStart: true, decision: 'delete' }, // retention was interrupted
    { kind: 'companion', logThere: true, belowStart: false, decision: 'keep' },
    { kind: 'companion', logThere: true, belowStart: true, decision: 'delete' },
    { kind: 'companion', logThere: false, belowStart: 'any', decision: 'delete' }, // its log was deleted first
    { kind: 'half-done', logThere: 'any', belowStart: 'any', decision: 'delete' },
    { kind: 'deleted', logThere: 'any', belowStart: 'any', decision: 'delete' },
    { kind: 'swap', logThere: 'any', belowStart: false, decision: 'restore' }, // what it replaces may be gone in part
    { kind: 'swap', logThere: 'any', belowStart: true, decision: 'delete' },
    { kind: 'other', logThere: 'any', belowStart: 'any', decision: 'keep' },
  ],
}

export interface DepthFacts {
  readonly open: 'check' | 'recover'
  /** The segment reaches, or may reach, the recovery point. */
  readonly aboveRecoveryPoint: boolean
  readonly index: 'sound' | 'wrong' | 'missing'
  /** An earlier recovery found damage in the segment and left a marker file. */
  readonly marked: boolean
}

/** `crc`: every byte. `headers`: every batch header. `edges`: the first batch, and those behind the last index entry. */
export const DEPTH_CASES: CaseTable<DepthFacts, 'crc' | 'headers' | 'edges'> = {
  domains: {
    open: ['check', 'recover'],
    aboveRecoveryPoint: BOOLEAN,
    index: ['sound', 'wrong', 'missing'],
    marked: BOOLEAN,
  },
  rows: [
    { open: 'any', aboveRecoveryPoint: true, index: 'any', marked: 'any', decision: 'crc' },
    { open: 'any', aboveRecoveryPoint: false, index: 'any', marked: true, decision: 'crc' }, // find the same damage again
    { open: 'check', aboveRecoveryPoint: false, index: 'any', marked: false, decision: 'headers' },
    { open: 'recover', aboveRecoveryPoint: false, index: 'sound', marked: false, decision: 'edges' },
    { open: 'recover', aboveRecoveryPoint: false, index: 'wrong', marked: false, decision: 'headers' }, // closing was interrupted
    { open: 'recover', aboveRecoveryPoint: false, index: 'missing', marked: false, decision: 'headers' },
  ],
}

export interface FaultFacts {
  /** The offset that the bad batch should have had is at or above the recovery point. */
  readonly aboveRecoveryPoint: boolean
  readonly clean: boolean
  /** Sound batches that continue the log, or further segments, follow the bad one. */
  readonly soundBehind: boolean
}

/** `torn`: the log ends here. `at-rest`: damage to what had been safe; what follows is kept. */
export const FAULT_CASES: CaseTable<FaultFacts, 'torn' | 'at-rest'> = {
  domains: { aboveRecoveryPoint: BOOLEAN, clean: BOOLEAN, soundBehind: BOOLEAN },
  rows: [
    { aboveRecoveryPoint: false, clean: 'any', soundBehind: 'any', decision: 'at-rest' },
    { aboveRecoveryPoint: true, clean: false, soundBehind: 'any', decision: 'torn' }, // stale, or not acknowledged as safe
    { aboveRecoveryPoint: true, clean: true, soundBehind: true, decision: 'at-rest' }, // a crash does not damage a middle
    { aboveRecoveryPoint: true, clean: true, soundBehind: false, decision: 'torn' },
  ],
}

export interface BoundaryFacts {
  /** Where the next segment begins, against where this one ends. */
  readonly relation: 'last' | 'joins' | 'gap' | 'overlap'
  /** Of the first offset that is missing or there twice. */
  readonly aboveRecoveryPoint: boolean
  readonly clean: boolean
  /** The topic is, or was, compacted: offsets may be missing. */
  readonly compacted: boolean
  /** Nothing lies behind the last batch in the file. */
  readonly tailExact: boolean
}

/** `break`: the log ends with this segment. `missing`, `shared`: both segments stay, without some offsets or with some twice. */
export const BOUNDARY_CASES: CaseTable<BoundaryFacts, 'last' | 'joins' | 'break' | 'missing' | 'shared'> = {
  domains: {
    relation: ['last', 'joins', 'gap', 'overlap'],
    aboveRecoveryPoint: BOOLEAN,
    clean: BOOLEAN,
    compacted: BOOLEAN,
    tailExact: BOOLEAN,
  },
  rows: [
    { relation: 'last', aboveRecoveryPoint: 'any', clean: 'any', compacted: 'any', tailExact: 'any', decision: 'last' },
    {
      relation: 'joins',
      aboveRecoveryPoint: 'any',
      clean: 'any',
      compacted: 'any',
      tailExact: 'any',
      decision: 'joins',
    },
    {
      relation: 'gap',
      aboveRecoveryPoint: 'any',
      clean: true,
      compacted: 'any',
      tailExact: 'any',
      decision: 'missing',
    },
    {
      relation: 'gap',
      aboveRecoveryPoint: false,
      clean: false,
      compacted: 'any',
      tailExact: 'any',
      decision: 'missing',
    },
    { relation: 'gap', aboveRecoveryPoint: true, clean: false, compacted: false, tailExact: 'any', decision: 'break' },
    { relation: 'gap', aboveRecoveryPoint: true, clean: false, compacted: true, tailExact: true, decision: 'missing' },
    // A closed file is cut to its content: zeros in it are pages that never reached the disk.
    { relation: 'gap', aboveRecoveryPoint: true, clean: false, compacted: true, tailExact: false, decision: 'break' },
    {
      relation: 'overlap',
      aboveRecoveryPoint: 'any',
      clean: true,
      compacted: 'any',
      tailExact: 'any',
      decision: 'shared',
    },
    {
      relation: 'overlap',
      aboveRecoveryPoint: false,
      clean: false,
      compacted: 'any',
      tailExact: 'any',
      decision: 'shared',
    },
    // A segment that a truncation deleted came back: the earlier one went on meanwhile.
    {
      relation: 'overlap',
      aboveRecoveryPoint: true,
      clean: false,
      compacted: 'any',
      tailExact: 'any',
      decision: 'break',
    },
  ],
}

export interface LogFacts {
  readonly boundary: 'last' | 'joins' | 'break' | 'missing' | 'shared'
  /** A fault was found that `FAULT_CASES` calls torn. */
  readonly torn: boolean
  /** The segment has no batch. */
  readonly empty: boolean
}

/**
 * `truncate`: zero what is behind the last good batch and drop later segments. `cut-tail`: the segment is complete, so only what lies
 * behind its end goes. `yield`: it is published up to where the next one begins. `drop`: an empty file between segments.
 */
export const LOG_CASES: CaseTable<LogFacts, 'keep' | 'truncate' | 'cut-tail' | 'yield' | 'drop'> = {
  domains: { boundary: ['last', 'joins', 'break', 'missing', 'shared'], torn: BOOLEAN, empty: BOOLEAN },
  rows: [
    { boundary: 'last', torn: true, empty: 'any', decision: 'truncate' },
    { boundary: 'last', torn: false, empty: 'any', decision: 'keep' },
    { boundary: 'joins', torn: true, empty: 'any', decision: 'cut-tail' }, // the next segment goes on where this one ends
    { boundary: 'joins', torn: false, empty: 'any', decision: 'keep' },
    { boundary: 'break', torn: 'any', empty: 'any', decision: 'truncate' },
    { boundary: 'missing', torn: true, empty: 'any', decision: 'truncate' },
    { boundary: 'missing', torn: false, empty: true, decision: 'drop' },
    { boundary: 'missing', torn: false, empty: false, decision: 'keep' },
    { boundary: 'shared', torn: 'any', empty: 'any', decision: 'yield' },
  ],
}

export interface MarkFacts {
  /** There is damage at rest in the segment, or offsets that the next one has as well. */
  readonly damaged: boolean
  /** It is the last segment that is left. */
  readonly endsLog: boolean
}

/** `roll`: marked, and appends go on in a new segment, so that nothing is written into a damaged file. */
export const MARK_CASES: CaseTable<MarkFacts, 'none' | 'quarantine' | 'quarantine-and-roll'> = {
  domains: { damaged: BOOLEAN, endsLog: BOOLEAN },
  rows: [
    { damaged: false, endsLog: 'any', decision: 'none' },
    { damaged: true, endsLog: false, decision: 'quarantine' },
    { damaged: true, endsLog: true, decision: 'quarantine-and-roll' },
  ],
}

export interface IndexFacts {
  readonly index: 'sound' | 'wrong' | 'missing' | 'unchecked'
  /** The segment is not as long as it was, or not to be read as one run of batches. */
  readonly logChanged: boolean
}

export const INDEX_CASES: CaseTable<IndexFacts, 'keep' | 'rebuild-index'> = {
  domains: { index: ['sound', 'wrong', 'missing', 'unchecked'], logChanged: BOOLEAN },
  rows: [
    { index: 'sound', logChanged: false, decision: 'keep' },
    { index: 'sound', logChanged: true, decision: 'rebuild-index' },
    { index: 'wrong', logChanged: 'any', decision: 'rebuild-index' },
    { index: 'missing', logChanged: 'any', decision: 'rebuild-index' },
    { index: 'unchecked', logChanged: 'any', decision: 'rebuild-index' },
  ],
}
