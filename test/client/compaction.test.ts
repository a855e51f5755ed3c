/** Compacted topics from outside: what stays, what goes, and what those who read and append at the same time see. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Codec, encodeBatch, type Message } from '../../client/index.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import { EngineHome, sleep, text, until } from './support/engine.ts'

const COMPACT = { 'cleanup.policy': 'compact', 'segment.bytes': 16_384, 'index.interval.bytes': 500 }

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open({ cleanerBackoffMs: 3_600_000 })
})
afterAll(() => home.close())

interface Kept {
  readonly offset: number
  readonly key: string
  readonly value: string | null
  readonly timestamp: number
  readonly headers: readonly (readonly [string, string | null])[]
}

async function read(topic: string, from = 0): Promise<Kept[]> {
  const kept: Kept[] = []
  for await (const record of home.engine.reader({ topic, from: { offset: from } }).records()) {
    const { offset, key, value, timestamp } = record
    const headers = record.headers.map(header => [header.key, text(header.value)] as const)
    kept.push({ offset, key: text(key) ?? '', value: text(value), timestamp, headers })
  }
  return kept
}

/** Closes the active segment: what lies in it is not compacted. Puts `records` of the key `~` behind, which fill one. */
async function roll(topic: string): Promise<void> {
  await using producer = await home.engine.producer()
  const messages: Message[] = Array.from({ length: 3 }, () => ({ key: '~', value: Buffer.alloc(6_000), partition: 0 }))
  for (const message of messages) await producer.send({ topic, messages: [message] })
}

/** Compacts everything up to here. */
async function compact(topic: string): Promise<void> {
  await roll(topic)
  await home.engine.admin.applyCompaction({ force: true })
}

/** What compaction leaves: of each key the last, without tombstones if those are gone. */
function latest(all: readonly Kept[], tombstones: boolean): Kept[] {
  const last = new Map(all.map(record => [record.key, record.offset]))
  return all.filter(({ key, offset, value }) => last.get(key) === offset && (tombstones || value !== null))
}

const others = (records: readonly Kept[]): Kept[] => records.filter(({ key }) => key !== '~')

describe('what stays', () => {
  const keptOf = new Map<string, Kept[]>()

  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const satisfies readonly Codec[]) {
    test(`of each key the latest, at its offset, with time and headers: ${compression}`, async () => {
      const random = new Random(testSeed())
      const topic = await home.topic(1, COMPACT)
      {
        await using producer = await home.engine.producer({ compression, batchBytes: 4_096 })
        for (let i = 0; i < 600; i++) {
          const key = `key-${random.below(80)}`
          const value = random.below(10) === 0 ? null : `${i}`.padEnd(random.below(60))
          const headers = random.below(4) === 0 ? { i: `${i}`, none: null } : {}
          const sent = producer.send({
            topic,
            messages: [{ key, value, timestamp: 1_000_000 + i, headers, partition: 0 }],
          })
          if (i % 10 === 0) await sent
        }
        await producer.flush()
      }
      const all = await read(topic)
      await compact(topic)
      const kept = others(await read(topic))
      expect(kept).toEqual(latest(others(all), true))
      expect(kept.length).toBeLessThan(all.length / 4)
      keptOf.set(topic, kept)
      using lookup = await home.engine.lookup(topic)
      for (const { offset, timestamp, key } of kept) {
        expect(lookup.byOffset(0, offset)).toMatchObject({ offset, timestamp })
        const before = kept.filter(record => record.offset < offset).at(-1)
        // An offset whose record is gone stands for the next that is there.
        if (before !== undefined) expect(text(lookup.byOffset(0, before.offset + 1)?.key)).toBe(key)
        expect(lookup.byTimestamp(0, timestamp)?.offset).toBe(offset)
      }
    })
  }

  test('over a reopening as well', async () => {
    await home.reopen({ cleanerBackoffMs: 3_600_000 })
    for (const [topic, kept] of keptOf) expect(others(await read(topic)), topic).toEqual(kept)
  })

  test('neighbours that have become small are one segment, and their indexes are right', async () => {
    const topic = await home.topic(1, COMPACT)
    await using producer = await home.engine.producer({ batchBytes: 1_024 })
    for (let i = 0; i < 600; i++)
      await producer.send({ topic, messages: [{ key: `${i % 40}`, value: Buffer.alloc(400), partition: 0 }] })
    const before = (await home.engine.admin.describeTopic(topic)).partitions[0]
    await compact(topic)
    const after = (await home.engine.admin.describeTopic(topic)).partitions[0]
    expect(before?.segments).toBeGreaterThan(12)
    expect(after?.segments).toBeLessThan(6)
    const directory = home.partitionDirectory(topic)
    const names = readdirSync(directory)
    const others = names.filter(name => !/^\d{20}\.(log|index|timeindex|snapshot)$/.test(name))
    expect(others).toEqual(['leader-epoch-checkpoint'])
    for (const suffix of ['.log', '.snapshot']) {
      expect(names.filter(name => name.endsWith(suffix)).length).toBeLessThan(6)
    }
  })
})

