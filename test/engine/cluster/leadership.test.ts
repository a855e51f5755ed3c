import { describe, expect, test } from 'vitest'
import { type FollowerFetch, Leadership, type LeadershipStart } from '../../../engine/cluster/leadership.ts'

const LAG_MAX_MS = 1_000

function leader(start: Partial<LeadershipStart> = {}): Leadership {
  return new Leadership({
    brokerId: 1,
    leaderEpoch: 5,
    logEndOffset: 10,
    highWatermark: 4,
    replicas: [1, 2, 3],
    isr: { brokerIds: [1, 2, 3], version: 7 },
    nowMs: 0,
    ...start,
  })
}

function fetch(brokerId: number, offset: number, rest: Partial<FollowerFetch> = {}): FollowerFetch {
  const process = { brokerEpoch: 1, registeredEpoch: 1 }
  return { brokerId, ...process, leaderEpoch: 5, offset, isDiverging: false, nowMs: 0, ...rest }
}

describe('the high watermark', () => {
  test('is what all in sync have, and begins with what was known', () => {
    const one = leader()
    expect([one.highWatermark, one.knowsItsEnd]).toEqual([4, false])
    one.appended(12)
    one.fetched(fetch(2, 12))
    expect(one.highWatermark).toBe(4)
    one.fetched(fetch(3, 9))
    expect([one.highWatermark, one.knowsItsEnd]).toEqual([9, false])
    one.fetched(fetch(3, 11))
    expect([one.highWatermark, one.knowsItsEnd]).toEqual([11, true])
  })

  test('is the end of the log where nobody else is in sync', () => {
    const one = leader({ isr: { brokerIds: [1], version: 7 } })
    one.appended(11)
    expect(one.highWatermark).toBe(11)
  })

  test('is moved by no fetch of another epoch, of a stranger, of an old process, or of a log that diverges', () => {
    const one = leader({ replicas: [1, 2], isr: { brokerIds: [1, 2], version: 7 } })
    const outcomes = [
      one.fetched(fetch(2, 10, { leaderEpoch: 4 })),
      one.fetched(fetch(2, 10, { leaderEpoch: 6 })),
      one.fetched(fetch(9, 10)),
      one.fetched(fetch(2, 10, { registeredEpoch: 2 })),
      one.fetched(fetch(2, 10, { registeredEpoch: undefined })),
      one.fetched(fetch(2, 10, { isDiverging: true })),
      one.fetched(fetch(2, 11)),
    ]
    expect(outcomes).toEqual([
      'fenced',
      'unknown-epoch',
      'not-a-replica',
      'stale-broker',
      'stale-broker',
      'diverging',
      'diverging',
    ])
    expect(one.highWatermark).toBe(4)
    expect(one.fetched(fetch(2, 10))).toBe('taken')
    expect(one.highWatermark).toBe(10)
  })
})

