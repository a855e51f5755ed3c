import { describe, expect, test } from 'vitest'
import type { ConsumerGroupHeartbeat } from '../../../../engine/group/requests.ts'
import { beat, Coordinator, commitRequest, enter, GROUP, owns, topicIdOf } from '../support/coordinator.ts'

/** A member's heartbeat that says what it owns of topic `t`. */
function owning(memberId: string, epoch: number, ...partitions: number[]) {
  return beat(memberId, epoch, { topicPartitions: partitions.length === 0 ? [] : owns('t', ...partitions) })
}

function coordinator(partitions = 4, config = {}): Coordinator {
  const one = new Coordinator(config)
  one.topic('t', partitions)
  return one
}

/** Member `a` alone, at epoch 1, with all four partitions. */
function alone(config = {}): Coordinator {
  const one = coordinator(4, config)
  one.ask<'ConsumerGroupHeartbeat'>(enter('a'))
  return one
}

/** Members `a` and `b` with two partitions each, both at epoch 2. */
function pair(config = {}): Coordinator {
  const one = alone(config)
  one.ask<'ConsumerGroupHeartbeat'>(enter('b'))
  one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))
  one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1))
  one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2))
  return one
}

const describeIt = { type: 'ConsumerGroupDescribe', groupId: GROUP } as const

describe('joining', () => {
  test('gives the only member everything at once', () => {
    expect(coordinator().ask<'ConsumerGroupHeartbeat'>(enter('a'))).toEqual({
      type: 'ConsumerGroupHeartbeat',
      memberId: 'a',
      memberEpoch: 1,
      heartbeatIntervalMs: 5_000,
      assignment: [{ topicId: topicIdOf('t'), partitions: [0, 1, 2, 3] }],
    })
  })

  test('without an id gives one', () => {
    expect(coordinator().ask<'ConsumerGroupHeartbeat'>(enter('')).memberId).toBe('id1')
  })

  test('once more gives the same again', () => {
    const one = alone()
    const writes = one.writes.length
    expect(one.ask<'ConsumerGroupHeartbeat'>(enter('a'))).toMatchObject({
      memberEpoch: 1,
      assignment: owns('t', 0, 1, 2, 3),
    })
    expect(one.writes.length).toBe(writes)
  })

  test('sends no assignment when nothing changed', () => {
    const one = alone()
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1)).assignment).toBeNull()
    const full = { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ['t'], topicPartitions: owns('t', 0, 1, 2, 3) }
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1, full)).assignment).toEqual(owns('t', 0, 1, 2, 3))
  })

  test.each<[string, string, Partial<ConsumerGroupHeartbeat>, number]>([
    ['INVALID_ARGUMENT', 'a', { rebalanceTimeoutMs: -1 }, 0],
    ['INVALID_ARGUMENT', 'a', { topicPartitions: null }, 0],
    ['INVALID_ARGUMENT', 'a', { topicPartitions: owns('t', 1) }, 0],
    ['INVALID_ARGUMENT', 'a', { subscribedTopicNames: null }, 0],
    ['INVALID_ARGUMENT', 'a', { instanceId: '' }, 0],
    ['INVALID_ARGUMENT', 'a', { rackId: '' }, 0],
    ['INVALID_ARGUMENT', '', {}, 1],
    ['INVALID_ARGUMENT', 'a', {}, -3],
    ['INVALID_ARGUMENT', 'a', {}, -2],
    ['INVALID_GROUP_ID', 'a', { groupId: '' }, 0],
    ['UNSUPPORTED_ASSIGNOR', 'a', { serverAssignor: 'own' }, 0],
    ['INVALID_REGULAR_EXPRESSION', 'a', { subscribedTopicRegex: '(' }, 0],
    ['INVALID_REGULAR_EXPRESSION', 'a', { subscribedTopicRegex: '(a)\\1' }, 0],
    ['GROUP_ID_NOT_FOUND', 'a', {}, 3],
    ['GROUP_ID_NOT_FOUND', 'a', {}, -1],
  ])('is refused with %s for %s, %j, %i, and leaves nothing behind', (code, memberId, more, memberEpoch) => {
    const one = coordinator()
    expect(one.refusal({ ...enter(memberId, ['t'], more), memberEpoch })).toBe(code)
    expect(one.machine.group(GROUP)).toBeUndefined()
    expect(one.writes).toEqual([])
  })

  test('is refused where the group is full, but not for its members', () => {
    const one = alone({ consumerSizeMax: 1 })
    expect(one.refusal(enter('b'))).toBe('GROUP_MAX_SIZE_REACHED')
    one.ask<'ConsumerGroupHeartbeat'>(enter('a'))
  })
})

