/**
 * `kill -9` of a service whose group is consuming and dividing its partitions anew all the time: committed offsets are there
 * when the directory is opened again, nothing was skipped, and members of the dead process hold nobody up.
 */
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Millrace } from '../../client/index.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import type { ConsumingPlan } from './programs/consuming.ts'
import { Child } from './support/child.ts'

import { temporaryDirectory } from './support/surroundings.ts'

const seed = testSeed()

const TOPIC = 'work'
const PARTITIONS = 5
const PER_PARTITION = 4_000
const ROUNDS = 3
const THREADS = { writers: 1, jobThreads: 1 }
/** Far below the session timeout of 45 s, far above what it takes. */
const SOON_MS = 30_000

test('kill -9 in the middle of rebalances', { timeout: 300_000 }, async () => {
  const random = new Random(seed)
  const directory = join(temporaryDirectory('groups'), 'data')
  const plan: ConsumingPlan = { directory, topic: TOPIC, groupId: 'group' }
  {
    await using engine = await Millrace.open(directory, THREADS)
    await engine.admin.createTopic({ topic: TOPIC, partitions: PARTITIONS })
    await using producer = await engine.producer({ batchBytes: 1_024 })
    const messages = Array.from({ length: PARTITIONS * PER_PARTITION }, (_, i) => ({
      value: `${i}`,
      partition: i % PARTITIONS,
    }))
    await producer.send({ topic: TOPIC, messages })
  }
  const handled = Array.from({ length: PARTITIONS }, () => new Set<number>())
  const acked = new Array<number>(PARTITIONS).fill(0)
  for (let round = 0; round < ROUNDS; round++) {
    const child = new Child('consuming.ts', plan)
    await child.line(/^revoked/, SOON_MS)
    await setTimeout(random.below(400))
    await child.kill()
    for (const line of child.lines) {
      const [what, partition, offset] = line.split(' ') as [string, string, string]
      if (what === 'handled') handled[Number(partition)]?.add(Number(offset))
      if (what === 'committed') acked[Number(partition)] = Math.max(acked[Number(partition)] as number, Number(offset))
    }
    await using view = await Millrace.open(directory, { readOnly: true })
    for (const { partition, offset } of (await view.admin.describeGroup('group')).offsets) {
      expect(offset ?? 0, `${partition}`).toBeGreaterThanOrEqual(acked[partition] as number)
      for (let below = 0; below < (offset ?? 0); below++)
        expect(handled[partition]?.has(below), `${partition}/${below}`).toBe(true)
    }
  }
  expect(acked.filter(offset => offset > 0).length).toBeGreaterThan(1)

  await using engine = await Millrace.open(directory, THREADS)
  const consumer = engine.consumer({ groupId: 'group', autoOffsetReset: 'earliest' })
  const before = performance.now()
  const assigned = new Promise<readonly unknown[]>((resolve, reject) => {
    consumer.subscribe(TOPIC, { onAssigned: resolve }).catch(reject)
  })
  expect((await assigned).length).toBe(PARTITIONS)
  expect(performance.now() - before).toBeLessThan(SOON_MS)
  expect(
    consumer
      .lag()
      .map(({ position }) => position)
      .every((position, i) => position >= (acked[i] as number)),
  ).toBe(true)
  await consumer.close()
})
