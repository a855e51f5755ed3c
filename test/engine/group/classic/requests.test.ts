import { describe, expect, test } from 'vitest'
import { stableGroup } from '../support/classic.ts'
import {
  assigns,
  Coordinator,
  commitRequest,
  GROUP,
  heartbeat,
  joinRequest,
  leaveRequest,
  partitionsIn,
  subscription,
  syncRequest,
  topicIdOf,
} from '../support/coordinator.ts'

describe('SyncGroup', () => {
  test('waits for the leader, who may leave some out', () => {
    const { one, ids } = stableGroup(2)
    for (const memberId of ids) one.send(joinRequest({ memberId }))
    const waiting = one.send(syncRequest(2, ids[1] as string))
    expect(one.isOpen(waiting)).toBe(true)
    const stored = one.writes.length
    const assignments = { [ids[0] as string]: assigns('t', 0, 1), nobody: assigns('t', 2) }
    const lead = one.ask<'SyncGroup'>(syncRequest(2, ids[0] as string, { assignments }))
    expect(partitionsIn(lead.assignment)).toEqual(['t-0', 't-1'])
    expect(partitionsIn(one.answer<'SyncGroup'>(waiting).assignment)).toEqual([])
    expect(one.writes.length).toBe(stored + 1)
  })

  test('is answered again while the group is stable', () => {
    const { one, ids } = stableGroup(2)
    expect(partitionsIn(one.ask<'SyncGroup'>(syncRequest(1, ids[1] as string)).assignment)).toEqual(['t-1'])
  })

  test('is refused for what is no member of this generation', () => {
    const { one, ids } = stableGroup(1)
    expect(one.refusal(syncRequest(1, 'nobody'))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(syncRequest(0, ids[0] as string))).toBe('ILLEGAL_GENERATION')
    expect(one.refusal(syncRequest(2, ids[0] as string))).toBe('ILLEGAL_GENERATION')
    expect(one.refusal({ ...syncRequest(1, ids[0] as string), groupId: 'other' })).toBe('UNKNOWN_MEMBER_ID')
    one.send(joinRequest())
    expect(one.refusal(syncRequest(1, ids[0] as string))).toBe('REBALANCE_IN_PROGRESS')
  })

  test('that waits is answered when the leader goes away', () => {
    const { one, ids } = stableGroup(2)
    for (const memberId of ids) one.send(joinRequest({ memberId }))
    const waiting = one.send(syncRequest(2, ids[1] as string))
    one.ask<'LeaveGroup'>(leaveRequest({ memberId: ids[0] as string }))
    expect(one.refused(waiting)).toBe('REBALANCE_IN_PROGRESS')
  })
})

describe('Heartbeat', () => {
  test('keeps a member in the group for its session timeout', () => {
    const { one, ids } = stableGroup(2)
    one.ask<'Heartbeat'>(heartbeat(1, ids[1] as string))
    for (let at = 0; at < 3; at++) {
      one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string))
      one.advance(3_333)
    }
    one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string))
    one.advance(1)
    expect(one.refusal(heartbeat(1, ids[0] as string))).toBe('REBALANCE_IN_PROGRESS')
    expect(one.refusal(heartbeat(1, ids[1] as string))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('is good between the join and the assignment', () => {
    const { one, ids } = stableGroup(2)
    for (const memberId of ids) one.send(joinRequest({ memberId }))
    one.ask<'Heartbeat'>(heartbeat(2, ids[0] as string))
  })

  test('tells of a rebalance, and counts all the same', () => {
    const { one, ids } = stableGroup(2, { rebalanceTimeoutMs: 100_000 })
    one.send(joinRequest({ memberId: ids[0] as string, rebalanceTimeoutMs: 100_000 }))
    for (let at = 0; at < 5; at++) {
      one.advance(9_000)
      expect(one.refusal(heartbeat(1, ids[1] as string))).toBe('REBALANCE_IN_PROGRESS')
    }
  })

  test('of earlier generations and of nobody is refused', () => {
    const { one, ids } = stableGroup(1)
    expect(one.refusal(heartbeat(0, ids[0] as string))).toBe('ILLEGAL_GENERATION')
    expect(one.refusal(heartbeat(1, 'nobody'))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal({ ...heartbeat(1, ids[0] as string), groupId: 'other' })).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(heartbeat(1, ids[0] as string, 'i0'))).toBe('UNKNOWN_MEMBER_ID')
  })
})

