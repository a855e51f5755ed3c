/** Where a reader begins and ends, what it hands out, how soon it sees what is new, and what stays readable. */
import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type ConsumedRecord,
  isMillraceError,
  type Millrace,
  type Reader,
  type ReaderOptions,
} from '../../client/index.ts'
import { EngineHome, SMALL, sleep, text, until } from './support/engine.ts'

let home: EngineHome
let engine: Millrace
beforeAll(async () => {
  home = await EngineHome.open()
  engine = home.engine
})
afterAll(() => home.close())

/** A topic of one partition with values 0, 1, 2 … and timestamps 1000, 1010, 1020 …, four records a batch. */
async function filled(count: number, bytes = 0): Promise<string> {
  const topic = await home.topic(1, SMALL)
  await append(topic, 0, count, bytes)
  return topic
}

async function append(topic: string, from: number, count: number, bytes = 0): Promise<void> {
  await using producer = await engine.producer()
  for (let i = from; i < from + count; i += 4) {
    const messages = Array.from({ length: Math.min(4, from + count - i) }, (_, j) => ({
      value: `${i + j}`.padEnd(bytes),
      timestamp: 1_000 + 10 * (i + j),
    }))
    await producer.send({ topic, messages })
  }
}

const numbers = (from: number, end: number): number[] => Array.from({ length: end - from }, (_, i) => from + i)

async function read(options: ReaderOptions): Promise<number[]> {
  const values: number[] = []
  for await (const { value } of engine.reader(options).records()) values.push(Number(text(value)))
  return values
}

async function failure(options: ReaderOptions): Promise<string> {
  try {
    await read(options)
  } catch (error) {
    if (isMillraceError(error)) return error.code
    throw error
  }
  return 'none'
}

describe('from and to', () => {
  test.for<[string, Partial<ReaderOptions>, number, number]>([
    ['everything by default', {}, 0, 50],
    ['from the earliest', { from: 'earliest' }, 0, 50],
    ['from the latest there is nothing before the end', { from: 'latest' }, 50, 50],
    ['from an offset in the middle of a batch', { from: { offset: 13 } }, 13, 50],
    ['from the last offset', { from: { offset: 49 } }, 49, 50],
    ['from the end offset', { from: { offset: 50 } }, 50, 50],
    ['from a timestamp', { from: { timestamp: 1_131 } }, 14, 50],
    ['from a timestamp that a record has', { from: { timestamp: 1_130 } }, 13, 50],
    ['from a timestamp before all', { from: { timestamp: -1 } }, 0, 50],
    ['from a timestamp behind all', { from: { timestamp: 9_999 } }, 50, 50],
    ['to an offset in the middle of a batch', { to: { offset: 7 } }, 0, 7],
    ['from and to within one batch', { from: { offset: 5 }, to: { offset: 7 } }, 5, 7],
    ['to an offset before the beginning', { from: { offset: 10 }, to: { offset: 5 } }, 10, 10],
    ['one batch a fetch', { maxBytes: 1 }, 0, 50],
  ])('%s', async ([, options, from, end]) => {
    const topic = await filled(50)
    expect(await read({ topic, ...options })).toEqual(numbers(from, end))
  })

  test('to an offset that is still to come waits for it', async () => {
    const topic = await filled(10)
    const reading = read({ topic, from: { offset: 8 }, to: { offset: 14 } })
    await sleep(20)
    await append(topic, 10, 10)
    expect(await reading).toEqual(numbers(8, 14))
  })

  test('to the end is what was there at the start', async () => {
    const topic = await filled(10)
    const values: number[] = []
    for await (const { value } of engine.reader({ topic, maxBytes: 1 }).records()) {
      values.push(Number(text(value)))
      if (values.length === 2) await append(topic, 10, 10)
    }
    expect(values).toEqual(numbers(0, 10))
  })

  test('outside the log is OFFSET_OUT_OF_RANGE, on either side and for every kind of end', async () => {
    const topic = await filled(20)
    await engine.admin.deleteRecords(topic, 0, 5)
    for (const to of ['end', 'never', { offset: 1_000 }] as const) {
      expect(await failure({ topic, from: { offset: 4 }, to })).toBe('OFFSET_OUT_OF_RANGE')
      expect(await failure({ topic, from: { offset: 21 }, to })).toBe('OFFSET_OUT_OF_RANGE')
    }
    expect(await read({ topic, from: { offset: 5 } })).toEqual(numbers(5, 20))
    expect(await read({ topic })).toEqual(numbers(5, 20))
  })

  test('bad options', async () => {
    const topic = await filled(1)
    const bad: Partial<ReaderOptions>[] = [
      { from: 'start' as 'earliest' },
      { from: { offset: 0.5 } },
      { from: {} as { offset: number } },
      { to: 'forever' as 'never' },
      { to: { offset: Number.NaN } },
      { maxBytes: 0 },
    ]
    for (const options of bad)
      expect(() => engine.reader({ topic, ...options }), JSON.stringify(options)).toThrow('INVALID_ARGUMENT')
    expect(await failure({ topic: 'nowhere' })).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    expect(await failure({ topic, partitions: [1] })).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    expect(await failure({ topic, partitions: [0, 7] })).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    expect(await read({ topic, partitions: [] })).toEqual([])
  })
})

