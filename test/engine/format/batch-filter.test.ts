/** Batches without some of their records: what is kept is kept to the byte, and the batch stays a sound one. */
import { beforeEach, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { BatchFilter } from '../../../engine/format/batch-filter.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import {
  BATCH,
  baseTimestampOf,
  CODECS,
  checkBatch,
  encodeBatch,
  hasDeleteHorizon,
  maxTimestampOf,
  producerIdOf,
  recordCountOf,
  stampBatch,
  stampLogAppendTime,
} from '../../../engine/format/record-batch.ts'
import type { RecordGroup } from '../../../engine/format/record-group.ts'
import { Region } from '../../../engine/format/region.ts'
import { printSeed } from '../memory/threads.ts'

const seed = testSeed()
beforeEach(printSeed(seed))

const HORIZON_MS = 1_700_000_000_000

interface Seen {
  readonly offset: number
  readonly timestamp: number
  readonly key: string | undefined
  readonly value: string | undefined
  readonly headers: string
}

function records(region: Region, at = 0): Seen[] {
  const cursor = new RecordCursor()
  cursor.reset(region, at)
  const found: Seen[] = []
  while (cursor.next()) {
    const { offset, timestamp } = cursor
    const headers = cursor.headers().map(({ key, value }) => `${key}=${value === null ? null : Buffer.from(value)}`)
    found.push({
      offset,
      timestamp,
      key: cursor.key()?.toString(),
      value: cursor.value()?.toString(),
      headers: `${headers}`,
    })
  }
  return found
}

function randomBatch(random: Random, tombstones: boolean): Region {
  const count = random.between(1, 60)
  const input = Array.from({ length: count }, (_, i) => ({
    timestamp: random.pick([1_000 + i, 5, HORIZON_MS + i, random.below(2 ** 45)]),
    key: random.below(8) === 0 ? null : Buffer.from(`k${random.below(9)}`),
    value: tombstones && random.below(3) === 0 ? null : Buffer.alloc(random.below(300), 97),
    ...(random.below(4) === 0 ? { headers: [{ key: 'h', value: Buffer.from(`${i}`) }] } : {}),
  }))
  const { bytes } = encodeBatch(input, { codec: random.pick(CODECS), producerId: 7, producerEpoch: 1, baseSequence: 3 })
  const at = random.below(50)
  const region = Region.of(Buffer.concat([Buffer.alloc(at, 1), bytes]))
  const batch = new Region(region.bytes.buffer, region.bytes.byteOffset + at, bytes.length)
  stampBatch(batch.view, 0, 1_000, 4)
  return batch
}

/** Marks the records whose offsets are wanted. */
const keeping =
  (wanted: (offset: number) => boolean) =>
  (group: RecordGroup): void => {
    for (let i = 0; i < group.count; i++) group.kept[i] = wanted(group.offsets[i] as number) ? 1 : 0
  }
const all = keeping(() => true)
const none = keeping(() => false)
const these = (offsets: ReadonlySet<number>): ReturnType<typeof keeping> => keeping(offset => offsets.has(offset))

describe('a batch', () => {
  test('keeps what is kept, as it was', () => {
    const random = new Random(seed)
    const filter = new BatchFilter()
    for (let round = 0; round < 400; round++) {
      const batch = randomBatch(random, false)
      const whole = records(batch)
      const rest = new Set(whole.filter(() => random.below(3) > 0).map(({ offset }) => offset))
      const out = filter.filter(batch, 0, these(rest), HORIZON_MS, false)
      const expected = whole.filter(({ offset }) => rest.has(offset))
      if (expected.length === whole.length) expect(out).toBe('whole')
      else if (expected.length === 0) expect(out).toBe('nothing')
      else {
        const kept = Region.of(out as Buffer)
        expect(checkBatch(kept, 0, kept.length)).toBeUndefined()
        expect(records(kept)).toEqual(expected)
        expect(maxTimestampOf(kept.view, 0)).toBe(Math.max(...expected.map(({ timestamp }) => timestamp)))
        // Base offset, epoch; last offset delta; producer and sequence.
        for (const [from, to] of [
          [0, 8],
          [12, 16],
          [23, 35],
          [43, 57],
        ] as const) {
          expect(kept.bytes.subarray(from, to).equals(batch.bytes.subarray(from, to))).toBe(true)
        }
      }
    }
  })

  test('with tombstones that stay says from when on they may go, and its records have the times they had', () => {
    const random = new Random(seed)
    const filter = new BatchFilter()
    let written = 0
    for (let round = 0; round < 200; round++) {
      const batch = randomBatch(random, true)
      const whole = records(batch)
      const rest = new Set(whole.filter(() => random.below(4) > 0).map(({ offset }) => offset))
      const out = filter.filter(batch, 0, these(rest), HORIZON_MS, false)
      const expected = whole.filter(({ offset }) => rest.has(offset))
      if (!expected.some(({ value }) => value === undefined)) continue
      const kept = Region.of(Buffer.from(out as Buffer))
      expect([hasDeleteHorizon(kept.view, 0), baseTimestampOf(kept.view, 0)]).toEqual([true, HORIZON_MS])
      expect(checkBatch(kept, 0, kept.length)).toBeUndefined()
      expect(records(kept)).toEqual(expected)
      // It has a horizon now, which stays.
      expect(filter.filter(kept, 0, all, HORIZON_MS + 99, false)).toBe('whole')
      written += 1
    }
    expect(written).toBeGreaterThan(50)
  })

  test('of which nothing is kept may stay as a header', () => {
    const batch = randomBatch(new Random(seed), false)
    const out = Region.of(new BatchFilter().filter(batch, 0, none, HORIZON_MS, true) as Buffer)
    expect(out.length).toBe(BATCH.headerBytes)
    expect(checkBatch(out, 0, out.length)).toBeUndefined()
    expect([recordCountOf(out.view, 0), producerIdOf(out.view, 0), maxTimestampOf(out.view, 0)]).toEqual([0, 7, -1])
    expect(new BatchFilter().filter(out, 0, none, HORIZON_MS, true)).toBe('whole')
    expect(new BatchFilter().filter(out, 0, none, HORIZON_MS, false)).toBe('nothing')
  })

  test('that the broker stamped keeps its stamp', () => {
    const batch = randomBatch(new Random(seed), true)
    stampLogAppendTime(batch, 0, 5_555)
    let index = 0
    const first = keeping(() => index++ === 0)
    const out = new BatchFilter().filter(batch, 0, first, HORIZON_MS, false)
    if (typeof out === 'string') return
    expect(records(Region.of(out)).map(({ timestamp }) => timestamp)).toEqual([5_555])
  })
})
