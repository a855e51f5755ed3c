import { afterEach, describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { MillraceError } from '../../../engine/base/errors.ts'
import type { GroupCoordinator } from '../../../engine/group/coordinator.ts'
import type { GroupStorage } from '../../../engine/group/storage.ts'
import { errorOf } from '../store/support.ts'
import {
  beat,
  commitRequest,
  enter,
  GROUP,
  heartbeat,
  joinRequest,
  leaveRequest,
  syncRequest,
} from './support/coordinator.ts'
import { Service } from './support/service.ts'

const open: GroupCoordinator[] = []
afterEach(async () => {
  for (const groups of open.splice(0)) await groups.close()
})

function service(config = {}): Service {
  const one = new Service(config)
  open.push(one.groups)
  return one
}

const code = async (call: () => unknown): Promise<string> => (await errorOf(call)).code

/** A request as `support/coordinator.ts` makes it, without its type. */
function of<R extends { type: string }>(request: R): Omit<R, 'type'> {
  const { type: _, ...rest } = request
  return rest
}

const join = (more: Parameters<typeof joinRequest>[0] = {}) => of(joinRequest(more)) as never
const sync = (...all: Parameters<typeof syncRequest>) => of(syncRequest(...all))
const commit = (topicId: TopicId, generationId: number, memberId: string, offset: number, partition = 0) => ({
  ...of(commitRequest(generationId, memberId)),
  offsets: [{ topicId, partition, offset, leaderEpoch: 7, metadata: 'm' }],
})
const fetch = { groupId: GROUP, memberId: null, memberEpoch: -1 }

/** The first member of a classic group, with its assignment. */
async function lead(one: Service, more: Parameters<typeof joinRequest>[0] = {}): Promise<string> {
  const joining = one.groups.joinGroup(join(more))
  one.advance(0)
  const { memberId, generationId } = await joining
  await one.groups.syncGroup(sync(generationId, memberId, { assignments: { [memberId]: Uint8Array.of(1) } }))
  return memberId
}

describe('a classic group', () => {
  test('goes its way over promises, and comes back after a restart', async () => {
    const one = service()
    const topicId = one.topic('t', 2)
    const memberId = await lead(one)
    await one.groups.offsetCommit(commit(topicId, 1, memberId, 5))
    await one.groups.heartbeat(of(heartbeat(1, memberId)))
    await one.restart()
    open.push(one.groups)
    await one.groups.heartbeat(of(heartbeat(1, memberId)))
    expect((await one.groups.syncGroup(sync(1, memberId))).assignment).toEqual(Uint8Array.of(1))
    expect(await one.groups.offsetFetch(fetch, null)).toEqual([
      { topicId, partition: 0, offset: 5, leaderEpoch: 7, metadata: 'm', committedAtMs: 1_700_000_000_000 },
    ])
    expect(await one.groups.offsetFetch(fetch, [{ topicId, partitions: [0, 1] }])).toHaveLength(1)
    one.advance(10_000)
    expect(await code(() => one.groups.heartbeat(of(heartbeat(1, memberId))))).toBe('UNKNOWN_MEMBER_ID')
  })

  test('gives a member its id with the refusal', async () => {
    const one = service()
    const error = await errorOf(() => one.groups.joinGroup(join({ requiresMemberId: true })))
    expect(error).toMatchObject({ code: 'MEMBER_ID_REQUIRED', details: { memberId: 'client-id1' } })
    const joining = one.groups.joinGroup(join({ requiresMemberId: true, memberId: 'client-id1' }))
    one.advance(0)
    expect((await joining).memberId).toBe('client-id1')
  })

  test('is told to others only when it is stored', async () => {
    const one = service()
    const joining = one.groups.joinGroup(join())
    one.advance(0)
    const { memberId } = await joining
    const assignments = { [memberId]: Uint8Array.of(1) }
    const first = one.groups.syncGroup(sync(1, memberId, { assignments })).then(() => one.store.groups.get(GROUP))
    // The second does not change anything and is answered behind the first all the same.
    const second = one.groups.syncGroup(sync(1, memberId)).then(() => one.store.groups.get(GROUP))
    expect(one.store.groups.get(GROUP)).toBeUndefined()
    expect((await second)?.members).toHaveLength(1)
    expect((await first)?.members).toHaveLength(1)
  })

  test('is deleted with its offsets', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    const memberId = await lead(one)
    await one.groups.offsetCommit(commit(topicId, 1, memberId, 5))
    expect(await code(() => one.groups.deleteGroup({ groupId: GROUP }))).toBe('NON_EMPTY_GROUP')
    await one.groups.leaveGroup(of(leaveRequest({ memberId })))
    await one.groups.offsetDelete({ groupId: GROUP, topics: [{ topicId, partitions: [0] }] })
    await one.groups.offsetCommit(commit(topicId, -1, '', 6))
    await one.groups.deleteGroup({ groupId: GROUP })
    expect(one.store.offsets.groups()).toEqual([])
    expect(one.store.groups.list()).toEqual([])
    expect((await one.groups.listGroups()).groups).toEqual([])
    expect(await code(() => one.groups.describeGroup({ groupId: GROUP }))).toBe('GROUP_ID_NOT_FOUND')
  })
})

