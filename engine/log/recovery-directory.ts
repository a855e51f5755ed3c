/**
 * The files of a partition's folder as recovery finds them: tidying up what an interrupted deletion or replacement left, and
 * the segments that remain. Runs in janitor jobs, before anybody else opens the folder.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decide } from '../base/case-table.ts'
import { fileError } from '../base/errors.ts'
import { parseSegmentFileName, segmentFileName } from '../format/file-names.ts'
import { Mapping } from '../memory/mapping.ts'
import { EPOCH_CHECKPOINT_NAME } from './epoch-checkpoint-file.ts'
import { FILE_CASES, type FileFacts } from './recovery-cases.ts'
import {
  fileBytes,
  listDirectory,
  REPAIR_SUFFIX,
  removeFile,
  renameFile,
  replaceFile,
  syncDirectory,
} from './recovery-files.ts'
import type { RecoveryReport } from './recovery-types.ts'
import { scanSegment } from './segment-scan.ts'
import { DELETED_SUFFIX, removeCleaningFolder, SWAP_SUFFIX } from './segment-swap.ts'

/** Suffix of the file that says what is damaged in a segment; it is deleted with the segment. */
export const QUARANTINE_SUFFIX = 'quarantined'

const COMPANIONS: readonly string[] = ['index', 'timeindex', 'txnindex', QUARANTINE_SUFFIX]
const HALF_DONE: readonly string[] = [REPAIR_SUFFIX, '.cleaned', '.tmp']

export interface SegmentFile {
  readonly baseOffset: number
  readonly path: string
  readonly bytes: number
}

interface FoundFile {
  readonly name: string
  readonly kind: FileFacts['kind']
  /** Name without the ending that says what was going on. */
  readonly stem: string
  readonly baseOffset: number
}

/** Tidies the folder up and lists its segments, ascending. @throws DIRECTORY_NOT_FOUND, IO_ERROR */
export function tidyDirectory(directory: string, logStartOffset: number, reports: RecoveryReport[]): SegmentFile[] {
  removeCleaningFolder(directory)
  const swaps = wholeSwaps(directory)
  for (const swap of swaps) removeCovered(directory, swap, reports)
  const files = listDirectory(directory).map(name => doubted(classify(name), swaps))
  const logs = new Set(files.filter(file => file.kind === 'log').map(file => file.baseOffset))
  const all = new Set(logs)
  for (const { kind, stem, baseOffset } of files) if (kind === 'swap' && stem.endsWith('.log')) all.add(baseOffset)
  const bases = [...all].sort((a, b) => a - b)
  const belowStart = new Set(bases.filter((_, index) => (bases[index + 1] ?? Infinity) <= logStartOffset))
  const kept = new Set<number>()
  let changed = false
  for (const file of files) {
    const path = join(directory, file.name)
    const { kind, baseOffset } = file
    const decision = decide(FILE_CASES, {
      kind,
      logThere: logs.has(baseOffset),
      belowStart: belowStart.has(baseOffset),
    })
    if (kind === 'log' && decision === 'keep') kept.add(baseOffset)
    if (decision === 'keep') continue
    const report = { path, position: 0, reason: kind, bytes: fileBytes(path) ?? 0 }
    if (decision === 'delete') {
      removeFile(path)
      reports.push({ ...report, decision: 'finish-delete' })
    } else {
      renameFile(path, join(directory, file.stem))
      if (file.stem.endsWith('.log')) kept.add(baseOffset)
      reports.push({ ...report, decision: 'restore' })
    }
    changed = true
  }
  if (changed) syncDirectory(directory)
  return [...kept].sort((a, b) => a - b).map(baseOffset => segmentFile(directory, baseOffset))
}

interface WholeSwap {
  readonly baseOffset: number
  /** Offset behind its last batch. */
  readonly nextOffset: number
}

/** Compacted segments whose swap was under way. They were durable before they got their name; anything else is no swap of ours. */
function wholeSwaps(directory: string): WholeSwap[] {
  const swaps: WholeSwap[] = []
  for (const name of listDirectory(directory)) {
    const stem = name.slice(0, -SWAP_SUFFIX.length)
    const parsed = name.endsWith(SWAP_SUFFIX) ? parseSegmentFileName(stem) : undefined
    if (parsed?.suffix !== 'log') continue
    const path = join(directory, name)
    const bytes = fileBytes(path) ?? 0
    if (bytes === 0) continue
    const mapping = Mapping.ofPath(path, bytes)
    try {
      const { baseOffset } = parsed
      const { end, nextOffset } = scanSegment(mapping.region, 0, bytes, { baseOffset })
      const isOnlyCopy = fileBytes(join(directory, stem)) === undefined
      if (end === bytes || isOnlyCopy) swaps.push({ baseOffset, nextOffset })
    } finally {
      mapping.release()
    }
  }
  return swaps
}

