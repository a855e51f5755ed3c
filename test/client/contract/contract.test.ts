/** What producers, readers, look-ups, consumers and the administration promise, over every transport alike. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { whyNoKafka } from '../../../bench/kafka/jars.ts'
import type { Connection, ConsumedRecord, PortableConsumer } from '../../../client/index.ts'
import { embedded, kafka, open, served } from './transports.ts'

const reason = whyNoKafka()
if (reason !== undefined) console.log(`skipped: the contract over Apache Kafka: ${reason}`)

const START_MS = 300_000
const WAIT_MS = 60_000
const transports = [embedded, served, ...(reason === undefined ? [kafka] : [])]

const text = (bytes: Uint8Array | null | undefined): string | null =>
  bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString()

describe.each(transports)('over $name', transport => {
  let connection: Connection
  let stop: () => Promise<void>
  let topics = 0

  beforeAll(async () => {
    ;({ connection, stop } = await open(transport))
  }, START_MS)
  afterAll(() => stop?.(), START_MS)

  async function newTopic(partitions = 1): Promise<string> {
    const topic = `topic-${topics++}`
    await connection.admin.createTopic({ topic, partitions })
    return topic
  }

  /** Values `first` to `last` into partition 0, with their numbers as times. */
  async function fill(topic: string, first: number, last: number, partition = 0): Promise<void> {
    await using producer = await connection.producer()
    const messages = []
    for (let i = first; i <= last; i++) messages.push({ value: `v${i}`, partition, timestamp: i * 1_000 })
    await producer.send({ topic, messages })
  }

  async function all(records: AsyncIterable<ConsumedRecord>): Promise<ConsumedRecord[]> {
    const found: ConsumedRecord[] = []
    for await (const record of records) found.push(record)
    return found
  }

  const values = (records: readonly ConsumedRecord[]): (string | null)[] => records.map(({ value }) => text(value))

  describe('administration', () => {
    test('topics come, grow, change and go', async () => {
      const { admin } = connection
      const topic = `topic-${topics++}`
      const { topicId } = await admin.createTopic({ topic, partitions: 2, config: { 'retention.ms': 1_234_567 } })
      expect(await admin.listTopics()).toContain(topic)
      const described = await admin.describeTopic(topic)
      expect(described).toMatchObject({ topic, topicId, config: { 'retention.ms': '1234567' } })
      expect(described.partitions).toMatchObject([
        { partition: 0, logStartOffset: 0, logEndOffset: 0, highWatermark: 0 },
        { partition: 1, logStartOffset: 0, logEndOffset: 0, highWatermark: 0 },
      ])
      await admin.createPartitions(topic, 3)
      await admin.alterConfig(topic, { 'retention.ms': null, 'max.message.bytes': 50_000 })
      const changed = await admin.describeTopic(topic)
      expect(changed.partitions).toHaveLength(3)
      expect(changed.config).toMatchObject({ 'retention.ms': '604800000', 'max.message.bytes': '50000' })
      await admin.deleteTopic(topic)
      expect(await admin.listTopics()).not.toContain(topic)
    })

    test('what cannot be is refused', async () => {
      const { admin } = connection
      const topic = await newTopic(2)
      await expect(admin.createTopic({ topic })).rejects.toMatchObject({ code: 'TOPIC_ALREADY_EXISTS' })
      await expect(admin.createTopic({ topic: 'a/b' })).rejects.toMatchObject({ code: 'INVALID_TOPIC_NAME' })
      await expect(admin.createPartitions(topic, 1)).rejects.toMatchObject({ code: 'INVALID_PARTITIONS' })
      await expect(admin.alterConfig(topic, { 'retention.ms': 'soon' })).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
      })
      const absent = [
        admin.describeTopic('absent'),
        admin.deleteTopic('absent'),
        connection.lookup('absent'),
        all(connection.reader({ topic: 'absent' }).records()),
      ]
      const refused = absent.map(each => expect(each).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' }))
      await Promise.all(refused)
    })

    test('records are deleted from the beginning', async () => {
      const topic = await newTopic()
      await fill(topic, 0, 9)
      expect(await connection.admin.deleteRecords(topic, 0, 4)).toEqual({ logStartOffset: 4 })
      expect(values(await all(connection.reader({ topic }).records()))).toEqual(['v4', 'v5', 'v6', 'v7', 'v8', 'v9'])
      await expect(connection.admin.deleteRecords(topic, 0, 11)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
      expect(await connection.admin.deleteRecords(topic, 0, -1)).toEqual({ logStartOffset: 10 })
    })
  })

  describe('producers', () => {
    test('keys, values, headers and times arrive as they were sent', async () => {
      const topic = await newTopic()
      await using producer = await connection.producer()
      const bytes = Uint8Array.from([0, 255, 128])
      const sent = await producer.send({
        topic,
        messages: [
          { key: 'k', value: 'grün', timestamp: 1_000, headers: { a: '1', b: bytes } },
          { key: bytes, value: bytes, timestamp: 2_000 },
          { key: null, value: null, timestamp: 3_000 },
          { key: '', value: '', timestamp: 4_000 },
        ],
      })
      expect(sent).toEqual([{ topic, partition: 0, baseOffset: 0, count: 4 }])
      const records = await all(connection.reader({ topic }).records())
      expect(records.map(({ offset, timestamp }) => [offset, timestamp])).toEqual([
        [0, 1_000],
        [1, 2_000],
        [2, 3_000],
        [3, 4_000],
      ])
      expect(records.map(({ key }) => key && [...key])).toEqual([[107], [0, 255, 128], null, []])
      expect(records.map(({ value }) => value && [...value])).toEqual([
        [...Buffer.from('grün')],
        [0, 255, 128],
        null,
        [],
      ])
      expect(records[0]?.headers.map(({ key, value }) => [key, value && [...value]])).toEqual([
        ['a', [49]],
        ['b', [0, 255, 128]],
      ])
      expect(records[0]?.copy()).toEqual(records[0])
    })

    test('a key chooses the partition that it chooses everywhere', async () => {
      const topic = await newTopic(5)
      await using producer = await connection.producer()
      const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`)
      await producer.send({ topic, messages: keys.map(key => ({ key, value: key })) })
      const placed = new Map<string | null, number>()
      for (const { key, partition } of await all(connection.reader({ topic }).records()))
        placed.set(text(key), partition)
      expect(['key-0', 'key-1', 'key-2', 'key-3', 'key-4'].map(key => placed.get(key))).toEqual([1, 0, 2, 2, 3])
      expect(placed.size).toBe(40)
    })

    test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)('%s', async compression => {
      const topic = await newTopic()
      await using producer = await connection.producer({ compression })
      const messages = Array.from({ length: 200 }, (_, i) => ({ value: `value ${i} `.repeat(20) }))
      await producer.send({ topic, messages })
      expect(values(await all(connection.reader({ topic }).records()))).toEqual(messages.map(({ value }) => value))
    })

    test('many sends at once keep their order, and each is told its offset', async () => {
      const topic = await newTopic()
      await using producer = await connection.producer({ idempotent: true })
      const sends = Array.from({ length: 300 }, (_, i) => producer.send({ topic, messages: [{ value: `${i}` }] }))
      const offsets = (await Promise.all(sends)).map(([metadata]) => metadata?.baseOffset)
      expect(offsets).toEqual(Array.from({ length: 300 }, (_, i) => i))
      expect(values(await all(connection.reader({ topic }).records()))).toEqual(offsets.map(String))
    })

    test('of sends of one moment, what one is refused for is not told of the others', async () => {
      const topic = await newTopic(2)
      await connection.admin.alterConfig(topic, { 'max.message.bytes': 3_000 })
      await using producer = await connection.producer()
      const send = (value: string, partition: number) => producer.send({ topic, messages: [{ value, partition }] })
      const large = 'x'.repeat(20_000)
      const sends = [send('a', 0), send(large, 0), send('b', 0), send('c', 1), send(large, 1), send('d', 0)]
      const settled = (await Promise.allSettled(sends)).map(result =>
        result.status === 'fulfilled' ? result.value[0]?.baseOffset : (result.reason as { code: string }).code,
      )
      expect(settled).toEqual([0, 'RECORD_TOO_LARGE', 1, 0, 'RECORD_TOO_LARGE', 2])
      expect(values(await all(connection.reader({ topic, partitions: [0] }).records()))).toEqual(['a', 'b', 'd'])
    })

    test('more at once than one request may hold', async () => {
      const topic = await newTopic()
      await connection.admin.alterConfig(topic, { 'max.message.bytes': 200_000 })
      await using producer = await connection.producer()
      const value = 'x'.repeat(1_000)
      const sends = Array.from({ length: 500 }, () => producer.send({ topic, messages: [{ value }] }))
      expect((await Promise.all(sends)).map(([at]) => at?.baseOffset)).toEqual(sends.map((_, i) => i))
    })

    test('without acknowledgement there is no offset', async () => {
      const topic = await newTopic()
      await using producer = await connection.producer({ acks: 0 })
      expect(await producer.send({ topic, messages: [{ value: 'a' }] })).toMatchObject([{ baseOffset: -1, count: 1 }])
      await producer.flush()
      const reader = connection.reader({ topic, to: 'never' })
      for await (const { value } of reader.records()) {
        expect(text(value)).toBe('a')
        break
      }
    })

    test('what cannot be sent is refused, and the producer goes on', async () => {
      const topic = await newTopic()
      await connection.admin.alterConfig(topic, { 'max.message.bytes': 2_000 })
      await using producer = await connection.producer()
      const send = (name: string, message: object) => producer.send({ topic: name, messages: [message as never] })
      await expect(send('absent', { value: 'v' })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
      await expect(send(topic, { value: 'v', partition: 7 })).rejects.toMatchObject({
        code: 'UNKNOWN_TOPIC_OR_PARTITION',
      })
      await expect(send(topic, { value: 5 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      await expect(send(topic, { value: 'x'.repeat(10_000) })).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' })
      expect(await send(topic, { value: 'v' })).toMatchObject([{ baseOffset: 0 }])
      await producer.close()
      await expect(send(topic, { value: 'v' })).rejects.toMatchObject({ code: 'CLOSED' })
    })
  })

  describe('readers and look-ups', () => {
    test('from and to', async () => {
      const topic = await newTopic(2)
      await fill(topic, 0, 9)
      await fill(topic, 20, 24, 1)
      const read = async (options: object) =>
        values(await all(connection.reader({ topic, ...options }).records())).sort()
      expect(await read({})).toHaveLength(15)
      expect(await read({ partitions: [1] })).toEqual(['v20', 'v21', 'v22', 'v23', 'v24'])
      expect(await read({ partitions: [0], from: { offset: 7 } })).toEqual(['v7', 'v8', 'v9'])
      expect(await read({ partitions: [0], from: { offset: 3 }, to: { offset: 5 } })).toEqual(['v3', 'v4'])
      expect(await read({ from: { timestamp: 8_500 } })).toEqual(['v20', 'v21', 'v22', 'v23', 'v24', 'v9'])
      expect(await read({ from: 'latest' })).toEqual([])
      await expect(read({ partitions: [0], from: { offset: 11 }, to: { offset: 12 } })).rejects.toMatchObject({
        code: 'OFFSET_OUT_OF_RANGE',
      })
      await expect(read({ partitions: [2] })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    })

    test('batches say where reading goes on', async () => {
      const topic = await newTopic()
      await fill(topic, 0, 9)
      const reader = connection.reader({ topic })
      let next = 0
      for await (const batch of reader) {
        expect(batch).toMatchObject({ topic, partition: 0, highWatermark: 10 })
        for (const { offset } of batch) expect(offset).toBe(next++)
        expect(batch.nextOffset).toBe(next)
      }
      expect(next).toBe(10)
      expect([...reader.positions]).toEqual([[0, 10]])
    })

    test('the tail is followed until the signal', async () => {
      const topic = await newTopic()
      const controller = new AbortController()
      const reader = connection.reader({ topic, to: 'never', signal: controller.signal })
      const seen: (string | null)[] = []
      const reading = (async () => {
        for await (const { value } of reader.records()) {
          seen.push(text(value))
          if (seen.length === 4) controller.abort()
        }
      })()
      await fill(topic, 0, 1)
      await fill(topic, 2, 3)
      await reading
      expect(seen).toEqual(['v0', 'v1', 'v2', 'v3'])
    })

    test('by offset and by time', async () => {
      const topic = await newTopic(2)
      await fill(topic, 0, 9)
      const lookup = await connection.lookup(topic)
      expect(lookup.partitions).toBe(2)
      expect(text((await lookup.byOffset(0, 4))?.value)).toBe('v4')
      expect(await lookup.byOffset(0, 10)).toBeUndefined()
      await expect((async () => lookup.byOffset(0, 11))()).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
      expect(await lookup.byTimestamp(0, 4_001)).toMatchObject({ offset: 5, timestamp: 5_000 })
      expect(await lookup.byTimestamp(0, 9_001)).toBeUndefined()
      expect([await lookup.earliest(0), await lookup.latest(0)]).toEqual([0, 10])
      expect(await lookup.maxTimestamp(0)).toEqual({ offset: 9, timestamp: 9_000 })
      expect(await lookup.maxTimestamp(1)).toBeUndefined()
      lookup.close()
    })
  })

  describe('consumers', () => {
    const consumerOf = (groupId: string, options: object = {}): PortableConsumer =>
      connection.consumer({ groupId, autoOffsetReset: 'earliest', ...options })

    test('two of a group share what there is, and one takes over from the other', { timeout: WAIT_MS }, async () => {
      const topic = await newTopic(4)
      await using producer = await connection.producer()
      const seen = new Map<string, number>()
      const handled: string[][] = [[], []]
      const start = async (index: number): Promise<{ consumer: PortableConsumer; run: Promise<void> }> => {
        const consumer = consumerOf(`shared-${topic}`)
        await consumer.subscribe([topic])
        const run = consumer.eachMessage(({ value }) => {
          const one = text(value) as string
          seen.set(one, (seen.get(one) ?? 0) + 1)
          handled[index]?.push(one)
        })
        return { consumer, run }
      }
      const settled = async (condition: () => boolean): Promise<void> => {
        for (const endMs = performance.now() + 30_000; !condition(); ) {
          if (performance.now() > endMs) throw new Error('it did not come to that')
          await new Promise(resolve => setTimeout(resolve, 20))
        }
      }
      const [a, b] = [await start(0), await start(1)]
      await settled(() => a.consumer.assignment().length === 2 && b.consumer.assignment().length === 2)
      const messages = (from: number) =>
        Array.from({ length: 40 }, (_, i) => ({ value: `${from + i}`, partition: i % 4 }))
      await producer.send({ topic, messages: messages(0) })
      await settled(() => seen.size === 40)
      expect(handled.map(list => list.length)).toEqual([20, 20])
      await b.consumer.close()
      await b.run
      await settled(() => a.consumer.assignment().length === 4)
      await producer.send({ topic, messages: messages(40) })
      await settled(() => seen.size === 80)
      await a.consumer.close()
      await a.run
      expect([...seen.values()].filter(times => times !== 1)).toEqual([])
      const { offsets, members } = await connection.admin.describeGroup(`shared-${topic}`)
      expect(members).toEqual([])
      expect(offsets.map(({ offset, lag }) => [offset, lag])).toEqual(new Array(4).fill([20, 0]))
    })

    test('goes on where it committed', { timeout: WAIT_MS }, async () => {
      const topic = await newTopic()
      await fill(topic, 0, 9)
      const groupId = `goes-on-${topic}`
      const first = consumerOf(groupId, { autoCommit: false })
      await first.subscribe(topic)
      const seen: (string | null)[] = []
      for await (const record of first.records()) {
        seen.push(text(record.value))
        if (seen.length < 4) continue
        await first.commit(record, { metadata: 'four' })
        break
      }
      expect(await first.committed([{ topic, partition: 0 }])).toMatchObject([{ offset: 4, metadata: 'four' }])
      await first.close()
      const second = consumerOf(groupId)
      await second.subscribe(topic)
      for await (const { value } of second.records()) {
        seen.push(text(value))
        if (seen.length === 10) break
      }
      await second.close()
      expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => `v${i}`))
    })

    test('listeners are told, and may seek', { timeout: WAIT_MS }, async () => {
      const topic = await newTopic()
      await fill(topic, 0, 9)
      const consumer = consumerOf(`listeners-${topic}`)
      const told: string[] = []
      await consumer.subscribe(topic, {
        onAssigned: ([at]) => {
          told.push(`assigned ${at?.partition}`)
          consumer.seek({ topic, partition: 0, offset: 8 })
        },
        onRevoked: ([at]) => told.push(`revoked ${at?.partition}`),
      })
      const seen: (string | null)[] = []
      for await (const { value } of consumer.records()) {
        seen.push(text(value))
        if (seen.length === 2) break
      }
      await consumer.close()
      expect(seen).toEqual(['v8', 'v9'])
      expect(told).toEqual(['assigned 0', 'revoked 0'])
    })

    test('without a membership: assigned, paused, sought, with its lag', { timeout: WAIT_MS }, async () => {
      const topic = await newTopic(2)
      await fill(topic, 0, 4)
      await fill(topic, 10, 14, 1)
      const consumer = connection.consumer({ autoOffsetReset: 'earliest' })
      await consumer.assign([
        { topic, partition: 0 },
        { topic, partition: 1 },
      ])
      consumer.pause([{ topic, partition: 1 }])
      expect(consumer.paused()).toEqual([{ topic, partition: 1 }])
      const seen: (string | null)[] = []
      const take = async (count: number): Promise<void> => {
        for await (const { value } of consumer.records()) {
          seen.push(text(value))
          if (seen.length === count) break
        }
      }
      await take(5)
      expect(seen).toEqual(['v0', 'v1', 'v2', 'v3', 'v4'])
      expect(consumer.position({ topic, partition: 1 })).toBe(0)
      consumer.pause([{ topic, partition: 0 }])
      consumer.resume([{ topic, partition: 1 }])
      consumer.seek({ topic, partition: 1, offset: 3 })
      await take(7)
      expect(seen.slice(5)).toEqual(['v13', 'v14'])
      const lag = await consumer.lag()
      expect(lag.find(({ partition }) => partition === 0)).toMatchObject({ highWatermark: 5 })
      await expect(consumer.commit()).rejects.toMatchObject({ code: 'INVALID_GROUP_ID' })
      await consumer.close()
    })

    test('handlers are tried again, then the record is a dead letter', { timeout: WAIT_MS }, async () => {
      const topic = await newTopic()
      await fill(topic, 0, 3)
      const consumer = consumerOf(`letters-${topic}`)
      await consumer.subscribe(topic)
      const dead: number[] = []
      consumer.on('deadLetter', ({ offset }) => void dead.push(offset))
      const tries: string[] = []
      await consumer.eachMessage(
        ({ value }) => {
          tries.push(text(value) as string)
          if (text(value) === 'v1') throw new Error('never')
          if (text(value) === 'v3') consumer.stop()
        },
        { retries: 2, retryDelayMs: 1, deadLetterTopic: `${topic}-dead` },
      )
      await consumer.close()
      expect(tries).toEqual(['v0', 'v1', 'v1', 'v1', 'v2', 'v3'])
      expect(dead).toEqual([1])
      const [letter] = await all(connection.reader({ topic: `${topic}-dead` }).records())
      expect(text(letter?.value)).toBe('v1')
      expect(letter?.headers.map(({ key, value }) => `${key}=${text(value)}`)).toContain(`__dlq.errors.topic=${topic}`)
    })

    test('without an offset, and no policy for it', { timeout: WAIT_MS }, async () => {
      const topic = await newTopic()
      const consumer = connection.consumer({ groupId: `none-${topic}`, autoOffsetReset: 'none' })
      await consumer.subscribe(topic)
      await expect(all(consumer.records())).rejects.toMatchObject({ code: 'NO_OFFSET_FOR_PARTITION' })
      await consumer.close()
    })
  })

  describe('groups', () => {
    test('are listed, described, reset and deleted', { timeout: WAIT_MS }, async () => {
      const { admin } = connection
      const topic = await newTopic(2)
      await fill(topic, 0, 9)
      await fill(topic, 10, 19, 1)
      const groupId = `described-${topic}`
      const consumer = connection.consumer({ groupId, clientId: 'me', autoOffsetReset: 'earliest' })
      await consumer.subscribe(topic)
      let count = 0
      for await (const _ of consumer.records()) if (++count === 20) break
      await consumer.commit()
      const described = await admin.describeGroup(groupId)
      expect(described).toMatchObject({ groupId, state: 'Stable', groupType: 'consumer', protocolType: 'consumer' })
      expect(described.members).toHaveLength(1)
      expect(described.members[0]?.partitions).toHaveLength(2)
      await expect(admin.resetOffsets(groupId, { to: 'beginning' })).rejects.toMatchObject({ code: 'NON_EMPTY_GROUP' })
      expect(await admin.deleteGroups([groupId])).toMatchObject([{ groupId, error: { code: 'NON_EMPTY_GROUP' } }])
      await consumer.close()
      expect(await admin.listGroups()).toContainEqual({
        groupId,
        state: 'Empty',
        groupType: 'consumer',
        protocolType: 'consumer',
      })
      const reset = (to: object | 'beginning' | 'end', dryRun = false) =>
        admin.resetOffsets(groupId, { to: to as never, dryRun }).then(list => list.map(change => change.to))
      expect(await reset('beginning', true)).toEqual([0, 0])
      expect(await reset({ timestamp: 5_000 })).toEqual([5, 0])
      expect(await reset({ shift: 2 })).toEqual([7, 2])
      expect(await reset({ offset: 30 })).toEqual([10, 10])
      expect(await reset('end')).toEqual([10, 10])
      await admin.deleteOffsets(groupId, [{ topic, partition: 1 }])
      expect((await admin.describeGroup(groupId)).offsets.map(({ partition }) => partition)).toEqual([0])
      expect(await admin.deleteGroups([groupId, 'absent'])).toMatchObject([
        { groupId },
        { groupId: 'absent', error: { code: 'GROUP_ID_NOT_FOUND' } },
      ])
      await expect(admin.describeGroup(groupId)).rejects.toMatchObject({ code: 'GROUP_ID_NOT_FOUND' })
    })
  })
})
