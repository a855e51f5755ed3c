/**
 * Fills a small disk through the engine and beside it, and demands at each step what a service would see: typed errors, reading
 * that goes on, appends that work again by themselves once there is room. Runs as a process of its own because the fault that
 * it guards against, a store into a mapped page without a disk block, ends the process.
 */
import assert from 'node:assert/strict'
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { isMillraceError, Millrace, type Producer } from '../../../client/index.ts'
import { AckLog } from '../support/ack-log.ts'
import { faultOf, keyOf, recordOf, streamOf } from '../support/records.ts'
import { pause, Streams } from './streams.ts'

export interface FullDiskPlan {
  /** The small disk. */
  readonly mount: string
  readonly ackPath: string
  readonly run: number
  readonly scenario: string
  readonly durable: boolean
}

const plan = JSON.parse(process.argv[2] as string) as FullDiskPlan
const log = new AckLog(plan.ackPath)
const streams = new Streams(log, plan.run)
const directory = join(plan.mount, 'data')
const config = {
  'segment.bytes': 2 * 1024 * 1024,
  'index.interval.bytes': 256,
  'retention.ms': -1,
  'flush.messages': plan.durable ? 1 : 1_000_000,
}
const warnings: string[] = []
const BATCH = 400
/** How long the engine may take to notice that there is room again; below the caller's minute, on a busy machine as well. */
const BACK_MS = 15_000
/** More files than the disk takes behind them: each segment may still lack both indexes when it is full. */
const BALLAST_FILES = 160

const ballast = join(plan.mount, 'ballast')
mkdirSync(ballast, { recursive: true })

/** Fills the disk to the last byte. */
function fill(): void {
  for (const bytes of [1024 * 1024, 4096, 512, 1]) {
    const fd = openSync(join(ballast, `${bytes}`), 'a')
    const chunk = Buffer.alloc(bytes, 1)
    try {
      for (;;) writeSync(fd, chunk)
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
    try {
      fsyncSync(fd)
    } catch {
      // what could not be written is not there, which is what a full disk is
    }
    closeSync(fd)
  }
}

function makeRoom(): void {
  for (const name of readdirSync(ballast)) rmSync(join(ballast, name))
}

function open(): Promise<Millrace> {
  return Millrace.open(
    directory,
    { writers: 1, jobThreads: 1, checkpointMs: 50, requestTimeoutMs: 10_000 },
    {
      warning: error => warnings.push(error.code),
      partitionFailed: ({ topic, partition }, error) =>
        log.write(`event partition-failed ${topic}/${partition} ${error.message}`),
    },
  )
}

async function createTopic(engine: Millrace, topic: string, partitions = 1): Promise<void> {
  await engine.admin.createTopic({ topic, partitions, config })
  log.write(`created ${topic}`)
}

const nameOf = (topic: string): string => streamOf({ run: plan.run, producer: 'send', topic, partition: 0 })
const send = (producer: Producer, topic: string): Promise<string | undefined> =>
  streams.send(producer, nameOf(topic), topic, 0, BATCH)

/** Sends until the disk is full, and then some more: each of those has to fail in the same way. */
async function sendUntilFull(producer: Producer, topic: string): Promise<void> {
  let code: string | undefined
  for (let i = 0; i < 3_000 && code === undefined; i++) code = await send(producer, topic)
  assert.equal(code, 'DISK_FULL')
  for (let i = 0; i < 5; i++) {
    const again = await send(producer, topic) // a smaller rest may still fit
    if (again !== undefined) assert.equal(again, 'DISK_FULL')
  }
}

async function sendUntilItWorks(producer: Producer, topic: string, sends = 20): Promise<void> {
  const endMs = performance.now() + BACK_MS
  let code = await send(producer, topic)
  while (code !== undefined) {
    assert.equal(code, 'DISK_FULL')
    assert.ok(performance.now() < endMs, `appends did not go on within ${BACK_MS} ms after there was room`)
    await pause(20)
    code = await send(producer, topic)
  }
  for (let i = 0; i < sends; i++) assert.equal(await send(producer, topic), undefined)
}

/**
 * The same where the engine makes the room: files go one by one, as the indexer lets go of them, so a send may meet the full
 * disk once more. In the end that many in a row have to work.
 */
async function sendUntilItGoesOn(producer: Producer, topic: string, sends = 20): Promise<void> {
  const endMs = performance.now() + BACK_MS
  for (let inARow = 0; inARow <= sends; ) {
    const code = await send(producer, topic)
    inARow = code === undefined ? inARow + 1 : 0
    if (code === undefined) continue
    assert.equal(code, 'DISK_FULL')
    assert.ok(performance.now() < endMs, `appends did not go on within ${BACK_MS} ms after room was made`)
    await pause(20)
  }
}

/** Reads everything from the start, and looks some of it up. */
async function readAll(engine: Millrace, topic: string): Promise<number> {
  let next = 0
  const lookup = await engine.lookup(topic)
  for await (const batch of engine.reader({ topic })) {
    for (const record of batch) {
      assert.equal(record.offset, next++)
      assert.equal(faultOf(record), undefined)
    }
    const found = lookup.byOffset(0, batch.lastOffset)
    assert.equal(found?.offset, batch.lastOffset)
  }
  assert.ok(next <= lookup.latest(0)) // a batch of a send that failed may have become durable meanwhile
  lookup.close()
  return next
}

/** Retention stands back while the indexer is at work, and comes again by itself: then a later call has nothing to do. */
async function retainLess(engine: Millrace): Promise<void> {
  const logStart = async (): Promise<number> =>
    (await engine.admin.describeTopic('events')).partitions[0]?.logStartOffset as number
  const before = await logStart()
  const endMs = performance.now() + BACK_MS
  await engine.admin.applyRetention()
  while ((await logStart()) === before) {
    assert.ok(performance.now() < endMs, `retention removed nothing within ${BACK_MS} ms`)
    await pause(10)
  }
}

async function rejection(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    assert.ok(isMillraceError(error), String(error))
    return error.code
  }
  return 'none'
}

