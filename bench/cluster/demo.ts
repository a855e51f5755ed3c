/**
 * `npm run start:cluster`: three brokers in processes of their own, ten thousand records by an idempotent producer with acks=all, and the leader killed in
 * between, with no chance to say anything. Afterwards every record is looked for, on each of the brokers. Main thread.
 */
import { Producer, stringSerializers } from '@platformatic/kafka'
import { Millrace } from '../../client/index.ts'
import { BrokerProcesses } from './broker-processes.ts'

const RECORDS = 10_000
const UNDER_WAY = 20
const TOPIC = 'orders'

const say = (text: string): void => console.log(`${(performance.now() / 1000).toFixed(1).padStart(5)} s  ${text}`)

const cluster = await BrokerProcesses.start()
try {
  await cluster.createTopic(TOPIC, 1, 3, { 'min.insync.replicas': '2' })
  await cluster.healthy(TOPIC)
  const [before] = await cluster.partitions(TOPIC)
  say(`three brokers; broker ${before?.leader} leads ${TOPIC}/0, in sync are ${before?.isr.join(', ')}`)
  const producer = new Producer({
    clientId: 'demo',
    bootstrapBrokers: cluster.bootstrap,
    serializers: stringSerializers,
    idempotent: true,
    requestTimeout: 2_000,
    timeout: 2_000,
    retries: 300,
    retryDelay: 50,
  })
  let longestMs = 0
  let last = performance.now()
  let killing: Promise<void> | undefined
  for (let from = 0; from < RECORDS; from += UNDER_WAY) {
    const messages = Array.from({ length: UNDER_WAY }, (_, index) => ({
      topic: TOPIC,
      partition: 0,
      value: String(from + index),
    }))
    if (from === RECORDS / 2) {
      say(`${from} records are acknowledged; broker ${before?.leader} is killed`)
      killing = cluster.signal(before?.leader as number, 'SIGKILL')
    }
    await producer.send({ messages, acks: -1 })
    longestMs = Math.max(longestMs, performance.now() - last)
    last = performance.now()
  }
  await killing
  await producer.close()
  const [after] = await cluster.partitions(TOPIC)
  say(
    `${RECORDS} records are acknowledged; the longest wait was ${(longestMs / 1000).toFixed(1)} s; broker ${after?.leader} leads now`,
  )
  await cluster.startBroker(before?.leader as number)
  await cluster.healthy(TOPIC)
  say(`broker ${before?.leader} is back and has caught up`)
  await cluster.stopBrokers()
  for (const id of cluster.brokerIds) {
    await using engine = await Millrace.open(cluster.dataOf(id), { readOnly: true })
    let next = 0
    for await (const record of engine.reader({ topic: TOPIC }).records()) {
      const value = Buffer.from(record.value ?? []).toString()
      if (value !== String(next)) throw new Error(`broker ${id} has ${value} where ${next} should be`)
      next += 1
    }
    if (next !== RECORDS) throw new Error(`broker ${id} has ${next} of ${RECORDS} records`)
    say(`broker ${id} has all ${RECORDS}, in order, each once`)
  }
} finally {
  await cluster.close()
}
