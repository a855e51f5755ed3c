/**
 * The common checker: what producers logged outside the engine against what the engine gives back. Nothing acknowledged is lost, no
 * record is there twice or damaged, every stream is there without a hole and in order, offsets are gapless and never change
 * their record, and look-ups find what a walk over everything finds. Faults are collected, so that one run shows them all.
 */
import { expect } from 'vitest'
import type { Millrace } from '../../../client/index.ts'
import type { Random } from '../../../engine/base/random.ts'
import type { AckBook } from './ack-log.ts'
import { faultOf, parseKey } from './records.ts'

/** A partition as it was read. */
export interface PartitionContent {
  readonly topic: string
  readonly partition: number
  readonly startOffset: number
  /** By offset less `startOffset`. */
  readonly keys: string[]
  readonly timestamps: number[]
}

export interface CheckOptions {
  /**
   * Whether what was acknowledged and shown of a topic must be there; default: of each. Of the others only what a recovery
   * had found must be, and what there is must be a beginning of what was appended.
   */
  readonly holds?: (topic: string) => boolean
  /** Sends that were answered with an error must not be there. Default: they may be, or not. */
  readonly failedAreGone?: boolean
}

const FAULTS_MAX = 20
const LOOKUPS = 12

export class Checker {
  readonly faults: string[] = []
  readonly #random: Random
  /** What was there at the last check: from then on it stays. */
  readonly #before = new Map<string, PartitionContent>()

  constructor(random: Random) {
    this.#random = random
  }

  /** Fails the test with all that was found. */
  demandSound(context: string): void {
    expect(this.faults.slice(0, FAULTS_MAX), `${context}; seed ${this.#random.seed}`).toEqual([])
  }

  /** Reads all topics of an engine and holds them against the acknowledgements of all runs so far. */
  async check(engine: Millrace, book: AckBook, options: CheckOptions = {}): Promise<PartitionContent[]> {
    const holds = options.holds ?? (() => true)
    const topics = await engine.admin.listTopics()
    this.#checkTopics(topics, book)
    const contents: PartitionContent[] = []
    for (const topic of topics) {
      const { partitions } = await engine.admin.describeTopic(topic)
      for (const { partition, error } of partitions) {
        if (error !== undefined) this.faults.push(`${topic}/${partition} is down: ${error}`)
        else contents.push(await this.#checkPartition(engine, topic, partition, book, holds(topic)))
      }
      await this.#checkLookups(engine, topic, contents)
    }
    this.#checkAcks(contents, book, holds)
    if (options.failedAreGone === true) this.#checkFailed(contents, book)
    return contents
  }

  #checkTopics(topics: readonly string[], book: AckBook): void {
    for (const [topic, state] of book.topics) {
      if (state === 'there' && !topics.includes(topic)) this.faults.push(`topic ${topic} is gone`)
      if (state === 'dropped' && topics.includes(topic)) this.faults.push(`topic ${topic} is back`)
    }
  }

