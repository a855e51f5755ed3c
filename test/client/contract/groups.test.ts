/** What consumers and their groups promise, over every transport alike. */
import { describe, expect, test } from 'vitest'
import type { PortableConsumer } from '../../../client/index.ts'
import { all, overEachTransport, text, WAIT_MS } from './harness.ts'

overEachTransport(subject => {
  describe('consumers', () => {
    const consumerOf = (groupId: string, options: object = {}): PortableConsumer =>
      subject.connection.consumer({ groupId, autoOffsetReset: 'earliest', ...options })

    test('two of a group share what there is, and one takes over from the other', { timeout: WAIT_MS }, async () => {
      const topic = await subject.newTopic(4)
      await using producer = await subject.connection.producer()
      const seen = new Map<string, number>()
      const handled: string[][] = [[], []]
      const start = async (index: number): Promise<{ consumer: PortableConsumer; run: Promise<void> }> => {
        const consumer = consumerOf(`shared-${topic}`)
        await consumer.subscribe([topic])
        const run = consumer.eachMessage(({ value }) => {
          const one = text(value) as string
          seen.set(one, (seen.get(one) ?? 0) + 1)
          handled[index]?.push(one)
        })
        return { consumer, run }
      }
      const settled = async (condition: () => boolean): Promise<void> => {
        for (const endMs = performance.now() + WAIT_MS / 3; !condition(); ) {
          if (performance.now() > endMs) throw new Error('it did not come to that')
          await new Promise(resolve => setTimeout(resolve, 20))
        }
      }
      const [a, b] = [await start(0), await start(1)]
      await settled(() => a.consumer.assignment().length === 2 && b.consumer.assignment().length === 2)
      const messages = (from: number) =>
        Array.from({ length: 40 }, (_, i) => ({ value: `${from + i}`, partition: i % 4 }))
      await producer.send({ topic, messages: messages(0) })
      await settled(() => seen.size === 40)
      expect(handled.map(list => list.length)).toEqual([20, 20])
      await b.consumer.close()
      await b.run
      await settled(() => a.consumer.assignment().length === 4)
      await producer.send({ topic, messages: messages(40) })
      await settled(() => seen.size === 80)
      await a.consumer.close()
      await a.run
      expect([...seen.values()].filter(times => times !== 1)).toEqual([])
      const { offsets, members } = await subject.connection.admin.describeGroup(`shared-${topic}`)
      expect(members).toEqual([])
      expect(offsets.map(({ offset, lag }) => [offset, lag])).toEqual(new Array(4).fill([20, 0]))
    })

    test('goes on where it committed', { timeout: WAIT_MS }, async () => {
      const topic = await subject.newTopic()
      await subject.fill(topic, 0, 9)
      const groupId = `goes-on-${topic}`
      const first = consumerOf(groupId, { autoCommit: false })
      await first.subscribe(topic)
      const seen: (string | null)[] = []
      for await (const record of first.records()) {
        seen.push(text(record.value))
        if (seen.length < 4) continue
        await first.commit(record, { metadata: 'four' })
        break
      }
      expect(await first.committed([{ topic, partition: 0 }])).toMatchObject([{ offset: 4, metadata: 'four' }])
      await first.close()
      const second = consumerOf(groupId)
      await second.subscribe(topic)
      for await (const { value } of second.records()) {
        seen.push(text(value))
        if (seen.length === 10) break
      }
      await second.close()
      expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => `v${i}`))
    })

    test('listeners are told, and may seek', { timeout: WAIT_MS }, async () => {
      const topic = await subject.newTopic()
      await subject.fill(topic, 0, 9)
      const consumer = consumerOf(`listeners-${topic}`)
      const told: string[] = []
      await consumer.subscribe(topic, {
        onAssigned: ([at]) => {
          told.push(`assigned ${at?.partition}`)
          consumer.seek({ topic, partition: 0, offset: 8 })
        },
        onRevoked: ([at]) => told.push(`revoked ${at?.partition}`),
      })
      const seen: (string | null)[] = []
      for await (const { value } of consumer.records()) {
        seen.push(text(value))
        if (seen.length === 2) break
      }
      await consumer.close()
      expect(seen).toEqual(['v8', 'v9'])
      expect(told).toEqual(['assigned 0', 'revoked 0'])
    })

    test('without a membership: assigned, paused, sought, with its lag', { timeout: WAIT_MS }, async () => {
      const topic = await subject.newTopic(2)
      await subject.fill(topic, 0, 4)
      await subject.fill(topic, 10, 14, 1)
      const consumer = subject.connection.consumer({ autoOffsetReset: 'earliest' })
      await consumer.assign([
        { topic, partition: 0 },
        { topic, partition: 1 },
      ])
      consumer.pause([{ topic, partition: 1 }])
      expect(consumer.paused()).toEqual([{ topic, partition: 1 }])
      const seen: (string | null)[] = []
      const take = async (count: number): Promise<void> => {
        for await (const { value } of consumer.records()) {
          seen.push(text(value))
          if (seen.length === count) break
        }
      }
      await take(5)
      expect(seen).toEqual(['v0', 'v1', 'v2', 'v3', 'v4'])
      expect(consumer.position({ topic, partition: 1 })).toBe(0)
      consumer.pause([{ topic, partition: 0 }])
      consumer.resume([{ topic, partition: 1 }])
      consumer.seek({ topic, partition: 1, offset: 3 })
      await take(7)
      expect(seen.slice(5)).toEqual(['v13', 'v14'])
      const lag = await consumer.lag()
      expect(lag.find(({ partition }) => partition === 0)).toMatchObject({ highWatermark: 5 })
      await expect(consumer.commit()).rejects.toMatchObject({ code: 'INVALID_GROUP_ID' })
      await consumer.close()
    })

    test('handlers are tried again, then the record is a dead letter', { timeout: WAIT_MS }, async () => {
      const topic = await subject.newTopic()
      await subject.fill(topic, 0, 3)
      const consumer = consumerOf(`letters-${topic}`)
      await consumer.subscribe(topic)
      const dead: number[] = []
      consumer.on('deadLetter', ({ offset }) => void dead.push(offset))
      const tries: string[] = []
      await consumer.eachMessage(
        ({ value }) => {
          tries.push(text(value) as string)
          if (text(value) === 'v1') throw new Error('never')
          if (text(value) === 'v3') consumer.stop()
        },
        { retries: 2, retryDelayMs: 1, deadLetterTopic: `${topic}-dead` },
      )
      await consumer.close()
      expect(tries).toEqual(['v0', 'v1', 'v1', 'v1', 'v2', 'v3'])
      expect(dead).toEqual([1])
      const [letter] = await all(subject.connection.reader({ topic: `${topic}-dead` }).records())
      expect(text(letter?.value)).toBe('v1')
      expect(letter?.headers.map(({ key, value }) => `${key}=${text(value)}`)).toContain(`__dlq.errors.topic=${topic}`)
    })

    test('without an offset, and no policy for it', { timeout: WAIT_MS }, async () => {
      const topic = await subject.newTopic()
      const consumer = subject.connection.consumer({ groupId: `none-${topic}`, autoOffsetReset: 'none' })
      await consumer.subscribe(topic)
      await expect(all(consumer.records())).rejects.toMatchObject({ code: 'NO_OFFSET_FOR_PARTITION' })
      await consumer.close()
    })
  })

  test('look-ups do not wait for a consumer that waits, nor for each other', { timeout: WAIT_MS }, async () => {
    const topic = await subject.newTopic()
    await subject.fill(topic, 0, 49)
    const consumer = subject.connection.consumer({ autoOffsetReset: 'latest' })
    await consumer.assign([{ topic, partition: 0 }])
    const waiting = consumer.eachMessage(() => undefined)
    const lookup = await subject.connection.lookup(topic)
    const offsets = Array.from({ length: 50 }, (_, i) => i)
    const found = await Promise.all(offsets.map(async offset => (await lookup.byOffset(0, offset))?.offset))
    expect(found).toEqual(offsets)
    await consumer.close()
    await waiting
  })

  test('a topic that is deleted does not hold up the others', { timeout: WAIT_MS }, async () => {
    const [gone, stays] = [await subject.newTopic(), await subject.newTopic()]
    const consumer = subject.connection.consumer({ autoOffsetReset: 'earliest' })
    await consumer.assign([
      { topic: gone, partition: 0 },
      { topic: stays, partition: 0 },
    ])
    const seen: (string | null)[] = []
    const consuming = consumer.eachMessage(({ value }) => {
      seen.push(text(value))
      if (seen.length === 3) consumer.stop()
    })
    await subject.connection.admin.deleteTopic(gone)
    await subject.fill(stays, 0, 2)
    await consuming
    expect(seen).toEqual(['v0', 'v1', 'v2'])
    await consumer.close()
  })

  describe('groups', () => {
    test('are listed, described, reset and deleted', { timeout: WAIT_MS }, async () => {
      const { admin } = subject.connection
      const topic = await subject.newTopic(2)
      await subject.fill(topic, 0, 9)
      await subject.fill(topic, 10, 19, 1)
      const groupId = `described-${topic}`
      const consumer = subject.connection.consumer({ groupId, clientId: 'me', autoOffsetReset: 'earliest' })
      await consumer.subscribe(topic)
      let count = 0
      for await (const _ of consumer.records()) if (++count === 20) break
      await consumer.commit()
      const described = await admin.describeGroup(groupId)
      expect(described).toMatchObject({ groupId, state: 'Stable', groupType: 'consumer', protocolType: 'consumer' })
      expect(described.members).toHaveLength(1)
      expect(described.members[0]?.partitions).toHaveLength(2)
      for (const dryRun of [true, false])
        await expect(admin.resetOffsets(groupId, { to: 'beginning', dryRun })).rejects.toMatchObject({
          code: 'NON_EMPTY_GROUP',
        })
      expect(await admin.deleteGroups([groupId])).toMatchObject([{ groupId, error: { code: 'NON_EMPTY_GROUP' } }])
      await consumer.close()
      expect(await admin.listGroups()).toContainEqual({
        groupId,
        state: 'Empty',
        groupType: 'consumer',
        protocolType: 'consumer',
      })
      const reset = (to: object | 'beginning' | 'end', dryRun = false) =>
        admin.resetOffsets(groupId, { to: to as never, dryRun }).then(list => list.map(change => change.to))
      expect(await reset('beginning', true)).toEqual([0, 0])
      expect(await reset({ timestamp: 5_000 })).toEqual([5, 0])
      expect(await reset({ timestamp: -1 }, true)).toEqual([0, 0])
      expect(await reset({ shift: 2 })).toEqual([7, 2])
      expect(await reset({ offset: 30 })).toEqual([10, 10])
      expect(await reset('end')).toEqual([10, 10])
      for (const to of ['middle', { offset: 1.5 }, {}, undefined])
        await expect(reset(to as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      await expect(
        admin.resetOffsets(groupId, { to: 'end', partitions: [{ topic, partition: 2 }] }),
      ).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
      await expect(admin.resetOffsets(`new-${groupId}`, { to: 'end' })).rejects.toMatchObject({
        code: 'GROUP_ID_NOT_FOUND',
      })
      await admin.deleteOffsets(groupId, [{ topic, partition: 1 }])
      // Partitions of a topic of the group that have no offset are moved too.
      expect(await admin.resetOffsets(groupId, { to: 'end', dryRun: true })).toEqual([
        { topic, partition: 0, from: 10, to: 10 },
        { topic, partition: 1, from: null, to: 10 },
      ])
      expect((await admin.describeGroup(groupId)).offsets.map(({ partition }) => partition)).toEqual([0])
      expect(await admin.deleteGroups([groupId, 'absent'])).toMatchObject([
        { groupId },
        { groupId: 'absent', error: { code: 'GROUP_ID_NOT_FOUND' } },
      ])
      await expect(admin.describeGroup(groupId)).rejects.toMatchObject({ code: 'GROUP_ID_NOT_FOUND' })
    })
  })
})
