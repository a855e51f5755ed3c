import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { partitionKey } from '../../../engine/store/keys.ts'
import type { PartitionOffset } from '../../../engine/store/offsets.ts'
import { codeAndDetails, errorOf, openStore, putRaw, temporaryDirectory } from './support.ts'

function at(topicId: TopicId, partition: number, offset: number): PartitionOffset {
  return { topicId, partition, offset, leaderEpoch: 4, metadata: `at ${offset}`, committedAtMs: 1_700_000_000_000 }
}

describe('committed offsets', () => {
  test('come back by partition and by group, after a reopening', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { topicId } = store.topics.create('events', 3)
    await store.offsets.commit('group', [at(topicId, 2, 20), at(topicId, 0, 10)])
    await store.offsets.commit('group', [at(topicId, 2, 21)])
    await store.close()
    const { offsets } = openStore(directory)
    const { topicId: _, partition: __, ...committed } = at(topicId, 2, 21)
    expect(offsets.get('group', topicId, 2)).toEqual(committed)
    expect(offsets.get('group', topicId, 1)).toBeUndefined()
    expect(offsets.get('groups', topicId, 2)).toBeUndefined()
    expect(offsets.ofGroup('group')).toEqual([at(topicId, 0, 10), at(topicId, 2, 21)])
    expect(offsets.ofGroup('other')).toEqual([])
    expect(offsets.groups()).toEqual(['group'])
  })

  test('a group is any text, and never mistaken for another', async () => {
    const store = openStore(temporaryDirectory())
    const { topicId } = store.topics.create('events', 1)
    const special = ['', '\0', 'a', 'ab', 'a\0b', '\uffff', '\u{10ffff}', 'x'.repeat(1956), '__proto__']
    const texts = fc.uniqueArray(fc.string({ unit: 'binary', maxLength: 40 }).filter(text => text.isWellFormed()))
    await fc.assert(
      fc.asyncProperty(texts, async random => {
        const groups = [...new Set([...special, ...random])]
        await Promise.all(groups.map((group, i) => store.offsets.commit(group, [at(topicId, 0, i)])))
        groups.forEach((group, i) => {
          expect(store.offsets.ofGroup(group)).toEqual([at(topicId, 0, i)])
        })
        expect(new Set(store.offsets.groups())).toEqual(new Set(groups))
        for (const group of groups) void store.offsets.deleteGroup(group)
        await store.offsets.deleteGroup('')
        expect(store.offsets.groups()).toEqual([])
      }),
      { numRuns: 20 },
    )
  })

  test.each([['x'.repeat(1957)], ['ü'.repeat(979)], ['\udc00']])(
    'a group that fits no key is INVALID_ARGUMENT',
    async group => {
      const store = openStore(temporaryDirectory())
      const { topicId } = store.topics.create('events', 1)
      for (const call of [
        () => store.offsets.commit(group, [at(topicId, 0, 1)]),
        () => store.offsets.get(group, topicId, 0),
        () => store.offsets.ofGroup(group),
      ]) {
        expect(await codeAndDetails(call)).toMatchObject({ code: 'INVALID_ARGUMENT', details: { argument: 'group' } })
      }
    },
  )

  test('metadata has a limit, and one bad entry keeps all of a commit out', async () => {
    const store = openStore(temporaryDirectory())
    const { topicId } = store.topics.create('events', 2)
    const unknown = '00000000-0000-4000-8000-000000000000' as TopicId
    await store.offsets.commit('group', [{ ...at(topicId, 0, 1), metadata: 'm'.repeat(4096) }])
    const bad = [
      [at(topicId, 0, 2), { ...at(topicId, 1, 2), metadata: 'm'.repeat(4097) }],
      [at(topicId, 0, 2), at(unknown, 0, 2)],
    ]
    const codes = await Promise.all(
      bad.map(async entries => (await errorOf(() => store.offsets.commit('group', entries))).code),
    )
    expect(codes).toEqual(['INVALID_ARGUMENT', 'UNKNOWN_TOPIC_OR_PARTITION'])
    expect(store.offsets.ofGroup('group').map(({ offset }) => offset)).toEqual([1])
    expect((await errorOf(() => store.offsets.get('group', 'events' as TopicId, 0))).code).toBe('INVALID_ARGUMENT')
  })

  test('are deleted by partition and by group, in the order of the calls', async () => {
    const { offsets, topics } = openStore(temporaryDirectory())
    const { topicId } = topics.create('events', 3)
    const all = [0, 1, 2].map(partition => at(topicId, partition, 1))
    void offsets.commit('a', all)
    void offsets.commit('b', all)
    void offsets.delete('a', [
      { topicId, partition: 1 },
      { topicId, partition: 9 },
    ])
    void offsets.commit('a', [at(topicId, 2, 2)])
    void offsets.deleteGroup('b')
    await offsets.commit('b', [at(topicId, 0, 7)])
    expect(offsets.ofGroup('a')).toEqual([at(topicId, 0, 1), at(topicId, 2, 2)])
    expect(offsets.ofGroup('b')).toEqual([at(topicId, 0, 7)])
  })

  test('an unreadable one is CORRUPT_STORE, its neighbours are not', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { topicId } = store.topics.create('events', 2)
    await store.offsets.commit('group', [at(topicId, 1, 1)])
    await store.close()
    const prefix = Buffer.from('\0\x05group', 'latin1')
    await putRaw(directory, 'offsets', partitionKey(topicId, 0, prefix), '{"offset":"3"}')
    const { offsets } = openStore(directory)
    expect((await errorOf(() => offsets.get('group', topicId, 0))).code).toBe('CORRUPT_STORE')
    expect(offsets.get('group', topicId, 1)?.offset).toBe(1)
  })
})

describe('clamping after a recovery', () => {
  test.each(['clampOffsets', 'clampAllOffsets'] as const)('%s lowers what is above the end and says so', async form => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { topicId } = store.topics.create('events', 3)
    const other = store.topics.create('other', 1).topicId
    const groups = ['', 'below', 'equal', 'above', 'far above']
    for (const [i, group] of groups.entries()) {
      await store.offsets.commit(group, [at(topicId, 1, 98 + i), at(topicId, 0, 500), at(other, 0, 500)])
    }
    const clamp = (logEndOffset: number) =>
      form === 'clampOffsets'
        ? store.offsets.clampOffsets(topicId, 1, logEndOffset)
        : store.offsets.clampAllOffsets([
            { topicId, partition: 1, logEndOffset },
            { topicId, partition: 2, logEndOffset: 0 },
          ])
    const clamped = clamp(100)
    expect(new Set(clamped)).toEqual(
      new Set([
        { group: 'above', topicId, partition: 1, from: 101, to: 100 },
        { group: 'far above', topicId, partition: 1, from: 102, to: 100 },
      ]),
    )
    expect(clamp(100)).toEqual([])
    await store.close()
    const { offsets } = openStore(directory)
    expect(groups.map(group => offsets.get(group, topicId, 1)?.offset)).toEqual([98, 99, 100, 100, 100])
    expect(groups.map(group => offsets.get(group, topicId, 1)?.leaderEpoch)).toEqual([4, 4, 4, -1, -1])
    expect(groups.map(group => offsets.get(group, topicId, 0)?.offset)).toEqual(Array(5).fill(500))
    expect(groups.map(group => offsets.get(group, other, 0)?.offset)).toEqual(Array(5).fill(500))
  })
})
