/**
 * Cuts the end of a partition's log off. A synchronous function that runs in a janitor job, in front of the recovery that puts
 * everything else right: indexes, leader epochs, producer states, the place where appends go on. Nobody else of this process
 * has the folder then.
 *
 * That the log is to be cut was stored before, so a crash at any point leads back here; every step may be done again. What is cut
 * is zeroed to the furthest byte that was ever written and synced, or else the segment is written anew: where readers may hold
 * views of what is cut, and these must stay as they are.
 */
import { join } from 'node:path'
import { failpoint } from '../base/failpoints.ts'
import { segmentFileName } from '../format/file-names.ts'
import { batchBytes, checkBatch, lastOffsetOf } from '../format/record-batch.ts'
import { Mapping } from '../memory/mapping.ts'
import { readQuarantineMark, removeSegmentFiles } from './recovery-directory.ts'
import { fileBytes, listSegmentBases, syncDirectory, zeroTail } from './recovery-files.ts'
import { findSoundBatch } from './recovery-salvage.ts'
import { rewriteSegment } from './segment-rewrite.ts'

export interface Truncation {
  /** The batch that reaches this offset goes, and everything behind it. */
  readonly offset: number
  /** Readers may hold views of what goes. */
  readonly keepsViews: boolean
}

/** @throws DIRECTORY_NOT_FOUND, DISK_FULL, IO_ERROR; it may be called again. Cost: one header a batch of the segment that is cut. */
export function truncateFiles(directory: string, { offset, keepsViews }: Truncation): void {
  const bases = listSegmentBases(directory)
  const last = bases.findLast(base => base < offset) ?? bases[0]
  if (last === undefined) return
  failpoint('truncation-before-drop')
  const later = bases.filter(base => base > last).reverse()
  for (const base of later) {
    removeSegmentFiles(directory, base)
    failpoint('truncation-within-drop')
  }
  if (later.length > 0) syncDirectory(directory)
  const path = join(directory, segmentFileName(last, 'log'))
  const bytes = fileBytes(path) ?? 0
  const position = positionOf(directory, last, offset, bytes)
  failpoint('truncation-before-cut')
  if (keepsViews && position < bytes) rewriteSegment({ directory, baseOffset: last, keepBytes: position })
  else if (position < bytes) zeroTail(path, position)
  failpoint('truncation-after-cut')
}

/** Where the batches that end below `offset` end. */
function positionOf(directory: string, baseOffset: number, offset: number, bytes: number): number {
  if (bytes === 0) return 0
  const isDamaged = readQuarantineMark(directory, baseOffset) !== undefined
  const mapping = Mapping.ofPath(join(directory, segmentFileName(baseOffset, 'log')), bytes)
  try {
    const { region } = mapping
    const bounds = { maxOffset: Number.POSITIVE_INFINITY, baseOffset, knownEnd: offset, gapless: false }
    let nextOffset = baseOffset
    let end = 0
    for (let at = 0; at < bytes; ) {
      if (checkBatch(region, at, bytes, false) !== undefined) {
        if (!isDamaged) break // the end of the log
        at = findSoundBatch(region, at, bytes, { ...bounds, minOffset: nextOffset })
        if (at === -1) break
      }
      if (lastOffsetOf(region.view, at) >= offset) break
      nextOffset = lastOffsetOf(region.view, at) + 1
      at += batchBytes(region.view, at)
      end = at
    }
    return end
  } finally {
    mapping.release()
  }
}
