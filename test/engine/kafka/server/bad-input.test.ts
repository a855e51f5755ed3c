/** Clients that break the rules: only their own connection suffers, memory stays bounded, and what Kafka has a code for gets it. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TestBroker, testBroker } from '../../../../client/testing.ts'
import { Random, testSeed } from '../../../../engine/base/random.ts'
import { encodeBatch } from '../../../../engine/format/record-batch.ts'
import { writeRequest } from '../../../../engine/kafka/codec/frames.ts'
import { apiVersions } from '../../../../engine/kafka/messages/api-versions.ts'
import { createTopics } from '../../../../engine/kafka/messages/create-topics.ts'
import { fetch } from '../../../../engine/kafka/messages/fetch.ts'
import { metadata } from '../../../../engine/kafka/messages/metadata.ts'
import { produce } from '../../../../engine/kafka/messages/produce.ts'
import { SERVED } from '../../../../engine/kafka/served.ts'
import { arbitraryMessage } from '../codec/arbitrary.ts'
import { framed, WireClient } from '../support/wire-client.ts'

/** `npm run test:faults` sends a million. */
const FRAMES = Number(process.env['MILLRACE_FRAMES'] ?? (process.env['MILLRACE_FAULTS'] === 'all' ? 1_000_000 : 30_000))
const FRAMES_AT_ONCE = 40
const PATIENCE_MS = 200
/** Groups that such requests make stay until they expire; there are at most `groupsMax` of them. For each frame. */
const GROUP_BYTES = 400
const MIB = 1024 * 1024

let broker: TestBroker
beforeAll(async () => {
  broker = await testBroker()
  await broker.engine.admin.createTopic({ topic: 't', partitions: 1 })
})
afterAll(() => broker.close())

/** The broker answers someone else. */
async function answers(): Promise<void> {
  using client = await WireClient.open(broker.port)
  const { topics } = await client.request(metadata, 12, { topics: [{ name: 't' }] })
  expect(topics).toMatchObject([{ errorCode: 0, name: 't' }])
}

function produceOf(records: Uint8Array | null, topic = 't', partition = 0) {
  return { acks: -1, timeoutMs: 1_000, topicData: [{ name: topic, partitionData: [{ index: partition, records }] }] }
}

async function produced(records: Uint8Array | null, topic = 't', partition = 0): Promise<number | undefined> {
  using client = await WireClient.open(broker.port)
  const { responses } = await client.request(produce, 9, produceOf(records, topic, partition))
  return responses[0]?.partitionResponses[0]?.errorCode
}

const batch = (): Buffer => Buffer.from(encodeBatch([{ key: null, value: Buffer.from('v'), timestamp: 1 }]).bytes)

describe('frames', () => {
  test.each([-1, -2_147_483_648, 0, 7, 2_147_483_647])('a length of %i ends the connection', async length => {
    using client = await WireClient.open(broker.port)
    const field = Buffer.alloc(4)
    field.writeInt32BE(length)
    client.socket.write(field)
    expect(await client.hasEnded()).toBe(true)
    await answers()
  })

  test.each([
    ['an API that nobody knows', 9_999, 0],
    ['an API that is not served', 24, 0],
    ['a version that is not served', 3, 99],
    ['a version below zero', 3, -1],
  ])('%s ends the connection', async (_, key, version) => {
    using client = await WireClient.open(broker.port)
    const body = Buffer.alloc(10)
    body.writeInt16BE(key, 0)
    body.writeInt16BE(version, 2)
    client.socket.write(framed(body))
    expect(await client.hasEnded()).toBe(true)
    await answers()
  })

  test('a version of ApiVersions that nobody knows is answered with what there is, in version 0', async () => {
    using client = await WireClient.open(broker.port)
    const body = Buffer.alloc(10)
    body.writeInt16BE(apiVersions.key, 0)
    body.writeInt16BE(77, 2)
    body.writeInt32BE(5, 4)
    client.socket.write(framed(body))
    const answer = await client.answer(apiVersions, 0)
    expect(answer).toMatchObject({ correlationId: 5, body: { errorCode: 35 } })
    expect(answer.body.apiKeys).toContainEqual({ apiKey: 18, minVersion: 0, maxVersion: 4 })
    expect(answer.body.apiKeys).toHaveLength(SERVED.size)
    expect(
      (await client.request(apiVersions, 4, { clientSoftwareName: 'a', clientSoftwareVersion: '1' })).errorCode,
    ).toBe(0)
  })

  test('random and mutated requests of every API', { timeout: 900_000 }, async () => {
    const random = new Random(testSeed())
    const pool = requestPool(random)
    let handled = 0
    const server = await broker.engine.listen({
      port: 0,
      drainMs: 100,
      interceptor: {
        before: () => {
          handled += 1
          return undefined
        },
      },
    })
    const before = process.memoryUsage().rss
    let connections = 0
    /** One connection after another: what is damaged ends it, or waits for others, as a member of a group does. */
    const send = async (): Promise<void> => {
      while (handled < FRAMES) {
        connections += 1
        using client = await WireClient.open(server.port)
        const frames = Array.from({ length: FRAMES_AT_ONCE }, () => damaged(random, pool))
        client.socket.resume()
        client.socket.write(Buffer.concat(frames))
        const untilMs = performance.now() + PATIENCE_MS
        for (let last = -1; !client.ended && performance.now() < untilMs && client.received !== last; ) {
          last = client.received
          await new Promise(resolve => setTimeout(resolve, 5))
        }
      }
    }
    await Promise.all(Array.from({ length: 8 }, send))
    expect(handled, `MILLRACE_SEED=${random.seed}`).toBeGreaterThanOrEqual(FRAMES)
    expect(connections).toBeGreaterThan(FRAMES / FRAMES_AT_ONCE)
    await server.close()
    await answers()
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * MIB + FRAMES * GROUP_BYTES)
  })
})