const scenarios: Record<string, () => Promise<void>> = {
  /** Appends fill the disk; a file that has nothing to do with the engine is deleted. */
  async append() {
    const engine = await open()
    await createTopic(engine, 'events')
    const producer = await engine.producer()
    const fd = openSync(join(ballast, 'some'), 'w')
    for (let i = 0; i < 8; i++) writeSync(fd, Buffer.alloc(1024 * 1024, 1))
    closeSync(fd)
    await sendUntilFull(producer, 'events')
    assert.ok((await readAll(engine, 'events')) > 0)
    makeRoom()
    await sendUntilItWorks(producer, 'events')
    await readAll(engine, 'events')
    await engine.close()
  },

  /** The synchronous path says it on flush. */
  async 'hot path'() {
    const engine = await open()
    await createTopic(engine, 'events')
    const producer = await engine.producer()
    const appender = await producer.appender('events', 0)
    const stream = nameOf('events')
    let code = 'none'
    fill()
    for (let burst = 0; burst < 3_000 && code === 'none'; burst++) {
      const first = streams.take(stream, BATCH)
      for (let number = first; number < first + BATCH; ) {
        const { key, value, timestamp } = recordOf(keyOf(stream, number))
        if (appender.tryAppend(value, Buffer.from(key), timestamp)) number += 1
        else await producer.ready()
      }
      code = await rejection(producer.flush())
      if (code === 'none') log.ack(stream, first, first + BATCH, -1)
      else log.write(`failed ${stream} ${first} ${first + BATCH} ${code}`)
    }
    assert.equal(code, 'DISK_FULL')
    makeRoom()
    await sendUntilItWorks(producer, 'events')
    await engine.close()
  },

  /** The engine's own means make room: deleting records, a smaller retention, deleting a topic. */
  async 'own means'() {
    const engine = await open()
    const producer = await engine.producer()
    await createTopic(engine, 'events')
    await sendUntilFull(producer, 'events')
    const { highWatermark } = (await engine.admin.describeTopic('events')).partitions[0] as { highWatermark: number }
    log.write(`trim events 0 ${highWatermark >> 1}`)
    await engine.admin.deleteRecords('events', 0, highWatermark >> 1)
    log.write(`trimmed events 0 ${highWatermark >> 1}`)
    await sendUntilItGoesOn(producer, 'events')

    await sendUntilFull(producer, 'events')
    log.write(`trim events 0 ${Number.MAX_SAFE_INTEGER}`)
    await engine.admin.alterConfig('events', { 'retention.bytes': 4 * 1024 * 1024 })
    await retainLess(engine)
    await engine.admin.alterConfig('events', { 'retention.bytes': -1 })
    await sendUntilItGoesOn(producer, 'events')

    await createTopic(engine, 'others')
    await sendUntilFull(producer, 'others')
    fill()
    log.write('dropping events')
    await engine.admin.deleteTopic('events')
    log.write('dropped events')
    await sendUntilItGoesOn(producer, 'others')
    await engine.close()
  },

  /** Topics and partitions are created wholly or not at all. */
  async create() {
    const engine = await open()
    await createTopic(engine, 'events')
    const producer = await engine.producer()
    assert.equal(await send(producer, 'events'), undefined)
    fill()
    const code = await rejection(engine.admin.createTopic({ topic: 'later', partitions: 40, config }))
    assert.ok(code === 'DISK_FULL' || code === 'none', code)
    if (code === 'DISK_FULL') {
      assert.deepEqual(await engine.admin.listTopics(), ['events'])
      assert.equal(
        await rejection(producer.send({ topic: 'later', messages: [{ value: '' }] })),
        'UNKNOWN_TOPIC_OR_PARTITION',
      )
    }
    const more = await rejection(engine.admin.createPartitions('events', 40))
    assert.ok(more === 'DISK_FULL' || more === 'none', more)
    console.log(`create: ${code}, ${more}`)
    makeRoom()
    if (code === 'DISK_FULL') await createTopic(engine, 'later', 40)
    if (more === 'DISK_FULL') await engine.admin.createPartitions('events', 40)
    assert.equal((await engine.admin.describeTopic('events')).partitions.length, 40)
    assert.equal((await engine.admin.describeTopic('later')).partitions.length, 40)
    assert.equal(await send(producer, 'later'), undefined)
    assert.equal(await send(producer, 'events'), undefined)
    await engine.close()
  },

  /** No room for index entries is a warning; look-ups stay right and the entries come later. */
  async index() {
    const engine = await open()
    await createTopic(engine, 'events')
    const producer = await engine.producer()
    for (let i = 0; i < 10; i++) assert.equal(await send(producer, 'events'), undefined)
    fill()
    await sendUntilFull(producer, 'events')
    await pause(100)
    await readAll(engine, 'events')
    assert.ok(
      warnings.every(code => code === 'DISK_FULL'),
      String(warnings),
    )
    console.log(`index: ${warnings.length} warnings`)
    makeRoom()
    await sendUntilItWorks(producer, 'events')
    await readAll(engine, 'events')
    await engine.close()
  },

  /** The engine closes on a full disk, and opens on one or says that it cannot. */
  async close() {
    const engine = await open()
    await createTopic(engine, 'events')
    const producer = await engine.producer()
    for (let i = 0; i < 10; i++) assert.equal(await send(producer, 'events'), undefined)
    fill()
    await sendUntilFull(producer, 'events')
    fill()
    const closed = await rejection(engine.close())
    assert.ok(closed === 'DISK_FULL' || closed === 'none', closed)
    await openWhileFull('close')
  },

  /** The process dies on a full disk; its successor is the scenario below. */
  async crash() {
    const engine = await open()
    await createTopic(engine, 'events')
    const producer = await engine.producer()
    for (let i = 0; i < 10; i++) assert.equal(await send(producer, 'events'), undefined)
    fill()
    await sendUntilFull(producer, 'events')
    process.kill(process.pid, 'SIGKILL')
  },

  /** Recovery meets the full disk. */
  async recovery() {
    await openWhileFull('recovery')
  },

  /** No room for another file: rolling fails, as does the index of a new segment. */
  async files() {
    const engine = await open()
    await engine.admin.createTopic({ topic: 'events', config: { ...config, 'segment.bytes': 65_536 } })
    log.write('created events')
    const producer = await engine.producer()
    for (let i = 0; i < BALLAST_FILES; i++) closeSync(openSync(join(ballast, `file-${i}`), 'w'))
    await sendUntilFull(producer, 'events')
    await readAll(engine, 'events')
    assert.equal(await rejection(engine.admin.createTopic({ topic: 'later' })), 'DISK_FULL')
    assert.deepEqual(await engine.admin.listTopics(), ['events'])
    makeRoom()
    await sendUntilItWorks(producer, 'events', 3)
    await engine.admin.createTopic({ topic: 'later' })
    await readAll(engine, 'events')
    await engine.close()
  },
}

/**
 * Opens the directory on the full disk. If that works, a partition that could not be recovered comes back once there is room; else
 * the next opening works then.
 */
async function openWhileFull(name: string): Promise<void> {
  let engine: Millrace
  try {
    engine = await open()
    const { error } = (await engine.admin.describeTopic('events')).partitions[0] as { error?: string }
    console.log(`${name}: opened on a full disk, the partition has ${error ?? 'no error'}`)
    if (error !== undefined) assert.equal(error, 'DISK_FULL')
    makeRoom()
  } catch (error) {
    assert.ok(isMillraceError(error, 'DISK_FULL'), String(error))
    console.log(`${name}: ${error.message}`)
    makeRoom()
    engine = await open()
  }
  await sendUntilItWorks(await engine.producer(), 'events')
  await readAll(engine, 'events')
  await engine.close()
}

try {
  await (scenarios[plan.scenario] as () => Promise<void>)()
  console.log('done')
} catch (error) {
  console.log(error instanceof Error ? error.stack : error, warnings)
  process.exit(1)
}