/** Deletes the segments that a swap was made from, but for its namesake, which it replaces; and the indexes of that one. */
function removeCovered(directory: string, { baseOffset, nextOffset }: WholeSwap, reports: RecoveryReport[]): void {
  for (const name of listDirectory(directory)) {
    const parsed = parseSegmentFileName(name)
    if (parsed?.suffix !== 'log' || parsed.baseOffset <= baseOffset || parsed.baseOffset >= nextOffset) continue
    const path = join(directory, name)
    reports.push({ path, position: 0, reason: 'compacted', bytes: fileBytes(path) ?? 0, decision: 'finish-delete' })
    removeSegmentFiles(directory, parsed.baseOffset)
  }
  removeIndexFiles(directory, baseOffset)
  syncDirectory(directory)
}

/** A swap file that is not whole is something half-done. */
function doubted(file: FoundFile, swaps: readonly WholeSwap[]): FoundFile {
  if (file.kind !== 'swap' || !file.stem.endsWith('.log')) return file
  return swaps.some(({ baseOffset }) => baseOffset === file.baseOffset) ? file : { ...file, kind: 'half-done' }
}

function segmentFile(directory: string, baseOffset: number): SegmentFile {
  const path = join(directory, segmentFileName(baseOffset, 'log'))
  return { baseOffset, path, bytes: fileBytes(path) ?? 0 }
}

function classify(name: string): FoundFile {
  const found = (ending: string, kind: FileFacts['kind']): FoundFile | undefined => {
    const stem = name.slice(0, name.length - ending.length)
    const parsed = parseSegmentFileName(stem)
    const ours = parsed !== undefined || stem === EPOCH_CHECKPOINT_NAME
    return ours ? { name, kind, stem, baseOffset: parsed?.baseOffset ?? -1 } : undefined
  }
  for (const ending of HALF_DONE) if (name.endsWith(ending)) return found(ending, 'half-done') ?? other(name)
  if (name.endsWith(DELETED_SUFFIX)) return found(DELETED_SUFFIX, 'deleted') ?? other(name)
  if (name.endsWith(SWAP_SUFFIX)) return found(SWAP_SUFFIX, 'swap') ?? other(name)
  const parsed = parseSegmentFileName(name)
  if (parsed?.suffix === 'log') return { name, kind: 'log', stem: name, baseOffset: parsed.baseOffset }
  if (parsed !== undefined && COMPANIONS.includes(parsed.suffix)) {
    return { name, kind: 'companion', stem: name, baseOffset: parsed.baseOffset }
  }
  return other(name)
}

function other(name: string): FoundFile {
  return { name, kind: 'other', stem: name, baseOffset: -1 }
}

/** Deletes a segment and what was known of producers where it began: its log last, so that a crash leaves a log, which is dropped again, and no marker without one. */
export function removeSegmentFiles(directory: string, baseOffset: number): void {
  for (const suffix of [...COMPANIONS, 'snapshot', 'log']) removeFile(companionPath(directory, baseOffset, suffix))
}

export function removeIndexFiles(directory: string, baseOffset: number): void {
  removeFile(companionPath(directory, baseOffset, 'index'))
  removeFile(companionPath(directory, baseOffset, 'timeindex'))
}

/** Producer snapshots above the end of the log describe records that are gone. */
export function removeSnapshotsAbove(directory: string, offset: number): void {
  for (const name of listDirectory(directory)) {
    const parsed = parseSegmentFileName(name)
    if (parsed?.suffix === 'snapshot' && parsed.baseOffset > offset) removeFile(join(directory, name))
  }
}

/** What an earlier recovery found damaged in a segment, `undefined` when it is not marked. */
export function readQuarantineMark(directory: string, baseOffset: number): string | undefined {
  const path = companionPath(directory, baseOffset, QUARANTINE_SUFFIX)
  if (fileBytes(path) === undefined) return undefined
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw fileError(error, { path })
  }
}

/** Marks a segment as damaged, durably, or takes the mark away. */
export function writeQuarantineMark(directory: string, baseOffset: number, reason: string | undefined): void {
  if (readQuarantineMark(directory, baseOffset) === reason) return
  const path = companionPath(directory, baseOffset, QUARANTINE_SUFFIX)
  if (reason === undefined) removeFile(path)
  else replaceFile(path, Buffer.from(`${reason}\n`))
}

function companionPath(directory: string, baseOffset: number, suffix: string): string {
  return join(directory, segmentFileName(baseOffset, 'log').replace(/log$/, suffix))
}
