/** Topics that something else wrote: taken in when asked for, refused as they are, kept through crashes of ours. */
import { cpSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMillraceError } from '../../client/index.ts'
import { type ForeignBatch, foreignBatch, TIME_MS, writeAborted, writeForeign } from '../engine/log/foreign-fixture.ts'
import { contentOf, logPath } from '../engine/log/recovery-fixture.ts'
import { EngineHome, readValues, SMALL, text } from './support/engine.ts'

const KEEP = { 'retention.ms': -1, ...SMALL }
const COMPACT = { ...KEEP, 'cleanup.policy': 'compact' }

let home: EngineHome
let source: EngineHome
beforeAll(async () => {
  home = await EngineHome.open({ cleanerBackoffMs: 3_600_000 })
  source = await EngineHome.open()
})
afterAll(async () => {
  await source.close()
  await home.close()
})

let topics = 0
/** A topic of one partition with these segments in the open engine's directory, of which the engine knows nothing. */
function foreign(...segments: readonly ForeignBatch[][]): string {
  const topic = `foreign-${topics++}`
  writeForeign(home.partitionDirectory(topic), segments)
  return topic
}

const one = (offset: number, record = `k${offset}=v${offset}`): ForeignBatch => ({ offset, records: [record] })

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (isMillraceError(error)) return error.code
    throw error
  }
  return 'nothing was thrown'
}

async function offsets(topic: string, isolation: 'read_committed' | 'read_uncommitted'): Promise<number[]> {
  const found: number[] = []
  for await (const { offset } of home.engine.reader({ topic, isolation }).records()) found.push(offset)
  return found
}

async function append(topic: string, value: string | Buffer, key = 'new', partition = 0): Promise<void> {
  await using producer = await home.engine.producer()
  await producer.send({ topic, messages: [{ key, value, partition }] })
}

describe('a topic of another Millrace', () => {
  test('comes with its records, goes on under a new epoch, and stays', async () => {
    const topic = await source.topic(3, KEEP)
    await using producer = await source.engine.producer()
    for (let i = 0; i < 900; i++) {
      const sent = producer.send({ topic, messages: [{ value: `${i}`.padEnd(60), partition: i % 3 }] })
      if (i % 9 === 0) await sent
    }
    await producer.flush()
    const expected = await readValues(source.engine, topic)
    const epoch = (await source.engine.admin.describeTopic(topic)).partitions[0]?.leaderEpoch ?? 0
    await source.reopen()
    for (const partition of [0, 1, 2]) {
      cpSync(source.partitionDirectory(topic, partition), home.partitionDirectory('moved', partition), {
        recursive: true,
      })
    }
    expect(await home.engine.admin.listTopics()).not.toContain('moved')
    const { topicId, partitions } = await home.engine.admin.adoptTopic({
      topic: 'moved',
      config: KEEP,
    })
    expect(partitions).toBe(3)
    const described = await home.engine.admin.describeTopic('moved')
    expect(described.topicId).toBe(topicId)
    expect(described.partitions.map(({ leaderEpoch }) => leaderEpoch)).toEqual([epoch + 1, epoch + 1, epoch + 1])
    expect(await readValues(home.engine, 'moved')).toEqual(expected)
    await append('moved', 'behind', 'k', 1)
    expected[1]?.push('behind')
    await home.reopen({ cleanerBackoffMs: 3_600_000 })
    expect(await readValues(home.engine, 'moved')).toEqual(expected)
  })

  test('put there while the engine is closed it is no topic either, until it is taken in', async () => {
    const topic = foreign([one(0), one(1)])
    await home.reopen({ cleanerBackoffMs: 3_600_000 })
    expect(await home.engine.admin.listTopics()).not.toContain(topic)
    await home.engine.admin.adoptTopic({ topic, config: KEEP })
    expect(await readValues(home.engine, topic)).toEqual([['v0', 'v1']])
  })
})