describe('a second member', () => {
  test('gets its part only when the first has given it up', () => {
    const one = alone()
    expect(one.ask<'ConsumerGroupHeartbeat'>(enter('b'))).toMatchObject({ memberEpoch: 2, assignment: [] })
    // The first is told what it keeps, and stays at its epoch until it says that it owns no more.
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))).toMatchObject({
      memberEpoch: 1,
      assignment: owns('t', 0, 1),
    })
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))).toMatchObject({ memberEpoch: 1, assignment: null })
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1, 2, 3)).memberEpoch).toBe(1)
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1, 2)).memberEpoch).toBe(1)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2)).assignment).toBeNull()
    expect(one.ask<'ConsumerGroupDescribe'>(describeIt).state).toBe('Reconciling')
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1))).toMatchObject({ memberEpoch: 2, assignment: null })
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2))).toMatchObject({
      memberEpoch: 2,
      assignment: owns('t', 2, 3),
    })
    expect(one.ask<'ConsumerGroupDescribe'>(describeIt)).toMatchObject({
      state: 'Stable',
      groupEpoch: 2,
      assignmentEpoch: 2,
    })
  })

  test('and a third at the same time, each step of the first towards the latest target', () => {
    const one = alone()
    one.ask<'ConsumerGroupHeartbeat'>(enter('b'))
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1)).assignment).toEqual(owns('t', 0, 1))
    one.ask<'ConsumerGroupHeartbeat'>(enter('c'))
    one.ask<'ConsumerGroupHeartbeat'>(enter('d'))
    // It gave up what it was told to, and has to give up one more for the new target.
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1))).toMatchObject({
      memberEpoch: 2,
      assignment: owns('t', 0),
    })
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 2, 0))).toMatchObject({ memberEpoch: 4, assignment: null })
    const all = ['b', 'c', 'd'].map(id => {
      const epoch = one.ask<'ConsumerGroupDescribe'>(describeIt).members.find(m => m.memberId === id)
        ?.memberEpoch as number
      return one.ask<'ConsumerGroupHeartbeat'>(beat(id, epoch)).assignment?.[0]?.partitions
    })
    expect(all.flat().sort()).toEqual([1, 2, 3])
  })

  test('that leaves gives everything back', () => {
    const one = pair()
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', -1))).toMatchObject({
      memberId: 'b',
      memberEpoch: -1,
      assignment: null,
    })
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 2))).toMatchObject({
      memberEpoch: 3,
      assignment: owns('t', 0, 1, 2, 3),
    })
  })

  test('that is not heard from is out after the session timeout', () => {
    const one = pair()
    one.advance(44_999)
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', 2))
    one.advance(1)
    expect(one.refusal(beat('b', 2))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 2)).assignment).toEqual(owns('t', 0, 1, 2, 3))
  })
})

