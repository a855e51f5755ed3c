/** kafkajs against our broker: what its users do. */
import { type Consumer, type EachMessagePayload, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TestBroker, testBroker } from '../../../client/testing.ts'
import { until } from '../../client/support/engine.ts'

const WAIT_MS = 20_000

let broker: TestBroker
let kafka: Kafka

beforeAll(async () => {
  broker = await testBroker({ defaultPartitions: 3 })
  kafka = new Kafka({ brokers: [broker.bootstrap], clientId: 'test', logLevel: logLevel.NOTHING })
})
afterAll(() => broker.close())

const values = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `value-${from + i}`)

async function produce(topic: string, sent: readonly string[]): Promise<void> {
  const producer = kafka.producer({ allowAutoTopicCreation: true })
  await producer.connect()
  await producer.send({
    topic,
    messages: sent.map(value => ({ key: `key of ${value}`, value, headers: { h: value } })),
  })
  await producer.disconnect()
}

async function consume(groupId: string, topic: string, got: string[]): Promise<Consumer> {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6_000, heartbeatInterval: 500, rebalanceTimeout: 6_000 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const eachMessage = async ({ message }: EachMessagePayload): Promise<void> => {
    got.push(message.value?.toString() ?? '')
  }
  await consumer.run({ eachMessage })
  return consumer
}

describe('records', () => {
  test.each([0, 1, -1])('acks %i: what is sent is read from the beginning, with keys and headers', async acks => {
    const topic = `acks${acks}`
    await broker.engine.admin.createTopic({ topic, partitions: 1 })
    const producer = kafka.producer({ idempotent: false })
    await producer.connect()
    const messages = values(100).map(value => ({
      key: `k${value}`,
      value,
      headers: { h: value },
      timestamp: '1700000000000',
    }))
    const [metadata] = await producer.send({ topic, acks, messages })
    if (acks !== 0) expect(metadata).toMatchObject({ topicName: topic, partition: 0, errorCode: 0, baseOffset: '0' })
    await producer.disconnect()
    await until(
      async () => (await broker.engine.admin.describeTopic(topic)).partitions[0]?.highWatermark === 100,
      'in time',
      WAIT_MS,
    )
    const got: string[] = []
    const consumer = kafka.consumer({ groupId: `group${acks}` })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachBatch: async ({ batch }) => {
        for (const { key, value, headers, timestamp } of batch.messages) {
          expect(key?.toString()).toBe(`k${value}`)
          expect(headers?.['h']?.toString()).toBe(value?.toString())
          expect(timestamp).toBe('1700000000000')
          got.push(value?.toString() ?? '')
        }
      },
    })
    await until(() => got.length === 100, 'in time', WAIT_MS)
    expect(got).toEqual(values(100))
    await consumer.disconnect()
  })

  test('gzip, and an idempotent producer', async () => {
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (let i = 0; i < 5; i++) {
      await producer.send({
        topic: 'gzip',
        compression: 1,
        messages: values(50, 50 * i).map(value => ({ value, partition: 0 })),
      })
    }
    await producer.disconnect()
    const read: string[] = []
    for await (const { value } of broker.engine.reader({ topic: 'gzip' }).records())
      read.push(Buffer.from(value ?? []).toString())
    expect(read).toEqual(values(250))
  })

  test('a topic that is not there is made, once, when it is asked for', async () => {
    await produce('made', values(3))
    expect((await broker.engine.admin.describeTopic('made')).partitions).toHaveLength(3)
  })

  test('the group goes on where it was', async () => {
    await produce('resume', values(30))
    const first: string[] = []
    const one = await consume('resumers', 'resume', first)
    await until(() => first.length === 30, 'in time', WAIT_MS)
    await one.disconnect()
    await produce('resume', values(20, 30))
    const second: string[] = []
    const two = await consume('resumers', 'resume', second)
    await until(() => second.length >= 20, 'in time', WAIT_MS)
    await two.disconnect()
    expect(second.sort()).toEqual(values(20, 30).sort())
  })
})

