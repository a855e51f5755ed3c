/**
 * Verifies a partition: which segments it has and what is known of them, and, once each was verified by itself, whether they
 * continue each other, reach the end of the log, and have the leader epochs that the checkpoint file says. Changes nothing; the
 * partition may have a live owner, or none. Any thread.
 */
import { join } from 'node:path'
import { parseSegmentFileName, segmentFileName } from '../format/file-names.ts'
import { type ControlBlock, SLOT } from '../memory/control-block.ts'
import { SEGMENT, type SegmentTable } from '../memory/segment-table.ts'
import { EPOCH_CHECKPOINT_NAME, readEpochCheckpoint } from './epoch-checkpoint-file.ts'
import { reconcileEpochs } from './recovery-epochs.ts'
import { listDirectory } from './recovery-files.ts'
import type { SegmentInfo } from './recovery-types.ts'
import type { Finding, SegmentToVerify, SegmentVerification } from './verify-types.ts'

/** A partition with all that is to be verified in it. */
export interface PartitionToVerify {
  readonly directory: string
  readonly segments: readonly SegmentToVerify[]
  /** Offset up to which there must be records; undefined when it is not known. */
  readonly logEndOffset: number | undefined
  /** Records may be missing anywhere. */
  readonly isCompacted: boolean
  /** What the names of the files show by themselves. */
  readonly findings: readonly Finding[]
}

export interface PartitionVerification {
  readonly segments: number
  readonly logBytes: number
  readonly batches: number
  readonly records: number
  readonly indexEntries: number
  readonly findings: readonly Finding[]
}

// ── beside a live owner ───────────────────────────────────────────────────────────────────────────────────────────────

/** What tells a segment from another that took its place: compaction replaces files under their names. */
export type SegmentKey = string

/**
 * A partition as its owner has published it. Undefined when the owner kept changing it: try again.
 * @returns with the keys of its segments, in order
 */
export function planPublished(
  directory: string,
  slot: number,
  control: ControlBlock,
  table: SegmentTable,
): { readonly partition: PartitionToVerify; readonly keys: readonly SegmentKey[] } | undefined {
  const snapshot = control.snapshot(slot)
  if (snapshot === undefined) return undefined
  const listed: { entry: number; segment: Omit<SegmentToVerify, 'endOffset'> }[] = []
  for (let entry = snapshot.headSegment; entry >= 0 && listed.length < snapshot.segmentCount; ) {
    listed.push({ entry, segment: published(directory, entry, table, control.get(slot, SLOT.cleanedOffset)) })
    entry = table.get(entry, SEGMENT.nextSegment)
  }
  if (control.get(slot, SLOT.generation) !== snapshot.generation) return undefined
  const { logEndOffset, leaderEpoch } = snapshot
  const segments = listed.map(({ segment }, index) => ({
    ...segment,
    endOffset: listed[index + 1]?.segment.baseOffset ?? logEndOffset,
  }))
  const isCompacted = control.get(slot, SLOT.cleanedOffset) > 0
  return {
    partition: { directory, segments, logEndOffset, isCompacted, findings: [] },
    keys: listed.map(({ entry, segment }) => `${segment.baseOffset} ${entry} ${leaderEpoch}`),
  }
}

function published(
  directory: string,
  entry: number,
  table: SegmentTable,
  cleanedOffset: number,
): Omit<SegmentToVerify, 'endOffset'> {
  // Counts first: entries are made for batches that were published before.
  const offsetEntries = table.get(entry, SEGMENT.offsetEntries)
  const timeEntries = table.get(entry, SEGMENT.timeEntries)
  const sizeBytes = table.get(entry, SEGMENT.sizeBytes)
  const baseOffset = table.get(entry, SEGMENT.baseOffset)
  return {
    directory,
    baseOffset,
    sizeBytes,
    endPosition: sizeBytes,
    hasGaps: baseOffset < cleanedOffset,
    tornFromOffset: Number.POSITIVE_INFINITY,
    // Its owner may be adding the last entry of a closed segment just now.
    indexes: { offsetEntries, timeEntries, isComplete: false },
  }
}

// ── without an owner ──────────────────────────────────────────────────────────────────────────────────────────────────

