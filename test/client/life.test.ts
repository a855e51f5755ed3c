/** Opening, closing, statistics and events: what is refused, what is told, and that nothing is left behind. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type EngineOptions, Millrace } from '../../client/index.ts'
import { Child, killAll } from '../faults/support/child.ts'
import { EngineHome, MEDIUM, readValues, sleep, text } from './support/engine.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-life-'))
let directories = 0
const directory = (): string => join(root, `d${directories++}`)
const FEW = { writers: 1, jobThreads: 1 }

afterEach(killAll)
afterAll(() => rmSync(root, { recursive: true, force: true }))

const descriptors = (): number => readdirSync('/proc/self/fd').length
const threads = (): number => readdirSync('/proc/self/task').length

describe('open', () => {
  test('makes the directory, also in a folder that is not there yet, and leaves other things in it alone', async () => {
    const path = join(directory(), 'a', 'b')
    const notes = join(path, 'notes')
    mkdirSync(notes, { recursive: true })
    writeFileSync(join(notes, 'file'), 'mine')
    await using engine = await Millrace.open(path, FEW)
    expect(engine.directory).toBe(path)
    expect(await engine.admin.listTopics()).toEqual([])
    expect(readdirSync(notes)).toEqual(['file'])
  })

  test('a second owner is told who is in the way; after close it may', async () => {
    const path = join(directory(), 'not', 'there')
    const first = await Millrace.open(path, FEW)
    await first.admin.createTopic({ topic: 't', config: MEDIUM })
    await expect(Millrace.open(path, FEW)).rejects.toMatchObject({
      code: 'DIRECTORY_LOCKED',
      details: { directory: path },
    })
    expect(await first.admin.listTopics()).toEqual(['t']) // the first goes on
    await first.close()
    await using second = await Millrace.open(path, FEW)
    expect(await second.admin.listTopics()).toEqual(['t'])
  })

  test('a file in the place of the directory', async () => {
    const path = directory()
    writeFileSync(path, 'a file')
    await expect(Millrace.open(path, FEW)).rejects.toMatchObject({ code: 'IO_ERROR' })
  })

  test.for<EngineOptions>([
    { writers: 0 },
    { writers: 65 },
    { writers: 1.5 },
    { jobThreads: 0 },
    { retentionCheckMs: 1 },
    { checkpointMs: 2 ** 31 },
    { requestTimeoutMs: Number.NaN },
  ])('options out of range: %o', async options => {
    const path = directory()
    await expect(Millrace.open(path, options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(readdirSync(root)).not.toContain(path.slice(root.length + 1))
  })
})

describe('close', () => {
  test('leaves no thread, descriptor or mapping, however often', async () => {
    const path = directory()
    const first = await Millrace.open(path, FEW)
    await first.close()
    const [threadsBefore, descriptorsBefore] = [threads(), descriptors()]
    for (let life = 0; life < 3; life++) {
      const engine = await Millrace.open(path, FEW)
      const topic = `t${life}`
      await engine.admin.createTopic({ topic, partitions: 2, config: { 'segment.bytes': 16_384 } })
      const producer = await engine.producer()
      for (let i = 0; i < 40; i++) await producer.send({ topic, messages: [{ value: Buffer.alloc(1_000) }] })
      for await (const batch of engine.reader({ topic })) expect(batch.nextOffset).toBeGreaterThan(0)
      await engine.close()
    }
    expect(threads()).toBeLessThanOrEqual(threadsBefore)
    expect(descriptors()).toBeLessThanOrEqual(descriptorsBefore + 1)
  })

  test('a process whose engine is closed ends by itself', { timeout: 60_000 }, async () => {
    const path = directory()
    const child = new Child('../../client/programs/short-life.ts', { directory: path })
    expect(await child.exit(30_000), child.output).toEqual({ code: 0, signal: null, killed: false })
    expect(JSON.parse(child.lines.at(-1) as string)).toMatchObject({ following: 'CLOSED' })
    await using engine = await Millrace.open(path, FEW, {
      recovered: () => expect.unreachable('it was closed cleanly'),
    })
    const values = (await readValues(engine, 't')).flat()
    expect(values).toHaveLength(4 * 300 + 1)
    expect(values).toContain('from a thread')
  })

  test('twice is once, and afterwards everything is CLOSED', async () => {
    const path = directory()
    const engine = await Millrace.open(path, FEW)
    await engine.admin.createTopic({ topic: 't', config: MEDIUM })
    const producer = await engine.producer()
    await producer.send({ topic: 't', messages: [{ value: 'kept' }] })
    const lookup = await engine.lookup('t')
    const kept = lookup.byOffset(0, 0)
    const reader = engine.reader({ topic: 't', to: 'never' }).records()
    expect(text((await reader.next()).value?.value)).toBe('kept')
    const waiting = expect(reader.next()).rejects.toMatchObject({ code: 'CLOSED' })
    await Promise.all([engine.close(), engine.close()])
    await engine.close()
    await waiting
    const closed = { code: 'CLOSED' }
    await expect(engine.producer()).rejects.toMatchObject(closed)
    await expect(engine.lookup('t')).rejects.toMatchObject(closed)
    await expect(engine.admin.listTopics()).rejects.toMatchObject(closed)
    await expect(engine.admin.describeTopic('t')).rejects.toMatchObject(closed)
    await expect(engine.admin.createTopic({ topic: 'u' })).rejects.toMatchObject(closed)
    await expect(engine.admin.deleteTopic('t')).rejects.toMatchObject(closed)
    await expect(engine.admin.applyRetention()).rejects.toMatchObject(closed)
    await expect(engine.schemas.register('s', '"int"')).rejects.toMatchObject(closed)
    await expect(producer.send({ topic: 't', messages: [{ value: 'x' }] })).rejects.toMatchObject(closed)
    await expect(engine.reader({ topic: 't' }).records().next()).rejects.toMatchObject(closed)
    expect(() => engine.threadHandle()).toThrow('CLOSED')
    expect(() => lookup.byOffset(0, 0)).toThrow('CLOSED')
    expect(() => lookup.latest(0)).toThrow('CLOSED')
    expect(text(kept?.value)).toBe('kept') // what was read stays
  })

  test('waits for what was asked for before, and keeps it', async () => {
    const path = directory()
    const engine = await Millrace.open(path, FEW)
    const asked = [
      engine.admin.createTopic({ topic: 'asked', partitions: 2, config: MEDIUM }),
      engine.admin.alterConfig('asked', { 'retention.ms': 77 }),
    ]
    await engine.close()
    await Promise.all(asked)
    await using again = await Millrace.open(path, FEW)
    expect((await again.admin.describeTopic('asked')).config['retention.ms']).toBe('77')
  })

  test('await using closes, also when the block throws', async () => {
    const path = directory()
    const failing = async (): Promise<void> => {
      await using engine = await Millrace.open(path, FEW)
      await using producer = await engine.producer()
      await engine.admin.createTopic({ topic: 't', config: MEDIUM })
      void producer.send({ topic: 't', messages: [{ value: 'sent' }] })
      throw new Error('the block')
    }
    await expect(failing()).rejects.toThrow('the block')
    await using engine = await Millrace.open(path, FEW)
    expect(await readValues(engine, 't')).toEqual([['sent']])
  })
})

describe('statistics', () => {
  test('count topics, producers and mapped bytes', async () => {
    await using engine = await Millrace.open(directory(), FEW)
    expect(engine.statistics()).toMatchObject({ topics: 0, producers: 0 })
    await engine.admin.createTopic({ topic: 't', config: MEDIUM })
    const before = engine.statistics().mappedBytes
    const producer = await engine.producer({ bufferBytes: 2 ** 22 })
    const during = engine.statistics()
    expect(during).toMatchObject({ topics: 1, producers: 1 })
    expect(during.mappedBytes - before).toBe(2 ** 22) // a producer holds its slabs and no more
    await producer.close()
    expect(engine.statistics()).toMatchObject({ producers: 0, mappedBytes: before })
  })

  test('no more than 256 producers; listeners come and go', async () => {
    await using engine = await Millrace.open(directory(), FEW)
    const small = { batchBytes: 1_024, bufferBytes: 1_024 }
    const producers = await Promise.all(Array.from({ length: 256 }, () => engine.producer(small)))
    await expect(engine.producer()).rejects.toMatchObject({ code: 'TOO_MANY_PRODUCERS', retriable: true })
    await producers[7]?.close()
    await engine.producer(small)
    const listener = (): void => undefined
    expect(engine.on('warning', listener)).toBe(engine)
    expect(engine.off('warning', listener)).toBe(engine)
  })
})

describe('events', () => {
  test('a recovery that found nothing wrong says nothing; damage is told to those who listen from the start', async () => {
    const home = await EngineHome.open()
    const topic = await home.topic(1, { 'segment.bytes': 16_384 })
    await using producer = await home.engine.producer()
    for (let i = 0; i < 40; i++) await producer.send({ topic, messages: [{ value: `${i}`.padEnd(1_000) }] })
    await producer.close()
    await home.reopen()
    expect(home.faults).toEqual([])
    await home.engine.close()
    // A closed segment loses its end while nobody looks.
    const folder = home.partitionDirectory(topic)
    const [first] = readdirSync(folder)
      .filter(name => name.endsWith('.log'))
      .sort()
    writeFileSync(join(folder, first as string), Buffer.alloc(0))
    await home.reopen()
    expect(home.faults.join()).toContain('recovered')
    expect(home.faults.join()).toContain(first)
    home.faults.length = 0
    await sleep(0)
    await home.close()
  })
})
