import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { ManualClock } from '../../../engine/base/clock.ts'
import type { Store } from '../../../engine/store/store.ts'
import { codeAndDetails, errorOf, openStore, putRaw, temporaryDirectory } from './support.ts'

const checkpoint = { recoveryPoint: 7, logStartOffset: 1, highWatermark: 7, leaderEpoch: 2 }

/** Gives a topic a checkpoint and a commit of each group in every partition. */
async function fill(store: Store, topicId: TopicId, partitions: number, groups: readonly string[]): Promise<void> {
  const numbers = Array.from({ length: partitions }, (_, partition) => partition)
  await store.checkpoints.put(numbers.map(partition => ({ topicId, partition, checkpoint })))
  for (const group of groups) {
    await store.offsets.commit(
      group,
      numbers.map(partition => ({ topicId, partition, offset: 5, leaderEpoch: 0, metadata: '', committedAtMs: 1 })),
    )
  }
}

describe('topics', () => {
  test('are created once, with a UUID, and survive a reopening', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory, { clock: new ManualClock(1_700_000_000_000) })
    const created = store.topics.create('events', 3, { 'retention.ms': '60000' })
    expect(created).toMatchObject({
      topicId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      partitions: 3,
      createdAtMs: 1_700_000_000_000,
      config: { 'retention.ms': '60000' },
    })
    expect(await codeAndDetails(() => store.topics.create('events', 1))).toEqual({
      code: 'TOPIC_ALREADY_EXISTS',
      details: { topic: 'events' },
    })
    await store.close()
    const again = openStore(directory)
    expect(again.topics.get('events')).toEqual(created)
    expect(again.topics.get('event')).toBeUndefined()
    expect(again.topics.isLive(created.topicId)).toBe(true)
  })

  test('are listed by name', () => {
    const { topics } = openStore(temporaryDirectory())
    for (const name of ['b', 'a', 'c.d', 'B', 'a-1']) topics.create(name, 1)
    expect(topics.list().map(({ topic }) => topic)).toEqual(['B', 'a', 'a-1', 'b', 'c.d'])
  })

  test('take any text as a name that fits a key', async () => {
    const { topics } = openStore(temporaryDirectory())
    const names = ['\0', 'ü', '\u{1f980}', 'x'.repeat(1978), '..', '\uffff', '__proto__']
    for (const name of names) topics.create(name, 1, { name: name.slice(0, 3) })
    expect(new Set(topics.list().map(({ topic }) => topic))).toEqual(new Set(names))
    for (const name of names) expect(topics.get(name)?.config).toEqual({ name: name.slice(0, 3) })
    for (const name of ['', 'x'.repeat(1979), 'ü'.repeat(990), '\ud800']) {
      expect((await errorOf(() => topics.create(name, 1))).code).toBe('INVALID_ARGUMENT')
    }
  })

  test.each([0, -1, 1.5, Number.NaN, 10_001])('cannot have %s partitions', async partitions => {
    const { topics } = openStore(temporaryDirectory())
    expect((await errorOf(() => topics.create('events', partitions))).code).toBe('INVALID_PARTITIONS')
    expect(topics.list()).toEqual([])
  })

  test('only grow', async () => {
    const { topics } = openStore(temporaryDirectory())
    const { topicId } = topics.create('events', 3, { a: 'b' })
    expect(topics.setPartitions('events', 10_000)).toMatchObject({ topicId, partitions: 10_000, config: { a: 'b' } })
    expect(await codeAndDetails(() => topics.setPartitions('events', 3))).toEqual({
      code: 'INVALID_PARTITIONS',
      details: { topic: 'events', partitions: 3, least: 10_000, most: 10_000 },
    })
    expect((await errorOf(() => topics.setPartitions('none', 3))).code).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    expect(topics.get('events')?.partitions).toBe(10_000)
  })

  test('have their configuration replaced as a whole', async () => {
    const { topics } = openStore(temporaryDirectory())
    topics.create('events', 1, { a: '1', b: '2' })
    topics.setConfig('events', { c: '3' })
    expect(topics.get('events')?.config).toEqual({ c: '3' })
    expect((await errorOf(() => topics.setConfig('none', {}))).code).toBe('UNKNOWN_TOPIC_OR_PARTITION')
  })

  test.each(['{}', '[]', '{"topicId":"x","partitions":0,"createdAtMs":1,"config":{}}', 'no'])(
    'with the value %s are CORRUPT_STORE',
    async text => {
      const directory = temporaryDirectory()
      await openStore(directory).close()
      await putRaw(directory, 'topics', Buffer.from('events'), text)
      const store = openStore(directory, { readOnly: true })
      for (const read of [() => store.topics.get('events'), () => store.topics.list()]) {
        expect(await codeAndDetails(read)).toMatchObject({ code: 'CORRUPT_STORE', details: { key: 'events' } })
      }
      expect(store.topics.get('other')).toBeUndefined()
    },
  )
})

describe('deleting a topic', () => {
  test('removes its checkpoints and the commits of all groups, and nothing else', async () => {
    const store = openStore(temporaryDirectory())
    const groups = ['', 'a', 'ab', 'b', 'x'.repeat(300)]
    const [gone, kept] = [store.topics.create('gone', 3), store.topics.create('kept', 3)]
    await fill(store, gone.topicId, 3, groups)
    await fill(store, kept.topicId, 3, groups)
    expect(await store.topics.delete('gone')).toEqual(gone)
    expect(store.topics.list().map(({ topic }) => topic)).toEqual(['kept'])
    expect(store.checkpoints.ofTopic(gone.topicId).size).toBe(0)
    expect(store.checkpoints.ofTopic(kept.topicId).size).toBe(3)
    for (const group of groups) {
      expect(store.offsets.ofGroup(group).map(({ topicId }) => topicId)).toEqual(Array(3).fill(kept.topicId))
    }
  })

  test('waits for what was submitted before and refuses what comes later', async () => {
    const store = openStore(temporaryDirectory())
    const { topicId } = store.topics.create('events', 1)
    const entry = { topicId, partition: 0, offset: 1, leaderEpoch: 0, metadata: '', committedAtMs: 1 }
    const before = store.offsets.commit('group', [entry])
    const checkpointBefore = store.checkpoints.put([{ topicId, partition: 0, checkpoint }])
    const deleted = store.topics.delete('events')
    const late = store.offsets.commit('group', [entry])
    await store.checkpoints.put([{ topicId, partition: 0, checkpoint }])
    expect((await errorOf(() => late)).code).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    await Promise.all([before, checkpointBefore, deleted])
    expect(store.offsets.groups()).toEqual([])
    expect(store.checkpoints.ofTopic(topicId).size).toBe(0)
  })

  test('of an unknown topic, or twice at once, is UNKNOWN_TOPIC_OR_PARTITION', async () => {
    const { topics } = openStore(temporaryDirectory())
    expect((await errorOf(() => topics.delete('none'))).code).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    topics.create('events', 1)
    const results = await Promise.allSettled([topics.delete('events'), topics.delete('events')])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  test('a second deletion never hits a new topic of the same name', async () => {
    const { topics } = openStore(temporaryDirectory())
    const old = topics.create('events', 1)
    const recreated = topics.delete('events').then(() => topics.create('events', 2))
    const second = errorOf(() => topics.delete('events'))
    expect((await second).code).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    const { topicId } = await recreated
    expect(topics.get('events')?.topicId).toBe(topicId)
    expect(topics.isLive(topicId)).toBe(true)
    expect(topics.isLive(old.topicId)).toBe(false)
  })
})
