import { Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { afterEach, expect, test } from 'vitest'
import { bootId } from '../../engine/broker/boot-id.ts'
import { readPartition } from '../../engine/cluster/cluster-state.ts'
import { openMetadata } from '../../engine/cluster/open-metadata.ts'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster | undefined
afterEach(async () => {
  await cluster?.close()
  cluster = undefined
})

const RETRYING = { timeout: 5_000, retries: 60, retryDelay: 100 }

async function produce(running: TestCluster, from: number, to: number): Promise<void> {
  const producer = new Producer({
    clientId: 'producer',
    bootstrapBrokers: running.bootstrap,
    serializers: stringSerializers,
    ...RETRYING,
  })
  for (let number = from; number < to; number++) {
    await producer.send({ messages: [{ topic: 't', key: `k${number}`, value: String(number) }], acks: -1 })
  }
  await producer.close()
}

/** Reads as a member of the group from what it committed until so many came, commits them, and leaves. */
async function consume(running: TestCluster, count: number): Promise<number[]> {
  const consumer = new Consumer({
    clientId: 'consumer',
    groupId: 'g',
    bootstrapBrokers: running.bootstrap,
    deserializers: stringDeserializers,
    ...RETRYING,
  })
  const numbers: number[] = []
  const stream = await consumer.consume({
    topics: ['t'],
    mode: 'committed',
    fallbackMode: 'earliest',
    autocommit: false,
    sessionTimeout: 10_000,
    heartbeatInterval: 500,
  })
  for await (const message of stream) {
    numbers.push(Number(message.value))
    await message.commit()
    if (numbers.length === count) break
  }
  await stream.close()
  await consumer.close(true)
  return numbers.sort((a, b) => a - b)
}

/** Of all topics, those that clients do not show as well. */
async function allInSync(running: TestCluster): Promise<void> {
  const store = await openMetadata({ address: running.store, bootId: bootId() })
  await expect
    .poll(
      async () => {
        const { entries } = await store.list('partitions/')
        return entries.map(readPartition).filter(({ isr, leader }) => isr.length < 3 || leader < 1).length
      },
      { timeout: 30_000 },
    )
    .toBe(0)
  await store.close()
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index)

test('what a group committed is known to whichever broker coordinates it next', async () => {
  cluster = await TestCluster.start()
  await cluster.createTopic('t', 3, 3, { 'min.insync.replicas': '2' })
  await cluster.healthy('t')
  await produce(cluster, 0, 60)
  expect(await consume(cluster, 60)).toEqual(range(0, 60))
  let from = 60
  for (const id of cluster.brokerIds) {
    // Each broker is gone once, so the coordinator was another one in between.
    await cluster.signal(id, 'SIGKILL')
    await produce(cluster, from, from + 30)
    expect(await consume(cluster, 30)).toEqual(range(from, from + 30))
    from += 30
    await cluster.startBroker(id)
    await cluster.healthy('t')
    await allInSync(cluster)
  }
}, 240_000)
