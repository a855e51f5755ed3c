/** Brokers whose wall clocks differ by minutes, or jump. Nothing that they agree on may rest on them. Runs with MILLRACE_FAULTS=all. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import { etcdBinary } from '../engine/cluster/etcd.ts'
import { temporaryDirectory } from '../faults/support/surroundings.ts'
import { clockOfFile, clockOff, setClock, whyNoFaketime } from './support/faketime.ts'
import { beginSchedule, endSchedule, replace, TOPIC } from './support/schedule.ts'

const isAll = process.env['MILLRACE_FAULTS'] === 'all'
const reason = isAll ? whyNoFaketime() : 'needs MILLRACE_FAULTS=all'
if (isAll && reason !== undefined) console.log(`skipped: a cluster whose clocks differ: ${reason}`)
const STORES = etcdBinary === undefined ? (['lmdb'] as const) : (['lmdb', 'etcd'] as const)

/** Seconds, by broker. */
const OFF: Readonly<Record<number, number>> = { 1: 60, 2: -60, 3: 0 }

describe.skipIf(reason !== undefined).for(STORES)('a cluster over %s whose clocks differ', store => {
  test('by one minute and two, while one leader after the other is killed', async () => {
    const environment = (id: number): Record<string, string> => clockOff(OFF[id] as number)
    const schedule = await beginSchedule({ store, environment })
    const { cluster, workload } = schedule
    for (const id of cluster.brokerIds) {
      await cluster.until(TOPIC, all => all.every(({ isr }) => isr.length === 3), 60_000)
      await replace(schedule, id, environment(id))
    }
    expect(workload.longestGapMs).toBeLessThan(15_000)
    await endSchedule(cluster, workload)
  }, 240_000)

  test('and jump while it runs: nobody goes out of sync, and nobody loses its lease', async () => {
    const seed = testSeed()
    console.log(`MILLRACE_SEED=${seed}`)
    const random = new Random(seed)
    const folder = temporaryDirectory('clocks')
    const clockOfBroker = (id: number): string => join(folder, `clock-${id}`)
    const environment = (id: number): Record<string, string> => {
      setClock(clockOfBroker(id), 0)
      return clockOfFile(clockOfBroker(id))
    }
    const { cluster, workload } = await beginSchedule({ store, environment })
    const before = await cluster.partitions(TOPIC)
    for (let round = 0; round < 10; round++) {
      setClock(clockOfBroker(random.pick(cluster.brokerIds)), random.between(-60, 60))
      await sleep(random.between(0, 1_000))
      await workload.more(20)
    }
    expect(await cluster.partitions(TOPIC)).toEqual(before)
    await endSchedule(cluster, workload)
  }, 240_000)
})