describe('what Kafka leaves in a folder', () => {
  test('its topic id becomes the topic’s, and no second topic can have it', async () => {
    const metadata = 'version: 0\ntopic_id: 98ENSI2WT86JF8Da5VeCQQ'
    const [first, second] = [foreign([one(0)]), foreign([one(0)])]
    for (const topic of [first, second])
      writeFileSync(join(home.partitionDirectory(topic), 'partition.metadata'), metadata)
    const { topicId } = await home.engine.admin.adoptTopic({ topic: first, config: KEEP })
    expect(topicId).toBe('f7c10d48-8d96-4fce-8917-c0dae5578241')
    expect(await codeOf(home.engine.admin.adoptTopic({ topic: second }))).toBe('TOPIC_ALREADY_EXISTS')
    expect(readFileSync(join(home.partitionDirectory(first), 'partition.metadata'), 'utf8')).toBe(metadata)
  })

  test('gaps of compaction are read over, whatever the policy is, and stay so after a crash', async () => {
    const topic = foreign([one(0), one(7), one(8)], [one(20), one(30)])
    await home.engine.admin.adoptTopic({ topic, config: KEEP })
    await append(topic, 'behind')
    const expected = [0, 7, 8, 20, 30, 31]
    expect(await offsets(topic, 'read_uncommitted')).toEqual(expected)
    using lookup = await home.engine.lookup(topic)
    expect(lookup.byOffset(0, 9)?.offset).toBe(20)
    // As after a crash: a copy of the directory, while it is open.
    const copy = await EngineHome.open()
    await copy.engine.close()
    cpSync(home.directory, copy.directory, { recursive: true, force: true })
    const engine = await copy.reopen()
    const found: number[] = []
    for await (const { offset } of engine.reader({ topic }).records()) found.push(offset)
    expect(found).toEqual(expected)
    copy.faults.length = 0 // what recovery had to say is not the matter here
    await copy.close()
  })

  test('a torn batch at the end is cut, as after a crash', async () => {
    const topic = foreign([one(0)], [one(1), one(2)])
    const path = logPath(home.partitionDirectory(topic), 1)
    truncateSync(path, readFileSync(path).length - 3)
    await home.engine.admin.adoptTopic({ topic, config: KEEP })
    expect(await offsets(topic, 'read_uncommitted')).toEqual([0, 1])
    expect(home.faults.splice(0).join()).toContain('"decision":"truncate"')
  })

  test('records of aborted transactions are read unless read_committed is asked for; markers never', async () => {
    const topic = foreign([
      one(0),
      { offset: 1, records: ['a=aborted'], producerId: 5 },
      { offset: 2, records: ['b=kept'], producerId: 6 },
      { offset: 3, producerId: 5, end: 'abort' },
      { offset: 4, producerId: 6, end: 'commit' },
      { offset: 5, records: ['c=kept'], producerId: 5 },
      { offset: 6, producerId: 5, end: 'commit' },
    ])
    writeAborted(home.partitionDirectory(topic), 0, [[5, 1, 3]])
    await home.engine.admin.adoptTopic({ topic, config: KEEP })
    await append(topic, 'behind')
    expect(await offsets(topic, 'read_uncommitted')).toEqual([0, 1, 2, 5, 7])
    expect(await offsets(topic, 'read_committed')).toEqual([0, 2, 5, 7])
    using lookup = await home.engine.lookup(topic)
    expect(lookup.byOffset(0, 3)?.offset).toBe(5)
    expect(lookup.byTimestamp(0, TIME_MS + 3)?.offset).toBe(5)
    const reader = (): unknown => home.engine.reader({ topic, isolation: 'read_some' as 'read_committed' })
    expect(reader).toThrow('INVALID_ARGUMENT')
  })

  test('compaction takes an aborted record for nothing: what it would have replaced stays', async () => {
    const topic = foreign([
      one(0, 'k=committed'),
      one(1, 'gone=old'),
      { offset: 2, records: ['k=aborted'], producerId: 5 },
      { offset: 3, producerId: 5, end: 'abort' },
      one(4, 'gone=new'),
    ])
    writeAborted(home.partitionDirectory(topic), 0, [[5, 2, 3]])
    await home.engine.admin.adoptTopic({ topic, config: COMPACT })
    for (let i = 0; i < 3; i++) await append(topic, Buffer.alloc(9_000), `fill-${i}`)
    await home.engine.admin.applyCompaction({ force: true })
    const kept: (string | null)[] = []
    for await (const { key, value } of home.engine.reader({ topic, to: { offset: 5 } }).records()) {
      kept.push(`${text(key)}=${text(value)}`)
    }
    expect(kept).toEqual(['k=committed', 'gone=new'])
  })
})

