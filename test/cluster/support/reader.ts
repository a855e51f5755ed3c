/**
 * A consumer that reads a topic all the while, from every broker that says it leads a partition: a leader that does not know yet that another leads is read as
 * well. What it has read stays what it is, whatever happens afterwards: `checkHistory` holds it against every replica.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { batchBytes, lastOffsetOf, leaderEpochOf } from '../../../engine/format/batch-layout.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import { Region } from '../../../engine/format/region.ts'
import { readResponse, writeRequest } from '../../../engine/kafka/codec/frames.ts'
import { fetch } from '../../../engine/kafka/messages/fetch.ts'
import { type PeerAddress, PeerConnection } from '../../../engine/kafka/peer-connection.ts'

const VERSION = 11
const MAX_WAIT_MS = 250
const ANSWER_MS = 2_000
const PARTITION_MAX_BYTES = 1 << 20
/** Between two fetches from one broker: what comes meanwhile comes together. */
const PAUSE_MS = 50
/** A partition that a broker does not lead is asked for again then. */
const REFUSED_MS = 100

/**
 * A record that was shown under a leader epoch stays under it. A producer that was not told sends the same again, and it may come to the same offset: the epoch
 * tells the two apart.
 */
export interface ReadRecord {
  readonly value: string
  readonly leaderEpoch: number
}

export class Reader {
  /** By partition and offset. */
  readonly read: ReadonlyMap<number, ReadonlyMap<number, ReadRecord>>
  /** Offsets that were read twice, as two different records. */
  readonly contradictions: string[] = []
  readonly #topic: string
  readonly #read: Map<number, Map<number, ReadRecord>>
  /** Offset that is read next, by partition. */
  readonly #next: number[]
  readonly #cursor = new RecordCursor()
  readonly #running: Promise<unknown>
  #isOver = false

  constructor(addresses: readonly PeerAddress[], topic: string, partitions: number) {
    this.#topic = topic
    this.#next = Array.from({ length: partitions }, () => 0)
    this.#read = new Map(this.#next.map((_, partition) => [partition, new Map()]))
    this.read = this.#read
    this.#running = Promise.all(addresses.map(address => this.#readFrom(address)))
  }

  /** Resolves when everything below these offsets was read. @param ends by partition */
  async reach(ends: readonly number[], timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs
    const isThere = (end: number, partition: number): boolean => (this.#next[partition] as number) >= end
    while (!ends.every(isThere)) {
      if (performance.now() > deadline)
        throw new Error(`read up to ${this.#next.join(', ')}, acknowledged up to ${ends.join(', ')}`)
      await sleep(PAUSE_MS)
    }
  }

  async stop(): Promise<void> {
    this.abandon()
    await this.#running
  }

  /** Reads nothing more, and waits for nothing. */
  abandon(): void {
    this.#isOver = true
  }

  async #readFrom(address: PeerAddress): Promise<void> {
    const askAgainMs = this.#next.map(() => 0)
    let connection: PeerConnection | undefined
    while (!this.#isOver) {
      try {
        connection ??= new PeerConnection(address)
        await connection.opened
        await this.#fetch(connection, askAgainMs)
        await sleep(PAUSE_MS)
      } catch {
        connection?.end(undefined)
        connection = undefined
        await sleep(REFUSED_MS)
      }
    }
    connection?.end(undefined)
  }

  /** @param askAgainMs of each partition, when this broker may be asked for it */
  async #fetch(connection: PeerConnection, askAgainMs: number[]): Promise<void> {
    const nowMs = performance.now()
    const partitions = this.#next
      .map((fetchOffset, partition) => ({ partition, fetchOffset, partitionMaxBytes: PARTITION_MAX_BYTES }))
      .filter(({ partition }) => nowMs >= (askAgainMs[partition] as number))
    if (partitions.length === 0) return await sleep(PAUSE_MS)
    const topics = [{ topic: this.#topic, partitions }]
    const request = { maxWaitMs: MAX_WAIT_MS, minBytes: 1, maxBytes: 1 << 24, topics, forgottenTopicsData: [] }
    const { body } = await connection.ask(
      id => writeRequest(fetch, VERSION, id, 'reader', request),
      frame => readResponse(fetch, VERSION, frame),
      ANSWER_MS,
    )
    for (const { partitionIndex, errorCode, records } of body.responses.flatMap(one => one.partitions)) {
      if (errorCode !== 0) askAgainMs[partitionIndex] = performance.now() + REFUSED_MS
      else if (records !== null && records.length > 0) this.#take(partitionIndex, records)
    }
  }

  #take(partition: number, bytes: Uint8Array): void {
    const region = Region.of(bytes)
    const records = this.#read.get(partition) as Map<number, ReadRecord>
    for (let at = 0; at < region.length; at += batchBytes(region.view, at)) {
      const leaderEpoch = leaderEpochOf(region.view, at)
      this.#cursor.reset(region, at)
      while (this.#cursor.next()) {
        const { offset } = this.#cursor
        const read = { value: Buffer.from(this.#cursor.value() ?? []).toString(), leaderEpoch }
        const known = records.get(offset) ?? read
        if (known.value !== read.value || known.leaderEpoch !== leaderEpoch)
          this.contradictions.push(
            `${partition}/${offset} was ${JSON.stringify(known)}, and is ${JSON.stringify(read)}`,
          )
        records.set(offset, known)
      }
      const next = lastOffsetOf(region.view, at) + 1
      this.#next[partition] = Math.max(this.#next[partition] as number, next)
    }
  }
}
