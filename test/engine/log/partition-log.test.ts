/** Appending and rolling: where batches go, when a segment is full, and what waits for whom. */
import { existsSync, rmSync, statSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { MillraceError } from '../../../engine/base/errors.ts'
import { encodeBatch, isLogAppendTime, leaderEpochOf, maxTimestampOf } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { parseTopicConfig } from '../../../engine/log/topic-config.ts'
import { STATE } from '../../../engine/memory/control-block.ts'
import { type FixtureOptions, PartitionFixture, START_MS } from './partition-fixture.ts'
import { temporaryDirectories } from './recovery-fixture.ts'

const directories = temporaryDirectories('partition-log')
let open: PartitionFixture[] = []
afterEach(() => {
  for (const fixture of open) fixture.close()
  open = []
})
afterAll(() => directories.removeAll())

function start(options: FixtureOptions = {}): PartitionFixture {
  const fixture = new PartitionFixture(directories.next(), options)
  open.push(fixture)
  return fixture
}

const SMALL = { 'segment.bytes': '16384' }
const value = (bytes: number): Buffer => Buffer.alloc(bytes, 'v')

describe('append', () => {
  test('gives offsets without a gap, stamps the leader epoch and publishes the end', () => {
    const fixture = start({ leaderEpoch: 7, baseOffset: 100 })
    fixture.append([{ timestamp: START_MS, value: value(10) }])
    fixture.append([
      { timestamp: START_MS + 1, value: null },
      { timestamp: START_MS + 2, key: value(3), value: value(4) },
    ])
    expect(fixture.batches.map(({ baseOffset }) => baseOffset)).toEqual([100, 101])
    expect(fixture.word('logEndOffset')).toBe(103)
    expect(fixture.word('highWatermark')).toBe(103)
    fixture.check()
    for (const { bytes } of fixture.batches) expect(leaderEpochOf(Region.of(bytes).view, 0)).toBe(7)
  })

  test('a batch keeps the epoch that it was appended under', () => {
    const fixture = start({ leaderEpoch: 1 })
    fixture.append([{ timestamp: START_MS, value: value(1) }])
    fixture.reopen()
    fixture.append([{ timestamp: START_MS, value: value(1) }])
    fixture.check()
    expect(fixture.batches.map(({ bytes }) => leaderEpochOf(Region.of(bytes).view, 0))).toEqual([1, 2])
    expect(fixture.word('leaderEpoch')).toBe(2)
  })

  test('LogAppendTime puts the clock into the batch and its checksum right', () => {
    const fixture = start({ config: { 'message.timestamp.type': 'LogAppendTime' } })
    fixture.clock.advance(5_000)
    fixture.append([{ timestamp: 1, value: value(10) }])
    const { view } = Region.of(fixture.batches[0]?.bytes as Buffer)
    expect([isLogAppendTime(view, 0), maxTimestampOf(view, 0)]).toEqual([true, START_MS + 5_000])
    expect(fixture.reader().seekOffset(0)?.timestamp).toBe(START_MS + 5_000) // a reader checks the CRC
    expect(fixture.listed()[0]?.maxTimestamp).toBe(START_MS + 5_000)
  })

  test.for([
    ['max.message.bytes', { 'max.message.bytes': '2000' }, 2_000],
    ['segment.bytes', SMALL, 16_384],
  ] as const)('a batch of exactly %s is taken, one byte more is RECORD_TOO_LARGE', ([, config, limit]) => {
    const fixture = start({ config })
    const overhead = encodeBatch([{ timestamp: START_MS, value: value(limit - 100) }]).bytes.length - (limit - 100)
    fixture.append([{ timestamp: START_MS, value: value(limit - overhead) }])
    expect(fixture.listed()[0]?.sizeBytes).toBe(limit)
    const before = fixture.log.logEndOffset
    expect(() => fixture.tryAppend([{ timestamp: START_MS, value: value(limit - overhead + 1) }])).toThrow(
      expect.objectContaining({ code: 'RECORD_TOO_LARGE', details: { batchBytes: limit + 1, maxBytes: limit } }),
    )
    expect(fixture.log.logEndOffset).toBe(before)
    fixture.append([{ timestamp: START_MS, value: value(10) }]) // nothing was changed by the refusal
    fixture.check()
  })
})

describe('room', () => {
  test('without allocated room an append parks and changes nothing', () => {
    const fixture = start({ inline: false })
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(10) }])).toBe('parked')
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(10) }])).toBe('parked')
    expect(fixture.services.orders.map(({ kind }) => kind)).toEqual(['allocate']) // asked for once
    expect(fixture.word('logEndOffset')).toBe(0)
    fixture.services.answerAll()
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(10) }])).toBe('appended')
    fixture.check()
  })

  test('an answer that came less far than asked lets in what fits, and the rest is asked for again', () => {
    const fixture = start({ inline: false })
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(3_000) }])).toBe('parked')
    fixture.services.orders.length = 0
    fixture.log.allocated(4_096, true) // the disk was full then
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(3_000) }])).toBe('appended')
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(3_000) }])).toBe('parked')
    expect(fixture.services.orders).toMatchObject([{ kind: 'allocate', from: 4_096 }])
    fixture.services.answerAll()
    fixture.append([{ timestamp: START_MS, value: value(3_000) }])
    fixture.check()
  })

  test('the window ahead grows with the appends and is given back when they stop', () => {
    const fixture = start()
    const asked: number[] = []
    for (let i = 0; i < 200; i++) {
      fixture.append([{ timestamp: START_MS, value: value(8_000) }])
      asked.push(fixture.log.active.allocatedBytes - fixture.log.active.sizeBytes)
    }
    expect(Math.max(...asked.slice(0, 5))).toBeLessThan(512 * 1024)
    expect(asked.at(-1)).toBeGreaterThan(512 * 1024)
    const { size } = statSync(fixture.logPath(0))
    const blocksBefore = statSync(fixture.logPath(0)).blocks
    fixture.log.releaseAhead(1_000)
    expect(fixture.log.active.allocatedBytes).toBe(fixture.log.active.requestedBytes)
    expect(fixture.log.active.allocatedBytes).toBeGreaterThan(fixture.log.active.sizeBytes + 4_096) // not idle yet
    fixture.clock.advance(1_000)
    fixture.log.releaseAhead(1_000)
    expect(fixture.log.active.allocatedBytes - fixture.log.active.sizeBytes).toBeLessThan(4_096)
    expect(statSync(fixture.logPath(0)).size).toBe(size) // only the blocks go
    expect(statSync(fixture.logPath(0)).blocks).toBeLessThanOrEqual(blocksBefore)
    fixture.appendMany(20, 8_000)
    fixture.check()
  })

  test('what is allocated ahead of a durable topic is flushed first', () => {
    const fixture = start({ inline: false, config: { 'flush.messages': '1' } })
    fixture.tryAppend([{ timestamp: START_MS, value: value(10) }])
    expect(fixture.services.orders).toMatchObject([{ kind: 'allocate', sync: true }])
    fixture.services.orders.length = 0
    fixture.log.allocated(65_536, true)
  })
})

