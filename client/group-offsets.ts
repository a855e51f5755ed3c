/** What moving the offsets of a group, and showing them, has in common for an engine and for a cluster. */
import { MillraceError } from '../engine/base/errors.ts'
import type { TopicPartition } from './consumer-types.ts'
import type { GroupOffset, ResetTo } from './group-types.ts'

/** Where a partition begins and ends for consumers. */
export interface Bounds extends TopicPartition {
  readonly logStartOffset: number
  readonly highWatermark: number
}

interface Committed {
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
}

/** @throws INVALID_ARGUMENT */
export function checkTo(to: ResetTo): void {
  if (to === 'beginning' || to === 'end') return
  const { offset, timestamp, shift } = Object(to) as { offset?: number; timestamp?: number; shift?: number }
  if (Number.isSafeInteger(offset ?? timestamp ?? shift)) return
  const accepted = 'beginning, end, { offset }, { timestamp } or { shift }'
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'to', value: String(to), accepted })
}

/**
 * The offset that is meant, within the partition.
 * @param from what is committed
 * @param atTime the first offset at the time that `to` names, undefined where all is older
 */
export function targetOffset(
  to: ResetTo,
  { logStartOffset, highWatermark }: Bounds,
  from: number | null,
  atTime: (timestamp: number) => number | undefined,
): number {
  const within = (offset: number): number => Math.min(Math.max(offset, logStartOffset), highWatermark)
  if (to === 'beginning') return logStartOffset
  if (to === 'end') return highWatermark
  if ('offset' in to) return within(to.offset)
  if ('shift' in to) return within((from ?? logStartOffset) + to.shift)
  return within(atTime(to.timestamp) ?? highWatermark)
}

export function describeOffset(
  { topic, partition, logStartOffset, highWatermark }: Bounds,
  committed: Committed | undefined,
  memberId: string | undefined,
): GroupOffset {
  return {
    topic,
    partition,
    offset: committed?.offset ?? null,
    leaderEpoch: committed?.leaderEpoch ?? -1,
    metadata: committed?.metadata ?? '',
    logStartOffset,
    highWatermark,
    lag: committed === undefined ? null : Math.max(0, highWatermark - committed.offset),
    memberId: memberId ?? null,
  }
}

/** A key of maps. */
export const textOf = ({ topic, partition }: TopicPartition): string => `${topic} ${partition}`

export const inOrder = (a: TopicPartition, b: TopicPartition): number =>
  a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition
