/** Runs tests over every transport there is, with what they need to begin. */
import { afterAll, beforeAll, describe } from 'vitest'
import { whyNoKafka } from '../../../bench/kafka/jars.ts'
import type { Connection, ConsumedRecord } from '../../../client/index.ts'
import { embedded, kafka, open, served } from './transports.ts'

const reason = whyNoKafka()
if (reason !== undefined) console.log(`skipped: the contract over Apache Kafka: ${reason}`)

const START_MS = 300_000
/** A rebalance alone may take a minute where the machine is busy with something else: a node of Kafka is a lot of work. */
export const WAIT_MS = 240_000

export const text = (bytes: Uint8Array | null | undefined): string | null =>
  bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString()

export const values = (records: readonly ConsumedRecord[]): (string | null)[] => records.map(({ value }) => text(value))

export async function all(records: AsyncIterable<ConsumedRecord>): Promise<ConsumedRecord[]> {
  const found: ConsumedRecord[] = []
  for await (const record of records) found.push(record)
  return found
}

/** One transport. */
export class Subject {
  connection!: Connection
  #topics = 0

  /** A name that no topic has. */
  newName(): string {
    return `topic-${this.#topics++}`
  }

  async newTopic(partitions = 1): Promise<string> {
    const topic = this.newName()
    await this.connection.admin.createTopic({ topic, partitions })
    return topic
  }

  /** Values `v<first>` to `v<last>` into a partition, with their numbers as seconds. */
  async fill(topic: string, first: number, last: number, partition = 0): Promise<void> {
    await using producer = await this.connection.producer()
    const messages = []
    for (let i = first; i <= last; i++) messages.push({ value: `v${i}`, partition, timestamp: i * 1_000 })
    await producer.send({ topic, messages })
  }
}

export function overEachTransport(define: (subject: Subject) => void): void {
  describe.each([embedded, served, ...(reason === undefined ? [kafka] : [])])('over $name', transport => {
    const subject = new Subject()
    let stop: (() => Promise<void>) | undefined

    beforeAll(async () => {
      const opened = await open(transport)
      stop = opened.stop
      subject.connection = opened.connection
    }, START_MS)
    afterAll(() => stop?.(), START_MS)

    define(subject)
  })
}
