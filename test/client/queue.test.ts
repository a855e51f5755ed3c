import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job, QueueOptions } from '../../client/index.ts'
import { EngineHome, sleep, text } from './support/engine.ts'
import { deadLetters, newQueue, pushAll, until, values, WAIT_MS } from './support/queues.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

describe('jobs', () => {
  test('come in order with all that was pushed, and are gone once they are acknowledged', async () => {
    await using queue = await newQueue(home)
    const pushed = await queue.push('first', { key: 'k', headers: { from: 'test' } })
    expect(pushed).toEqual({ partition: 0, offset: 0 })
    await queue.push(Buffer.from('second'))
    const seen: string[] = []
    for await (const job of queue) {
      seen.push(
        `${job.offset} ${text(job.key)} ${text(job.value)} ${job.headers.map(({ key }) => key)} ${job.deliveryCount}`,
      )
      await job.ack()
      if (seen.length === 2) break
    }
    expect(seen).toEqual(['0 k first from 1', '1 null second  1'])
    expect(await queue.take(10)).toEqual([])
    expect(await queue.statistics()).toEqual({
      available: 0,
      inFlight: 0,
      delayed: 0,
      dying: 0,
      acknowledged: 2,
      deadLettered: 0,
    })
  })

  test('wait for a push, wherever it is from', async () => {
    await using queue = await newQueue(home)
    const waiting = queue.take(1, { waitMs: WAIT_MS })
    await sleep(50)
    await using producer = await home.engine.producer()
    await producer.send({ topic: queue.name, messages: [{ value: 'by a producer' }] })
    expect(values(await waiting)).toEqual(['by a producer'])
  })

  test('go to one consumer each', async () => {
    await using a = await newQueue(home)
    await using b = home.engine.queue(a.name)
    await pushAll(a, 20)
    const ofA = await a.take(12)
    const ofB = await b.take(12)
    expect(new Set([...ofA, ...ofB].map(({ offset }) => offset)).size).toBe(20)
    expect([ofA.length, ofB.length]).toEqual([12, 8])
  })

  test('begin with the earliest record of a topic that was there before', async () => {
    const topic = await home.topic(1)
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: [{ value: 'old' }] })
    await using queue = home.engine.queue(topic)
    expect(values(await queue.take(5, { waitMs: WAIT_MS }))).toEqual(['old'])
  })

  test('go to each group once', async () => {
    await using one = await newQueue(home, { group: 'group one' })
    await using two = home.engine.queue(one.name, { group: 'group two' })
    await one.push('for both')
    for (const queue of [one, two]) expect(values(await queue.take(1, { waitMs: WAIT_MS }))).toEqual(['for both'])
  })

  test('are spread over partitions, also over those that come later', async () => {
    await using queue = await newQueue(home, { create: { partitions: 2 } })
    await queue.push('a', { partition: 0 })
    await queue.push('b', { partition: 1 })
    await home.engine.admin.createPartitions(queue.name, 3)
    await using producer = await home.engine.producer()
    await producer.send({ topic: queue.name, messages: [{ value: 'c', partition: 2 }] })
    const jobs: Job[] = []
    await until(
      async () => jobs.push(...(await queue.take(10, { waitMs: 500 }))) > 0 && jobs.length === 3,
      'three jobs',
    )
    expect(values(jobs).sort()).toEqual(['a', 'b', 'c'])
    await Promise.all(jobs.map(job => job.ack()))
    expect((await queue.statistics()).acknowledged).toBe(3)
  })
})