describe('what is handed out', () => {
  test('batches say where they are and what comes next; positions follow', async () => {
    const topic = await filled(20)
    const reader = engine.reader({ topic, maxBytes: 1, from: { offset: 2 }, to: { offset: 11 } })
    expect([...reader.positions]).toEqual([])
    const seen: unknown[] = []
    for await (const batch of reader) {
      const values = [...batch].map(({ value }) => Number(text(value)))
      seen.push([batch.partition, batch.baseOffset, batch.nextOffset, batch.lastOffset, batch.highWatermark, values])
      expect(reader.positions.get(0)).toBe(batch.nextOffset)
      expect(batch.sizeBytes).toBeGreaterThan(60)
      expect(batch.topic).toBe(topic)
    }
    expect(seen).toEqual([
      [0, 2, 4, 3, 20, [2, 3]],
      [0, 4, 8, 7, 20, [4, 5, 6, 7]],
      [0, 8, 11, 10, 20, [8, 9, 10]],
    ])
  })

  test('a batch may be walked twice, by cursor and by records', async () => {
    const topic = await filled(10)
    for await (const batch of engine.reader({ topic, from: { offset: 3 } })) {
      const cursor = batch.cursor()
      const offsets: number[] = []
      while (cursor.next()) offsets.push(cursor.offset)
      expect(offsets).toEqual(numbers(3, 10))
      expect(cursor.next()).toBe(false)
      expect([...batch].map(({ offset }) => offset)).toEqual(numbers(3, 10))
    }
  })

  test('copy has memory of its own; a view shares that of the log', async () => {
    const topic = await home.topic()
    await using producer = await engine.producer()
    await producer.send({ topic, messages: [{ key: 'key', value: 'value', headers: { h: 'header', n: null } }] })
    let record: ConsumedRecord | undefined
    for await (record of engine.reader({ topic }).records()) {
      // there is one
    }
    const copy = record?.copy() as ConsumedRecord
    for (const name of ['topic', 'partition', 'offset', 'timestamp'] as const) expect(copy[name]).toBe(record?.[name])
    expect([text(copy.key), text(copy.value)]).toEqual(['key', 'value'])
    expect(copy.headers.map(({ key, value }) => [key, text(value)])).toEqual([
      ['h', 'header'],
      ['n', null],
    ])
    expect(record?.value?.buffer).toBe(record?.key?.buffer)
    for (const bytes of [copy.key, copy.value, copy.headers[0]?.value]) {
      expect(bytes?.buffer).not.toBe(record?.value?.buffer)
      expect(bytes?.buffer.byteLength).toBe(bytes?.length)
    }
    expect(structuredClone(copy).value).toEqual(copy.value) // small enough to be posted
  })

  test('views stay readable when retention has deleted their files', async () => {
    const topic = await filled(200, 500)
    const held: { offset: number; value: Uint8Array | null }[] = []
    for await (const batch of engine.reader({ topic }))
      for (const { offset, value } of batch) held.push({ offset, value })
    await engine.admin.deleteRecords(topic, 0, 200)
    const files = (): number => readdirSync(home.partitionDirectory(topic)).filter(name => name.endsWith('.log')).length
    await until(async () => {
      await engine.admin.applyRetention() // the indexer may have held the first try back
      return files() === 1
    }, 'the files are gone')
    await append(topic, 200, 1)
    expect(await read({ topic })).toEqual([200]) // the thread's reader notices that its files are gone
    const logBytes = held.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
    expect(engine.statistics().pinnedBytes).toBeGreaterThan(logBytes) // only the views hold them
    for (const { offset, value } of held) expect(Number(text(value))).toBe(offset)
    expect(held).toHaveLength(200)
  })

  test('retention that overtakes a reader is OFFSET_OUT_OF_RANGE', async () => {
    const topic = await filled(40, 500)
    const reader = engine.reader({ topic, maxBytes: 1 })
    const reading = (async () => {
      for await (const { nextOffset } of reader) if (nextOffset === 8) await engine.admin.deleteRecords(topic, 0, 30)
    })()
    await expect(reading).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
      details: { topic, partition: 0, offset: 8, logStartOffset: 30, highWatermark: 40 },
    })
  })
})