describe('a member that does not give up', () => {
  test('in its rebalance timeout is fenced, however lively it is', () => {
    const one = alone()
    one.ask<'ConsumerGroupHeartbeat'>(enter('b'))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))
    for (let at = 0; at < 5; at++) {
      one.advance(10_000)
      one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1, 2, 3))
      one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2))
    }
    one.advance(10_000)
    expect(one.refusal(owning('a', 1, 0, 1, 2, 3))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2)).assignment).toEqual(owns('t', 0, 1, 2, 3))
  })

  test('in time has its deadline taken away', () => {
    const one = pair()
    for (let at = 0; at < 10; at++) {
      one.advance(20_000)
      one.ask<'ConsumerGroupHeartbeat'>(beat('a', 2))
      one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2))
    }
  })
})

describe('epochs', () => {
  test('other than the member’s are fenced', () => {
    const one = pair()
    expect(one.refusal(beat('a', 3))).toBe('FENCED_MEMBER_EPOCH')
    expect(one.refusal(beat('a', 1))).toBe('FENCED_MEMBER_EPOCH')
    expect(one.refusal(beat('nobody', 2))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('that are the one before are taken from a member that missed the answer, if it owns no more than it may', () => {
    const one = pair()
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1))).toMatchObject({ memberEpoch: 2 })
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1))).toMatchObject({ memberEpoch: 2 })
    expect(one.refusal(owning('a', 1, 0, 1, 2))).toBe('FENCED_MEMBER_EPOCH')
  })

  test('a member that was fenced begins again at 0', () => {
    const one = pair()
    expect(one.ask<'ConsumerGroupHeartbeat'>(enter('a'))).toMatchObject({ memberEpoch: 2, assignment: owns('t', 0, 1) })
  })
})

describe('subscriptions', () => {
  test('may change', () => {
    const one = alone()
    one.topic('u', 1)
    const changed = one.ask<'ConsumerGroupHeartbeat'>(
      beat('a', 1, { subscribedTopicNames: ['u', 'u'], topicPartitions: owns('t', 0, 1, 2, 3) }),
    )
    // What it owns of `t` has to go first.
    expect(changed).toMatchObject({ memberEpoch: 1, assignment: [] })
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1))).toMatchObject({
      memberEpoch: 2,
      assignment: owns('u', 0),
    })
  })

  test('follow topics that grow, come and go, at the next heartbeat', () => {
    const one = coordinator(1)
    one.ask<'ConsumerGroupHeartbeat'>(enter('a', ['t', 'u']))
    one.topic('other', 3)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1)).memberEpoch).toBe(1)
    one.topic('t', 2)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))).toMatchObject({
      memberEpoch: 2,
      assignment: owns('t', 0, 1),
    })
    one.topic('u', 1)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 2)).assignment).toEqual([...owns('t', 0, 1), ...owns('u', 0)])
    one.removeTopic('t')
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 3, { topicPartitions: owns('u', 0) })).assignment).toEqual(
      owns('u', 0),
    )
  })

  test('by pattern are of whole names, and find new topics', () => {
    const one = coordinator(1)
    one.topic('tt', 1)
    const byPattern = enter('a', null, { subscribedTopicRegex: 't|a.*' })
    expect(one.ask<'ConsumerGroupHeartbeat'>(byPattern).assignment).toEqual(owns('t', 0))
    one.topic('abc', 2)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1)).assignment).toEqual([...owns('t', 0), ...owns('abc', 0, 1)])
    expect(
      one.ask<'ConsumerGroupHeartbeat'>(beat('a', 2, { subscribedTopicRegex: '', topicPartitions: [] })).assignment,
    ).toEqual([])
  })

  test('by names and pattern together count each topic once', () => {
    const one = coordinator(3)
    const both = enter('a', ['t'], { subscribedTopicRegex: '.*' })
    expect(one.ask<'ConsumerGroupHeartbeat'>(both).assignment).toEqual(owns('t', 0, 1, 2))
  })

  test('that fail keep the member as it was', () => {
    const one = alone()
    expect(one.refusal(beat('a', 1, { subscribedTopicRegex: '[' }))).toBe('INVALID_REGULAR_EXPRESSION')
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1)).memberEpoch).toBe(1)
  })

  test('choose the assignor that most members ask for', () => {
    const one = coordinator()
    one.ask<'ConsumerGroupHeartbeat'>(enter('a', ['t'], { serverAssignor: 'range' }))
    expect(one.ask<'ConsumerGroupDescribe'>(describeIt).assignorName).toBe('range')
    one.ask<'ConsumerGroupHeartbeat'>(enter('b', ['t'], { serverAssignor: 'uniform' }))
    expect(one.ask<'ConsumerGroupDescribe'>(describeIt).assignorName).toBe('uniform')
  })
})

