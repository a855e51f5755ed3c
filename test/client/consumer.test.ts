/** Consumers in one thread: assignment, positions, commits, handlers, and what goes wrong. Threads: consumer-threads.test.ts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Consumer, ReadBatch } from '../../client/index.ts'
import { PortLink } from '../../engine/broker/client-link.ts'
import { plainHeartbeat } from '../../engine/group/group-calls.ts'
import { fill, Member, newGroup } from './support/consumers.ts'
import { EngineHome, sleep, text, until } from './support/engine.ts'

const WAIT_MS = 60_000

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open({ groups: { consumerHeartbeatIntervalMs: 200 } })
})
afterAll(() => home.close())

const code = (wanted: string) => expect.objectContaining({ code: wanted })

/** Takes so many records and leaves the loop. */
async function take(consumer: Consumer, count: number): Promise<string[]> {
  const taken: string[] = []
  if (count === 0) return taken
  for await (const record of consumer.records()) {
    taken.push(text(record.value) as string)
    if (taken.length < count) continue
    await consumer.commit(record)
    break
  }
  return taken
}

describe('a group', { timeout: 2 * WAIT_MS }, () => {
  test('divides partitions, moves them when members come and leave, and handles every record once', async () => {
    const topic = await home.topic(6)
    const groupId = newGroup()
    const members = [await new Member(home.engine, { groupId }).start(topic)]
    await until(() => members[0]?.partitions.length === 6, 'one member has all', WAIT_MS)
    await fill(home.engine, topic, 6, 50)
    for (const size of [2, 3]) {
      members.push(await new Member(home.engine, { groupId }).start(topic))
      await until(() => members.every(({ partitions }) => partitions.length === 6 / size), `${size} share`, WAIT_MS)
      await fill(home.engine, topic, 6, 50, 50 * (size - 1))
    }
    expect(members.flatMap(({ partitions }) => partitions).sort()).toEqual([0, 1, 2, 3, 4, 5])
    await members[1]?.leave()
    await until(() => members[0]?.partitions.length === 3 && members[2]?.partitions.length === 3, 'two share', WAIT_MS)
    await fill(home.engine, topic, 6, 50, 150)
    const handled = (): string[] => members.flatMap(member => member.handled)
    await until(() => handled().length >= 1_200, 'all is handled', WAIT_MS)
    expect(new Set(handled()).size).toBe(1_200)
    expect(handled().length).toBe(1_200)
    await members[0]?.leave()
    await members[2]?.leave()
    const { members: left, offsets } = await home.engine.admin.describeGroup(groupId)
    expect(left).toEqual([])
    expect(offsets.map(({ offset, lag }) => [offset, lag])).toEqual(Array.from({ length: 6 }, () => [200, 0]))
  })

  test('a listener is awaited, and can commit before partitions are handed over', async () => {
    const topic = await home.topic(2)
    await fill(home.engine, topic, 2, 10)
    const groupId = newGroup()
    const first = home.engine.consumer({ groupId, autoCommit: false, autoOffsetReset: 'earliest' })
    let isRevoking = false
    await first.subscribe([topic], {
      async onRevoked(partitions) {
        isRevoking = true
        await first.commit(
          partitions.map(partition => ({ ...partition, offset: first.position(partition), metadata: 'handed over' })),
        )
        await sleep(100)
        isRevoking = false
      },
    })
    const taken: string[] = []
    const loop = (async () => {
      for await (const record of first.records()) taken.push(text(record.value) as string)
    })()
    await until(() => taken.length === 20, 'all is read', WAIT_MS)
    const second = home.engine.consumer({ groupId, autoOffsetReset: 'earliest' })
    let wasRevoking: boolean | undefined
    await second.subscribe([topic], { onAssigned: () => (wasRevoking = isRevoking) })
    const other = (async () => {
      for await (const _ of second) throw new Error('nothing is left')
    })()
    await until(() => second.assignment().length === 1, 'the other one has its share', WAIT_MS)
    expect(wasRevoking).toBe(false)
    const [moved] = await second.committed()
    expect(moved).toMatchObject({ offset: 10, metadata: 'handed over', leaderEpoch: 0 })
    await second.close()
    await other
    await first.close()
    await loop
  })

  test('a pattern takes topics that come later', async () => {
    const groupId = newGroup()
    const { admin } = home.engine
    await admin.createTopic({ topic: 'pattern.a' })
    const member = home.engine.consumer({ groupId })
    await member.subscribe({ pattern: 'pattern\\..' })
    await until(() => member.assignment().length === 1, 'the first topic', WAIT_MS)
    await admin.createTopic({ topic: 'pattern.b' })
    await admin.createTopic({ topic: 'pattern-c' })
    await until(() => member.assignment().length === 2, 'the topic that came', WAIT_MS)
    expect(
      member
        .assignment()
        .map(({ topic }) => topic)
        .sort(),
    ).toEqual(['pattern.a', 'pattern.b'])
    await admin.deleteTopic('pattern.a')
    await until(() => member.assignment().length === 1, 'the topic went', WAIT_MS)
    await member.subscribe([])
    await until(() => member.assignment().length === 0, 'nothing is subscribed to', WAIT_MS)
    await member.close()
    await expect(home.engine.consumer({ groupId: newGroup() }).subscribe({ pattern: '(a' })).rejects.toThrow('RE2')
  })

  test('a topic that is deleted under a loop ends that topic alone', async () => {
    const [gone, kept] = [await home.topic(1), await home.topic(1)]
    const groupId = newGroup()
    const member = home.engine.consumer({ groupId, autoOffsetReset: 'earliest', autoCommitIntervalMs: 20 })
    const failures: string[] = []
    member.on('commitFailed', error => failures.push(error.message))
    await member.subscribe([gone, kept])
    const seen: string[] = []
    const loop = (async () => {
      for await (const { topic, offset } of member.records()) seen.push(`${topic} ${offset}`)
    })()
    await fill(home.engine, gone, 1, 2)
    await until(() => seen.length === 2, 'it reads', WAIT_MS)
    await home.engine.admin.deleteTopic(gone)
    expect(member.lag().map(({ topic }) => topic)).toEqual([kept])
    await fill(home.engine, kept, 1, 2)
    await until(() => seen.length === 4, 'it goes on', WAIT_MS)
    await until(() => member.assignment().length === 1, 'the group has noticed', WAIT_MS)
    await member.close()
    await loop
    expect(seen.slice(2)).toEqual([`${kept} 0`, `${kept} 1`])
    expect((await home.engine.admin.describeGroup(groupId)).offsets).toMatchObject([{ topic: kept, offset: 2 }])
    for (const failure of failures) expect(failure).toContain('UNKNOWN_TOPIC_OR_PARTITION') // a commit that came too late
  })

  test('a static member finds its partitions again', async () => {
    const topic = await home.topic(4)
    const groupId = newGroup()
    const member = await new Member(home.engine, { groupId, instanceId: 'one' }).start(topic)
    const other = await new Member(home.engine, { groupId, instanceId: 'two' }).start(topic)
    await until(() => member.partitions.length === 2 && other.partitions.length === 2, 'both have a share', WAIT_MS)
    const owned = member.partitions
    await expect(home.engine.consumer({ groupId, instanceId: 'two' }).subscribe(topic)).rejects.toEqual(
      code('UNRELEASED_INSTANCE_ID'),
    )
    await member.leave()
    await sleep(200)
    expect(other.partitions.length).toBe(2)
    const again = await new Member(home.engine, { groupId, instanceId: 'one' }).start(topic)
    await until(() => again.partitions.length === 2, 'it is back', WAIT_MS)
    expect(again.partitions).toEqual(owned)
    await again.leave()
    await other.leave()
  })

  test('a member that was removed drops what it has in hand, and joins again', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 3)
    const groupId = newGroup()
    const member = new Member(home.engine, { groupId })
    const { promise: hand, resolve: release } = Promise.withResolvers<void>()
    await member.start(topic, () => hand)
    await until(() => member.partitions.length === 1, 'it has the partition', WAIT_MS)
    const [removed] = (await home.engine.admin.describeGroup(groupId)).members
    const link = new PortLink(home.engine.threadHandle(), WAIT_MS)
    const memberId = removed?.memberId as string
    await link.group(
      'heartbeat',
      plainHeartbeat({ groupId, memberId, memberEpoch: -1, instanceId: null, clientId: '' }),
    )
    link.close()
    await until(() => member.told.at(-1) === 'assigned 0' && member.told.length > 1, 'it is back', WAIT_MS)
    expect(member.told).toEqual(['assigned 0', 'fenced', 'lost 0', 'assigned 0'])
    release()
    await until(() => member.handled.length === 4, 'all is handled, the first once more', WAIT_MS)
    expect(member.handled).toEqual(['0/0', '0/0', '0/1', '0/2'])
    await member.leave()
    expect(member.told.slice(4)).toEqual(['revoked 0'])
  })

  test('one that unsubscribes has nothing, and may subscribe again', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 2)
    const groupId = newGroup()
    await using consumer = home.engine.consumer({ groupId, autoOffsetReset: 'earliest' })
    await consumer.subscribe(topic)
    await expect(consumer.assign([{ topic, partition: 0 }])).rejects.toThrow('the consumer is subscribed')
    expect(await take(consumer, 1)).toEqual(['0/0'])
    await consumer.unsubscribe()
    expect(consumer.assignment()).toEqual([])
    expect((await home.engine.admin.describeGroup(groupId)).members).toEqual([])
    await consumer.subscribe(topic)
    expect(await take(consumer, 1)).toEqual(['0/1'])
  })

  test('a stalled loop is reported, leaves the group, and joins again when it asks', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 3)
    const groupId = newGroup()
    const slow = new Member(home.engine, { groupId, maxPollIntervalMs: 200 })
    let isSlow = true
    await slow.start(topic, async () => {
      if (isSlow) await until(() => !isSlow, 'it may go on', WAIT_MS)
    })
    await until(() => slow.told.includes('stalled'), 'it is reported', WAIT_MS)
    const other = await new Member(home.engine, { groupId }).start(topic)
    await until(() => other.handled.length === 3, 'another one handles it', WAIT_MS)
    expect(slow.told).toEqual(['assigned 0', 'stalled', 'lost 0'])
    await other.leave()
    isSlow = false
    await until(() => slow.partitions.length === 1, 'it is back', WAIT_MS)
    await fill(home.engine, topic, 1, 1, 3)
    await until(() => slow.handled.includes('0/3'), 'it goes on', WAIT_MS)
    expect(slow.handled).toEqual(['0/0', '0/3'])
    await slow.leave()
  })
})

