/**
 * The segments of a partition's folder that nobody owns, as a reader finds them: nothing is changed, nothing is repaired. What
 * recovery would cut is left out. Any thread.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { parseSegmentFileName, segmentFileName } from '../format/file-names.ts'
import { Mapping } from '../memory/mapping.ts'
import { emptySegmentInfo, type SegmentInfo } from './recovery-types.ts'
import { scanSegment } from './segment-scan.ts'

/**
 * @param known segments as they were at a clean close: taken as they are when the files have the same sizes
 * @returns segments in order; the indexes of those that had to be walked are left out, so look-ups there walk as well
 * @throws IO_ERROR
 * Cost: one header a batch for segments that are not known; the last one's checksums as well.
 */
export function surveyCold(directory: string, known: readonly SegmentInfo[] | undefined): SegmentInfo[] {
  const bases = listBases(directory)
  const byBase = new Map((known ?? []).map(segment => [segment.baseOffset, segment]))
  const segments: SegmentInfo[] = []
  let nextOffset = 0
  for (const [index, baseOffset] of bases.entries()) {
    const path = join(directory, segmentFileName(baseOffset, 'log'))
    const fileBytes = statSync(path).size
    const asLeft = byBase.get(baseOffset)
    const segment =
      asLeft?.sizeBytes === fileBytes
        ? asLeft
        : walk(path, baseOffset, fileBytes, nextOffset, index === bases.length - 1)
    segments.push(segment)
    nextOffset = segment.nextOffset
  }
  return segments
}

function listBases(directory: string): number[] {
  try {
    const parsed = readdirSync(directory).map(name => parseSegmentFileName(name))
    return parsed.flatMap(name => (name?.suffix === 'log' ? [name.baseOffset] : [])).sort((a, b) => a - b)
  } catch (error) {
    // A topic is stored before its folders are made: a crash in between leaves a partition without one.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fileError(error, { path: directory })
  }
}

function walk(path: string, baseOffset: number, fileBytes: number, nextOffset: number, isLast: boolean): SegmentInfo {
  if (fileBytes === 0) return emptySegmentInfo(baseOffset)
  const mapping = Mapping.ofPath(path, fileBytes)
  try {
    const scan = scanSegment(mapping.region, 0, fileBytes, {
      baseOffset,
      nextOffset: Math.max(nextOffset, baseOffset),
      checkCrc: isLast,
    })
    return {
      ...emptySegmentInfo(baseOffset),
      sizeBytes: scan.end,
      nextOffset: scan.nextOffset,
      maxTimestamp: scan.maxTimestamp,
      maxTimestampOffset: scan.maxTimestampOffset,
      firstTimestamp: scan.firstTimestamp,
    }
  } finally {
    mapping.release()
  }
}
