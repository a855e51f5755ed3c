/**
 * `npm run bench:failover`: how long a partition takes no record when the broker that leads it is killed, and when it is stopped in order. Three brokers in
 * processes of their own, a topic of 1,000 partitions with three replicas each, a lease of 2 s. A client writes to one partition of the broker
 * that goes, with acks=all and min.insync.replicas=2, and tries again until it is told. Main thread.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Producer, stringSerializers } from '@platformatic/kafka'
import { BrokerProcesses } from './broker-processes.ts'

const TOPIC = 'failover'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    partitions: { type: 'string', default: '1000' },
    store: { type: 'string' },
    json: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const partitions = Number(values.partitions)

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN

const cluster = await BrokerProcesses.start(values.store === undefined ? {} : { store: values.store })

/** Milliseconds from a signal to the first record that is acknowledged afterwards, and errors that the client was told meanwhile. */
async function round(signal: 'SIGKILL' | 'SIGTERM', at: number): Promise<{ ms: number; errors: number }> {
  const states = await cluster.partitions(TOPIC)
  const partition = (at * 7) % partitions
  const leader = states[partition]?.leader as number
  const producer = new Producer({
    clientId: 'failover',
    bootstrapBrokers: cluster.bootstrap,
    serializers: stringSerializers,
    idempotent: true,
    connectTimeout: 500,
    requestTimeout: 1_000,
    timeout: 1_000,
    retries: 500,
    retryDelay: 10,
  })
  const send = (value: string) => producer.send({ messages: [{ topic: TOPIC, partition, value }], acks: -1 })
  for (let number = 0; number < 5; number++) await send(`before ${number}`)
  let errors = 0
  let started = 0
  let longestMs = 0
  const ending = cluster.signal(leader, signal)
  started = performance.now()
  let last = started
  // Until another broker has answered: the first that come may still be of the old one, in order or not.
  const until = signal === 'SIGTERM' ? ending : undefined
  let isOver = false
  void until?.then(() => {
    isOver = true
  })
  do {
    await send('after').catch(() => errors++)
    const now = performance.now()
    longestMs = Math.max(longestMs, now - last)
    last = now
  } while (until !== undefined && !isOver)
  await ending
  await producer.close()
  await cluster.startBroker(leader)
  await cluster.until(TOPIC, all => all.every(({ isr }) => isr.length === 3), 120_000)
  return { ms: longestMs, errors }
}

const results: Record<string, { median: number; max: number; errors: number }> = {}
try {
  await cluster.createTopic(TOPIC, partitions, 3, { 'min.insync.replicas': '2', 'segment.bytes': '1048576' })
  await cluster.until(TOPIC, all => all.length === partitions && all.every(({ isr }) => isr.length === 3), 120_000)
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    const found: { ms: number; errors: number }[] = []
    for (let at = 0; at < rounds; at++) {
      found.push(await round(signal, at))
      process.stderr.write(`${signal} ${at + 1}/${rounds}: ${found.at(-1)?.ms.toFixed(0)} ms\n`)
    }
    const ms = found.map(one => one.ms)
    const name = signal === 'SIGKILL' ? 'failover/killed' : 'failover/stopped'
    const errors = found.reduce((sum, one) => sum + one.errors, 0)
    results[name] = { median: median(ms), max: Math.max(...ms), errors }
  }
  console.log(`\n${partitions} partitions, 3 replicas, lease 2 s, ${rounds} rounds, ${cluster.store.split(':')[0]}`)
  for (const [name, { median: middle, max, errors }] of Object.entries(results)) {
    console.log(
      `${name.padEnd(18)} median ${middle.toFixed(0)} ms, maximum ${max.toFixed(0)} ms, errors at a retrying client: ${errors}`,
    )
  }
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results))
} finally {
  await cluster.close()
}