describe('positions', { timeout: 2 * WAIT_MS }, () => {
  test('what a loop leaves in hand comes again, unless it is committed', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 5)
    await using consumer = home.engine.consumer({ groupId: newGroup(), autoOffsetReset: 'earliest' })
    await consumer.assign([{ topic, partition: 0 }])
    for await (const { offset } of consumer.records()) if (offset === 2) break
    expect(consumer.position({ topic, partition: 0 })).toBe(2)
    expect(await take(consumer, 1)).toEqual(['0/2'])
    expect(await take(consumer, 1)).toEqual(['0/3'])
    expect(await consumer.committed()).toMatchObject([{ offset: 4 }])
  })

  test('commit without an argument takes what is in hand as handled', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 5)
    await using consumer = home.engine.consumer({ groupId: newGroup(), autoOffsetReset: 'earliest' })
    await consumer.assign([{ topic, partition: 0 }])
    for await (const { offset } of consumer.records()) {
      if (offset < 2) continue
      await consumer.commit(undefined, { metadata: 'here' })
      break
    }
    expect(await consumer.committed()).toMatchObject([{ offset: 3, metadata: 'here', leaderEpoch: 0 }])
    for await (const batch of consumer) {
      expect(batch.baseOffset).toBe(3)
      await consumer.commit(batch)
      break
    }
    expect(await consumer.committed()).toMatchObject([{ offset: 5 }])
  })

  test('pause, resume, seek and lag', async () => {
    const topic = await home.topic(2)
    await fill(home.engine, topic, 2, 4)
    await using consumer = home.engine.consumer({ autoOffsetReset: 'earliest' })
    const [zero, one] = [0, 1].map(partition => ({ topic, partition })) as [
      { topic: string; partition: number },
      { topic: string; partition: number },
    ]
    await consumer.assign([zero, one])
    consumer.pause([zero])
    expect(consumer.paused()).toEqual([zero])
    expect(consumer.lag()).toEqual([
      { ...zero, position: 0, highWatermark: 4, lag: 4 },
      { ...one, position: 0, highWatermark: 4, lag: 4 },
    ])
    const seen: string[] = []
    for await (const record of consumer.records()) {
      seen.push(text(record.value) as string)
      if (seen.length === 2) consumer.seek({ ...one, offset: 3 }) // what is left of the batch does not count
      if (record.offset !== 3) continue
      if (record.partition === 0) break
      consumer.resume([zero])
    }
    expect(seen).toEqual(['1/0', '1/1', '1/3', '0/0', '0/1', '0/2', '0/3'])
    consumer.seekToBeginning([one])
    expect(consumer.position(one)).toBe(0)
    consumer.seekToEnd()
    expect(consumer.lag().map(({ lag }) => lag)).toEqual([0, 0])
    expect(() => consumer.seek({ topic, partition: 7, offset: 0 })).toThrow('not assigned to this consumer')
    await expect(consumer.commit()).rejects.toEqual(code('INVALID_GROUP_ID'))
  })

  test('auto-commit stores what was handled, in time and on close', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 3)
    const groupId = newGroup()
    const member = await new Member(home.engine, { groupId, autoCommitIntervalMs: 20 }).start(topic)
    const { admin } = home.engine
    const committed = async () => (await admin.describeGroup(groupId)).offsets[0]?.offset
    await until(async () => (await committed()) === 3, 'the interval', WAIT_MS)
    await member.leave()
    const last = await new Member(home.engine, { groupId, autoCommitIntervalMs: 1_000_000 }).start(topic)
    await fill(home.engine, topic, 1, 1, 3)
    await until(() => last.handled.length === 1, 'it is handled', WAIT_MS)
    expect(await committed()).toBe(3)
    await last.leave()
    expect(await committed()).toBe(4)
  })

  test.for(['earliest', 'latest'] as const)('a position out of the log goes to the %s', async autoOffsetReset => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 10)
    await home.engine.admin.deleteRecords(topic, 0, 5)
    await using consumer = home.engine.consumer({ autoOffsetReset })
    const resets: unknown[] = []
    consumer.on('offsetReset', at => resets.push(at.offset))
    await consumer.assign([{ topic, partition: 0 }])
    consumer.seek({ topic, partition: 0, offset: 1 })
    const next = take(consumer, 1).catch((error: Error) => error)
    await until(() => resets.length === 2, 'it is reset', WAIT_MS)
    if (autoOffsetReset === 'latest') await fill(home.engine, topic, 1, 1, 10)
    await next
    expect(resets).toEqual(autoOffsetReset === 'earliest' ? [5, 5] : [10, 10])
    expect(consumer.position({ topic, partition: 0 })).toBe(autoOffsetReset === 'earliest' ? 5 : 10)
  })

  test("with 'none' a missing offset and one out of the log are errors, until a seek", async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 10)
    await home.engine.admin.deleteRecords(topic, 0, 5)
    await using consumer = home.engine.consumer({ groupId: newGroup(), autoOffsetReset: 'none', autoCommit: false })
    await consumer.assign([{ topic, partition: 0 }])
    await expect(take(consumer, 1)).rejects.toThrow(/NO_OFFSET_FOR_PARTITION: .*autoOffsetReset is none.*partition=0/)
    consumer.seek({ topic, partition: 0, offset: 2 })
    await expect(take(consumer, 1)).rejects.toThrow(/OFFSET_OUT_OF_RANGE: .*offset=2, logStartOffset=5/)
    consumer.seek({ topic, partition: 0, offset: 6 })
    expect(await take(consumer, 1)).toEqual(['0/6'])
  })
})

