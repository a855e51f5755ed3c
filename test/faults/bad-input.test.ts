/**
 * Bad input through the public API, and bad directories: each is refused with a typed error whose text says what to do, and leaves
 * everything as it was: what was written before is there, and the next good call works.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ERRORS, type ErrorCode, encodeBatch, isMillraceError, Millrace, type Producer } from '../../client/index.ts'
import { textKey } from '../../engine/store/keys.ts'
import type { AppendPlan } from './programs/appender.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'

let directory: string
let engine: Millrace
let producer: Producer

/** Something of the wrong type, as a caller in JavaScript hands it over. */
const wrong = (value: unknown): never => value as never

/** The call has to fail with this code, in so many words. */
async function refused(call: () => unknown, ...codes: readonly ErrorCode[]): Promise<void> {
  let error: unknown
  try {
    await call()
  } catch (thrown) {
    error = thrown
  }
  if (!isMillraceError(error)) throw new Error(`not refused, or not by us: ${error} for ${call}`)
  expect(codes, `${error.message} for ${call}`).toContain(error.code)
  expect(error.message.startsWith(`${error.code}: ${ERRORS[error.code].summary}`)).toBe(true)
  expect(error.message).toContain(ERRORS[error.code].advice)
}

async function values(topic: string): Promise<string[]> {
  const found: string[] = []
  for await (const batch of engine.reader({ topic })) {
    for (const { value } of batch) found.push(value === null ? 'null' : Buffer.from(value).toString())
  }
  return found
}

const root = mkdtempSync(join(tmpdir(), 'millrace-input-'))
beforeAll(async () => {
  directory = join(root, 'data')
  engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
})

beforeEach(async () => {
  await engine.admin.createTopic({ topic: 'good', partitions: 1, config: { 'max.message.bytes': 20_000 } })
  producer = await engine.producer({ batchBytes: 4_096, bufferBytes: 65_536 })
  await producer.send({ topic: 'good', messages: [{ value: 'before' }] })
})

// Whatever was refused, what was there is there, and appends go on.
afterEach(async () => {
  await producer.send({ topic: 'good', messages: [{ value: 'after' }] })
  await producer.close()
  expect(await values('good')).toEqual(['before', 'after'])
  expect((await engine.admin.describeTopic('good')).partitions.map(({ error }) => error)).toEqual([undefined])
  await engine.admin.deleteTopic('good')
})

// It outlives a reopening as well.
afterAll(async () => {
  await engine.admin.createTopic({ topic: 'good' })
  producer = await engine.producer()
  await producer.send({ topic: 'good', messages: [{ value: 'last' }] })
  await engine.close()
  engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
  expect(await engine.admin.listTopics()).toEqual(['good'])
  expect(await values('good')).toEqual(['last'])
  await engine.close()
  rmSync(root, { recursive: true, force: true })
})

