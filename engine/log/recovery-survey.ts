/**
 * Reads one segment as closely as recovery needs and says what is there: where its good part ends, what is damaged, and whether
 * its indexes are right. Changes nothing. Runs in janitor jobs over a mapping that the caller holds.
 */
import { decide } from '../base/case-table.ts'
import { baseOffsetOf, baseTimestampOf, checkBatch, leaderEpochOf } from '../format/record-batch.ts'
import type { Region } from '../format/region.ts'
import { TIME_ENTRY, timeEntryRelativeOffset, timeEntryTimestamp } from '../format/time-index.ts'
import type { EpochEntry } from './epoch-checkpoint-file.ts'
import { DEPTH_CASES, FAULT_CASES } from './recovery-cases.ts'
import { checkIndex, type IndexBytes, type IndexCheck } from './recovery-index.ts'
import { contentEnd, earlierBatchLied, findSoundBatch, isTrueGap } from './recovery-salvage.ts'
import { type ScanFaultReason, SegmentScan } from './segment-scan.ts'

/** Separate places of damage that are told apart in a segment; behind them the rest of it is one. Keeps reports and jobs small. */
const DAMAGES_MAX = 1_024

export interface SurveyInput {
  /** Bytes of the `.log` file, all of them. */
  readonly log: Region
  readonly baseOffset: number
  /** Base offset of the segment behind it, `undefined` for the last one. */
  readonly nextBase: number | undefined
  readonly open: 'check' | 'recover'
  readonly recoveryPoint: number
  readonly compacted: boolean
  /** Leader epoch of the last batch of the segment before, -1 when unknown. */
  readonly leaderEpoch: number
  readonly indexIntervalBytes: number
  /** `undefined` when an index file is missing. */
  readonly indexes: IndexBytes | undefined
  /** An earlier recovery marked the segment as damaged. */
  readonly marked: boolean
  /** Read only up to the batch that reaches this offset. */
  readonly untilOffset?: number
}

/** Why bytes are damage: a bad batch, or `zeros` where there must be batches. */
export type DamageReason = ScanFaultReason | 'zeros'

/** A stretch of a segment without a sound batch. */
export interface Damage {
  readonly from: number
  readonly to: number
  readonly reason: DamageReason
}

export interface Survey {
  readonly depth: 'crc' | 'headers' | 'edges'
  /** Position behind what is kept. */
  readonly end: number
  readonly nextOffset: number
  readonly firstTimestamp: number
  readonly maxTimestamp: number
  readonly maxTimestampOffset: number
  /** Leader epoch of the first batch; only with `edges`. */
  readonly firstEpoch: number
  /** Leader epoch of the last batch; that of the segment before when there is none. */
  readonly lastEpoch: number
  /** Where larger epochs begin; with `edges` only what the edges show. */
  readonly epochs: readonly EpochEntry[]
  /** Damage at rest, in order. */
  readonly damages: readonly Damage[]
  /** Why the log ends at `end`, when it does not end by itself. */
  readonly torn: DamageReason | undefined
  readonly index: 'sound' | 'wrong' | 'missing' | 'unchecked'
  readonly indexFault: string | undefined
  readonly scannedBytes: number
}

export function surveySegment(input: SurveyInput): Survey {
  const { log, baseOffset, indexIntervalBytes, indexes, nextBase, open } = input
  const aboveRecoveryPoint = nextBase === undefined || nextBase > input.recoveryPoint
  const checked = { log, baseOffset, indexIntervalBytes }
  const early =
    open === 'recover' && !aboveRecoveryPoint && indexes !== undefined
      ? checkIndex(indexes, { ...checked, endPosition: log.length })
      : undefined
  const depth = decide(DEPTH_CASES, {
    open,
    aboveRecoveryPoint,
    index: indexState(early),
    marked: input.marked,
  })
  if (depth === 'edges' && early !== undefined && indexes !== undefined && input.untilOffset === undefined) {
    const survey = edges(input, indexes, early)
    if (survey !== undefined) return survey
  }
  let walked = walk(input, depth === 'crc')
  // A header that is damaged misleads about all that follows, unless its CRC is checked.
  const isDoubtful = walked.torn !== undefined || walked.damages.length > 0 || !meetsNext(input, walked.nextOffset)
  const isChecked = depth === 'crc' || isDoubtful
  if (isChecked && depth !== 'crc') walked = walk(input, true)
  // Indexes are not worth a look where they are built anew anyway.
  const rebuilt = walked.damages.length > 0 || (open === 'recover' && aboveRecoveryPoint)
  const { end: endPosition, maxTimestamp } = walked
  const check =
    rebuilt || indexes === undefined ? undefined : checkIndex(indexes, { ...checked, endPosition, maxTimestamp })
  return {
    ...walked,
    depth: isChecked ? 'crc' : 'headers',
    index: rebuilt ? 'unchecked' : indexState(check),
    indexFault: check?.fault ?? (indexes === undefined ? 'an index file is missing' : undefined),
  }
}

