import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import type { Broker } from '../../../engine/broker/broker.ts'
import type { HostedPartition } from '../../../engine/broker/hosted-partition.ts'
import type { Ingest } from '../../../engine/broker/ingest.ts'
import { ReplicaFetcher } from '../../../engine/cluster/replica-fetcher.ts'
import type {
  FetchedReplica,
  FetchPosition,
  ReplicaFetchOptions,
  ReplicaSource,
} from '../../../engine/cluster/replica-source.ts'
import { ControlBlock, SLOT } from '../../../engine/memory/control-block.ts'

const SLOTS = 8

/** A leader that answers at once, whatever it is asked for. */
class PromptSource implements ReplicaSource {
  readonly asked: { readonly partitions: readonly number[]; readonly maxWaitMs: number }[] = []
  readonly #answer: (position: FetchPosition) => Partial<FetchedReplica>

  constructor(answer: (position: FetchPosition) => Partial<FetchedReplica>) {
    this.#answer = answer
  }

  async fetch(positions: readonly FetchPosition[], { maxWaitMs }: ReplicaFetchOptions): Promise<FetchedReplica[]> {
    this.asked.push({ partitions: positions.map(({ partition }) => partition), maxWaitMs })
    const nothing = { highWatermark: 0, logStartOffset: 0, pieces: [] }
    const answers = positions.map(position => ({ ...nothing, ...position, ...this.#answer(position) }))
    // One that has nothing to say waits, as a leader does, unless another of the same fetch cannot wait.
    if (answers.every(({ refusal, diverging }) => refusal === undefined && diverging === undefined))
      await sleep(maxWaitMs)
    return answers
  }

  interrupt(): void {}
  close(): void {}
}

/** A leader that has nothing, and answers when the wait is over or it is interrupted. */
class WaitingSource extends PromptSource {
  interrupts = 0
  #end: (() => void) | undefined

  constructor() {
    super(() => ({}))
  }

  override async fetch(
    positions: readonly FetchPosition[],
    { maxWaitMs }: ReplicaFetchOptions,
  ): Promise<FetchedReplica[]> {
    this.asked.push({ partitions: positions.map(({ partition }) => partition), maxWaitMs })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#end = () => reject(new Error('interrupted'))
    const timer = setTimeout(resolve, maxWaitMs)
    await promise.finally(() => clearTimeout(timer))
    return []
  }

  override interrupt(): void {
    this.interrupts += 1
    this.#end?.()
  }
}

const hosted = (slot: number): HostedPartition =>
  ({ topic: 't', topicId: 'id', partition: slot, slot, epochs: [], failure: undefined }) as unknown as HostedPartition

let fetcher: ReplicaFetcher | undefined
afterEach(async () => await fetcher?.close())

function follow(source: ReplicaSource, count: number): void {
  const control = new ControlBlock(new BigInt64Array(SLOTS * SLOT.words))
  const broker = {
    memory: { control },
    replicas: { lastEpoch: () => 0, commit: () => {} },
    offsetForLeaderEpoch: () => ({ leaderEpoch: 0, endOffset: 0 }),
  }
  fetcher = new ReplicaFetcher({
    broker: broker as unknown as Broker,
    ingest: {} as Ingest,
    source,
    brokerId: 2,
    brokerEpoch: () => 1,
    report: () => {},
  })
  for (let slot = 0; slot < count; slot++) fetcher.add({ hosted: hosted(slot), leaderEpoch: 1 })
}

test('a partition that is refused is left out for a while, and holds up neither the others nor the thread', async () => {
  const source = new PromptSource(({ partition }) => (partition === 1 ? { refusal: 'not-leader' } : {}))
  follow(source, 2)
  await sleep(1_100) // a loop of fetches that are answered at once would never come back here
  expect(source.asked.length).toBeGreaterThan(20) // it asks soon while partitions come
  expect(source.asked.length).toBeLessThan(250)
  const later = source.asked.length
  await sleep(1_500)
  const asked = source.asked.slice(later + 2)
  expect(asked.length).toBeLessThan(40)
  expect(asked.length).toBeGreaterThan(3)
  const withBoth = asked.filter(({ partitions }) => partitions.length === 2)
  expect(withBoth.length).toBeGreaterThan(1)
  // While one is left out the fetch of the other waits no longer than until it is asked for again.
  for (const { partitions, maxWaitMs } of asked) expect(maxWaitMs).toBe(partitions.length === 2 ? 500 : 100)
})

test('a leader that tells of another log again and again, without anything to cut, is asked no faster', async () => {
  const source = new PromptSource(() => ({ diverging: { epoch: 0, endOffset: 0 } }))
  follow(source, 1)
  await sleep(1_100)
  expect(source.asked.length).toBeLessThan(120)
  const later = source.asked.length
  await sleep(500)
  expect(source.asked.length - later).toBeLessThan(20)
  expect(source.asked.length - later).toBeGreaterThan(1)
})

test('a fetch that waits is interrupted once for what comes, and those behind it wait for a moment only', async () => {
  const source = new WaitingSource()
  follow(source, 1)
  while (source.asked.at(-1)?.maxWaitMs !== 500) await sleep(5)
  const before = source.asked.length
  for (let slot = 1; slot < 6; slot++) {
    fetcher?.add({ hosted: hosted(slot), leaderEpoch: 1 })
    await sleep(20)
  }
  const asked = source.asked.slice(before)
  expect(source.interrupts).toBe(1)
  expect(asked.at(-1)?.partitions.length).toBe(6)
  for (const { maxWaitMs } of asked) expect(maxWaitMs).toBe(10)
})
