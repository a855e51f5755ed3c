/**
 * How compacted segments take the place of those that they were made from, so that a crash at any point leaves the old ones or
 * the new ones. File names, as in Kafka:
 *
 *     cleaning/X.log, .index, .timeindex    being written; recovery deletes the folder
 *     X.log.swap                            whole and durable: from here on recovery completes the swap
 *     Y.log.deleted, …                      replaced, to be deleted; readers that map it keep it
 *
 * X is the base offset of the first segment of a group. `stageSwap` runs in a job, `applySwap` in the partition's writer while the
 * generation is odd, since readers open files by name; it only renames. `sweepSwap` runs in a job afterwards.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { failpoint } from '../base/failpoints.ts'
import { segmentFileName } from '../format/file-names.ts'
import { removeStraySnapshots } from './producer-snapshot-file.ts'
import { fileBytes, listDirectory, listSegmentBases, removeFile, renameFile, syncDirectory } from './recovery-files.ts'

/** Folder inside a partition's folder. */
export const CLEANING_FOLDER = 'cleaning'
export const SWAP_SUFFIX = '.swap'
export const DELETED_SUFFIX = '.deleted'

const INDEXES = ['index', 'timeindex'] as const

/** A group of neighbouring segments and what replaces them. */
export interface SegmentGroup {
  /** Base offsets, ascending; the first is that of the new segment. */
  readonly replaced: readonly number[]
  /** False when nothing of them is kept. */
  readonly hasSegment: boolean
}

/** An empty folder to write new segments to. */
export function openCleaningFolder(directory: string): string {
  removeCleaningFolder(directory)
  const path = join(directory, CLEANING_FOLDER)
  try {
    mkdirSync(path)
  } catch (error) {
    throw fileError(error, { path })
  }
  return path
}

export function removeCleaningFolder(directory: string): void {
  const path = join(directory, CLEANING_FOLDER)
  try {
    rmSync(path, { recursive: true, force: true })
  } catch (error) {
    throw fileError(error, { path })
  }
}

/** The new log files, which are durable, are named so that recovery completes the swap. */
export function stageSwap(directory: string, groups: readonly SegmentGroup[]): void {
  failpoint('compaction-before-swap')
  for (const { replaced, hasSegment } of groups) {
    if (!hasSegment) continue
    const name = segmentFileName(replaced[0] as number, 'log')
    renameFile(join(directory, CLEANING_FOLDER, name), join(directory, name + SWAP_SUFFIX))
  }
  syncDirectory(directory)
  failpoint('compaction-after-swap')
}

/** Names the new files as the old ones were named. Cost: three renames a replaced segment, some 10 µs each. */
export function applySwap(directory: string, { replaced, hasSegment }: SegmentGroup): void {
  // Indexes first: a log without one is indexed anew, and one with another's must never be seen.
  for (const baseOffset of replaced) for (const suffix of INDEXES) setAside(directory, baseOffset, suffix)
  for (const baseOffset of [...replaced].reverse()) {
    setAside(directory, baseOffset, 'log')
    failpoint('compaction-within-swap')
  }
  if (!hasSegment) return
  const baseOffset = replaced[0] as number
  const log = join(directory, segmentFileName(baseOffset, 'log'))
  renameFile(log + SWAP_SUFFIX, log)
  failpoint('compaction-before-index')
  for (const suffix of INDEXES) {
    const name = segmentFileName(baseOffset, suffix)
    const from = join(directory, CLEANING_FOLDER, name)
    if (fileBytes(from) !== undefined) renameFile(from, join(directory, name))
  }
}

function setAside(directory: string, baseOffset: number, suffix: 'log' | 'index' | 'timeindex'): void {
  const path = join(directory, segmentFileName(baseOffset, suffix))
  if (fileBytes(path) !== undefined) renameFile(path, path + DELETED_SUFFIX)
}

/** Deletes what was replaced, and what was made and not used: swaps of these base offsets that the writer refused. */
export function sweepSwap(directory: string, refused: readonly number[]): void {
  failpoint('compaction-before-sweep')
  for (const baseOffset of refused) removeFile(join(directory, segmentFileName(baseOffset, 'log') + SWAP_SUFFIX))
  syncDirectory(directory)
  for (const name of listDirectory(directory)) if (name.endsWith(DELETED_SUFFIX)) removeFile(join(directory, name))
  removeStraySnapshots(directory, listSegmentBases(directory))
  removeCleaningFolder(directory)
}
