/** Back-pressure, order and ends: nothing is lost, doubled or overtaken while there is no room, and nothing waits for ever. */
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MillraceError, type Producer } from '../../client/index.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import { EngineHome, MEDIUM, readValues, sleep, text } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

const TINY = { batchBytes: 1_024, bufferBytes: 2_048 }
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

/** An engine whose writer holds one of its appends up. Only threads that start now see the variable. */
async function slowHome(delayMs: number, append = 1): Promise<EngineHome> {
  process.env['MILLRACE_FAILPOINTS'] = `append-before-copy=delay:${delayMs}@${append}`
  try {
    const slow = new EngineHome()
    await slow.reopen({ writers: 1 })
    return slow
  } finally {
    delete process.env['MILLRACE_FAILPOINTS']
  }
}

/** Resolves with what became of a promise, or fails when that takes too long. */
async function outcome<T>(promise: Promise<T>, timeoutMs = 5_000): Promise<T | MillraceError> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`pending for ${timeoutMs} ms`)), timeoutMs)
  })
  const settled = promise.catch((error: unknown) => {
    if (error instanceof MillraceError) return error
    throw error
  })
  return Promise.race([settled, late]).finally(() => clearTimeout(timer))
}

describe('no room', () => {
  test('tryAppend says so, ready waits, and nothing is lost', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer(TINY)
    const appender = await producer.appender(topic)
    let refused = 0
    for (let i = 0; i < 5_000; ) {
      if (appender.tryAppend(Buffer.from(`${i}`))) i++
      else {
        refused += 1
        await producer.ready()
      }
    }
    await producer.flush()
    expect(refused).toBeGreaterThan(0)
    expect(await readValues(home.engine, topic)).toEqual([numbers(5_000)])
  })

  test('a thread that never yields waits with waitReady', { timeout: 30_000 }, async () => {
    const topic = await home.topic()
    const handle = home.engine.threadHandle()
    const path = new URL('programs/pressing-thread.ts', import.meta.url)
    const workerData = { handle, topic, count: 20_000 }
    const worker = new Worker(path, { workerData, transferList: [handle.port] })
    const answer = await new Promise<{ refused: number }>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    expect(answer.refused).toBeGreaterThan(0)
    expect(await readValues(home.engine, topic)).toEqual([numbers(20_000)])
    await worker.terminate()
  })

  test('sends that were not awaited keep their order, also when they had to wait', async () => {
    const random = new Random(testSeed())
    const topic = await home.topic()
    await using producer = await home.engine.producer(TINY)
    const sent: Promise<unknown>[] = []
    let next = 0
    while (next < 3_000) {
      const messages = Array.from({ length: random.between(1, 12) }, () => ({ value: `${next++}` }))
      sent.push(producer.send({ topic, messages }))
      if (random.chance(0.05)) await sleep(0)
    }
    await Promise.all(sent)
    expect(await readValues(home.engine, topic), `MILLRACE_SEED=${random.seed}`).toEqual([numbers(next)])
  })

  test('a record that needs several slabs waits for neighbours without stopping the event loop', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer({ batchBytes: 1_024, bufferBytes: 4_096 })
    let turns = 0
    const timer = setInterval(() => (turns += 1), 1)
    const sent = Array.from({ length: 100 }, (_, i) =>
      producer.send({ topic, messages: [{ value: String(i).padEnd(i % 2 === 0 ? 3_000 : 600) }] }),
    )
    await Promise.all(sent)
    clearInterval(timer)
    const [values] = await readValues(home.engine, topic)
    expect(values?.map(value => value?.trim())).toEqual(numbers(100))
    expect(turns).toBeGreaterThan(0)
    const appender = await producer.appender(topic, 0)
    for (let i = 0; i < 50; ) {
      if (appender.tryAppend(Buffer.alloc(3_000, 'x'))) i++
      else await producer.ready()
    }
    await producer.flush()
  })

  test('more partitions than slabs', async () => {
    const topic = await home.topic(9)
    await using producer = await home.engine.producer(TINY)
    const messages = numbers(500).map(value => ({ value, partition: Number(value) % 9 }))
    await producer.send({ topic, messages })
    const read = await readValues(home.engine, topic)
    for (const [partition, list] of read.entries())
      expect(list).toEqual(numbers(500).filter(value => Number(value) % 9 === partition))
  })
})

