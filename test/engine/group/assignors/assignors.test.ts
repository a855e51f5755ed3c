import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../../engine/base/brands.ts'
import type { ClientAssignment, ClientAssignor, ClientMember } from '../../../../engine/group/assignors/assignor.ts'
import { CLIENT_ASSIGNORS, SERVER_ASSIGNORS } from '../../../../engine/group/assignors/index.ts'
import { cooperativeStickyAssignor, stickyAssignor } from '../../../../engine/group/assignors/sticky.ts'
import { uniformAssignor } from '../../../../engine/group/assignors/uniform.ts'
import type { NamedPartitions } from '../../../../engine/group/consumer-protocol.ts'
import { PartitionSet } from '../../../../engine/group/partition-set.ts'

const golden = JSON.parse(readFileSync(new URL('../golden/groups.json', import.meta.url), 'utf8'))

function named(name: string): ClientAssignor {
  return CLIENT_ASSIGNORS.find(assignor => assignor.name === name) as ClientAssignor
}

function member(memberId: string, topics: string[], owned: NamedPartitions[] = [], generationId = -1): ClientMember {
  return { memberId, instanceId: null, topics, owned, generationId }
}

/** `t0-1` for each partition of each member. */
function flat(assignment: ClientAssignment): Record<string, string[]> {
  return Object.fromEntries(
    [...assignment].map(([memberId, topics]) => [
      memberId,
      topics.flatMap(({ topic, partitions }) => partitions.map(partition => `${topic}-${partition}`)),
    ]),
  )
}

/** The members again, owning what they were given. */
function owning(members: readonly ClientMember[], assignment: ClientAssignment, generationId: number): ClientMember[] {
  return members.map(one => ({ ...one, owned: assignment.get(one.memberId) ?? [], generationId }))
}

const t = (count: number, partitions: (topic: number) => number): Map<string, number> =>
  new Map(Array.from({ length: count }, (_, topic) => [`t${topic}`, partitions(topic)]))

describe('examples of Kafka’s documentation', () => {
  const two = [member('C0', ['t0', 't1']), member('C1', ['t0', 't1'])]
  const staircase = [member('C0', ['t0']), member('C1', ['t0', 't1']), member('C2', ['t0', 't1', 't2'])]

  test('range', () => {
    expect(
      flat(
        named('range').assign(
          t(2, () => 3),
          two,
        ),
      ),
    ).toEqual({
      C0: ['t0-0', 't0-1', 't1-0', 't1-1'],
      C1: ['t0-2', 't1-2'],
    })
  })

  test('round robin', () => {
    expect(
      flat(
        named('roundrobin').assign(
          t(2, () => 3),
          two,
        ),
      ),
    ).toEqual({
      C0: ['t0-0', 't0-2', 't1-1'],
      C1: ['t0-1', 't1-0', 't1-2'],
    })
    expect(
      flat(
        named('roundrobin').assign(
          t(3, topic => topic + 1),
          staircase,
        ),
      ),
    ).toEqual({
      C0: ['t0-0'],
      C1: ['t1-0'],
      C2: ['t1-1', 't2-0', 't2-1', 't2-2'],
    })
  })

  test('sticky, where all subscribe to the same and one leaves', () => {
    const topics = t(4, () => 2)
    const members = ['C0', 'C1', 'C2'].map(id => member(id, [...topics.keys()]))
    const before = stickyAssignor.assign(topics, members)
    expect(flat(before)).toEqual({
      C0: ['t0-0', 't1-1', 't3-0'],
      C1: ['t0-1', 't2-0', 't3-1'],
      C2: ['t1-0', 't2-1'],
    })
    const left = owning(members, before, 1).filter(({ memberId }) => memberId !== 'C1')
    expect(flat(stickyAssignor.assign(topics, left))).toEqual({
      C0: ['t0-0', 't1-1', 't2-0', 't3-0'],
      C2: ['t0-1', 't1-0', 't2-1', 't3-1'],
    })
  })

  test('sticky, where subscriptions differ and one leaves', () => {
    const topics = t(3, topic => topic + 1)
    const before = stickyAssignor.assign(topics, staircase)
    expect(flat(before)).toEqual({ C0: ['t0-0'], C1: ['t1-0', 't1-1'], C2: ['t2-0', 't2-1', 't2-2'] })
    expect(flat(stickyAssignor.assign(topics, owning(staircase, before, 1).slice(1)))).toEqual({
      C1: ['t0-0', 't1-0', 't1-1'],
      C2: ['t2-0', 't2-1', 't2-2'],
    })
  })
})

