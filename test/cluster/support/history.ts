/**
 * A history of what producers were told, what a consumer has read, and what is in the logs afterwards. A workload sends numbered records with acks=all for as
 * long as it runs, and reads them; afterwards every replica is read, and each acknowledged record has to be where it was said to be, in order, and once. What was
 * read has to be there too.
 */
import { deepEqual, equal } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Producer, stringSerializers } from '@platformatic/kafka'
import { Millrace } from '../../../client/millrace.ts'
import { BATCH, baseOffsetOf, batchBytes, lastOffsetOf, leaderEpochOf } from '../../../engine/format/batch-layout.ts'
import { Region } from '../../../engine/format/region.ts'
import type { TestCluster } from './cluster.ts'
import { Reader } from './reader.ts'

interface Acknowledged {
  readonly value: string
  readonly partition: number
  readonly offset: number
}

export class Workload {
  readonly acknowledged: Acknowledged[] = []
  /** Longest time from one acknowledgement of a partition to its next, in milliseconds. */
  longestGapMs = 0
  readonly failures: Error[] = []
  readonly reader: Reader
  readonly #partitions: number
  readonly #topic: string
  readonly #bootstrap: readonly string[]
  #isStopping = false
  readonly #running: Promise<unknown>

  /** Ends with the cluster, if nobody stops it before. */
  constructor(cluster: TestCluster, topic: string, partitions: number) {
    this.#topic = topic
    this.#bootstrap = cluster.bootstrap
    this.#partitions = partitions
    cluster.onClose(() => this.abandon())
    this.reader = new Reader(cluster.addresses, topic, partitions)
    this.#running = Promise.all(Array.from({ length: partitions }, (_, partition) => this.#send(partition)))
  }

  /** Resolves when so many more were acknowledged. */
  async more(count: number, timeoutMs = 60_000): Promise<void> {
    const until = this.acknowledged.length + count
    const deadline = performance.now() + timeoutMs
    while (this.acknowledged.length < until) {
      if (performance.now() > deadline)
        throw new Error(`${until - this.acknowledged.length} acknowledgements are missing`)
      await sleep(5)
    }
  }

  /** Resolves when so many more were acknowledged in each partition. */
  async moreOfEach(count: number, timeoutMs = 60_000): Promise<void> {
    const from = this.acknowledged.length
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const counts = Array.from({ length: this.#partitions }, () => 0)
      for (const { partition } of this.acknowledged.slice(from)) counts[partition] = (counts[partition] as number) + 1
      if (counts.every(one => one >= count)) return
      if (performance.now() > deadline) throw new Error(`${counts.join(', ')} were acknowledged, of ${count} each`)
      await sleep(20)
    }
  }

  /** Sends nothing more, and resolves when everything that was acknowledged was read. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#running
    const ends = Array.from({ length: this.#partitions }, () => 0)
    for (const { partition, offset } of this.acknowledged)
      ends[partition] = Math.max(ends[partition] as number, offset + 1)
    await this.reader.reach(ends)
    await this.reader.stop()
  }

  /** Sends and reads nothing more, and waits for nothing: a test has failed. */
  abandon(): void {
    this.#isStopping = true
    this.reader.abandon()
  }

  /** One after the other in each partition, each by an idempotent producer that tries again until it is told. */
  async #send(partition: number): Promise<void> {
    const producer = new Producer({
      clientId: `workload-${partition}`,
      bootstrapBrokers: [...this.#bootstrap],
      serializers: stringSerializers,
      idempotent: true,
      timeout: 3_000,
      connectTimeout: 1_000,
      requestTimeout: 3_000,
      retries: 300,
      retryDelay: 50,
    })
    let lastMs = performance.now()
    for (let number = 0; !this.#isStopping; number++) {
      const value = `${partition} ${number}`
      const messages = [{ topic: this.#topic, partition, value }]
      try {
        const { offsets } = await producer.send({ messages, acks: -1 })
        this.acknowledged.push({ value, partition, offset: Number(offsets?.[0]?.offset ?? -1) })
        const nowMs = performance.now()
        this.longestGapMs = Math.max(this.longestGapMs, nowMs - lastMs)
        lastMs = nowMs
      } catch (error) {
        this.failures.push(error as Error)
        await sleep(20)
      }
    }
    await producer.close()
  }
}

/** What a broker's directory has of a topic, by partition: values by offset. */
export async function logsOf(directory: string, topic: string): Promise<Map<number, Map<number, string>>> {
  const engine = await Millrace.open(directory, { readOnly: true })
  try {
    const found = new Map<number, Map<number, string>>()
    const { partitions } = await engine.admin.describeTopic(topic)
    for (const { partition } of partitions) {
      const values = new Map<number, string>()
      for await (const batch of engine.reader({ topic, partitions: [partition] })) {
        for (const record of batch) values.set(Number(record.offset), Buffer.from(record.value ?? []).toString())
      }
      found.set(partition, values)
    }
    return found
  } finally {
    await engine.close()
  }
}

/** A partition's log as it lies there. */
interface Survey {
  /** Of all batches, one segment behind the other. */
  readonly hash: string
  /** Leader epoch under which each offset was appended. */
  readonly epochs: ReadonlyMap<number, number>
}

function survey(folder: string): Survey {
  const hash = createHash('sha256')
  const epochs = new Map<number, number>()
  const segments = readdirSync(folder).filter(name => name.endsWith('.log'))
  for (const name of segments.sort()) {
    const { bytes, view } = Region.of(readFileSync(join(folder, name)))
    let at = 0
    // Behind the last batch there is room.
    while (at + BATCH.headerBytes <= bytes.length && batchBytes(view, at) > BATCH.headerBytes) {
      for (let offset = baseOffsetOf(view, at); offset <= lastOffsetOf(view, at); offset++)
        epochs.set(offset, leaderEpochOf(view, at))
      at += batchBytes(view, at)
    }
    hash.update(bytes.subarray(0, at))
  }
  return { hash: hash.digest('hex'), epochs }
}

/** Reads all replicas of a stopped cluster and holds them against what was acknowledged, and what was read. */
export async function checkHistory(cluster: TestCluster, topic: string, workload: Workload): Promise<void> {
  const { acknowledged, reader } = workload
  deepEqual(reader.contradictions, [])
  for (const { value, partition, offset } of acknowledged) {
    const found = reader.read.get(partition)?.get(offset)?.value
    if (found !== value) throw new Error(`${found} was read at ${partition}/${offset}, acknowledged was ${value}`)
  }
  const hashes = new Map<number, Set<string>>()
  for (const id of cluster.brokerIds) {
    const logs = await logsOf(cluster.dataOf(id), topic)
    for (const { value, partition, offset } of acknowledged) {
      const found = logs.get(partition)?.get(offset)
      if (found !== value)
        throw new Error(`broker ${id} has ${found} at ${partition}/${offset}, acknowledged was ${value}`)
    }
    for (const [partition, values] of logs) {
      const numbers = [...values.values()].map(value => Number(value.split(' ')[1]))
      deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      ) // in the order in which they were sent, none twice
      equal(new Set(numbers).size, numbers.length)
      const { hash, epochs } = survey(join(cluster.dataOf(id), `${topic}-${partition}`))
      hashes.set(partition, (hashes.get(partition) ?? new Set()).add(hash))
      for (const [offset, read] of reader.read.get(partition) ?? [])
        deepEqual({ value: values.get(offset), leaderEpoch: epochs.get(offset) }, read, `${id} ${partition}/${offset}`)
    }
  }
  for (const [partition, different] of hashes)
    equal(different.size, 1, `replicas of ${topic}/${partition} are not the same bytes`)
}
