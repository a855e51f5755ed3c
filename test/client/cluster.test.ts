import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Admin, Producer, stringSerializers } from '@platformatic/kafka'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Millrace, type MillraceCluster } from '../../client/index.ts'

let dir: string
let cluster: MillraceCluster<Millrace> | undefined

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-cluster-'))
})
afterEach(async () => {
  await cluster?.close()
  cluster = undefined
  rmSync(dir, { recursive: true, force: true })
})

const clientOf = (running: MillraceCluster<Millrace>) => ({
  clientId: 'test',
  bootstrapBrokers: running.bootstrap.split(','),
  timeout: 5_000,
  retries: 30,
  retryDelay: 50,
})

/** Whole batches of a partition as a broker has them. */
function bytesOf(brokerId: number, partition: number): Buffer {
  const folder = join(dir, `broker-${brokerId}`, `t-${partition}`)
  const names = readdirSync(folder).filter(name => name.endsWith('.log'))
  const bytes = Buffer.concat(names.sort().map(name => readFileSync(join(folder, name))))
  let at = 0
  while (at + 61 <= bytes.length && bytes.readInt32BE(at + 8) > 0) at += 12 + bytes.readInt32BE(at + 8)
  return bytes.subarray(0, at)
}

test('three brokers in one process replicate, and one that was stopped catches up', async () => {
  cluster = await Millrace.cluster({ dir, brokers: 3 }, { writers: 1, jobThreads: 1 })
  expect([...cluster.brokerIds].sort()).toEqual([1, 2, 3])
  const admin = new Admin(clientOf(cluster))
  await admin.createTopics({
    topics: ['t'],
    partitions: 3,
    replicas: 3,
    configs: [{ name: 'min.insync.replicas', value: '2' }],
  })
  await expect(admin.createTopics({ topics: ['u'], partitions: 1, replicas: 4 })).rejects.toThrow()
  const producer = new Producer({ ...clientOf(cluster), serializers: stringSerializers })
  const send = async (value: string): Promise<void> => {
    const messages = [0, 1, 2].map(partition => ({ topic: 't', partition, value }))
    await producer.send({ messages, acks: -1 })
  }
  for (let number = 0; number < 50; number++) await send(`first ${number}`)
  await cluster.stop(2)
  for (let number = 0; number < 50; number++) await send(`second ${number}`)
  await cluster.start(2)
  await expect
    .poll(
      async () => {
        const { topics } = await admin.metadata({ topics: ['t'], forceUpdate: true })
        return topics.get('t')?.partitions.map(({ isr }) => isr.length)
      },
      { timeout: 20_000 },
    )
    .toEqual([3, 3, 3])
  for (let number = 0; number < 10; number++) await send(`third ${number}`)
  await producer.close()
  await admin.close()
  await cluster.close()
  for (const partition of [0, 1, 2]) {
    const [one, two, three] = [1, 2, 3].map(id => bytesOf(id, partition)) as [Buffer, Buffer, Buffer]
    expect(one.includes('third 9')).toBe(true)
    expect(one.equals(two) && one.equals(three)).toBe(true)
  }
}, 120_000)

test('a broker that comes back when the leader has deleted what it lacks goes on from there', async () => {
  cluster = await Millrace.cluster({ dir, brokers: 2 }, { writers: 1, jobThreads: 1 })
  await cluster.broker(1).admin.createTopic({ topic: 't', replicationFactor: 2 })
  await expect.poll(() => cluster?.leaderOf('t', 0)).toBeDefined()
  const producing = new Producer({ ...clientOf(cluster), serializers: stringSerializers })
  const send = (value: string) => producing.send({ messages: [{ topic: 't', partition: 0, value }], acks: -1 })
  await send('first')
  const leader = cluster.leaderOf('t', 0) as number
  const follower = leader === 1 ? 2 : 1
  await cluster.stop(follower)
  for (let number = 0; number < 20; number++) await send(`more ${number}`)
  const { admin } = cluster.broker(leader)
  expect(await admin.deleteRecords('t', 0, 15)).toEqual({ logStartOffset: 15 })
  await cluster.start(follower)
  await expect
    .poll(async () => (await cluster?.broker(follower).admin.describeTopic('t'))?.partitions[0], { timeout: 20_000 })
    .toMatchObject({ logStartOffset: 15, highWatermark: 21 })
  await producing.close()
}, 60_000)

