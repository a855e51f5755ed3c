/**
 * Recovery of one partition when it is opened. A synchronous function that runs in a janitor job, many partitions in
 * parallel; until it returns nobody else of this process looks at the folder, but a read-only process may have files mapped:
 * what may be mapped is zeroed or replaced, never shortened.
 *
 * After a clean close whose list of segments matches the files nothing is read. Otherwise segments are surveyed in order
 * (`recovery-survey.ts`), the tables (`recovery-cases.ts`) say what to do about what is found, and it is done here. A crash at
 * any point leaves a state from which the same answer is reached again: first what was torn is zeroed and synced, then
 * later segments are deleted from the last one down, then indexes, markers and checkpoint are written, each as a whole.
 *
 * Everything below the log end offset that is returned is durable.
 */
import { join } from 'node:path'
import { decide } from '../base/case-table.ts'
import { failpoint } from '../base/failpoints.ts'
import { invariant } from '../base/invariant.ts'
import { SEGMENT_BYTES_MAX } from '../base/limits.ts'
import { segmentFileName } from '../format/file-names.ts'
import { OFFSET_ENTRY } from '../format/offset-index.ts'
import { Region } from '../format/region.ts'
import { TIME_ENTRY } from '../format/time-index.ts'
import { Mapping } from '../memory/mapping.ts'
import {
  EPOCH_CHECKPOINT_NAME,
  type EpochEntry,
  readEpochCheckpoint,
  writeEpochCheckpoint,
} from './epoch-checkpoint-file.ts'
import { findAsLeft } from './recovery-as-left.ts'
import {
  BOUNDARY_CASES,
  type BoundaryFacts,
  INDEX_CASES,
  LOG_CASES,
  type LogFacts,
  MARK_CASES,
  OPEN_CASES,
} from './recovery-cases.ts'
import {
  readQuarantineMark,
  removeIndexFiles,
  removeSegmentFiles,
  removeSnapshotsAbove,
  type SegmentFile,
  tidyDirectory,
  writeQuarantineMark,
} from './recovery-directory.ts'
import { reconcileEpochs, type SegmentEpochs } from './recovery-epochs.ts'
import { createFile, cutFile, syncDirectory, syncFile, zeroTail } from './recovery-files.ts'
import { type IndexBytes, readIndexes, rebuildIndex } from './recovery-index.ts'
import { recoverProducers } from './recovery-producers.ts'
import { type Survey, type SurveyInput, surveySegment } from './recovery-survey.ts'
import {
  emptySegmentInfo,
  type RecoveryReport,
  type RecoveryRequest,
  type RecoveryResult,
  type ReportedDecision,
  type SegmentInfo,
} from './recovery-types.ts'
import { type IndexCounts, NO_INDEX } from './segment-index.ts'
import { scanSegment } from './segment-scan.ts'

export type {
  RecoveryReport,
  RecoveryRequest,
  RecoveryResult,
  ReportedDecision,
  SegmentInfo,
} from './recovery-types.ts'
export { emptySegmentInfo } from './recovery-types.ts'

/**
 * Brings a partition's folder into a state that can be appended to and read, and says what is in it.
 * @returns at least one segment; the last one's file exists and has only zeros behind its size
 * @throws DIRECTORY_NOT_FOUND, DISK_FULL, IO_ERROR; it may be called again
 * Cost: after a clean close a few system calls for each segment; else one CRC over what lies above the recovery point.
 */
export function recoverPartition(request: RecoveryRequest): RecoveryResult {
  return new PartitionRecovery(request).run()
}

type LogDecision = 'keep' | 'truncate' | 'cut-tail' | 'yield' | 'drop'

class PartitionRecovery {
  readonly #request: RecoveryRequest
  readonly #directory: string
  readonly #reports: RecoveryReport[] = []
  readonly #segments: SegmentInfo[] = []
  readonly #epochs: SegmentEpochs[] = []
  #leaderEpoch = -1
  #scannedBytes = 0
  /** Appends must go on in a new segment at this offset, -1 when the last one will do. */
  #rollOffset = -1

  constructor(request: RecoveryRequest) {
    this.#request = request
    this.#directory = request.directory
  }