describe('groups', () => {
  test('two members share the partitions; when one leaves the other takes over: nothing lost, nothing doubled', async () => {
    await broker.engine.admin.createTopic({ topic: 'shared', partitions: 4 })
    await produce('shared', values(200))
    const [a, b]: [string[], string[]] = [[], []]
    const one = await consume('sharers', 'shared', a)
    const two = await consume('sharers', 'shared', b)
    const state = async (): Promise<number> => {
      const admin = kafka.admin()
      await admin.connect()
      const { groups } = await admin.describeGroups(['sharers'])
      await admin.disconnect()
      return groups[0]?.state === 'Stable' ? groups[0].members.length : 0
    }
    await until(async () => (await state()) === 2, 'in time', WAIT_MS)
    await produce('shared', values(200, 200))
    await until(() => a.length + b.length === 400, 'in time', WAIT_MS)
    expect(b.length).toBeGreaterThan(0)
    await two.disconnect()
    await produce('shared', values(100, 400))
    await until(() => a.length + b.length === 500, 'in time', WAIT_MS)
    await one.disconnect()
    expect([...a, ...b].sort()).toEqual(values(500).sort())
  })
})

describe('administration', () => {
  test('topics: create, describe, grow, configure, delete records, delete', async () => {
    const admin = kafka.admin()
    await admin.connect()
    const topic = 'administered'
    expect(
      await admin.createTopics({
        topics: [{ topic, numPartitions: 2, configEntries: [{ name: 'retention.ms', value: '60000' }] }],
      }),
    ).toBe(true)
    expect(await admin.createTopics({ topics: [{ topic }] })).toBe(false)
    expect(await admin.listTopics()).toContain(topic)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    expect(topics[0]?.partitions.map(({ partitionId }) => partitionId).sort()).toEqual([0, 1, 2])
    const configs = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: 2, name: topic, configNames: ['retention.ms'] }],
    })
    expect(configs.resources[0]?.configEntries).toMatchObject([{ configName: 'retention.ms', configValue: '60000' }])
    await admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: topic, configEntries: [{ name: 'segment.bytes', value: '1048576' }] }],
    })
    expect((await broker.engine.admin.describeTopic(topic)).config).toMatchObject({
      'segment.bytes': '1048576',
      'retention.ms': '604800000',
    })
    await produce(topic, values(60))
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 1, offset: '5' }] })
    const offsets = await admin.fetchTopicOffsets(topic)
    expect(offsets.find(({ partition }) => partition === 1)).toMatchObject({ low: '5' })
    const byTime = await admin.fetchTopicOffsetsByTimestamp(topic, 0)
    expect(byTime.find(({ partition }) => partition === 0)).toMatchObject({ offset: '0' })
    await admin.deleteTopics({ topics: [topic] })
    expect(await admin.listTopics()).not.toContain(topic)
    await admin.disconnect()
  })

  test('groups: offsets set, shown, and the group deleted', async () => {
    await produce('offsets', values(9))
    const admin = kafka.admin()
    await admin.connect()
    await admin.setOffsets({ groupId: 'set', topic: 'offsets', partitions: [{ partition: 0, offset: '2' }] })
    const fetched = await admin.fetchOffsets({ groupId: 'set', topics: ['offsets'] })
    expect(fetched[0]?.partitions.find(({ partition }) => partition === 0)).toMatchObject({ offset: '2' })
    expect((await admin.listGroups()).groups.map(({ groupId }) => groupId)).toContain('set')
    await admin.deleteGroups(['set'])
    expect((await admin.listGroups()).groups.map(({ groupId }) => groupId)).not.toContain('set')
    await admin.disconnect()
  })

  test('the cluster', async () => {
    const admin = kafka.admin()
    await admin.connect()
    const cluster = await admin.describeCluster()
    expect(cluster).toMatchObject({ brokers: [{ nodeId: 1, host: broker.host, port: broker.port }], controller: 1 })
    expect(cluster.clusterId).toHaveLength(22)
    await admin.disconnect()
  })
})
