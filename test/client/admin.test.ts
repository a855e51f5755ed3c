/** Topics: made, listed, described, grown, configured, emptied and deleted, while they are in use and over a reopening. */
import { existsSync, readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConsumedRecord, TopicSpec } from '../../client/index.ts'
import { batchesOf } from './support/batches.ts'
import { EngineHome, MEDIUM, readValues, SMALL, sleep, text, until } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

async function send(topic: string, values: readonly string[], bytes = 0): Promise<void> {
  await using producer = await home.engine.producer()
  for (const value of values) await producer.send({ topic, messages: [{ value: value.padEnd(bytes), partition: 0 }] })
}

const segments = async (topic: string): Promise<number | undefined> =>
  (await home.engine.admin.describeTopic(topic)).partitions[0]?.segments

describe('create, list, describe', () => {
  test('a topic is there when create resolves, with an id that stays', async () => {
    const { admin } = home.engine
    const { topicId } = await admin.createTopic({ topic: 'made', partitions: 3, config: { 'retention.ms': 1_000 } })
    expect(topicId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(await admin.listTopics()).toContain('made')
    const described = await admin.describeTopic('made')
    expect(described).toMatchObject({
      topic: 'made',
      topicId,
      config: { 'retention.ms': '1000', 'cleanup.policy': 'delete' },
    })
    expect(described.partitions).toEqual(
      [0, 1, 2].map(partition => ({
        partition,
        logStartOffset: 0,
        logEndOffset: 0,
        highWatermark: 0,
        leaderEpoch: 0,
        segments: 1,
        sizeBytes: 0,
        indexEntries: 0,
      })),
    )
    await home.reopen()
    expect(await home.engine.admin.describeTopic('made')).toEqual(described)
  })

  test('names come sorted', async () => {
    for (const topic of ['zebra', 'Zebra', 'a-b', 'a_b', 'a.b'])
      await home.engine.admin.createTopic({ topic, config: MEDIUM })
    const names = await home.engine.admin.listTopics()
    expect(names).toEqual([...names].sort())
    expect(names).toEqual(expect.arrayContaining(['Zebra', 'a-b', 'a.b', 'a_b', 'zebra']))
  })

  test('a name of 249 characters works; the folder is named after it', async () => {
    const topic = 'x'.repeat(249)
    await home.engine.admin.createTopic({ topic, config: MEDIUM })
    await send(topic, ['value'])
    expect(await readValues(home.engine, topic)).toEqual([['value']])
    expect(existsSync(home.partitionDirectory(topic))).toBe(true)
    await home.engine.admin.deleteTopic(topic)
  })

  const bad: readonly [string, TopicSpec, string][] = [
    ['an empty name', { topic: '' }, 'INVALID_TOPIC_NAME'],
    ['a dot', { topic: '.' }, 'INVALID_TOPIC_NAME'],
    ['two dots', { topic: '..' }, 'INVALID_TOPIC_NAME'],
    ['a slash', { topic: 'a/b' }, 'INVALID_TOPIC_NAME'],
    ['a way out of the folder', { topic: '../../etc' }, 'INVALID_TOPIC_NAME'],
    ['250 characters', { topic: 'x'.repeat(250) }, 'INVALID_TOPIC_NAME'],
    ['a letter that is not ASCII', { topic: 'größe' }, 'INVALID_TOPIC_NAME'],
    ['a zero byte', { topic: 'a\0b' }, 'INVALID_TOPIC_NAME'],
    ['a number as name', { topic: 7 as unknown as string }, 'INVALID_TOPIC_NAME'],
    ['no name', {} as TopicSpec, 'INVALID_TOPIC_NAME'],
    ['no partitions', { topic: 'bad', partitions: 0 }, 'INVALID_PARTITIONS'],
    ['half a partition', { topic: 'bad', partitions: 1.5 }, 'INVALID_PARTITIONS'],
    ['10,001 partitions', { topic: 'bad', partitions: 10_001 }, 'INVALID_PARTITIONS'],
    ['an unknown key', { topic: 'bad', config: { 'retention.hours': 1 } }, 'INVALID_CONFIG'],
    ['a value out of range', { topic: 'bad', config: { 'segment.bytes': 1 } }, 'INVALID_CONFIG'],
    ['a topic that is there', { topic: 'there' }, 'TOPIC_ALREADY_EXISTS'],
  ]

  test.for(bad)('%s is refused and leaves nothing behind', async ([, spec, code]) => {
    const { admin } = home.engine
    if (code === 'TOPIC_ALREADY_EXISTS') await admin.createTopic({ topic: 'there', config: MEDIUM })
    const [names, files] = [await admin.listTopics(), readdirSync(home.directory)]
    await expect(admin.createTopic(spec)).rejects.toMatchObject({ code })
    expect(await admin.listTopics()).toEqual(names)
    expect(readdirSync(home.directory)).toEqual(files)
  })

  test('what is not there', async () => {
    const { admin } = home.engine
    const unknown = { code: 'UNKNOWN_TOPIC_OR_PARTITION' }
    await expect(admin.describeTopic('nowhere')).rejects.toMatchObject(unknown)
    await expect(admin.deleteTopic('nowhere')).rejects.toMatchObject(unknown)
    await expect(admin.createPartitions('nowhere', 2)).rejects.toMatchObject(unknown)
    await expect(admin.alterConfig('nowhere', { 'retention.ms': 1 })).rejects.toMatchObject(unknown)
    await expect(admin.deleteRecords('nowhere', 0, 0)).rejects.toMatchObject(unknown)
    for (const topic of ['x'.repeat(300), undefined as unknown as string]) {
      const details = { topic: String(topic).slice(0, 64) }
      await expect(admin.describeTopic(topic)).rejects.toMatchObject({ ...unknown, details })
      await expect(admin.deleteTopic(topic)).rejects.toMatchObject({ name: 'MillraceError' })
    }
  })

  test('calls that are not awaited happen one after another, in their order', async () => {
    const { admin } = home.engine
    const config = MEDIUM
    const done = await Promise.allSettled([
      admin.createTopic({ topic: 'turns', config }),
      admin.createTopic({ topic: 'turns', config }),
      admin.createPartitions('turns', 3),
      admin.deleteTopic('turns'),
      admin.deleteTopic('turns'),
      admin.createTopic({ topic: 'turns', partitions: 2, config }),
    ])
    expect(done.map(({ status }) => status === 'fulfilled')).toEqual([true, false, true, true, false, true])
    expect((await admin.describeTopic('turns')).partitions).toHaveLength(2)
  })
})

describe('createPartitions', () => {
  test('the new ones take records; the old ones keep theirs', async () => {
    const topic = await home.topic(1)
    await send(topic, numbers(5))
    await home.engine.admin.createPartitions(topic, 3)
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: [{ value: 'two', partition: 2 }] })
    expect(await readValues(home.engine, topic)).toEqual([numbers(5), [], ['two']])
    await home.reopen()
    expect(await readValues(home.engine, topic)).toEqual([numbers(5), [], ['two']])
  })

  test('only more than there are', async () => {
    const topic = await home.topic(2)
    for (const partitions of [2, 1, 0, 2.5, 10_001])
      await expect(home.engine.admin.createPartitions(topic, partitions)).rejects.toThrow()
    expect((await home.engine.admin.describeTopic(topic)).partitions).toHaveLength(2)
  })
})