describe('is refused, and the folder is as it was', () => {
  const refused = async (topic: string): Promise<string> => {
    const before = contentOf(home.partitionDirectory(topic))
    const code = await codeOf(home.engine.admin.adoptTopic({ topic }))
    expect(contentOf(home.partitionDirectory(topic))).toEqual(before)
    expect(await home.engine.admin.listTopics()).not.toContain(topic)
    return code
  }

  test('damage, an open transaction, another batch format', async () => {
    const damaged = foreign([one(0), one(1)], [one(2)])
    const path = logPath(home.partitionDirectory(damaged), 0)
    const bytes = readFileSync(path)
    bytes.writeUInt8(bytes.readUInt8(60) ^ 1, 60)
    writeFileSync(path, bytes)
    expect(await refused(damaged)).toBe('CORRUPT_BATCH')
    expect(await refused(foreign([one(0), { offset: 1, records: ['k=v'], producerId: 3 }]))).toBe('UNSUPPORTED_FORMAT')
    const old = foreign([one(0)])
    const first = foreignBatch(one(0))
    first.writeInt8(1, 16)
    writeFileSync(logPath(home.partitionDirectory(old), 0), first)
    expect(await refused(old)).toBe('UNSUPPORTED_FORMAT')
  })

  test('a name without a folder, a partition that is missing, folders of two topics, a topic that is there', async () => {
    expect(await codeOf(home.engine.admin.adoptTopic({ topic: 'nothing' }))).toBe('DIRECTORY_NOT_FOUND')
    expect(await codeOf(home.engine.admin.adoptTopic({ topic: '../up' }))).toBe('INVALID_TOPIC_NAME')
    const topic = foreign([one(0)])
    writeForeign(home.partitionDirectory(topic, 2), [[one(0)]])
    expect(await refused(topic)).toBe('INVALID_PARTITIONS')
    mkdirSync(home.partitionDirectory(topic, 1))
    const metadata = (id: string): string => `version: 0\ntopic_id: ${id}`
    writeFileSync(join(home.partitionDirectory(topic, 0), 'partition.metadata'), metadata('cHKz4ePVQ9ybvY-wfCmqtA'))
    writeFileSync(join(home.partitionDirectory(topic, 2), 'partition.metadata'), metadata('98ENSI2WT86JF8Da5VeCQQ'))
    expect(await refused(topic)).toBe('INVALID_ARGUMENT')
    const existing = await home.topic()
    expect(await codeOf(home.engine.admin.adoptTopic({ topic: existing }))).toBe('TOPIC_ALREADY_EXISTS')
  })

  test('a new topic does not take over what lies in its folder by chance', async () => {
    const topic = foreign([one(0), one(1)])
    const before = contentOf(home.partitionDirectory(topic))
    expect(await codeOf(home.engine.admin.createTopic({ topic }))).toBe('INVALID_ARGUMENT')
    const grown = await home.topic()
    writeForeign(home.partitionDirectory(grown, 1), [[one(0)]])
    expect(await codeOf(home.engine.admin.createPartitions(grown, 2))).toBe('INVALID_ARGUMENT')
    expect(contentOf(home.partitionDirectory(topic))).toEqual(before)
    expect(readdirSync(home.partitionDirectory(grown, 1))).toHaveLength(2)
    await home.engine.admin.adoptTopic({ topic, config: KEEP })
    expect(await offsets(topic, 'read_committed')).toEqual([0, 1])
  })
})