describe('the tail', () => {
  /** Follows a topic in the background. */
  function follow(reader: Reader): { values: number[]; done: Promise<void> } {
    const values: number[] = []
    const done = (async () => {
      for await (const { value } of reader.records()) values.push(Number(text(value)))
    })()
    return { values, done }
  }

  test('new records come within milliseconds, from the latest on', async () => {
    const topic = await filled(10)
    const reader = engine.reader({ topic, from: 'latest', to: 'never' })
    const { values, done } = follow(reader)
    await until(() => reader.positions.size === 1, 'the reader is at the tail')
    await using producer = await engine.producer()
    const delays: number[] = []
    for (let i = 10; i < 40; i++) {
      await sleep(2) // so that the reader is waiting again
      const sentMs = performance.now()
      await producer.send({ topic, messages: [{ value: `${i}` }] })
      await until(() => values.at(-1) === i, `value ${i}`)
      delays.push(performance.now() - sentMs)
    }
    reader.close()
    await done
    expect(values).toEqual(numbers(10, 40))
    // A reader that only looked once a second would need hundreds of milliseconds.
    expect(delays.sort((a, b) => a - b)[15]).toBeLessThan(100)
  })

  test('close, abort and break end it', async () => {
    const topic = await filled(4)
    const closed = engine.reader({ topic, to: 'never' })
    const closing = follow(closed)
    const abort = new AbortController()
    const aborting = follow(engine.reader({ topic, to: 'never', signal: abort.signal }))
    await until(() => closing.values.length === 4 && aborting.values.length === 4, 'both are at the tail')
    const begunMs = performance.now()
    closed.close()
    abort.abort()
    await Promise.all([closing.done, aborting.done])
    expect(performance.now() - begunMs).toBeLessThan(500)
    for await (const batch of engine.reader({ topic, to: 'never' })) {
      expect(batch.nextOffset).toBe(4)
      break
    }
    expect(await read({ topic, to: 'never', signal: AbortSignal.abort() })).toEqual([])
    using disposed = engine.reader({ topic })
    disposed.close()
    expect((await disposed.records().next()).done).toBe(true)
  })

  test('an abort while it starts hands nothing out', async () => {
    const topic = await filled(4)
    const abort = new AbortController()
    const reading = read({ topic, signal: abort.signal })
    abort.abort()
    expect(await reading).toEqual([])
  })

  test('a topic that is deleted ends it with an error', async () => {
    const topic = await filled(4)
    const { values, done } = follow(engine.reader({ topic, to: 'never' }))
    await until(() => values.length === 4, 'it is at the tail')
    const rejected = expect(done).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    await engine.admin.deleteTopic(topic)
    await rejected
  })

  test('rolls and deletions under it do not matter', async () => {
    const topic = await home.topic(1, SMALL)
    const reader = engine.reader({ topic, to: 'never' })
    const { values, done } = follow(reader)
    for (let i = 0; i < 400; i += 40) {
      await append(topic, i, 40, 500)
      await until(() => values.length === i + 40, `${i + 40} values`)
      await engine.admin.deleteRecords(topic, 0, i + 20)
    }
    reader.close()
    await done
    expect(values).toEqual(numbers(0, 400))
  })
})