describe('LeaveGroup', () => {
  test('takes several, each with its own answer, and the rest share anew', () => {
    const { one, ids } = stableGroup(3)
    const { members } = one.ask<'LeaveGroup'>(
      leaveRequest({ memberId: ids[1] as string }, { memberId: 'nobody' }, { memberId: ids[2] as string }),
    )
    expect(members.map(({ error }) => error?.code)).toEqual([undefined, 'UNKNOWN_MEMBER_ID', undefined])
    const alone = one.ask<'JoinGroup'>(joinRequest({ memberId: ids[0] as string }))
    expect(alone).toMatchObject({ generationId: 2, members: [{ memberId: ids[0] }] })
  })

  test('of the last leaves an empty group in a generation of its own', () => {
    const { one, ids } = stableGroup(1)
    one.ask<'LeaveGroup'>(leaveRequest({ memberId: ids[0] as string }))
    expect(one.ask<'DescribeGroup'>({ type: 'DescribeGroup', groupId: GROUP })).toMatchObject({
      state: 'Empty',
      protocolType: 'consumer',
      members: [],
    })
    expect(one.stored().get(GROUP)).toMatchObject({ group: { generationId: 2, leaderId: null } })
    expect(one.stored().get(GROUP)?.members.size).toBe(0)
    expect(one.machine.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
  })

  test('answers a request to join that waits', () => {
    const { one, ids } = stableGroup(2)
    const waiting = one.send(joinRequest({ memberId: ids[0] as string }))
    one.ask<'LeaveGroup'>(leaveRequest({ memberId: ids[0] as string }))
    expect(one.refused(waiting)).toBe('UNKNOWN_MEMBER_ID')
  })
})

describe('commits', () => {
  test('of members of this generation are taken, and count as a sign of life', () => {
    const { one, ids } = stableGroup(1)
    for (let at = 0; at < 3; at++) {
      one.advance(9_000)
      one.ask<'OffsetCommit'>(commitRequest(1, ids[0] as string))
    }
    expect(one.writes.at(-1)).toMatchObject({
      type: 'commit-offsets',
      offsets: [{ topicId: topicIdOf('t'), offset: 5, leaderEpoch: 2 }],
      committedAtMs: 1_700_000_030_000,
    })
  })

  test('are taken while the others join, and not between that and the assignment', () => {
    const { one, ids } = stableGroup(2)
    one.send(joinRequest({ memberId: ids[0] as string }))
    one.ask<'OffsetCommit'>(commitRequest(1, ids[1] as string))
    one.send(joinRequest({ memberId: ids[1] as string }))
    expect(one.refusal(commitRequest(2, ids[1] as string))).toBe('REBALANCE_IN_PROGRESS')
  })

  test('of fenced members are refused, and nothing is stored', () => {
    const { one, ids } = stableGroup(1, { sessionTimeoutMs: 10_000 }, {}, ['i0'])
    const before = one.writes.length
    expect(one.refusal(commitRequest(0, ids[0] as string))).toBe('ILLEGAL_GENERATION')
    expect(one.refusal(commitRequest(-1, ids[0] as string))).toBe('ILLEGAL_GENERATION')
    expect(one.refusal(commitRequest(1, 'nobody'))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(commitRequest(1, 'nobody', { instanceId: 'i0' }))).toBe('FENCED_INSTANCE_ID')
    expect(one.refusal(commitRequest(-1, ''))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.writes.length).toBe(before)
  })

  test('without a group or with an empty one need no membership', () => {
    const one = new Coordinator()
    expect(one.refusal(commitRequest(3, 'nobody'))).toBe('ILLEGAL_GENERATION')
    one.ask<'OffsetCommit'>(commitRequest(-1, ''))
    one.ask<'OffsetCommit'>(commitRequest(-1, ''))
    expect(one.writes.map(({ type }) => type)).toEqual(['commit-offsets', 'commit-offsets'])
    expect(one.ask<'ListGroups'>({ type: 'ListGroups' }).groups).toEqual([
      { groupId: GROUP, protocolType: '', state: 'Empty', groupType: 'classic' },
    ])
  })

  test('are fetched by anyone', () => {
    const { one } = stableGroup(1)
    one.ask<'OffsetFetch'>({ type: 'OffsetFetch', groupId: GROUP, memberId: null, memberEpoch: -1 })
    one.ask<'OffsetFetch'>({ type: 'OffsetFetch', groupId: 'other', memberId: null, memberEpoch: -1 })
  })
})

describe('administration', () => {
  const deletion = {
    type: 'OffsetDelete',
    groupId: GROUP,
    topics: [{ topicId: topicIdOf('t'), partitions: [0] }],
  } as const

  test('deletes offsets of topics that nobody is subscribed to', () => {
    const { one } = stableGroup(1)
    one.topic('t', 1)
    one.topic('u', 1)
    const topics = [...deletion.topics, { topicId: topicIdOf('u'), partitions: [0] }]
    expect(one.ask<'OffsetDelete'>({ ...deletion, topics })).toEqual({
      type: 'OffsetDelete',
      subscribed: [topicIdOf('t')],
    })
    expect(one.writes.at(-1)).toEqual({ type: 'delete-offsets', groupId: GROUP, topics: [topics[1]] })
    expect(one.refusal({ ...deletion, groupId: 'other' })).toBe('GROUP_ID_NOT_FOUND')
  })

  test('deletes no offsets of a group whose subscriptions it cannot read', () => {
    const { one } = stableGroup(1, { protocolType: 'connect' })
    expect(one.refusal(deletion)).toBe('NON_EMPTY_GROUP')
    const odd = stableGroup(1, { protocols: [{ name: 'range', metadata: new Uint8Array(1) }] })
    expect(odd.one.refusal(deletion)).toBe('NON_EMPTY_GROUP')
  })

  test('deletes groups without members', () => {
    const { one, ids } = stableGroup(1)
    const request = { type: 'DeleteGroup', groupId: GROUP } as const
    expect(one.refusal(request)).toBe('NON_EMPTY_GROUP')
    one.ask<'LeaveGroup'>(leaveRequest({ memberId: ids[0] as string }))
    const pending = one.send(joinRequest({ requiresMemberId: true }))
    one.ask<'DeleteGroup'>(request)
    expect(one.stored().size).toBe(0)
    expect(one.writes.at(-1)).toEqual({ type: 'delete-group', groupId: GROUP })
    expect(one.refusal(request)).toBe('GROUP_ID_NOT_FOUND')
    expect(one.refusal(joinRequest({ memberId: one.givenId(pending) }))).toBe('UNKNOWN_MEMBER_ID')
    one.advance(1_000_000)
  })

  test('describes members with their subscriptions and assignments while the group is stable', () => {
    const { one, ids } = stableGroup(1)
    const request = { type: 'DescribeGroup', groupId: GROUP } as const
    expect(one.ask<'DescribeGroup'>(request)).toEqual({
      type: 'DescribeGroup',
      state: 'Stable',
      protocolType: 'consumer',
      protocolName: 'range',
      members: [
        {
          memberId: ids[0],
          instanceId: null,
          clientId: 'client',
          clientHost: 'host',
          metadata: subscription(['t']),
          assignment: assigns('t', 0),
        },
      ],
    })
    one.send(joinRequest())
    expect(one.ask<'DescribeGroup'>(request)).toMatchObject({ state: 'PreparingRebalance', protocolName: '' })
    one.send(joinRequest({ memberId: ids[0] as string }))
    expect(one.ask<'DescribeGroup'>(request)).toMatchObject({ state: 'CompletingRebalance' })
    expect(one.refusal({ ...request, groupId: 'other' })).toBe('GROUP_ID_NOT_FOUND')
    expect(one.refusal({ type: 'ConsumerGroupDescribe', groupId: GROUP })).toBe('GROUP_ID_NOT_FOUND')
  })
})

describe('a restart of the coordinator', () => {
  test('keeps generation, members and assignments; who is not heard from is out after its session', () => {
    const { one, ids } = stableGroup(2)
    one.restart()
    one.advance(9_999)
    one.ask<'Heartbeat'>(heartbeat(1, ids[1] as string))
    expect(partitionsIn(one.ask<'SyncGroup'>(syncRequest(1, ids[1] as string)).assignment)).toEqual(['t-1'])
    one.advance(1)
    expect(one.refusal(heartbeat(1, ids[1] as string))).toBe('REBALANCE_IN_PROGRESS')
    expect(one.refusal(heartbeat(1, ids[0] as string))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('in the middle of a rebalance goes back to the generation before', () => {
    const { one, ids } = stableGroup(2)
    for (const memberId of ids) one.send(joinRequest({ memberId }))
    one.restart()
    expect(one.refusal(heartbeat(2, ids[0] as string))).toBe('ILLEGAL_GENERATION')
    one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string))
  })

  test('refuses what waited, where a group is loaded anew', () => {
    const { one, ids } = stableGroup(2)
    one.send(joinRequest({ memberId: ids[0] as string }))
    const actions = one.machine.unload(GROUP)
    expect(actions).toMatchObject([{ type: 'refuse', error: { code: 'COORDINATOR_NOT_AVAILABLE' } }])
    expect(one.machine.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
  })
})