describe('flush', () => {
  test('covers sends that still wait for room', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer(TINY)
    const sent = Array.from({ length: 50 }, (_, i) =>
      producer.send({ topic, messages: [{ value: `${i}`.padEnd(500) }] }),
    )
    let settled = 0
    for (const send of sent) void send.then(() => (settled += 1))
    await producer.flush()
    expect(settled).toBe(50)
  })

  test('throws the first error since the last flush, then goes on', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    const appender = await producer.appender(topic)
    await home.engine.admin.deleteTopic(topic)
    appender.tryAppend(Buffer.from('lost'))
    await expect(producer.flush()).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION', details: { topic } })
    expect(await producer.flush()).toBe(undefined)
  })
})

describe('time', () => {
  test('flush does not wait for what is sent after it', async () => {
    const slow = await slowHome(1_500, 2)
    const topic = await slow.topic()
    const producer = await slow.engine.producer()
    const appender = await producer.appender(topic)
    appender.tryAppend(Buffer.from('first'))
    const begunMs = performance.now()
    const flushed = producer.flush()
    for (let i = 0; i < 10; i++) await Promise.resolve() // the batch is on its way
    const second = producer.send({ topic, messages: [{ value: 'second' }] })
    await flushed
    expect(performance.now() - begunMs).toBeLessThan(1_000)
    expect(await second).toMatchObject([{ baseOffset: 1 }])
    expect(performance.now() - begunMs).toBeGreaterThan(1_400)
    await slow.close()
  })

  test('a send that is not answered in time fails with TIMED_OUT, and the producer goes on', async () => {
    const slow = await slowHome(1_200)
    const topic = await slow.topic()
    const producer = await slow.engine.producer({ deliveryTimeoutMs: 200, batchBytes: 1_024, bufferBytes: 1_024 })
    const begunMs = performance.now()
    await expect(producer.send({ topic, messages: [{ value: 'slow' }] })).rejects.toMatchObject({
      code: 'TIMED_OUT',
      retriable: true,
    })
    expect(performance.now() - begunMs).toBeLessThan(1_000)
    await expect(producer.flush()).rejects.toMatchObject({ code: 'TIMED_OUT' })
    // Its only slab is still the writer's: there is no room either.
    await expect(producer.send({ topic, messages: [{ value: 'no room' }] })).rejects.toMatchObject({
      code: 'TIMED_OUT',
    })
    await sleep(1_200)
    expect(await producer.send({ topic, messages: [{ value: 'quick' }] })).toMatchObject([{ count: 1 }])
    const [values] = await readValues(slow.engine, topic)
    expect(values).toContain('quick')
    expect(values).not.toContain('no room')
    await slow.close()
  })

  test('sends that wait for room wait side by side, not one after another', async () => {
    const slow = await slowHome(2_000)
    const topic = await slow.topic()
    const producer = await slow.engine.producer({ deliveryTimeoutMs: 300, batchBytes: 1_024, bufferBytes: 1_024 })
    const begunMs = performance.now()
    const sends = Array.from({ length: 20 }, () => producer.send({ topic, messages: [{ value: Buffer.alloc(700) }] }))
    for (const send of await Promise.allSettled(sends)) expect(send).toMatchObject({ reason: { code: 'TIMED_OUT' } })
    expect(performance.now() - begunMs).toBeLessThan(1_500)
    await slow.close()
  })

  test('ready gives up after the delivery timeout, waitReady after its own', async () => {
    const slow = await slowHome(1_000)
    const topic = await slow.topic()
    const producer = await slow.engine.producer({ deliveryTimeoutMs: 300, batchBytes: 1_024, bufferBytes: 1_024 })
    const appender = await producer.appender(topic)
    while (appender.tryAppend(Buffer.alloc(400))) {
      // until it is full
    }
    expect(producer.waitReady(50)).toBe(false)
    await expect(producer.ready()).rejects.toMatchObject({ code: 'TIMED_OUT' })
    await sleep(1_000)
    await producer.ready()
    await producer.close()
    await slow.close()
  })
})