describe('the divisions of Kafka’s Java client', () => {
  const groups: (Record<string, Record<string, NamedPartitions[]>> & { members: ClientMember[] })[] = golden.groups

  test.each(['range', 'roundrobin'])('%s makes the same', name => {
    expect(groups).toHaveLength(80)
    for (const group of groups) {
      const partitionsOf = new Map(Object.entries(group['partitionsOf'] as unknown as Record<string, number>))
      expect(Object.fromEntries(named(name).assign(partitionsOf, group.members))).toEqual(group[name])
    }
  })

  // Which of several equal members gets one more is each assignor's own choice, so numbers are compared.
  test.each(['sticky', 'cooperative-sticky'])('%s is as even and moves as little', name => {
    for (const group of groups) {
      const partitionsOf = new Map(Object.entries(group['partitionsOf'] as unknown as Record<string, number>))
      const mine = Object.fromEntries(named(name).assign(partitionsOf, group.members))
      const yours = group[name] as Record<string, NamedPartitions[]>
      // Kafka's own gives partitions to a member without topics in some groups, which is even but wrong.
      if (group.members.some(({ memberId, topics }) => yours[memberId]?.some(({ topic }) => !topics.includes(topic)))) {
        continue
      }
      const isEqual = group.members.every(({ topics }) => topics.length === partitionsOf.size)
      if (name === 'sticky') expect(unevenness(mine)).toBeLessThanOrEqual(unevenness(yours))
      if (isEqual) expect(kept(group.members, mine)).toBeGreaterThanOrEqual(kept(group.members, yours))
    }
  })
})

/** The sum of the squared loads: of divisions of as many partitions, the most even one has the least. */
function unevenness(assignment: Record<string, NamedPartitions[]>): number {
  return Object.values(assignment).reduce((sum, topics) => {
    const load = topics.reduce((count, { partitions }) => count + partitions.length, 0)
    return sum + load * load
  }, 0)
}

/** How many partitions stayed with their owner. */
function kept(members: readonly ClientMember[], assignment: Record<string, NamedPartitions[]>): number {
  let count = 0
  for (const { memberId, owned } of members) {
    for (const { topic, partitions } of owned) {
      const now = assignment[memberId]?.find(one => one.topic === topic)?.partitions ?? []
      count += partitions.filter(partition => now.includes(partition)).length
    }
  }
  return count
}

const GROUPS = fc
  .record({
    counts: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 5 }),
    equal: fc.boolean(),
    masks: fc.array(fc.tuple(fc.nat(31), fc.boolean()), { minLength: 1, maxLength: 9 }),
    owners: fc.array(fc.nat(20), { minLength: 60, maxLength: 60 }),
  })
  .map(({ counts, equal, masks, owners }) => {
    const partitionsOf = t(counts.length, topic => counts[topic] as number)
    const names = [...partitionsOf.keys()]
    const ownedOf = (index: number): NamedPartitions[] =>
      names.map((topic, at) => ({
        topic,
        partitions: Array.from({ length: counts[at] as number }, (_, p) => p).filter(
          p => owners[at * 12 + p] === index,
        ),
      }))
    const members: ClientMember[] = masks.map(([mask, isStatic], at) => ({
      memberId: `m${at}`,
      instanceId: isStatic ? `i${masks.length - at}` : null,
      topics: equal ? names : names.filter((_, topic) => (mask >> topic) & 1),
      owned: ownedOf(at),
      generationId: 3,
    }))
    return { partitionsOf, members, equal }
  })

