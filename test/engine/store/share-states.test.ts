import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { partitionKey, shareGroupPrefix, u64Key } from '../../../engine/store/keys.ts'
import type { RunRow, ShareChanges, ShareGroupConfig } from '../../../engine/store/share-states.ts'
import { codeAndDetails, openStore, putRaw, temporaryDirectory } from './support.ts'

const CONFIG: ShareGroupConfig = {
  lockDurationMs: 30_000,
  deliveryCountLimit: 5,
  recordLocksMax: 2_000,
  delayedRecordsMax: 100_000,
  deadLetterTopic: 'dlq.jobs',
}

const facts = (startOffset: number, endOffset: number) => ({ startOffset, endOffset, accepted: 7, deadLettered: 1 })

const changes = (startOffset: number, endOffset: number, blocks: [number, readonly RunRow[]][]): ShareChanges => ({
  facts: facts(startOffset, endOffset),
  blocks: new Map(blocks),
})

const ROW: RunRow = [10, 5, 0, 1, 0]
const DELAYED: RunRow = [1_000, 24, 5, 2, 1_700_000_000_000]

describe('share states', () => {
  test('come back after a reopening, blocks as they were put last', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { topicId } = store.topics.create('jobs', 2)
    const key = { group: 'jobs', topicId, partition: 1 }
    store.shares.putGroup('jobs', CONFIG)
    await store.shares.put([
      {
        ...key,
        changes: changes(10, 9_000, [
          [0, [ROW, DELAYED]],
          [3, [ROW]],
          [8_000_000_000, [ROW]],
        ]),
      },
    ])
    await store.shares.put([
      {
        ...key,
        changes: changes(10, 9_500, [
          [3, []],
          [4, [DELAYED]],
        ]),
      },
    ])
    await store.close()
    const { shares } = openStore(directory)
    expect([...shares.groups()]).toEqual([['jobs', CONFIG]])
    expect(shares.group('job')).toBeUndefined()
    expect(shares.get({ ...key, partition: 0 })).toBeUndefined()
    expect(shares.get(key)).toEqual(
      changes(10, 9_500, [
        [0, [ROW, DELAYED]],
        [4, [DELAYED]],
        [8_000_000_000, [ROW]],
      ]),
    )
    expect(shares.partitions()).toEqual([{ ...key, facts: facts(10, 9_500) }])
    expect(shares.isShared(topicId)).toBe(true)
  })

  test('are forgotten with their group, and those of other groups stay', async () => {
    const { topics, shares } = openStore(temporaryDirectory())
    const { topicId } = topics.create('jobs', 1)
    for (const group of ['a', 'ab']) {
      shares.putGroup(group, CONFIG)
      await shares.put([{ group, topicId, partition: 0, changes: changes(0, 20, [[0, [ROW]]]) }])
    }
    await shares.deleteGroup('a')
    expect([...shares.groups().keys()]).toEqual(['ab'])
    expect(shares.get({ group: 'a', topicId, partition: 0 })).toBeUndefined()
    expect(shares.get({ group: 'ab', topicId, partition: 0 })?.blocks.size).toBe(1)
  })

  test('are forgotten with their topic, also what comes too late', async () => {
    const { topics, shares } = openStore(temporaryDirectory())
    const { topicId } = topics.create('jobs', 1)
    shares.putGroup('a', CONFIG)
    const entry = { group: 'a', topicId, partition: 0, changes: changes(0, 20, [[0, [ROW]]]) }
    void shares.put([entry])
    const deleted = topics.delete('jobs')
    await shares.put([entry])
    await deleted
    expect(shares.get(entry)).toBeUndefined()
    expect([shares.partitions(), shares.isShared(topicId)]).toEqual([[], false])
    expect([...shares.groups().keys()]).toEqual(['a'])
  })

  test('are cut where the log ends after a recovery', async () => {
    const { topics, shares } = openStore(temporaryDirectory())
    const { topicId } = topics.create('jobs', 2)
    for (const group of ['a', 'b']) shares.putGroup(group, CONFIG)
    const at = (group: string, partition: number) => ({ group, topicId, partition })
    await shares.put([
      {
        ...at('a', 0),
        changes: changes(10, 9_000, [
          [0, [ROW, DELAYED]],
          [1, [ROW]],
        ]),
      },
      { ...at('b', 0), changes: changes(10, 1_010, [[0, [ROW]]]) },
      { ...at('a', 1), changes: changes(50, 60, []) },
    ])
    expect(shares.clamp(topicId, 0, 1_010)).toEqual(['a'])
    expect(shares.get(at('a', 0))).toEqual(changes(10, 1_010, [[0, [ROW, [1_000, 10, 5, 2, 1_700_000_000_000]]]]))
    expect(shares.clamp(topicId, 1, 7)).toEqual(['a'])
    expect(shares.get(at('a', 1))).toEqual(changes(7, 7, []))
    expect(shares.get(at('b', 0))?.facts).toEqual(facts(10, 1_010))
  })

  const rowsThatAreNone: [string, unknown][] = [
    ['no rows', []],
    ['a row too short', [[0, 1, 0, 1]]],
    ['no records', [[0, 0, 0, 1, 0]]],
    ['a state that is not stored', [[0, 1, 1, 1, 0]]],
    [
      'rows that overlap',
      [
        [0, 5, 0, 1, 0],
        [4, 1, 0, 1, 0],
      ],
    ],
    ['a row beyond its block', [[1_020, 5, 0, 1, 0]]],
    ['a negative count', [[0, 5, 0, -1, 0]]],
  ]
  test.each(rowsThatAreNone)('%s is CORRUPT_STORE', async (_, rows) => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { topicId } = store.topics.create('jobs', 1)
    const key = { group: 'a', topicId, partition: 0 }
    store.shares.putGroup('a', CONFIG)
    await store.shares.put([{ ...key, changes: changes(0, 20, [[0, [ROW]]]) }])
    await store.close()
    await putRaw(
      directory,
      'share-runs',
      u64Key(partitionKey(topicId as TopicId, 0, shareGroupPrefix('a')), 0),
      JSON.stringify(rows),
    )
    expect(await codeAndDetails(() => openStore(directory).shares.get(key))).toMatchObject({
      code: 'CORRUPT_STORE',
      details: { database: 'share-runs', reason: 'shape' },
    })
  })
})
