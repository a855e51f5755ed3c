/**
 * `npm run soak:cluster -- --minutes 10 --seed 1 --store etcd`: brokers that are killed, frozen, stopped in order and started again by a seeded schedule while
 * producers write, for as long as one wants. At the end every replica is held against what was acknowledged, and what was
 * read. With `--slow` what brokers and clients say to each other goes through proxies, which hold it back for some time in some rounds.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { BrokerProcessesOptions } from '../../bench/cluster/broker-processes.ts'
import { Random } from '../../engine/base/random.ts'
import { TestCluster } from './support/cluster.ts'
import { checkHistory, Workload } from './support/history.ts'
import { SlowLink } from './support/slow-link.ts'

const PARTITIONS = 6
const TOPIC = 't'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    store: { type: 'string', default: 'lmdb' },
    slow: { type: 'boolean', default: false },
  },
})
const random = new Random(Number(values.seed))
const store = values.store === 'etcd' ? 'etcd' : 'lmdb'

const ACTIONS = ['kill', 'kill leader', 'kill two', 'freeze', 'stop', 'rest'] as const

const links: SlowLink[] = []
const front: BrokerProcessesOptions['front'] = async (id, address) => {
  const link = await SlowLink.open(address, new Random(random.seed + id))
  links.push(link)
  return link.address
}
const cluster = await TestCluster.start({ store, replicaLagMs: 3_000, ...(values.slow ? { front } : {}) })
const say = (text: string): void => console.log(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${text}`)

async function leader(): Promise<number> {
  const found = (await cluster.partitions(TOPIC))[random.below(PARTITIONS)]?.leader ?? -1
  return cluster.brokerIds.includes(found) ? found : 1
}

async function act(action: (typeof ACTIONS)[number]): Promise<void> {
  const one = action === 'kill leader' ? await leader() : random.pick(cluster.brokerIds)
  const other = random.pick(cluster.brokerIds.filter(id => id !== one))
  const downMs = random.between(0, 6_000)
  say(`${action}${action === 'rest' ? '' : ` ${one}${action === 'kill two' ? ` and ${other}` : ''}`}, for ${downMs} ms`)
  switch (action) {
    case 'freeze':
      await cluster.signal(one, 'SIGSTOP')
      await sleep(downMs)
      await cluster.signal(one, 'SIGCONT')
      return
    case 'rest':
      return await sleep(downMs)
    case 'kill two':
      await Promise.all([cluster.signal(one, 'SIGKILL'), cluster.signal(other, 'SIGKILL')])
      await sleep(downMs)
      await Promise.all([cluster.startBroker(one), cluster.startBroker(other)])
      return
    default:
      await cluster.signal(one, action === 'stop' ? 'SIGTERM' : 'SIGKILL')
      await sleep(downMs)
      await cluster.startBroker(one)
  }
}

try {
  say(`seed ${values.seed}, ${values.minutes} minutes over ${store}`)
  await cluster.createTopic(TOPIC, PARTITIONS, 3, { 'min.insync.replicas': '2', 'segment.bytes': '1048576' })
  await cluster.healthy(TOPIC)
  const workload = new Workload(cluster, TOPIC, PARTITIONS)
  await workload.more(100)
  const until = performance.now() + Number(values.minutes) * 60_000
  for (let round = 1; performance.now() < until; round++) {
    for (const link of links) link.delayMs = [0, random.chance(0.5) ? random.between(1, 150) : 0]
    await act(random.pick(ACTIONS))
    await workload.more(50, 90_000) // service resumes
    if (round % 10 === 0)
      say(`${workload.acknowledged.length} acknowledged, longest wait ${(workload.longestGapMs / 1000).toFixed(1)} s`)
  }
  for (const link of links) link.delayMs = [0, 0]
  await workload.stop()
  await cluster.until(TOPIC, all => all.every(({ isr }) => isr.length === 3), 90_000)
  await cluster.stopBrokers()
  await checkHistory(cluster, TOPIC, workload)
  const { acknowledged, longestGapMs, failures } = workload
  say(
    `all ${acknowledged.length} are on every replica and were read; longest wait ${(longestGapMs / 1000).toFixed(1)} s, given up ${failures.length}`,
  )
} catch (error) {
  console.log(cluster.output.slice(-40).join('\n'))
  console.log(`failed with --seed ${values.seed}`)
  throw error
} finally {
  await cluster.close()
  for (const link of links) link.close()
}
