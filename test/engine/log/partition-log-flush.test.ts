/** When the log asks for a flush, what a flush covers, and that nothing is shown before it is durable. */
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { STATE } from '../../../engine/memory/control-block.ts'
import { type FixtureOptions, PartitionFixture, START_MS } from './partition-fixture.ts'
import { temporaryDirectories } from './recovery-fixture.ts'

const directories = temporaryDirectories('partition-flush')
let open: PartitionFixture[] = []
afterEach(() => {
  for (const fixture of open) fixture.close()
  open = []
})
afterAll(() => directories.removeAll())

/** Room is given at once; flushes and seals wait. */
function start(config: Record<string, string>, options: FixtureOptions = {}): PartitionFixture {
  const fixture = new PartitionFixture(directories.next(), { inline: false, ...options, config })
  open.push(fixture)
  return fixture
}

function append(fixture: PartitionFixture, bytes = 10): void {
  for (let tried = 0; tried < 5; tried++) {
    if (fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(bytes) }]) === 'appended') return
    while (fixture.services.answer('janitor')) {
      // room, but no flushes
    }
  }
  expect.unreachable('no room')
}

const kinds = (fixture: PartitionFixture): string[] =>
  fixture.services.orders.filter(({ kind }) => kind === 'flush' || kind === 'seal').map(({ kind }) => kind)
const marks = (fixture: PartitionFixture): number[] => [
  fixture.word('flushedOffset'),
  fixture.word('highWatermark'),
  fixture.word('logEndOffset'),
]

describe('flush.messages=1', () => {
  test('the high watermark stops at the flushed offset', () => {
    const fixture = start({ 'flush.messages': '1' })
    append(fixture)
    append(fixture)
    expect(marks(fixture)).toEqual([0, 0, 2])
    fixture.services.answer('flusher')
    expect(marks(fixture)).toEqual([1, 1, 2])
    fixture.services.answer('flusher')
    expect(marks(fixture)).toEqual([2, 2, 2])
    fixture.check()
  })

  test('one flush is under way at a time, and the next takes all that came meanwhile', () => {
    const fixture = start({ 'flush.messages': '1' })
    for (let i = 0; i < 50; i++) append(fixture)
    expect(kinds(fixture)).toEqual(['flush'])
    fixture.services.answer('flusher')
    expect(kinds(fixture)).toEqual(['flush'])
    expect(fixture.services.orders.find(({ kind }) => kind === 'flush')).toMatchObject({ offset: 50 })
    fixture.services.answer('flusher')
    expect(marks(fixture)).toEqual([50, 50, 50])
    expect(kinds(fixture)).toEqual([])
    expect(fixture.log.busy).toBe(false)
  })

  test('a failed flush moves nothing, and a stopped partition says why', () => {
    const fixture = start({ 'flush.messages': '1' })
    append(fixture)
    fixture.services.answer('flusher')
    append(fixture)
    fixture.services.failFlushes = true
    fixture.services.answer('flusher')
    expect(marks(fixture)).toEqual([1, 1, 2])
    fixture.log.fail(7)
    expect([fixture.word('state'), fixture.word('failure')]).toEqual([STATE.failed, 7])
    expect(fixture.log.busy).toBe(false) // it may be taken down
  })

  test('records of a closed segment are durable once it is sealed, and those behind it not before', () => {
    const fixture = start({ 'flush.messages': '1', 'segment.bytes': '16384' })
    append(fixture, 10_000) // flush ordered: offset 1
    append(fixture, 10_000) // rolled
    expect(kinds(fixture)).toEqual(['flush', 'seal'])
    fixture.services.answer('flusher')
    expect(marks(fixture)).toEqual([1, 1, 2])
    expect(kinds(fixture)).toEqual(['seal', 'flush']) // the flush of the new file goes behind the seal
    fixture.services.answer('flusher')
    fixture.services.answer('flusher')
    expect(marks(fixture)).toEqual([2, 2, 2])
    fixture.services.answerAll()
  })

  test('while a closed segment is held back nothing behind it is flushed', () => {
    const fixture = start({ 'flush.messages': '1', 'segment.bytes': '16384' })
    expect(fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(10_000) }])).toBe('parked')
    fixture.services.orders.length = 0
    fixture.log.allocated(12_288, true)
    fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(10_000) }]) // orders more room, and a flush
    fixture.services.answer('flusher')
    expect(marks(fixture)).toEqual([1, 1, 1])
    fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(10_000) }]) // rolled; the old one waits for its room
    fixture.log.flush()
    expect(kinds(fixture)).toEqual([])
    fixture.services.answer('janitor') // room for the closed segment: it is sealed
    expect(kinds(fixture)).toEqual(['seal'])
    fixture.services.answer('janitor')
    fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(10_000) }])
    expect(kinds(fixture)).toEqual(['seal', 'flush'])
    fixture.services.answerAll()
    expect(marks(fixture)).toEqual([2, 2, 2])
  })
})

