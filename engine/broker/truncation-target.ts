/** Where a partition's log is to be cut, and where its leader epochs end. Owned by the broker's thread. */
import { MillraceError } from '../base/errors.ts'
import { type EpochEnd, endOffsetForEpoch } from '../log/leader-epochs.ts'
import { type ControlBlock, SLOT } from '../memory/control-block.ts'
import type { HostedPartition } from './partitions.ts'

/** An offset, or a leader epoch at whose end the log is to end. */
export type TruncationTarget = { readonly offset: number } | { readonly leaderEpoch: number }

export function epochEnd(
  control: ControlBlock,
  { slot, epochs }: HostedPartition,
  epoch: number,
): EpochEnd | undefined {
  return endOffsetForEpoch(epochs, epoch, control.get(slot, SLOT.logEndOffset))
}

/** Leader epoch under which a record was appended; at the end of the log the current one. */
export function epochAt(control: ControlBlock, { slot, epochs }: HostedPartition, offset: number): number {
  return epochs.findLast(({ startOffset }) => startOffset <= offset)?.epoch ?? control.get(slot, SLOT.leaderEpoch)
}

/** @throws OFFSET_OUT_OF_RANGE below the log start, and for a leader epoch that has not begun */
export function truncationOffset(control: ControlBlock, partition: HostedPartition, target: TruncationTarget): number {
  const logStartOffset = control.get(partition.slot, SLOT.logStartOffset)
  const offset = 'offset' in target ? target.offset : epochEnd(control, partition, target.leaderEpoch)?.endOffset
  if (offset !== undefined && offset >= logStartOffset) return offset
  const logEndOffset = control.get(partition.slot, SLOT.logEndOffset)
  throw new MillraceError('OFFSET_OUT_OF_RANGE', { ...target, logStartOffset, logEndOffset })
}

/** Where the log ends, and under which leader epoch it goes on. */
export function logEnd(control: ControlBlock, { slot }: HostedPartition): EpochEnd {
  return { leaderEpoch: control.get(slot, SLOT.leaderEpoch), endOffset: control.get(slot, SLOT.logEndOffset) }
}
