/**
 * Which segments retention does not want any more: a pure function of a partition's segment list, its configuration and
 * the time. Called by the partition's writer, which removes them.
 */
import type { SegmentList } from './segment-list.ts'
import type { TopicConfig } from './topic-config.ts'

export interface RetentionInput {
  readonly segments: SegmentList
  readonly config: TopicConfig
  readonly highWatermark: number
  readonly logEndOffset: number
  readonly nowMs: number
}

/**
 * Counts, from the oldest on, the segments whose newest record is older than `retention.ms`, and those without which the
 * log still has `retention.bytes`. Never beyond the high watermark. As in Kafka the active segment counts only when
 * everything is too old; an empty one never does. Segments whose records have no timestamp have no age.
 */
export function countUnwanted({ segments, config, highWatermark, logEndOffset, nowMs }: RetentionInput): number {
  const { retentionMs, retentionBytes } = config
  let totalBytes = segments.totalBytes
  for (let count = 0; count < segments.length; count++) {
    const isActive = count === segments.length - 1
    const sizeBytes = segments.sizeBytes(count)
    const maxTimestamp = segments.maxTimestamp(count)
    const isTooOld = retentionMs >= 0 && maxTimestamp >= 0 && nowMs - maxTimestamp > retentionMs
    const isTooMuch = !isActive && retentionBytes >= 0 && totalBytes - sizeBytes >= retentionBytes
    const end = isActive ? logEndOffset : segments.at(count + 1).baseOffset
    if (!(isTooOld || isTooMuch) || end > highWatermark || sizeBytes === 0) return count
    totalBytes -= sizeBytes
  }
  return segments.length
}