describe('handlers', { timeout: 2 * WAIT_MS }, () => {
  test('several partitions at once, each in order', async () => {
    const topic = await home.topic(4)
    await fill(home.engine, topic, 4, 20)
    const consumer = home.engine.consumer({ groupId: newGroup(), autoOffsetReset: 'earliest' })
    await consumer.subscribe(topic)
    const seen: number[][] = [[], [], [], []]
    let running = 0
    let most = 0
    const busy = new Set<number>()
    const handling = consumer.eachMessage(
      async ({ partition, offset }) => {
        expect(busy.has(partition)).toBe(false)
        busy.add(partition)
        most = Math.max(most, ++running)
        await sleep(1)
        running -= 1
        busy.delete(partition)
        seen[partition]?.push(offset)
      },
      { concurrency: 3 },
    )
    await until(() => seen.flat().length === 80, 'all is handled', WAIT_MS)
    await consumer.close()
    await handling
    expect(most).toBe(3)
    for (const offsets of seen) expect(offsets).toEqual(Array.from({ length: 20 }, (_, i) => i))
  })

  test('a record that fails is tried again, then goes to the dead-letter topic', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 4)
    const groupId = newGroup()
    const consumer = home.engine.consumer({ groupId, autoOffsetReset: 'earliest' })
    await consumer.subscribe(topic)
    const tries: string[] = []
    const letters: unknown[] = []
    consumer.on('deadLetter', at => letters.push(at))
    const handling = consumer.eachMessage(
      ({ value }) => {
        const name = text(value) as string
        tries.push(name)
        if (name === '0/1') throw new Error('poison')
        if (name === '0/2' && tries.filter(each => each === name).length < 3) throw new Error('later')
      },
      { retries: 2, retryDelayMs: 1, deadLetterTopic: `${topic}.dead` },
    )
    await until(() => tries.includes('0/3'), 'all is handled', WAIT_MS)
    consumer.stop()
    await handling
    await consumer.close()
    expect(tries).toEqual(['0/0', '0/1', '0/1', '0/1', '0/2', '0/2', '0/2', '0/3'])
    expect(letters).toEqual([{ topic, partition: 0, offset: 1 }])
    const dead = []
    for await (const record of home.engine.reader({ topic: `${topic}.dead` }).records()) dead.push(record)
    expect(dead.map(({ value }) => text(value))).toEqual(['0/1'])
    expect(Object.fromEntries(dead[0]?.headers.map(({ key, value }) => [key, text(value)]) ?? [])).toEqual({
      '__dlq.errors.topic': topic,
      '__dlq.errors.partition': '0',
      '__dlq.errors.offset': '1',
      '__dlq.errors.group': groupId,
      '__dlq.errors.delivery.count': '3',
      '__dlq.errors.message': 'Error: poison',
    })
    expect((await home.engine.admin.describeGroup(groupId)).offsets).toMatchObject([{ offset: 4, lag: 0 }])
  })

  test('without a dead-letter topic the handling ends with the error, and the record comes again', async () => {
    const topic = await home.topic(1)
    await fill(home.engine, topic, 1, 3)
    const groupId = newGroup()
    const consumer = home.engine.consumer({ groupId, autoOffsetReset: 'earliest' })
    await consumer.subscribe(topic)
    const errors: number[] = []
    const options = {
      retries: 1,
      retryDelayMs: 1,
      onError: (_: unknown, at: { attempt: number }) => errors.push(at.attempt),
    }
    const fails = ({ offset }: { offset: number }): void => {
      if (offset === 1) throw new Error('no')
    }
    await expect(consumer.eachMessage(fails, options)).rejects.toThrow('no')
    expect(errors).toEqual([1, 2])
    await expect(
      consumer.eachBatch((batch: ReadBatch) => {
        expect(batch.baseOffset).toBe(1)
        throw new Error('neither')
      }, options),
    ).rejects.toThrow('neither')
    await consumer.close()
    expect((await home.engine.admin.describeGroup(groupId)).offsets).toMatchObject([{ offset: 1, lag: 2 }])
  })

  test('a partition that is to be given up leaves between two records', async () => {
    const topic = await home.topic(2)
    await fill(home.engine, topic, 2, 100)
    const groupId = newGroup()
    const handled: string[] = []
    const first = home.engine.consumer({ groupId, autoOffsetReset: 'earliest' })
    await first.subscribe(topic)
    const handling = first.eachMessage(
      async ({ value }) => {
        await sleep(2)
        handled.push(text(value) as string)
      },
      { concurrency: 2 },
    )
    await until(() => handled.length > 10, 'it is at work', WAIT_MS)
    const second = await new Member(home.engine, { groupId }).start(topic)
    await until(() => handled.length + second.handled.length >= 200, 'all is handled', WAIT_MS)
    expect(new Set([...handled, ...second.handled]).size).toBe(200)
    expect(handled.length + second.handled.length).toBe(200)
    expect(second.handled.length).toBeGreaterThan(0)
    await second.leave()
    await first.close()
    await handling
  })
})

