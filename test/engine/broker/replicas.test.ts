import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { appendLinkOf } from '../../../engine/broker/append-port.ts'
import { Broker } from '../../../engine/broker/broker.ts'
import { Ingest } from '../../../engine/broker/ingest.ts'
import { resolveOptions } from '../../../engine/broker/options.ts'
import { WireReaders } from '../../../engine/kafka/server/wire-readers.ts'
import { REQUEST_FLAG } from '../../../engine/memory/append-channel.ts'
import { SLOT } from '../../../engine/memory/control-block.ts'
import { bootTimeMs } from '../../../engine/memory/libc.ts'
import { foreignBatch } from '../log/foreign-fixture.ts'

const TOPIC_ID = '4a1f0c9e-1111-4222-8333-444455556666' as TopicId

/** A broker with one partition that is a replica, and a way to give it batches. */
class Node {
  readonly broker: Broker
  readonly readers: WireReaders
  readonly #ingest: Ingest

  private constructor(broker: Broker, ingest: Ingest) {
    this.broker = broker
    this.#ingest = ingest
    this.readers = new WireReaders(broker.memory)
  }

  static async open(directory: string, config: Record<string, string> = {}): Promise<Node> {
    const broker = await Broker.open(directory, resolveOptions({ writers: 1, jobThreads: 1, replicas: true }), () => {})
    if (broker.topicNames().length === 0) await broker.createTopic('t', 1, config, TOPIC_ID)
    return new Node(broker, await Ingest.attach(appendLinkOf(broker), 4 << 20))
  }

  get hosted() {
    return this.broker.hosted('t', 0)
  }

  word(name: 'logEndOffset' | 'highWatermark' | 'leaderEpoch'): number {
    return this.broker.memory.control.get(this.hosted.slot, SLOT[name])
  }

  /** Base offset, or for a replica the log end offset. */
  async append(bytes: Uint8Array, flags: number): Promise<number> {
    const [partition] = this.broker.clientTopic('t').partitions
    const placed = await this.#ingest.placeWithin([bytes], 1_000)
    return await this.#ingest.send(partition as never, placed, flags)
  }

  /** As a follower does; `from`: where the log is said to end. @returns log end offset */
  follow(bytes: Uint8Array, from = this.word('logEndOffset')): Promise<number> {
    const prefix = Buffer.alloc(8)
    prefix.writeBigInt64BE(BigInt(from))
    return this.append(Buffer.concat([prefix, bytes]), REQUEST_FLAG.replica)
  }

  produce(value: string, flags = 0): Promise<number> {
    return this.append(foreignBatch({ offset: 0, records: [`k=${value}`] }), flags)
  }

  /** All that is there from an offset on, shown or not. */
  bytesFrom(offset: number): Buffer {
    const [partition] = this.broker.clientTopic('t').partitions
    const { pieces } = this.readers.of(partition as never).read(offset, 1 << 20, true, this.word('logEndOffset'))
    return Buffer.concat(pieces)
  }

  async close(): Promise<void> {
    this.readers.close()
    await this.#ingest.close()
    await this.broker.close()
  }
}

let directory: string
const nodes: Node[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-replicas-'))
})
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.close()
  rmSync(directory, { recursive: true, force: true })
})

const open = async (name: string, config?: Record<string, string>): Promise<Node> => {
  const node = await Node.open(join(directory, name), config)
  nodes.push(node)
  return node
}

const lead = async (node: Node, epoch: number): Promise<number> => {
  node.broker.replicas.leaseEndMs = bootTimeMs() + 60_000
  return await node.broker.replicas.lead(node.hosted, epoch)
}

test('a replica takes nothing from producers until it leads, and again when it follows', async () => {
  const node = await open('a')
  await expect(node.produce('x')).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
  expect(await lead(node, 3)).toBe(0)
  expect(await node.produce('x', REQUEST_FLAG.leaderOnly)).toBe(0)
  await node.broker.replicas.follow(node.hosted)
  await expect(node.produce('x', REQUEST_FLAG.leaderOnly)).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
  expect(node.hosted.epochs).toEqual([{ epoch: 3, startOffset: 0 }])
  expect(await lead(node, 5)).toBe(1)
  expect(node.word('leaderEpoch')).toBe(5)
})