describe('close', () => {
  async function expectAllSent(producer: Producer, topic: string, count: number): Promise<void> {
    const sent = Array.from({ length: count }, (_, i) => producer.send({ topic, messages: [{ value: `${i}` }] }))
    const closed = producer.close()
    for (const send of sent) expect(await outcome(send)).toMatchObject([{ topic, count: 1 }])
    await closed
    expect(await readValues(home.engine, topic)).toEqual([numbers(count)])
  }

  test('sends what was asked for before, metadata known or not, room or not', async () => {
    const topic = await home.topic()
    await expectAllSent(await home.engine.producer(), topic, 1) // the first send asks for metadata
    const pressed = await home.engine.producer(TINY)
    await expectAllSent(pressed, await home.topic(), 200)
    await expectAllSent(await home.engine.producer({ lingerMs: 60_000 }), await home.topic(), 20)
  })

  test('afterwards everything is CLOSED, also for those who wait, and a second close is the same', async () => {
    const topic = await home.topic()
    const producer = await home.engine.producer()
    const appender = await producer.appender(topic)
    appender.tryAppend(Buffer.from('before'))
    const first = producer.close()
    expect(producer.close()).toBe(first)
    await first
    expect(await outcome(producer.send({ topic, messages: [{ value: 'x' }] }))).toMatchObject({ code: 'CLOSED' })
    for (const call of [producer.flush(), producer.ready(), producer.appender(topic)])
      expect(await outcome(call as Promise<unknown>)).toMatchObject({ code: 'CLOSED' })
    expect(() => producer.waitReady()).toThrow('CLOSED')
    expect(() => appender.tryAppend(Buffer.from('x'))).toThrow('CLOSED')
    expect(await readValues(home.engine, topic)).toEqual([['before']])
    expect(home.engine.statistics().producers).toBe(0)
  })
})

describe('a topic that changes', () => {
  test('more partitions: keys go where a new producer would send them', async () => {
    const topic = await home.topic(1)
    await using producer = await home.engine.producer()
    const appender = await producer.appender(topic)
    appender.tryAppend(Buffer.from('0'), Buffer.from('k0'))
    await producer.flush()
    await home.engine.admin.createPartitions(topic, 4)
    await producer.send({ topic, messages: numbers(60).map(i => ({ key: `k${i}`, value: 'sent' })) })
    for (let i = 0; i < 60; i++) appender.tryAppend(Buffer.from('appended'), Buffer.from(`k${i}`))
    await producer.flush()
    await using fresh = await home.engine.producer()
    await fresh.send({ topic, messages: numbers(60).map(i => ({ key: `k${i}`, value: 'fresh' })) })
    const homes = new Map<string, Set<number>>()
    for await (const { key, partition, value } of home.engine.reader({ topic }).records())
      if (text(value) !== '0')
        homes.set(text(key) as string, (homes.get(text(key) as string) ?? new Set()).add(partition))
    expect([...homes.values()].every(partitions => partitions.size === 1)).toBe(true)
    expect(new Set([...homes.values()].flatMap(partitions => [...partitions])).size).toBe(4)
  })

  test('the synchronous path alone notices new partitions as well, and a topic made anew', async () => {
    const topic = await home.topic(1)
    await using producer = await home.engine.producer()
    const appender = await producer.appender(topic)
    const append = async (): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        while (!appender.tryAppend(Buffer.from('x'), Buffer.from(`k${i}`))) await producer.ready()
        await sleep(0)
      }
      await producer.flush().catch(() => undefined)
    }
    await append()
    await home.engine.admin.createPartitions(topic, 3)
    await append()
    const { partitions } = await home.engine.admin.describeTopic(topic)
    for (const { logEndOffset } of partitions) expect(logEndOffset).toBeGreaterThan(0)
    await home.engine.admin.deleteTopic(topic)
    await append()
    await home.engine.admin.createTopic({ topic, partitions: 2, config: MEDIUM })
    await append() // the first of them may still go to the old one
    await append()
    const counts = (await readValues(home.engine, topic)).map(list => list.length)
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(40)
  })

  test('deleted and made anew with fewer partitions while batches are open', async () => {
    const topic = await home.topic(5)
    await using producer = await home.engine.producer({ lingerMs: 20 })
    const results: Promise<unknown>[] = []
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 20; i++) {
        results.push(
          outcome(producer.send({ topic, messages: [{ value: `${round}` }, { value: `${round}`, key: `k${i}` }] })),
        )
        await sleep(1)
      }
      await home.engine.admin.deleteTopic(topic)
      expect(await outcome(producer.send({ topic, messages: [{ value: 'gone' }] }))).toMatchObject({
        code: 'UNKNOWN_TOPIC_OR_PARTITION',
      })
      await home.engine.admin.createTopic({ topic, partitions: 4 - round, config: MEDIUM })
    }
    for (const result of await Promise.all(results)) {
      if (result instanceof MillraceError) expect(result.code).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    }
    expect(await outcome(producer.send({ topic, messages: [{ value: 'last' }] }))).toMatchObject([
      { partition: 0, count: 1 },
    ])
    await producer.flush().catch(() => undefined)
    expect(await readValues(home.engine, topic)).toEqual([['last']])
  })
})
