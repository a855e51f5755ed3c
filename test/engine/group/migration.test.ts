import { describe, expect, test } from 'vitest'
import type { GroupConfig } from '../../../engine/group/config.ts'
import { encodeAssignment } from '../../../engine/group/consumer-protocol.ts'
import { stableGroup } from './support/classic.ts'
import {
  assigns,
  beat,
  Coordinator,
  commitRequest,
  enter,
  GROUP,
  heartbeat,
  joinRequest,
  leaveRequest,
  owns,
  partitionsIn,
  subscription,
  syncRequest,
} from './support/coordinator.ts'

/** A classic group of two, with partitions 0 and 1 of four, that a member of the new protocol has just joined. */
function shared(config: Partial<GroupConfig> = {}): { one: Coordinator; ids: [string, string] } {
  const { one, ids } = stableGroup(2, { sessionTimeoutMs: 50_000 }, config)
  one.topic('t', 4)
  one.ask<'ConsumerGroupHeartbeat'>(enter('n'))
  return { one, ids: ids as [string, string] }
}

/** A classic member joins, saying what it owns of topic `t`. */
function rejoin(one: Coordinator, memberId: string, ...owned: number[]) {
  const metadata = subscription(['t'], { owned: owned.length === 0 ? [] : [{ topic: 't', partitions: owned }] })
  return one.ask<'JoinGroup'>(
    joinRequest({ memberId, sessionTimeoutMs: 50_000, protocols: [{ name: 'range', metadata }] }),
  )
}

describe('a classic group that a member of the new protocol joins', () => {
  test('keeps its members and who owns what; they join again, and the coordinator assigns', () => {
    const { one, ids } = shared()
    const described = one.ask<'ConsumerGroupDescribe'>({ type: 'ConsumerGroupDescribe', groupId: GROUP })
    expect(described.members.map(({ memberId, protocol, assignment }) => [memberId, protocol, assignment])).toEqual([
      [ids[0], 'classic', owns('t', 0)],
      [ids[1], 'classic', owns('t', 1)],
      ['n', 'consumer', owns('t', 2)],
    ])
    // 3 falls to the first in order; the new member does not get what others own.
    expect(one.refusal(heartbeat(1, ids[0]))).toBe('REBALANCE_IN_PROGRESS')
    const joined = rejoin(one, ids[0], 0)
    expect(joined).toMatchObject({ generationId: 2, leader: '', members: [], protocolName: 'range' })
    expect(partitionsIn(one.ask<'SyncGroup'>(syncRequest(2, ids[0])).assignment)).toEqual(['t-0', 't-3'])
    one.ask<'Heartbeat'>(heartbeat(2, ids[0]))
    one.ask<'OffsetCommit'>(commitRequest(2, ids[0]))
    expect(one.refusal(commitRequest(3, ids[0]))).toBe('ILLEGAL_GENERATION')
  })

  test('refuses what waited for the rebalance of before', () => {
    const { one, ids } = stableGroup(2)
    one.topic('t', 4)
    const joining = one.send(joinRequest({ memberId: ids[0] as string }))
    one.ask<'ConsumerGroupHeartbeat'>(enter('n'))
    expect(one.refused(joining)).toBe('REBALANCE_IN_PROGRESS')
  })

  test.each(['disabled', 'downgrade'] as const)('is left alone under the policy %s', migrationPolicy => {
    const { one, ids } = stableGroup(2, {}, { migrationPolicy })
    one.topic('t', 4)
    expect(one.refusal(enter('n'))).toBe('GROUP_ID_NOT_FOUND')
    one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string))
  })

  test('is left alone where its members are not consumers, or have an assignor of their own', () => {
    const connect = stableGroup(1, { protocolType: 'connect' }).one
    expect(connect.refusal(enter('n'))).toBe('GROUP_ID_NOT_FOUND')
    const odd = stableGroup(1, { protocols: [{ name: 'range', metadata: new Uint8Array(1) }] }).one
    expect(odd.refusal(enter('n'))).toBe('GROUP_ID_NOT_FOUND')
    const { one, ids } = stableGroup(1)
    one.send(joinRequest({ memberId: ids[0] as string }))
    const custom = encodeAssignment({ version: 0, partitions: [], userData: Uint8Array.of(1) })
    one.ask<'SyncGroup'>(syncRequest(2, ids[0] as string, { assignments: { [ids[0] as string]: custom } }))
    expect(one.refusal(enter('n'))).toBe('GROUP_ID_NOT_FOUND')
    one.ask<'Heartbeat'>(heartbeat(2, ids[0] as string))
  })

  test('is left alone where the request is refused for another reason', () => {
    const { one, ids } = stableGroup(1)
    expect(one.refusal(enter('n', null, { subscribedTopicRegex: '(' }))).toBe('INVALID_REGULAR_EXPRESSION')
    one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string))
    one.advance(9_999)
    one.ask<'Heartbeat'>(heartbeat(1, ids[0] as string))
  })

  test('lets a member give up first what it owned when it joined, if it was not given that again', () => {
    const one = new Coordinator()
    one.topic('t', 2)
    const join = (memberId: string, ...owned: number[]) => {
      const metadata = subscription(['t'], { owned: owned.length === 0 ? [] : [{ topic: 't', partitions: owned }] })
      return joinRequest({ memberId, instanceId: 'i', protocols: [{ name: 'cooperative-sticky', metadata }] })
    }
    const first = one.send(join(''))
    one.advance(3_000)
    const { memberId } = one.answer<'JoinGroup'>(first)
    one.ask<'SyncGroup'>(syncRequest(1, memberId, { instanceId: 'i', assignments: { [memberId]: assigns('t', 0, 1) } }))
    // It leads, and for some reason gives itself less; whether it has heard of that is not known.
    one.ask<'JoinGroup'>(join(memberId, 0, 1))
    one.ask<'SyncGroup'>(syncRequest(2, memberId, { instanceId: 'i', assignments: { [memberId]: assigns('t', 0) } }))
    expect(one.ask<'ConsumerGroupHeartbeat'>(enter('n')).assignment).toEqual([])
    one.ask<'JoinGroup'>(join(memberId, 0))
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('n', 3)).assignment).toEqual(owns('t', 1))
  })

  test('takes one owner for what a faulty leader gave to two', () => {
    const { one, ids } = stableGroup(2)
    one.topic('t', 2)
    for (const memberId of ids) one.send(joinRequest({ memberId }))
    const assignments = { [ids[0] as string]: assigns('t', 0, 1), [ids[1] as string]: assigns('t', 1) }
    one.ask<'SyncGroup'>(syncRequest(2, ids[0] as string, { assignments }))
    one.ask<'ConsumerGroupHeartbeat'>(enter('n'))
    const { members } = one.ask<'ConsumerGroupDescribe'>({ type: 'ConsumerGroupDescribe', groupId: GROUP })
    expect(members.map(({ assignment }) => assignment)).toEqual([owns('t', 0, 1), [], []])
  })
})