describe('many partitions', () => {
  test('take turns: none waits for the end of another', async () => {
    const topic = await home.topic(8, SMALL)
    await using producer = await engine.producer()
    for (let i = 0; i < 20; i++) {
      const messages = numbers(0, 8).map(partition => ({ value: 'x'.repeat(200), partition }))
      await producer.send({ topic, messages })
    }
    const order: number[] = []
    for await (const { partition } of engine.reader({ topic, maxBytes: 1 })) order.push(partition)
    expect(order).toHaveLength(160)
    for (let i = 0; i < 160; i += 8) expect(order.slice(i, i + 8).sort()).toEqual(numbers(0, 8))
  })

  test('a busy one does not hold a quiet one back', async () => {
    const topic = await home.topic(2, SMALL)
    const reader = engine.reader({ topic, to: 'never', maxBytes: 4_096 })
    await using producer = await engine.producer()
    const appender = await producer.appender(topic, 0)
    let stop = false
    const busy = (async () => {
      while (!stop) {
        if (!appender.tryAppend(Buffer.alloc(100))) await producer.ready()
        else if (Math.random() < 0.01) await sleep(0)
      }
    })()
    let seenBusy = 0
    let delayMs = Number.POSITIVE_INFINITY
    let sentMs = 0
    for await (const { partition } of reader) {
      if (partition === 0) seenBusy += 1
      else {
        delayMs = performance.now() - sentMs
        break
      }
      if (seenBusy === 20) {
        sentMs = performance.now()
        await producer.send({ topic, messages: [{ value: 'quiet', partition: 1 }] })
      }
    }
    stop = true
    await busy
    expect(delayMs).toBeLessThan(1_000)
  })

  test('only the partitions that were asked for, in the order of the log', async () => {
    const topic = await home.topic(4, SMALL)
    await using producer = await engine.producer()
    await producer.send({ topic, messages: numbers(0, 40).map(i => ({ value: `${i}`, partition: i % 4 })) })
    const read: number[][] = [[], [], [], []]
    for await (const { partition, value } of engine.reader({ topic, partitions: [2, 1] }).records())
      read[partition]?.push(Number(text(value)))
    const every = (first: number): number[] => numbers(0, 10).map(i => i * 4 + first)
    expect(read).toEqual([[], every(1), every(2), []])
  })
})

test('readers of one thread share what they have mapped, and give it back when they are done', async () => {
  const topic = await filled(400, 500)
  const described = async () => (await engine.admin.describeTopic(topic)).partitions[0]
  await until(async () => ((await described())?.indexEntries ?? 0) > 0, 'there is an index to map')
  let before = 0
  for (let round = 0; round < 4; round++) {
    if (round === 1) before = engine.statistics().mappedBytes
    const readers = numbers(0, 4).map(() => engine.reader({ topic, maxBytes: 1 }).records())
    for (let i = 0; i < 400; i++)
      for (const reader of readers) expect(Number(text((await reader.next()).value?.value))).toBe(i)
    for (const reader of readers) await reader.return(undefined)
  }
  const logBytes = (await described())?.sizeBytes ?? 0
  // The first round has mapped log and index. Views that were not collected yet may still pin some; twelve readers with mappings of their own would hold more.
  expect(engine.statistics().mappedBytes - before).toBeLessThan(4 * logBytes)
})