function indexState(check: IndexCheck | undefined): 'sound' | 'wrong' | 'missing' {
  if (check === undefined) return 'missing'
  return check.fault === undefined ? 'sound' : 'wrong'
}

/** The segment goes on to where the next one begins; when it was compacted the last records may be missing. */
function meetsNext({ nextBase, compacted }: SurveyInput, nextOffset: number): boolean {
  return nextBase === undefined || nextOffset === nextBase || (compacted && nextOffset < nextBase)
}

/** A closed segment below the recovery point whose indexes are right; `undefined` when it must be walked after all. */
function edges(input: SurveyInput, indexes: IndexBytes, { tail }: IndexCheck): Survey | undefined {
  const { log, baseOffset, nextBase } = input
  if (tail === undefined || log.length === 0) return undefined
  // Zeros behind its end are fine when nothing is missing; else there may be batches behind them.
  if (!meetsNext(input, tail.nextOffset) || (tail.end < log.length && tail.nextOffset !== nextBase)) return undefined
  if (checkBatch(log, 0, log.length, false) !== undefined) return undefined
  const { length, view } = indexes.times
  const last = length / TIME_ENTRY.sizeBytes - 1
  const firstEpoch = leaderEpochOf(log.view, 0)
  return {
    depth: 'edges',
    end: tail.end,
    nextOffset: tail.nextOffset,
    firstTimestamp: baseTimestampOf(log.view, 0),
    maxTimestamp: last < 0 ? -1 : timeEntryTimestamp(view, last),
    maxTimestampOffset: last < 0 ? -1 : baseOffset + timeEntryRelativeOffset(view, last),
    firstEpoch,
    lastEpoch: tail.lastEpoch,
    epochs: [],
    damages: [],
    torn: undefined,
    index: 'sound',
    indexFault: undefined,
    scannedBytes: 0,
  }
}

type Walk = Omit<Survey, 'depth' | 'index' | 'indexFault'>

/** Walks the batches, and around damage at rest. */
function walk(input: SurveyInput, checkCrc: boolean): Walk {
  const { log, baseOffset, leaderEpoch, untilOffset, compacted, nextBase, recoveryPoint } = input
  const until = untilOffset === undefined ? {} : { untilOffset }
  const scan = new SegmentScan(0, { baseOffset, leaderEpoch, checkCrc, gapless: !compacted, ...until })
  const damages: Damage[] = []
  let torn: DamageReason | undefined
  for (;;) {
    const fault = scan.run(log, log.length).fault ?? endsEarly(input, scan)
    if (fault === undefined) break
    const { reason, position } = fault
    if (reason === 'gap' && isSafe(input, scan.nextOffset) && goesOnBehindGap(input, scan, position)) {
      goOnAt(scan, log, position)
      continue
    }
    const lied =
      reason !== 'zeros' &&
      isSafe(input, scan.previousOffset) &&
      earlierBatchLied(scan, log, position, log.length, reason)
    if (lied) scan.takeLastBack()
    const found = lied ? position : soundBehind(input, scan, position, damages.length)
    if (isTorn(input, scan, found !== -1 || damages.length >= DAMAGES_MAX)) {
      torn = reason
      break
    }
    if (found !== -1) {
      damages.push({ from: scan.end, to: found, reason })
      goOnAt(scan, log, found)
      continue
    }
    const staleAt = staleBehind(input, scan, position)
    const to = contentEnd(log, scan.end, staleAt === -1 ? log.length : staleAt)
    // Zeros to the end of the last segment are an end like any other: a truncation whose recovery point was not stored yet.
    if (reason === 'zeros' && to === scan.end && staleAt === -1 && nextBase === undefined && damages.length === 0) break
    damages.push({ from: scan.end, to, reason })
    scan.end = to
    // What is unreadable may be anything up to there.
    scan.nextOffset = Math.max(scan.nextOffset, nextBase ?? recoveryPoint)
    if (staleAt !== -1) torn = reason
    break
  }
  const { end, nextOffset, firstTimestamp, maxTimestamp, maxTimestampOffset, epochs, lastEpoch } = scan
  return {
    end,
    nextOffset,
    firstTimestamp,
    maxTimestamp,
    maxTimestampOffset,
    firstEpoch: -1,
    lastEpoch,
    epochs,
    damages,
    torn,
    scannedBytes: end,
  }
}