describe('a group of KIP-848', () => {
  test('sees topics come and grow, and comes back after a restart', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    const ask = (request: ReturnType<typeof beat>) => one.groups.consumerGroupHeartbeat(of(request) as never)
    expect((await ask(enter('a'))).assignment).toEqual([{ topicId, partitions: [0] }])
    one.store.topics.setPartitions('t', 2)
    one.topics.version++
    expect((await ask(beat('a', 1))).assignment).toEqual([{ topicId, partitions: [0, 1] }])
    await one.restart()
    open.push(one.groups)
    expect(await ask(beat('a', 2))).toMatchObject({ memberEpoch: 2, assignment: null })
    expect(await one.groups.consumerGroupDescribe({ groupId: GROUP })).toMatchObject({ state: 'Stable', groupEpoch: 2 })
    await ask(beat('a', -1))
    expect(one.store.groups.get(GROUP)).toMatchObject({ group: { type: 'consumer', groupEpoch: 3 }, members: [] })
  })

  test('forgets a topic that was deleted', async () => {
    const one = service()
    one.topic('t', 1)
    const ask = (request: ReturnType<typeof beat>) => one.groups.consumerGroupHeartbeat(of(request) as never)
    await ask(enter('a'))
    await one.store.topics.delete('t')
    one.topics.version++
    expect((await ask(beat('a', 1, { topicPartitions: [] }))).assignment).toEqual([])
  })
})

describe('commits', () => {
  test('of a topic that is gone are refused', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    await one.store.topics.delete('t')
    expect(await code(() => one.groups.offsetCommit(commit(topicId, -1, '', 1)))).toBe('UNKNOWN_TOPIC_OR_PARTITION')
  })

  test('that are handed in together stay in order', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    const all = Array.from({ length: 500 }, (_, offset) => one.groups.offsetCommit(commit(topicId, -1, '', offset)))
    await Promise.all(all)
    expect((await one.groups.offsetFetch(fetch, null))[0]?.offset).toBe(499)
  })

  test('behind a change of the group that is being stored stay in order as well', async () => {
    const one = service()
    const topicId = one.topic('t', 1)
    const joining = one.groups.joinGroup(join())
    one.advance(0)
    const { memberId } = await joining
    const syncing = one.groups.syncGroup(sync(1, memberId, { assignments: { [memberId]: Uint8Array.of(1) } }))
    const commits = [1, 2, 3].map(offset => one.groups.offsetCommit(commit(topicId, 1, memberId, offset)))
    await Promise.all([syncing, ...commits])
    expect((await one.groups.offsetFetch(fetch, null))[0]?.offset).toBe(3)
  })
})

