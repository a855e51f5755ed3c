import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../../engine/base/clock.ts'
import { SharePartition } from '../../../../engine/group/share/share-partition.ts'
import type { ShareSettings } from '../../../../engine/group/share/share-types.ts'
import type { RunRow } from '../../../../engine/store/share-states.ts'

const SETTINGS: ShareSettings = {
  lockDurationMs: 30_000,
  deliveryCountLimit: 3,
  recordLocksMax: 2_000,
  delayedRecordsMax: 100,
  hasDeadLetters: true,
}

function sharePartition(settings: Partial<ShareSettings> = {}): { share: SharePartition; clock: ManualClock } {
  const clock = new ManualClock(1_700_000_000_000)
  return { share: new SharePartition({ ...SETTINGS, ...settings }, clock, 0), clock }
}

const range = (firstOffset: number, lastOffset: number, deliveryCount = 1) => ({
  firstOffset,
  lastOffset,
  deliveryCount,
})

describe('acquiring', () => {
  test('each record goes to one member, lowest offsets first, up to where the log is read', () => {
    const { share } = sharePartition()
    expect(share.acquire('a', 10, 25)).toEqual([range(0, 9)])
    expect(share.acquire('b', 10, 25)).toEqual([range(10, 19)])
    expect(share.acquire('a', 10, 25)).toEqual([range(20, 24)])
    expect(share.acquire('b', 10, 25)).toEqual([])
  })

  test('what was released comes before what is new, with a higher delivery count', () => {
    const { share } = sharePartition()
    share.acquire('a', 10, 100)
    share.acknowledge('a', [{ firstOffset: 3, lastOffset: 4, type: 'release' }])
    expect(share.nextOffset(100)).toBe(3)
    expect(share.acquire('b', 4, 100)).toEqual([range(3, 4, 2), range(10, 11)])
  })

  test('no more records are locked than allowed; acknowledged ones make room though they lie in the middle', () => {
    const { share } = sharePartition({ recordLocksMax: 10 })
    expect(share.acquire('a', 50, 100)).toEqual([range(0, 9)])
    expect(share.acquire('b', 50, 100)).toEqual([])
    share.acknowledge('a', [{ firstOffset: 5, lastOffset: 9, type: 'accept' }])
    expect(share.acquire('b', 50, 100)).toEqual([range(10, 14)])
    expect(share.startOffset).toBe(0)
  })
})

describe('acknowledging', () => {
  test('the start offset moves over what is finished from the front', () => {
    const { share } = sharePartition()
    share.acquire('a', 10, 10)
    share.acknowledge('a', [{ firstOffset: 2, lastOffset: 5, type: 'accept' }])
    expect(share.startOffset).toBe(0)
    share.acknowledge('a', [
      { firstOffset: 0, lastOffset: 0, type: 'accept' },
      { firstOffset: 1, lastOffset: 1, type: 'gap' },
    ])
    expect(share.startOffset).toBe(6)
    expect(share.counts).toMatchObject({ acquired: 4, accepted: 5 })
  })

  test('only by who holds every record of the range, and each range by itself', () => {
    const { share } = sharePartition()
    share.acquire('a', 5, 10)
    share.acquire('b', 5, 10)
    const outcome = share.acknowledge('a', [
      { firstOffset: 4, lastOffset: 5, type: 'accept' },
      { firstOffset: 0, lastOffset: 1, type: 'accept' },
      { firstOffset: 0, lastOffset: 0, type: 'accept' },
      { firstOffset: 90, lastOffset: 90, type: 'accept' },
      { firstOffset: 3, lastOffset: 2, type: 'accept' },
    ])
    expect(outcome).toEqual([false, true, false, false, false])
    expect(share.counts).toMatchObject({ acquired: 8, accepted: 2 })
  })

  test('a rejected record is archived when its dead letter is appended, and not before', () => {
    const { share } = sharePartition()
    share.acquire('a', 2, 2)
    share.acknowledge('a', [{ firstOffset: 0, lastOffset: 0, type: 'reject', reason: 'no address' }])
    const letter = { firstOffset: 0, lastOffset: 0, deliveryCount: 1, cause: 'rejected', reason: 'no address' }
    expect(share.takeDeadLetters()).toEqual([letter])
    expect(share.takeDeadLetters()).toEqual([])
    expect(share.startOffset).toBe(0)
    share.deadLettered(0, 0)
    expect(share.startOffset).toBe(1)
    expect(share.counts).toMatchObject({ archiving: 0, deadLettered: 1 })
  })

  test('at the delivery limit a release makes a dead letter, or archives where there is no topic for them', () => {
    for (const hasDeadLetters of [true, false]) {
      const { share } = sharePartition({ hasDeadLetters, deliveryCountLimit: 2 })
      for (const deliveryCount of [1, 2]) {
        expect(share.acquire('a', 1, 1)).toEqual([range(0, 0, deliveryCount)])
        share.acknowledge('a', [{ firstOffset: 0, lastOffset: 0, type: 'release' }])
      }
      expect(share.acquire('a', 1, 1)).toEqual([])
      const letter = { firstOffset: 0, lastOffset: 0, deliveryCount: 2, cause: 'delivery-limit' }
      expect(share.takeDeadLetters()).toEqual(hasDeadLetters ? [letter] : [])
      expect(share.startOffset).toBe(hasDeadLetters ? 0 : 1)
    }
  })

  test('a release of what did not reach the application does not count', () => {
    const { share } = sharePartition({ deliveryCountLimit: 1 })
    for (let times = 0; times < 3; times++) {
      expect(share.acquire('a', 1, 1)).toEqual([range(0, 0, 1)])
      share.acknowledge('a', [{ firstOffset: 0, lastOffset: 0, type: 'release', undelivered: true }])
    }
  })
})