describe('errors', { timeout: 2 * WAIT_MS }, () => {
  test('options, calls without a group, and two loops at once', async () => {
    const { engine } = home
    expect(() => engine.consumer({ groupId: '' })).toThrow('INVALID_GROUP_ID')
    expect(() => engine.consumer({ maxPollIntervalMs: 0 })).toThrow('INVALID_ARGUMENT')
    expect(() => engine.consumer({ autoOffsetReset: 'first' as never })).toThrow('autoOffsetReset')
    const consumer = engine.consumer()
    await expect(consumer.subscribe('any')).rejects.toEqual(code('INVALID_GROUP_ID'))
    await expect(consumer.assign([{ topic: 'any', partition: 0 }])).rejects.toEqual(code('UNKNOWN_TOPIC_OR_PARTITION'))
    const waiting = consumer.records().next()
    await expect(consumer.records().next()).rejects.toThrow('iterated already')
    await consumer.close()
    expect(await waiting).toEqual({ done: true, value: undefined })
    await expect(consumer.commit()).rejects.toEqual(code('CLOSED'))
    await expect(engine.consumer({ groupId: 'g', assignor: 'odd' as never }).subscribe('any')).rejects.toEqual(
      code('UNSUPPORTED_ASSIGNOR'),
    )
  })

  test('a commit by somebody who is no member is refused while the group has members', async () => {
    const topic = await home.topic(1)
    const groupId = newGroup()
    const member = await new Member(home.engine, { groupId }).start(topic)
    await using outsider = home.engine.consumer({ groupId, autoCommit: false })
    await outsider.assign([{ topic, partition: 0 }])
    await expect(outsider.commit({ topic, partition: 0, offset: 0 })).rejects.toThrow(
      /UNKNOWN_MEMBER_ID: The group has no such member/,
    )
    await member.leave()
    await outsider.commit({ topic, partition: 0, offset: 0 })
  })

  test('a commit without waiting tells what fails', async () => {
    await using consumer = home.engine.consumer({ groupId: newGroup() })
    const failed = new Promise(resolve => consumer.on('commitFailed', resolve))
    consumer.commitAsync({ topic: 'not there', partition: 0, offset: 1 })
    expect(await failed).toEqual(code('UNKNOWN_TOPIC_OR_PARTITION'))
  })
})
