/** @platformatic/kafka against our broker. */
import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type TestBroker, testBroker } from '../../../client/testing.ts'

let broker: TestBroker
beforeAll(async () => {
  broker = await testBroker()
})
afterAll(() => broker.close())

const options = () => ({ clientId: 'test', bootstrapBrokers: [broker.bootstrap] })

test('topics, records in every codec, and a group', { timeout: 60_000 }, async () => {
  const admin = new Admin(options())
  await admin.createTopics({ topics: ['t'], partitions: 2, replicas: 1 })
  expect(await admin.listTopics()).toContain('t')
  const producer = new Producer({ ...options(), serializers: stringSerializers })
  const sent: string[] = []
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
    const messages = Array.from({ length: 20 }, (_, i) => ({ topic: 't', key: `k${i}`, value: `${compression} ${i}` }))
    sent.push(...messages.map(({ value }) => value))
    await producer.send({ messages, compression, acks: -1 })
  }
  await producer.close()
  const consumer = new Consumer({ ...options(), groupId: 'g', deserializers: stringDeserializers })
  const stream = await consumer.consume({
    topics: ['t'],
    mode: 'earliest',
    autocommit: true,
    sessionTimeout: 10_000,
    heartbeatInterval: 500,
  })
  const got: string[] = []
  for await (const { value } of stream) {
    got.push(value)
    if (got.length === sent.length) break
  }
  expect(got.sort()).toEqual(sent.sort())
  await consumer.close(true)
  const groups = await admin.listGroups()
  expect([...groups.keys()]).toContain('g')
  await admin.deleteTopics({ topics: ['t'] })
  expect(await admin.listTopics()).not.toContain('t')
  await admin.close()
})
