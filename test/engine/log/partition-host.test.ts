/** What becomes of a producer's requests: exactly one completion each, in order, and the slabs back, whatever happens. */
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { BATCH, type BatchOptions, encodeBatch, type RecordInput } from '../../../engine/format/record-batch.ts'
import { type AttachedProducer, PartitionHost } from '../../../engine/log/partition-host.ts'
import {
  CHANNEL_CAPACITY,
  COMPLETION,
  channelBuffer,
  ERROR_CODES,
  ProducerEnd,
  REQUEST_FLAG,
  WriterEnd,
} from '../../../engine/memory/append-channel.ts'
import { Mapping } from '../../../engine/memory/mapping.ts'
import { SlabArena } from '../../../engine/memory/slab-arena.ts'
import { WAKE_CELL_BYTES, WakeCell } from '../../../engine/memory/wake-cell.ts'
import { EXPIRATION_MS, type FixtureOptions, PartitionFixture, START_MS } from './partition-fixture.ts'
import { temporaryDirectories } from './recovery-fixture.ts'

const directories = temporaryDirectories('partition-host')
let open: { close(): void }[] = []
afterEach(() => {
  for (const item of open) item.close()
  open = []
})
afterAll(() => directories.removeAll())

const SLAB_BYTES = 4_096
const SLAB_COUNT = 16

interface Completion {
  readonly id: number
  readonly code: string
  readonly baseOffset: number
  readonly detail: number
}

/** A producer's side: slabs and rings, without a thread. */
class TestProducer {
  readonly attached: AttachedProducer
  readonly arena: SlabArena
  readonly #end: ProducerEnd
  readonly #mapping = Mapping.anonymous(SLAB_BYTES * SLAB_COUNT)
  #nextId = 1

