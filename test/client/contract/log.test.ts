/** What the administration, producers, readers and look-ups promise, over every transport alike. */
import { describe, expect, test } from 'vitest'
import { all, overEachTransport, text, values } from './harness.ts'

overEachTransport(subject => {
  describe('administration', () => {
    test('topics come, grow, change and go', async () => {
      const { admin } = subject.connection
      const topic = subject.newName()
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
      const { admin } = subject.connection
      const topic = await subject.newTopic(2)
      await expect(admin.createTopic({ topic })).rejects.toMatchObject({ code: 'TOPIC_ALREADY_EXISTS' })
      await expect(admin.createTopic({ topic: 'a/b' })).rejects.toMatchObject({ code: 'INVALID_TOPIC_NAME' })
      await expect(admin.createPartitions(topic, 1)).rejects.toMatchObject({ code: 'INVALID_PARTITIONS' })
      await expect(admin.alterConfig(topic, { 'retention.ms': 'soon' })).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
      })
      const absent = [
        admin.describeTopic('absent'),
        admin.deleteTopic('absent'),
        subject.connection.lookup('absent'),
        all(subject.connection.reader({ topic: 'absent' }).records()),
      ]
      const refused = absent.map(each => expect(each).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' }))
      await Promise.all(refused)
    })

    test('records are deleted from the beginning', async () => {
      const topic = await subject.newTopic()
      await subject.fill(topic, 0, 9)
      expect(await subject.connection.admin.deleteRecords(topic, 0, 4)).toEqual({ logStartOffset: 4 })
      expect(values(await all(subject.connection.reader({ topic }).records()))).toEqual([
        'v4',
        'v5',
        'v6',
        'v7',
        'v8',
        'v9',
      ])
      await expect(subject.connection.admin.deleteRecords(topic, 0, 11)).rejects.toMatchObject({
        code: 'OFFSET_OUT_OF_RANGE',
      })
      expect(await subject.connection.admin.deleteRecords(topic, 0, -1)).toEqual({ logStartOffset: 10 })
    })
  })

  describe('producers', () => {
    test('keys, values, headers and times arrive as they were sent', async () => {
      const topic = await subject.newTopic()
      await using producer = await subject.connection.producer()
      const bytes = Uint8Array.from([0, 255, 128])
      const sent = await producer.send({
        topic,
        messages: [
          { key: 'k', value: 'grün', timestamp: 1_000, headers: { a: '1', b: bytes, c: null, d: '' } },
          { key: bytes, value: bytes, timestamp: 2_000 },
          { key: null, value: null, timestamp: 3_000 },
          { key: '', value: '', timestamp: 4_000 },
        ],
      })
      expect(sent).toEqual([{ topic, partition: 0, baseOffset: 0, count: 4 }])
      const records = await all(subject.connection.reader({ topic }).records())
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
        ['c', null],
        ['d', []],
      ])
      expect(records[0]?.copy()).toEqual(records[0])
    })

    test('a key chooses the partition that it chooses everywhere', async () => {
      const topic = await subject.newTopic(5)
      await using producer = await subject.connection.producer()
      const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`)
      await producer.send({ topic, messages: keys.map(key => ({ key, value: key })) })
      const placed = new Map<string | null, number>()
      for (const { key, partition } of await all(subject.connection.reader({ topic }).records()))
        placed.set(text(key), partition)
      expect(['key-0', 'key-1', 'key-2', 'key-3', 'key-4'].map(key => placed.get(key))).toEqual([1, 0, 2, 2, 3])
      expect(placed.size).toBe(40)
    })

    test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)('%s', async compression => {
      const topic = await subject.newTopic()
      await using producer = await subject.connection.producer({ compression })
      const messages = Array.from({ length: 200 }, (_, i) => ({ value: `value ${i} `.repeat(20) }))
      await producer.send({ topic, messages })
      expect(values(await all(subject.connection.reader({ topic }).records()))).toEqual(
        messages.map(({ value }) => value),
      )
    })

    test('many sends at once keep their order, and each is told its offset', async () => {
      const topic = await subject.newTopic()
      await using producer = await subject.connection.producer({ idempotent: true })
      const sends = Array.from({ length: 300 }, (_, i) => producer.send({ topic, messages: [{ value: `${i}` }] }))
      const offsets = (await Promise.all(sends)).map(([metadata]) => metadata?.baseOffset)
      expect(offsets).toEqual(Array.from({ length: 300 }, (_, i) => i))
      expect(values(await all(subject.connection.reader({ topic }).records()))).toEqual(offsets.map(String))
    })

    test('of sends of one moment, what one is refused for is not told of the others', async () => {
      const topic = await subject.newTopic(2)
      await subject.connection.admin.alterConfig(topic, { 'max.message.bytes': 3_000 })
      await using producer = await subject.connection.producer()
      const send = (value: string, partition: number) => producer.send({ topic, messages: [{ value, partition }] })
      const large = 'x'.repeat(20_000)
      const sends = [send('a', 0), send(large, 0), send('b', 0), send('c', 1), send(large, 1), send('d', 0)]
      const settled = (await Promise.allSettled(sends)).map(result =>
        result.status === 'fulfilled' ? result.value[0]?.baseOffset : (result.reason as { code: string }).code,
      )
      expect(settled).toEqual([0, 'RECORD_TOO_LARGE', 1, 0, 'RECORD_TOO_LARGE', 2])
      expect(values(await all(subject.connection.reader({ topic, partitions: [0] }).records()))).toEqual([
        'a',
        'b',
        'd',
      ])
    })

    test('more at once than one request may hold', async () => {
      const topic = await subject.newTopic()
      await subject.connection.admin.alterConfig(topic, { 'max.message.bytes': 200_000 })
      await using producer = await subject.connection.producer()
      const value = 'x'.repeat(1_000)
      const sends = Array.from({ length: 500 }, () => producer.send({ topic, messages: [{ value }] }))
      expect((await Promise.all(sends)).map(([at]) => at?.baseOffset)).toEqual(sends.map((_, i) => i))
    })

    test('without acknowledgement there is no offset', async () => {
      const topic = await subject.newTopic()
      await using producer = await subject.connection.producer({ acks: 0 })
      expect(await producer.send({ topic, messages: [{ value: 'a' }] })).toMatchObject([{ baseOffset: -1, count: 1 }])
      await producer.flush()
      const reader = subject.connection.reader({ topic, to: 'never' })
      for await (const { value } of reader.records()) {
        expect(text(value)).toBe('a')
        break
      }
    })

    test('what cannot be sent is refused, and the producer goes on', async () => {
      const topic = await subject.newTopic()
      await subject.connection.admin.alterConfig(topic, { 'max.message.bytes': 2_000 })
      await using producer = await subject.connection.producer()
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
      const topic = await subject.newTopic(2)
      await subject.fill(topic, 0, 9)
      await subject.fill(topic, 20, 24, 1)
      const read = async (options: object) =>
        values(await all(subject.connection.reader({ topic, ...options }).records())).sort()
      expect(await read({})).toHaveLength(15)
      expect(await read({ partitions: [1] })).toEqual(['v20', 'v21', 'v22', 'v23', 'v24'])
      expect(await read({ partitions: [0], from: { offset: 7 } })).toEqual(['v7', 'v8', 'v9'])
      expect(await read({ partitions: [0], from: { offset: 3 }, to: { offset: 5 } })).toEqual(['v3', 'v4'])
      expect(await read({ from: { timestamp: -1 } })).toEqual(await read({}))
      expect(await read({ from: { timestamp: 8_500 } })).toEqual(['v20', 'v21', 'v22', 'v23', 'v24', 'v9'])
      expect(await read({ from: 'latest' })).toEqual([])
      await expect(read({ partitions: [0], from: { offset: 11 }, to: { offset: 12 } })).rejects.toMatchObject({
        code: 'OFFSET_OUT_OF_RANGE',
      })
      await expect(read({ partitions: [2] })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    })

    test('batches say where reading goes on', async () => {
      const topic = await subject.newTopic()
      await subject.fill(topic, 0, 9)
      const reader = subject.connection.reader({ topic })
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
      const topic = await subject.newTopic()
      const controller = new AbortController()
      const reader = subject.connection.reader({ topic, to: 'never', signal: controller.signal })
      const seen: (string | null)[] = []
      const reading = (async () => {
        for await (const { value } of reader.records()) {
          seen.push(text(value))
          if (seen.length === 4) controller.abort()
        }
      })()
      await subject.fill(topic, 0, 1)
      await subject.fill(topic, 2, 3)
      await reading
      expect(seen).toEqual(['v0', 'v1', 'v2', 'v3'])
    })

    test('by offset and by time', async () => {
      const topic = await subject.newTopic(2)
      await subject.fill(topic, 0, 9)
      const lookup = await subject.connection.lookup(topic)
      expect(lookup.partitions).toBe(2)
      expect(text((await lookup.byOffset(0, 4))?.value)).toBe('v4')
      expect(await lookup.byOffset(0, 10)).toBeUndefined()
      await expect((async () => lookup.byOffset(0, 11))()).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
      expect(await lookup.byTimestamp(0, -2)).toMatchObject({ offset: 0 })
      expect(await lookup.byTimestamp(0, 4_001)).toMatchObject({ offset: 5, timestamp: 5_000 })
      expect(await lookup.byTimestamp(0, 9_001)).toBeUndefined()
      expect([await lookup.earliest(0), await lookup.latest(0)]).toEqual([0, 10])
      expect(await lookup.maxTimestamp(0)).toEqual({ offset: 9, timestamp: 9_000 })
      expect(await lookup.maxTimestamp(1)).toBeUndefined()
      lookup.close()
    })
  })
})
