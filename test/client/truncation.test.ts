/** Cutting the end of a log off a running engine, and what follows the log there: readers, appends, epochs, producers, files. */
import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeBatch } from '../../engine/format/record-batch.ts'
import { EngineHome, readValues, SMALL, text } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `${from + i}`)

/** One batch a record, so that a cut hits the offset. */
async function send(topic: string, values: readonly string[], bytes = 0): Promise<void> {
  await using producer = await home.engine.producer()
  for (const value of values) await producer.send({ topic, messages: [{ value: value.padEnd(bytes), partition: 0 }] })
}

const values = async (topic: string): Promise<(string | undefined)[]> =>
  (await readValues(home.engine, topic)).flat().map(value => value?.trim())

describe('truncate', () => {
  test('to an offset, over many segments; appends go on there, and a reopening finds the same', async () => {
    const topic = await home.topic(1, SMALL)
    await send(topic, numbers(0, 24), 2_000)
    const logs = (): number => readdirSync(home.partitionDirectory(topic)).filter(name => name.endsWith('.log')).length
    expect(logs()).toBe(4)
    const end = await home.engine.admin.truncate(topic, 0, { offset: 13 })
    expect(end).toEqual({ leaderEpoch: 1, endOffset: 13 })
    expect(logs()).toBe(2)
    expect(await values(topic)).toEqual(numbers(0, 13))
    await send(topic, numbers(100, 104), 2_000)
    expect(await values(topic)).toEqual([...numbers(0, 13), ...numbers(100, 104)])
    await home.reopen()
    expect(await values(topic)).toEqual([...numbers(0, 13), ...numbers(100, 104)])
    expect(await home.engine.admin.truncate(topic, 0, { offset: 0 })).toEqual({ leaderEpoch: 2, endOffset: 0 })
    expect(await values(topic)).toEqual([])
    await send(topic, ['first'])
    expect(await values(topic)).toEqual(['first'])
  })

  test('takes whole batches', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    for (const from of [0, 10]) {
      await producer.send({ topic, messages: numbers(from, from + 10).map(value => ({ value })) })
    }
    expect(await home.engine.admin.truncate(topic, 0, { offset: 15 })).toMatchObject({ endOffset: 10 })
    expect(await values(topic)).toEqual(numbers(0, 10))
  })

  test('to the end of a leader epoch', async () => {
    const topic = await home.topic(1, SMALL)
    const { admin } = home.engine
    await send(topic, numbers(0, 5))
    await admin.truncate(topic, 0, { offset: 4 }) // epoch 1 begins at 4
    await send(topic, numbers(4, 9))
    await admin.truncate(topic, 0, { offset: 8 }) // epoch 2 begins at 8
    await send(topic, numbers(8, 12))
    expect(await admin.offsetForLeaderEpoch(topic, 0, 0)).toEqual({ leaderEpoch: 0, endOffset: 4 })
    expect(await admin.offsetForLeaderEpoch(topic, 0, 1)).toEqual({ leaderEpoch: 1, endOffset: 8 })
    expect(await admin.offsetForLeaderEpoch(topic, 0, 2)).toEqual({ leaderEpoch: 2, endOffset: 12 })
    expect(await admin.offsetForLeaderEpoch(topic, 0, 3)).toBeUndefined()
    await home.reopen()
    expect(await home.engine.admin.offsetForLeaderEpoch(topic, 0, 1)).toEqual({ leaderEpoch: 1, endOffset: 8 })
    expect(await home.engine.admin.truncate(topic, 0, { leaderEpoch: 1 })).toEqual({ leaderEpoch: 3, endOffset: 8 })
    expect(await values(topic)).toEqual(numbers(0, 8))
  })

  test('what is not in the log is refused, and what lies behind its end changes nothing', async () => {
    const topic = await home.topic()
    const { admin } = home.engine
    await send(topic, numbers(0, 10))
    await admin.deleteRecords(topic, 0, 5)
    const refused = { code: 'OFFSET_OUT_OF_RANGE' }
    await expect(admin.truncate(topic, 0, { offset: 4 })).rejects.toMatchObject(refused)
    await expect(admin.truncate(topic, 0, { leaderEpoch: 7 })).rejects.toMatchObject(refused)
    await expect(admin.truncate(topic, 0, { offset: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(admin.truncate(topic, 1, { offset: 0 })).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    expect(await admin.truncate(topic, 0, { offset: 10 })).toEqual({ leaderEpoch: 0, endOffset: 10 })
    expect(await admin.truncate(topic, 0, { offset: 99 })).toEqual({ leaderEpoch: 0, endOffset: 10 })
    expect(await admin.truncate(topic, 0, { offset: 5 })).toEqual({ leaderEpoch: 1, endOffset: 5 })
    expect(await values(topic)).toEqual([])
  })

  test('views that were read stay what they were', async () => {
    const topic = await home.topic()
    await send(topic, numbers(0, 10))
    const records: { value: Uint8Array | null }[] = []
    for await (const { value } of home.engine.reader({ topic }).records()) records.push({ value })
    await home.engine.admin.truncate(topic, 0, { offset: 2 })
    await send(topic, numbers(100, 110))
    expect(records.map(({ value }) => text(value))).toEqual(numbers(0, 10))
    expect(await values(topic)).toEqual([...numbers(0, 2), ...numbers(100, 110)])
  })

  test('a reader in the middle goes on with the new records; one beyond the end is told', async () => {
    const topic = await home.topic(1, SMALL)
    await send(topic, numbers(0, 30), 1_000)
    const abort = new AbortController()
    const seen: (string | undefined)[] = []
    const reader = home.engine.reader({ topic, to: 'never', signal: abort.signal })
    for await (const { value } of reader.records()) {
      seen.push(text(value)?.trim())
      if (seen.length === 5) {
        await home.engine.admin.truncate(topic, 0, { offset: 20 })
        await send(topic, numbers(100, 105), 1_000)
      }
      if (seen.at(-1) === '104') abort.abort()
    }
    expect(seen.slice(0, 5)).toEqual(numbers(0, 5))
    expect(seen.slice(-5)).toEqual(numbers(100, 105))
    const beyond = home.engine.reader({ topic, from: { offset: 29 } })
    await expect(beyond[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
  })
})

describe('idempotent batches', () => {
  const batch = (baseSequence: number, value: string): Uint8Array => {
    const records = [{ timestamp: 1, value: Buffer.from(value) }]
    return encodeBatch(records, { producerId: 9, producerEpoch: 0, baseSequence }).bytes
  }

  test('are known again after a cut, a close and both; below the cut only', async () => {
    const topic = await home.topic(1, SMALL)
    let producer = await home.engine.producer()
    const reopen = async (): Promise<void> => {
      await producer.close()
      producer = await (await home.reopen()).producer()
    }
    const submit = async (sequence: number): Promise<void> => {
      const appender = await producer.appender(topic, 0)
      expect(appender.tryAppendBatch(batch(sequence, `${sequence}`))).toBe(true)
      await producer.flush()
    }
    for (let sequence = 0; sequence < 8; sequence++) await submit(sequence)
    for (const again of [7, 3]) await submit(again)
    await expect(submit(2)).rejects.toMatchObject({ code: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(await values(topic)).toEqual(numbers(0, 8))
    await reopen()
    for (const again of [7, 3]) await submit(again)
    await expect(submit(2)).rejects.toMatchObject({ code: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    await home.engine.admin.truncate(topic, 0, { offset: 5 })
    await expect(submit(7)).rejects.toMatchObject({ code: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    for (const next of [4, 5, 6]) await submit(next)
    await reopen()
    for (const again of [6, 2]) await submit(again)
    expect(await values(topic)).toEqual(numbers(0, 7))
    await producer.close()
  })
})
