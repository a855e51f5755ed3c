/** A test under Node's own runner, with a broker of its own and a client: run by testing.test.ts. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Kafka, logLevel } from 'kafkajs'
import { type TestBroker, testBroker } from '../../../client/testing.ts'

let broker: TestBroker
before(async () => {
  broker = await testBroker({ defaultPartitions: 2 })
})
after(() => broker.close())

test('what is produced is there', async () => {
  const producer = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
  await producer.send({ topic: 't', messages: [{ value: 'a' }] })
  await producer.disconnect()
  const { partitions } = await broker.engine.admin.describeTopic('t')
  assert.equal(
    partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0),
    1,
  )
})
