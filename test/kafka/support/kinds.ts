/**
 * Every kind of folder that Millrace writes, as a table: a further kind is a further row. Each is a topic of one partition, which
 * `fill` fills in an engine that is then closed; those that need a crash have it in `folders.ts`.
 */
import { encodeBatch, type Message, type Millrace } from '../../../client/index.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'

export interface Kind {
  readonly topic: string
  readonly config?: Readonly<Record<string, string | number>>
  fill(engine: Millrace, topic: string): Promise<unknown>
  /** Compaction left offsets out, or records below the log start lie in the first segment. */
  readonly isWhole?: false
}

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
/** Segments of a few records with many index entries. */
export const SMALL = { 'segment.bytes': 16_384, 'index.interval.bytes': 400 }
const COMPACT = { ...SMALL, 'cleanup.policy': 'compact' }
export const BASE_MS = 1_750_000_000_000

/** Keys, values and headers of every shape, as text that a tool prints on one line. */
export function message(i: number): Message {
  const shapes: Message[] = [
    { key: null, value: null },
    { key: '', value: '' },
    { key: `key-${i}`, value: null },
    { key: null, value: `value-${i}` },
    {
      key: `key-${i}`,
      value: `value-${i} `.repeat(1 + (i % 9)).trim(),
      headers: { source: 'test', none: null, empty: '' },
    },
    {
      key: 'same',
      value: 'v'.repeat(i % 300),
      headers: [1, 2].map(n => ({ key: 'twice', value: Buffer.from(`${n}`) })),
    },
  ]
  return { ...(shapes[i % shapes.length] as Message), timestamp: BASE_MS + i, partition: 0 }
}

async function sendEach(engine: Millrace, topic: string, messages: readonly Message[]): Promise<void> {
  await using producer = await engine.producer({ batchBytes: 1_024, bufferBytes: 1_048_576 })
  for (const each of messages) await producer.send({ topic, messages: [each] })
}

const many = (count: number, make: (i: number) => Message = message): Message[] =>
  Array.from({ length: count }, (_, i) => make(i))

/** Ten kilobytes that fill a segment, so that what lies before is closed. */
const filler: Message[] = many(3, () => ({ key: '~', value: '~'.repeat(6_000), partition: 0, timestamp: BASE_MS }))

async function compactTwice(engine: Millrace, topic: string): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const keyed = many(400, i => ({
      key: i % 7 === 0 ? `once-${i}` : `key-${i % 30}`,
      value: i % 11 === 0 ? null : `round ${round} of ${i}`.padEnd(80, '.'),
      timestamp: BASE_MS + round * 1_000 + i,
      partition: 0,
    }))
    await sendEach(engine, topic, [...keyed, ...filler])
    await engine.admin.applyCompaction({ force: true })
  }
}

async function appendEncoded(engine: Millrace, topic: string): Promise<void> {
  await using producer = await engine.producer()
  const appender = await producer.appender(topic, 0)
  CODECS.forEach((codec, at) => {
    const records = Array.from({ length: 20 }, (_, i) => ({
      timestamp: BASE_MS + i,
      key: Buffer.from(`${i}`),
      value: Buffer.from(`v${i}`),
    }))
    const options = { codec, producerId: 77, producerEpoch: 3, baseSequence: at * records.length }
    if (!appender.tryAppendBatch(encodeBatch(records, options))) throw new Error('there is room for five batches')
  })
  await producer.flush()
}

/** Two producers with ids, over several segments. */
async function sendIdempotently(engine: Millrace, topic: string): Promise<void> {
  const options = { idempotent: true, batchBytes: 1_024, bufferBytes: 1_048_576 }
  await using first = await engine.producer(options)
  await using second = await engine.producer(options)
  for (const [i, each] of many(400).entries()) {
    await (i % 3 === 0 ? second : first).send({ topic, messages: [each] })
  }
}