/** Requests of every version of every API but those that would make, change and delete topics: what is damaged is what this is about. */
function requestPool(random: Random): Buffer[] {
  const all = [...SERVED.values()].filter(({ api }) => !/^(Create|Delete|Alter|Incremental)/.test(api.name))
  return all.flatMap(({ api, first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i)
      .filter(version => version >= api.versions[0])
      .flatMap(version => {
        const bodies = fc.sample(arbitraryMessage(api.request, version), { numRuns: 6, seed: random.below(2 ** 31) })
        // One that waits keeps the others of its connection waiting.
        return bodies.map(body =>
          Buffer.concat(writeRequest(api, version, 7, null, { ...body, maxWaitMs: 0 } as never)),
        )
      }),
  )
}

/** A third as it is; the others with up to three bytes changed behind the header, or cut short. */
function damaged(random: Random, pool: readonly Buffer[]): Buffer {
  const frame = Buffer.from(pool[random.below(pool.length)] as Buffer)
  for (let n = random.below(4); n > 0; n--)
    frame[random.between(12, Math.max(frame.length, 13)) - 1] = random.below(256)
  if (random.below(50) > 0) return frame
  const cut = frame.subarray(0, random.between(12, frame.length))
  cut.writeInt32BE(cut.length - 4)
  return cut
}

describe('what is produced', () => {
  test.each([
    ['nothing', null, 87],
    ['less than a batch', Buffer.alloc(20), 87],
    ['two batches', Buffer.concat([batch(), batch()]), 87],
  ])('%s', async (_, records, code) => {
    expect(await produced(records)).toBe(code)
  })

  test('a batch with a wrong checksum', async () => {
    const records = batch()
    records[records.length - 1] = (records.at(-1) as number) ^ 1
    expect(await produced(records)).toBe(2)
  })

  test('an older format', async () => {
    const records = batch()
    records[16] = 1
    expect(await produced(records)).toBe(87)
  })

  test('part of a transaction', async () => {
    const records = Buffer.from(
      encodeBatch([{ key: null, value: null, timestamp: 1 }], { isTransactional: true }).bytes,
    )
    expect(await produced(records)).toBe(53)
  })

  test('for a topic or a partition that is not there', async () => {
    expect(await produced(batch(), 'none')).toBe(3)
    expect(await produced(batch(), 't', 7)).toBe(3)
    expect(await produced(batch(), 't', -1)).toBe(3)
  })

  test('what is right is still taken', async () => {
    expect(await produced(batch())).toBe(0)
  })
})

describe('names', () => {
  test.each(['../outside', '..', '.', 'a/b', '', 'x'.repeat(250)])('%j is refused', async name => {
    using client = await WireClient.open(broker.port)
    const { topics } = await client.request(metadata, 9, { topics: [{ name }], allowAutoTopicCreation: true })
    expect(topics[0]?.errorCode).toBe(17)
    const topic = { name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
    const made = await client.request(createTopics, 5, { topics: [topic] })
    expect(made.topics[0]?.errorCode).toBe(17)
    expect(existsSync(join(broker.engine.directory, '..', 'outside-0'))).toBe(false)
    expect(readdirSync(broker.engine.directory).filter(entry => entry.includes('outside'))).toEqual([])
  })
})

describe('patience', () => {
  test('answers come in the order of the requests', async () => {
    using client = await WireClient.open(broker.port)
    const sent: number[] = []
    for (let i = 0; i < 40; i++) {
      if (i % 3 === 0) sent.push(client.send(metadata, 9, { topics: [] }))
      else sent.push(client.send(produce, 9, produceOf(batch())))
    }
    for (const [i, id] of sent.entries()) {
      const { correlationId } = i % 3 === 0 ? await client.answer(metadata, 9) : await client.answer(produce, 9)
      expect(correlationId).toBe(id)
    }
  })

  test('one who sends slowly, and one who never reads, keep nobody waiting', { timeout: 60_000 }, async () => {
    await broker.engine.admin.createTopic({ topic: 'large', partitions: 1 })
    {
      await using producer = await broker.engine.producer()
      const value = Buffer.alloc(500_000, 1)
      await producer.send({ topic: 'large', messages: Array.from({ length: 40 }, () => ({ value })) })
    }
    const before = process.memoryUsage().rss
    using slow = await WireClient.open(broker.port)
    const head = Buffer.alloc(4)
    head.writeInt32BE(50 * MIB)
    slow.socket.write(Buffer.concat([head, Buffer.from([0, 0, 0, 9, 0, 0, 0, 1])]))
    using deaf = await WireClient.open(broker.port)
    deaf.socket.pause()
    const partition = {
      partition: 0,
      currentLeaderEpoch: -1,
      fetchOffset: 0,
      lastFetchedEpoch: -1,
      partitionMaxBytes: 20 * MIB,
    }
    for (let i = 0; i < 60; i++) {
      deaf.send(fetch, 12, {
        maxWaitMs: 0,
        minBytes: 1,
        maxBytes: 20 * MIB,
        topics: [{ topic: 'large', partitions: [partition] }],
        forgottenTopicsData: [],
      })
    }
    await new Promise(resolve => setTimeout(resolve, 300))
    const fromMs = performance.now()
    for (let i = 0; i < 20; i++) await answers()
    expect(performance.now() - fromMs).toBeLessThan(5_000)
    // Views of the log are shared pages; sixty answers in memory would be 1.2 GB.
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * MIB)
    expect(slow.ended).toBe(false)
  })
})