  constructor(id: number) {
    const states = new SharedArrayBuffer(SLAB_COUNT * 4)
    const { address } = this.#mapping
    this.arena = new SlabArena({ address, slabBytes: SLAB_BYTES, slabCount: SLAB_COUNT, states })
    const channel = channelBuffer()
    this.#end = new ProducerEnd(channel)
    const cell = new WakeCell(new Int32Array(new SharedArrayBuffer(WAKE_CELL_BYTES)), 0)
    this.attached = { id, channel: new WriterEnd(channel), arena: this.arena, cell, answered: false }
    open.push({ close: () => this.#mapping.release() })
  }

  /** Puts bytes into slabs and requests their append; undefined when there are no slabs. */
  request(host: PartitionHost, bytes: Uint8Array, flags = 0): { id: number; error: unknown } | undefined {
    const id = this.#nextId++
    const count = this.arena.slabsFor(bytes.length)
    const first = this.arena.take(count, id)
    if (first === -1) return undefined
    this.arena.region.bytes.set(bytes, first * SLAB_BYTES)
    return { id, error: host.request(this.attached, id, first, count, first * SLAB_BYTES, bytes.length, flags) }
  }

  append(host: PartitionHost, records: readonly RecordInput[], flags = 0, options: BatchOptions = {}): number {
    const requested = this.request(host, encodeBatch(records, options).bytes, flags)
    expect(requested?.error).toBe(undefined)
    return requested?.id as number
  }

  completions(): Completion[] {
    const { completions } = this.#end
    const taken: Completion[] = []
    for (let at = completions.peek(); at !== -1; at = completions.peek()) {
      const { words } = completions
      const status = words[at + COMPLETION.status] as number
      const low = (words[at + COMPLETION.baseOffsetLow] as number) >>> 0
      taken.push({
        id: words[at + COMPLETION.id] as number,
        code: status === 0 ? 'ok' : (ERROR_CODES[status - 1] as string),
        baseOffset: (words[at + COMPLETION.baseOffsetHigh] as number) * 2 ** 32 + low,
        detail: words[at + COMPLETION.detail] as number,
      })
      completions.release()
    }
    return taken
  }
}

function start(options: FixtureOptions = {}): { fixture: PartitionFixture; host: PartitionHost } {
  const fixture = new PartitionFixture(directories.next(), { inline: false, ...options })
  open.push(fixture)
  return { fixture, host: new PartitionHost(fixture.log, fixture.memory) }
}

const record = (value = 'v', timestamp = START_MS): RecordInput => ({ timestamp, value: Buffer.from(value) })
const summary = (producer: TestProducer): unknown[] =>
  producer.completions().map(({ id, code, baseOffset }) => [id, code, baseOffset])

/** Answers orders and lets the host go on, as the writer loop does. */
function pump({ fixture, host }: ReturnType<typeof start>, service?: 'janitor' | 'flusher'): void {
  while (fixture.services.answer(service)) {
    host.acknowledge()
    expect(host.retry()).toBe(undefined)
  }
}

describe('room', () => {
  test('requests wait in order while there is none, hold their slabs, and are answered once there is', () => {
    const started = start()
    const producer = new TestProducer(1)
    for (let i = 0; i < 3; i++) producer.append(started.host, [record(), record()])
    expect(producer.completions()).toEqual([])
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT - 3)
    expect(started.host.idle).toBe(false)
    pump(started)
    expect(summary(producer)).toEqual([
      [1, 'ok', 0],
      [2, 'ok', 2],
      [3, 'ok', 4],
    ])
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
    expect(started.host.idle).toBe(true)
  })

  test('a full disk refuses what waits, and the partition goes on afterwards', () => {
    const started = start()
    const producer = new TestProducer(1)
    producer.append(started.host, [record()])
    started.fixture.services.orders.length = 0
    started.fixture.log.allocated(0, true) // the janitor could not
    started.host.refuseWaiting('DISK_FULL')
    expect(summary(producer)).toEqual([[1, 'DISK_FULL', -1]])
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
    producer.append(started.host, [record()])
    pump(started)
    expect(summary(producer)).toEqual([[2, 'ok', 0]])
  })
})

describe('acknowledgement', () => {
  test('of a durable topic comes with the flush, and holds no slab', () => {
    const started = start({ config: { 'flush.messages': '1' } })
    const producer = new TestProducer(1)
    producer.append(started.host, [record()])
    pump(started, 'janitor')
    producer.append(started.host, [record()])
    producer.append(started.host, [record()])
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
    expect(producer.completions()).toEqual([])
    started.fixture.services.answer('flusher') // it was ordered with the first
    started.host.acknowledge()
    expect(summary(producer)).toEqual([[1, 'ok', 0]])
    started.fixture.services.answer('flusher')
    started.host.acknowledge()
    expect(summary(producer)).toEqual([
      [2, 'ok', 1],
      [3, 'ok', 2],
    ])
  })

  test('after a failed flush nothing is acknowledged, and every later request has the same answer', () => {
    const started = start({ config: { 'flush.messages': '1' } })
    const producer = new TestProducer(1)
    producer.append(started.host, [record()])
    pump(started, 'janitor')
    started.fixture.services.failFlushes = true
    started.fixture.services.answer('flusher')
    started.host.fail('FLUSH_FAILED')
    started.host.acknowledge()
    producer.append(started.host, [record()])
    expect(summary(producer)).toEqual([
      [1, 'FLUSH_FAILED', -1],
      [2, 'FLUSH_FAILED', -1],
    ])
    expect(started.host.idle).toBe(true)
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
  })
})

describe('refusals', () => {
  test('a batch that is too large carries the limit', () => {
    const started = start({ config: { 'max.message.bytes': '1000' } })
    const producer = new TestProducer(1)
    producer.append(started.host, [record('x'.repeat(2_000))])
    expect(producer.completions()).toEqual([{ id: 1, code: 'RECORD_TOO_LARGE', baseOffset: -1, detail: 1_000 }])
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
  })

  test('an error that is none of ours stops the partition', () => {
    const started = start()
    const producer = new TestProducer(1)
    producer.append(started.host, [record()])
    Object.assign(started.fixture.log, {
      append: () => {
        throw new TypeError('a bug')
      },
    })
    started.fixture.services.answerAll()
    const error = started.host.retry()
    expect(error).toBeInstanceOf(TypeError)
    expect(summary(producer)).toEqual([[1, 'PARTITION_FAILED', -1]])
  })

  test('what waits behind the request that stopped the partition is refused as well', () => {
    const started = start()
    const producer = new TestProducer(1)
    for (let i = 0; i < 3; i++) producer.append(started.host, [record()])
    Object.assign(started.fixture.log, {
      append: () => {
        throw new TypeError('a bug')
      },
    })
    started.fixture.services.answerAll()
    if (started.host.retry() !== undefined) started.host.fail('PARTITION_FAILED')
    expect(producer.completions().map(({ id, code }) => [id, code])).toEqual([
      [1, 'PARTITION_FAILED'],
      [2, 'PARTITION_FAILED'],
      [3, 'PARTITION_FAILED'],
    ])
  })
})

describe('bytes from outside', () => {
  const good = (): Buffer => Buffer.from(encodeBatch([record('one'), record('two')]).bytes)

  test.for<[string, (bytes: Buffer) => Buffer]>([
    ['a changed byte', bytes => bytes.fill(0xff, 70, 71)],
    ['a cut batch', bytes => bytes.subarray(0, bytes.length - 1)],
    ['a batch with another behind it', bytes => Buffer.concat([bytes, bytes])],
    ['another magic', bytes => bytes.fill(1, BATCH.magicAt, BATCH.magicAt + 1)],
    ['zeros', bytes => Buffer.alloc(bytes.length)],
  ])('%s is refused and changes nothing', ([, damage]) => {
    const started = start()
    const producer = new TestProducer(1)
    const requested = producer.request(started.host, damage(good()), REQUEST_FLAG.checkCrc)
    expect(requested?.error).toBe(undefined)
    expect(summary(producer)).toEqual([[1, 'CORRUPT_BATCH', -1]])
    expect(started.fixture.log.logEndOffset).toBe(0)
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
  })

  test.for<[string, BatchOptions]>([
    ['control', { isControl: true }],
    ['transactional', { isTransactional: true }],
  ])('a %s batch is refused: nobody coordinates it', ([, options]) => {
    const started = start()
    const producer = new TestProducer(1)
    producer.append(started.host, [record()], REQUEST_FLAG.checkCrc, options)
    expect(summary(producer)).toEqual([[1, 'CORRUPT_BATCH', -1]])
  })

  test('a sound batch is checked once and appended, also when it had to wait', () => {
    const started = start()
    const producer = new TestProducer(1)
    for (let i = 0; i < 2; i++) producer.request(started.host, good(), REQUEST_FLAG.checkCrc)
    pump(started)
    expect(summary(producer)).toEqual([
      [1, 'ok', 0],
      [2, 'ok', 2],
    ])
  })
})

test('a producer that is gone is forgotten: nothing of it is appended or answered later', () => {
  const started = start({ config: { 'flush.messages': '1' } })
  const [gone, other] = [new TestProducer(1), new TestProducer(2)]
  gone.append(started.host, [record()])
  other.append(started.host, [record()])
  started.host.forget(gone.attached)
  pump(started)
  expect(gone.completions()).toEqual([])
  expect(summary(other)).toEqual([[1, 'ok', 0]])
  expect(started.fixture.log.logEndOffset).toBe(1)
  expect(started.host.idle).toBe(true)
})

test('random requests of two producers: one completion each, in order, with the offsets of the log', () => {
  const random = new Random(testSeed())
  const durable = random.chance(0.5)
  const config = { 'segment.bytes': '16384', ...(durable ? { 'flush.messages': '1' } : {}) }
  const started = start({ config })
  const producers = [new TestProducer(1), new TestProducer(2)]
  const asked: Completion[][] = [[], []]
  const answered: Completion[][] = [[], []]
  const collect = (): void => producers.forEach((producer, i) => void answered[i]?.push(...producer.completions()))
  let records = 0
  for (let step = 0; step < 3_000; step++) {
    const which = random.below(2)
    const producer = producers[which] as TestProducer
    const tooMany = (asked[which]?.length ?? 0) - (answered[which]?.length ?? 0) >= CHANNEL_CAPACITY
    if (random.chance(0.6) && !tooMany) {
      const batch = Array.from({ length: random.between(1, 4) }, () => record('x'.repeat(random.below(1_500))))
      const requested = producer.request(
        started.host,
        encodeBatch(batch).bytes,
        random.pick([0, REQUEST_FLAG.checkCrc]),
      )
      if (requested !== undefined) {
        expect(requested.error).toBe(undefined)
        // All requests of a partition are appended in the order in which they came.
        asked[which]?.push({ id: requested.id, code: 'ok', baseOffset: records, detail: 0 })
        records += batch.length
      }
    } else if (started.fixture.services.answer(random.pick(['janitor', 'flusher']))) {
      started.host.acknowledge()
      expect(started.host.retry()).toBe(undefined)
    }
    collect()
  }
  pump(started)
  collect()
  expect(answered, `MILLRACE_SEED=${random.seed}`).toEqual(asked)
  expect(started.fixture.log.logEndOffset).toBe(records)
  expect(producers.map(({ arena }) => arena.freeCount())).toEqual([SLAB_COUNT, SLAB_COUNT])
  expect(started.host.idle).toBe(true)
})

describe('idempotent producers', () => {
  const of = (baseSequence: number, producerEpoch = 0): BatchOptions => ({ producerId: 7, producerEpoch, baseSequence })
  const two = [record(), record()]

  test('a batch that is sent again is answered with its offset, and not appended', () => {
    const started = start()
    const producer = new TestProducer(1)
    for (const sequence of [0, 2, 4, 2, 0, 6]) producer.append(started.host, two, 0, of(sequence))
    pump(started)
    expect(producer.completions().map(({ code, baseOffset }) => [code, baseOffset])).toEqual([
      ['ok', 0],
      ['ok', 2],
      ['ok', 4],
      ['ok', 2],
      ['ok', 0],
      ['ok', 6],
    ])
    expect(started.fixture.log.logEndOffset).toBe(8)
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
  })

  test('what does not continue is refused, and nothing changes', () => {
    const started = start()
    const producer = new TestProducer(1)
    producer.append(started.host, two, 0, of(0, 3))
    producer.append(started.host, two, 0, of(4, 3))
    producer.append(started.host, two, 0, of(0, 2))
    producer.append(started.host, two, 0, of(2, 4))
    producer.append(started.host, two, 0, of(0, 4))
    producer.append(started.host, two, 0, { producerId: 7 })
    pump(started)
    expect(producer.completions().map(({ code, baseOffset }) => [code, baseOffset])).toEqual([
      ['ok', 0],
      ['OUT_OF_ORDER_SEQUENCE_NUMBER', -1],
      ['INVALID_PRODUCER_EPOCH', -1],
      ['OUT_OF_ORDER_SEQUENCE_NUMBER', -1],
      ['ok', 2],
      ['INVALID_RECORD', -1],
    ])
    expect(producer.arena.freeCount()).toBe(SLAB_COUNT)
  })

  test('transactions are refused, whoever encoded the batch', () => {
    const started = start()
    const producer = new TestProducer(1)
    producer.append(started.host, two, 0, { ...of(0), isTransactional: true })
    producer.append(started.host, two, 0, { ...of(0), isControl: true })
    expect(producer.completions().map(({ code }) => code)).toEqual(['CORRUPT_BATCH', 'CORRUPT_BATCH'])
  })

  test('in a durable topic a repetition is acknowledged when the high watermark covers it, in its turn', () => {
    const started = start({ config: { 'flush.messages': '1' } })
    const producer = new TestProducer(1)
    const other = new TestProducer(2)
    producer.append(started.host, two, 0, of(0))
    pump(started, 'janitor')
    producer.append(started.host, two, 0, of(0))
    expect(producer.completions()).toEqual([])
    // Whoever sent it first is gone; the repetition waits for the same flush.
    started.host.forget(producer.attached)
    other.append(started.host, two, 0, of(0))
    expect(other.completions()).toEqual([])
    pump(started)
    expect(other.completions()).toMatchObject([{ code: 'ok', baseOffset: 0 }])
    other.append(started.host, two, 0, of(0))
    expect(other.completions()).toMatchObject([{ code: 'ok', baseOffset: 0 }])
  })

  test('one that was idle for too long is not known any more', () => {
    const started = start()
    const producer = new TestProducer(1)
    producer.append(started.host, two, 0, of(0))
    pump(started)
    started.fixture.clock.advance(EXPIRATION_MS)
    producer.append(started.host, two, 0, of(100))
    expect(producer.completions().map(({ code, baseOffset }) => [code, baseOffset])).toEqual([
      ['ok', 0],
      ['ok', 2],
    ])
  })

  test('a roll leaves a snapshot of what is known below the new segment', () => {
    const started = start({ config: { 'segment.bytes': '16384' } })
    const producer = new TestProducer(1)
    const large = [record('x'.repeat(3_000))]
    for (let sequence = 0; sequence < 8; sequence++) {
      producer.append(started.host, large, 0, of(sequence))
      pump(started)
    }
    const [first, second] = started.fixture.listed()
    expect(first?.baseOffset).toBe(0)
    expect(second?.baseOffset).toBe(5)
    const snapshot = started.fixture.services.snapshots.get(5)
    expect(snapshot?.map(({ lastSequence }) => lastSequence)).toEqual([0, 1, 2, 3, 4])
  })
})
