/** Looks at the jobs of a queue without locking any, from the engine or beside it. */
import type { ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { LiveRange } from '../engine/group/share/share-calls.ts'
import { PartitionReader } from '../engine/log/partition-reader.ts'
import type { EngineMemory } from '../engine/memory/engine-memory.ts'
import { recordsOf } from './queue-records.ts'
import type { PeekedJob } from './queue-types.ts'
import { recordAt } from './record.ts'

/** Where records are read: an engine, or an observer of its directory. */
export interface PeekSource {
  readonly memory: EngineMemory
  clientTopic(topic: string): ClientTopic | Promise<ClientTopic>
}

/** The records of ranges that are to be done. Offsets without a record, and damage, are passed over. */
export async function peekJobs(source: PeekSource, ranges: readonly LiveRange[]): Promise<PeekedJob[]> {
  const jobs: PeekedJob[] = []
  const readers = new Map<string, PartitionReader>()
  try {
    for (const range of ranges) {
      const { topic, partition, state, deliveryCount, dueMs } = range
      const key = `${topic}/${partition}`
      let reader = readers.get(key)
      if (reader === undefined) {
        const located = (await source.clientTopic(topic)).partitions[partition]
        if (located === undefined) continue
        reader = new PartitionReader(located, source.memory.control, source.memory.segments)
        readers.set(key, reader)
      }
      for (const part of recordsOf(reader, [range])) {
        if (part.kind !== 'record') continue
        jobs.push({
          record: recordAt(topic, partition, part.cursor),
          state,
          deliveryCount,
          ...(dueMs > 0 ? { dueMs } : {}),
        })
      }
    }
  } finally {
    for (const reader of readers.values()) reader.unmap()
  }
  return jobs
}
