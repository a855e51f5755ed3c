/**
 * Appends records that a consumer's handlers failed at to a dead-letter topic, with headers that say where they are from
 * and why. Used by the consumer's thread; the producer is made with the first one.
 */
import type { ClientLink } from '../engine/broker/client-link.ts'
import type { CallGroup } from '../engine/group/group-calls.ts'
import { DEAD_LETTER_HEADERS, sendLetters } from './dead-letters.ts'
import { Producer } from './producer.ts'
import type { ConsumedRecord } from './record.ts'

/** Of a header; what somebody threw may be long. */
const MESSAGE_CHARACTERS_MAX = 4_096

export class DeadLetters {
  readonly #link: ClientLink
  readonly #groupId: string | null
  readonly #topics = new Set<string>()
  #producer: Promise<Producer> | undefined

  constructor(link: ClientLink, groupId: string | null) {
    this.#link = link
    this.#groupId = groupId
  }

  /** Resolves when it is acknowledged. @throws as `Producer.send` and `Admin.createTopic` */
  async append(topic: string, record: ConsumedRecord, attempts: number, error: unknown): Promise<void> {
    if (!this.#topics.has(topic)) {
      const call: CallGroup = (name, request) => this.#link.group(name, request) as never
      await call('deadLetterTopic', { topic, recordsOf: record.topic })
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
    await sendLetters(await this.#attached(), topic, [message])
  }

  #attached(): Promise<Producer> {
    const attaching = this.#producer ?? Producer.attach(this.#link, {}, () => undefined)
    this.#producer = attaching
    attaching.catch(() => {
      if (this.#producer === attaching) this.#producer = undefined
    })
    return attaching
  }

  async close(): Promise<void> {
    await (await this.#producer?.catch(() => undefined))?.close()
  }
}
