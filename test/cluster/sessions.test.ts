import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'
import { checkHistory, Workload } from './support/history.ts'

const PARTITIONS = 12

let cluster: TestCluster | undefined
afterEach(async () => {
  await cluster?.close()
  cluster = undefined
})

test('followers that have everything stay in sync while other partitions are busy, and come back with their session lost', async () => {
  const running = await TestCluster.start({ replicaLagMs: 1_000 })
  cluster = running
  await running.createTopic('t', PARTITIONS, 3, { 'min.insync.replicas': '2' })
  await running.healthy('t')
  const workload = new Workload(running, 't', 1) // the other eleven are idle
  const epochs = (await running.partitions('t')).map(({ leaderEpoch }) => leaderEpoch)
  for (let look = 0; look < 20; look++) {
    await sleep(150)
    for (const { isr } of await running.partitions('t')) expect(isr.length).toBe(3)
  }
  expect((await running.partitions('t')).map(({ leaderEpoch }) => leaderEpoch)).toEqual(epochs)
  const [one] = await running.partitions('t')
  const leader = one?.leader as number
  await running.signal(leader, 'SIGTERM') // its sessions are gone with it, those of the others name its partitions
  await workload.more(50)
  await running.startBroker(leader)
  await running.healthy('t')
  await workload.more(50)
  await workload.stop()
  await running.healthy('t')
  await running.stopBrokers()
  await checkHistory(running, 't', workload)
}, 120_000)
