/** Brokers whose disk is full, and a machine that loses power. Runs with MILLRACE_FAULTS=all. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { PartitionState } from '../../bench/cluster/broker-processes.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import { bootId } from '../../engine/broker/boot-id.ts'
import { machineKey } from '../../engine/cluster/cluster-state.ts'
import { openMetadata } from '../../engine/cluster/open-metadata.ts'
import { PowerRig } from '../faults/support/power-rig.ts'
import { mountTmpfs, run, skip } from '../faults/support/surroundings.ts'
import type { TestCluster } from './support/cluster.ts'
import { logsOf } from './support/history.ts'
import { beginSchedule, endSchedule, TOPIC } from './support/schedule.ts'

/** The engine's own files take some 20 MiB of it for each broker. */
const DISK_BYTES = 96 * 1024 ** 2
/** Leads a partition, and follows in others. */
const ONE = 1
/** Some two hundred records: what a segment has allocated already takes records on a full disk too. */
const ROLLING = { 'segment.bytes': '16384' }

const isAll = process.env['MILLRACE_FAULTS'] === 'all'

describe.runIf(isAll)('a full disk', () => {
  /** Takes all room that there is. @returns gives it back */
  function fill(mount: string): () => void {
    const ballast = join(mount, 'ballast')
    run('dd', 'if=/dev/zero', `of=${ballast}`, 'bs=4k') // ends when there is no room
    expect(() => writeFileSync(join(mount, 'probe'), Buffer.alloc(8_192))).toThrow(/ENOSPC/)
    rmSync(join(mount, 'probe'))
    return () => rmSync(ballast)
  }

  test('of one broker: others lead what it led, and it is in sync again once there is room', {
    timeout: 240_000,
  }, async context => {
    const mounted = mountTmpfs(DISK_BYTES)
    if (typeof mounted === 'string') return skip(context, mounted)
    const dataOf = (id: number): string | undefined => (id === ONE ? join(mounted.path, 'data') : undefined)
    const { cluster, workload } = await beginSchedule({ dataOf }, ROLLING)
    expect((await cluster.partitions(TOPIC)).some(({ leader }) => leader === ONE)).toBe(true)
    const free = fill(mounted.path)
    const isLedByOthers = ({ leader, isr }: PartitionState): boolean => leader > 0 && leader !== ONE && isr.length === 2
    await cluster.until(TOPIC, all => all.every(isLedByOthers), 90_000)
    await workload.moreOfEach(100)
    expect(workload.longestGapMs).toBeLessThan(15_000)
    free()
    await endSchedule(cluster, workload)
  })

  test('of all brokers: nothing is acknowledged, nobody is elected for ever, and all goes on once there is room', {
    timeout: 240_000,
  }, async context => {
    const mounted = mountTmpfs(DISK_BYTES)
    if (typeof mounted === 'string') return skip(context, mounted)
    const { cluster, workload } = await beginSchedule({ dataOf: id => join(mounted.path, `data-${id}`) }, ROLLING)
    const free = fill(mounted.path)
    for (let last = -1; last < workload.acknowledged.length; await sleep(4_000)) last = workload.acknowledged.length
    const before = await cluster.partitions(TOPIC)
    await sleep(5_000)
    const after = await cluster.partitions(TOPIC)
    const elections = after.map(({ leaderEpoch }, index) => leaderEpoch - (before[index]?.leaderEpoch ?? 0))
    expect(Math.max(...elections)).toBeLessThanOrEqual(4)
    free()
    await workload.moreOfEach(50)
    await endSchedule(cluster, workload)
  })
})

describe.runIf(isAll)('loss of power of one machine', () => {
  /** The store says of the broker that it was registered in another boot of its machine. */
  async function pretendBoot(cluster: TestCluster, id: number): Promise<void> {
    const store = await openMetadata({ address: cluster.store, bootId: bootId() })
    const machine = JSON.parse((await store.get(machineKey(id)))?.value as string)
    await store.commit([], [{ key: machineKey(id), value: JSON.stringify({ ...machine, bootId: 'another' }) }])
    await store.close()
  }

  test('what it had acknowledged and not flushed comes back from the others', { timeout: 300_000 }, async context => {
    const rig = PowerRig.create()
    if (typeof rig === 'string') return skip(context, rig)
    const seed = testSeed()
    console.log(`MILLRACE_SEED=${seed}`)
    const random = new Random(seed)
    let image = rig.newDisk()
    let mount = rig.mount(image)
    const dataOf = (id: number): string | undefined => (id === ONE ? join(mount.path, 'data') : undefined)
    const { cluster, workload } = await beginSchedule({ dataOf }, { 'flush.ms': '1000' })
    const lost: number[] = []
    for (let round = 0; round < 3; round++) {
      await sleep(random.between(0, 2_000))
      await workload.more(200)
      await cluster.signal(ONE, 'SIGSTOP')
      image = rig.snapshot(image)
      const acknowledged = [...workload.acknowledged]
      await cluster.signal(ONE, 'SIGKILL')
      mount.unmount()
      mount = rig.mount(image)
      const left = await logsOf(cluster.dataOf(ONE), TOPIC)
      lost.push(acknowledged.filter(({ partition, offset }) => left.get(partition)?.has(offset) !== true).length)
      expect(lost.at(-1)).toBeLessThan(acknowledged.length)
      await pretendBoot(cluster, ONE)
      await cluster.startBroker(ONE)
      await cluster.healthy(TOPIC)
    }
    console.log(`${lost.join(', ')} acknowledged records were not on the disk`)
    expect(Math.max(...lost)).toBeGreaterThan(0)
    await endSchedule(cluster, workload)
  })
})
