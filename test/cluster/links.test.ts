/** Links that lose packets, and links that are slow. Runs with MILLRACE_FAULTS=all. */
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import { etcdBinary } from '../engine/cluster/etcd.ts'
import { ETCD_HOST, type TestClusterOptions } from './support/cluster.ts'
import { Network, whyNoNetwork } from './support/network.ts'
import { afterSchedule, beginSchedule, endSchedule, replace, type Schedule, TOPIC } from './support/schedule.ts'
import { SlowLink } from './support/slow-link.ts'

const isAll = process.env['MILLRACE_FAULTS'] === 'all'

const reason = etcdBinary === undefined ? 'there is no etcd' : isAll ? whyNoNetwork() : 'needs MILLRACE_FAULTS=all'
if (isAll && reason !== undefined) console.log(`skipped: a cluster whose links lose packets: ${reason}`)

describe.skipIf(reason !== undefined)('a cluster whose links lose packets', () => {
  async function onNetwork(): Promise<Schedule & { readonly network: Network }> {
    const network = new Network()
    afterSchedule(() => network.close())
    return { network, ...(await beginSchedule({ store: 'etcd', network })) }
  }

  /** Packets were lost; none are from now on. */
  async function endLosses({ network, cluster, workload }: Schedule & { readonly network: Network }): Promise<void> {
    expect(network.dropped).toBeGreaterThan(10)
    network.heal()
    await workload.more(100)
    await endSchedule(cluster, workload)
  }

  test('one in ten between all brokers, and one in twenty to etcd', async () => {
    const schedule = await onNetwork()
    const { network, cluster, workload } = schedule
    for (const id of cluster.brokerIds) {
      network.lose(id, ETCD_HOST, 5)
      for (const other of cluster.brokerIds) if (other > id) network.lose(id, other, 10)
    }
    await workload.more(300, 120_000)
    await replace(schedule, schedule.leader)
    await endLosses(schedule)
  }, 240_000)

  test('three in ten of what a leader sends to its followers', async () => {
    const schedule = await onNetwork()
    const { network, workload, leader, followers } = schedule
    for (const follower of followers) network.loseOneWay(leader, follower, 30)
    await workload.more(200, 120_000)
    await endLosses(schedule)
  }, 240_000)

  test('three in ten of what followers ask of a leader, and of what a broker says to etcd', async () => {
    const schedule = await onNetwork()
    const { network, workload, leader, followers } = schedule
    for (const follower of followers) network.loseOneWay(follower, leader, 30)
    network.loseOneWay(followers[0] as number, ETCD_HOST, 30)
    await workload.more(200, 120_000)
    await endLosses(schedule)
  }, 240_000)
})

describe.runIf(isAll)('a cluster whose links are slow', () => {
  async function onSlowLinks(
    options: TestClusterOptions = {},
  ): Promise<Schedule & { readonly links: Map<number, SlowLink>; readonly random: Random }> {
    const seed = testSeed()
    console.log(`MILLRACE_SEED=${seed}`)
    const random = new Random(seed)
    const links = new Map<number, SlowLink>()
    const front: TestClusterOptions['front'] = async (id, address) => {
      const link = await SlowLink.open(address, new Random(random.u32()))
      afterSchedule(() => link.close())
      links.set(id, link)
      return link.address
    }
    return { links, random, ...(await beginSchedule({ ...options, front })) }
  }

  test('by 20 to 150 ms, a broker at a time more and less, while leaders are replaced', async () => {
    const schedule = await onSlowLinks()
    const { cluster, workload, links, random } = schedule
    for (const link of links.values()) link.delayMs = [20, 150]
    await workload.more(60, 120_000)
    for (let round = 0; round < 6; round++) {
      const least = random.between(0, 20)
      const link = links.get(random.pick(cluster.brokerIds)) as SlowLink
      link.delayMs = [least, random.between(least, 150)]
      await workload.more(20, 120_000)
    }
    await replace(schedule, schedule.leader)
    for (const link of links.values()) {
      expect(link.pieces).toBeGreaterThan(0)
      link.delayMs = [0, 0]
    }
    await workload.more(100)
    await endSchedule(cluster, workload)
  }, 240_000)

  test('by about what followers may be behind: they go and come, and go again', async () => {
    const { cluster, workload, links, leader } = await onSlowLinks({ replicaLagMs: 1_000 })
    const slow = links.get(leader) as SlowLink
    slow.delayMs = [500, 900] // what is asked of it, and what it answers
    await cluster.until(TOPIC, all => all[0]?.leader === leader && all[0].isr.length < 3, 60_000)
    await workload.more(100, 120_000)
    slow.delayMs = [0, 0]
    await workload.more(100)
    await endSchedule(cluster, workload)
  }, 240_000)
})
