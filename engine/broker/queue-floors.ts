/**
 * What the log owes to queues: retention keeps what a queue has not done, from the first moment of an engine on, and a
 * topic with a queue is not compacted. The floor of a partition stands in its slot, where its writer looks before it
 * removes anything; it follows what is stored, so that a crash finds everything that it will ask for. Owned by the
 * broker's thread.
 */
import { MillraceError } from '../base/errors.ts'
import type { PartitionLocation } from '../log/partition-reader.ts'
import { parseTopicConfig } from '../log/topic-config.ts'
import { type ControlBlock, SLOT, STATE } from '../memory/control-block.ts'
import type { ShareStore } from '../store/share-states.ts'
import type { NamedTopic } from '../store/topics.ts'
import type { HostedPartition } from './partitions.ts'

/** Retention keeps the records of a partition from this offset on; undefined: no queue needs any. */
export function setQueueFloor(control: ControlBlock, location: PartitionLocation, offset: number | undefined): void {
  const { slot, slotGeneration } = location
  if (control.get(slot, SLOT.slotGeneration) !== slotGeneration) return // deleted meanwhile
  control.set(slot, SLOT.queueFloor, offset === undefined ? 0 : offset + 1)
}

/** When an engine starts: forgets what queues did behind the end of a log that was cut, and sets the floors. */
export function restoreQueues(shares: ShareStore, control: ControlBlock, hosted: Iterable<HostedPartition>): void {
  const stored = shares.partitions()
  if (stored.length === 0) return
  const byKey = new Map([...hosted].map(partition => [`${partition.topicId}-${partition.partition}`, partition]))
  const floors = new Map<HostedPartition, number>()
  for (const { topicId, partition, facts } of stored) {
    const found = byKey.get(`${topicId}-${partition}`)
    if (found === undefined) continue
    const isOnline = control.get(found.slot, SLOT.state) === STATE.online
    const logEndOffset = isOnline ? control.get(found.slot, SLOT.logEndOffset) : Number.POSITIVE_INFINITY
    if (facts.endOffset > logEndOffset) shares.clamp(topicId, partition, logEndOffset)
    floors.set(found, Math.min(floors.get(found) ?? Number.POSITIVE_INFINITY, facts.startOffset, logEndOffset))
  }
  for (const [partition, offset] of floors) setQueueFloor(control, partition, offset)
}

/** Compaction would remove jobs that nobody has done. @throws QUEUE_IS_COMPACTED */
export function demandNoQueue(shares: ShareStore, { topic, topicId, config }: NamedTopic): void {
  if (parseTopicConfig(config).compacts && shares.isShared(topicId))
    throw new MillraceError('QUEUE_IS_COMPACTED', { topic })
}
