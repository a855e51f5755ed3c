/** A name is that of a consumer group or of a queue, and there are only so many of each. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EngineHome } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open({ groups: { groupsMax: 3, initialRebalanceDelayMs: 0 } })
})
afterAll(() => home.close())

async function commit(groupId: string, topic: string): Promise<void> {
  await using consumer = await home.engine.consumer({ groupId })
  await consumer.assign([{ topic, partition: 0 }])
  await consumer.commit([{ topic, partition: 0, offset: 1 }])
}

test('no queue has the name of a consumer group', async () => {
  const topic = await home.topic(1)
  await commit(topic, topic)
  await using queue = home.engine.queue(topic)
  await expect(queue.push('job')).rejects.toMatchObject({
    code: 'GROUP_ID_NOT_FOUND',
    details: { reason: 'it is a consumer group' },
  })
  await home.engine.admin.deleteGroups([topic])
  await queue.push('job')
})

test('no consumer group has the name of a queue, in whichever protocol', async () => {
  const topic = await home.topic(1)
  await using queue = home.engine.queue(topic)
  await queue.push('job')
  await expect(commit(topic, topic)).rejects.toMatchObject({
    code: 'GROUP_ID_NOT_FOUND',
    details: { reason: 'it is a queue' },
  })
  await using consumer = await home.engine.consumer({ groupId: topic })
  await expect(consumer.subscribe([topic])).rejects.toMatchObject({ code: 'GROUP_ID_NOT_FOUND' })
})

test('there are no more groups than allowed, and room again once one is deleted', async () => {
  const topic = await home.topic(1)
  for (const groupId of ['a', 'b', 'c']) await commit(groupId, topic)
  await expect(commit('d', topic)).rejects.toMatchObject({ code: 'TOO_MANY_GROUPS', details: { groupsMax: 3 } })
  await commit('a', topic)
  await home.engine.admin.deleteGroups(['a'])
  await commit('d', topic)
})
