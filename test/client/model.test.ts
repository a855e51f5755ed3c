/**
 * A topic against a plain array: random records through every way of appending, while another task reads and looks up; then
 * everything again from a reopened directory, and more appends on top.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Appender, encodeBatch, type Lookup, type Producer, type RecordMetadata } from '../../client/index.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import { EngineHome, sleep } from './support/engine.ts'
import {
  checkLookups,
  expectOnce,
  type ModelLog,
  messageOf,
  RecordMaker,
  scanModel,
  type TestRecord,
} from './support/records.ts'

const seed = testSeed()
const PARTITIONS = 3
const MESSAGE_BYTES_MAX = 12_000

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

/** What one producer was asked to append, in its order, with the partition where it is known. */
interface Asked {
  readonly record: TestRecord
  readonly partition: number | undefined
  readonly way: 'send' | 'sync'
}

/** The records of one partition are in the order in which they were handed over. */
function expectOrder(log: ModelLog, asked: readonly Asked[]): void {
  const numbers = new Map(asked.map(({ record }, number) => [record.id, number]))
  for (const records of log) {
    const mine = records.flatMap(({ id }) => numbers.get(id) ?? [])
    expect(mine).toEqual([...mine].sort((a, b) => a - b))
  }
  const places = new Map(log.flatMap((records, partition) => records.map(({ id }) => [id, partition] as const)))
  for (const { record, partition } of asked) if (partition !== undefined) expect(places.get(record.id)).toBe(partition)
}

class Sender {
  readonly asked: Asked[] = []
  readonly results: { readonly records: readonly TestRecord[]; readonly metadata: RecordMetadata[] }[] = []
  readonly #random: Random
  readonly #maker: RecordMaker
  readonly #producer: Producer
  readonly #appenders: readonly Appender[]
  readonly #topic: string
  readonly #pending: Promise<unknown>[] = []

