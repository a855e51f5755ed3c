/** Groups of records, against the cursor that they are filled from. */
import { beforeEach, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import { encodeBatch } from '../../../engine/format/record-batch.ts'
import { GROUP_RECORDS, RecordGroup } from '../../../engine/format/record-group.ts'
import { Region } from '../../../engine/format/region.ts'
import { printSeed } from '../memory/threads.ts'

const seed = testSeed()
beforeEach(printSeed(seed))

test.each([1, GROUP_RECORDS - 1, GROUP_RECORDS, GROUP_RECORDS + 1, 5 * GROUP_RECORDS + 7])(
  '%i records, each once and in order',
  count => {
    const random = new Random(seed)
    const input = Array.from({ length: count }, () => ({
      timestamp: random.below(10_000),
      key: random.below(3) === 0 ? null : Buffer.alloc(random.below(300), 1),
      value: random.below(3) === 0 ? null : Buffer.alloc(random.below(300), 2),
    }))
    const batch = Region.of(encodeBatch(input).bytes)
    const single = new RecordCursor()
    single.reset(batch, 0)
    const cursor = new RecordCursor()
    cursor.reset(batch, 0)
    const group = new RecordGroup()
    let seen = 0
    while (group.fill(cursor)) {
      for (let i = 0; i < group.count; i++) {
        expect(single.next()).toBe(true)
        expect([group.offsets[i], group.timestamps[i], group.keyBytes[i], group.valueBytes[i], group.ends[i]]).toEqual([
          single.offset,
          single.timestamp,
          single.keyBytes,
          single.valueBytes,
          single.recordEnd,
        ])
        if (single.keyBytes >= 0) expect(group.keyAt[i]).toBe(single.keyAt)
        seen += 1
      }
    }
    expect([seen, single.next(), group.count]).toEqual([count, false, 0])
  },
)
