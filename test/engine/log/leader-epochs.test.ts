/** Ends of leader epochs, and where two logs differ, against plain lists of records that know their epoch. */
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import type { EpochEntry } from '../../../engine/format/leader-epoch-checkpoint.ts'
import { divergence, endOffsetForEpoch, withEpoch } from '../../../engine/log/leader-epochs.ts'

/** The epoch of each record, by offset. */
type ModelLog = readonly number[]

function entriesOf(log: ModelLog): EpochEntry[] {
  const entries: EpochEntry[] = []
  for (const [startOffset, epoch] of log.entries()) {
    if (epoch > (entries.at(-1)?.epoch ?? -1)) entries.push({ epoch, startOffset })
  }
  return entries
}

function grow(random: Random, log: ModelLog, epochs: readonly number[]): number[] {
  const grown = [...log]
  for (const epoch of epochs) for (let count = random.below(4); count > 0; count--) grown.push(epoch)
  return grown
}

describe('endOffsetForEpoch', () => {
  const entries = [
    { epoch: 2, startOffset: 10 },
    { epoch: 5, startOffset: 20 },
    { epoch: 6, startOffset: 35 },
  ]

  test.each([
    [0, { leaderEpoch: 0, endOffset: 10 }], // older than all that are known
    [2, { leaderEpoch: 2, endOffset: 20 }],
    [4, { leaderEpoch: 2, endOffset: 20 }],
    [5, { leaderEpoch: 5, endOffset: 35 }],
    [6, { leaderEpoch: 6, endOffset: 50 }],
    [7, undefined],
    [-1, undefined],
  ])('epoch %i', (epoch, end) => {
    expect(endOffsetForEpoch(entries, epoch, 50)).toEqual(end)
    expect(endOffsetForEpoch([], epoch, 0)).toBeUndefined()
  })

  test('random logs', () => {
    const random = new Random(testSeed())
    for (let round = 0; round < 300; round++) {
      const log = grow(random, [], [0, 1, 3, 4, 7])
      for (let epoch = 0; epoch <= 8; epoch++) {
        const end = endOffsetForEpoch(entriesOf(log), epoch, log.length)
        const latest = log.at(-1) ?? -1
        expect(end?.endOffset).toBe(epoch > latest ? undefined : log.filter(each => each <= epoch).length)
      }
    }
  })
})

describe('divergence', () => {
  test('a follower that asks until it is final has a prefix of its leader', () => {
    const random = new Random(testSeed())
    for (let round = 0; round < 2_000; round++) {
      // Each epoch has one leader; its records are told apart by it, so equal epochs at an offset are equal records.
      const shared = grow(random, [], [0, 1])
      const leader = grow(random, shared, [2, 4, 5, 8])
      let follower = grow(random, shared, [3, 6, 7])
      for (let asked = 0; follower.length > 0; asked++) {
        expect(asked).toBeLessThan(20)
        const answer = endOffsetForEpoch(entriesOf(leader), follower.at(-1) as number, leader.length)
        if (answer === undefined) break // an epoch that the leader does not know: it is behind, and no leader
        const { offset, isFinal } = divergence(entriesOf(follower), follower.length, answer)
        expect(offset).toBeGreaterThanOrEqual(Math.min(shared.length, follower.length))
        follower = follower.slice(0, offset)
        if (isFinal) {
          expect(leader.slice(0, follower.length), `seed ${random.seed}, round ${round}`).toEqual(follower)
          break
        }
      }
    }
  })
})

test('an epoch that begins where the one before did replaces it', () => {
  const first = withEpoch([], 0, 0)
  const second = withEpoch(first, 3, 12)
  expect(second).toEqual([
    { epoch: 0, startOffset: 0 },
    { epoch: 3, startOffset: 12 },
  ])
  expect(withEpoch(second, 4, 12)).toEqual([
    { epoch: 0, startOffset: 0 },
    { epoch: 4, startOffset: 12 },
  ])
})