describe('alterConfig', () => {
  test('holds for partitions that are running, and over a reopening', async () => {
    const topic = await home.topic(1, MEDIUM)
    await send(topic, numbers(20), 1_000)
    expect(await segments(topic)).toBe(1)
    await home.engine.admin.alterConfig(topic, { 'segment.bytes': 16_384 })
    await send(topic, numbers(20), 1_000)
    const small = (await segments(topic)) as number
    expect(small).toBeGreaterThan(2)
    await home.reopen()
    expect((await home.engine.admin.describeTopic(topic)).config['segment.bytes']).toBe('16384')
    await send(topic, numbers(40), 1_000)
    expect(await segments(topic)).toBeGreaterThan(small)
    expect((await readValues(home.engine, topic))[0]?.map(value => value?.trim())).toEqual([
      ...numbers(20),
      ...numbers(20),
      ...numbers(40),
    ])
  })

  test('max.message.bytes in both directions, for producers that are there already', async () => {
    const topic = await home.topic(1, { ...MEDIUM, 'max.message.bytes': 1_000 })
    await using producer = await home.engine.producer()
    const big = { topic, messages: [{ value: Buffer.alloc(5_000) }] }
    await expect(producer.send(big)).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' })
    await home.engine.admin.alterConfig(topic, { 'max.message.bytes': 10_000 })
    expect(await producer.send(big)).toMatchObject([{ baseOffset: 0 }])
    await home.engine.admin.alterConfig(topic, { 'max.message.bytes': 1_000 })
    await expect(producer.send(big)).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' })
  })

  test('a topic becomes durable and ceases to be', async () => {
    const topic = await home.topic(1)
    await using producer = await home.engine.producer()
    using lookup = await home.engine.lookup(topic)
    for (const flush of ['1', null, '1'] as const) {
      const before = lookup.latest(0)
      await home.engine.admin.alterConfig(topic, { 'flush.messages': flush })
      expect(lookup.latest(0)).toBe(before)
      const sent = await Promise.all(numbers(20).map(value => producer.send({ topic, messages: [{ value }] })))
      expect(lookup.latest(0)).toBe(before + 20)
      expect(sent).toHaveLength(20)
    }
  })

  test('null puts a key back to its default; a bad value changes nothing', async () => {
    const topic = await home.topic(1, { ...MEDIUM, 'retention.ms': 5 })
    const { admin } = home.engine
    const config = async (): Promise<Readonly<Record<string, string>>> => (await admin.describeTopic(topic)).config
    await expect(admin.alterConfig(topic, { 'retention.bytes': 7, 'segment.ms': -1 })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
    })
    await expect(admin.alterConfig(topic, { nonsense: null })).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
    expect(await config()).toMatchObject({ 'retention.ms': '5', 'retention.bytes': '-1' })
    await admin.alterConfig(topic, { 'retention.ms': null, 'message.timestamp.type': 'LogAppendTime' })
    expect(await config()).toMatchObject({ 'retention.ms': '604800000', 'message.timestamp.type': 'LogAppendTime' })
    const beforeMs = Date.now()
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: [{ value: 'x', timestamp: 5 }] })
    using lookup = await home.engine.lookup(topic)
    expect(lookup.byOffset(0, 0)?.timestamp).toBeGreaterThanOrEqual(beforeMs)
  })

  test('index.interval.bytes holds for the segments that begin after it', async () => {
    const topic = await home.topic(1, { 'segment.bytes': 16_384, 'index.interval.bytes': 16_384 })
    await send(topic, numbers(40), 1_000)
    await home.engine.admin.alterConfig(topic, { 'index.interval.bytes': 1_000 })
    const entries = async (): Promise<number> =>
      (await home.engine.admin.describeTopic(topic)).partitions[0]?.indexEntries ?? 0
    await sleep(50)
    const before = await entries()
    await send(topic, numbers(60), 1_000)
    await until(async () => (await entries()) > before + 30, 'dense index entries')
  })
})