describe('tombstones', () => {
  test('stay for delete.retention.ms after the first compaction that met them, then go', async () => {
    const topic = await home.topic(1, { ...COMPACT, 'delete.retention.ms': 700 })
    await using producer = await home.engine.producer()
    const send = (key: string, value: string | null): Promise<unknown> =>
      producer.send({ topic, messages: [{ key, value, timestamp: 5_000, partition: 0 }] })
    for (const key of ['a', 'b', 'c']) await send(key, 'first')
    await send('b', null)
    await roll(topic)
    await compact(topic)
    const horizonAtMs = Date.now() + 700
    expect(others(await read(topic)).map(({ key, value, timestamp }) => [key, value, timestamp])).toEqual([
      ['a', 'first', 5_000],
      ['c', 'first', 5_000],
      ['b', null, 5_000],
    ])
    await sleep(horizonAtMs - Date.now() + 10)
    await roll(topic) // or nothing is dirty
    await compact(topic)
    expect(others(await read(topic)).map(({ key }) => key)).toEqual(['a', 'c'])
  })

  test('a log of which nothing is left can be read to its end, and goes on', async () => {
    const topic = await home.topic(1, { ...COMPACT, 'delete.retention.ms': 0 })
    {
      await using producer = await home.engine.producer()
      for (let i = 0; i < 4; i++)
        await producer.send({ topic, messages: [{ key: 'k', value: Buffer.alloc(9_000), partition: 0 }] })
      await producer.send({ topic, messages: [{ key: 'k', value: null, partition: 0 }] })
    }
    await compact(topic)
    await sleep(5)
    await compact(topic)
    expect(others(await read(topic))).toEqual([])
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: [{ key: 'new', value: 'x', partition: 0 }] })
    expect(others(await read(topic)).map(({ key }) => key)).toEqual(['new'])
  })
})