/** Every partition of a subscribed topic has exactly one owner, who subscribes to it. */
function expectComplete(
  partitionsOf: ReadonlyMap<string, number>,
  members: readonly ClientMember[],
  result: ClientAssignment,
): void {
  expect([...result.keys()].sort()).toEqual(members.map(({ memberId }) => memberId).sort())
  const seen = new Map<string, string>()
  for (const [memberId, topics] of result) {
    const subscribed = members.find(one => one.memberId === memberId)?.topics ?? []
    for (const { topic, partitions } of topics) {
      expect(subscribed).toContain(topic)
      for (const partition of partitions) {
        expect(seen.has(`${topic}-${partition}`)).toBe(false)
        seen.set(`${topic}-${partition}`, memberId)
      }
    }
  }
  let expected = 0
  for (const [topic, count] of partitionsOf) if (members.some(({ topics }) => topics.includes(topic))) expected += count
  expect(seen.size).toBe(expected)
}

function expectBalanced(members: readonly ClientMember[], result: ClientAssignment): void {
  const count = (memberId: string) => (flat(result)[memberId] as string[]).length
  for (const a of members) {
    for (const b of members) {
      if (a.topics.join() !== b.topics.join()) continue
      expect(Math.abs(count(a.memberId) - count(b.memberId))).toBeLessThanOrEqual(1)
    }
  }
}

describe('any group', () => {
  test.each(['range', 'roundrobin', 'sticky'])('%s gives every partition to one subscriber', name => {
    fc.assert(
      fc.property(GROUPS, ({ partitionsOf, members }) => {
        expectComplete(partitionsOf, members, named(name).assign(partitionsOf, members))
      }),
    )
  })

  test.each(CLIENT_ASSIGNORS)('$name does not depend on the order of the members', assignor => {
    fc.assert(
      fc.property(GROUPS, ({ partitionsOf, members }) => {
        const forwards = assignor.assign(partitionsOf, members)
        expect(flat(assignor.assign(partitionsOf, [...members].reverse()))).toEqual(flat(forwards))
      }),
    )
  })

  test('range is even within each topic', () => {
    fc.assert(
      fc.property(GROUPS, ({ partitionsOf, members }) => {
        const result = named('range').assign(partitionsOf, members)
        for (const topic of partitionsOf.keys()) {
          const counts = members
            .filter(({ topics }) => topics.includes(topic))
            .map(({ memberId }) => result.get(memberId)?.find(one => one.topic === topic)?.partitions.length ?? 0)
          if (counts.length > 0) expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
        }
      }),
    )
  })

  test('sticky is even among those with equal subscriptions, and stays as it is when nothing changes', () => {
    fc.assert(
      fc.property(GROUPS, ({ partitionsOf, members }) => {
        const result = stickyAssignor.assign(partitionsOf, members)
        expectBalanced(members, result)
        const again = stickyAssignor.assign(partitionsOf, owning(members, result, 4))
        expect(flat(again)).toEqual(flat(result))
      }),
    )
  })

  test('sticky moves no more than the balance demands where all subscribe to the same', () => {
    fc.assert(
      fc.property(
        GROUPS.filter(({ equal }) => equal),
        ({ partitionsOf, members }) => {
          const result = Object.fromEntries(stickyAssignor.assign(partitionsOf, members))
          const total = [...partitionsOf.values()].reduce((sum, count) => sum + count, 0)
          const share = Math.floor(total / members.length)
          const owned = members.map(one => one.owned.reduce((sum, { partitions }) => sum + partitions.length, 0))
          // All may keep their share, and those who own more than it one more, as far as there is a rest.
          const keeps = owned.reduce((sum, count) => sum + Math.min(count, share), 0)
          const extra = Math.min(owned.filter(count => count > share).length, total % members.length)
          expect(kept(members, result)).toBe(keeps + extra)
        },
      ),
    )
  })

  test('cooperative-sticky never gives what another still owns, and gets there in two steps', () => {
    fc.assert(
      fc.property(GROUPS, ({ partitionsOf, members, equal }) => {
        const first = cooperativeStickyAssignor.assign(partitionsOf, members)
        const owners = new Map(
          members.flatMap(({ memberId, owned }) =>
            owned.flatMap(({ topic, partitions }) =>
              partitions.map(p => [`${topic}-${p}` as string, memberId] as const),
            ),
          ),
        )
        for (const [memberId, partitions] of Object.entries(flat(first))) {
          for (const partition of partitions) expect(owners.get(partition) ?? memberId).toBe(memberId)
        }
        const second = cooperativeStickyAssignor.assign(partitionsOf, owning(members, first, 4))
        if (!equal) return
        expectComplete(partitionsOf, members, second)
        expectBalanced(members, second)
        // What was given in the first step stays in the second.
        for (const [memberId, partitions] of Object.entries(flat(first))) {
          expect(flat(second)[memberId]).toEqual(expect.arrayContaining(partitions))
        }
      }),
    )
  })

  test('cooperative-sticky comes to rest where subscriptions differ, balanced', () => {
    fc.assert(
      fc.property(GROUPS, ({ partitionsOf, members }) => {
        let [before, now] = ['', cooperativeStickyAssignor.assign(partitionsOf, members)]
        for (let step = 0; before !== JSON.stringify(flat(now)); step++) {
          expect(step).toBeLessThan(8)
          before = JSON.stringify(flat(now))
          now = cooperativeStickyAssignor.assign(partitionsOf, owning(members, now, step + 4))
        }
        expectComplete(partitionsOf, members, now)
        expectBalanced(members, now)
      }),
    )
  })

  test('of two claims the later generation is right, and of equal ones neither', () => {
    const owned = [{ topic: 't0', partitions: [0] }]
    const topics = t(1, () => 2)
    const stale = member('a', ['t0'], owned, 1)
    const right = member('b', ['t0'], owned, 2)
    expect(flat(stickyAssignor.assign(topics, [stale, right]))).toEqual({ a: ['t0-1'], b: ['t0-0'] })
    // Cooperative: while another claims it, nobody is given it.
    expect(flat(cooperativeStickyAssignor.assign(topics, [stale, right]))).toEqual({ a: ['t0-1'], b: [] })
    expect(flat(stickyAssignor.assign(topics, [{ ...stale, generationId: 2 }, right]))).toEqual({
      a: ['t0-0'],
      b: ['t0-1'],
    })
  })
})

