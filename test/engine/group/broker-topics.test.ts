import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Broker } from '../../../engine/broker/broker.ts'
import { resolveOptions } from '../../../engine/broker/options.ts'
import { BrokerTopics } from '../../../engine/group/broker-topics.ts'
import { GroupCoordinator } from '../../../engine/group/coordinator.ts'
import { beat, enter } from './support/coordinator.ts'

test('a coordinator beside a running engine sees its topics, and stores into its directory', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-groups-'))
  const broker = await Broker.open(directory, resolveOptions({ writers: 1 }), () => {})
  const groups = new GroupCoordinator(broker.store, new BrokerTopics(broker))
  try {
    const ask = ({ type: _, ...request }: ReturnType<typeof beat>) => groups.consumerGroupHeartbeat(request)
    expect((await ask(enter('a'))).assignment).toEqual([])
    const topicId = await broker.createTopic('t', 1, {})
    expect((await ask(beat('a', 1))).assignment).toEqual([{ topicId, partitions: [0] }])
    await broker.createPartitions('t', 3)
    expect((await ask(beat('a', 2))).assignment).toEqual([{ topicId, partitions: [0, 1, 2] }])
    expect(broker.store.groups.list()).toMatchObject([{ groupId: 'group', members: [{ memberId: 'a' }] }])
    await broker.deleteTopic('t')
    expect((await ask(beat('a', 3, { topicPartitions: [] }))).assignment).toEqual([])
  } finally {
    await groups.close()
    await broker.close()
    rmSync(directory, { recursive: true, force: true })
  }
})