describe('static members', () => {
  const here = { instanceId: 'i1' }

  test('may leave for a while and come back as another process, to what they owned', () => {
    const one = coordinator()
    one.ask<'ConsumerGroupHeartbeat'>(enter('a', ['t'], here))
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('a', -2, here))).toMatchObject({ memberEpoch: -2 })
    expect(one.refusal(beat('a', 1, here))).toBe('FENCED_MEMBER_EPOCH')
    const back = one.ask<'ConsumerGroupHeartbeat'>(enter('a2', ['t'], here))
    expect(back).toMatchObject({ memberId: 'a2', memberEpoch: 1, assignment: owns('t', 0, 1, 2, 3) })
    expect(one.refusal(beat('a', 1, here))).toBe('FENCED_INSTANCE_ID')
    expect(one.ask<'ConsumerGroupDescribe'>(describeIt).members).toHaveLength(1)
    expect([...(one.stored().get(GROUP)?.members.keys() ?? [])]).toEqual(['a2'])
  })

  test('that are still there keep others from their instance id', () => {
    const one = coordinator()
    one.ask<'ConsumerGroupHeartbeat'>(enter('a', ['t'], here))
    expect(one.refusal(enter('a2', ['t'], here))).toBe('UNRELEASED_INSTANCE_ID')
    one.ask<'ConsumerGroupHeartbeat'>(enter('a', ['t'], here))
    expect(one.refusal(beat('a', 1, { instanceId: 'i2' }))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('that stay away are out when their session is over', () => {
    const one = coordinator()
    one.ask<'ConsumerGroupHeartbeat'>(enter('a', ['t'], here))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', -2, here))
    one.ask<'ConsumerGroupHeartbeat'>(enter('b'))
    one.advance(30_000)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2)).assignment).toBeNull()
    one.advance(15_000)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2)).assignment).toEqual(owns('t', 0, 1, 2, 3))
  })

  test('that leave for good free everything', () => {
    const one = coordinator()
    one.ask<'ConsumerGroupHeartbeat'>(enter('a', ['t'], here))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', -1, here))
    expect(one.ask<'ConsumerGroupHeartbeat'>(enter('b')).assignment).toEqual(owns('t', 0, 1, 2, 3))
  })

  test('an instance id is for life', () => {
    const one = alone()
    expect(one.refusal(enter('a', ['t'], here))).toBe('INVALID_ARGUMENT')
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))
  })
})