test('acks=all waits for what is agreed on, acks=1 does not, and neither shows a record before', async () => {
  const node = await open('a')
  await lead(node, 0)
  let acknowledged: number | undefined
  const all = node.produce('x').then(offset => {
    acknowledged = offset
  })
  expect(await node.produce('y', REQUEST_FLAG.leaderOnly)).toBe(1)
  await sleep(50)
  expect(acknowledged).toBeUndefined()
  expect([node.word('highWatermark'), node.word('logEndOffset')]).toEqual([0, 2])
  node.broker.replicas.commit(node.hosted, 1)
  await all
  expect(acknowledged).toBe(0)
  expect(node.word('highWatermark')).toBe(1)
  node.broker.replicas.commit(node.hosted, 99)
  await expect.poll(() => node.word('highWatermark')).toBe(2)
})

test('acks=1 of a topic that is flushed waits for the flush, as well as for the others', async () => {
  const node = await open('a', { 'flush.messages': '1' })
  await lead(node, 0)
  let acknowledged = false
  const one = node.produce('x', REQUEST_FLAG.leaderOnly).then(() => {
    acknowledged = true
  })
  await sleep(100)
  expect(acknowledged).toBe(false)
  node.broker.replicas.commit(node.hosted, 1)
  await one
  expect(node.broker.memory.control.get(node.hosted.slot, SLOT.flushedOffset)).toBe(1)
})

