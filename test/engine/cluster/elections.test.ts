import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { Random } from '../../../engine/base/random.ts'
import { type ClusterPartition, NO_LEADER } from '../../../engine/cluster/cluster-state.ts'
import { type Electorate, transitionOf, transitionsOf } from '../../../engine/cluster/elections.ts'
import { placeReplicas } from '../../../engine/cluster/placement.ts'

const partition = (changes: Partial<ClusterPartition> = {}): ClusterPartition => ({
  topicId: 't' as TopicId,
  partition: 0,
  version: 1,
  replicas: [1, 2, 3],
  isr: [1, 2, 3],
  leader: 1,
  leaderEpoch: 4,
  ...changes,
})

const electorate = (live: number[], changes: Partial<Electorate> = {}): Electorate => ({
  live: new Set(live),
  draining: new Set(),
  prefersFirst: false,
  isUnclean: () => false,
  ...changes,
})

describe('elections', () => {
  test('nothing changes while the leader is there and everybody in sync is', () => {
    expect(transitionOf(partition(), electorate([1, 2, 3, 4]))).toBeUndefined()
    expect(transitionOf(partition({ isr: [1, 3] }), electorate([1, 2, 3]))).toBeUndefined()
  })

  test('the first replica in sync follows a leader that is gone, under the next epoch', () => {
    const transition = transitionOf(partition({ isr: [1, 3] }), electorate([2, 3]))
    expect(transition?.to).toEqual({ replicas: [1, 2, 3], isr: [3], leader: 3, leaderEpoch: 5 })
    expect(transition?.isUnclean).toBe(false)
  })

  test('a follower that is gone leaves the in-sync replicas, and the epoch stays', () => {
    expect(transitionOf(partition(), electorate([1, 3]))?.to).toMatchObject({ isr: [1, 3], leader: 1, leaderEpoch: 4 })
  })

  test('partitions that get another leader come before those that only lose a replica', () => {
    const led = [2, 1, 3, 1].map((leader, number) => partition({ partition: number, leader }))
    const order = transitionsOf(led, electorate([2, 3])).map(({ partition: { partition: number } }) => number)
    expect(order).toEqual([1, 3, 0, 2])
  })

  test('the last one in sync stays so, and nobody else leads', () => {
    const gone = transitionOf(partition({ isr: [1] }), electorate([2, 3]))
    expect(gone?.to).toMatchObject({ isr: [1], leader: NO_LEADER, leaderEpoch: 5 })
    const waits = partition({ isr: [1], leader: NO_LEADER, leaderEpoch: 5 })
    expect(transitionOf(waits, electorate([2, 3]))).toBeUndefined()
    expect(transitionOf(waits, electorate([1, 2, 3]))?.to).toMatchObject({ isr: [1], leader: 1, leaderEpoch: 6 })
  })

  test('an unclean election happens only where a topic asks for it, and says what it is', () => {
    const transition = transitionOf(partition({ isr: [1] }), electorate([2, 3], { isUnclean: () => true }))
    expect(transition?.to).toMatchObject({ isr: [2], leader: 2, leaderEpoch: 5 })
    expect(transition?.isUnclean).toBe(true)
  })

  test('a broker that drains gives its leaders away, and is not waited for, if there is anybody else', () => {
    const draining = new Set([1])
    expect(transitionOf(partition(), electorate([1, 2, 3], { draining }))?.to).toMatchObject({
      leader: 2,
      isr: [2, 3],
    })
    expect(transitionOf(partition({ isr: [1] }), electorate([1, 2, 3], { draining }))).toBeUndefined()
    const all = new Set([1, 2, 3])
    expect(transitionOf(partition(), electorate([1, 2, 3], { draining: all }))).toBeUndefined()
    expect(transitionOf(partition(), electorate([2], { draining: all }))?.to).toMatchObject({ leader: 2, isr: [2] })
  })

  test('leaders go back to the first replica only when that is asked for', () => {
    const moved = partition({ leader: 2 })
    expect(transitionOf(moved, electorate([1, 2, 3]))).toBeUndefined()
    expect(transitionOf(moved, electorate([1, 2, 3], { prefersFirst: true }))?.to).toMatchObject({
      leader: 1,
      leaderEpoch: 5,
    })
    expect(transitionOf({ ...moved, isr: [2, 3] }, electorate([1, 2, 3], { prefersFirst: true }))).toBeUndefined()
  })

  test('a reassignment is over once those that come are in sync, and not before', () => {
    const moving = partition({ replicas: [4, 5, 1, 2, 3], adding: [4, 5], removing: [1, 2, 3] })
    const live = electorate([1, 2, 3, 4, 5])
    expect(transitionOf({ ...moving, isr: [1, 2, 3, 4] }, live)).toBeUndefined()
    const over = transitionOf({ ...moving, isr: [1, 2, 3, 4, 5] }, live)
    expect(over?.to).toEqual({ replicas: [4, 5], isr: [4, 5], leader: 4, leaderEpoch: 5 })
  })

  test('whatever happens, a leader is live and in sync, and the in-sync replicas are never empty', () => {
    const random = new Random(20_261_127)
    const some = (from: number[]): number[] => from.filter(() => random.below(2) === 0)
    for (let round = 0; round < 20_000; round++) {
      const replicas = [1, 2, 3, 4, 5].slice(0, 1 + random.below(5))
      const isr = some(replicas)
      if (isr.length === 0) continue
      const leader = random.below(4) === 0 ? NO_LEADER : (isr[random.below(isr.length)] as number)
      const live = some([1, 2, 3, 4, 5])
      const draining = new Set(some(live))
      const before = partition({ replicas, isr, leader })
      const chosen = electorate(live, { draining, prefersFirst: random.below(2) === 0 })
      const to = transitionOf(before, chosen)?.to ?? before
      expect(to.isr.length).toBeGreaterThan(0)
      expect(isr).toEqual(expect.arrayContaining([...to.isr]))
      if (to.leader !== NO_LEADER) expect(to.isr.includes(to.leader) && live.includes(to.leader)).toBe(true)
      else expect(isr.some(id => live.includes(id))).toBe(false)
      expect(to.leaderEpoch).toBe(to.leader === leader ? 4 : 5)
      expect(transitionOf({ ...before, ...to }, chosen)).toBeUndefined() // once is enough
    }
  })
})