describe('assignors of the coordinator', () => {
  const ids = (topics: readonly string[]) => topics as readonly TopicId[]

  test.each(SERVER_ASSIGNORS)('$name gives every partition to one subscriber', assignor => {
    fc.assert(
      fc.property(GROUPS, ({ partitionsOf, members }) => {
        const targets = assignor.assign(
          partitionsOf as Map<string, number> as unknown as ReadonlyMap<TopicId, number>,
          members.map(one => ({ ...one, topicIds: ids(one.topics), target: new PartitionSet() })),
        )
        const result: ClientAssignment = new Map(
          [...targets].map(([memberId, target]) => [
            memberId,
            target
              .toTopics()
              .map(({ topicId, partitions }) => ({ topic: topicId as string, partitions: [...partitions] })),
          ]),
        )
        expectComplete(partitionsOf, members, result)
        if (assignor === uniformAssignor) expectBalanced(members, result)
      }),
    )
  })

  test('uniform keeps targets, and takes only what the balance demands', () => {
    const partitionsOf = new Map([['a' as TopicId, 6]])
    const target = PartitionSet.of([{ topicId: 'a' as TopicId, partitions: [0, 1, 2, 3, 4, 5] }])
    const one = { instanceId: null, topicIds: ids(['a']) }
    const after = uniformAssignor.assign(partitionsOf, [
      { ...one, memberId: 'x', target },
      { ...one, memberId: 'y', target: new PartitionSet() },
    ])
    expect(after.get('x')?.toTopics()).toEqual([{ topicId: 'a', partitions: [0, 1, 2] }])
    expect(after.get('y')?.toTopics()).toEqual([{ topicId: 'a', partitions: [3, 4, 5] }])
  })

  test('partitions and topics that are gone are left out', () => {
    const target = PartitionSet.of([{ topicId: 'a' as TopicId, partitions: [0, 9] }])
    const member = { memberId: 'x', instanceId: null, topicIds: ids(['a']), target }
    expect(
      uniformAssignor
        .assign(new Map([['a' as TopicId, 2]]), [member])
        .get('x')
        ?.toTopics(),
    ).toEqual([{ topicId: 'a', partitions: [0, 1] }])
    expect(uniformAssignor.assign(new Map(), [{ ...member, topicIds: [] }]).get('x')?.size).toBe(0)
  })
})