describe('a classic member in a group of the new protocol', () => {
  test('gives up in two joins, like a cooperative one', () => {
    const one = new Coordinator()
    one.topic('t', 4)
    one.ask<'ConsumerGroupHeartbeat'>(enter('a'))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', -1))
    one.ask<'ConsumerGroupHeartbeat'>(enter('a'))
    const { memberId, generationId } = rejoin(one, '')
    expect(generationId).toBe(4)
    one.ask<'SyncGroup'>(syncRequest(4, memberId))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', 3))
    one.ask<'ConsumerGroupHeartbeat'>(beat('a', 3, { topicPartitions: owns('t', 0, 1) }))
    // Its part is free now, which it hears from its heartbeat.
    expect(one.refusal(heartbeat(4, memberId))).toBe('REBALANCE_IN_PROGRESS')
    expect(rejoin(one, memberId).generationId).toBe(4)
    expect(partitionsIn(one.ask<'SyncGroup'>(syncRequest(4, memberId)).assignment)).toEqual(['t-2', 't-3'])
    one.ask<'Heartbeat'>(heartbeat(4, memberId))
    // A third member: it is to give one up, so its sync shows less, and it joins again without it.
    one.ask<'ConsumerGroupHeartbeat'>(enter('o'))
    expect(one.refusal(heartbeat(4, memberId))).toBe('REBALANCE_IN_PROGRESS')
    expect(rejoin(one, memberId, 2, 3).generationId).toBe(4)
    const left = partitionsIn(one.ask<'SyncGroup'>(syncRequest(4, memberId)).assignment)
    expect(left).toEqual(['t-2'])
    expect(one.refusal(heartbeat(4, memberId))).toBe('REBALANCE_IN_PROGRESS')
    expect(rejoin(one, memberId, 2).generationId).toBe(5)
    expect(one.ask<'ConsumerGroupHeartbeat'>(beat('o', 5)).assignment).toEqual(owns('t', 3))
  })

  test('has to join, and to sync, in its rebalance timeout', () => {
    const { one, ids } = shared()
    expect(one.refusal(heartbeat(1, ids[0]))).toBe('REBALANCE_IN_PROGRESS')
    for (let at = 0; at < 6; at++) {
      one.advance(10_000)
      one.send(heartbeat(1, ids[0]))
      if (at === 3) rejoin(one, ids[1], 1)
      one.ask<'ConsumerGroupHeartbeat'>(beat('n', 2))
    }
    expect(one.refusal(heartbeat(1, ids[0]))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(syncRequest(2, ids[1]))).toBe('REBALANCE_IN_PROGRESS')
    one.advance(40_000)
    expect(one.refusal(heartbeat(2, ids[1]))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('is out when its own session is over, or when it leaves', () => {
    const { one, ids } = shared()
    expect(
      one
        .ask<'LeaveGroup'>(leaveRequest({ memberId: ids[0] }, { memberId: 'n' }, { memberId: 'x' }))
        .members.map(({ error }) => error?.code),
    ).toEqual([undefined, 'UNKNOWN_MEMBER_ID', 'UNKNOWN_MEMBER_ID'])
    one.advance(40_000)
    one.ask<'ConsumerGroupHeartbeat'>(beat('n', 2))
    one.advance(10_000)
    expect(one.refusal(heartbeat(1, ids[1]))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('is given an id first where it knows that', () => {
    const { one } = shared()
    const token = one.send(joinRequest({ requiresMemberId: true }))
    expect(one.refused(token)).toBe('MEMBER_ID_REQUIRED')
    expect(one.refusal(joinRequest({ memberId: 'other' }))).toBe('UNKNOWN_MEMBER_ID')
    expect(one.refusal(joinRequest({ memberId: 'other', instanceId: 'i' }))).toBe('UNKNOWN_MEMBER_ID')
    expect(rejoin(one, one.givenId(token)).memberId).toBe(one.givenId(token))
    const late = one.givenId(one.send(joinRequest({ requiresMemberId: true })))
    one.advance(10_000)
    expect(one.refusal(joinRequest({ memberId: late }))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('needs a protocol in common with the other classic ones, and to be a consumer', () => {
    const { one } = shared()
    const other = [{ name: 'other', metadata: subscription(['t']) }]
    expect(one.refusal(joinRequest({ protocols: other }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(one.refusal(joinRequest({ protocolType: 'connect' }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(one.refusal(joinRequest({ protocols: [{ name: 'range', metadata: new Uint8Array(1) }] }))).toBe(
      'INCONSISTENT_GROUP_PROTOCOL',
    )
  })

  test('is not taken where migration is disabled', () => {
    const one = new Coordinator({ migrationPolicy: 'disabled' })
    one.topic('t', 4)
    one.ask<'ConsumerGroupHeartbeat'>(enter('n'))
    expect(one.refusal(joinRequest())).toBe('INCONSISTENT_GROUP_PROTOCOL')
  })

  test('takes the place of a static member over, whose process is fenced', () => {
    const one = new Coordinator()
    one.topic('t', 2)
    one.ask<'ConsumerGroupHeartbeat'>(enter('n'))
    one.ask<'ConsumerGroupHeartbeat'>(enter('s', ['t'], { instanceId: 'i' }))
    const { memberId } = one.ask<'JoinGroup'>(joinRequest({ instanceId: 'i' }))
    expect(one.refusal(beat('s', 2, { instanceId: 'i' }))).toBe('FENCED_INSTANCE_ID')
    expect(one.refusal(joinRequest({ instanceId: 'i', memberId: 's' }))).toBe('FENCED_INSTANCE_ID')
    one.ask<'SyncGroup'>(syncRequest(2, memberId, { instanceId: 'i' }))
  })
})

describe('a group whose last member of the new protocol leaves', () => {
  test('goes on as a classic one, with a rebalance that nobody loses anything by', () => {
    const { one, ids } = shared()
    for (const [at, memberId] of ids.entries()) {
      rejoin(one, memberId, at)
      one.ask<'SyncGroup'>(syncRequest(2, memberId))
    }
    one.ask<'ConsumerGroupHeartbeat'>(beat('n', -1))
    expect(one.ask<'DescribeGroup'>({ type: 'DescribeGroup', groupId: GROUP }).state).toBe('PreparingRebalance')
    expect(one.refusal(heartbeat(2, ids[0]))).toBe('REBALANCE_IN_PROGRESS')
    one.ask<'OffsetCommit'>(commitRequest(2, ids[0]))
    const first = one.send(joinRequest({ memberId: ids[0], sessionTimeoutMs: 50_000 }))
    one.send(joinRequest({ memberId: ids[1], sessionTimeoutMs: 50_000 }))
    expect(one.answer<'JoinGroup'>(first)).toMatchObject({ generationId: 3, leader: ids[0], protocolName: 'range' })
    expect([...(one.stored().get(GROUP)?.members.keys() ?? [])].sort()).toEqual([...ids].sort())
    expect(one.stored().get(GROUP)?.group.type).toBe('classic')
  })

  test('rebalances also where its coordinator is another one before anybody heard of it', () => {
    const { one, ids } = shared()
    for (const [at, memberId] of ids.entries()) {
      rejoin(one, memberId, at)
      one.ask<'SyncGroup'>(syncRequest(2, memberId))
    }
    one.ask<'ConsumerGroupHeartbeat'>(beat('n', -1))
    one.restart({ t: 4 })
    expect(one.ask<'DescribeGroup'>({ type: 'DescribeGroup', groupId: GROUP }).state).toBe('PreparingRebalance')
    expect(one.refusal(heartbeat(2, ids[0]))).toBe('REBALANCE_IN_PROGRESS')
    const first = one.send(joinRequest({ memberId: ids[0], sessionTimeoutMs: 50_000 }))
    one.send(joinRequest({ memberId: ids[1], sessionTimeoutMs: 50_000 }))
    const { generationId, leader } = one.answer<'JoinGroup'>(first)
    expect({ generationId, leader }).toEqual({ generationId: 3, leader: ids[0] })
    // A rebalance that ended is not begun again.
    for (const memberId of ids) one.send(syncRequest(3, memberId, { assignments: {} }))
    one.restart({ t: 4 })
    expect(one.ask<'DescribeGroup'>({ type: 'DescribeGroup', groupId: GROUP }).state).toBe('Stable')
  })

  test('stays as it is under a policy that forbids it', () => {
    const { one, ids } = shared({ migrationPolicy: 'upgrade' })
    one.ask<'ConsumerGroupHeartbeat'>(beat('n', -1))
    rejoin(one, ids[0], 0)
    expect(one.ask<'ListGroups'>({ type: 'ListGroups' }).groups[0]?.groupType).toBe('consumer')
  })

  test('counts what a member may still own when it changes back', () => {
    const one = new Coordinator()
    one.topic('t', 2)
    const joined = one.send(joinRequest({ instanceId: 'i' }))
    one.advance(3_000)
    const { memberId } = one.answer<'JoinGroup'>(joined)
    const sync = { instanceId: 'i', assignments: { [memberId]: assigns('t', 0, 1) } }
    one.ask<'SyncGroup'>(syncRequest(1, memberId, sync))
    one.ask<'ConsumerGroupHeartbeat'>(enter('n'))
    const metadata = subscription(['t'], { owned: [{ topic: 't', partitions: [0, 1] }] })
    one.ask<'JoinGroup'>(joinRequest({ instanceId: 'i', memberId, protocols: [{ name: 'range', metadata }] }))
    // It was told to give one up, and had no chance to yet.
    one.ask<'ConsumerGroupHeartbeat'>(beat('n', -1))
    expect(one.ask<'ConsumerGroupHeartbeat'>(enter('n')).assignment).toEqual([])
  })
})

describe('an empty group', () => {
  test('takes either protocol, and nobody of before is a member of it', () => {
    const { one, ids } = stableGroup(1)
    one.topic('t', 1)
    one.ask<'LeaveGroup'>(leaveRequest({ memberId: ids[0] as string }))
    expect(one.ask<'ConsumerGroupHeartbeat'>(enter('n'))).toMatchObject({ memberEpoch: 3, assignment: owns('t', 0) })
    one.ask<'ConsumerGroupHeartbeat'>(beat('n', -1))
    const token = one.send(joinRequest())
    one.advance(3_000)
    expect(one.answer<'JoinGroup'>(token).generationId).toBe(5)
    expect(one.refusal(beat('n', 3))).toBe('GROUP_ID_NOT_FOUND')
    one.restart({ t: 1 })
    expect(one.ask<'ListGroups'>({ type: 'ListGroups' }).groups).toMatchObject([{ state: 'Empty' }])
  })
})