describe('placement', () => {
  test('no broker has two replicas of a partition, and each has as many as the others', () => {
    for (const [brokers, factor, partitions] of [
      [3, 3, 6],
      [5, 3, 20],
      [6, 2, 30],
      [4, 1, 8],
      [1, 1, 3],
    ] as const) {
      const ids = Array.from({ length: brokers }, (_, index) => 10 * index)
      const placed = placeReplicas(ids, 0, partitions, factor, 7)
      const counts = new Map<number, number>()
      const leaders = new Map<number, number>()
      for (const replicas of placed) {
        expect(new Set(replicas).size).toBe(factor)
        for (const id of replicas) counts.set(id, (counts.get(id) ?? 0) + 1)
        const [leader] = replicas as [number]
        leaders.set(leader, (leaders.get(leader) ?? 0) + 1)
      }
      const spread = (of: Map<number, number>): number => Math.max(...of.values()) - Math.min(...of.values())
      expect(spread(leaders)).toBeLessThanOrEqual(1)
      expect(spread(counts)).toBeLessThanOrEqual(factor)
    }
  })

  test('more partitions go on where the first ended', () => {
    const whole = placeReplicas([1, 2, 3], 0, 10, 2, 0)
    expect(placeReplicas([1, 2, 3], 4, 6, 2, 0)).toEqual(whole.slice(4))
  })

  test.for([0, 4, -1])('%i replicas on three brokers are refused', factor => {
    expect(() => placeReplicas([1, 2, 3], 0, 1, factor, 0)).toThrow('INVALID_REPLICATION_FACTOR')
  })
})