describe('a store that refuses', () => {
  /** Storage whose changes of groups fail for as long as `broken` says. */
  function breakable(one: Service): { storage: GroupStorage; state: { broken: boolean } } {
    const state = { broken: false }
    const { groups, offsets } = one.store
    const storage: GroupStorage = {
      offsets,
      groups: {
        list: () => groups.list(),
        get: groupId => groups.get(groupId),
        put: change => (state.broken ? Promise.reject(new MillraceError('DISK_FULL', {})) : groups.put(change)),
        delete: groupId => groups.delete(groupId),
        deleteUnlessCommitted: groupId => groups.deleteUnlessCommitted(groupId),
      },
    }
    return { storage, state }
  }

  test('takes the group back to what is stored; what waited is told so', async () => {
    const one = service()
    one.topic('t', 2)
    const { storage, state } = breakable(one)
    await one.groups.close()
    one.groups = one.coordinator(storage)
    open.push(one.groups)
    const leader = await lead(one)
    const joining = one.groups.joinGroup(join())
    const again = one.groups.joinGroup(join({ memberId: leader }))
    one.advance(0)
    const { memberId: follower } = await joining
    await again
    state.broken = true
    const waiting = one.groups.syncGroup(sync(2, follower))
    const leading = one.groups.syncGroup(sync(2, leader, { assignments: { [leader]: Uint8Array.of(2) } }))
    const behind = one.groups.heartbeat(of(heartbeat(2, leader)))
    const codes = await Promise.all([waiting, leading, behind].map(promise => code(() => promise)))
    expect(codes).toEqual(['DISK_FULL', 'DISK_FULL', 'DISK_FULL'])
    state.broken = false
    // As after a restart: the generation that is stored, and the members of that.
    expect(await code(() => one.groups.heartbeat(of(heartbeat(2, leader))))).toBe('ILLEGAL_GENERATION')
    expect(await code(() => one.groups.heartbeat(of(heartbeat(2, follower))))).toBe('UNKNOWN_MEMBER_ID')
    await one.groups.heartbeat(of(heartbeat(1, leader)))
  })

  test('leaves nothing of a new group', async () => {
    const one = service()
    one.topic('t', 2)
    const { storage, state } = breakable(one)
    await one.groups.close()
    one.groups = one.coordinator(storage)
    open.push(one.groups)
    state.broken = true
    const ask = (request: ReturnType<typeof beat>) => one.groups.consumerGroupHeartbeat(of(request) as never)
    expect(await code(() => ask(enter('a')))).toBe('DISK_FULL')
    state.broken = false
    expect(await code(() => ask(beat('a', 1)))).toBe('GROUP_ID_NOT_FOUND')
    expect((await ask(enter('a'))).memberEpoch).toBe(1)
  })
})

describe('ids', () => {
  test('that fit no key are refused', async () => {
    const one = service()
    for (const groupId of ['', 'x'.repeat(1025), 'ü'.repeat(513), '\udc00']) {
      expect(await code(() => one.groups.joinGroup(join({ groupId })))).toBe('INVALID_GROUP_ID')
    }
    const memberId = 'm'.repeat(901)
    expect(await code(() => one.groups.consumerGroupHeartbeat(of(enter(memberId)) as never))).toBe('INVALID_ARGUMENT')
  })

  test('of any client fit', async () => {
    const one = service()
    const groupId = 'g'.repeat(1024)
    const joining = one.groups.joinGroup(
      join({ groupId, clientId: `${'x'.repeat(199)}\u{10ffff}${'y'.repeat(9_000)}` }),
    )
    one.advance(0)
    const { memberId } = await joining
    expect(memberId.isWellFormed()).toBe(true)
    const assignments = { [memberId]: Uint8Array.of(1) }
    await one.groups.syncGroup({ ...sync(1, memberId, { assignments }), groupId })
    await one.restart()
    open.push(one.groups)
    await one.groups.heartbeat({ ...of(heartbeat(1, memberId)), groupId })
  })
})

describe('the end', () => {
  test('refuses what waits, and stores what was promised', async () => {
    const one = service({ initialRebalanceDelayMs: 1_000 })
    const topicId = one.topic('t', 1)
    const waiting = one.groups.joinGroup(join({ groupId: 'other' }))
    const committing = one.groups.offsetCommit(commit(topicId, -1, '', 5))
    const codes = Promise.allSettled([waiting, committing])
    await one.groups.close()
    expect(await codes).toMatchObject([{ status: 'rejected', reason: { code: 'CLOSED' } }, { status: 'fulfilled' }])
    expect(one.store.offsets.get(GROUP, topicId, 0)?.offset).toBe(5)
    expect(await code(() => one.groups.listGroups())).toBe('CLOSED')
  })

  test('a configuration that makes no sense is refused', async () => {
    const one = service()
    for (const config of [
      { sizeMax: 0 },
      { consumerSessionTimeoutMs: 1.5 },
      { sessionTimeoutMinMs: 10, sessionTimeoutMaxMs: 9 },
      { migrationPolicy: 'never' as never },
      { consumerAssignors: ['own'] },
      { consumerAssignors: [] },
    ]) {
      expect(await code(() => one.coordinator(one.store, { config }))).toBe('INVALID_ARGUMENT')
    }
  })
})