describe('topics', () => {
  test('names that are no names', async () => {
    const names = [
      '',
      '.',
      '..',
      '../evil',
      'a/b',
      'a\\b',
      'a b',
      'ä',
      'a\0b',
      'a\nb',
      '/',
      'x'.repeat(250),
      'x'.repeat(100_000),
    ]
    const before = readdirSync(directory).sort()
    for (const topic of names) await refused(() => engine.admin.createTopic({ topic }), 'INVALID_TOPIC_NAME')
    for (const topic of [undefined, null, 7, {}, ['a']]) {
      await refused(() => engine.admin.createTopic({ topic: wrong(topic) }), 'INVALID_TOPIC_NAME', 'INVALID_ARGUMENT')
    }
    expect(readdirSync(directory).sort()).toEqual(before)
    expect(await engine.admin.listTopics()).toEqual(['good'])
  })

  test('names that look like trouble and are none', async () => {
    const names = ['x'.repeat(249), '...', '__proto__', 'constructor', 'a-1', 'control', 'store', '-delete']
    for (const topic of names) {
      await engine.admin.createTopic({ topic, partitions: 2 })
      await producer.send({ topic, messages: [{ value: topic, partition: 1 }] })
      expect(await values(topic)).toEqual([topic])
    }
    expect(await engine.admin.listTopics()).toEqual([...names, 'good'].sort())
    await engine.close()
    engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
    producer = await engine.producer()
    for (const topic of names) expect(await values(topic)).toEqual([topic])
    for (const topic of names) await engine.admin.deleteTopic(topic)
  })

  test('that are not there', async () => {
    const unknown: ErrorCode = 'UNKNOWN_TOPIC_OR_PARTITION'
    for (const topic of ['none', '', '..', '__proto__', 'x'.repeat(10_000)]) {
      await refused(() => producer.send({ topic, messages: [{ value: '' }] }), unknown)
      await refused(() => producer.appender(topic), unknown)
      await refused(() => values(topic), unknown)
      await refused(() => engine.lookup(topic), unknown)
      await refused(() => engine.admin.describeTopic(topic), unknown)
      await refused(() => engine.admin.deleteTopic(topic), unknown)
      await refused(() => engine.admin.createPartitions(topic, 3), unknown)
      await refused(() => engine.admin.alterConfig(topic, { 'retention.ms': 1 }), unknown)
      await refused(() => engine.admin.deleteRecords(topic, 0, 0), unknown)
    }
    for (const partition of [1, -1, 0.5, Number.NaN, 1e9, wrong('0x')]) {
      const codes: ErrorCode[] = [unknown, 'INVALID_ARGUMENT']
      await refused(() => producer.send({ topic: 'good', messages: [{ value: '', partition }] }), ...codes)
      await refused(() => producer.appender('good', partition), ...codes)
      await refused(
        async () => {
          for await (const _ of engine.reader({ topic: 'good', partitions: [partition] })) expect.unreachable()
        },
        ...codes,
      )
      const lookup = await engine.lookup('good')
      await refused(() => lookup.byOffset(partition, 0), ...codes)
      await refused(() => lookup.byTimestamp(partition, 0), ...codes)
      await refused(() => lookup.latest(partition), ...codes)
      lookup.close()
      await refused(() => engine.admin.deleteRecords('good', partition, 0), ...codes)
    }
  })

  test('numbers of partitions and configurations', async () => {
    for (const partitions of [0, -1, 1.5, 10_001, Number.NaN, Number.POSITIVE_INFINITY, wrong('3'), wrong(null)]) {
      await refused(
        () => engine.admin.createTopic({ topic: 't', partitions }),
        'INVALID_PARTITIONS',
        'INVALID_ARGUMENT',
      )
      await refused(() => engine.admin.createPartitions('good', partitions), 'INVALID_PARTITIONS', 'INVALID_ARGUMENT')
    }
    await refused(() => engine.admin.createPartitions('good', 1), 'INVALID_PARTITIONS')
    await refused(() => engine.admin.createTopic({ topic: 'good' }), 'TOPIC_ALREADY_EXISTS')
    const configs: readonly Record<string, string | number>[] = [
      { 'no.such.key': 1 },
      { 'segment.bytes': 1 },
      { 'segment.bytes': 2 ** 31 },
      { 'segment.bytes': '16kb' },
      { 'retention.ms': -2 },
      { 'retention.ms': 1.5 },
      { 'cleanup.policy': 'burn' },
      { 'segment.ms': '' },
      { toString: 1 },
      { 'flush.messages': wrong(null) },
      { 'flush.messages': wrong({}) },
    ]
    for (const config of configs)
      await refused(() => engine.admin.createTopic({ topic: 't', config }), 'INVALID_CONFIG')
    for (const config of configs.slice(0, -2))
      await refused(() => engine.admin.alterConfig('good', config), 'INVALID_CONFIG')
    expect(await engine.admin.listTopics()).toEqual(['good'])
  })
})

