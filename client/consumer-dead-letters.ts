/**
 * Appends records that a consumer's handlers failed at to a dead-letter topic, with headers that say where they are from
 * and why. Used by the consumer's thread.
 */
import type { ConsumerBackend } from './consumer-backend.ts'
import { DEAD_LETTER_HEADERS } from './dead-letters.ts'
import type { ConsumedRecord } from './record.ts'

/** Of a header; what somebody threw may be long. */
const MESSAGE_CHARACTERS_MAX = 4_096

export class DeadLetters {
  readonly #backend: ConsumerBackend
  readonly #groupId: string | null
  readonly #topics = new Set<string>()

  constructor(backend: ConsumerBackend, groupId: string | null) {
    this.#backend = backend
    this.#groupId = groupId
  }

  /** Resolves when it is acknowledged. @throws as `Producer.send` and `Admin.createTopic` */
  async append(topic: string, record: ConsumedRecord, attempts: number, error: unknown): Promise<void> {
    if (!this.#topics.has(topic)) {
      await this.#backend.group('deadLetterTopic', { topic, recordsOf: record.topic })
      this.#topics.add(topic)
    }
    const { key, value, timestamp, headers } = record
    const facts: Readonly<Record<keyof typeof DEAD_LETTER_HEADERS, string>> = {
      topic: record.topic,
      partition: String(record.partition),
      offset: String(record.offset),
      group: this.#groupId ?? '',
      deliveryCount: String(attempts),
      message: String(error).slice(0, MESSAGE_CHARACTERS_MAX),
    }
    const added = Object.entries(DEAD_LETTER_HEADERS).map(([name, key]) => ({
      key,
      value: Buffer.from(facts[name as keyof typeof facts]),
    }))
    const message = { key, value, headers: [...headers, ...added], ...(timestamp < 0 ? {} : { timestamp }) }
    await this.#backend.sendLetters(topic, [message])
  }
}