describe('when', () => {
  test('what is younger than min.compaction.lag.ms stays', async () => {
    const topic = await home.topic(1, { ...COMPACT, 'min.compaction.lag.ms': 3_600_000 })
    await using producer = await home.engine.producer()
    const messages = Array.from({ length: 50 }, (_, i) => ({ key: 'k', value: Buffer.alloc(1_000, i), partition: 0 }))
    for (const message of messages) await producer.send({ topic, messages: [message] })
    await compact(topic)
    expect(others(await read(topic))).toHaveLength(50)
    await home.engine.admin.alterConfig(topic, { 'min.compaction.lag.ms': null })
    await compact(topic)
    expect(others(await read(topic)).length).toBeLessThan(20)
  })

  test('by itself when the dirty ratio is reached, and not before', async () => {
    await home.reopen({ cleanerBackoffMs: 20 })
    const lazy = await home.topic(1, { ...COMPACT, 'min.cleanable.dirty.ratio': 1 })
    const eager = await home.topic(1, { ...COMPACT, 'min.cleanable.dirty.ratio': 0.01 })
    await using producer = await home.engine.producer()
    for (const topic of [lazy, eager]) {
      for (let i = 0; i < 60; i++)
        await producer.send({ topic, messages: [{ key: 'k', value: Buffer.alloc(1_000), partition: 0 }] })
    }
    await until(async () => (await read(eager)).length < 40, 'compaction has begun by itself')
    await home.reopen({ cleanerBackoffMs: 3_600_000 })
  })

  test('the policies together: retention takes what is too much', async () => {
    const topic = await home.topic(1, { ...COMPACT, 'cleanup.policy': 'compact,delete', 'retention.bytes': 20_000 })
    await using producer = await home.engine.producer()
    for (let i = 0; i < 60; i++)
      await producer.send({ topic, messages: [{ key: `${i}`, value: Buffer.alloc(1_000), partition: 0 }] })
    await until(async () => {
      await home.engine.admin.applyRetention()
      return ((await home.engine.admin.describeTopic(topic)).partitions[0]?.logStartOffset ?? 0) > 0
    }, 'retention has removed segments')
    const alone = await home.topic(1, { ...COMPACT, 'retention.bytes': 20_000, 'retention.ms': 1 })
    for (let i = 0; i < 60; i++)
      await producer.send({ topic: alone, messages: [{ key: `${i}`, value: Buffer.alloc(1_000), partition: 0 }] })
    await home.engine.admin.applyRetention()
    expect((await home.engine.admin.describeTopic(alone)).partitions[0]?.logStartOffset).toBe(0)
  })
})

