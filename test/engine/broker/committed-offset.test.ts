import { expect, test } from 'vitest'
import type { HostedPartition } from '../../../engine/broker/hosted-partition.ts'
import { Replicas } from '../../../engine/broker/replicas.ts'
import type { Threads } from '../../../engine/broker/threads.ts'
import { ControlBlock, ROLE, SLOT } from '../../../engine/memory/control-block.ts'
import type { EngineMemory } from '../../../engine/memory/engine-memory.ts'

/** The watermark was at 20 before, and the log has 12 records. */
function setUp() {
  const control = new ControlBlock(new BigInt64Array(SLOT.words))
  Replicas.prepare(control, 0, 20)
  control.set(0, SLOT.logEndOffset, 12)
  const writer = { request: async () => 12, post: () => {} }
  const replicas = new Replicas({ control } as EngineMemory, { writer: () => writer } as unknown as Threads)
  const epochs = [{ epoch: 0, startOffset: 0 }]
  // Another slot generation: its epochs are not written.
  const partition = { slot: 0, writer: 0, slotGeneration: -1, epochs, failure: undefined } as unknown as HostedPartition
  return { control, replicas, partition }
}

test('what a new leader appends is not agreed on because of records that its log has not', async () => {
  const { control, replicas, partition } = setUp()
  await replicas.lead(partition, 1)
  expect(control.get(0, SLOT.role)).toBe(ROLE.leader)
  expect(control.get(0, SLOT.committedOffset)).toBe(12)
  replicas.settle()
})

test('nor is what a follower gets of another leader', async () => {
  const { control, replicas, partition } = setUp()
  await replicas.follow(partition)
  expect(control.get(0, SLOT.committedOffset)).toBe(12)
  replicas.commit(partition, 13)
  expect(control.get(0, SLOT.committedOffset)).toBe(13)
})