describe('commits', () => {
  test('are taken at the member’s epoch, and later for what it has had since', () => {
    const one = pair()
    one.ask<'OffsetCommit'>(commitRequest(2, 'a'))
    one.ask<'OffsetCommit'>(commitRequest(1, 'a', { partition: 1 }))
    // Partition 2 was given up when the epoch rose, so a commit of before is one of a former owner.
    expect(one.refusal(commitRequest(1, 'a', { partition: 2 }))).toBe('STALE_MEMBER_EPOCH')
    expect(one.refusal(commitRequest(3, 'a'))).toBe('STALE_MEMBER_EPOCH')
    expect(one.refusal(commitRequest(1, 'b', { partition: 2 }))).toBe('STALE_MEMBER_EPOCH')
    expect(one.refusal(commitRequest(2, 'nobody'))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(commitRequest(-1, ''))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('without membership are taken while the group is empty', () => {
    const one = alone()
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', -1))
    one.ask<'OffsetCommit'>(commitRequest(-1, ''))
  })

  test('are fetched at the member’s epoch', () => {
    const one = pair()
    const fetch = { type: 'OffsetFetch', groupId: GROUP } as const
    one.ask<'OffsetFetch'>({ ...fetch, memberId: 'a', memberEpoch: 2 })
    one.ask<'OffsetFetch'>({ ...fetch, memberId: null, memberEpoch: -1 })
    expect(one.refusal({ ...fetch, memberId: 'a', memberEpoch: 1 })).toBe('STALE_MEMBER_EPOCH')
    expect(one.refusal({ ...fetch, memberId: 'nobody', memberEpoch: 1 })).toBe('UNKNOWN_MEMBER_ID')
  })
})

describe('administration', () => {
  test('describes members, with what they have and are to have', () => {
    const one = alone()
    one.ask<'ConsumerGroupHeartbeat'>(enter('b', ['t'], { rackId: 'r', instanceId: 'i', subscribedTopicRegex: 'x' }))
    const described = one.ask<'ConsumerGroupDescribe'>(describeIt)
    expect(described).toMatchObject({
      state: 'Reconciling',
      groupEpoch: 2,
      assignmentEpoch: 2,
      assignorName: 'uniform',
    })
    expect(described.members[1]).toEqual({
      memberId: 'b',
      instanceId: 'i',
      rackId: 'r',
      memberEpoch: 2,
      clientId: 'client',
      clientHost: 'host',
      subscribedTopicNames: ['t'],
      subscribedTopicRegex: 'x',
      assignment: [],
      targetAssignment: owns('t', 2, 3),
      protocol: 'consumer',
    })
    expect(one.refusal({ type: 'DescribeGroup', groupId: GROUP })).toBe('GROUP_ID_NOT_FOUND')
  })

  test('deletes groups without members, and offsets of topics without subscribers', () => {
    const one = alone()
    const offsets = { type: 'OffsetDelete', groupId: GROUP, topics: owns('t', 0) } as const
    expect(one.ask<'OffsetDelete'>(offsets).subscribed).toEqual([topicIdOf('t')])
    expect(one.refusal({ type: 'DeleteGroup', groupId: GROUP })).toBe('NON_EMPTY_GROUP')
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', -1))
    expect(one.ask<'OffsetDelete'>(offsets).subscribed).toEqual([])
    expect(one.ask<'ConsumerGroupDescribe'>(describeIt).state).toBe('Empty')
    one.ask<'DeleteGroup'>({ type: 'DeleteGroup', groupId: GROUP })
    expect(one.stored().size).toBe(0)
  })
})

describe('a restart of the coordinator', () => {
  test('keeps members, epochs, and who owns what', () => {
    const one = alone()
    one.ask<'ConsumerGroupHeartbeat'>(enter('b'))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))
    one.restart({ t: 4 })
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2)).assignment).toBeNull()
    expect(one.ask<'ConsumerGroupHeartbeat'>(owning('a', 1, 0, 1)).memberEpoch).toBe(2)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('b', 2)).assignment).toEqual(owns('t', 2, 3))
    one.restart({ t: 4 })
    expect(one.refusal(commitRequest(1, 'a', { partition: 2 }))).toBe('STALE_MEMBER_EPOCH')
    one.ask<'OffsetCommit'>(commitRequest(1, 'a', { partition: 1 }))
  })

  test('gives a member that was to give up its rebalance timeout anew', () => {
    const one = alone()
    one.ask<'ConsumerGroupHeartbeat'>(enter('b'))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))
    one.restart({ t: 4 })
    for (let at = 0; at < 6; at++) {
      one.ask<'ConsumerGroupHeartbeat'>(beat('a', 1))
      one.advance(10_000)
    }
    expect(one.refusal(beat('a', 1))).toBe('UNKNOWN_MEMBER_ID')
  })
})