describe('deleteRecords', () => {
  test('survives a reopening, also in the middle of a batch', async () => {
    const topic = await home.topic(1, SMALL)
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: numbers(10).map(value => ({ value })) })
    expect(batchesOf(home.partitionDirectory(topic))).toHaveLength(1)
    expect(await home.engine.admin.deleteRecords(topic, 0, 4)).toEqual({ logStartOffset: 4 })
    expect(await home.engine.admin.deleteRecords(topic, 0, 2)).toEqual({ logStartOffset: 4 })
    await producer.close()
    await home.reopen()
    expect(await readValues(home.engine, topic)).toEqual([['4', '5', '6', '7', '8', '9']])
    expect(await home.engine.admin.deleteRecords(topic, 0, -1)).toEqual({ logStartOffset: 10 })
    await home.reopen()
    expect(await readValues(home.engine, topic)).toEqual([[]])
    await send(topic, ['next'])
    using lookup = await home.engine.lookup(topic)
    expect([lookup.earliest(0), text(lookup.byOffset(0, 10)?.value)]).toEqual([10, 'next'])
  })

  test('above the high watermark or of a partition that is not there', async () => {
    const topic = await home.topic(1)
    await send(topic, numbers(3))
    const { admin } = home.engine
    await expect(admin.deleteRecords(topic, 0, 4)).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
      details: { offset: 4, logStartOffset: 0, highWatermark: 3 },
    })
    for (const offset of [-2, 0.5, Number.NaN])
      await expect(admin.deleteRecords(topic, 0, offset)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(admin.deleteRecords(topic, 1, 0)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    expect(await readValues(home.engine, topic)).toEqual([numbers(3)])
  })
})