  constructor(random: Random, maker: RecordMaker, producer: Producer, appenders: readonly Appender[], topic: string) {
    this.#random = random
    this.#maker = maker
    this.#producer = producer
    this.#appenders = appenders
    this.#topic = topic
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const kind = this.#random.below(4)
      if (kind === 0) await this.#append()
      else if (kind === 1) await this.#appendBatch()
      else this.#send()
      if (this.#random.chance(0.2)) await sleep(this.#random.below(3))
    }
    await this.#producer.flush()
    await Promise.all(this.#pending)
  }

  /** Messages with a key, without one, and with a partition, all in one call. */
  #send(): void {
    const count = this.#random.between(1, 30)
    const records = Array.from({ length: count }, () => this.#maker.next())
    const messages = records.map(record => {
      const partition = this.#random.chance(0.4) ? this.#random.below(PARTITIONS) : undefined
      this.asked.push({ record, partition, way: 'send' })
      return messageOf(record, partition)
    })
    const sent = this.#producer.send({ topic: this.#topic, messages })
    this.#pending.push(sent.then(metadata => this.results.push({ records, metadata })))
  }

  async #append(): Promise<void> {
    const partition = this.#random.below(PARTITIONS)
    const count = this.#random.between(1, 200)
    for (let i = 0; i < count; i++) {
      const record = this.#maker.next(true)
      this.asked.push({ record, partition, way: 'sync' })
      while (!(this.#appenders[partition] as Appender).tryAppend(record.value, record.key, record.timestamp)) {
        await this.#producer.ready()
      }
    }
  }

  /** A batch that was encoded before: checked bytes or ones that need no check. */
  async #appendBatch(): Promise<void> {
    const partition = this.#random.below(PARTITIONS)
    const records = Array.from({ length: this.#random.between(1, 20) }, () => this.#maker.next(true))
    const codec = this.#random.pick(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)
    const batch = encodeBatch(records, { codec })
    if (batch.bytes.length > MESSAGE_BYTES_MAX) {
      for (const { id } of records) this.#maker.made.delete(id)
      return
    }
    for (const record of records) this.asked.push({ record, partition, way: 'sync' })
    const handedOver = this.#random.chance(0.5) ? batch : batch.bytes
    while (!(this.#appenders[partition] as Appender).tryAppendBatch(handedOver)) await this.#producer.ready()
  }

  /** What `send` said is where the records are. */
  expectResults(log: ModelLog): void {
    for (const { records, metadata } of this.results) {
      const promised = metadata.flatMap(({ partition, baseOffset, count }) =>
        Array.from({ length: count }, (_, i) => log[partition]?.[baseOffset + i]?.id),
      )
      expect([...promised].sort()).toEqual(records.map(({ id }) => id).sort())
    }
  }
}

/** An answer of a look-up by time while the log grew; the log that came out says whether it was right. */
interface TimeAnswer {
  readonly partition: number
  readonly time: number
  readonly offset: number | undefined
  readonly before: number
  readonly after: number
}

/** Looks up while others append; what is below the high watermark never changes. */
async function lookUpMeanwhile(lookup: Lookup, random: Random, stop: AbortSignal): Promise<TimeAnswer[]> {
  const answers: TimeAnswer[] = []
  while (!stop.aborted) {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const before = lookup.latest(partition)
      if (before === 0) continue
      const target = random.below(before)
      const record = lookup.byOffset(partition, target)
      expect(record?.offset).toBe(target)
      const time = (record?.timestamp ?? 0) + random.between(-20, 20)
      const offset = lookup.byTimestamp(partition, time)?.offset
      answers.push({ partition, time, offset, before, after: lookup.latest(partition) })
    }
    await sleep(1)
  }
  return answers
}

function expectTimes(log: ModelLog, answers: readonly TimeAnswer[]): void {
  for (const { partition, time, offset, before, after } of answers) {
    const index = (log[partition] as TestRecord[]).findIndex(({ timestamp }) => timestamp >= time)
    const expected = index === -1 ? undefined : index
    if (expected !== undefined && expected < before) expect(offset, `time ${time}`).toBe(expected)
    else if (offset !== undefined) expect([offset, offset < after], `time ${time}`).toEqual([expected, true])
  }
}

async function startSenders(random: Random, maker: RecordMaker, topic: string): Promise<[Producer[], Sender[]]> {
  const options = [
    { acks: 'all', bufferBytes: 16_384, batchBytes: 4_096 },
    // Never without room, however long a flush takes.
    {
      acks: 1,
      compression: random.pick(['gzip', 'snappy', 'lz4', 'zstd'] as const),
      lingerMs: 2,
      bufferBytes: 2 ** 26,
    },
  ] as const
  const producers = await Promise.all(options.map(option => home.engine.producer(option)))
  const senders: Sender[] = []
  for (const producer of producers) {
    const appenders: Appender[] = []
    for (let partition = 0; partition < PARTITIONS; partition++)
      appenders.push(await producer.appender(topic, partition))
    senders.push(new Sender(new Random(random.u32()), maker, producer, appenders, topic))
  }
  return [producers, senders]
}

test.for([1, 2])('a topic is what was appended to it, run %i', { timeout: 120_000 }, async run => {
  try {
    await appendAndCompare(run)
  } catch (error) {
    throw new Error(`MILLRACE_SEED=${seed}, run ${run}: ${(error as Error).message}`, { cause: error })
  }
})

async function appendAndCompare(run: number): Promise<void> {
  const random = new Random(seed + run)
  const config = { 'segment.bytes': 16_384, 'index.interval.bytes': 300, 'max.message.bytes': MESSAGE_BYTES_MAX }
  const topic = await home.topic(PARTITIONS, run === 2 ? { ...config, 'flush.messages': 1 } : config)
  const maker = new RecordMaker(random, MESSAGE_BYTES_MAX / 3)
  for (let life = 0; life < 2; life++) {
    const [producers, senders] = await startSenders(random, maker, topic)
    using lookup = await home.engine.lookup(topic)
    const stop = new AbortController()
    const looking = lookUpMeanwhile(lookup, new Random(random.u32()), stop.signal)
    await Promise.all(senders.map(sender => sender.run(60)))
    stop.abort()
    const answers = await looking
    const log = await scanModel(home.engine, topic, maker.made)
    expectOnce(log, maker.made.keys())
    for (const sender of senders) sender.expectResults(log)
    const [pressed, roomy] = senders as [Sender, Sender]
    expectOrder(log, roomy.asked)
    // The synchronous path may overtake a send that waits for room; each keeps its own order.
    for (const way of ['send', 'sync']) {
      expectOrder(
        log,
        pressed.asked.filter(asked => asked.way === way),
      )
    }
    expectTimes(log, answers)
    expect(answers.length).toBeGreaterThan(0)
    await checkLookups(home.engine, topic, log, random)
    await Promise.all(producers.map(producer => producer.close()))
    await home.reopen()
    expect(await scanModel(home.engine, topic, maker.made)).toEqual(log)
    await checkLookups(home.engine, topic, log, random)
    const { partitions } = await home.engine.admin.describeTopic(topic)
    for (const { segments, indexEntries } of partitions) {
      expect(segments).toBeGreaterThan(3) // many rolls
      expect(indexEntries).toBeGreaterThan(segments)
    }
  }
}
