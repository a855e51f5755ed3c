/**
 * Appends dead letters: the records themselves, read from the mapped log, with headers that say where they are from and
 * why (KIP-1191). Used by the share coordinator in the broker's thread. A record that cannot be read any more gives a
 * letter without key and value, so that none is lost without a trace.
 */
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import type { Broker } from '../engine/broker/broker.ts'
import type { RecordHeader } from '../engine/format/record.ts'
import { demandDeadLetterTopic } from '../engine/group/dead-letter-topic.ts'
import type { AddressedLetter } from '../engine/group/share/dead-letters.ts'
import { PartitionReader } from '../engine/log/partition-reader.ts'
import type { LocalLink } from './local-link.ts'
import { Producer } from './producer.ts'
import { recordsOf } from './queue-records.ts'
import { recordAt } from './record.ts'
import type { Message } from './types.ts'

/** Headers of a dead letter, all of them text. */
export const DEAD_LETTER_HEADERS = {
  topic: '__dlq.errors.topic',
  partition: '__dlq.errors.partition',
  offset: '__dlq.errors.offset',
  group: '__dlq.errors.group',
  deliveryCount: '__dlq.errors.delivery.count',
  message: '__dlq.errors.message',
} as const

/** What a letter says when the consumer gave no reason. */
const CAUSES = {
  rejected: 'The consumer rejected the record.',
  'delivery-limit': 'The record was delivered as often as it may be.',
} as const

export class DeadLetterAppender {
  readonly #broker: Broker
  readonly #link: () => LocalLink
  #producer: Producer | undefined

  /** @param link of the broker's thread; asked for with the first letter */
  constructor(broker: Broker, link: () => LocalLink) {
    this.#broker = broker
    this.#link = link
  }

  /** Resolves when they are acknowledged. @throws what refuses their topic or their records */
  async append(letters: readonly AddressedLetter[]): Promise<void> {
    this.#producer ??= await Producer.attach(this.#link(), {}, () => undefined)
    const producer = this.#producer
    const byTopic = Map.groupBy(letters, letter => letter.deadLetterTopic)
    for (const [topic, ofTopic] of byTopic) {
      const topics = ofTopic.map(({ location }) => location.topic)
      await demandDeadLetterTopic(this.#broker, topic, topics)
      const messages = ofTopic.flatMap(letter => this.#messages(letter))
      await sendLetters(producer, topic, messages)
    }
  }

  #messages(letter: AddressedLetter): Message[] {
    const { control, segments } = this.#broker.memory
    const reader = new PartitionReader(letter.location, control, segments)
    const messages: Message[] = []
    try {
      for (const part of recordsOf(reader, [letter])) {
        if (part.kind === 'record') {
          const { topic, partition } = letter.location
          const { key, value, timestamp, headers, offset } = recordAt(topic, partition, part.cursor)
          const all = [...headers, ...dlqHeaders(letter, offset)]
          messages.push({ key, value, headers: all, ...(timestamp < 0 ? {} : { timestamp }) })
        } else if (part.kind === 'damaged') {
          for (let offset = part.firstOffset; offset <= part.lastOffset; offset++) {
            messages.push({ value: null, headers: dlqHeaders(letter, offset) })
          }
        } else if (part.kind === 'unread') {
          throw new MillraceError('TIMED_OUT', { partition: letter.location.partition, offset: part.firstOffset })
        }
      }
    } finally {
      reader.unmap()
    }
    return messages
  }

  async close(): Promise<void> {
    await this.#producer?.close()
  }
}

/** A record that its dead-letter topic does not take goes there without key and value. */
export async function sendLetters(producer: Producer, topic: string, messages: readonly Message[]): Promise<void> {
  try {
    await producer.send({ topic, messages })
  } catch (error) {
    if (!isMillraceError(error, 'RECORD_TOO_LARGE')) throw error
    if (messages.length > 1) for (const message of messages) await sendLetters(producer, topic, [message])
    else
      await producer.send({
        topic,
        messages: messages.map(({ headers = [] }) => ({ value: null, headers: lettersOwn(headers) })),
      })
  }
}

function lettersOwn(headers: NonNullable<Message['headers']>): RecordHeader[] {
  const own: readonly string[] = Object.values(DEAD_LETTER_HEADERS)
  return (headers as readonly RecordHeader[]).filter(({ key }) => own.includes(key))
}

function dlqHeaders(letter: AddressedLetter, offset: number): RecordHeader[] {
  const { group, deliveryCount, location, reason, cause } = letter
  const values = {
    topic: location.topic,
    partition: location.partition,
    offset,
    group,
    deliveryCount,
    message: reason ?? CAUSES[cause],
  }
  return Object.entries(values).map(([name, value]) => ({
    key: DEAD_LETTER_HEADERS[name as keyof typeof DEAD_LETTER_HEADERS],
    value: Buffer.from(String(value)),
  }))
}