describe('settling', () => {
  test('a job that is given back comes again at once, or after its delay', async () => {
    await using queue = await newQueue(home)
    await queue.push('again')
    const [first] = await queue.take(1)
    await first?.retry()
    const [second] = await queue.take(1)
    expect(second?.deliveryCount).toBe(2)
    const begunMs = Date.now()
    await second?.retry({ delayMs: 150 })
    expect(await queue.statistics()).toMatchObject({ available: 0, delayed: 1 })
    expect(await queue.take(1)).toEqual([])
    const [third] = await queue.take(1, { waitMs: WAIT_MS })
    expect(Date.now() - begunMs).toBeGreaterThanOrEqual(150)
    expect(third?.deliveryCount).toBe(3)
  })

  test('a job that was pushed with a delay comes when it is due, and does not count before', async () => {
    await using queue = await newQueue(home)
    const begunMs = Date.now()
    await queue.push('later', { delayMs: 200 })
    await queue.push('now')
    expect(values(await queue.take(5, { waitMs: WAIT_MS }))).toEqual(['now'])
    const [later] = await queue.take(1, { waitMs: WAIT_MS })
    expect([text(later?.value), later?.deliveryCount]).toEqual(['later', 1])
    expect(Date.now() - begunMs).toBeGreaterThanOrEqual(200)
  })

  test('a rejected job is a dead letter that says where it is from and why', async () => {
    await using queue = await newQueue(home)
    await queue.push('bad', { key: 'k' })
    const [job] = await queue.take(1)
    await job?.reject('no such address')
    const where = { topic: queue.name, partition: '0', offset: '0', group: queue.name }
    expect(await deadLetters(home, `dlq.${queue.name}`, 1)).toEqual([
      { value: 'bad', ...where, deliveryCount: '1', message: 'no such address' },
    ])
    await until(async () => (await queue.statistics()).deadLettered === 1, 'the count of dead letters')
  })

  test('so is one that was delivered as often as it may be', async () => {
    await using queue = await newQueue(home, { deliveryCountLimit: 2, deadLetterTopic: 'graves' })
    await queue.push('poison')
    for (let times = 0; times < 2; times++) await (await queue.take(1, { waitMs: WAIT_MS }))[0]?.retry()
    const [letter] = await deadLetters(home, 'graves', 1)
    expect(letter).toMatchObject({
      value: 'poison',
      deliveryCount: '2',
      message: expect.stringContaining('as often as'),
    })
    expect(await queue.take(1)).toEqual([])
  })

  test('without a dead-letter topic it is archived', async () => {
    await using queue = await newQueue(home, { deadLetterTopic: null })
    await queue.push('bad')
    await (await queue.take(1))[0]?.reject('nobody asks')
    expect(await queue.statistics()).toMatchObject({ available: 0, inFlight: 0, dying: 0, deadLettered: 0 })
    expect(await home.engine.admin.listTopics()).not.toContain(`dlq.${queue.name}`)
  })

  test('a lock that ended gives the job to another, and the first comes too late', async () => {
    await using queue = await newQueue(home, { lockDurationMs: 60 })
    await using other = home.engine.queue(queue.name)
    await queue.push('slow')
    const [job] = await queue.take(1)
    const [again] = await other.take(1, { waitMs: WAIT_MS })
    expect(again?.deliveryCount).toBe(2)
    await expect(job?.ack()).rejects.toMatchObject({ code: 'INVALID_RECORD_STATE' })
  })

  test('a lock that is renewed holds', async () => {
    await using queue = await newQueue(home, { lockDurationMs: 3_000 })
    await queue.push('long')
    const [job] = await queue.take(1)
    for (let i = 0; i < 4; i++) {
      await sleep(1_000)
      await job?.renew()
    }
    await job?.ack()
    expect((await queue.statistics()).acknowledged).toBe(1)
  })

  test('twice is refused, and so are several at once of which one was lost, without the others', async () => {
    await using queue = await newQueue(home)
    await pushAll(queue, 4)
    const jobs = await queue.take(4)
    await jobs[1]?.ack()
    await expect(jobs[1]?.ack()).rejects.toMatchObject({
      code: 'INVALID_RECORD_STATE',
      details: { reason: 'settled before' },
    })
    await home.engine.admin.deleteRecords(queue.name, 0, 1)
    await queue.statistics() // takes note
    const outcome = await Promise.allSettled([jobs[0]?.ack(), jobs[2]?.ack(), jobs[3]?.ack()])
    expect(outcome.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
  })
})

describe('leaving', () => {
  test('a loop that is left gives back what was locked ahead, without counting it', async () => {
    await using queue = await newQueue(home)
    await pushAll(queue, 10)
    for await (const job of queue) {
      await job.ack()
      break
    }
    expect(await queue.statistics()).toMatchObject({ available: 9, inFlight: 0 })
    const jobs = await queue.take(10)
    expect(jobs.map(({ deliveryCount }) => deliveryCount)).toEqual(Array(9).fill(1))
  })

  test('a queue that is closed gives back at once what its consumer holds', async () => {
    const queue = await newQueue(home)
    await using other = home.engine.queue(queue.name)
    await pushAll(queue, 3)
    const iteration = queue.jobs()
    const { value: held } = await iteration.next()
    const waiting = other.take(10, { waitMs: WAIT_MS })
    await queue.close()
    expect((await iteration.next()).done).toBe(true)
    const jobs = await waiting
    const all = [...jobs, ...(await other.take(10))].sort((a, b) => a.offset - b.offset)
    expect(all.map(({ deliveryCount }) => deliveryCount)).toEqual([2, 1, 1])
    await expect((held as Job).ack()).rejects.toMatchObject({ code: 'INVALID_RECORD_STATE' })
    await expect(queue.push('late')).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('a signal ends the iteration, also while it waits', async () => {
    await using queue = await newQueue(home)
    const ending = new AbortController()
    setTimeout(() => ending.abort(), 50)
    for await (const _ of queue.jobs({ signal: ending.signal })) expect.unreachable('there is none')
    await queue.push('left alone')
    expect(await queue.take(1, { waitMs: WAIT_MS })).toHaveLength(1)
  })

  test('no more than the prefetch is locked ahead', async () => {
    await using queue = await newQueue(home)
    await pushAll(queue, 50)
    const iteration = queue.jobs({ prefetch: 8 })
    const { value: job } = await iteration.next()
    await until(async () => (await queue.statistics()).inFlight > 1, 'some locked ahead')
    await sleep(50)
    expect((await queue.statistics()).inFlight).toBeLessThanOrEqual(1 + 8)
    await (job as Job).ack()
    await iteration.return(undefined)
  })
})

describe('process', () => {
  test('acknowledges what its handler returns from, retries what it throws from, several at once', async () => {
    await using queue = await newQueue(home)
    await pushAll(queue, 30)
    const attempts = new Map<number, number>()
    const errors: unknown[] = []
    let running = 0
    let most = 0
    const done = queue.process(
      async job => {
        running += 1
        most = Math.max(most, running)
        await sleep(5)
        running -= 1
        attempts.set(job.offset, job.deliveryCount)
        if (job.offset % 10 === 3 && job.deliveryCount < 3) throw new Error(`not yet ${job.offset}`)
      },
      { concurrency: 4, retryDelayMs: 10, onError: error => errors.push(error) },
    )
    await until(async () => (await queue.statistics()).acknowledged === 30, 'all done')
    await queue.close()
    await done
    expect(most).toBe(4)
    expect([...attempts].filter(([, count]) => count > 1).sort()).toEqual([
      [13, 3],
      [23, 3],
      [3, 3],
    ])
    expect(errors).toHaveLength(6)
  })

  test('renews the lock while its handler runs, and lets handlers settle by themselves', async () => {
    await using queue = await newQueue(home, { lockDurationMs: 600 })
    await pushAll(queue, 2)
    const seen: number[] = []
    const ending = new AbortController()
    await queue.process(
      async job => {
        seen.push(job.deliveryCount)
        if (job.offset === 0) await sleep(1_500)
        else {
          await job.reject('by hand')
          ending.abort()
        }
      },
      { signal: ending.signal },
    )
    expect(seen).toEqual([1, 1])
    await until(async () => (await queue.statistics()).deadLettered === 1, 'the rejected one')
    expect((await queue.statistics()).acknowledged).toBe(1)
  })

  test('a job that fails to the last is a dead letter with its error', async () => {
    await using queue = await newQueue(home, { deliveryCountLimit: 2 })
    await queue.push('hopeless')
    const done = queue.process(() => Promise.reject(new TypeError('never')), { retryDelayMs: 1 })
    const [letter] = await deadLetters(home, `dlq.${queue.name}`, 1)
    expect(letter).toMatchObject({ value: 'hopeless', deliveryCount: '2', message: 'TypeError: never' })
    await queue.close()
    await done
  })
})

describe('redrive', () => {
  test('brings each dead letter back once, where it was from', async () => {
    await using queue = await newQueue(home, { create: { partitions: 2 } })
    await queue.push('a', { partition: 1, key: 'k', headers: { own: 'header' } })
    for (const job of await queue.take(1)) await job.reject('no')
    await until(async () => (await queue.statistics()).deadLettered === 1, 'the dead letter')
    expect(await queue.redrive()).toBe(1)
    expect(await queue.redrive()).toBe(0)
    const [job] = await queue.take(2)
    expect([job?.partition, job?.offset, text(job?.key), text(job?.value), job?.deliveryCount]).toEqual([
      1,
      1,
      'k',
      'a',
      1,
    ])
    expect(job?.headers.map(({ key }) => key)).toEqual(['own'])
  })

  test('finds nothing where there is no dead letter, or no topic for them', async () => {
    for (const options of [{}, { deadLetterTopic: null }]) {
      await using queue = await newQueue(home, options)
      expect(await queue.redrive()).toBe(0)
    }
  })
})

describe('administration', () => {
  test('lists, describes and deletes', async () => {
    const { admin } = home.engine
    await using queue = await newQueue(home, {
      group: 'described',
      lockDurationMs: 5_000,
      deadLetterTopic: 'dlq.described',
    })
    await pushAll(queue, 5)
    await queue.take(2)
    expect(await admin.listQueues()).toContain('described')
    const { config, topics, members } = await admin.describeQueue('described')
    expect(config).toEqual({
      lockDurationMs: 5_000,
      deliveryCountLimit: 5,
      recordLocksMax: 2_000,
      delayedRecordsMax: 100_000,
      deadLetterTopic: 'dlq.described',
    })
    expect(members).toHaveLength(1)
    const peeked = await admin.peekQueue('described', { count: 3 })
    expect(peeked.map(({ record, state, deliveryCount }) => [record.offset, state, deliveryCount])).toEqual([
      [0, 'acquired', 1],
      [1, 'acquired', 1],
      [2, 'available', 0],
    ])
    expect(topics).toMatchObject([
      { topic: queue.name, partitions: [{ startOffset: 0, endOffset: 2, available: 3, acquired: 2 }] },
    ])
    await admin.deleteQueue('described')
    expect(await admin.listQueues()).not.toContain('described')
    await expect(admin.describeQueue('described')).rejects.toMatchObject({ code: 'UNKNOWN_QUEUE' })
    await expect(queue.take(1)).rejects.toMatchObject({ code: 'UNKNOWN_QUEUE' })
  })

  test.each<[string, QueueOptions]>([
    ['lockDurationMs', { lockDurationMs: 0 }],
    ['deliveryCountLimit', { deliveryCountLimit: 1.5 }],
    ['recordLocksMax', { recordLocksMax: 1e9 }],
    ['deadLetterTopic', { deadLetterTopic: 'itself' }],
  ])('an unacceptable %s is INVALID_ARGUMENT', async (argument, options) => {
    const queue = home.engine.queue('itself', { create: true, ...options })
    await expect(queue.open()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { argument } })
  })
})
