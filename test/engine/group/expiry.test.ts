import { afterEach, describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { ClassicGroup } from '../../../engine/group/classic/group.ts'
import { ConsumerGroup } from '../../../engine/group/consumer/group.ts'
import { expiresAtMs } from '../../../engine/group/expiry.ts'
import { beat, enter, GROUP } from './support/coordinator.ts'
import { Service } from './support/service.ts'

const open: Service[] = []
afterEach(async () => {
  for (const { groups } of open.splice(0)) await groups.close()
})

function service(): Service {
  const one = new Service({ offsetsRetentionMinutes: 60 })
  open.push(one)
  return one
}

const MINUTE = 60_000

function commit(one: Service, topicId: TopicId, memberEpoch = -1, memberId = '', offset = 1) {
  return one.groups.offsetCommit({
    groupId: GROUP,
    generationIdOrMemberEpoch: memberEpoch,
    memberId,
    instanceId: null,
    offsets: [{ topicId, partition: 0, offset, leaderEpoch: 0, metadata: '' }],
  })
}

function ask(one: Service, request: ReturnType<typeof beat>) {
  const { type: _, ...rest } = request
  return one.groups.consumerGroupHeartbeat(rest)
}

describe('when a commit may be forgotten', () => {
  test('without a group, or in one that only commits: after the retention', () => {
    expect(expiresAtMs(undefined, 't', 100, 10)).toBe(110)
    expect(expiresAtMs(new ClassicGroup('g', 5_000), 't', 100, 10)).toBe(110)
  })

  test('in a group without members: after the retention from the last one on', () => {
    const classic = new ClassicGroup('g', 5_000)
    classic.protocolType = 'consumer'
    expect(expiresAtMs(classic, 't', 100, 10)).toBe(5_010)
    expect(expiresAtMs(new ConsumerGroup('g', 5_000), 't', 6_000, 10)).toBe(6_010)
  })
})

describe('offsets', () => {
  test('of a group without members go after the retention, and then the group', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    await commit(one, topicId)
    one.advance(59 * MINUTE)
    expect(await one.groups.expireOffsets()).toBe(0)
    one.advance(MINUTE)
    expect(await one.groups.expireOffsets()).toBe(1)
    expect(one.store.offsets.groups()).toEqual([])
    expect((await one.groups.listGroups()).groups).toEqual([])
  })

  test('of topics that members subscribe to stay, others go', async () => {
    const one = service()
    const [kept, gone] = [one.topic('t', 1), one.topic('u', 1)]
    const { memberEpoch } = await ask(one, enter('a'))
    await commit(one, kept, memberEpoch, 'a')
    await commit(one, gone, memberEpoch, 'a')
    for (let at = 0; at < 120; at++) {
      one.advance(MINUTE / 2)
      await ask(one, beat('a', memberEpoch))
    }
    expect(await one.groups.expireOffsets()).toBe(1)
    expect(one.store.offsets.ofGroup(GROUP)).toMatchObject([{ topicId: kept }])
    // The group goes on, and when it is left it keeps them for the retention from then on.
    await ask(one, beat('a', -1))
    one.advance(59 * MINUTE)
    expect(await one.groups.expireOffsets()).toBe(0)
    one.advance(MINUTE)
    expect(await one.groups.expireOffsets()).toBe(1)
    expect(one.store.groups.list()).toEqual([])
  })

  test('that are committed anew meanwhile stay', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    await commit(one, topicId)
    one.advance(60 * MINUTE)
    const committing = commit(one, topicId, -1, '', 2)
    expect(await one.groups.expireOffsets()).toBe(0)
    await committing
    expect(one.store.offsets.get(GROUP, topicId, 0)?.offset).toBe(2)
  })

  test('of a group that is loaded after a restart count from when it was left', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    const { memberEpoch } = await ask(one, enter('a'))
    await commit(one, topicId, memberEpoch, 'a')
    one.advance(30_000)
    await ask(one, beat('a', -1))
    await one.restart()
    one.advance(59 * MINUTE + 45_000)
    expect(await one.groups.expireOffsets()).toBe(0)
    one.advance(15_000)
    expect(await one.groups.expireOffsets()).toBe(1)
  })

  test('a group without offsets goes when its members are gone', async () => {
    const one = service()
    one.topic('t', 1)
    await ask(one, enter('a'))
    expect(await one.groups.expireOffsets()).toBe(0)
    expect((await one.groups.listGroups()).groups).toHaveLength(1)
    await ask(one, beat('a', -1))
    await one.groups.expireOffsets()
    expect((await one.groups.listGroups()).groups).toEqual([])
    expect(one.store.groups.list()).toEqual([])
  })
})