  async #checkPartition(
    engine: Millrace,
    topic: string,
    partition: number,
    book: AckBook,
    holds: boolean,
  ): Promise<PartitionContent> {
    const content = await this.#read(engine, topic, partition)
    const name = `${topic}/${partition}`
    const endOffset = content.startOffset + content.keys.length
    const shown = Math.max(book.recovered.get(name) ?? 0, holds ? (book.ends.get(name) ?? 0) : 0)
    if (endOffset < shown) this.faults.push(`${name} ends at ${endOffset}, but ${shown} was shown`)
    if (content.startOffset > (book.trims.get(name) ?? 0)) this.faults.push(`${name} starts at ${content.startOffset}`)
    if (content.startOffset < (book.trimmed.get(name) ?? 0)) {
      this.faults.push(`${name} starts at ${content.startOffset}, but ${book.trimmed.get(name)} was acknowledged`)
    }
    this.#checkUnchanged(name, content)
    this.#checkStreams(name, content, book)
    this.#before.set(name, content)
    return content
  }

  async #read(engine: Millrace, topic: string, partition: number): Promise<PartitionContent> {
    const keys: string[] = []
    const timestamps: number[] = []
    let startOffset = -1
    for await (const batch of engine.reader({ topic, partitions: [partition] })) {
      for (const record of batch) {
        if (startOffset === -1) startOffset = record.offset
        const wanted = startOffset + keys.length
        if (record.offset !== wanted)
          this.faults.push(`${topic}/${partition}: offset ${record.offset} in place of ${wanted}`)
        const fault = faultOf(record)
        if (fault !== undefined) this.faults.push(`${topic}/${partition} at ${record.offset}: ${fault}`)
        keys.push(Buffer.from(record.key ?? []).toString('latin1'))
        timestamps.push(record.timestamp)
      }
    }
    const lookup = await engine.lookup(topic)
    if (startOffset === -1) startOffset = lookup.earliest(partition)
    const latest = lookup.latest(partition)
    if (lookup.earliest(partition) !== startOffset || latest !== startOffset + keys.length) {
      this.faults.push(
        `${topic}/${partition} has [${startOffset}, ${startOffset + keys.length}), not [${lookup.earliest(partition)}, ${latest})`,
      )
    }
    lookup.close()
    return { topic, partition, startOffset, keys, timestamps }
  }

  /** An offset never changes its record, over any number of crashes. */
  #checkUnchanged(name: string, content: PartitionContent): void {
    const before = this.#before.get(name)
    if (before === undefined) return
    const from = Math.max(before.startOffset, content.startOffset)
    const end = before.startOffset + before.keys.length
    for (let offset = from; offset < end; offset++) {
      const was = before.keys[offset - before.startOffset]
      const is = content.keys[offset - content.startOffset]
      if (was === is) continue
      this.faults.push(`${name} at ${offset}: ${was} became ${is}`)
      return
    }
  }

  /** Every stream counts up from 0, or where the log was trimmed from any number, and leaves out only what failed. */
  #checkStreams(name: string, { topic, partition, startOffset, keys }: PartitionContent, book: AckBook): void {
    const next = new Map<string, number>()
    const failed = numbersThatFailed(book)
    for (const key of keys) {
      const parsed = parseKey(key)
      if (parsed === undefined) continue // reported when it was read
      const { stream, number } = parsed
      if (!stream.endsWith(`/${topic}/${partition}`)) this.faults.push(`${name} holds ${key}`)
      let wanted = next.get(stream) ?? (startOffset === 0 ? 0 : number)
      while (wanted < number && failed.has(`${stream}/${wanted}`)) wanted += 1
      if (number !== wanted) this.faults.push(`${name}: ${key} in place of number ${wanted}`)
      next.set(stream, number + 1)
    }
  }

  /** Everything acknowledged is there, where its producer was told. */
  #checkAcks(contents: readonly PartitionContent[], book: AckBook, holds: (topic: string) => boolean): void {
    const offsets = new Map<string, number>()
    const starts = new Map<string, number>()
    for (const { topic, partition, startOffset, keys } of contents) {
      starts.set(`${topic}/${partition}`, startOffset)
      keys.forEach((key, index) => {
        if (offsets.has(key))
          this.faults.push(`${key} is there twice, at ${offsets.get(key)} and ${startOffset + index}`)
        offsets.set(key, startOffset + index)
      })
    }
    for (const { stream, first, end, baseOffset } of book.acks) {
      const [, , topic, partition] = stream.split('/')
      const state = book.topics.get(topic as string)
      if (!holds(topic as string)) continue
      if (state === 'dropping' || state === 'dropped') continue
      const startOffset = starts.get(`${topic}/${partition}`)
      for (let number = first; number < end; number++) {
        const found = offsets.get(`${stream}/${number}`)
        const wanted = baseOffset === -1 ? found : baseOffset + number - first
        if (found !== undefined && found === wanted) continue
        // Without its offset a record that is missing from a trimmed log may have been trimmed.
        if (startOffset !== undefined && (wanted ?? -1) < startOffset && startOffset > 0) continue
        this.faults.push(
          `${stream}/${number} was acknowledged at ${wanted ?? 'some offset'} and is at ${found ?? 'none'}`,
        )
      }
    }
  }

  /** Of a send that took two batches the first may have gone well, so what counts is that not all of it is there. */
  #checkFailed(contents: readonly PartitionContent[], book: AckBook): void {
    const there = new Set(contents.flatMap(({ keys }) => keys))
    for (const { stream, first, end } of book.failed) {
      let count = 0
      for (let number = first; number < end; number++) if (there.has(`${stream}/${number}`)) count += 1
      if (count === end - first)
        this.faults.push(`${stream}/${first} to ${end - 1} are there, and their send had failed`)
    }
  }

  async #checkLookups(engine: Millrace, topic: string, contents: readonly PartitionContent[]): Promise<void> {
    const lookup = await engine.lookup(topic)
    for (const content of contents.filter(({ topic: name }) => name === topic)) {
      const { partition, startOffset, keys, timestamps } = content
      const name = `${topic}/${partition}`
      if (keys.length === 0) continue
      for (let i = 0; i < LOOKUPS; i++) {
        const index = this.#random.below(keys.length)
        const record = lookup.byOffset(partition, startOffset + index)
        const key = Buffer.from(record?.key ?? []).toString('latin1')
        if (record?.offset !== startOffset + index || key !== keys[index]) {
          this.faults.push(
            `${name}: offset ${startOffset + index} finds ${key} at ${record?.offset}, not ${keys[index]}`,
          )
        }
        const time = (timestamps[this.#random.below(keys.length)] as number) + this.#random.between(-1, 1)
        const wanted = timestamps.findIndex(timestamp => timestamp >= time)
        const found = lookup.byTimestamp(partition, time)?.offset
        if (found !== (wanted === -1 ? undefined : startOffset + wanted)) {
          this.faults.push(`${name}: time ${time} finds offset ${found}, not ${startOffset + wanted}`)
        }
      }
      const largest = timestamps.reduce((a, b) => Math.max(a, b), -1)
      const first = startOffset + timestamps.indexOf(largest)
      const found = lookup.maxTimestamp(partition)
      if (found?.timestamp !== largest || found.offset !== first) {
        this.faults.push(
          `${name}: the largest timestamp is ${largest} at ${first}, not ${found?.timestamp} at ${found?.offset}`,
        )
      }
    }
    lookup.close()
  }
}

function numbersThatFailed({ failed }: AckBook): ReadonlySet<string> {
  const keys = new Set<string>()
  for (const { stream, first, end } of failed)
    for (let number = first; number < end; number++) keys.add(`${stream}/${number}`)
  return keys
}
