/**
 * When a log goes on in a new segment: the active one is full by bytes, by the offsets that an index entry can hold or by its
 * indexes, or it is old enough. Asked by the partition's writer for each batch, so nothing is allocated here.
 */

import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { SEGMENT, type SegmentTable } from '../memory/segment-table.ts'
import type { ActiveSegment } from './active-segment.ts'
import { RELATIVE_OFFSET_MAX } from './segment-scan.ts'
import type { TopicConfig } from './topic-config.ts'

interface RollingLog {
  readonly active: ActiveSegment
  readonly config: TopicConfig
  readonly logEndOffset: number
}

/** Whether a batch of `bytes` has to begin a new segment. @param timestamp its largest, -1 for none */
export function mustRoll(
  { active: segment, config, logEndOffset }: RollingLog,
  bytes: number,
  lastOffsetDelta: number,
  timestamp: number,
  { table, clock }: { readonly table: SegmentTable; readonly clock: Clock },
): boolean {
  if (segment.sizeBytes === 0) return false
  if (segment.sizeBytes + bytes > Math.min(segment.capacityBytes, config.segmentBytes)) return true
  if (logEndOffset + lastOffsetDelta - segment.baseOffset > RELATIVE_OFFSET_MAX) return true
  const waited =
    timestamp >= 0 && segment.firstTimestamp >= 0 && !config.logAppendTime
      ? timestamp - segment.firstTimestamp
      : clock.nowMs() - segment.createdMs
  return waited > config.segmentMs || isIndexFull(segment, config, table)
}

/** The indexer may lag, so what it has still to index counts with the most entries that it could need. */
function isIndexFull(segment: ActiveSegment, config: TopicConfig, table: SegmentTable): boolean {
  const pending = segment.sizeBytes - table.get(segment.entry, SEGMENT.indexedPosition)
  const entries =
    table.get(segment.entry, SEGMENT.offsetEntries) + Math.ceil(pending / (config.indexIntervalBytes + 1)) + 1
  // 12 bytes is the larger of the two entries; one entry is kept free for the one that closing a segment adds.
  return (entries + 1) * 12 > config.segmentIndexBytes
}

/** @throws RECORD_TOO_LARGE for a batch that no segment takes */
export function demandSize(
  config: { readonly maxMessageBytes: number; readonly segmentBytes: number },
  bytes: number,
): void {
  const limit = Math.min(config.maxMessageBytes, config.segmentBytes)
  if (bytes > limit) throw new MillraceError('RECORD_TOO_LARGE', { batchBytes: bytes, maxBytes: limit })
}