describe('roll', () => {
  test('by segment.bytes: a batch that does not fit begins the next segment', () => {
    const fixture = start({ config: SMALL })
    fixture.appendMany(40, 1_000)
    const bases = fixture.listed().map(({ baseOffset }) => baseOffset)
    expect(bases).toEqual([0, 15, 30]) // 16,384 / 1,070
    for (const { sizeBytes } of fixture.listed().slice(0, -1)) {
      expect(sizeBytes).toBeLessThanOrEqual(16_384)
      expect(sizeBytes + 1_100).toBeGreaterThan(16_384)
    }
    fixture.check()
    // Closed files are cut to their content.
    for (const { baseOffset, sizeBytes } of fixture.listed().slice(0, -1))
      expect(statSync(fixture.logPath(baseOffset)).size).toBe(sizeBytes)
  })

  test('by segment.ms of the records with CreateTime, whatever the clock says', () => {
    const fixture = start({ config: { 'segment.ms': '1000' } })
    for (const timestamp of [5_000, 5_600, 6_000, 6_001, 6_500, 7_002]) fixture.append([{ timestamp, value: value(1) }])
    expect(fixture.listed().map(({ baseOffset }) => baseOffset)).toEqual([0, 3, 5])
    fixture.clock.advance(60_000)
    fixture.append([{ timestamp: 7_500, value: value(1) }])
    expect(fixture.listed()).toHaveLength(3)
    fixture.check()
  })

  test('by segment.ms of the clock with LogAppendTime, and where records have no timestamp', () => {
    const config = { 'segment.ms': '1000', 'message.timestamp.type': 'LogAppendTime' }
    for (const fixture of [start({ config }), start({ config: { 'segment.ms': '1000' } })]) {
      for (const advanceMs of [0, 600, 400, 1, 999, 2]) {
        fixture.clock.advance(advanceMs)
        fixture.append([{ timestamp: -1, value: value(1) }])
      }
      expect(fixture.listed().map(({ baseOffset }) => baseOffset)).toEqual([0, 3, 5])
    }
  })

  test('segment.ms goes on counting over a clean close', () => {
    const fixture = start({ config: { 'segment.ms': '1000' } })
    fixture.append([{ timestamp: 5_000, value: value(1) }])
    fixture.reopen()
    fixture.append([{ timestamp: 5_900, value: value(1) }])
    expect(fixture.listed()).toHaveLength(1)
    fixture.append([{ timestamp: 6_001, value: value(1) }])
    expect(fixture.listed()).toHaveLength(2)
  })

  test('by a full index, which counts what the indexer has not come to yet', () => {
    const fixture = start({ config: { 'segment.index.bytes': '4096', 'index.interval.bytes': '0' } })
    fixture.appendMany(700, 10) // an entry for each batch: 12 bytes, one kept free
    const bases = fixture.listed().map(({ baseOffset }) => baseOffset)
    expect(bases.length).toBeGreaterThan(2)
    for (const [index, base] of bases.entries()) {
      const next = bases[index + 1]
      if (next === undefined) continue
      expect((next - base + 1) * 12).toBeLessThanOrEqual(4_096)
    }
    fixture.check()
  })

  test('offsets in a segment stay within the four bytes of an index entry', () => {
    const fixture = start({ inline: true })
    fixture.append([{ timestamp: START_MS, value: value(1) }])
    const { bytes } = encodeBatch([{ timestamp: START_MS, value: value(1) }])
    const region = Region.of(bytes)
    const far = (): string => {
      region.view.setInt32(23, 0x7fff_ffff) // a batch that compaction left of 2^31 offsets
      return fixture.log.append(region, 0, bytes.length)
    }
    expect(far()).toBe('appended')
    expect(far()).toBe('parked') // offsets 2^31 + 1 to 2^32: the last does not fit behind base offset 0
    expect(far()).toBe('appended')
    expect(fixture.listed().map(({ baseOffset }) => baseOffset)).toEqual([0, 2 ** 31 + 1])
    expect(fixture.log.logEndOffset).toBe(2 ** 32 + 1)
  })

  test('an allocation under way holds the closed segment back, and one more roll waits for it', () => {
    const fixture = start({ inline: false, config: SMALL })
    const append = (): string => fixture.tryAppend([{ timestamp: START_MS, value: value(10_000) }])
    expect(append()).toBe('parked')
    fixture.services.orders.length = 0
    fixture.log.allocated(12_288, true)
    expect(append()).toBe('appended') // and the window is nearly used up, so more is ordered
    expect(fixture.services.orders.map(({ kind }) => kind)).toEqual(['allocate'])
    expect(append()).toBe('parked') // rolled; the new segment has no room yet
    expect(fixture.listed()).toHaveLength(2)
    expect(fixture.services.orders.map(({ kind }) => kind)).toEqual(['allocate', 'allocate']) // no seal yet
    expect(fixture.log.busy).toBe(true)
    fixture.services.answer('janitor') // for the closed segment: it is handed over now
    expect(fixture.services.orders.map(({ kind }) => kind)).toEqual(['allocate', 'seal'])
    fixture.services.answerAll()
    expect(append()).toBe('appended')
    fixture.services.answerAll()
    fixture.check()
    expect(fixture.log.busy).toBe(false)
  })

  test('a roll that cannot make its file changes nothing, and is tried again', () => {
    const fixture = start({ config: SMALL })
    fixture.appendMany(15, 1_000)
    const { directory } = fixture.log
    Object.assign(fixture.log, { directory: `${directory}/gone` })
    expect(() => fixture.tryAppend([{ timestamp: START_MS, value: value(1_000) }])).toThrow(MillraceError)
    fixture.check()
    expect(fixture.listed()).toHaveLength(1)
    Object.assign(fixture.log, { directory })
    fixture.appendMany(1, 1_000)
    expect(fixture.listed()).toHaveLength(2)
    fixture.check()
  })
})

