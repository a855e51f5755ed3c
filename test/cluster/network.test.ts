/** Brokers on hosts of their own whose links are cut, one way or both. The rest of the schedules runs with MILLRACE_FAULTS=all. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { PartitionState } from '../../bench/cluster/broker-processes.ts'
import { readResponse, writeRequest } from '../../engine/kafka/codec/frames.ts'
import { fetch } from '../../engine/kafka/messages/fetch.ts'
import { PeerConnection } from '../../engine/kafka/peer-connection.ts'
import { etcdBinary } from '../engine/cluster/etcd.ts'
import { ETCD_HOST, TestCluster } from './support/cluster.ts'
import { Workload } from './support/history.ts'
import { Network, whyNoNetwork } from './support/network.ts'
import { endSchedule } from './support/schedule.ts'

const reason = etcdBinary === undefined ? 'there is no etcd' : whyNoNetwork()
if (reason !== undefined) console.log(`skipped: a cluster on hosts of its own: ${reason}`)
const isAll = process.env['MILLRACE_FAULTS'] === 'all'

interface Running {
  readonly cluster: TestCluster
  readonly network: Network
  readonly workload: Workload
  /** Of partition 0, and the others. */
  readonly leader: number
  readonly followers: readonly number[]
}

let cluster: TestCluster | undefined
let network: Network | undefined
afterEach(async () => {
  await cluster?.close()
  network?.close()
  cluster = undefined
  network = undefined
})

async function begin(): Promise<Running> {
  network = new Network()
  cluster = await TestCluster.start({ store: 'etcd', network, replicaLagMs: 2_000 })
  await cluster.createTopic('t', 2, 3, { 'min.insync.replicas': '2' })
  await cluster.healthy('t')
  const workload = new Workload(cluster, 't', 2)
  await workload.more(100)
  const leader = (await cluster.partitions('t'))[0]?.leader as number
  return { cluster, network, workload, leader, followers: cluster.brokerIds.filter(id => id !== leader) }
}

/** Bytes of records that the leader of partition 0 gives a consumer from the beginning on. */
async function readFirst({ cluster: running, leader }: Running): Promise<number> {
  const [host, port] = (running.bootstrap[leader - 1] as string).split(':') as [string, string]
  const connection = new PeerConnection({ brokerId: leader, host, port: Number(port) })
  await connection.opened
  try {
    const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000 }]
    const topics = [{ topic: 't', partitions }]
    const { body } = await connection.ask(
      id => writeRequest(fetch, 11, id, 'test', { maxWaitMs: 100, minBytes: 1, topics, forgottenTopicsData: [] }),
      frame => readResponse(fetch, 11, frame),
      5_000,
    )
    return body.responses[0]?.partitions[0]?.records?.length ?? 0
  } finally {
    connection.end(undefined)
  }
}

/** Everything heals, goes on, and is held against what was acknowledged. */
async function end({ cluster: running, network: links, workload }: Running): Promise<void> {
  links.heal()
  await running.healthy('t')
  await workload.more(100)
  await endSchedule(running, workload)
}

describe.skipIf(reason !== undefined)('a cluster whose links are cut', () => {
  test('a leader that does not reach etcd is replaced, and acknowledges nothing afterwards', async () => {
    const running = await begin()
    running.network.cut(running.leader, ETCD_HOST)
    await running.cluster.until('t', all => all.every(({ leader }) => leader > 0 && leader !== running.leader), 40_000)
    await running.workload.more(200)
    await end(running)
  }, 180_000)

  test('while etcd is down for longer than the lease nobody acknowledges, and everything goes on afterwards', async () => {
    const running = await begin()
    await running.cluster.etcd?.stop()
    await sleep(4_000)
    const before = running.workload.acknowledged.length
    await sleep(2_000)
    expect(running.workload.acknowledged.length).toBe(before)
    expect(await readFirst(running)).toBeGreaterThan(0) // what is committed is read all the while
    await running.cluster.etcd?.start()
    await running.workload.more(200)
    await end(running)
  }, 180_000)

  test.runIf(isAll)(
    'a leader that reaches etcd and none of its followers acknowledges nothing with too few in sync',
    async () => {
      const running = await begin()
      for (const follower of running.followers) running.network.cut(running.leader, follower)
      await sleep(8_000)
      await end(running)
    },
    180_000,
  )

  test.runIf(isAll)(
    'a leader that clients reach and nobody else shows nothing that is gone afterwards',
    async () => {
      const running = await begin()
      for (const host of [ETCD_HOST, ...running.followers]) running.network.cut(running.leader, host)
      const isLed = ({ leader }: PartitionState): boolean => leader > 0 && leader !== running.leader
      await running.cluster.until('t', all => all.every(isLed), 40_000)
      await running.workload.more(200)
      await end(running)
    },
    180_000,
  )

  test.runIf(isAll)(
    'a leader whose answers do not reach one follower goes on with the other',
    async () => {
      const running = await begin()
      running.network.cutOneWay(running.leader, running.followers[0] as number)
      await running.cluster.until('t', all => all[0]?.isr.includes(running.followers[0] as number) === false, 60_000)
      await running.workload.more(100)
      await end(running)
    },
    180_000,
  )

  test.runIf(isAll)(
    'a follower that does not hear etcd is let go, and comes back',
    async () => {
      const running = await begin()
      running.network.cutOneWay(ETCD_HOST, running.followers[0] as number)
      await sleep(8_000)
      await running.workload.more(100)
      await end(running)
    },
    180_000,
  )

  test.runIf(isAll)(
    'etcd that is restarted again and again disturbs nobody for long',
    async () => {
      const running = await begin()
      for (let round = 0; round < 4; round++) {
        await running.cluster.etcd?.stop()
        await running.cluster.etcd?.start()
        await running.workload.more(100)
      }
      await end(running)
    },
    180_000,
  )
})
