/** A member of a group in a worker thread. What it handles and commits goes into shared memory, which outlives the thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { attachThread, type ThreadHandle } from '../../../client/index.ts'

export interface MemberStart {
  readonly handle: ThreadHandle
  readonly groupId: string
  readonly topic: string
  readonly perPartition: number
  /** How often each record was handled, by partition and offset. */
  readonly handled: Int32Array<SharedArrayBuffer>
  /** By partition: the last commit that was acknowledged. */
  readonly committed: Int32Array<SharedArrayBuffer>
}

/** Records between two commits. */
const COMMIT_EVERY = 7

const { handle, groupId, topic, perPartition, handled, committed } = workerData as MemberStart
const client = attachThread(handle)
const consumer = client.consumer({ groupId, autoOffsetReset: 'earliest', autoCommit: false })
parentPort?.on('message', () => consumer.stop())

const post = (): void => parentPort?.postMessage(consumer.assignment().map(({ partition }) => partition))
const commit = async (partition: number, offset: number): Promise<void> => {
  await consumer.commit({ topic, partition, offset })
  Atomics.store(committed, partition, offset)
}

await consumer.subscribe(topic, {
  onAssigned: () => void setImmediate(post),
  async onRevoked(partitions) {
    for (const { partition } of partitions) {
      const offset = consumer.position({ topic, partition })
      await commit(partition, offset)
    }
  },
})
for await (const { partition, offset } of consumer.records()) {
  Atomics.add(handled, partition * perPartition + offset, 1)
  if (offset % COMMIT_EVERY === 0) await commit(partition, offset + 1)
  else if (offset % 3 === 0) await new Promise(resolve => setTimeout(resolve, 1))
}
await consumer.close()
await client.close()
parentPort?.postMessage('left')
parentPort?.close()