describe('at the same time', () => {
  test('readers and appends are undisturbed', { timeout: 120_000 }, async () => {
    const topic = await home.topic(1, COMPACT)
    await using producer = await home.engine.producer({ batchBytes: 2_048 })
    const count = 2_400
    let isDone = false
    const follower = (async () => {
      const seen = new Map<string, number>()
      let last = -1
      for await (const { offset, key, value } of home.engine.reader({ topic, to: 'never' }).records()) {
        expect(offset).toBeGreaterThan(last)
        last = offset
        expect(Number(text(value)?.trim())).toBeGreaterThan(seen.get(text(key) ?? '') ?? -1)
        seen.set(text(key) ?? '', Number(text(value)?.trim()))
        if (offset >= count - 1) break
      }
      return seen
    })()
    const passes = (async () => {
      let found = 0
      while (!isDone) {
        let last = -1
        const newest = new Map<string, number>()
        for await (const { offset, key, value } of home.engine.reader({ topic }).records()) {
          expect(offset).toBeGreaterThan(last)
          last = offset
          newest.set(text(key) ?? '', Number(text(value)?.trim()))
        }
        found = newest.size
        await sleep(1)
        using lookup = await home.engine.lookup(topic)
        const end = lookup.latest(0)
        for (let i = 0; i < 20 && end > 0; i++) {
          const offset = Math.floor((i * end) / 20)
          expect(lookup.byOffset(0, offset)?.offset ?? end).toBeGreaterThanOrEqual(offset)
        }
      }
      return found
    })()
    const compacting = (async () => {
      let removed = 0
      while (!isDone) {
        removed += (await home.engine.admin.applyCompaction({ force: true })).removedRecords
        await sleep(1)
      }
      return removed
    })()
    for (let i = 0; i < count; i++) {
      const sent = producer.send({
        topic,
        messages: [{ key: `${(i * 7) % 97}`, value: `${i}`.padEnd(60), partition: 0 }],
      })
      if (i % 20 === 0) await sent
    }
    await producer.flush()
    expect((await follower).size).toBe(97)
    isDone = true
    expect(await passes).toBe(97)
    expect(await compacting).toBeGreaterThan(count / 2)
    const values = await read(topic)
    const newest = new Map(values.map(({ key, value }) => [key, Number(value?.trim())]))
    for (let i = count - 97; i < count; i++) expect(newest.get(`${(i * 7) % 97}`)).toBe(i)
  })

  test('one who comes back after several compactions reads what is there now', async () => {
    const random = new Random(testSeed())
    const topic = await home.topic(1, COMPACT)
    await using producer = await home.engine.producer({ batchBytes: 1_024 })
    const last = new Map<string, string>()
    for (let round = 0; round < 25; round++) {
      const messages = Array.from({ length: random.between(1, 300) }, (_, i) => {
        const [key, value] = [`key-${random.below(100)}`, `${round} ${i}`.padEnd(random.below(80))]
        last.set(key, value)
        return { key, value, partition: 0 }
      })
      await producer.send({ topic, messages })
      // Files, and their places in the segment table, are used again: a reader that has missed that takes one for another.
      await home.engine.admin.applyCompaction({ force: true })
      if (random.below(3) > 0) continue
      const kept = await read(topic)
      expect(new Map(kept.map(({ key, value }) => [key, value]))).toEqual(last)
    }
  })

  test('views that were read before stay as they are', async () => {
    const topic = await home.topic(1, COMPACT)
    await using producer = await home.engine.producer()
    for (let i = 0; i < 100; i++)
      await producer.send({ topic, messages: [{ key: `${i % 5}`, value: `${i}`.padEnd(1_000), partition: 0 }] })
    const views: Uint8Array[] = []
    for await (const { value } of home.engine.reader({ topic }).records()) if (value !== null) views.push(value)
    await compact(topic)
    expect(views.map(view => Number(text(view)))).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })

  test('a topic that is deleted meanwhile is gone', async () => {
    for (let round = 0; round < 5; round++) {
      const topic = await home.topic(1, COMPACT)
      {
        await using producer = await home.engine.producer()
        for (let i = 0; i < 100; i++)
          await producer.send({ topic, messages: [{ key: `${i % 5}`, value: Buffer.alloc(1_000), partition: 0 }] })
      }
      const compacting = home.engine.admin.applyCompaction({ force: true })
      await sleep(round)
      await home.engine.admin.deleteTopic(topic)
      await compacting
      expect(existsSync(home.partitionDirectory(topic))).toBe(false)
    }
  })
})

describe('records without a key', () => {
  test('are refused, also in a batch that was made elsewhere', async () => {
    const topic = await home.topic(1, COMPACT)
    await using producer = await home.engine.producer()
    await expect(producer.send({ topic, messages: [{ value: 'x', partition: 0 }] })).rejects.toThrow('INVALID_RECORD')
    const appender = await producer.appender(topic, 0)
    appender.tryAppendBatch(encodeBatch([{ timestamp: 1, value: Buffer.from('x') }], { codec: 'gzip' }))
    await expect(producer.flush()).rejects.toThrow('INVALID_RECORD')
    await producer.send({ topic, messages: [{ key: 'k', value: 'x', partition: 0 }] })
    expect(await read(topic)).toHaveLength(1)
  })

  test('from the time before a topic was compacted go', async () => {
    const topic = await home.topic(1, { ...COMPACT, 'cleanup.policy': 'delete' })
    {
      await using producer = await home.engine.producer()
      await producer.send({ topic, messages: [{ value: 'no key', partition: 0 }] })
      await producer.send({ topic, messages: [{ key: 'k', value: 'x', partition: 0 }] })
    }
    await home.engine.admin.alterConfig(topic, { 'cleanup.policy': 'compact' })
    await compact(topic)
    expect(others(await read(topic)).map(({ value }) => value)).toEqual(['x'])
    expect(existsSync(join(home.partitionDirectory(topic), 'cleaning'))).toBe(false)
  })
})
