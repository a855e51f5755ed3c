/** Kafka's own clients and tools against a cluster: they fail over, move replicas and elect leaders without knowing whose brokers these are. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FETCH_TIMEOUT_MS, whyNoKafka } from '../../bench/kafka/jars.ts'
import { java } from '../../bench/kafka/java.ts'
import { TestCluster } from './support/cluster.ts'

const reason = whyNoKafka()
if (reason !== undefined) console.log(`skipped: Kafka's Java tools against a cluster: ${reason}`)

const TOOLS = 'org.apache.kafka.tools'
const RECORDS = 12_000

describe.skipIf(reason !== undefined)("Kafka's clients and tools on a cluster", () => {
  let cluster: TestCluster

  beforeAll(async () => {
    cluster = await TestCluster.start({ brokers: 4 })
  }, 120_000)
  afterAll(() => cluster?.close())

  async function tool(name: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, output } = await java(`${TOOLS}.${name}`, [
      '--bootstrap-server',
      cluster.bootstrap.join(','),
      ...args,
    ])
    expect(code, output).toBe(0)
    return stdout
  }

  test('a topic with three replicas, and one with five that is refused', { timeout: FETCH_TIMEOUT_MS }, async () => {
    const config = ['--config', 'min.insync.replicas=2']
    await tool('TopicCommand', '--create', '--topic', 't', '--partitions', '4', '--replication-factor', '3', ...config)
    await cluster.healthy('t')
    const described = await tool('TopicCommand', '--describe', '--topic', 't')
    expect(described).toContain('ReplicationFactor: 3')
    expect(new Set([...described.matchAll(/Leader: (\d)/g)].map(([, id]) => id)).size).toBe(4)
    const five = ['--create', '--topic', 'u', '--partitions', '1', '--replication-factor', '5']
    const { code, output } = await java(`${TOOLS}.TopicCommand`, [
      '--bootstrap-server',
      cluster.bootstrap.join(','),
      ...five,
    ])
    expect(code).not.toBe(0)
    expect(output).toMatch(/InvalidReplicationFactor/)
  })

  test("Kafka's producer goes on while a leader is killed, and each record is there once", {
    timeout: FETCH_TIMEOUT_MS,
  }, async () => {
    const produced = tool(
      'ProducerPerformance',
      ...['--topic', 't', '--num-records', `${RECORDS}`, '--record-size', '100', '--throughput', '1500'],
      ...['--producer-props', 'acks=all', 'delivery.timeout.ms=60000'],
    )
    await sleep(3_500)
    const [first] = await cluster.partitions('t')
    await cluster.signal(first?.leader as number, 'SIGKILL')
    expect(await produced).toContain(`${RECORDS} records sent`)
    await cluster.startBroker(first?.leader as number)
    await cluster.healthy('t')
    const counted = ['--topic', 't', '--num-records', `${RECORDS}`, '--hide-header', '--timeout', '20000']
    const said = await tool('ConsumerPerformance', ...counted)
    const [line] = said.split('\n').filter(text => text.includes(','))
    expect(line?.split(', ')[4]).toBe(`${RECORDS}`)
    const offsets = await tool('GetOffsetShell', '--topic', 't')
    expect([...offsets.matchAll(/t:\d:(\d+)/g)].reduce((sum, [, end]) => sum + Number(end), 0)).toBe(RECORDS)
  })

  test('leaders go back to the first replicas when that is asked for', { timeout: FETCH_TIMEOUT_MS }, async () => {
    const before = await cluster.partitions('t')
    expect(new Set(before.map(({ leader }) => leader)).size).toBeLessThan(4) // the one that was killed leads nothing
    await tool('LeaderElectionCommand', '--election-type', 'preferred', '--all-topic-partitions')
    await cluster.until('t', all => new Set(all.map(({ leader }) => leader)).size === 4)
  })

  test('replicas move to other brokers, with all that they have', { timeout: FETCH_TIMEOUT_MS }, async () => {
    const before = await cluster.partitions('t')
    const missing = [1, 2, 3, 4].find(id => before[0]?.replicas.includes(id) === false) as number
    const replicas = [missing, ...(before[0]?.replicas.slice(1) ?? [])]
    const plan = join(cluster.directory, 'plan.json')
    writeFileSync(plan, JSON.stringify({ version: 1, partitions: [{ topic: 't', partition: 0, replicas }] }))
    await tool('reassign.ReassignPartitionsCommand', '--reassignment-json-file', plan, '--execute')
    await cluster.until('t', ([one]) => JSON.stringify(one?.replicas) === JSON.stringify([...replicas].sort()))
    const verified = await tool(
      'reassign.ReassignPartitionsCommand',
      '--reassignment-json-file',
      plan,
      '--verify',
      '--preserve-throttles',
    )
    expect(verified).toContain('Reassignment of partition t-0 is completed.')
    await cluster.healthy('t')
    const offsets = await tool('GetOffsetShell', '--topic', 't')
    expect([...offsets.matchAll(/t:\d:(\d+)/g)].reduce((sum, [, end]) => sum + Number(end), 0)).toBe(RECORDS)
  })
})