export const KINDS: readonly Kind[] = [
  ...CODECS.map(
    (compression): Kind => ({
      topic: `codec-${compression}`,
      config: { 'index.interval.bytes': 200 },
      fill: async (engine, topic) => {
        await using producer = await engine.producer({ compression, batchBytes: 2_048 })
        for (let from = 0; from < 600; from += 60) {
          await producer.send({ topic, messages: many(60).map((_, i) => message(from + i)) })
        }
      },
    }),
  ),
  { topic: 'empty', fill: async () => undefined },
  { topic: 'rolled', config: SMALL, fill: (engine, topic) => sendEach(engine, topic, many(700)) },
  {
    topic: 'index-full',
    config: { ...SMALL, 'segment.bytes': 1_048_576, 'segment.index.bytes': 4_096, 'index.interval.bytes': 0 },
    fill: (engine, topic) => sendEach(engine, topic, many(1_200)),
  },
  {
    topic: 'large-records',
    fill: (engine, topic) =>
      sendEach(
        engine,
        topic,
        many(4, i => ({ key: `${i}`, value: 'x'.repeat(300_000), timestamp: BASE_MS, partition: 0 })),
      ),
  },
  {
    topic: 'unordered-times',
    config: SMALL,
    fill: (engine, topic) => {
      const random = new Random(testSeed())
      const timestamp = (): number => (random.chance(0.05) ? -1 : BASE_MS + random.below(1_000_000))
      return sendEach(
        engine,
        topic,
        many(700, i => ({ ...message(i), timestamp: timestamp() })),
      )
    },
  },
  {
    topic: 'no-times',
    config: SMALL,
    fill: (engine, topic) =>
      sendEach(
        engine,
        topic,
        many(300, i => ({ ...message(i), timestamp: -1 })),
      ),
  },
  {
    topic: 'append-time',
    config: { ...SMALL, 'message.timestamp.type': 'LogAppendTime' },
    fill: (engine, topic) => sendEach(engine, topic, many(300)),
  },
  { topic: 'encoded', fill: appendEncoded },
  {
    topic: 'durable',
    config: { ...SMALL, 'flush.messages': 1 },
    fill: (engine, topic) => sendEach(engine, topic, many(120)),
  },
  {
    topic: 'trimmed',
    config: SMALL,
    isWhole: false,
    fill: async (engine, topic) => {
      await sendEach(engine, topic, many(700))
      await engine.admin.deleteRecords(topic, 0, 333)
    },
  },
  {
    topic: 'trimmed-empty',
    config: SMALL,
    isWhole: false,
    fill: async (engine, topic) => {
      await sendEach(engine, topic, many(200))
      await engine.admin.deleteRecords(topic, 0, -1)
    },
  },
  {
    topic: 'retention',
    config: { ...SMALL, 'retention.bytes': 30_000 },
    fill: async (engine, topic) => {
      await sendEach(engine, topic, many(700))
      await engine.admin.applyRetention()
    },
  },
  { topic: 'idempotent', config: SMALL, fill: sendIdempotently },
  {
    topic: 'truncated',
    config: SMALL,
    fill: async (engine, topic) => {
      await sendEach(engine, topic, many(700))
      await engine.admin.truncate(topic, 0, { offset: 431 })
      await sendIdempotently(engine, topic)
      await engine.admin.truncate(topic, 0, { offset: 600 })
      await sendEach(engine, topic, many(50))
    },
  },
  { topic: 'compacted', config: COMPACT, isWhole: false, fill: compactTwice },
  {
    topic: 'compacted-horizon-over',
    config: { ...COMPACT, 'delete.retention.ms': 0 },
    isWhole: false,
    fill: compactTwice,
  },
  {
    topic: 'compacted-zstd',
    config: COMPACT,
    isWhole: false,
    fill: async (engine, topic) => {
      await using producer = await engine.producer({ compression: 'zstd', batchBytes: 4_096 })
      const keyed = many(2_000, i => ({
        key: `${(i * i) % 97}`,
        value: `${i}`.padEnd(40),
        timestamp: BASE_MS + i,
        partition: 0,
      }))
      for (let from = 0; from < keyed.length; from += 100) {
        await producer.send({ topic, messages: keyed.slice(from, from + 100) })
      }
      await sendEach(engine, topic, filler)
      await engine.admin.applyCompaction({ force: true })
    },
  },
]
