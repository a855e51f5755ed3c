/** Servers that close while clients are at work, and engines that close under their servers. */
import { expect, test } from 'vitest'
import { testBroker } from '../../../../client/testing.ts'
import { encodeBatch } from '../../../../engine/format/record-batch.ts'
import { fetch } from '../../../../engine/kafka/messages/fetch.ts'
import { produce } from '../../../../engine/kafka/messages/produce.ts'
import { WireClient } from '../support/wire-client.ts'

const batch = (): Uint8Array => encodeBatch([{ key: null, value: Buffer.alloc(1_000), timestamp: 1 }]).bytes
const produced = () => ({
  acks: -1,
  timeoutMs: 5_000,
  topicData: [{ name: 't', partitionData: [{ index: 0, records: batch() }] }],
})

test('a server that closes under load ends soon, and leaves no client waiting', async () => {
  const broker = await testBroker()
  await broker.engine.admin.createTopic({ topic: 't', config: { 'flush.messages': 1 } })
  const clients = await Promise.all(Array.from({ length: 4 }, () => WireClient.open(broker.port)))
  let acknowledged = 0
  const producing = clients.map(async client => {
    for (;;) {
      for (let i = 0; i < 5; i++) client.send(produce, 9, produced())
      for (let i = 0; i < 5; i++) {
        const frame = await client.frame()
        if (frame === undefined) return
        acknowledged += 1
      }
    }
  })
  using waiting = await WireClient.open(broker.port)
  const partition = { partition: 0, fetchOffset: 1_000_000, partitionMaxBytes: 1_000 }
  waiting.send(fetch, 11, {
    maxWaitMs: 60_000,
    minBytes: 1,
    topics: [{ topic: 't', partitions: [partition] }],
    forgottenTopicsData: [],
  })
  await new Promise(resolve => setTimeout(resolve, 300))
  const fromMs = performance.now()
  await broker.close()
  expect(performance.now() - fromMs).toBeLessThan(5_000)
  await Promise.all(producing)
  expect(acknowledged).toBeGreaterThan(0)
})

test('a fetch at the end of the log is answered when the server closes, however long it would have waited', async () => {
  const broker = await testBroker()
  await broker.engine.admin.createTopic({ topic: 't' })
  using client = await WireClient.open(broker.port)
  const partition = { partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000 }
  client.send(fetch, 11, {
    maxWaitMs: 60_000,
    minBytes: 1,
    topics: [{ topic: 't', partitions: [partition] }],
    forgottenTopicsData: [],
  })
  await new Promise(resolve => setTimeout(resolve, 100))
  const closing = broker.close()
  const { body } = await client.answer(fetch, 11)
  expect(body.responses[0]?.partitions[0]).toMatchObject({ errorCode: 0, highWatermark: 0 })
  await closing
})

test('a record wakes the fetch that waits for it at once', async () => {
  const broker = await testBroker()
  await broker.engine.admin.createTopic({ topic: 't' })
  using reader = await WireClient.open(broker.port)
  using writer = await WireClient.open(broker.port)
  for (let i = 0; i < 20; i++) {
    const partition = { partition: 0, fetchOffset: i, partitionMaxBytes: 10_000 }
    reader.send(fetch, 11, {
      maxWaitMs: 9_000,
      minBytes: 1,
      topics: [{ topic: 't', partitions: [partition] }],
      forgottenTopicsData: [],
    })
    const fromMs = performance.now()
    await writer.request(produce, 9, produced())
    const { body } = await reader.answer(fetch, 11)
    expect(body.responses[0]?.partitions[0]?.records?.length).toBeGreaterThan(1_000)
    expect(performance.now() - fromMs).toBeLessThan(1_000)
  }
  await broker.close()
})
