import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { bootId } from '../../engine/broker/boot-id.ts'
import { machineKey, NO_LEADER, readPartition } from '../../engine/cluster/cluster-state.ts'
import { openMetadata } from '../../engine/cluster/open-metadata.ts'
import { etcdBinary } from '../engine/cluster/etcd.ts'
import { TestCluster } from './support/cluster.ts'
import { Workload } from './support/history.ts'
import { endSchedule } from './support/schedule.ts'

const isAll = process.env['MILLRACE_FAULTS'] === 'all'
const PARTITIONS = 3
const SAFE = { 'min.insync.replicas': '2' }
const STORES = etcdBinary === undefined ? (['lmdb'] as const) : (['lmdb', 'etcd'] as const)

let cluster: TestCluster | undefined
afterEach(async () => {
  await cluster?.close()
  cluster = undefined
})

const begin = async (store: 'lmdb' | 'etcd'): Promise<{ cluster: TestCluster; workload: Workload }> => {
  cluster = await TestCluster.start({ store })
  await cluster.createTopic('t', PARTITIONS, 3, SAFE)
  await cluster.healthy('t')
  const workload = new Workload(cluster, 't', PARTITIONS)
  await workload.more(100)
  return { cluster, workload }
}

const leaderOf = async (running: TestCluster, partition: number): Promise<number> =>
  (await running.partitions('t'))[partition]?.leader ?? -1

describe.for(STORES)('a cluster over %s', store => {
  test('a leader that is killed is replaced, comes back, and nothing acknowledged is lost', async () => {
    const { cluster: running, workload } = await begin(store)
    for (let round = 0; round < (isAll ? 3 : 1); round++) {
      const leader = await leaderOf(running, round)
      await running.signal(leader, 'SIGKILL')
      await running.until('t', all =>
        all.every(one => one.leader > 0 && one.leader !== leader && !one.isr.includes(leader)),
      )
      await workload.more(200)
      await running.startBroker(leader)
      await running.healthy('t')
      await workload.more(200)
    }
    expect(workload.longestGapMs).toBeLessThan(15_000)
    await endSchedule(running, workload)
  }, 180_000)

  test.runIf(isAll || store === 'lmdb')(
    'a leader that was frozen beyond its lease acknowledges nothing when it wakes up, and follows',
    async () => {
      const { cluster: running, workload } = await begin(store)
      const leader = await leaderOf(running, 0)
      await running.signal(leader, 'SIGSTOP')
      await sleep(5_000)
      await running.signal(leader, 'SIGCONT')
      await running.healthy('t')
      await workload.more(300)
      expect(await leaderOf(running, 0)).not.toBe(leader)
      await endSchedule(running, workload)
    },
    180_000,
  )

  test.runIf(isAll || store === 'lmdb')(
    'a broker that is stopped in order gives its leaders away first',
    async () => {
      const { cluster: running, workload } = await begin(store)
      const leader = await leaderOf(running, 0)
      const epochs = (await running.partitions('t')).map(({ leaderEpoch }) => leaderEpoch)
      await running.signal(leader, 'SIGTERM')
      const after = await running.partitions('t')
      expect(after.every(one => one.leader > 0 && one.leader !== leader)).toBe(true)
      expect(after.every((one, index) => one.leaderEpoch <= (epochs[index] as number) + 1)).toBe(true)
      await workload.more(200)
      await running.startBroker(leader)
      await endSchedule(running, workload)
    },
    180_000,
  )
})

test.runIf(isAll)(
  'a broker that lost its directory is in sync with nobody before it has caught up',
  async () => {
    const { cluster: running, workload } = await begin('lmdb')
    const leader = await leaderOf(running, 0)
    await running.signal(leader, 'SIGKILL')
    rmSync(running.dataOf(leader), { recursive: true })
    await running.startBroker(leader) // after its lease has ended
    await workload.more(200)
    await endSchedule(running, workload)
  },
  180_000,
)

test('a broker of another boot of its machine, not closed in order, leads nothing that others have too', async () => {
  const { cluster: running, workload } = await begin('lmdb')
  const [one, ...others] = running.brokerIds as [number, ...number[]]
  await Promise.all(running.brokerIds.map(id => running.signal(id, 'SIGKILL'))) // so nobody is there to put it out
  const store = await openMetadata({ address: running.store, bootId: bootId() })
  const states = async () => (await store.list('partitions/')).entries.map(readPartition)
  while ((await store.list('brokers/')).entries.length > 0) await sleep(20)
  expect((await states()).every(({ isr }) => isr.includes(one))).toBe(true)
  const machine = JSON.parse((await store.get(machineKey(one)))?.value as string)
  await store.commit([], [{ key: machineKey(one), value: JSON.stringify({ ...machine, bootId: 'another' }) }])
  await running.startBroker(one)
  await sleep(2_000)
  expect((await states()).every(({ isr, leader }) => !isr.includes(one) && leader === NO_LEADER)).toBe(true)
  await store.close()
  for (const id of others) await running.startBroker(id)
  await running.healthy('t')
  await workload.more(200)
  await endSchedule(running, workload)
}, 180_000)

test('a leader whose log has stopped lets another lead', async () => {
  const environment = (id: number): Record<string, string> =>
    id === 1 ? { MILLRACE_FAILPOINTS: 'append-before-publish=throw@400' } : {}
  const running = await TestCluster.start({ environment })
  cluster = running
  const configs = Object.entries(SAFE).map(([name, value]) => ({ name, value }))
  const assignments = [{ partition: 0, brokers: [1, 2, 3] }]
  await running.withAdmin(admin =>
    admin.createTopics({ topics: ['t'], partitions: -1, replicas: -1, assignments, configs }),
  )
  await running.healthy('t')
  expect(await leaderOf(running, 0)).toBe(1)
  const workload = new Workload(running, 't', 1)
  await workload.more(1_000)
  expect(running.output.some(line => line.startsWith('1:') && line.includes('t/0 stopped'))).toBe(true)
  const [after] = await running.partitions('t')
  expect(after?.leader).not.toBe(1)
  expect(after?.isr).toEqual([2, 3])
  await running.signal(1, 'SIGTERM')
  await running.startBroker(1)
  await endSchedule(running, workload)
}, 180_000)

test('with too few in sync nothing is acknowledged, and everything goes on once they are back', async () => {
  const { cluster: running, workload } = await begin('lmdb')
  const leader = await leaderOf(running, 0)
  const others = running.brokerIds.filter(id => id !== leader)
  for (const id of others) await running.signal(id, 'SIGKILL')
  await running.until('t', all => all.every(({ isr }) => isr.length === 1))
  const before = workload.acknowledged.length
  await sleep(2_000)
  expect(workload.acknowledged.length).toBe(before)
  for (const id of others) await running.startBroker(id)
  await workload.more(200)
  await endSchedule(running, workload)
}, 180_000)
