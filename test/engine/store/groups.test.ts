import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import type {
  GroupChange,
  StoredClassicGroup,
  StoredClassicMember,
  StoredConsumerGroup,
  StoredConsumerMember,
} from '../../../engine/store/groups.ts'
import { groupPrefix, memberKey } from '../../../engine/store/keys.ts'
import { codeAndDetails, openStore, putRaw, temporaryDirectory } from './support.ts'

const ID = '0f0e0d0c-0b0a-4908-8706-050403020100' as TopicId

const classic: StoredClassicGroup = {
  type: 'classic',
  protocolType: 'consumer',
  protocolName: 'range',
  generationId: 3,
  leaderId: 'a',
  stateSinceMs: 1_700_000_000_000,
}

const consumer: StoredConsumerGroup = {
  type: 'consumer',
  groupEpoch: 4,
  assignmentEpoch: 3,
  assignorName: 'uniform',
  topicsDigest: 'xyz',
  stateSinceMs: 1_700_000_000_000,
}

const classicMember = (memberId: string): StoredClassicMember => ({
  type: 'classic',
  memberId,
  instanceId: null,
  clientId: 'client',
  clientHost: 'host',
  sessionTimeoutMs: 10_000,
  rebalanceTimeoutMs: 60_000,
  protocols: [{ name: 'range', metadata: 'AAA=' }],
  assignment: 'AAA=',
})

const consumerMember = (memberId: string): StoredConsumerMember => ({
  type: 'consumer',
  memberId,
  instanceId: 'i',
  rackId: null,
  clientId: 'client',
  clientHost: 'host',
  rebalanceTimeoutMs: 60_000,
  serverAssignor: null,
  topicNames: ['t'],
  topicRegex: '',
  memberEpoch: 3,
  previousMemberEpoch: 2,
  state: 'unrevoked',
  assigned: [[ID, [[3, [0, 1]]]]],
  pendingRevocation: [[ID, [[2, [4]]]]],
  target: [[ID, [[0, [0]]]]],
  classic: { sessionTimeoutMs: 10_000, protocols: [{ name: 'range', metadata: 'AAA=' }] },
})

const change = (groupId: string, more: Partial<GroupChange> = {}): GroupChange => ({
  groupId,
  group: classic,
  members: [],
  removed: [],
  ...more,
})

describe('groups', () => {
  test('come back with their members, after a reopening', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    await store.groups.put(change('g', { members: ['a', 'b', 'c'].map(classicMember) }))
    await store.groups.put(change('g', { removed: ['b'], members: [{ ...classicMember('c'), assignment: 'BBB=' }] }))
    await store.groups.put(change('gg', { group: consumer, members: [consumerMember('a')] }))
    await store.close()
    const { groups } = openStore(directory)
    const first = {
      groupId: 'g',
      group: classic,
      members: [classicMember('a'), { ...classicMember('c'), assignment: 'BBB=' }],
    }
    expect(groups.list()).toEqual([first, { groupId: 'gg', group: consumer, members: [consumerMember('a')] }])
    expect(groups.get('g')).toEqual(first)
    expect(groups.get('other')).toBeUndefined()
  })

  test('go with what they committed, behind what was submitted before', async () => {
    const store = openStore(temporaryDirectory())
    const { topicId } = store.topics.create('t', 1)
    const offset = { topicId, partition: 0, offset: 1, leaderEpoch: 0, metadata: '', committedAtMs: 1 }
    void store.groups.put(change('g', { members: [classicMember('a')] }))
    void store.offsets.commit('g', [offset])
    void store.offsets.commit('gg', [offset])
    await store.groups.delete('g')
    expect(store.groups.list()).toEqual([])
    expect(store.offsets.groups()).toEqual(['gg'])
  })

  test('that committed something by then are not forgotten', async () => {
    const store = openStore(temporaryDirectory())
    const { topicId } = store.topics.create('t', 1)
    await store.groups.put(change('g'))
    void store.offsets.commit('g', [
      { topicId, partition: 0, offset: 1, leaderEpoch: 0, metadata: '', committedAtMs: 1 },
    ])
    expect(await store.groups.deleteUnlessCommitted('g')).toBe(false)
    await store.offsets.deleteGroup('g')
    expect(await store.groups.deleteUnlessCommitted('g')).toBe(true)
    expect(store.groups.list()).toEqual([])
  })

  test('are not there in a directory of before them, which is left as it is when it is only read', async () => {
    const directory = temporaryDirectory()
    await openStore(directory).close()
    const { open } = await import('lmdb')
    const root = open({ path: `${directory}/store`, overlappingSync: false })
    await root.openDB({ name: 'groups', encoding: 'string', keyEncoding: 'binary' }).drop()
    await root.close()
    const reader = openStore(directory, { readOnly: true })
    expect(reader.groups.list()).toEqual([])
    expect(reader.groups.get('g')).toBeUndefined()
    expect(await codeAndDetails(() => reader.groups.put(change('g')))).toMatchObject({ code: 'READ_ONLY' })
    await reader.close()
    const owner = openStore(directory)
    await owner.groups.put(change('g'))
    expect(owner.groups.list()).toHaveLength(1)
  })
})

describe('an entry that is damaged is CORRUPT_STORE', () => {
  const broken: [string, string, unknown][] = [
    ['a group without its type', '', { ...classic, type: 'other' }],
    ['a group without a generation', '', { ...classic, generationId: 1.5 }],
    ['a group of KIP-848 without an epoch', '', { ...consumer, groupEpoch: null }],
    ['a member under another id', 'b', classicMember('a')],
    ['a member without protocols', 'a', { ...classicMember('a'), protocols: [{ name: 'x' }] }],
    ['a member in no state', 'a', { ...consumerMember('a'), state: 'gone' }],
    ['a member with partitions of no topic', 'a', { ...consumerMember('a'), assigned: [['t', [[0, [1]]]]] }],
    ['a member with partitions that are none', 'a', { ...consumerMember('a'), target: [[ID, [[0, 1]]]] }],
    ['a member that is classic in part', 'a', { ...consumerMember('a'), classic: {} }],
  ]

  test.each(broken)('%s', async (_, memberId, value) => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    await store.groups.put(change('g'))
    await store.close()
    await putRaw(directory, 'groups', memberKey(groupPrefix('g'), memberId), JSON.stringify(value))
    const { groups } = openStore(directory)
    expect(await codeAndDetails(() => groups.list())).toMatchObject({
      code: 'CORRUPT_STORE',
      details: { database: 'groups' },
    })
  })

  test('a member without its group', async () => {
    const directory = temporaryDirectory()
    await openStore(directory).close()
    const key = memberKey(groupPrefix('g'), 'a')
    await putRaw(directory, 'groups', key, JSON.stringify(classicMember('a')))
    expect(await codeAndDetails(() => openStore(directory).groups.list())).toMatchObject({ code: 'CORRUPT_STORE' })
  })
})
