/** The producer option `idempotent`: what it sends looks like, what it does about refusals, and that ids are never given twice. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Producer } from '../../client/index.ts'
import {
  baseSequenceOf,
  batchBytes,
  encodeBatch,
  producerEpochOf,
  producerIdOf,
  Region,
} from '../../engine/format/index.ts'
import { EngineHome, readValues } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

interface Stamp {
  readonly id: number
  readonly epoch: number
  readonly sequence: number
}

function stampsOf(topic: string, partition = 0): Stamp[] {
  const directory = home.partitionDirectory(topic, partition)
  const stamps: Stamp[] = []
  for (const name of readdirSync(directory).filter(file => file.endsWith('.log'))) {
    const { view, length } = Region.of(readFileSync(join(directory, name)))
    for (let at = 0; at < length && batchBytes(view, at) > 12; at += batchBytes(view, at)) {
      stamps.push({ id: producerIdOf(view, at), epoch: producerEpochOf(view, at), sequence: baseSequenceOf(view, at) })
    }
  }
  return stamps
}

const send = (producer: Producer, topic: string, values: readonly string[], partition = 0): Promise<unknown> =>
  producer.send({ topic, messages: values.map(value => ({ value, partition })) })

test('batches of each partition are numbered, those of other producers are not', async () => {
  const topic = await home.topic(2)
  await using producer = await home.engine.producer({ idempotent: true })
  await using plain = await home.engine.producer()
  await send(producer, topic, ['a', 'b', 'c'])
  await send(plain, topic, ['plain'])
  await send(producer, topic, ['d'], 1)
  await send(producer, topic, ['e'])
  const id = stampsOf(topic)[0]?.id as number
  expect(id).toBeGreaterThanOrEqual(0)
  expect(stampsOf(topic)).toEqual([
    { id, epoch: 0, sequence: 0 },
    { id: -1, epoch: -1, sequence: -1 },
    { id, epoch: 0, sequence: 3 },
  ])
  expect(stampsOf(topic, 1)).toEqual([{ id, epoch: 0, sequence: 0 }])
})

test('encoded batches are numbered as well; bytes with a producer of their own go as they are', async () => {
  const topic = await home.topic()
  await using producer = await home.engine.producer({ idempotent: true })
  const appender = await producer.appender(topic, 0)
  const records = [{ timestamp: 1, value: Buffer.from('x') }]
  appender.tryAppend(Buffer.from('first'))
  appender.tryAppendBatch(encodeBatch(records))
  appender.tryAppendBatch(encodeBatch(records, { producerId: 5_000_000, producerEpoch: 4, baseSequence: 7 }))
  await producer.flush()
  const id = stampsOf(topic)[0]?.id as number
  expect(stampsOf(topic)).toEqual([
    { id, epoch: 0, sequence: 0 },
    { id, epoch: 0, sequence: 1 },
    { id: 5_000_000, epoch: 4, sequence: 7 },
  ])
})

test('behind a batch that is refused the next ones go on under another epoch, and none is lost', async () => {
  const { admin } = home.engine
  await admin.createTopic({ topic: 'keyed', config: { 'cleanup.policy': 'compact' } })
  await using producer = await home.engine.producer({ idempotent: true })
  const good = (key: string): Promise<unknown> =>
    producer.send({ topic: 'keyed', messages: [{ key, value: key, partition: 0 }] })
  await good('a')
  const refused = expect(send(producer, 'keyed', ['no key'])).rejects.toMatchObject({ code: 'INVALID_RECORD' })
  await new Promise(resolve => queueMicrotask(() => resolve(undefined))) // each in a batch of its own
  const behind = ['b', 'c', 'd'].map(key => good(key))
  await refused
  await Promise.all(behind)
  await good('e')
  expect(await readValues(home.engine, 'keyed')).toEqual([['a', 'b', 'c', 'd', 'e']])
  const stamps = stampsOf('keyed')
  expect(stamps[0]).toMatchObject({ epoch: 0, sequence: 0 })
  expect(stamps.at(-1)?.epoch).toBe(1)
})

test('a log that is cut meanwhile, and what was cut is not sent again', async () => {
  const topic = await home.topic()
  await using producer = await home.engine.producer({ idempotent: true })
  for (let i = 0; i < 10; i++) await send(producer, topic, [`${i}`])
  const during = Promise.all(['x', 'y'].map(value => send(producer, topic, [value])))
  await home.engine.admin.truncate(topic, 0, { offset: 4 })
  await during
  await send(producer, topic, ['z'])
  const [values] = await readValues(home.engine, topic)
  expect(values?.slice(0, 4)).toEqual(['0', '1', '2', '3'])
  expect(values?.at(-1)).toBe('z')
  expect(new Set(values).size).toBe(values?.length)
})

test('many small batches, more than may be under way, keep their order', async () => {
  const topic = await home.topic(3)
  await using producer = await home.engine.producer({ idempotent: true, batchBytes: 1_024, bufferBytes: 32_768 })
  const appender = await producer.appender(topic)
  for (let i = 0; i < 3_000; i++) {
    while (!appender.tryAppend(Buffer.from(`${i}`), Buffer.from(`${i % 7}`))) producer.waitReady()
  }
  await producer.flush()
  const values = (await readValues(home.engine, topic)).map(list => list.map(Number))
  expect(values.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 3_000 }, (_, i) => i))
  for (let key = 0; key < 7; key++) {
    const own = values.flatMap(list => list.filter(value => value % 7 === key))
    expect(own).toEqual(own.toSorted((a, b) => a - b))
  }
})

test('ids are not given twice, also over a reopening', async () => {
  const topic = await home.topic()
  const ids: number[] = []
  for (let round = 0; round < 3; round++) {
    await using producer = await home.engine.producer({ idempotent: true })
    await send(producer, topic, ['x'])
    ids.push(stampsOf(topic).at(-1)?.id as number)
    if (round === 1) {
      await producer.close()
      await home.reopen()
    }
  }
  expect(new Set(ids).size).toBe(3)
})
