import { describe, expect, test } from 'vitest'
import { stableGroup } from '../support/classic.ts'
import {
  assigns,
  Coordinator,
  GROUP,
  heartbeat,
  joinRequest,
  leaveRequest,
  partitionsIn,
  subscription,
  syncRequest,
} from '../support/coordinator.ts'

describe('a new group', () => {
  test('waits for the initial delay, and again for each part of it in which a member came', () => {
    const one = new Coordinator({ initialRebalanceDelayMs: 3_000 })
    const first = one.send(joinRequest())
    one.advance(2_000)
    const second = one.send(joinRequest())
    one.advance(3_999)
    expect([one.isOpen(first), one.isOpen(second)]).toEqual([true, true])
    one.advance(1)
    const leader = one.answer<'JoinGroup'>(first)
    expect(leader).toMatchObject({ generationId: 1, protocolName: 'range', leader: leader.memberId })
    expect(leader.members.map(({ memberId }) => memberId)).toEqual([
      leader.memberId,
      one.answer<'JoinGroup'>(second).memberId,
    ])
    expect(one.answer<'JoinGroup'>(second)).toMatchObject({ generationId: 1, leader: leader.memberId, members: [] })
  })

  test('waits no longer than the rebalance timeout, however many come', () => {
    const one = new Coordinator({ initialRebalanceDelayMs: 3_000 })
    const tokens = [one.send(joinRequest({ rebalanceTimeoutMs: 10_000 }))]
    for (let at = 0; at < 9; at++) {
      one.advance(1_000)
      tokens.push(one.send(joinRequest({ rebalanceTimeoutMs: 10_000 })))
    }
    expect(one.isOpen(tokens[0] as number)).toBe(true)
    one.advance(1_000)
    expect(tokens.map(token => one.isOpen(token))).not.toContain(true)
  })

  test('without a delay begins with the first member', () => {
    const one = new Coordinator({ initialRebalanceDelayMs: 0 })
    const token = one.send(joinRequest())
    one.advance(0)
    expect(one.answer<'JoinGroup'>(token).generationId).toBe(1)
  })

  test('is forgotten when nobody joined it', () => {
    const one = new Coordinator()
    expect(one.refusal(joinRequest({ requiresMemberId: true }))).toBe('MEMBER_ID_REQUIRED')
    expect(one.machine.group(GROUP)).toBeDefined()
    one.advance(10_000)
    expect(one.machine.group(GROUP)).toBeUndefined()
    expect(one.machine.nextDeadlineMs).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('joining is refused', () => {
  const one = new Coordinator({ sessionTimeoutMinMs: 6_000, sessionTimeoutMaxMs: 30_000 })

  test.each([
    ['INVALID_GROUP_ID', { groupId: '' }],
    ['INVALID_SESSION_TIMEOUT', { sessionTimeoutMs: 5_999 }],
    ['INVALID_SESSION_TIMEOUT', { sessionTimeoutMs: 30_001 }],
    ['UNKNOWN_MEMBER_ID', { memberId: 'never-given' }],
    ['INCONSISTENT_GROUP_PROTOCOL', { protocols: [] }],
    ['INCONSISTENT_GROUP_PROTOCOL', { protocolType: '' }],
  ] as const)('with %s for %j', (code, more) => {
    expect(one.refusal(joinRequest(more))).toBe(code)
    expect(one.machine.group(GROUP)).toBeUndefined()
  })

  test('with INCONSISTENT_GROUP_PROTOCOL where no assignor is common, or the type differs', () => {
    const { one } = stableGroup(1)
    const other = [{ name: 'other', metadata: subscription(['t']) }]
    expect(one.refusal(joinRequest({ protocols: other }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(one.refusal(joinRequest({ protocolType: 'connect' }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
  })
})

describe('member ids', () => {
  test('are given out first where the client knows that, and joined with then', () => {
    const one = new Coordinator()
    const first = one.send(joinRequest({ requiresMemberId: true }))
    expect(one.refused(first)).toBe('MEMBER_ID_REQUIRED')
    const memberId = one.givenId(first)
    expect(memberId).toBe('client-id1')
    const second = one.send(joinRequest({ requiresMemberId: true, memberId }))
    one.advance(3_000)
    expect(one.answer<'JoinGroup'>(second).memberId).toBe(memberId)
  })

  test('that are pending hold a rebalance up until their session is over', () => {
    const { one, ids } = stableGroup(1)
    const pending = one.send(joinRequest({ requiresMemberId: true, sessionTimeoutMs: 7_000 }))
    const rejoin = one.send(joinRequest({ memberId: ids[0] as string }))
    expect(one.isOpen(rejoin)).toBe(true)
    one.advance(7_000)
    expect(one.answer<'JoinGroup'>(rejoin).generationId).toBe(2)
    expect(one.refusal(joinRequest({ memberId: one.givenId(pending) }))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('that are pending can leave, and nobody is disturbed', () => {
    const { one, ids } = stableGroup(1)
    const memberId = one.givenId(one.send(joinRequest({ requiresMemberId: true })))
    expect(one.ask<'LeaveGroup'>(leaveRequest({ memberId })).members).toMatchObject([{ memberId, error: undefined }])
    one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string))
  })
})

describe('a member that joins again', () => {
  test('with the same subscription gets its generation again, unless it leads', () => {
    const { one, ids } = stableGroup(2)
    const [leader, follower] = ids as [string, string]
    expect(one.ask<'JoinGroup'>(joinRequest({ memberId: follower }))).toMatchObject({ generationId: 1, members: [] })
    const token = one.send(joinRequest({ memberId: leader }))
    expect(one.isOpen(token)).toBe(true)
    expect(one.refusal(heartbeat(1, follower))).toBe('REBALANCE_IN_PROGRESS')
  })

  test('with another subscription begins a rebalance, and sees it through', () => {
    const { one, ids } = stableGroup(2)
    const [leader, follower] = ids as [string, string]
    const protocols = [{ name: 'range', metadata: subscription(['t', 'u']) }]
    const changed = one.send(joinRequest({ memberId: follower, protocols }))
    const followed = one.send(joinRequest({ memberId: leader }))
    expect(one.answer<'JoinGroup'>(followed)).toMatchObject({ generationId: 2, leader })
    expect(one.answer<'JoinGroup'>(followed).members[1]?.metadata).toEqual(protocols[0]?.metadata)
    expect(one.answer<'JoinGroup'>(changed)).toMatchObject({ generationId: 2, members: [] })
  })

  test('while all join replaces its own request', () => {
    const { one, ids } = stableGroup(2)
    const first = one.send(joinRequest({ memberId: ids[0] as string }))
    const again = one.send(joinRequest({ memberId: ids[0] as string }))
    expect([one.refused(first), one.isOpen(again)]).toEqual(['REBALANCE_IN_PROGRESS', true])
  })

  test('whose answer was lost gets it again before the leader assigned', () => {
    const { one, ids } = stableGroup(2)
    for (const memberId of ids) one.send(joinRequest({ memberId }))
    expect(one.ask<'JoinGroup'>(joinRequest({ memberId: ids[0] as string }))).toMatchObject({
      generationId: 2,
      members: [{ memberId: ids[0] }, { memberId: ids[1] }],
    })
  })
})

describe('members that do not come', () => {
  test('to a rebalance are out after the rebalance timeout', () => {
    const { one, ids } = stableGroup(3, { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000 })
    const more = { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000 }
    one.send(joinRequest({ memberId: ids[0] as string, ...more }))
    const token = one.send(joinRequest({ memberId: ids[1] as string, ...more }))
    one.advance(19_999)
    expect(one.isOpen(token)).toBe(true)
    one.advance(1)
    expect(one.answer<'JoinGroup'>(token).generationId).toBe(2)
    expect(one.refusal(heartbeat(1, ids[2] as string))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('for their assignment are out after the rebalance timeout, and the others begin anew', () => {
    const { one, ids } = stableGroup(2, { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000 })
    const more = { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000 }
    for (const memberId of ids) one.send(joinRequest({ memberId, ...more }))
    const waiting = one.send(syncRequest(2, ids[1] as string))
    one.advance(20_000)
    expect(one.refused(waiting)).toBe('REBALANCE_IN_PROGRESS')
    expect(one.refusal(heartbeat(2, ids[0] as string))).toBe('UNKNOWN_MEMBER_ID')
    const alone = one.send(joinRequest({ memberId: ids[1] as string, ...more }))
    expect(one.answer<'JoinGroup'>(alone)).toMatchObject({ generationId: 3, leader: ids[1] })
  })

  test('to lead give the lead to the first that came', () => {
    const { one, ids } = stableGroup(2, { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000 })
    const protocols = [{ name: 'range', metadata: subscription(['u']) }]
    const token = one.send(
      joinRequest({ memberId: ids[1] as string, protocols, sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000 }),
    )
    one.advance(20_000)
    expect(one.answer<'JoinGroup'>(token)).toMatchObject({ leader: ids[1], members: [{ memberId: ids[1] }] })
  })

  test('who were new and whose request waits too long are told to begin anew', () => {
    const { one, ids } = stableGroup(1, { sessionTimeoutMs: 1_000_000, rebalanceTimeoutMs: 1_000_000 })
    const token = one.send(joinRequest())
    one.advance(299_999)
    expect(one.isOpen(token)).toBe(true)
    one.advance(1)
    expect(one.refused(token)).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(heartbeat(1, ids[0] as string))).toBe('REBALANCE_IN_PROGRESS')
  })
})

describe('the size of a group', () => {
  test('is bounded, for ids that are given out as well', () => {
    const { one } = stableGroup(2, {}, { sizeMax: 2 })
    expect(one.refusal(joinRequest())).toBe('GROUP_MAX_SIZE_REACHED')
    expect(one.refusal(joinRequest({ requiresMemberId: true }))).toBe('GROUP_MAX_SIZE_REACHED')
  })

  test('that was lowered holds from the next rebalance on', () => {
    const { one, ids } = stableGroup(3)
    const stored = one.stored().get(GROUP)
    const small = new Coordinator({ sizeMax: 2 })
    small.machine.load(GROUP, stored?.group, [...(stored?.members.values() ?? [])], { monotonicMs: 0, wallMs: 0 })
    const tokens = ids.map(memberId => small.send(joinRequest({ memberId })))
    expect(small.answer<'JoinGroup'>(tokens[0] as number).members).toHaveLength(2)
    expect(small.refused(tokens[2] as number)).toBe('GROUP_MAX_SIZE_REACHED')
  })
})

describe('the protocol', () => {
  const knows = (...names: string[]) => names.map(name => ({ name, metadata: subscription([name]) }))

  test('is the one that most members prefer, of those that all know', () => {
    const one = new Coordinator()
    const tokens = [
      one.send(joinRequest({ protocols: knows('own', 'range', 'sticky') })),
      one.send(joinRequest({ protocols: knows('sticky', 'range') })),
      one.send(joinRequest({ protocols: knows('sticky', 'range') })),
    ]
    one.advance(10_000)
    const leader = one.answer<'JoinGroup'>(tokens[0] as number)
    expect(leader.protocolName).toBe('sticky')
    // Each with its subscription in that protocol.
    expect(leader.members.map(({ metadata }) => metadata)).toEqual([1, 2, 3].map(() => subscription(['sticky'])))
  })

  test('has to be named rightly in a sync, where it is named', () => {
    const { one, ids } = stableGroup(1)
    const sync = syncRequest(1, ids[0] as string)
    expect(one.refusal({ ...sync, protocolName: 'sticky' })).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(one.refusal({ ...sync, protocolType: 'connect' })).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(one.ask<'SyncGroup'>({ ...sync, protocolType: 'consumer', protocolName: 'range' })).toMatchObject({
      protocolName: 'range',
    })
  })
})

describe('static members', () => {
  const rejoin = { instanceId: 'i1', sessionTimeoutMs: 100_000 }

  test('come back under a new id, with their assignment, and nobody notices', () => {
    const { one, ids } = stableGroup(2, { sessionTimeoutMs: 100_000 }, {}, ['i0', 'i1'])
    const back = one.ask<'JoinGroup'>(joinRequest(rejoin))
    expect(back).toMatchObject({ generationId: 1, leader: ids[0], members: [], skipAssignment: false })
    expect(back.memberId).not.toBe(ids[1])
    expect(partitionsIn(one.ask<'SyncGroup'>(syncRequest(1, back.memberId, { instanceId: 'i1' })).assignment)).toEqual([
      't-1',
    ])
    one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string, 'i0'))
    expect(one.refusal(heartbeat(1, ids[1] as string, 'i1'))).toBe('FENCED_INSTANCE_ID')
    expect(one.refusal(heartbeat(1, ids[1] as string))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(joinRequest({ ...rejoin, memberId: ids[1] as string }))).toBe('FENCED_INSTANCE_ID')
  })

  test('are kept over a restart of the coordinator with the id they have then', () => {
    const { one } = stableGroup(2, { sessionTimeoutMs: 100_000 }, {}, ['i0', 'i1'])
    const { memberId } = one.ask<'JoinGroup'>(joinRequest(rejoin))
    one.restart()
    one.ask<'Heartbeat'>(heartbeat(1, memberId, 'i1'))
  })

  test('that lead and come back do not assign', () => {
    const { one, ids } = stableGroup(2, { sessionTimeoutMs: 100_000 }, {}, ['i0', 'i1'])
    const more = { instanceId: 'i0', sessionTimeoutMs: 100_000 }
    const back = one.ask<'JoinGroup'>(joinRequest(more))
    expect(back).toMatchObject({ leader: back.memberId, skipAssignment: true })
    expect(back.members).toHaveLength(2)
    // An older client is told that the one it was is the leader.
    const old = one.ask<'JoinGroup'>(joinRequest({ ...more, canSkipAssignment: false }))
    expect(old).toMatchObject({ leader: back.memberId, skipAssignment: false, members: [] })
    expect(old.memberId).not.toBe(back.memberId)
    expect(ids).not.toContain(old.memberId)
  })

  test('with other topics begin a rebalance; what they owned does not count', () => {
    const { one, ids } = stableGroup(2, { sessionTimeoutMs: 100_000 }, {}, ['i0', 'i1'])
    const owned = [{ topic: 't', partitions: [1] }]
    const same = [{ name: 'range', metadata: subscription(['t'], { owned, generationId: 1 }) }]
    expect(one.ask<'JoinGroup'>(joinRequest({ ...rejoin, protocols: same })).generationId).toBe(1)
    const other = [{ name: 'range', metadata: subscription(['t', 'u']) }]
    const token = one.send(joinRequest({ ...rejoin, protocols: other }))
    expect(one.isOpen(token)).toBe(true)
    expect(one.refusal(heartbeat(1, ids[0] as string, 'i0'))).toBe('REBALANCE_IN_PROGRESS')
  })

  test('that come back while the leader assigns begin a rebalance', () => {
    const { one, ids } = stableGroup(2, { sessionTimeoutMs: 100_000 }, {}, ['i0', 'i1'])
    const more = { sessionTimeoutMs: 100_000 }
    one.send(joinRequest({ ...more, memberId: ids[0] as string, instanceId: 'i0' }))
    one.send(joinRequest({ ...more, memberId: ids[1] as string, instanceId: 'i1' }))
    const waiting = one.send(syncRequest(2, ids[1] as string, { instanceId: 'i1' }))
    const token = one.send(joinRequest(rejoin))
    expect(one.refused(waiting)).toBe('FENCED_INSTANCE_ID')
    expect(one.isOpen(token)).toBe(true)
    expect(one.refusal(syncRequest(2, ids[0] as string, { instanceId: 'i0' }))).toBe('REBALANCE_IN_PROGRESS')
  })

  test('that are away stay in the generations of the others until their session is over', () => {
    const { one, ids } = stableGroup(2, { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000 }, {}, ['i0', 'i1'])
    const more = { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 20_000, instanceId: 'i0', memberId: ids[0] as string }
    const token = one.send(joinRequest(more))
    one.advance(20_000)
    expect(one.answer<'JoinGroup'>(token).members.map(({ memberId }) => memberId)).toEqual(ids)
    const assignments = { [ids[0] as string]: assigns('t', 0), [ids[1] as string]: assigns('t', 1) }
    one.ask<'SyncGroup'>(syncRequest(2, ids[0] as string, { instanceId: 'i0', assignments }))
    one.advance(50_000)
    one.ask<'Heartbeat'>(heartbeat(2, ids[0] as string, 'i0'))
    one.advance(40_000)
    expect(one.refusal(heartbeat(2, ids[0] as string, 'i0'))).toBe('REBALANCE_IN_PROGRESS')
    expect(one.refusal(heartbeat(2, ids[1] as string, 'i1'))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('are removed by their instance id alone', () => {
    const { one } = stableGroup(2, {}, {}, ['i0', 'i1'])
    const { members } = one.ask<'LeaveGroup'>(leaveRequest({ instanceId: 'i1' }, { instanceId: 'i9' }))
    expect(members.map(({ error }) => error?.code)).toEqual([undefined, 'UNKNOWN_MEMBER_ID'])
  })
})