describe('records', () => {
  test('that are too large', async () => {
    const large = Buffer.alloc(20_001)
    await refused(() => producer.send({ topic: 'good', messages: [{ value: large }] }), 'RECORD_TOO_LARGE')
    await refused(() => producer.send({ topic: 'good', messages: [{ value: '', key: large }] }), 'RECORD_TOO_LARGE')
    const headers = { h: large }
    await refused(() => producer.send({ topic: 'good', messages: [{ value: '', headers }] }), 'RECORD_TOO_LARGE')
    const appender = await producer.appender('good')
    await refused(() => appender.tryAppend(large), 'RECORD_TOO_LARGE')
    await refused(() => appender.tryAppend(Buffer.alloc(5_000_000)), 'RECORD_TOO_LARGE')
    const batch = encodeBatch([{ timestamp: 1, value: large }])
    await refused(() => appender.tryAppendBatch(batch), 'RECORD_TOO_LARGE')
    await refused(() => appender.tryAppendBatch(batch.bytes), 'RECORD_TOO_LARGE')
    const small = await engine.producer({ batchBytes: 1_024, bufferBytes: 2_048 })
    await refused(() => small.send({ topic: 'good', messages: [{ value: Buffer.alloc(4_000) }] }), 'RECORD_TOO_LARGE')
    await small.close()
  })

  test('of the wrong shape', async () => {
    for (const value of [undefined, 7, {}, [1], true, Symbol.iterator]) {
      await refused(() => producer.send({ topic: 'good', messages: [{ value: wrong(value) }] }), 'INVALID_ARGUMENT')
      if (value === undefined) continue
      await refused(
        () => producer.send({ topic: 'good', messages: [{ value: '', key: wrong(value) }] }),
        'INVALID_ARGUMENT',
      )
    }
    for (const message of [null, 'text', 7]) {
      await refused(() => producer.send({ topic: 'good', messages: [wrong(message)] }), 'INVALID_ARGUMENT')
    }
    for (const messages of [undefined, null, 'text', {}]) {
      await refused(() => producer.send({ topic: 'good', messages: wrong(messages) }), 'INVALID_ARGUMENT')
    }
    for (const headers of ['text', 7, { h: 5 }, [{ key: 5, value: null }], [null]]) {
      await refused(
        () => producer.send({ topic: 'good', messages: [{ value: '', headers: wrong(headers) }] }),
        'INVALID_ARGUMENT',
      )
    }
    for (const acks of [2, -1, 'most']) {
      await refused(
        () => producer.send({ topic: 'good', messages: [{ value: '' }], acks: wrong(acks) }),
        'INVALID_ARGUMENT',
      )
    }
  })

  test('with a time that is none', async () => {
    const times = [Number.NaN, Number.POSITIVE_INFINITY, 1.5, -2, 2 ** 53, wrong('5'), wrong(5n)]
    const appender = await producer.appender('good')
    for (const timestamp of times) {
      await refused(() => producer.send({ topic: 'good', messages: [{ value: '', timestamp }] }), 'INVALID_ARGUMENT')
      if (typeof timestamp === 'number') {
        await refused(() => appender.tryAppend(Buffer.alloc(1), null, timestamp), 'INVALID_ARGUMENT')
      }
    }
  })

  test('in batches that are none', async () => {
    const { bytes } = encodeBatch([{ timestamp: 1, value: Buffer.from('sound') }])
    const appender = await producer.appender('good')
    const damaged = (at: number, value: number): Buffer => {
      const copy = Buffer.from(bytes)
      copy[at] = value
      return copy
    }
    const bad = [
      Buffer.alloc(0),
      Buffer.alloc(100),
      bytes.subarray(0, bytes.length - 1),
      Buffer.concat([bytes, bytes]),
      damaged(16, 1),
      damaged(8, 0x7f),
      damaged(8, 0xff),
    ]
    for (const batch of bad) await refused(() => appender.tryAppendBatch(batch), 'CORRUPT_BATCH', 'RECORD_TOO_LARGE')
    // What only the checksum tells is noticed by the writer.
    expect(appender.tryAppendBatch(damaged(bytes.length - 2, 0x55))).toBe(true)
    await refused(() => producer.flush(), 'CORRUPT_BATCH')
    await producer.flush()
  })
})

describe('reading', () => {
  test('outside of the log', async () => {
    const read = async (from: unknown): Promise<void> => {
      for await (const _ of engine.reader({ topic: 'good', from: wrong(from), to: { offset: 1 } })) expect.unreachable()
    }
    for (const offset of [2, -1, 2 ** 52])
      await refused(() => read({ offset }), 'OFFSET_OUT_OF_RANGE', 'INVALID_ARGUMENT')
    for (const offset of [0.5, Number.NaN, '0', null]) await refused(() => read({ offset }), 'INVALID_ARGUMENT')
    for (const from of ['middle', {}, 7]) await refused(() => read(from), 'INVALID_ARGUMENT')
    await refused(() => engine.reader({ topic: 'good', maxBytes: 0 }), 'INVALID_ARGUMENT')
    const lookup = await engine.lookup('good')
    for (const offset of [2, -1, 2 ** 60])
      await refused(() => lookup.byOffset(0, offset), 'OFFSET_OUT_OF_RANGE', 'INVALID_ARGUMENT')
    for (const offset of [0.5, Number.NaN, wrong('0')]) {
      await refused(() => lookup.byOffset(0, offset), 'OFFSET_OUT_OF_RANGE', 'INVALID_ARGUMENT')
    }
    lookup.close()
    for (const before of [2, -2, 0.5, Number.NaN, wrong('0')]) {
      await refused(() => engine.admin.deleteRecords('good', 0, before), 'OFFSET_OUT_OF_RANGE', 'INVALID_ARGUMENT')
    }
  })
})

describe('options', () => {
  test('of producers', async () => {
    const options = [
      { acks: 3 },
      { lingerMs: -1 },
      { batchBytes: 1 },
      { batchBytes: 2 ** 40 },
      { bufferBytes: 10 },
      { bufferBytes: Number.NaN },
      { deliveryTimeoutMs: 0 },
      { lingerMs: '5' },
    ]
    for (const option of options) await refused(() => engine.producer(wrong(option)), 'INVALID_ARGUMENT')
    await refused(() => engine.producer({ compression: wrong('brotli') }), 'UNSUPPORTED_COMPRESSION')
    expect(engine.statistics().producers).toBe(1)
  })

  test('of engines', async () => {
    const fresh = join(temporaryDirectory('input'), 'fresh')
    for (const option of [
      { writers: 0 },
      { writers: 65 },
      { writers: 1.5 },
      { checkpointMs: 0 },
      { jobThreads: '2' },
    ]) {
      await refused(() => Millrace.open(fresh, wrong(option)), 'INVALID_ARGUMENT')
    }
  })
})