describe('who is in sync', () => {
  test('a follower that lags goes, and holds the watermark until the store said so', () => {
    const one = leader()
    one.fetched(fetch(2, 10, { nowMs: 900 }))
    expect(one.propose(1_000, LAG_MAX_MS)).toBe(undefined)
    const proposal = one.propose(1_001, LAG_MAX_MS)
    expect(proposal).toEqual({ brokerIds: [1, 2], basedOn: 7, comes: [] })
    expect(one.propose(9_999, LAG_MAX_MS)).toBe(undefined)
    expect(one.highWatermark).toBe(4)
    one.stored({ brokerIds: [1, 2, 3], version: 7 })
    expect(one.proposal).toBe(proposal)
    one.stored({ brokerIds: [1, 2], version: 8 })
    expect([one.highWatermark, one.proposal]).toEqual([10, undefined])
  })

  test('a follower that keeps up with what was there at its last fetch does not lag', () => {
    const one = leader({ replicas: [1, 2], isr: { brokerIds: [1, 2], version: 7 } })
    for (let nowMs = 0; nowMs <= 5_000; nowMs += 500) {
      one.fetched(fetch(2, one.logEndOffset, { nowMs }))
      one.appended(one.logEndOffset + 3)
      expect(one.propose(nowMs, LAG_MAX_MS)).toBe(undefined)
    }
  })

  test('a follower that has everything and does not fetch is left in', () => {
    const one = leader({ replicas: [1, 2], isr: { brokerIds: [1, 2], version: 7 } })
    one.fetched(fetch(2, 10))
    expect(one.propose(99_999, LAG_MAX_MS)).toBe(undefined)
  })

  test('who comes has what is committed, and what was there when the epoch began', () => {
    const one = leader({ isr: { brokerIds: [1, 2], version: 7 } })
    one.fetched(fetch(3, 9)) // above the watermark that is known here, which may be too low
    expect(one.propose(1, LAG_MAX_MS)).toBe(undefined)
    one.fetched(fetch(3, 10, { brokerEpoch: 4, registeredEpoch: 4 }))
    one.appended(12)
    expect(one.propose(1, LAG_MAX_MS)).toEqual({
      brokerIds: [1, 2, 3],
      basedOn: 7,
      comes: [{ brokerId: 3, brokerEpoch: 4 }],
    })
    one.fetched(fetch(2, 12))
    expect(one.highWatermark).toBe(10) // it may be in already
    one.fetched(fetch(3, 12))
    expect(one.highWatermark).toBe(12)
  })

  test('who is another process by now, or was not heard of for long, does not come', () => {
    const one = leader({ isr: { brokerIds: [1], version: 7 } })
    one.fetched(fetch(2, 10))
    one.fetched(fetch(3, 10, { nowMs: 1_000 }))
    one.fetched(fetch(3, 10, { nowMs: 1_000, registeredEpoch: 2 }))
    expect(one.propose(1_001, LAG_MAX_MS)).toBe(undefined)
  })

  test('a replica that is not to have the partition any more goes', () => {
    const one = leader({ replicas: [1, 2] })
    one.fetched(fetch(2, 10))
    expect(one.propose(1, LAG_MAX_MS)?.brokerIds).toEqual([1, 2])
  })

  test('a refusal decides by what the store has', () => {
    const one = leader({ isr: { brokerIds: [1, 2], version: 7 } })
    one.fetched(fetch(3, 10))
    const proposal = one.propose(1, LAG_MAX_MS)
    if (proposal === undefined) throw new Error('nothing is proposed')
    one.fetched(fetch(2, 10))
    one.appended(12)
    one.fetched(fetch(2, 12))
    expect(one.highWatermark).toBe(10)
    one.refused(proposal, { brokerIds: [1, 2], version: 7 })
    expect([one.proposal, one.highWatermark]).toEqual([undefined, 12])
    one.fetched(fetch(3, 12))
    expect(one.propose(2, LAG_MAX_MS)).toEqual(proposal)
    // A copy of it was carried out before.
    one.refused(proposal, { brokerIds: [1, 2, 3], version: 8 })
    expect([one.isr.version, one.proposal]).toEqual([8, undefined])
    one.stored({ brokerIds: [1, 2], version: 7 }) // read before
    expect(one.isr.version).toBe(8)
  })
})

test('acks=all waits for the watermark, and asks who is in sync before and after', () => {
  const one = leader({ isr: { brokerIds: [1, 2], version: 7 } })
  expect([one.hasEnough(2), one.hasEnough(3)]).toEqual([true, false])
  one.appended(12)
  one.fetched(fetch(2, 11))
  expect(one.acknowledges(12, 2)).toBe('waits')
  one.fetched(fetch(2, 12))
  expect(one.acknowledges(12, 2)).toBe('done')
  one.stored({ brokerIds: [1], version: 8 })
  expect(one.acknowledges(12, 2)).toBe('not-enough-replicas')
})
