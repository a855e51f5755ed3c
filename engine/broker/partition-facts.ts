/** What is told about a partition: to the store as a checkpoint, to jobs as a request, to services. Owned by the broker's thread. */
import type { RecoverItem } from '../log/jobs.ts'
import type { DetachedPartition, ServedPartition } from '../log/mail.ts'
import type { RecoveryRequest } from '../log/recovery-types.ts'
import { type ControlBlock, SLOT } from '../memory/control-block.ts'
import type { CheckpointEntry, PartitionCheckpoint } from '../store/checkpoints.ts'
import type { HostedPartition } from './hosted-partition.ts'

/** The partition as it is now. */
export function checkpointEntry(control: ControlBlock, partition: HostedPartition): CheckpointEntry {
  const checkpoint = { ...checkpointOf(control, partition.slot), ...cleanedOf(partition) }
  const { topicId, truncateTo } = partition
  return { topicId, partition: partition.partition, checkpoint: toBeCut(checkpoint, truncateTo) }
}

/** The partition as its writer left it at a clean close, with its segments if everything was flushed. */
export function closingEntry(
  control: ControlBlock,
  partition: HostedPartition,
  described: DetachedPartition,
): CheckpointEntry {
  const { segments, logStartOffset, logEndOffset, flushedOffset, leaderEpoch } = described
  const highWatermark = partition.isReplica ? control.get(partition.slot, SLOT.highWatermark) : logEndOffset
  const offsets = { recoveryPoint: flushedOffset, logStartOffset, highWatermark, leaderEpoch }
  const left = flushedOffset === logEndOffset ? { ...producersOf(described), segments } : {}
  const checkpoint = { ...offsets, ...cleanedOf(partition), ...left }
  return { topicId: partition.topicId, partition: partition.partition, checkpoint }
}

export function checkpointOf(control: ControlBlock, slot: number): PartitionCheckpoint {
  return {
    recoveryPoint: control.get(slot, SLOT.flushedOffset),
    logStartOffset: control.get(slot, SLOT.logStartOffset),
    highWatermark: control.get(slot, SLOT.highWatermark),
    leaderEpoch: control.get(slot, SLOT.leaderEpoch),
  }
}

/** Nothing above where it is to be cut counts any more. */
function toBeCut(checkpoint: PartitionCheckpoint, truncateTo: number | undefined): PartitionCheckpoint {
  if (truncateTo === undefined) return checkpoint
  const recoveryPoint = Math.min(checkpoint.recoveryPoint, truncateTo)
  const highWatermark = Math.min(checkpoint.highWatermark, truncateTo)
  return { ...checkpoint, recoveryPoint, highWatermark, truncateTo }
}

/** For a checkpoint: absent where nothing was ever compacted. */
function cleanedOf({ cleanedOffset }: HostedPartition): { readonly cleanedOffset?: number } {
  return cleanedOffset > 0 ? { cleanedOffset } : {}
}

/** For the checkpoint of a clean close: absent where there are none. */
function producersOf({ producers }: DetachedPartition): { readonly producers?: number } {
  return producers > 0 ? { producers } : {}
}

export function served({ slot, slotGeneration, directory, config }: HostedPartition): ServedPartition {
  const { indexIntervalBytes, segmentIndexBytes } = config
  return { slot, slotGeneration, directory, indexIntervalBytes, indexBytesMax: segmentIndexBytes }
}

export function recoverItem(
  partition: HostedPartition,
  checkpoint: PartitionCheckpoint | undefined,
  clean: boolean,
  keepsViews = false,
): RecoverItem {
  const { truncateTo, isReplica } = partition
  const lastEpoch = checkpoint?.leaderEpoch ?? -1
  if (truncateTo === undefined) {
    const request = recoveryRequest(partition, checkpoint, clean)
    return { request, newEpoch: !isReplica && (!clean || checkpoint === undefined), lastEpoch }
  }
  const request = recoveryRequest(partition, checkpoint && toBeCut(checkpoint, truncateTo), false)
  return { request, newEpoch: !isReplica, lastEpoch, truncation: { offset: truncateTo, keepsViews } }
}

export function recoveryRequest(
  partition: HostedPartition,
  checkpoint: PartitionCheckpoint | undefined,
  clean: boolean,
): RecoveryRequest {
  const { directory, config } = partition
  return {
    directory,
    clean,
    compacted: config.compacts || partition.cleanedOffset > 0,
    recoveryPoint: checkpoint?.recoveryPoint ?? 0,
    logStartOffset: checkpoint?.logStartOffset ?? 0,
    indexIntervalBytes: config.indexIntervalBytes,
    indexBytesMax: config.segmentIndexBytes,
    ...(clean && checkpoint?.segments !== undefined
      ? { segments: checkpoint.segments, producers: checkpoint.producers ?? 0 }
      : {}),
  }
}