describe('a changed configuration', () => {
  test('a smaller segment.bytes closes the active segment with the next append', () => {
    const fixture = start()
    fixture.appendMany(30, 1_000)
    fixture.log.configure(parseTopicConfig(SMALL))
    fixture.appendMany(1, 1_000)
    expect(fixture.listed().map(({ baseOffset }) => baseOffset)).toEqual([0, 30])
    fixture.check()
  })

  test('a larger segment.bytes holds for an empty active segment as well', () => {
    const fixture = start({ config: SMALL })
    fixture.log.configure(parseTopicConfig({ 'segment.bytes': '100000' }))
    fixture.appendMany(3, 30_000)
    expect(fixture.listed()).toHaveLength(1)
    fixture.check()
  })

  test('an empty active segment whose allocation is under way is made larger after that', () => {
    const fixture = start({ inline: false, config: SMALL })
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(10_000) }])).toBe('parked')
    fixture.log.configure(parseTopicConfig({ 'segment.bytes': '100000' }))
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(30_000) }])).toBe('parked')
    fixture.services.answerAll()
    fixture.append([{ timestamp: START_MS, value: value(30_000) }])
    fixture.append([{ timestamp: START_MS, value: value(10_000) }])
    expect(fixture.listed()).toHaveLength(1)
    fixture.check()
  })

  test('records that were shown stay shown when the topic becomes durable', () => {
    const fixture = start({ inline: false })
    fixture.append([{ timestamp: START_MS, value: value(1) }])
    fixture.append([{ timestamp: START_MS, value: value(1) }])
    fixture.deleteRecords(1)
    fixture.log.configure(parseTopicConfig({ 'flush.messages': '1' }))
    expect(fixture.word('highWatermark')).toBe(2)
    expect(fixture.services.orders.map(({ kind }) => kind)).toContain('flush') // at once, not with the next append
    fixture.tryAppend([{ timestamp: START_MS, value: value(1) }])
    expect(fixture.word('highWatermark')).toBe(2) // the new one waits for its flush
    fixture.services.answerAll()
    expect(fixture.word('highWatermark')).toBe(3)
    fixture.check()
  })

  test('records that waited for a flush are shown when the topic is durable no more', () => {
    const fixture = start({ inline: false, config: { 'flush.messages': '1' } })
    expect(fixture.tryAppend([{ timestamp: START_MS, value: value(1) }])).toBe('parked')
    fixture.services.answer('janitor')
    fixture.tryAppend([{ timestamp: START_MS, value: value(1) }])
    expect(fixture.word('highWatermark')).toBe(0)
    fixture.log.configure(parseTopicConfig({}))
    expect(fixture.word('highWatermark')).toBe(1)
    fixture.check()
  })
})