/** What the store says about a partition that nobody has open. */
export interface StoredPartition {
  /** The last owner closed it, so everything is as it was left. */
  readonly isClean: boolean
  /** Everything below was flushed. */
  readonly recoveryPoint: number
  readonly logStartOffset: number
  /** Records may be missing below. */
  readonly cleanedOffset: number
  /** `cleanup.policy` has `compact`: a crash may have kept it from saying how far it came. */
  readonly compacts: boolean
  /** The segments at the clean close. */
  readonly segments?: readonly SegmentInfo[]
}

/** A partition as its files are. @throws DIRECTORY_NOT_FOUND, IO_ERROR */
export function planFolder(directory: string, stored: StoredPartition): PartitionToVerify {
  const { isClean, recoveryPoint, cleanedOffset, compacts } = stored
  const findings: Finding[] = []
  const bases = listSegments(directory, findings)
  const known = isClean ? stored.segments : undefined
  const all = known === undefined ? bases : mergedBases(bases, known)
  const isCompacted = cleanedOffset > 0 || (!isClean && compacts)
  const segments = all.map((baseOffset, index): SegmentToVerify => {
    const asLeft = known?.find(segment => segment.baseOffset === baseOffset)
    const nextBase = all[index + 1]
    return {
      directory,
      baseOffset,
      sizeBytes: undefined,
      endPosition: asLeft?.sizeBytes,
      endOffset: nextBase ?? asLeft?.nextOffset,
      hasGaps: baseOffset < cleanedOffset || (!isClean && compacts),
      tornFromOffset: isClean ? Number.POSITIVE_INFINITY : recoveryPoint,
      indexes: expectedIndexes(isClean, asLeft, nextBase, recoveryPoint),
    }
  })
  return {
    directory,
    segments,
    logEndOffset: known?.at(-1)?.nextOffset ?? (recoveryPoint > 0 ? recoveryPoint : undefined),
    isCompacted,
    findings,
  }
}

function expectedIndexes(
  isClean: boolean,
  asLeft: SegmentInfo | undefined,
  nextBase: number | undefined,
  recoveryPoint: number,
): SegmentToVerify['indexes'] {
  if (asLeft !== undefined) {
    const { offsetEntries, timeEntries, indexedPosition, sizeBytes } = asLeft
    return { offsetEntries, timeEntries, isComplete: nextBase !== undefined && indexedPosition === sizeBytes }
  }
  // After a crash those of a segment that reaches above the recovery point are built anew.
  const isKept = isClean ? nextBase !== undefined : nextBase !== undefined && nextBase <= recoveryPoint
  return isKept ? { offsetEntries: undefined, timeEntries: undefined, isComplete: true } : undefined
}

function listSegments(directory: string, findings: Finding[]): number[] {
  const bases: number[] = []
  for (const name of listDirectory(directory)) {
    const parsed = parseSegmentFileName(name)
    if (parsed?.suffix === 'log') bases.push(parsed.baseOffset)
    else if (parsed === undefined && name.endsWith('.log')) {
      const reason = 'the name of a segment is a base offset of 20 digits'
      findings.push({ kind: 'file', severity: 'damage', path: join(directory, name), position: 0, reason })
    }
  }
  return bases.sort((a, b) => a - b)
}

/** With those that should be there and are not. */
function mergedBases(bases: readonly number[], known: readonly SegmentInfo[]): number[] {
  return [...new Set([...bases, ...known.map(({ baseOffset }) => baseOffset)])].sort((a, b) => a - b)
}

// ── segments together ─────────────────────────────────────────────────────────────────────────────────────────────────

/** @param verified one for each segment of the partition, in their order; undefined for one that is gone meanwhile */
export function joinSegments(
  partition: PartitionToVerify,
  verified: readonly (SegmentVerification | undefined)[],
): PartitionVerification {
  const findings: Finding[] = [...partition.findings]
  let before: SegmentVerification | undefined
  let isTorn = false
  for (const [index, segment] of verified.entries()) {
    if (segment === undefined) {
      before = undefined
      continue
    }
    if (before !== undefined) findings.push(...boundaryFindings(partition, index, before, segment))
    // What follows a torn batch goes with it.
    findings.push(...segment.findings.map(finding => (isTorn ? { ...finding, severity: 'torn' as const } : finding)))
    isTorn ||= segment.isTorn
    before = segment
  }
  const present = verified.filter(segment => segment !== undefined)
  if (present.length === verified.length && !isTorn) findings.push(...endFindings(partition, present))
  const sum = (figure: (segment: SegmentVerification) => number): number =>
    present.reduce((total, segment) => total + figure(segment), 0)
  return {
    segments: present.length,
    logBytes: sum(({ logBytes }) => logBytes),
    batches: sum(({ batches }) => batches),
    records: sum(({ records }) => records),
    indexEntries: sum(({ indexEntries }) => indexEntries),
    findings,
  }
}

