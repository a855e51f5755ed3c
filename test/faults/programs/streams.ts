/** The producing loops of the test programs. A number of a stream is used once; whatever becomes of it is logged. */
import type { Message, Producer } from '../../../client/index.ts'
import { isMillraceError } from '../../../engine/base/errors.ts'
import type { Random } from '../../../engine/base/random.ts'
import type { AckLog } from '../support/ack-log.ts'
import { keyOf, recordOf, streamOf } from '../support/records.ts'
import type { TestTopic } from './topics.ts'

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export class Streams {
  readonly log: AckLog
  readonly run: number
  readonly #next = new Map<string, number>()

  constructor(log: AckLog, run: number) {
    this.log = log
    this.run = run
  }

  /** Takes `count` numbers of a stream; returns the first. */
  take(stream: string, count: number): number {
    const first = this.#next.get(stream) ?? 0
    this.#next.set(stream, first + count)
    return first
  }

  /** Sends `count` records to one partition and logs what became of them. Returns the code of the error, if there was one. */
  async send(
    producer: Producer,
    stream: string,
    topic: string,
    partition: number,
    count: number,
  ): Promise<string | undefined> {
    const first = this.take(stream, count)
    const messages: Message[] = []
    for (let number = first; number < first + count; number++) {
      const { key, value, timestamp } = recordOf(keyOf(stream, number))
      messages.push({ key, value, timestamp, partition })
    }
    try {
      const results = await producer.send({ topic, messages })
      let number = first
      for (const run of results.sort((a, b) => a.baseOffset - b.baseOffset)) {
        this.log.ack(stream, number, number + run.count, run.baseOffset)
        number += run.count
      }
      return undefined
    } catch (error) {
      if (!isMillraceError(error)) throw error
      this.log.write(`failed ${stream} ${first} ${first + count} ${error.code}`)
      return error.code
    }
  }
}

/** Sends a few records at a time to any partition, now and then several sends side by side. */
export async function sendStream(
  producer: Producer,
  streams: Streams,
  name: string,
  topics: readonly TestTopic[],
  random: Random,
  stopping: () => boolean,
): Promise<void> {
  while (!stopping()) {
    const sends: Promise<string | undefined>[] = []
    for (let i = random.between(1, 3); i > 0; i--) {
      const { topic, partitions } = random.pick(topics)
      const partition = random.below(partitions)
      const stream = streamOf({ run: streams.run, producer: name, topic, partition })
      sends.push(streams.send(producer, stream, topic, partition, random.between(1, 25)))
    }
    const failed = (await Promise.all(sends)).filter(code => code !== undefined)
    if (failed.length > 0) throw new Error(`sends failed: ${failed}`)
    if (random.chance(0.3)) await pause(random.below(4))
  }
  await producer.close()
}

/** Appends bursts on the synchronous path; what is below a flush is acknowledged. */
export async function appendHot(
  producer: Producer,
  streams: Streams,
  name: string,
  topics: readonly TestTopic[],
  random: Random,
  stopping: () => boolean,
): Promise<void> {
  while (!stopping()) {
    const { topic, partitions } = random.pick(topics)
    const partition = random.below(partitions)
    const stream = streamOf({ run: streams.run, producer: name, topic, partition })
    const appender = await producer.appender(topic, partition)
    const count = random.between(20, 400)
    const first = streams.take(stream, count)
    for (let number = first; number < first + count; ) {
      const { key, value, timestamp } = recordOf(keyOf(stream, number))
      if (appender.tryAppend(value, Buffer.from(key), timestamp)) number += 1
      else if (random.chance(0.5)) await producer.ready()
      else producer.waitReady()
    }
    await producer.flush()
    streams.log.ack(stream, first, first + count, -1)
    await pause(random.below(6))
  }
  await producer.close()
}
