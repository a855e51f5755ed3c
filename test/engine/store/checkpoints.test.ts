import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { InvariantError } from '../../../engine/base/invariant.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import type { PartitionCheckpoint, SegmentCheckpoint } from '../../../engine/store/checkpoints.ts'
import { partitionKey } from '../../../engine/store/keys.ts'
import { errorOf, openStore, putRaw, runChild, temporaryDirectory } from './support.ts'

function checkpointAt(recoveryPoint: number): PartitionCheckpoint {
  return { recoveryPoint, logStartOffset: 0, highWatermark: recoveryPoint, leaderEpoch: 3 }
}

function randomCheckpoint(random: Random): PartitionCheckpoint {
  const large = (): number => random.u32() * 2 ** random.below(22)
  const segment = (): SegmentCheckpoint => ({
    baseOffset: large(),
    sizeBytes: random.below(2 ** 31),
    nextOffset: large(),
    maxTimestamp: random.chance(0.1) ? -1 : large(),
    maxTimestampOffset: random.chance(0.1) ? -1 : large(),
    offsetEntries: random.below(100_000),
    firstTimestamp: random.below(2 ** 40),
    timeEntries: random.below(100_000),
    indexedPosition: random.below(2 ** 31),
  })
  const plain = {
    recoveryPoint: large(),
    logStartOffset: large(),
    highWatermark: large(),
    leaderEpoch: random.between(-1, 2 ** 31 - 1),
  }
  return random.chance(0.3) ? plain : { ...plain, segments: Array.from({ length: random.below(5) }, segment) }
}

describe('checkpoints', () => {
  test('come back as they were put, in both forms, after a reopening', async () => {
    const seed = testSeed()
    const random = new Random(seed)
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const topics = ['a', 'b', 'c'].map(name => store.topics.create(name, 50).topicId)
    const model = new Map<TopicId, Map<number, PartitionCheckpoint>>(topics.map(topicId => [topicId, new Map()]))
    for (let round = 0; round < 20; round++) {
      const entries = Array.from({ length: random.between(1, 30) }, () => {
        const entry = {
          topicId: random.pick(topics),
          partition: random.below(50),
          checkpoint: randomCheckpoint(random),
        }
        model.get(entry.topicId)?.set(entry.partition, entry.checkpoint)
        return entry
      })
      if (random.chance(0.5)) store.checkpoints.putSync(entries)
      else await store.checkpoints.put(entries)
    }
    await store.close()
    const again = openStore(directory)
    for (const [topicId, checkpoints] of model) {
      expect(again.checkpoints.ofTopic(topicId), `seed ${seed}`).toEqual(
        new Map([...checkpoints].sort(([a], [b]) => a - b)),
      )
      for (const [partition, checkpoint] of checkpoints) {
        expect(again.checkpoints.get(topicId, partition), `seed ${seed}`).toEqual(checkpoint)
      }
    }
    expect(again.checkpoints.get(topics[0] as TopicId, 1000)).toBeUndefined()
  })

  test('put one after the other without waiting end with the last one', async () => {
    const { checkpoints, topics } = openStore(temporaryDirectory())
    const { topicId } = topics.create('events', 1)
    const puts: Promise<void>[] = []
    for (let point = 1; point <= 200; point++) {
      puts.push(checkpoints.put([{ topicId, partition: 0, checkpoint: checkpointAt(point) }]))
      if (point % 20 === 0) await new Promise(setImmediate)
    }
    await Promise.all(puts)
    expect(checkpoints.get(topicId, 0)?.recoveryPoint).toBe(200)
  })

  test('putSync beside a put that is under way is refused, since the older one could land last', async () => {
    const { checkpoints, topics } = openStore(temporaryDirectory())
    const { topicId } = topics.create('events', 1)
    const put = checkpoints.put([{ topicId, partition: 0, checkpoint: checkpointAt(1) }])
    expect(() => checkpoints.putSync([{ topicId, partition: 0, checkpoint: checkpointAt(2) }])).toThrow(InvariantError)
    await put
    checkpoints.putSync([{ topicId, partition: 0, checkpoint: checkpointAt(2) }])
    expect(checkpoints.get(topicId, 0)?.recoveryPoint).toBe(2)
  })

  test('of a topic that is gone are left out; the others of the batch are stored', async () => {
    const { checkpoints, topics } = openStore(temporaryDirectory())
    const gone = topics.create('gone', 1).topicId
    const kept = topics.create('kept', 1).topicId
    await topics.delete('gone')
    const entries = [gone, kept].map(topicId => ({ topicId, partition: 0, checkpoint: checkpointAt(5) }))
    await checkpoints.put(entries)
    checkpoints.putSync(entries)
    expect(checkpoints.get(gone, 0)).toBeUndefined()
    expect(checkpoints.get(kept, 0)).toEqual(checkpointAt(5))
  })

  test.each([Number.NaN, 2 ** 53, 0.5])('with the number %s are a bug, not a value', async number => {
    const { checkpoints, topics } = openStore(temporaryDirectory())
    const { topicId } = topics.create('events', 1)
    expect(() => checkpoints.putSync([{ topicId, partition: 0, checkpoint: checkpointAt(number) }])).toThrow(
      InvariantError,
    )
    await expect(checkpoints.put([{ topicId, partition: 0, checkpoint: checkpointAt(number) }])).rejects.toThrow(
      InvariantError,
    )
    expect(checkpoints.get(topicId, 0)).toBeUndefined()
  })

  test.each([
    '{"recoveryPoint":1}',
    'null',
    '{"recoveryPoint":1,"logStartOffset":0,"highWatermark":1,"leaderEpoch":0,"segments":[[1,2,3]]}',
    '{"recoveryPoint":1.5,"logStartOffset":0,"highWatermark":1,"leaderEpoch":0}',
  ])('with the value %s are CORRUPT_STORE', async text => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { topicId } = store.topics.create('events', 2)
    store.checkpoints.putSync([{ topicId, partition: 1, checkpoint: checkpointAt(1) }])
    await store.close()
    await putRaw(directory, 'checkpoints', partitionKey(topicId, 0), text)
    const { checkpoints } = openStore(directory)
    expect((await errorOf(() => checkpoints.get(topicId, 0))).code).toBe('CORRUPT_STORE')
    expect((await errorOf(() => checkpoints.ofTopic(topicId))).code).toBe('CORRUPT_STORE')
    expect(checkpoints.get(topicId, 1)).toEqual(checkpointAt(1))
  })

  test('a crash at the failpoint leaves the checkpoint before', () => {
    const directory = temporaryDirectory()
    const child = runChild(
      `const store = Store.open(${JSON.stringify(directory)})
       const { topicId } = store.topics.create('events', 1)
       for (let recoveryPoint = 1; recoveryPoint <= 3; recoveryPoint++) {
         const checkpoint = { recoveryPoint, logStartOffset: 0, highWatermark: 0, leaderEpoch: 0 }
         await store.checkpoints.put([{ topicId, partition: 0, checkpoint }])
       }`,
      { MILLRACE_FAILPOINTS: 'checkpoint-before-put=kill@3' },
    )
    expect(child.signal).toBe('SIGKILL')
    const store = openStore(directory)
    const topicId = store.topics.get('events')?.topicId as TopicId
    expect(store.checkpoints.get(topicId, 0)?.recoveryPoint).toBe(2)
  })
})