/** Records are missing in front of the batch, but it belongs to the log: a stale one would have an older leader epoch. */
function goesOnBehindGap(input: SurveyInput, scan: SegmentScan, position: number): boolean {
  const { log, baseOffset } = input
  if (leaderEpochOf(log.view, position) < scan.lastEpoch) return false
  return isTrueGap(log, position, log.length, baseOffset, knownEnd(input))
}

function goOnAt(scan: SegmentScan, { view }: Region, position: number): void {
  scan.skipTo(position, baseOffsetOf(view, position), leaderEpochOf(view, position))
}

/** What had this offset was durable, so something is to be found there. Else whatever is wrong ends the log: a crash may have torn it. */
function isSafe({ open, recoveryPoint }: SurveyInput, offset: number): boolean {
  return open === 'check' || offset < recoveryPoint
}

/** The log is known to reach this offset in the segment, and not to pass it. */
function knownEnd({ open, nextBase, recoveryPoint }: SurveyInput): number {
  return nextBase ?? (open === 'check' ? Infinity : recoveryPoint)
}

/** The next sound batch that continues the log, -1 when there is none or it does not matter. */
function soundBehind(input: SurveyInput, scan: SegmentScan, position: number, damages: number): number {
  if (!isSafe(input, scan.nextOffset) || damages >= DAMAGES_MAX) return -1
  const { log, baseOffset, open, compacted } = input
  // Where appends may have been under way, the log must go on without a hole from the recovery point on.
  const logEnd = knownEnd(input)
  return findSoundBatch(log, position, log.length, {
    minOffset: scan.nextOffset,
    maxOffset: logEnd,
    baseOffset,
    knownEnd: logEnd,
    gapless: open === 'recover' && !compacted,
  })
}

/** A sound batch behind damage at rest that leaves a hole above the recovery point: stale, or torn from what it continued. */
function staleBehind(
  { log, baseOffset, nextBase, open, recoveryPoint }: SurveyInput,
  scan: SegmentScan,
  position: number,
): number {
  if (open === 'check' || nextBase !== undefined) return -1
  const minOffset = Math.max(scan.nextOffset, recoveryPoint + 1)
  const bounds = { minOffset, maxOffset: Infinity, baseOffset, knownEnd: 0, gapless: false }
  return findSoundBatch(log, position, log.length, bounds)
}

function isTorn(input: SurveyInput, scan: SegmentScan, goesOn: boolean): boolean {
  const decision = decide(FAULT_CASES, {
    aboveRecoveryPoint: scan.nextOffset >= input.recoveryPoint,
    clean: input.open === 'check',
    soundBehind: goesOn || input.nextBase !== undefined,
  })
  return decision === 'torn'
}

/**
 * Zeros before the offset up to which there must be batches: below the recovery point, and, when all was closed well, up to the
 * next segment, or as long as anything follows.
 */
function endsEarly(input: SurveyInput, scan: SegmentScan): { position: number; reason: 'zeros' } | undefined {
  const { log, nextBase, recoveryPoint, open } = input
  const { end, nextOffset } = scan
  // A sound batch is where it was told to stop.
  if (end >= log.length || checkBatch(log, end, log.length, false) === undefined) return undefined
  const safeEnd = open === 'check' ? (nextBase ?? recoveryPoint) : Math.min(nextBase ?? recoveryPoint, recoveryPoint)
  const isFollowed = open === 'check' && nextBase === undefined && contentEnd(log, end, log.length) > end
  return nextOffset < safeEnd || isFollowed ? { position: end, reason: 'zeros' } : undefined
}