function boundaryFindings(
  { directory, segments }: PartitionToVerify,
  index: number,
  before: SegmentVerification,
  segment: SegmentVerification,
): Finding[] {
  const path = join(directory, segmentFileName(segment.baseOffset, 'log'))
  const { hasGaps, tornFromOffset } = segments[index] as SegmentToVerify
  const place = { severity: 'damage', path, position: 0 } as const
  const found: Finding[] = []
  const { nextOffset, isCutShort, isTorn, lastEpoch } = before
  if (nextOffset > segment.baseOffset) {
    found.push({ ...place, kind: 'batch', reason: 'the segment before has the same offsets' })
  } else if (nextOffset < segment.baseOffset && !hasGaps && !isCutShort && !isTorn) {
    const lost = { baseOffset: nextOffset, nextOffset: segment.baseOffset }
    const severity = nextOffset >= tornFromOffset ? 'torn' : 'damage'
    found.push({ ...place, kind: 'gap', severity, reason: 'records are missing in front of the segment', ...lost })
  }
  const firstEpoch = segment.epochs[0]?.epoch ?? lastEpoch
  if (firstEpoch < lastEpoch) {
    found.push({ ...place, kind: 'epoch', reason: 'the leader epoch is lower than in the segment before' })
  }
  return found
}

function endFindings(partition: PartitionToVerify, verified: readonly SegmentVerification[]): Finding[] {
  const { directory, logEndOffset } = partition
  const last = verified.at(-1)
  const found: Finding[] = []
  const nextOffset = last?.nextOffset ?? 0
  if (logEndOffset !== undefined && nextOffset < logEndOffset && last?.isCutShort !== true) {
    const path = last === undefined ? directory : join(directory, segmentFileName(last.baseOffset, 'log'))
    const reason = `the log ends at offset ${nextOffset}, and not at ${logEndOffset}`
    const position = last?.logBytes ?? 0
    found.push({
      kind: 'gap',
      severity: 'damage',
      path,
      position,
      reason,
      baseOffset: nextOffset,
      nextOffset: logEndOffset,
    })
  }
  const epochs = verified.some(({ findings }) => findings.length > 0) ? undefined : epochFinding(partition, verified)
  return epochs === undefined ? found : [...found, epochs]
}

/** Where batches are damaged, the epochs that the log shows may not be all. */
function epochFinding(partition: PartitionToVerify, verified: readonly SegmentVerification[]): Finding | undefined {
  const { directory, isCompacted } = partition
  const last = verified.at(-1)
  if (last === undefined) return undefined
  const path = join(directory, EPOCH_CHECKPOINT_NAME)
  const finding = (reason: string): Finding => ({ kind: 'epoch', severity: 'damage', path, position: 0, reason })
  const checkpoint = readEpochCheckpoint(directory)
  if (checkpoint.state === 'damaged') return finding('the file cannot be read')
  const said = checkpoint.state === 'sound' ? checkpoint.entries : []
  const entries = said.filter(({ startOffset }) => startOffset <= last.nextOffset)
  const shown = verified.map(({ epochs }) => ({ kind: 'walked', epochs }) as const)
  const firstOffset = (verified[0] as SegmentVerification).baseOffset
  const expected = reconcileEpochs(entries, shown, firstOffset, last.nextOffset, isCompacted) ?? []
  const isSame =
    entries.length === expected.length &&
    expected.every(
      ({ epoch, startOffset }, i) => entries[i]?.epoch === epoch && entries[i]?.startOffset === startOffset,
    )
  if (isSame) return undefined
  const begins = expected.map(({ epoch, startOffset }) => `${epoch} at ${startOffset}`).join(', ')
  return finding(
    `leader epochs of the log are ${begins}${checkpoint.state === 'missing' ? ', and the file is missing' : ''}`,
  )
}
