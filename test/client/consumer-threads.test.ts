/** Members of a group in worker threads: they share partitions, and what one has not committed is handled when it dies. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Millrace } from '../../client/index.ts'
import type { MemberStart } from './programs/consumer-thread.ts'
import { fill, newGroup } from './support/consumers.ts'
import { EngineHome, until } from './support/engine.ts'

const WAIT_MS = 90_000
const PARTITIONS = 6
const PER_PARTITION = 300

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

const running: Worker[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map(worker => worker.terminate()))
})

class Group {
  readonly groupId = newGroup()
  readonly topic: string
  readonly handled = new Int32Array(new SharedArrayBuffer(4 * PARTITIONS * PER_PARTITION))
  readonly committed = new Int32Array(new SharedArrayBuffer(4 * PARTITIONS))
  readonly #engine: Millrace

  constructor(engine: Millrace, topic: string) {
    this.#engine = engine
    this.topic = topic
  }

  start(): Worker {
    const handle = this.#engine.threadHandle()
    const { groupId, topic, handled, committed } = this
    const workerData: MemberStart = { handle, groupId, topic, perPartition: PER_PARTITION, handled, committed }
    const path = new URL('programs/consumer-thread.ts', import.meta.url)
    const worker = new Worker(path, { workerData, transferList: [handle.port] })
    running.push(worker)
    return worker
  }

  async members(): Promise<number[]> {
    const { members } = await this.#engine.admin.describeGroup(this.groupId)
    return members.map(({ partitions }) => partitions.length)
  }

  async shared(size: number): Promise<void> {
    const share = PARTITIONS / size
    const isShared = async (): Promise<boolean> => {
      const members = await this.members()
      return members.length === size && members.every(partitions => partitions === share)
    }
    await until(() => isShared().catch(() => false), `${size} members share`, WAIT_MS)
  }

  get handledCount(): number {
    return this.handled.reduce((count, times) => count + (times > 0 ? 1 : 0), 0)
  }

  async done(): Promise<void> {
    await until(() => this.handledCount === this.handled.length, 'every record is handled', WAIT_MS)
  }
}

test('a thread that joins and one that leaves: every record exactly once', { timeout: 3 * WAIT_MS }, async () => {
  const topic = await home.topic(PARTITIONS)
  await fill(home.engine, topic, PARTITIONS, PER_PARTITION)
  const group = new Group(home.engine, topic)
  const first = group.start()
  await until(() => group.handledCount > 50, 'the first one is at work', WAIT_MS)
  const second = group.start()
  await group.shared(2)
  const third = group.start()
  await group.shared(3)
  const left = once(second, 'exit')
  second.postMessage('stop')
  await left
  await group.shared(2)
  await group.done()
  for (const worker of [first, third]) {
    const exit = once(worker, 'exit')
    worker.postMessage('stop')
    await exit
  }
  expect(group.handled.every(times => times === 1)).toBe(true)
  const { offsets, members } = await home.engine.admin.describeGroup(group.groupId)
  expect(members).toEqual([])
  expect(offsets.every(({ offset }) => offset !== null && offset >= PER_PARTITION - 7)).toBe(true)
})

test('members that are killed leave at once: nothing is lost, and no more is doubled than was not committed', {
  timeout: 3 * WAIT_MS,
}, async () => {
  const topic = await home.topic(PARTITIONS)
  await fill(home.engine, topic, PARTITIONS, PER_PARTITION)
  const group = new Group(home.engine, topic)
  const members = [group.start(), group.start(), group.start()]
  await group.shared(3)
  const before = { committed: [] as number[][], handled: [] as number[][] }
  for (const [i, worker] of members.slice(0, 2).entries()) {
    await until(() => group.handledCount > 200 * (i + 1), 'it is in the middle', WAIT_MS)
    before.committed.push([...group.committed])
    await worker.terminate() // its session would last 45 s
    before.handled.push([...group.handled])
    await group.shared(2 - i)
  }
  await group.done()
  for (let at = 0; at < group.handled.length; at++) {
    const [partition, offset] = [Math.floor(at / PER_PARTITION), at % PER_PARTITION]
    const extra = (group.handled[at] as number) - 1
    if (extra === 0) continue
    // It had been handled when a member died, and was not committed by then.
    const mayCome = before.committed.filter((committed, death) => {
      const wasHandled = (before.handled[death]?.[at] as number) > 0
      return wasHandled && offset >= (committed[partition] as number)
    })
    expect(extra, `${partition}/${offset}`).toBeLessThanOrEqual(mayCome.length)
  }
})