test('topics of a cluster are administered through any of its engines', async () => {
  cluster = await Millrace.cluster({ dir, brokers: 2 }, { writers: 1, jobThreads: 1 })
  const { admin } = cluster.broker(1)
  const other = cluster.broker(2).admin
  const { topicId } = await admin.createTopic({ topic: 't', partitions: 2, config: { 'retention.ms': 1_000_000 } })
  await expect.poll(() => other.listTopics()).toEqual(['t'])
  expect((await other.describeTopic('t')).topicId).toBe(topicId)
  await other.alterConfig('t', { 'retention.ms': null })
  await other.createPartitions('t', 3)
  await expect.poll(async () => (await admin.describeTopic('t')).partitions.length).toBe(3)
  expect((await admin.describeTopic('t')).config['retention.ms']).toBe('604800000')
  const three = admin.createTopic({ topic: 'u', replicationFactor: 3 })
  await expect(three).rejects.toMatchObject({ code: 'INVALID_REPLICATION_FACTOR' })
  await expect(admin.truncate('t', 0, { offset: 0 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await admin.deleteTopic('t')
  await expect.poll(() => other.listTopics()).toEqual([])
}, 60_000)

test('a directory with topics of its own joins no cluster, and keeps them', async () => {
  const alone = await Millrace.open(join(dir, 'a'), { writers: 1, jobThreads: 1 })
  await alone.admin.createTopic({ topic: 'mine', partitions: 1 })
  await alone.close()
  const joining = await Millrace.open(join(dir, 'a'), { writers: 1, jobThreads: 1, replicas: true })
  const refused = { code: 'INVALID_ARGUMENT', details: { argument: 'directory' } }
  await expect(joining.listen({ port: 0, cluster: { store: `lmdb:${dir}` } })).rejects.toMatchObject(refused)
  expect(await joining.admin.listTopics()).toEqual(['mine'])
  await joining.close()
}, 60_000)

test('a first start that ended before the registration is no topic of its own', async () => {
  const first = await Millrace.open(join(dir, 'a'), { writers: 1, jobThreads: 1, replicas: true })
  await first.listen({ port: 0, nodeId: 1, cluster: { store: `lmdb:${dir}` } })
  await first.admin.createTopic({ topic: 't', partitions: 1 })
  const second = await Millrace.open(join(dir, 'b'), { writers: 1, jobThreads: 1, replicas: true })
  const twin = { port: 0, nodeId: 1, cluster: { store: `lmdb:${dir}`, startTimeoutMs: 100 } }
  await expect(second.listen(twin)).rejects.toMatchObject({ code: 'DUPLICATE_BROKER' })
  await second.close()
  const again = await Millrace.open(join(dir, 'b'), { writers: 1, jobThreads: 1, replicas: true })
  expect(await again.admin.listTopics()).toEqual(['t'])
  await again.listen({ port: 0, nodeId: 2, cluster: { store: `lmdb:${dir}` } })
  await again.close()
  await first.close()
}, 60_000)

test('a cluster wants an engine of replicas, and an engine of replicas a cluster', async () => {
  const alone = await Millrace.open(join(dir, 'a'), { writers: 1, jobThreads: 1 })
  const refused = { code: 'INVALID_ARGUMENT', details: { argument: 'cluster' } }
  await expect(alone.listen({ port: 0, cluster: { store: `lmdb:${dir}` } })).rejects.toMatchObject(refused)
  await alone.close()
  const replica = await Millrace.open(join(dir, 'b'), { writers: 1, jobThreads: 1, replicas: true })
  await expect(replica.listen({ port: 0 })).rejects.toMatchObject(refused)
  await expect(replica.listen({ port: 0, cluster: { store: 'zk://a' } })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
  await replica.listen({ port: 0, nodeId: 7, cluster: { store: `lmdb:${dir}` } })
  const twin = await Millrace.open(join(dir, 'c'), { writers: 1, jobThreads: 1, replicas: true })
  const cluster = { store: `lmdb:${dir}`, startTimeoutMs: 500 }
  await expect(twin.listen({ port: 0, nodeId: 7, cluster })).rejects.toMatchObject({ code: 'DUPLICATE_BROKER' })
  await twin.close()
  await replica.close()
}, 60_000)