test('with too few in sync acks=all is refused before, and told after, and acks=1 goes on', async () => {
  const node = await open('a')
  await lead(node, 0)
  const before = node.produce('x')
  await expect.poll(() => node.word('logEndOffset')).toBe(1)
  node.broker.replicas.setTooFewInSync(node.hosted, true)
  await expect(node.produce('y')).rejects.toMatchObject({ code: 'NOT_ENOUGH_REPLICAS' })
  expect(await node.produce('z', REQUEST_FLAG.leaderOnly)).toBe(1)
  node.broker.replicas.commit(node.hosted, 2)
  await expect(before).rejects.toMatchObject({ code: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND' })
})

test('without its lease a leader acknowledges nothing', async () => {
  const node = await open('a')
  await lead(node, 0)
  const waits = node.produce('x')
  await expect.poll(() => node.word('logEndOffset')).toBe(1)
  node.broker.replicas.leaseEndMs = bootTimeMs() - 1
  node.broker.replicas.commit(node.hosted, 1)
  await expect(waits).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
  await expect(node.produce('y', REQUEST_FLAG.leaderOnly)).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
})

test('who waits for others is answered when the leader follows, and when it closes', async () => {
  const node = await open('a')
  await lead(node, 0)
  const first = node.produce('x')
  const refused = expect(first).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
  await expect.poll(() => node.word('logEndOffset')).toBe(1)
  await node.broker.replicas.follow(node.hosted)
  await refused
  await lead(node, 1)
  const second = expect(node.produce('y')).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
  await expect.poll(() => node.word('logEndOffset')).toBe(2)
  const started = performance.now()
  await node.broker.close()
  await second
  expect(performance.now() - started).toBeLessThan(5_000)
})

test('a follower stores what its leader has byte for byte, with its epochs, once', async () => {
  const leader = await open('a')
  const follower = await open('b')
  await lead(leader, 2)
  for (const value of ['a', 'b', 'c']) await leader.produce(value, REQUEST_FLAG.leaderOnly)
  await leader.broker.replicas.follow(leader.hosted)
  await lead(leader, 7)
  for (const value of ['d', 'e']) await leader.produce(value, REQUEST_FLAG.leaderOnly)
  const bytes = leader.bytesFrom(0)
  expect(await follower.follow(bytes)).toBe(5)
  expect(await follower.follow(bytes)).toBe(5)
  expect(follower.word('leaderEpoch')).toBe(7)
  expect(follower.word('highWatermark')).toBe(0)
  follower.broker.replicas.commit(follower.hosted, 4)
  await expect.poll(() => follower.word('highWatermark')).toBe(4)
  const files = [leader, follower].map(({ hosted }) => readFileSync(join(hosted.directory, `${'0'.repeat(20)}.log`)))
  expect(files[0]?.subarray(0, bytes.length).equals(bytes)).toBe(true)
  expect(files[1]?.subarray(0, bytes.length).equals(bytes)).toBe(true)
})

test('a follower refuses what is damaged and what is not from a leader of its time', async () => {
  const leader = await open('a')
  const follower = await open('b')
  await lead(leader, 2)
  for (const value of ['a', 'b']) await leader.produce(value, REQUEST_FLAG.leaderOnly)
  const bytes = Buffer.from(leader.bytesFrom(0))
  const damaged = Buffer.from(bytes)
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1)
  await expect(follower.follow(damaged)).rejects.toMatchObject({ code: 'CORRUPT_BATCH' })
  expect(follower.word('logEndOffset')).toBe(1) // the first of them is sound
  expect(await follower.follow(bytes)).toBe(2)
  await expect(leader.follow(bytes)).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
  await lead(follower, 9)
  await follower.produce('c', REQUEST_FLAG.leaderOnly)
  await follower.broker.replicas.follow(follower.hosted)
  await leader.produce('late', REQUEST_FLAG.leaderOnly)
  await leader.produce('later', REQUEST_FLAG.leaderOnly)
  const late = leader.bytesFrom(3)
  await expect(follower.follow(late)).rejects.toMatchObject({ code: 'CORRUPT_BATCH' })
})

test.for(['clean', 'crashed'])(
  'after a %s end a replica shows what was agreed on, and begins no epoch by itself',
  async how => {
    const node = await open('a')
    await lead(node, 4)
    for (const value of ['a', 'b', 'c']) await node.produce(value, REQUEST_FLAG.leaderOnly)
    node.broker.replicas.commit(node.hosted, 2)
    await expect.poll(() => node.word('highWatermark')).toBe(2)
    nodes.splice(0)
    await node.close()
    if (how === 'crashed') rmSync(join(directory, 'a', 't-0', 'leader-epoch-checkpoint'))
    const again = await open('a')
    expect([again.word('highWatermark'), again.word('logEndOffset'), again.word('leaderEpoch')]).toEqual([2, 3, 4])
    await expect(again.produce('x')).rejects.toMatchObject({ code: 'NOT_LEADER_OR_FOLLOWER' })
  },
)

test('a follower leaves nothing out, also when what came before was refused', async () => {
  const leader = await open('a')
  const follower = await open('b')
  await lead(leader, 2)
  for (const value of ['a', 'b', 'c']) await leader.produce(value, REQUEST_FLAG.leaderOnly)
  await expect(follower.follow(leader.bytesFrom(1), 1)).rejects.toMatchObject({ code: 'CORRUPT_BATCH' })
  expect(follower.word('logEndOffset')).toBe(0)
  expect(await follower.follow(leader.bytesFrom(0))).toBe(3)
})

test('a follower whose end lies below the log start of its leader begins anew there, and after a crash as well', async () => {
  const leader = await open('a')
  const follower = await open('b')
  await lead(leader, 2)
  for (const value of ['a', 'b', 'c', 'd', 'e']) await leader.produce(value, REQUEST_FLAG.leaderOnly)
  await follower.follow(leader.bytesFrom(0).subarray(0, leader.bytesFrom(0).length / 5))
  expect(follower.word('logEndOffset')).toBe(1)
  leader.broker.replicas.commit(leader.hosted, 5)
  await expect.poll(() => leader.word('highWatermark')).toBe(5)
  expect(await leader.broker.deleteRecords('t', 0, 3)).toBe(3)
  await follower.broker.restart('t', 0, 3)
  expect([follower.word('logEndOffset'), follower.word('highWatermark')]).toEqual([3, 3])
  expect(await follower.follow(leader.bytesFrom(3))).toBe(5)
  nodes.splice(nodes.indexOf(follower), 1)
  await follower.close()
  const again = await open('b')
  expect([again.word('logEndOffset'), again.word('leaderEpoch')]).toEqual([5, 2])
})

test('a follower that is cut goes on under the epoch that it has', async () => {
  const leader = await open('a')
  const follower = await open('b')
  await lead(leader, 2)
  for (const value of ['a', 'b', 'c']) await leader.produce(value, REQUEST_FLAG.leaderOnly)
  const bytes = leader.bytesFrom(0)
  await follower.follow(bytes)
  follower.broker.replicas.commit(follower.hosted, 1)
  await follower.broker.truncate('t', 0, { offset: 2 })
  expect([follower.word('logEndOffset'), follower.word('leaderEpoch')]).toEqual([2, 2])
  expect(follower.word('highWatermark')).toBe(1)
  expect(await follower.follow(leader.bytesFrom(2))).toBe(3)
})
