/**
 * A schedule of faults: a cluster of three with a topic of which two replicas have to be in sync, a workload on it, something that goes wrong, and at the end
 * all replicas in sync and held against what was acknowledged and read.
 */
import { afterEach } from 'vitest'
import { TestCluster, type TestClusterOptions } from './cluster.ts'
import { checkHistory, Workload } from './history.ts'

export const TOPIC = 't'
const PARTITIONS = 3

export interface Schedule {
  readonly cluster: TestCluster
  readonly workload: Workload
  /** Of partition 0, and the others. */
  readonly leader: number
  readonly followers: readonly number[]
}

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Runs after the test, before what was registered earlier. */
export function afterSchedule(cleanup: () => unknown): void {
  cleanups.push(cleanup)
}

export async function beginSchedule(
  options: TestClusterOptions,
  config: Record<string, string> = {},
): Promise<Schedule> {
  const cluster = await TestCluster.start({ replicaLagMs: 3_000, ...options })
  afterSchedule(() => cluster.close())
  await cluster.createTopic(TOPIC, PARTITIONS, 3, { 'min.insync.replicas': '2', ...config })
  await cluster.healthy(TOPIC)
  const workload = new Workload(cluster, TOPIC, PARTITIONS)
  await workload.more(100)
  const leader = (await cluster.partitions(TOPIC))[0]?.leader as number
  return { cluster, workload, leader, followers: cluster.brokerIds.filter(id => id !== leader) }
}

/** A broker dies and comes back, and everything goes on. */
export async function replace(
  { cluster, workload }: Schedule,
  id: number,
  environment: Record<string, string> = {},
): Promise<void> {
  await cluster.signal(id, 'SIGKILL')
  await cluster.until(TOPIC, all => all.every(one => one.leader > 0 && one.leader !== id), 60_000)
  await workload.more(100)
  await cluster.startBroker(id, environment)
  await workload.more(100)
}

/** What is sent ends; once everything is in sync the brokers are stopped, and the logs held against what was acknowledged and read. */
export async function endSchedule(cluster: TestCluster, workload: Workload): Promise<void> {
  await workload.stop()
  await cluster.until(
    TOPIC,
    all => all.every(({ leader, isr, replicas }) => leader > 0 && isr.length === replicas.length),
    60_000,
  )
  await cluster.stopBrokers()
  await checkHistory(cluster, TOPIC, workload)
  if (process.env['MILLRACE_FAULTS'] !== 'all') return
  const { acknowledged, longestGapMs, failures } = workload
  const gap = `longest wait ${(longestGapMs / 1_000).toFixed(1)} s, given up ${failures.length}`
  console.log(`${acknowledged.length} acknowledged are on every replica and were read; ${gap}`)
}
