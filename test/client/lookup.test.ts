/** The look-up API by itself: named ends, times, what it says when there is nothing, and when its topic changes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EngineHome, MEDIUM, SMALL, text } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

test('a topic without records', async () => {
  const topic = await home.topic(2)
  using lookup = await home.engine.lookup(topic)
  expect([lookup.topic, lookup.partitions]).toEqual([topic, 2])
  expect([lookup.earliest(1), lookup.latest(1), lookup.maxTimestamp(1)]).toEqual([0, 0, undefined])
  expect([lookup.byOffset(1, 0), lookup.byTimestamp(1, 0)]).toEqual([undefined, undefined])
})

describe('by timestamp', () => {
  const timestamps = [50, 10, 10, 90, 20, 90, 30]

  test('the lowest offset with that time or a later one, also out of order', async () => {
    const topic = await home.topic()
    await using producer = await home.engine.producer()
    for (const timestamp of timestamps) await producer.send({ topic, messages: [{ value: `${timestamp}`, timestamp }] })
    using lookup = await home.engine.lookup(topic)
    for (let time = -1; time <= 92; time++) {
      const expected = timestamps.findIndex(timestamp => timestamp >= time)
      expect(lookup.byTimestamp(0, time)?.offset, `${time}`).toBe(expected === -1 ? undefined : expected)
    }
    expect(lookup.maxTimestamp(0)).toEqual({ offset: 3, timestamp: 90 })
  })

  test('with LogAppendTime it is the time of the append, whatever the message says', async () => {
    const topic = await home.topic(1, { ...MEDIUM, 'message.timestamp.type': 'LogAppendTime' })
    await using producer = await home.engine.producer({ compression: 'zstd' })
    const beforeMs = Date.now()
    await producer.send({
      topic,
      messages: [
        { value: 'a'.repeat(500), timestamp: 5 },
        { value: 'b', timestamp: 9e12 },
      ],
    })
    using lookup = await home.engine.lookup(topic)
    const first = lookup.byTimestamp(0, beforeMs)
    expect(first?.offset).toBe(0)
    expect(first?.timestamp).toBeGreaterThanOrEqual(beforeMs)
    expect(first?.timestamp).toBeLessThanOrEqual(Date.now())
    expect(lookup.byTimestamp(0, Date.now() + 1_000)).toBe(undefined)
    expect(lookup.byOffset(0, 1)?.timestamp).toBe(first?.timestamp) // one batch, one time
  })
})

describe('ends', () => {
  test('deleted records are gone from every look-up', async () => {
    const topic = await home.topic(1, SMALL)
    await using producer = await home.engine.producer()
    const messages = Array.from({ length: 10 }, (_, i) => ({ value: `${i}`, timestamp: 1_000 - i }))
    await producer.send({ topic, messages })
    using lookup = await home.engine.lookup(topic)
    expect(await home.engine.admin.deleteRecords(topic, 0, 4)).toEqual({ logStartOffset: 4 })
    expect([lookup.earliest(0), lookup.latest(0)]).toEqual([4, 10])
    expect(lookup.byTimestamp(0, 500)?.offset).toBe(4) // offset 0 had that time as well
    expect(lookup.maxTimestamp(0)).toEqual({ offset: 4, timestamp: 996 })
    expect(() => lookup.byOffset(0, 3)).toThrow(
      expect.objectContaining({
        code: 'OFFSET_OUT_OF_RANGE',
        details: { topic, partition: 0, offset: 3, logStartOffset: 4, highWatermark: 10 },
      }),
    )
    expect(text(lookup.byOffset(0, 4)?.value)).toBe('4')
    await home.engine.admin.deleteRecords(topic, 0, -1)
    expect([lookup.earliest(0), lookup.maxTimestamp(0), lookup.byTimestamp(0, 0)]).toEqual([10, undefined, undefined])
  })

  test('beyond the log is OFFSET_OUT_OF_RANGE; a partition that is not there is unknown', async () => {
    const topic = await home.topic()
    using lookup = await home.engine.lookup(topic)
    for (const offset of [1, -1, Number.MAX_SAFE_INTEGER])
      expect(() => lookup.byOffset(0, offset)).toThrow('OFFSET_OUT_OF_RANGE')
    for (const partition of [1, -1, 0.5]) expect(() => lookup.latest(partition)).toThrow('UNKNOWN_TOPIC_OR_PARTITION')
    await expect(home.engine.lookup('nowhere')).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  })
})

test('records that were found stay readable behind close and behind the deletion of their topic', async () => {
  const topic = await home.topic()
  await using producer = await home.engine.producer()
  await producer.send({ topic, messages: [{ key: 'k', value: 'kept', headers: { h: 'x' } }] })
  const lookup = await home.engine.lookup(topic)
  const record = lookup.byOffset(0, 0)
  lookup.close()
  expect(text(lookup.byOffset(0, 0)?.value)).toBe('kept') // it may be used on
  await home.engine.admin.deleteTopic(topic)
  expect([text(record?.key), text(record?.value), text(record?.headers[0]?.value)]).toEqual(['k', 'kept', 'x'])
  expect(() => lookup.byOffset(0, 0)).toThrow('UNKNOWN_TOPIC_OR_PARTITION')
  lookup.close()
})