describe('what was closed', () => {
  test('refuses every further call', async () => {
    const closed = await engine.producer()
    const appender = await closed.appender('good')
    await closed.close()
    await closed.close()
    await refused(() => closed.send({ topic: 'good', messages: [{ value: '' }] }), 'CLOSED')
    await refused(() => closed.flush(), 'CLOSED')
    await refused(() => closed.ready(), 'CLOSED')
    await refused(() => closed.waitReady(), 'CLOSED')
    await refused(() => closed.appender('good'), 'CLOSED')
    await refused(() => appender.tryAppend(Buffer.alloc(1)), 'CLOSED')
    await refused(() => appender.tryAppendBatch(encodeBatch([{ timestamp: 1, value: null }])), 'CLOSED')
  })
})

describe('directories', () => {
  const snapshot = (path: string): Record<string, string> => {
    const files: Record<string, string> = {}
    for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' }).sort()) {
      const stat = statSync(join(path, name))
      if (stat.isFile() && !name.endsWith('lock.mdb'))
        files[name] = `${stat.mtimeMs} ${readFileSync(join(path, name)).toString('base64')}`
    }
    return files
  }

  test('in use, by this process or another', { timeout: 30_000 }, async () => {
    await refused(() => Millrace.open(directory), 'DIRECTORY_LOCKED')
    const folder = temporaryDirectory('input')
    const other = join(folder, 'data')
    const plan: AppendPlan = {
      directory: other,
      ackPath: join(folder, 'acks'),
      run: 0,
      seed: 1,
      topics: ['plain'],
      closeAfterMs: 500,
    }
    const child = new Child('appender.ts', plan)
    await child.line(/^ready$/)
    await refused(() => Millrace.open(other), 'DIRECTORY_LOCKED')
    expect(await child.exit(), child.output).toMatchObject({ code: 0, signal: null })
    await (await Millrace.open(other, { writers: 1 })).close()
  })

  test('of a newer format are refused and left as they are', async () => {
    const newer = join(temporaryDirectory('input'), 'newer')
    await (await Millrace.open(newer, { writers: 1 })).close()
    const root = openLmdb<string, Buffer>({
      path: join(newer, 'store'),
      overlappingSync: false,
      keyEncoding: 'binary',
      encoding: 'string',
    })
    const meta = root.openDB<string, Buffer>({ name: 'meta', encoding: 'string', keyEncoding: 'binary' })
    meta.transactionSync(() => meta.putSync(textKey('fact', 'format'), '99'))
    await root.close()
    const before = snapshot(newer)
    await refused(() => Millrace.open(newer), 'NEWER_FORMAT')
    await refused(() => Millrace.open(newer, { readOnly: true }), 'NEWER_FORMAT')
    expect(snapshot(newer)).toEqual(before)
  })

  test('that are damaged, or no directories', async () => {
    const folder = temporaryDirectory('input')
    const file = join(folder, 'file')
    writeFileSync(file, 'text')
    for (const path of [file, join(file, 'below')]) {
      await refused(() => Millrace.open(path), 'IO_ERROR', 'DIRECTORY_NOT_FOUND')
      await refused(() => Millrace.open(path, { readOnly: true }), 'IO_ERROR', 'DIRECTORY_NOT_FOUND')
    }
    expect(readFileSync(file, 'utf8')).toBe('text')
    await refused(() => Millrace.open(join(folder, 'none'), { readOnly: true }), 'DIRECTORY_NOT_FOUND')
    expect(readdirSync(folder)).toEqual(['file'])
    for (const path of ['', 'a\0b', wrong(undefined), wrong(7)]) {
      await refused(() => Millrace.open(path), 'INVALID_ARGUMENT', 'IO_ERROR', 'DIRECTORY_NOT_FOUND')
    }
    const damaged = join(folder, 'damaged')
    mkdirSync(join(damaged, 'store'), { recursive: true })
    writeFileSync(join(damaged, 'store', 'data.mdb'), Buffer.alloc(20_000, 'no database'))
    await refused(() => Millrace.open(damaged), 'CORRUPT_STORE')
    expect(
      readFileSync(join(damaged, 'store', 'data.mdb'))
        .subarray(0, 11)
        .toString(),
    ).toBe('no database')
  })
})