describe('retention', () => {
  test('by size and by age, applied when asked', async () => {
    const topic = await home.topic(1, { ...SMALL, 'retention.bytes': 40_000 })
    await send(topic, numbers(100), 1_000)
    await until(async () => {
      await home.engine.admin.applyRetention()
      return ((await home.engine.admin.describeTopic(topic)).partitions[0]?.sizeBytes ?? 0) < 60_000
    }, 'retention by size')
    const { partitions } = await home.engine.admin.describeTopic(topic)
    expect(partitions[0]?.sizeBytes).toBeGreaterThanOrEqual(40_000)
    const [values] = await readValues(home.engine, topic)
    expect(values?.map(value => value?.trim())).toEqual(numbers(100).slice(partitions[0]?.logStartOffset))
    await home.engine.admin.alterConfig(topic, { 'retention.ms': 1 })
    await sleep(5)
    await until(async () => {
      await home.engine.admin.applyRetention()
      return (await readValues(home.engine, topic))[0]?.length === 0
    }, 'retention by age')
    await send(topic, ['after'])
    expect(await readValues(home.engine, topic)).toEqual([['after']])
  })

  test('by itself, in the interval that was asked for', async () => {
    await home.reopen({ retentionCheckMs: 20 })
    const topic = await home.topic(1, { ...SMALL, 'retention.bytes': 20_000 })
    await send(topic, numbers(60), 1_000)
    await until(
      async () => ((await home.engine.admin.describeTopic(topic)).partitions[0]?.sizeBytes ?? 0) < 40_000,
      'less',
    )
    await home.reopen()
  })
})

test('segment.ms counts from the first record of a segment, over a reopening too; a reopened log goes on under its epoch', async () => {
  const topic = await home.topic(1, { ...MEDIUM, 'segment.ms': 1_000, 'retention.ms': -1 })
  const at = async (timestamp: number): Promise<void> => {
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: [{ value: `${timestamp}`, timestamp }] })
  }
  await at(5_000)
  await home.reopen()
  await at(5_900)
  expect(await segments(topic)).toBe(1)
  await at(6_001)
  expect(await segments(topic)).toBe(2)
  const epochs = batchesOf(home.partitionDirectory(topic)).map(({ leaderEpoch }) => leaderEpoch)
  expect(new Set(epochs).size).toBe(1)
  expect((await home.engine.admin.describeTopic(topic)).partitions[0]?.leaderEpoch).toBe(epochs[0])
})

describe('deleteTopic', () => {
  test('takes the records and the folder; a new topic of that name is another', async () => {
    const topic = await home.topic(2)
    await send(topic, numbers(10))
    const { topicId } = await home.engine.admin.describeTopic(topic)
    await home.engine.admin.deleteTopic(topic)
    expect(readdirSync(home.directory).filter(name => name.includes(topic) || name.endsWith('-delete'))).toEqual([])
    expect(await home.engine.admin.listTopics()).not.toContain(topic)
    const again = await home.engine.admin.createTopic({ topic, config: MEDIUM })
    expect(again.topicId).not.toBe(topicId)
    expect(await readValues(home.engine, topic)).toEqual([[]])
    await send(topic, ['new'])
    await home.reopen()
    expect(await readValues(home.engine, topic)).toEqual([['new']])
  })

  test('while readers hold views and producers send', async () => {
    const topic = await home.topic(2, SMALL)
    await using producer = await home.engine.producer()
    let stop = false
    const codes = new Set<string>()
    const sending = (async () => {
      for (let i = 0; !stop; i++) {
        const message = { value: `${i}`.padEnd(500), partition: i % 2 }
        await producer.send({ topic, messages: [message] }).catch(error => codes.add(error.code))
        if (codes.size > 0) await sleep(1) // it fails at once now
      }
    })()
    const held: ConsumedRecord[] = []
    const reading = (async () => {
      for await (const record of home.engine.reader({ topic, to: 'never' }).records()) held.push(record)
    })()
    const ended = expect(reading).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    await until(() => held.length > 200, 'records')
    await home.engine.admin.deleteTopic(topic)
    await ended
    stop = true
    await sending
    for (const { partition, offset, value } of held) expect(Number(text(value))).toBe(offset * 2 + partition)
    expect([...codes].every(code => code === 'UNKNOWN_TOPIC_OR_PARTITION')).toBe(true)
  })

  test('again and again: slots, files and descriptors are given back', async () => {
    const descriptors = (): number => readdirSync('/proc/self/fd').length
    const topic = await home.topic(4, SMALL)
    await home.engine.admin.deleteTopic(topic)
    const before = descriptors()
    for (let round = 0; round < 15; round++) {
      await home.engine.admin.createTopic({ topic, partitions: 4, config: SMALL })
      await send(topic, numbers(40), 1_000)
      await home.engine.admin.deleteTopic(topic)
    }
    expect(descriptors()).toBeLessThanOrEqual(before + 4)
  })
})
