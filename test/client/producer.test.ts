/** The producer's options and rules: batches, partitions, acknowledgements, compression, headers, and what is refused. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Codec, encodeBatch, type Message, type SendRequest } from '../../client/index.ts'
import { partitionForKey } from '../../client/partitioner.ts'
import { batchesOf } from './support/batches.ts'
import { EngineHome, MEDIUM, readValues, sleep, text } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

const values = (count: number, prefix = 'v'): Message[] =>
  Array.from({ length: count }, (_, i) => ({ value: `${prefix}${i}` }))

describe('batches', () => {
  test('sends of one turn of the event loop share a batch', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: values(1) })
    await Promise.all(Array.from({ length: 10 }, () => producer.send({ topic, messages: values(2) })))
    expect(batchesOf(home.partitionDirectory(topic)).map(({ records }) => records)).toEqual([1, 20])
  })

  test('with lingerMs a batch waits for more', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer({ lingerMs: 150 })
    const sent = [producer.send({ topic, messages: values(1) })]
    await sent[0]
    const begunMs = performance.now()
    for (let i = 0; i < 3; i++) {
      sent.push(producer.send({ topic, messages: values(1) }))
      await sleep(10)
    }
    await Promise.all(sent)
    expect(performance.now() - begunMs).toBeGreaterThan(140)
    expect(batchesOf(home.partitionDirectory(topic)).map(({ records }) => records)).toEqual([1, 3])
  })

  test('a full batch does not linger, and flush ends the wait of the others', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer({ lingerMs: 60_000, batchBytes: 1_024 })
    const sent = producer.send({ topic, messages: Array.from({ length: 9 }, () => ({ value: 'x'.repeat(300) })) })
    await producer.flush()
    expect(await sent).toEqual([{ topic, partition: 0, baseOffset: 0, count: 9 }])
    const batches = batchesOf(home.partitionDirectory(topic))
    expect(batches.map(({ records }) => records)).toEqual([3, 3, 3])
    for (const { bytes } of batches) expect(bytes).toBeLessThanOrEqual(1_024)
  })

  test('a batch never grows beyond what the topic takes, however large the slabs are', async () => {
    const topic = await home.topic(1, { ...MEDIUM, 'max.message.bytes': 2_000 })
    await using producer = await home.engine.producer()
    const messages = Array.from({ length: 100 }, (_, i) => ({ value: String(i).padEnd(100) }))
    expect((await producer.send({ topic, messages })).reduce((sum, { count }) => sum + count, 0)).toBe(100)
    for (const { bytes } of batchesOf(home.partitionDirectory(topic))) expect(bytes).toBeLessThanOrEqual(2_000)
  })

  test('a record larger than a slab travels alone, up to exactly max.message.bytes', async () => {
    const limit = 50_000
    const topic = await home.topic(1, { ...MEDIUM, 'max.message.bytes': limit })
    await using producer = await home.engine.producer({ batchBytes: 4_096 })
    const overhead = encodeBatch([{ timestamp: 1, value: Buffer.alloc(limit - 100) }]).bytes.length - (limit - 100)
    const largest = limit - overhead
    await producer.send({
      topic,
      messages: [{ value: 'a' }, { value: Buffer.alloc(largest), timestamp: 1 }, { value: 'b' }],
    })
    expect(batchesOf(home.partitionDirectory(topic)).map(({ records, bytes }) => [records, bytes > 4_096])).toEqual([
      [1, false],
      [1, true],
      [1, false],
    ])
    expect(batchesOf(home.partitionDirectory(topic))[1]?.bytes).toBe(limit)
    const tooLarge = producer.send({ topic, messages: [{ value: Buffer.alloc(largest + 1), timestamp: 1 }] })
    await expect(tooLarge).rejects.toMatchObject({
      code: 'RECORD_TOO_LARGE',
      details: { topic, partition: 0, maxBytes: limit },
    })
  })
})

describe('partitions', () => {
  test('the one that is given, before the key; then the key; then one until its batch is full', async () => {
    const topic = await home.topic(4)
    await using producer = await home.engine.producer({ batchBytes: 1_024 })
    const given = Array.from({ length: 8 }, (_, i) => ({ value: `given${i}`, key: 'k', partition: i % 4 }))
    const keyed = Array.from({ length: 40 }, (_, i) => ({ value: `keyed${i}`, key: `key-${i}` }))
    await producer.send({ topic, messages: [...given, ...keyed] })
    const read = await readValues(home.engine, topic)
    for (const [partition, list] of read.entries()) {
      expect(list.filter(value => value?.startsWith('given'))).toEqual([`given${partition}`, `given${partition + 4}`])
      for (const value of list.filter(found => found?.startsWith('keyed'))) {
        expect(partitionForKey(Buffer.from(`key-${value?.slice(5)}`), 4)).toBe(partition)
      }
    }
    // Without a key: whole batches, partition after partition.
    const sticky = await home.topic(4)
    await producer.send({ topic: sticky, messages: Array.from({ length: 40 }, () => ({ value: 'x'.repeat(200) })) })
    const counts = (await readValues(home.engine, sticky)).map(list => list.length)
    expect(counts.sort()).toEqual([12, 12, 8, 8]) // ten batches of four, in turn
    for (let partition = 0; partition < 4; partition++)
      for (const { records } of batchesOf(home.partitionDirectory(sticky, partition))) expect(records).toBe(4)
  })

  test('a partition that is not there is refused', async () => {
    const topic = await home.topic(2)
    await using producer = await home.engine.producer()
    for (const partition of [2, -1, 0.5, Number.NaN]) {
      await expect(producer.send({ topic, messages: [{ value: 'x', partition }] })).rejects.toMatchObject({
        code: 'UNKNOWN_TOPIC_OR_PARTITION',
      })
    }
    await expect(producer.appender(topic, 2)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    await producer.flush()
  })
})

describe('acknowledgements', () => {
  test.for([0, 1, 'all'] as const)('acks %s', async acks => {
    const topic = await home.topic(1, { ...MEDIUM, 'flush.messages': 1 })
    await using producer = await home.engine.producer({ acks })
    const results = await producer.send({ topic, messages: values(5) })
    expect(results).toEqual([{ topic, partition: 0, baseOffset: acks === 0 ? -1 : 0, count: 5 }])
    await producer.flush()
    expect(await readValues(home.engine, topic)).toEqual([['v0', 'v1', 'v2', 'v3', 'v4']])
    const own = await producer.send({ topic, messages: values(1), acks: 1 })
    expect(own).toEqual([{ topic, partition: 0, baseOffset: 5, count: 1 }])
  })

  test('acknowledged means readable, also with acks 1', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer({ acks: 1 })
    using lookup = await home.engine.lookup(topic)
    for (let i = 0; i < 200; i++) {
      const [result] = await producer.send({ topic, messages: [{ value: `${i}` }] })
      expect(text(lookup.byOffset(0, result?.baseOffset as number)?.value)).toBe(`${i}`)
    }
  })

  test('no messages are acknowledged at once', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    expect(await producer.send({ topic, messages: [] })).toEqual([])
  })
})

describe('content', () => {
  test.for<Codec>(['none', 'gzip', 'snappy', 'lz4', 'zstd'])('%s', async compression => {
    const topic = await home.topic()
    await using producer = await home.engine.producer({ compression })
    const messages = Array.from({ length: 200 }, (_, i) => ({ value: `value ${i} `.repeat(10), key: `${i % 7}` }))
    await producer.send({ topic, messages })
    await producer.send({ topic, messages: [{ value: '' }] }) // would only grow
    expect(batchesOf(home.partitionDirectory(topic)).map(({ codec }) => codec)).toEqual([compression, 'none'])
    const [read] = await readValues(home.engine, topic)
    expect(read).toEqual([...messages.map(({ value }) => value), ''])
    using lookup = await home.engine.lookup(topic)
    expect(text(lookup.byOffset(0, 150)?.value)).toBe(messages[150]?.value)
  })

  test('headers of both shapes, in order, doubled, empty and null', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    const list = [
      { key: 'a', value: Buffer.from('1') },
      { key: 'a', value: null },
      { key: '', value: Buffer.alloc(0) },
      { key: 'größe', value: Buffer.alloc(5_000, 7) },
    ]
    const messages: Message[] = [
      { value: 'object', headers: { b: 'text', a: Buffer.from([0, 255]), n: null } },
      { value: 'list', headers: list },
      { value: 'none', headers: {} },
      { value: 'text in a list', headers: [{ key: 'k', value: 'v' as unknown as Uint8Array }] },
    ]
    await producer.send({ topic, messages })
    const read: (readonly [string, string | null])[][] = []
    for await (const { headers } of home.engine.reader({ topic }).records())
      read.push(
        headers.map(({ key, value }) => [key, value === null ? null : Buffer.from(value).toString('latin1')] as const),
      )
    expect(read).toEqual([
      [
        ['b', 'text'],
        ['a', '\0\xff'],
        ['n', null],
      ],
      list.map(({ key, value }) => [key, value?.toString('latin1') ?? null]),
      [],
      [['k', 'v']],
    ])
  })

  test('timestamps: the given one, else the clock', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    const beforeMs = Date.now()
    await producer.send({
      topic,
      messages: [{ value: null, timestamp: 0 }, { value: null }, { value: null, timestamp: -1 }],
    })
    const timestamps: number[] = []
    for await (const { timestamp } of home.engine.reader({ topic }).records()) timestamps.push(timestamp)
    expect([timestamps[0], timestamps[2]]).toEqual([0, -1])
    expect(timestamps[1]).toBeGreaterThanOrEqual(beforeMs)
    expect(timestamps[1]).toBeLessThanOrEqual(Date.now())
  })
})

describe('bad input', () => {
  const bad: readonly [string, Partial<SendRequest>, string][] = [
    ['no messages', { messages: undefined as unknown as [] }, 'INVALID_ARGUMENT'],
    ['a number as value', { messages: [{ value: 7 as unknown as string }] }, 'INVALID_ARGUMENT'],
    ['no value', { messages: [{} as Message] }, 'INVALID_ARGUMENT'],
    ['an object as key', { messages: [{ key: {} as string, value: 'x' }] }, 'INVALID_ARGUMENT'],
    ['a timestamp that is no number', { messages: [{ value: 'x', timestamp: Number.NaN }] }, 'INVALID_ARGUMENT'],
    ['a timestamp below -1', { messages: [{ value: 'x', timestamp: -2 }] }, 'INVALID_ARGUMENT'],
    ['a fraction of a timestamp', { messages: [{ value: 'x', timestamp: 1.5 }] }, 'INVALID_ARGUMENT'],
    ['a number as header', { messages: [{ value: 'x', headers: { h: 1 as unknown as string } }] }, 'INVALID_ARGUMENT'],
    ['unknown acks', { messages: values(1), acks: 2 as 1 }, 'INVALID_ARGUMENT'],
    ['a topic that is not there', { topic: 'nowhere', messages: values(1) }, 'UNKNOWN_TOPIC_OR_PARTITION'],
    ['no topic', { topic: undefined as unknown as string, messages: values(1) }, 'INVALID_ARGUMENT'],
    ['a huge header', { messages: [{ value: 'x', headers: { h: Buffer.alloc(3_000_000) } }] }, 'RECORD_TOO_LARGE'],
    ['a huge value', { messages: [{ value: Buffer.alloc(3_000_000) }] }, 'RECORD_TOO_LARGE'],
    ['a huge key', { messages: [{ key: Buffer.alloc(3_000_000), value: null }] }, 'RECORD_TOO_LARGE'],
  ]

  test.for(bad)('%s is %o', async ([, request, code]) => {
    const topic = await home.topic()
    await using producer = await home.engine.producer({ bufferBytes: 65_536 })
    await producer.send({ topic, messages: values(1) })
    await expect(producer.send({ topic, messages: [], ...request })).rejects.toMatchObject({ code })
    await sleep(1)
    // Nothing was appended, and the producer goes on.
    await producer.send({ topic, messages: values(1, 'after') })
    expect(await readValues(home.engine, topic)).toEqual([['v0', 'after0']])
  })

  test('a bad message in the middle: those before may be there, nothing behind it is', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    const messages = [...values(3), { value: 1 as unknown as string }, ...values(3, 'late')]
    await expect(producer.send({ topic, messages })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await producer.flush()
    expect(await readValues(home.engine, topic)).toEqual([['v0', 'v1', 'v2']])
  })

  test('options out of range', async () => {
    const options = [
      { batchBytes: 1_023 },
      { batchBytes: 2 ** 27 },
      { bufferBytes: 65_535 },
      { lingerMs: -1 },
      { lingerMs: 0.5 },
      { deliveryTimeoutMs: 0 },
      { acks: 'none' as 'all' },
    ]
    for (const option of options)
      await expect(home.engine.producer(option)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const codec = home.engine.producer({ compression: 'brotli' as 'gzip' })
    await expect(codec).rejects.toMatchObject({ code: 'UNSUPPORTED_COMPRESSION' })
    expect(home.engine.statistics().producers).toBe(0)
  })
})

describe('the synchronous path', () => {
  test('appends, keyed and not, and flush waits for all of it', async () => {
    const topic = await home.topic(3)
    await using producer = await home.engine.producer()
    const appender = await producer.appender(topic)
    for (let i = 0; i < 1_000; i++) {
      const key = i % 2 === 0 ? Buffer.from(`k${i % 10}`) : null
      expect(appender.tryAppend(Buffer.from(`${i}`), key, 1_000 + i)).toBe(true)
    }
    await producer.flush()
    const read = await readValues(home.engine, topic)
    expect(read.flat().length).toBe(1_000)
    for (const list of read) expect(list).toEqual([...list].sort((a, b) => Number(a) - Number(b)))
    for (const [partition, list] of read.entries())
      for (const value of list.filter(found => Number(found) % 2 === 0))
        expect(partitionForKey(Buffer.from(`k${Number(value) % 10}`), 3)).toBe(partition)
  })

  test('to one partition, whatever the key', async () => {
    const topic = await home.topic(3)
    await using producer = await home.engine.producer()
    const appender = await producer.appender(topic, 1)
    for (let i = 0; i < 100; i++) appender.tryAppend(Buffer.from(`${i}`), i % 2 === 0 ? Buffer.from(`k${i}`) : null)
    await producer.flush()
    const [zero, one, two] = await readValues(home.engine, topic)
    expect([zero, two]).toEqual([[], []])
    expect(one).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`))
  })

  test('an oversized record and a bad timestamp throw and leave the rest alone', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    const appender = await producer.appender(topic)
    expect(() => appender.tryAppend(Buffer.alloc(2_000_000))).toThrow(
      expect.objectContaining({ code: 'RECORD_TOO_LARGE' }),
    )
    expect(() => appender.tryAppend(Buffer.alloc(1), null, Number.NaN)).toThrow('INVALID_ARGUMENT')
    appender.tryAppend(Buffer.from('good'))
    expect(() => appender.tryAppend(Buffer.alloc(1), null, -7)).toThrow('INVALID_ARGUMENT')
    await producer.flush()
    expect(await readValues(home.engine, topic)).toEqual([['good']])
  })

  test('a batch from outside is verified, one of encodeBatch is taken as it is', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    const appender = await producer.appender(topic)
    const batch = encodeBatch([{ timestamp: 5, value: Buffer.from('whole') }], { codec: 'gzip' })
    expect(appender.tryAppendBatch(batch)).toBe(true)
    expect(appender.tryAppendBatch(batch.bytes)).toBe(true)
    await producer.flush()
    const damaged = Buffer.from(batch.bytes)
    damaged[65] = (damaged[65] as number) ^ 1
    expect(appender.tryAppendBatch(damaged)).toBe(true) // only the writer looks at all of it
    await expect(producer.flush()).rejects.toMatchObject({ code: 'CORRUPT_BATCH' })
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(61), damaged.subarray(0, 40), Buffer.concat([damaged, damaged])])
      expect(() => appender.tryAppendBatch(bytes), `${bytes.length} bytes`).toThrow('CORRUPT_BATCH')
    expect(() => appender.tryAppendBatch(encodeBatch([{ timestamp: 5, value: Buffer.alloc(2_000_000) }]))).toThrow(
      'RECORD_TOO_LARGE',
    )
    expect(await readValues(home.engine, topic)).toEqual([['whole', 'whole']])
  })
})