describe('the end', () => {
  test('a clean close cuts the file to its content and leaves no list behind', () => {
    const fixture = start({ config: SMALL })
    fixture.appendMany(20, 1_000)
    fixture.log.flush()
    const described = fixture.log.describe()
    const sizeBytes = fixture.listed().at(-1)?.sizeBytes
    fixture.log.close(true)
    expect(statSync(fixture.logPath(15)).size).toBe(sizeBytes)
    expect(described.map(({ baseOffset, nextOffset }) => [baseOffset, nextOffset])).toEqual([
      [0, 15],
      [15, 20],
    ])
    expect([fixture.word('headSegment'), fixture.word('segmentCount'), fixture.word('state')]).toEqual([
      -1,
      0,
      STATE.closing,
    ])
    open = open.filter(other => other !== fixture)
  })

  test('a partition with more segments than there is room for is not taken over, and leaves the room as it was', () => {
    const fixture = start({ config: SMALL })
    fixture.appendMany(20, 1_000)
    fixture.log.flush()
    const state = { logStartOffset: 0, logEndOffset: 20, leaderEpoch: 1 }
    const segments = fixture.log.describe()
    fixture.log.close(true)
    const many = Array.from({ length: 600 }, (_, i) => ({
      ...(segments[0] as (typeof segments)[number]),
      baseOffset: i,
    }))
    for (let tried = 0; tried < 3; tried++) {
      expect(() => fixture.adopt(fixture.log.config, { ...state, segments: many })).toThrow(
        expect.objectContaining({ code: 'TOO_MANY_SEGMENTS' }),
      )
      expect([fixture.word('generation') % 2, fixture.word('segmentCount'), fixture.listed()]).toEqual([0, 0, []])
    }
    for (let i = 1; i < 600; i++) if (i !== 15) rmSync(fixture.logPath(i))
    fixture.adopt(fixture.log.config, { ...state, segments })
    fixture.check()
  })

  test('entries of the segment table are given back: fifty lives of a partition use no more than one', () => {
    const fixture = start({ config: SMALL })
    const highest = (): number => Math.max(...fixture.listed().map(({ entry }) => entry))
    fixture.appendMany(40, 1_000)
    const first = highest()
    for (let life = 0; life < 50; life++) {
      fixture.deleteRecords(fixture.log.highWatermark)
      fixture.reopen()
      fixture.appendMany(40, 1_000)
    }
    expect(highest()).toBeLessThanOrEqual(first + 1)
    expect(existsSync(fixture.logPath(0))).toBe(false)
    fixture.check()
  })
})
