/** What retention and deleteRecords take away, and what they must never touch. */
import { existsSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { INDEX_LOCK, SLOT } from '../../../engine/memory/control-block.ts'
import { type FixtureOptions, PartitionFixture, START_MS } from './partition-fixture.ts'
import { temporaryDirectories } from './recovery-fixture.ts'

const directories = temporaryDirectories('partition-retention')
let open: PartitionFixture[] = []
afterEach(() => {
  for (const fixture of open) fixture.close()
  open = []
})
afterAll(() => directories.removeAll())

const PER_SEGMENT = 15

/** Segments of 15 records of a second each; the last one is active. */
function start(segments: number, config: Record<string, string> = {}, options: FixtureOptions = {}): PartitionFixture {
  const fixture = new PartitionFixture(directories.next(), {
    ...options,
    config: { 'segment.bytes': '16384', ...config },
  })
  open.push(fixture)
  for (let i = 0; i < segments * PER_SEGMENT; i++) {
    fixture.append([{ timestamp: START_MS + i * 1_000, value: Buffer.alloc(1_000, i) }])
  }
  expect(fixture.listed()).toHaveLength(segments)
  return fixture
}

const bases = (fixture: PartitionFixture): number[] => fixture.listed().map(({ baseOffset }) => baseOffset)
const endMs = (segment: number): number => START_MS + ((segment + 1) * PER_SEGMENT - 1) * 1_000

describe('retention by age', () => {
  test('removes segments whose newest record is too old, oldest first', () => {
    const fixture = start(4, { 'retention.ms': '10000' })
    expect(fixture.log.applyRetention(endMs(1) + 10_000)).toBe(1) // the second is exactly as old as allowed
    expect(bases(fixture)).toEqual([15, 30, 45])
    expect(fixture.log.logStartOffset).toBe(15)
    expect(fixture.log.applyRetention(endMs(1) + 10_001)).toBe(1)
    expect(bases(fixture)).toEqual([30, 45])
    expect(existsSync(fixture.logPath(0)) || existsSync(fixture.logPath(15))).toBe(false)
    fixture.check()
  })

  test('a newer segment behind an old one stays, and so does everything from it on', () => {
    const fixture = start(3, { 'retention.ms': '10000' })
    fixture.append([{ timestamp: START_MS - 1_000_000, value: Buffer.alloc(16_000) }])
    fixture.append([{ timestamp: endMs(9), value: Buffer.alloc(1_000) }])
    expect(fixture.log.applyRetention(endMs(9))).toBe(4) // the very old one follows three that are old as well
    expect(bases(fixture)).toEqual([46])
    const kept = start(1, { 'retention.ms': '10000' })
    kept.append([{ timestamp: endMs(9), value: Buffer.alloc(16_000) }])
    kept.append([{ timestamp: START_MS, value: Buffer.alloc(16_000) }])
    kept.append([{ timestamp: START_MS, value: Buffer.alloc(16_000) }])
    expect(kept.log.applyRetention(endMs(9))).toBe(1)
    expect(bases(kept)).toEqual([15, 16, 17])
  })

  test('the active segment goes only when all of it is too old, and another is there to append to', () => {
    const fixture = start(2, { 'retention.ms': '10000' })
    expect(fixture.log.applyRetention(endMs(1) + 10_000)).toBe(1)
    expect(bases(fixture)).toEqual([15])
    expect(fixture.log.applyRetention(endMs(1) + 10_001)).toBe(1)
    expect(bases(fixture)).toEqual([30])
    expect([fixture.log.logStartOffset, fixture.log.logEndOffset]).toEqual([30, 30])
    expect(fixture.log.applyRetention(endMs(99))).toBe(0) // an empty segment is not old
    fixture.append([{ timestamp: endMs(99), value: Buffer.alloc(10) }])
    expect(fixture.log.lastBaseOffset).toBe(30)
    fixture.check()
  })

  test('-1 is no limit, and records without a timestamp have no age', () => {
    const fixture = start(3, { 'retention.ms': '-1' })
    expect(fixture.log.applyRetention(Number.MAX_SAFE_INTEGER)).toBe(0)
    const ageless = start(1, { 'retention.ms': '1' })
    ageless.log.applyRetention(Number.MAX_SAFE_INTEGER)
    for (let i = 0; i < 40; i++) ageless.append([{ timestamp: -1, value: Buffer.alloc(1_000) }])
    expect(ageless.log.applyRetention(Number.MAX_SAFE_INTEGER)).toBe(0)
    ageless.check()
  })
})

describe('retention by size', () => {
  test('removes the oldest while what is left still has retention.bytes', () => {
    const fixture = start(4)
    const sizes = fixture.listed().map(({ sizeBytes }) => sizeBytes)
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0)
    const limited = (bytes: number): number => {
      fixture.log.config = { ...fixture.log.config, retentionMs: -1, retentionBytes: bytes }
      return fixture.log.applyRetention(START_MS)
    }
    expect(limited(total)).toBe(0)
    expect(limited(total - (sizes[0] as number) + 1)).toBe(0) // without the first it would have one byte too few
    expect(limited(total - (sizes[0] as number))).toBe(1)
    expect(limited(1)).toBe(2)
    expect(bases(fixture)).toEqual([45])
    expect(limited(0)).toBe(0) // the active segment stays
    fixture.check()
  })

  test('counts together with age', () => {
    const fixture = start(5, { 'retention.ms': '10000', 'retention.bytes': '50000' })
    expect(fixture.log.applyRetention(endMs(2) + 10_001)).toBe(3) // two for the size, a third for its age
    expect(bases(fixture)).toEqual([45, 60])
  })
})

