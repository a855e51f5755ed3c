import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import { BATCH, encodeBatch, recordCountOf } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { usualRecords } from '../../../engine/log/verify-records.ts'

interface Input {
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

const batchOf = (records: readonly Input[]): Region => Region.of(Buffer.from(encodeBatch(records).bytes))

function usual(region: Region, count = recordCountOf(region.view, 0)): number | undefined {
  const offsetDeltaMax = region.view.getInt32(BATCH.lastOffsetDeltaAt)
  return usualRecords(region.bytes, BATCH.headerBytes, region.length, count, offsetDeltaMax)
}

/** The largest timestamp delta as the cursor sees it; undefined when it finds damage. */
function careful(region: Region): number | undefined {
  const cursor = new RecordCursor()
  const base = Number(region.view.getBigInt64(BATCH.baseTimestampAt))
  let largest = 0
  try {
    cursor.reset(region, 0)
    while (cursor.next()) largest = Math.max(largest, cursor.timestamp - base)
    return largest
  } catch {
    return undefined
  }
}

describe('usual records', () => {
  test('the usual is seen as such, with its largest timestamp', () => {
    const records = Array.from({ length: 300 }, (_, i) => ({
      timestamp: 1_000 + ((i * 7_919) % 5_000_000),
      key: i % 3 === 0 ? null : Buffer.alloc(i % 100, 1),
      value: i % 17 === 0 ? Buffer.alloc(400) : Buffer.alloc(20, 2),
    }))
    const region = batchOf(records)
    expect(usual(region)).toBe(careful(region))
    expect(usual(region)).toBe(Math.max(...records.map(({ timestamp }) => timestamp)) - 1_000)
  })

  test.for([
    ['a count that is too small', 1],
    ['a count that is too large', 3],
  ] as const)('%s is left to the cursor', ([, count]) => {
    const region = batchOf([0, 1].map(timestamp => ({ timestamp, key: null, value: Buffer.alloc(30) })))
    expect(usual(region)).toBe(1)
    expect(usual(region, count)).toBe(undefined)
  })

  test('never sound where the cursor finds damage, whatever byte is changed', () => {
    const seed = testSeed()
    const random = new Random(seed)
    for (let round = 0; round < 200; round++) {
      const count = 1 + random.below(20)
      const records = Array.from({ length: count }, (_, i) => ({
        timestamp: i * random.below(100_000),
        key: random.below(2) === 0 ? null : Buffer.alloc(random.below(80)),
        value: random.below(8) === 0 ? null : Buffer.alloc(random.below(300), random.below(256)),
      }))
      const sound = batchOf(records)
      for (let change = 0; change < 50; change++) {
        const region = Region.of(Buffer.from(sound.bytes))
        const at = BATCH.headerBytes + random.below(region.length - BATCH.headerBytes)
        region.bytes[at] = random.below(256)
        const found = usual(region)
        if (found !== undefined) expect(found, `MILLRACE_SEED=${seed}, byte ${at}`).toBe(careful(region))
      }
    }
  })
})
