/** Queues and the log under them: retention, deletion, damage, restarts. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEAD_LETTER_HEADERS } from '../../client/index.ts'
import { EngineHome, SMALL, sleep, text } from './support/engine.ts'
import { newQueue, pushAll, until, WAIT_MS } from './support/queues.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

describe('the log under a queue', () => {
  test('retention removes what is done and nothing else', async () => {
    await using queue = await newQueue(home, { create: { config: { ...SMALL, 'retention.bytes': 1 } } })
    const value = Buffer.alloc(3_000)
    for (let i = 0; i < 30; i++) await queue.push(value)
    const { admin } = home.engine
    expect(await admin.applyRetention()).toBe(0)
    const jobs = await queue.take(30)
    await Promise.all(jobs.slice(0, 20).map(job => job.ack()))
    const logStartOffset = async () => (await admin.describeTopic(queue.name)).partitions[0]?.logStartOffset ?? -1
    await until(async () => {
      await admin.applyRetention() // what the indexer holds back is removed a little later
      return (await logStartOffset()) > 0
    }, 'something removed')
    expect(await logStartOffset()).toBeLessThanOrEqual(20)
    await Promise.all(jobs.slice(20).map(job => job.retry()))
    expect(await queue.take(30)).toHaveLength(10)
  })

  test('what is deleted by hand is archived', async () => {
    await using queue = await newQueue(home)
    await pushAll(queue, 10)
    await home.engine.admin.deleteRecords(queue.name, 0, 6)
    expect((await queue.take(10)).map(({ offset }) => offset)).toEqual([6, 7, 8, 9])
  })

  test('what is appended where the log was cut are other jobs', async () => {
    await using queue = await newQueue(home)
    await pushAll(queue, 10)
    const jobs = await queue.take(10)
    await Promise.all(jobs.slice(0, 9).map(job => job.ack()))
    await home.engine.admin.truncate(queue.name, 0, { offset: 5 })
    await pushAll(queue, 8)
    expect((await queue.take(10)).map(({ offset, deliveryCount }) => [offset, deliveryCount])).toEqual(
      [5, 6, 7, 8, 9, 10, 11, 12].map(offset => [offset, 1]),
    )
  })

  test('a compacted topic is no queue, and a queue is not compacted', async () => {
    const topic = await home.topic(1, { 'cleanup.policy': 'compact' })
    await expect(home.engine.queue(topic).take(1)).rejects.toMatchObject({ code: 'QUEUE_IS_COMPACTED' })
    await using queue = await newQueue(home)
    const compacting = home.engine.admin.alterConfig(queue.name, { 'cleanup.policy': 'compact,delete' })
    await expect(compacting).rejects.toMatchObject({ code: 'QUEUE_IS_COMPACTED' })
  })

  test('a topic that is not there is told, and one that is deleted under its consumers', async () => {
    await expect(home.engine.queue('nowhere').take(1)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    await using queue = await newQueue(home)
    const waiting = queue.take(1, { waitMs: WAIT_MS })
    waiting.catch(() => undefined)
    await sleep(20)
    await home.engine.admin.deleteTopic(queue.name)
    await expect(waiting).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  })
})

describe('a restart', { timeout: 180_000 }, () => {
  test('keeps what is done, counts, delays and dead letters', async () => {
    const directory = new EngineHome()
    try {
      const first = await directory.reopen()
      const queue = first.queue('kept', { create: true, lockDurationMs: 60_000, deadLetterTopic: 'graves' })
      for (let i = 0; i < 6; i++) await queue.push(`${i}`)
      const jobs = await queue.take(5)
      await jobs[0]?.ack()
      await jobs[2]?.ack()
      await jobs[1]?.retry({ delayMs: 3_600_000 })
      await jobs[3]?.reject('bad')
      await until(async () => (await queue.statistics()).deadLettered === 1, 'the dead letter')
      await directory.reopen() // with the fifth job locked
      const again = directory.engine.queue('kept')
      expect(await again.statistics()).toEqual({
        ...{ available: 2, inFlight: 0, delayed: 1, dying: 0 },
        ...{ acknowledged: 2, deadLettered: 1 },
      })
      const left = await again.take(5)
      expect(left.map(({ offset, deliveryCount }) => [offset, deliveryCount])).toEqual([
        [4, 2],
        [5, 1],
      ])
      expect((await directory.engine.admin.describeQueue('kept')).config.lockDurationMs).toBe(60_000)
      using graves = await directory.engine.lookup('graves')
      expect(graves.latest(0)).toBe(1)
    } finally {
      await directory.close()
    }
  })

  test('sets the floor of retention before retention can run', async () => {
    const directory = new EngineHome()
    try {
      const first = await directory.reopen()
      const queue = first.queue('kept', { create: { config: { ...SMALL, 'retention.bytes': 1 } } })
      for (let i = 0; i < 20; i++) await queue.push(Buffer.alloc(3_000))
      const engine = await directory.reopen({ retentionCheckMs: 10 })
      await sleep(100)
      expect(await engine.queue('kept').take(20)).toHaveLength(20)
    } finally {
      await directory.close()
    }
  })
})

test('a damaged record is a dead letter without content, and the others are jobs', { timeout: 180_000 }, async () => {
  const damaged = new EngineHome()
  try {
    const first = await damaged.reopen()
    await first.admin.createTopic({ topic: 'hurt', config: SMALL })
    await using producer = await first.producer({ batchBytes: 2_048 })
    for (let i = 0; i < 12; i++)
      await producer.send({ topic: 'hurt', messages: [{ value: Buffer.alloc(3_000, `${i % 10}`) }] })
    await producer.close()
    await first.close()
    const path = join(damaged.partitionDirectory('hurt'), '00000000000000000000.log')
    const bytes = readFileSync(path)
    bytes.writeUInt8(bytes.readUInt8(3_500) ^ 0xff, 3_500) // in the second batch
    writeFileSync(path, bytes)
    const engine = await damaged.reopen()
    const queue = engine.queue('hurt')
    const jobs = await queue.take(12, { waitMs: WAIT_MS })
    expect(jobs.map(({ offset }) => offset)).toEqual([0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    await until(async () => (await queue.statistics()).deadLettered === 1, 'the dead letter')
    for await (const { value, headers } of engine.reader({ topic: 'dlq.hurt' }).records()) {
      const named = Object.fromEntries(headers.map(({ key, value: bytes }) => [key, text(bytes)]))
      expect(value).toBeNull()
      expect(named[DEAD_LETTER_HEADERS.offset]).toBe('1')
      expect(named[DEAD_LETTER_HEADERS.message]).toContain('CORRUPT_BATCH')
    }
  } finally {
    await damaged.close()
  }
})