describe('a flush that the writer does by itself', () => {
  test('covers everything that was appended since it was asked for', () => {
    const fixture = start({ 'flush.messages': '1' })
    append(fixture)
    append(fixture)
    const due = fixture.log.flushHere()
    expect(due).toEqual({ fd: fixture.log.active.fd, offset: 2 })
    fixture.services.orders.length = 0
    fixture.log.flushed(2, true)
    expect(marks(fixture)).toEqual([2, 2, 2])
  })

  test('is not done after a roll: the closed segment has to be sealed before anything behind it is durable', () => {
    const fixture = start({ 'flush.messages': '1', 'segment.bytes': '16384' })
    append(fixture, 10_000)
    fixture.services.orders.length = 0 // the writer keeps this flush for the end of its pass
    append(fixture, 10_000) // and then the log rolls
    expect(fixture.log.flushHere()).toBe(undefined)
    expect(marks(fixture)).toEqual([0, 0, 2])
    expect(kinds(fixture)).toEqual(['seal', 'flush'])
    fixture.services.answerAll()
    expect(marks(fixture)).toEqual([2, 2, 2])
  })

  test('is not done while the closed segment is held back either', () => {
    const fixture = start({ 'flush.messages': '1', 'segment.bytes': '16384' })
    expect(fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(10_000) }])).toBe('parked')
    fixture.services.orders.length = 0
    fixture.log.allocated(12_288, true)
    fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(10_000) }])
    const [room] = fixture.services.orders.splice(0) // an allocation; the flush is kept
    expect(room).toMatchObject({ kind: 'allocate' })
    fixture.services.orders.push(room as (typeof fixture.services.orders)[number])
    expect(fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(10_000) }])).toBe('parked') // rolled
    expect(fixture.log.flushHere()).toBe(undefined)
    expect(kinds(fixture)).toEqual([])
    expect(marks(fixture)).toEqual([0, 0, 1])
    fixture.services.answerAll()
    expect(marks(fixture)).toEqual([1, 1, 1])
  })
})

describe('topics that do not wait for flushes', () => {
  test('flush.messages=N flushes every N records and shows them at once', () => {
    const fixture = start({ 'flush.messages': '10' })
    for (let i = 0; i < 9; i++) append(fixture)
    expect(kinds(fixture)).toEqual([])
    expect(marks(fixture)).toEqual([0, 9, 9])
    append(fixture)
    expect(kinds(fixture)).toEqual(['flush'])
    fixture.services.answerAll()
    expect(marks(fixture)).toEqual([10, 10, 10])
  })

  test('flush.ms flushes what is older than that, also when nothing more comes', () => {
    const fixture = start({ 'flush.ms': '1000' })
    append(fixture)
    expect(fixture.log.flushOverdue()).toBe(false)
    fixture.clock.advance(1_000)
    expect(fixture.log.flushOverdue()).toBe(true)
    fixture.log.flush()
    fixture.services.answerAll()
    expect([fixture.log.flushOverdue(), ...marks(fixture)]).toEqual([false, 1, 1, 1])
    fixture.clock.advance(1_000)
    expect(fixture.log.flushOverdue()).toBe(false) // there is nothing to flush
    append(fixture)
    expect(kinds(fixture)).toEqual(['flush']) // the last one is long ago
  })

  test('never by default', () => {
    const fixture = start({})
    for (let i = 0; i < 100; i++) append(fixture)
    fixture.clock.advance(10 * 24 * 3_600_000)
    expect([fixture.log.flushOverdue(), ...kinds(fixture)]).toEqual([false])
    fixture.log.flush() // as the close does
    fixture.services.answerAll()
    expect(marks(fixture)).toEqual([100, 100, 100])
  })
})