describe('time', () => {
  test('a lock that is over releases, and whoever held it comes too late', () => {
    const { share, clock } = sharePartition()
    share.acquire('a', 2, 2)
    clock.advance(29_999)
    share.advance()
    share.acknowledge('a', [{ firstOffset: 1, lastOffset: 1, type: 'renew' }])
    clock.advance(1)
    expect(share.idleMs).toBe(0)
    share.advance()
    expect(share.acquire('b', 2, 2)).toEqual([range(0, 0, 2)])
    const outcome = share.acknowledge('a', [
      { firstOffset: 0, lastOffset: 0, type: 'accept' },
      { firstOffset: 1, lastOffset: 1, type: 'accept' },
    ])
    expect(outcome).toEqual([false, true])
  })

  test('a delayed record comes when it is due, and holds up nothing behind it meanwhile', () => {
    const { share, clock } = sharePartition({ recordLocksMax: 2 })
    share.acquire('a', 1, 1)
    share.acknowledge('a', [{ firstOffset: 0, lastOffset: 0, type: 'release', notBeforeMs: clock.nowMs() + 5_000 }])
    expect(share.idleMs).toBe(5_000)
    for (let offset = 1; offset < 10_000; offset += 2) {
      expect(share.acquire('a', 5, 10_000)).toHaveLength(1)
      share.acknowledge('a', [{ firstOffset: offset, lastOffset: Math.min(offset + 1, 9_999), type: 'accept' }])
    }
    expect(share.runs).toHaveLength(1)
    clock.advance(5_000)
    share.advance()
    expect(share.acquire('a', 5, 10_000)).toEqual([range(0, 0, 2)])
  })

  test('a record that is due sooner is not forgotten over one that is delayed after it', () => {
    const { share, clock } = sharePartition()
    share.acquire('a', 2, 2)
    share.acknowledge('a', [{ firstOffset: 0, lastOffset: 0, type: 'release', notBeforeMs: clock.nowMs() + 100 }])
    share.acknowledge('a', [{ firstOffset: 1, lastOffset: 1, type: 'release', notBeforeMs: clock.nowMs() + 900 }])
    clock.advance(100)
    share.advance()
    expect(share.acquire('a', 2, 2)).toEqual([range(0, 0, 2)])
  })

  test('when too many are delayed nothing new is acquired until one is due', () => {
    const { share, clock } = sharePartition({ delayedRecordsMax: 3 })
    share.acquire('a', 3, 10)
    share.acknowledge('a', [{ firstOffset: 0, lastOffset: 2, type: 'release', notBeforeMs: clock.nowMs() + 100 }])
    expect(share.acquire('a', 3, 10)).toEqual([])
    clock.advance(100)
    share.advance()
    expect(share.acquire('a', 4, 10)).toEqual([range(0, 2, 2), range(3, 3)])
  })
})

test('a member that leaves gives back what it holds, and no more', () => {
  const { share } = sharePartition()
  share.acquire('a', 5, 10)
  share.acquire('b', 5, 10)
  share.acknowledge('a', [{ firstOffset: 1, lastOffset: 1, type: 'accept' }])
  expect(share.leave('a')).toBe(4)
  expect(share.acquire('c', 10, 10)).toEqual([range(0, 0, 2), range(2, 4, 2)])
})

test('a log that lost its front or its end takes its records along', () => {
  const { share } = sharePartition()
  share.acquire('a', 10, 10)
  share.logStartMoved(4)
  expect(share.startOffset).toBe(4)
  share.logCut(7)
  expect(share.endOffset).toBe(7)
  expect(share.acquire('b', 10, 9)).toEqual([range(7, 8)])
  share.logStartMoved(20)
  expect([share.startOffset, share.endOffset, share.counts.acquired]).toEqual([20, 20, 0])
})

test('what is stored is what a restart needs: acquired comes back with its count, dead letters again', () => {
  const { share, clock } = sharePartition({ deliveryCountLimit: 2 })
  share.acquire('a', 1_500, 3_000)
  share.acknowledge('a', [
    { firstOffset: 0, lastOffset: 899, type: 'accept' },
    { firstOffset: 900, lastOffset: 900, type: 'reject', reason: 'is forgotten' },
    { firstOffset: 901, lastOffset: 901, type: 'release', notBeforeMs: clock.nowMs() + 500 },
    { firstOffset: 902, lastOffset: 902, type: 'release' },
  ])
  share.acquire('b', 1, 3_000)
  const stored = share.takeChanges()
  expect(stored.facts).toEqual({ startOffset: 900, endOffset: 1_500, accepted: 900, deadLettered: 0 })
  const rows: [number, readonly RunRow[]][] = [
    [
      0,
      [
        [900, 1, 3, 1, 0],
        [901, 1, 5, 1, clock.nowMs() + 500],
        [902, 1, 0, 2, 0],
        [903, 121, 0, 1, 0],
      ],
    ],
    [1, [[0, 476, 0, 1, 0]]],
  ]
  expect([...stored.blocks]).toEqual(rows)
  const again = new SharePartition({ ...SETTINGS, deliveryCountLimit: 2 }, clock, stored)
  expect(again.takeDeadLetters()).toEqual([
    { firstOffset: 900, lastOffset: 900, deliveryCount: 1, cause: 'rejected' },
    { firstOffset: 902, lastOffset: 902, deliveryCount: 2, cause: 'delivery-limit' },
  ])
  expect(again.acquire('c', 1, 3_000)).toEqual([range(903, 903, 2)])
  clock.advance(500)
  again.advance()
  expect(again.acquire('c', 1, 3_000)).toEqual([range(901, 901, 2)])
})