  run(): RecoveryResult {
    const { clean, logStartOffset, segments } = this.#request
    const files = tidyDirectory(this.#directory, logStartOffset, this.#reports)
    const left = clean && segments !== undefined ? findAsLeft(this.#directory, segments, files) : undefined
    const checkpoint = left === undefined ? (segments === undefined ? 'none' : 'differs') : 'matches'
    const open = decide(OPEN_CASES, { clean, checkpoint })
    if (open === 'trust') {
      invariant(left !== undefined, 'only what was found is trusted')
      return this.#result(left.segments, left.epochs, this.#request.producers ?? 0)
    }
    for (let index = 0; index < files.length; index++) if (!this.#recoverSegment(files, index, open)) break
    this.#ensureActive()
    const last = this.#segments.at(-1) as SegmentInfo
    removeSnapshotsAbove(this.#directory, last.nextOffset)
    if (!(files.length === 0 && this.#request.syncLater === true)) syncDirectory(this.#directory)
    return this.#result(this.#segments, this.#recoverEpochs(), undefined)
  }

  /** @returns false when the log ends with this segment and later ones are gone */
  #recoverSegment(files: readonly SegmentFile[], index: number, open: 'check' | 'recover'): boolean {
    const file = files[index] as SegmentFile
    const nextBase = files[index + 1]?.baseOffset
    const bytes = Math.min(file.bytes, SEGMENT_BYTES_MAX)
    const mapping = bytes === 0 ? undefined : Mapping.ofPath(file.path, bytes)
    try {
      const { baseOffset } = file
      const { recoveryPoint, compacted = false, indexIntervalBytes } = this.#request
      // Above the recovery point indexes are built anew, whatever they say.
      const unchecked = open === 'recover' && (nextBase === undefined || nextBase > recoveryPoint)
      const input: SurveyInput = {
        log: mapping?.region ?? Region.of(Buffer.alloc(0)),
        baseOffset,
        nextBase,
        open,
        recoveryPoint,
        compacted,
        leaderEpoch: this.#leaderEpoch,
        indexIntervalBytes,
        indexes: unchecked ? undefined : readIndexes(this.#directory, baseOffset),
        marked: readQuarantineMark(this.#directory, baseOffset) !== undefined,
      }
      return this.#settle(files, index, input)
    } finally {
      mapping?.release()
    }
  }

  #settle(files: readonly SegmentFile[], index: number, input: SurveyInput): boolean {
    const file = files[index] as SegmentFile
    let survey = surveySegment(input)
    this.#scannedBytes += survey.scannedBytes
    const boundary = decide(BOUNDARY_CASES, this.#boundaryFacts(file, input, survey))
    const empty = survey.end === 0
    const decision = decide(LOG_CASES, { boundary, torn: survey.torn !== undefined, empty })
    if (decision === 'drop') {
      this.#drop(file, 'an empty file between segments')
      return true
    }
    if (decision === 'yield' && input.nextBase !== undefined) {
      survey = surveySegment({ ...input, untilOffset: input.nextBase })
      this.#report(
        file.path,
        survey.end,
        'the next segment has the same offsets',
        'quarantine',
        file.bytes - survey.end,
      )
    }
    this.#applyToLog(files, index, survey, boundary, decision)
    const quarantined = this.#mark(file, survey, decision, boundary)
    const counts = this.#settleIndex(file, input, survey, decision)
    const { nextOffset, maxTimestamp, maxTimestampOffset, firstTimestamp } = survey
    this.#segments.push({
      baseOffset: file.baseOffset,
      sizeBytes: survey.end,
      nextOffset,
      maxTimestamp,
      maxTimestampOffset,
      firstTimestamp,
      ...counts,
      ...(quarantined === undefined ? {} : { quarantined }),
    })
    this.#noteEpochs(file, survey)
    return decision !== 'truncate'
  }

  #boundaryFacts(
    file: SegmentFile,
    { nextBase, open, recoveryPoint, compacted }: SurveyInput,
    survey: Survey,
  ): BoundaryFacts {
    const { nextOffset, end } = survey
    let relation: BoundaryFacts['relation'] = 'last'
    if (nextBase !== undefined) relation = nextOffset === nextBase ? 'joins' : nextOffset < nextBase ? 'gap' : 'overlap'
    return {
      relation,
      aboveRecoveryPoint: Math.min(nextOffset, nextBase ?? nextOffset) >= recoveryPoint,
      clean: open === 'check',
      compacted,
      tailExact: end === file.bytes,
    }
  }

  #applyToLog(
    files: readonly SegmentFile[],
    index: number,
    survey: Survey,
    boundary: LogFacts['boundary'],
    decision: LogDecision,
  ): void {
    const { path, bytes } = files[index] as SegmentFile
    const { end, torn, damages } = survey
    const isLonger = bytes > end
    if (decision === 'truncate') {
      this.#truncate(files, index, end, torn ?? 'the next segment does not continue it')
    } else if (boundary === 'last') {
      this.#reportLowEnd(path, survey)
      if (isLonger) zeroTail(path, end)
      else if (survey.depth === 'crc') syncFile(path)
    } else if (boundary === 'joins' && isLonger && damages.length === 0) {
      // Readers were shown the segment up to where the next one begins, and that much stays.
      cutFile(path, end)
      if (decision === 'cut-tail') this.#report(path, end, torn ?? 'stale', 'cut-tail', bytes - end)
    } else if (survey.depth === 'crc') {
      syncFile(path)
    }
    if (boundary === 'missing' && this.#request.compacted !== true) {
      this.#report(path, end, 'offsets are missing behind it', 'keep', 0)
    }
  }

  #truncate(files: readonly SegmentFile[], index: number, end: number, reason: string): void {
    const { path } = files[index] as SegmentFile
    failpoint('recovery-before-cut')
    this.#report(path, end, reason, 'truncate', zeroTail(path, end))
    const later = files.slice(index + 1).reverse()
    for (const file of later) this.#drop(file, 'behind the end of the log')
    if (later.length > 0) syncDirectory(this.#directory)
    failpoint('recovery-after-cut')
  }

  #drop(file: SegmentFile, reason: string): void {
    removeSegmentFiles(this.#directory, file.baseOffset)
    this.#report(file.path, 0, reason, 'drop', file.bytes)
  }

  #reportLowEnd(path: string, { end, nextOffset, damages }: Survey): void {
    if (nextOffset >= this.#request.recoveryPoint || damages.length > 0) return
    this.#report(path, end, `the log ends at ${nextOffset}, below the recovery point`, 'keep', 0)
  }

  #mark(file: SegmentFile, survey: Survey, decision: LogDecision, boundary: LogFacts['boundary']): string | undefined {
    const { damages, nextOffset } = survey
    const first = damages[0]
    const shared = decision === 'yield' ? 'offsets shared with the next segment' : undefined
    const endsLog = boundary === 'last' || decision === 'truncate'
    const fate = decide(MARK_CASES, { damaged: first !== undefined || shared !== undefined, endsLog })
    const reason = first === undefined ? shared : `${first.reason} at ${first.from}`
    writeQuarantineMark(this.#directory, file.baseOffset, reason)
    for (const { from, to, reason: why } of damages) this.#report(file.path, from, why, 'quarantine', to - from)
    if (fate === 'quarantine-and-roll') this.#rollOffset = Math.max(nextOffset, this.#request.recoveryPoint)
    return reason
  }

  #settleIndex(file: SegmentFile, input: SurveyInput, survey: Survey, decision: LogDecision): IndexCounts {
    const { end: endPosition, damages, index, indexFault } = survey
    const { indexIntervalBytes, indexBytesMax } = this.#request
    const { baseOffset } = file
    if (endPosition === 0) {
      removeIndexFiles(this.#directory, baseOffset)
      return NO_INDEX
    }
    const logChanged = decision !== 'keep' || damages.length > 0
    if (decide(INDEX_CASES, { index, logChanged }) === 'keep') return countsOf(input.indexes, endPosition)
    if (index !== 'unchecked') this.#report(file.path, endPosition, indexFault ?? 'the log changed', 'rebuild-index', 0)
    const { log } = input
    const directory = this.#directory
    return rebuildIndex({ directory, log, endPosition, baseOffset, indexIntervalBytes, indexBytesMax, damages })
  }

  #noteEpochs({ baseOffset }: SegmentFile, survey: Survey): void {
    const { depth, epochs, firstEpoch, lastEpoch, nextOffset } = survey
    if (depth === 'edges') this.#epochs.push({ kind: 'edges', baseOffset, nextOffset, firstEpoch, lastEpoch })
    else this.#epochs.push({ kind: 'walked', epochs })
    this.#leaderEpoch = lastEpoch
  }

  /** Sees to it that there is a segment to append to, at or above everything that was ever acknowledged as safe. */
  #ensureActive(): void {
    const { logStartOffset, recoveryPoint } = this.#request
    const last = this.#segments.at(-1)
    const end = last === undefined ? -1 : Math.max(last.nextOffset, this.#rollOffset)
    if (last === undefined) {
      const baseOffset = Math.max(logStartOffset, recoveryPoint)
      if (baseOffset > logStartOffset) {
        this.#report(this.#directory, 0, `no segment is there, the log goes on at ${baseOffset}`, 'roll', 0)
      }
      this.#create(baseOffset)
    } else if (end < logStartOffset) {
      // Records below the log start are deleted, also those that a crash took: their offsets are not given again.
      for (const { baseOffset, sizeBytes } of this.#segments.splice(0).reverse()) {
        const path = join(this.#directory, segmentFileName(baseOffset, 'log'))
        this.#drop({ baseOffset, path, bytes: sizeBytes }, 'below the log start offset')
      }
      this.#epochs.length = 0
      this.#create(logStartOffset)
    } else if (this.#rollOffset >= 0) {
      invariant(end > last.baseOffset, 'a segment with damage holds offsets')
      const path = join(this.#directory, segmentFileName(last.baseOffset, 'log'))
      this.#report(path, last.sizeBytes, `appends go on at ${end}`, 'roll', 0)
      this.#create(end)
    }
  }

  #create(baseOffset: number): void {
    createFile(join(this.#directory, segmentFileName(baseOffset, 'log')))
    this.#segments.push(emptySegmentInfo(baseOffset))
  }

  #recoverEpochs(): readonly EpochEntry[] {
    const checkpoint = readEpochCheckpoint(this.#directory)
    const file = checkpoint.state === 'sound' ? checkpoint.entries : undefined
    const { baseOffset: firstOffset } = this.#segments[0] as SegmentInfo
    const { nextOffset: logEndOffset } = this.#segments.at(-1) as SegmentInfo
    const { compacted = false } = this.#request
    const expected = reconcileEpochs(file, this.#epochs, firstOffset, logEndOffset, compacted)
    const entries = expected ?? reconcileEpochs(file, this.#walkEpochs(), firstOffset, logEndOffset, compacted)
    invariant(entries !== undefined, 'epochs of walked segments need no file')
    const same =
      file?.length === entries.length &&
      entries.every((entry, i) => entry.epoch === file[i]?.epoch && entry.startOffset === file[i]?.startOffset)
    if (same || (checkpoint.state === 'missing' && entries.length === 0)) return entries
    writeEpochCheckpoint(this.#directory, entries)
    // That it follows a log which was truncated, or went on without it, is nothing to report.
    if (file === undefined || expected === undefined) {
      const reason = file === undefined ? checkpoint.state : 'it contradicts the log'
      this.#report(join(this.#directory, EPOCH_CHECKPOINT_NAME), 0, reason, 'rewrite-epochs', 0)
    }
    return entries
  }

  /** The checkpoint is of no use, so every segment that was read at its edges only is walked for its epochs. */
  #walkEpochs(): SegmentEpochs[] {
    let leaderEpoch = -1
    return this.#epochs.map((known, index) => {
      const { baseOffset, sizeBytes } = this.#segments[index] as SegmentInfo
      if (known.kind === 'walked') {
        leaderEpoch = known.epochs.at(-1)?.epoch ?? leaderEpoch
        return known
      }
      const mapping = Mapping.ofPath(join(this.#directory, segmentFileName(baseOffset, 'log')), sizeBytes)
      try {
        const scan = scanSegment(mapping.region, 0, sizeBytes, { baseOffset, leaderEpoch, checkCrc: false })
        this.#scannedBytes += scan.end
        leaderEpoch = scan.lastEpoch
        return { kind: 'walked', epochs: scan.epochs }
      } finally {
        mapping.release()
      }
    })
  }

  #report(path: string, position: number, reason: string, decision: ReportedDecision, bytes: number): void {
    this.#reports.push({ path, position, reason, decision, bytes })
  }

  /** @param knownProducers how many there were at a clean close, undefined when that is not known */
  #result(
    segments: readonly SegmentInfo[],
    epochs: readonly EpochEntry[],
    knownProducers: number | undefined,
  ): RecoveryResult {
    const first = segments[0] as SegmentInfo
    const last = segments.at(-1) as SegmentInfo
    // Compaction may have left nothing of the first segments: the log begins where it did.
    const { logStartOffset: before, compacted = false } = this.#request
    const logStartOffset = compacted ? before : Math.max(before, first.baseOffset)
    invariant(logStartOffset <= last.nextOffset, 'a log does not start behind its end')
    const { entries: producers } = recoverProducers(this.#directory, segments, knownProducers, this.#reports)
    return {
      segments,
      logStartOffset,
      logEndOffset: last.nextOffset,
      leaderEpoch: epochs.at(-1)?.epoch ?? -1,
      epochs,
      producers,
      reports: this.#reports,
      scannedBytes: this.#scannedBytes,
    }
  }
}

function countsOf(indexes: IndexBytes | undefined, indexedPosition: number): IndexCounts {
  invariant(indexes !== undefined, 'an index that is kept is there')
  return {
    offsetEntries: indexes.offsets.length / OFFSET_ENTRY.sizeBytes,
    timeEntries: indexes.times.length / TIME_ENTRY.sizeBytes,
    indexedPosition,
  }
}
