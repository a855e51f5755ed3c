/**
 * Which segments retention does not want any more: a pure function of a partition's segment list, its configuration and
 * the time. Called by the partition's writer, which removes them.
 */
import { type ControlBlock, SLOT } from '../memory/control-block.ts'
import type { SegmentList } from './segment-list.ts'
import type { TopicConfig } from './topic-config.ts'

export interface RetentionInput {
  readonly segments: SegmentList
  readonly config: TopicConfig
  readonly highWatermark: number
  readonly logEndOffset: number
  /** Queues still need the records from here on. */
  readonly queueFloor: number
  readonly nowMs: number
}

/**
 * Counts, from the oldest on, the segments whose newest record is older than `retention.ms`, and those without which the
 * log still has `retention.bytes`. Never beyond the high watermark, and never what a queue has not done. As in Kafka the
 * active segment counts only when everything is too old; an empty one never does. Segments whose records have no
 * timestamp have no age.
 */
export function countUnwanted(input: RetentionInput): number {
  const { segments, config, logEndOffset, nowMs } = input
  const keptFrom = Math.min(input.highWatermark, input.queueFloor)
  const { retentionMs, retentionBytes } = config
  let totalBytes = segments.totalBytes
  for (let count = 0; count < segments.length; count++) {
    const isActive = count === segments.length - 1
    const sizeBytes = segments.sizeBytes(count)
    const maxTimestamp = segments.maxTimestamp(count)
    const isTooOld = retentionMs >= 0 && maxTimestamp >= 0 && nowMs - maxTimestamp > retentionMs
    const isTooMuch = !isActive && retentionBytes >= 0 && totalBytes - sizeBytes >= retentionBytes
    const end = isActive ? logEndOffset : segments.at(count + 1).baseOffset
    if (!(isTooOld || isTooMuch) || end > keptFrom || sizeBytes === 0) return count
    totalBytes -= sizeBytes
  }
  return segments.length
}

/** The offset from which queues still need the records of a slot's partition; infinite where there is no queue. */
export function queueFloorOf(control: ControlBlock, slot: number): number {
  const word = control.get(slot, SLOT.queueFloor)
  return word === 0 ? Number.POSITIVE_INFINITY : word - 1
}