describe('what holds retention back', () => {
  test('nothing above the high watermark is removed', () => {
    const fixture = start(1, { 'flush.messages': '1', 'retention.ms': '1' })
    fixture.services.inline = false
    const append = (): void => {
      for (let tried = 0; tried < 5; tried++) {
        if (fixture.tryAppend([{ timestamp: START_MS, value: Buffer.alloc(1_000) }]) === 'appended') return
        while (fixture.services.answer('janitor')) {
          // room, but no flushes
        }
      }
    }
    for (let i = 0; i < 3 * PER_SEGMENT; i++) append()
    expect(bases(fixture)).toEqual([0, 15, 30, 45])
    expect(fixture.log.highWatermark).toBe(15)
    expect(fixture.log.applyRetention(Number.MAX_SAFE_INTEGER)).toBe(1)
    expect(fixture.log.logStartOffset).toBe(15)
    fixture.services.answerAll()
    expect(fixture.log.highWatermark).toBe(60)
    expect(fixture.log.applyRetention(Number.MAX_SAFE_INTEGER)).toBe(3)
    fixture.services.answerAll()
    fixture.check()
  })

  test('while the indexer is at work nothing is removed; the next pass does it', () => {
    const fixture = start(3, { 'retention.ms': '1' })
    const { control } = fixture.memory
    control.set(fixture.slot, SLOT.indexLock, INDEX_LOCK.indexer)
    expect(fixture.log.applyRetention(endMs(1) + 100)).toBe(0)
    expect(fixture.log.isRemovalHeldBack).toBe(true)
    fixture.check()
    control.set(fixture.slot, SLOT.indexLock, INDEX_LOCK.free)
    expect(fixture.log.applyRetention(endMs(1) + 100)).toBe(2)
    expect(fixture.log.isRemovalHeldBack).toBe(false)
    expect(control.get(fixture.slot, SLOT.indexLock)).toBe(INDEX_LOCK.free)
    fixture.check()
  })
})

describe('deleteRecordsBefore', () => {
  test('raises the log start to any offset and removes whole segments below it', () => {
    const fixture = start(3)
    fixture.deleteRecords(7)
    expect([fixture.log.logStartOffset, bases(fixture).length]).toEqual([7, 3])
    fixture.deleteRecords(15)
    expect(bases(fixture)).toEqual([15, 30])
    fixture.deleteRecords(44)
    expect([fixture.word('logStartOffset'), ...bases(fixture)]).toEqual([44, 30])
    fixture.check()
  })

  test('to the high watermark leaves an empty log that goes on at the same offset', () => {
    const fixture = start(2)
    fixture.deleteRecords(30)
    expect(fixture.reader().fetch(30, 1_000, { generation: -1, offset: -1, segment: undefined, position: 0 })).toBe(
      undefined,
    )
    fixture.append([{ timestamp: START_MS, value: Buffer.alloc(5) }])
    expect(fixture.log.lastBaseOffset).toBe(30)
    fixture.check()
  })

  test('below the log start nothing changes; above the high watermark it is refused', () => {
    const fixture = start(2)
    fixture.deleteRecords(20)
    fixture.deleteRecords(3)
    expect(fixture.log.logStartOffset).toBe(20)
    for (const offset of [31, -1]) {
      expect(() => fixture.deleteRecords(offset)).toThrow(
        expect.objectContaining({
          code: 'OFFSET_OUT_OF_RANGE',
          details: { offset, logStartOffset: 20, highWatermark: 30 },
        }),
      )
    }
    fixture.check()
  })

  test('what the indexer kept from being removed goes with the next pass', () => {
    const fixture = start(3)
    fixture.memory.control.set(fixture.slot, SLOT.indexLock, INDEX_LOCK.indexer)
    fixture.deleteRecords(40)
    expect(fixture.log.isRemovalHeldBack).toBe(true)
    expect(bases(fixture)).toEqual([0, 15, 30])
    fixture.memory.control.set(fixture.slot, SLOT.indexLock, INDEX_LOCK.free)
    expect(fixture.log.removeBelowStart()).toBe(2)
    expect(bases(fixture)).toEqual([30])
    fixture.check()
  })
})

describe('a queue', () => {
  const floor = (fixture: PartitionFixture, offset: number | undefined): void =>
    fixture.memory.control.set(fixture.log.slot, SLOT.queueFloor, offset === undefined ? 0 : offset + 1)

  test.each([
    ['age', { 'retention.ms': '10000' }],
    ['size', { 'retention.bytes': '1' }],
  ])('keeps what it has not done from retention by %s', (_, config) => {
    const fixture = start(4, config)
    floor(fixture, 0)
    expect(fixture.log.applyRetention(endMs(9))).toBe(0)
    floor(fixture, 29)
    expect(fixture.log.applyRetention(endMs(9))).toBe(1) // one record of the second segment is not done
    floor(fixture, 30)
    expect(fixture.log.applyRetention(endMs(9))).toBe(1)
    expect(bases(fixture)).toEqual([30, 45])
    floor(fixture, undefined)
    expect(fixture.log.applyRetention(endMs(9))).toBeGreaterThan(0)
    fixture.check()
  })

  test('that has done everything lets the active segment go as well', () => {
    const fixture = start(2, { 'retention.ms': '10000' })
    floor(fixture, 2 * PER_SEGMENT)
    expect(fixture.log.applyRetention(endMs(9))).toBe(2)
    fixture.check()
  })

  test('does not keep what is deleted by hand', () => {
    const fixture = start(4)
    floor(fixture, 0)
    fixture.log.deleteRecordsBefore(31)
    fixture.log.removeBelowStart()
    expect(bases(fixture)).toEqual([30, 45])
  })
})
