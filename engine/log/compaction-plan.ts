/**
 * Whether a partition's log is worth compacting, and how far: a pure function of its segment list, its configuration and the
 * time, as Kafka decides it. A log has a clean head, compacted before, a dirty part that can be compacted, and an uncleanable
 * tail: the active segment, what is not flushed or not indexed yet, and what is younger than `min.compaction.lag.ms`.
 */
import type { TopicConfig } from './topic-config.ts'

/** A segment as the shared table shows it. */
export interface PlannedSegment {
  readonly baseOffset: number
  readonly sizeBytes: number
  /** Base offset of the segment behind it. */
  readonly nextOffset: number
  readonly maxTimestamp: number
  readonly offsetEntries: number
  readonly timeEntries: number
  readonly isIndexed: boolean
}

export interface PlanInput {
  /** Every closed segment, ascending; without the active one. */
  readonly segments: readonly PlannedSegment[]
  readonly config: TopicConfig
  readonly flushedOffset: number
  /** Everything below it was compacted before. */
  readonly cleanedOffset: number
  readonly nowMs: number
}

export interface CompactionPlan {
  /** Closed segments that may be rewritten, from the first on. */
  readonly segments: readonly PlannedSegment[]
  readonly firstDirtyOffset: number
  readonly dirtyBytes: number
  /** Dirty bytes of all that may be rewritten, 0 to 1. */
  readonly dirtyRatio: number
  /** The ratio is reached, or something dirty is older than `max.compaction.lag.ms`. */
  readonly isDue: boolean
  /** A closed segment is not flushed or not indexed yet: ask again soon. */
  readonly isWaiting: boolean
}

export function planCompaction(input: PlanInput): CompactionPlan {
  const { config, flushedOffset, cleanedOffset, nowMs } = input
  const end = input.segments.findIndex(
    ({ nextOffset, maxTimestamp, isIndexed }) =>
      nextOffset > flushedOffset || !isIndexed || nowMs - maxTimestamp < config.minCompactionLagMs,
  )
  const barred = input.segments[end]
  const segments = end === -1 ? input.segments : input.segments.slice(0, end)
  const dirty = segments.filter(({ nextOffset }) => nextOffset > cleanedOffset)
  const dirtyBytes = sum(dirty)
  const totalBytes = sum(segments)
  const dirtyRatio = totalBytes === 0 ? 0 : dirtyBytes / totalBytes
  const isOverdue = dirty.some(
    ({ maxTimestamp }) => maxTimestamp >= 0 && nowMs - maxTimestamp > config.maxCompactionLagMs,
  )
  return {
    segments,
    firstDirtyOffset: Math.max(dirty[0]?.baseOffset ?? 0, cleanedOffset),
    dirtyBytes,
    dirtyRatio,
    isWaiting: barred !== undefined && (barred.nextOffset > flushedOffset || !barred.isIndexed),
    isDue: dirtyBytes > 0 && (dirtyRatio >= config.minCleanableDirtyRatio || isOverdue),
  }
}

const sum = (segments: readonly PlannedSegment[]): number =>
  segments.reduce((total, { sizeBytes }) => total + sizeBytes, 0)
