/**
 * The look-up API of one topic: records by offset and by time, and the ends of its partitions. All calls are synchronous:
 * they search the mapped files. Used by the thread that made it.
 */
import { MillraceError } from '../engine/base/errors.ts'
import type { ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { PartitionReader } from '../engine/log/partition-reader.ts'
import { demandReader, type ReadSource } from './read-source.ts'
import { type ConsumedRecord, recordAt } from './record.ts'

export class Lookup {
  readonly topic: string
  readonly #metadata: ClientTopic
  readonly #source: ReadSource
  readonly #readers: (PartitionReader | undefined)[] = []

  /** @internal Use `Millrace.lookup`. */
  constructor(source: ReadSource, metadata: ClientTopic) {
    this.topic = metadata.topic
    this.#metadata = metadata
    this.#source = source
  }

  /** Number of partitions when this was made. */
  get partitions(): number {
    return this.#metadata.partitions.length
  }

  /**
   * The record at an offset; where it was compacted away the first one behind it.
   * @returns undefined at the high watermark
   * @throws OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, CORRUPT_BATCH
   */
  byOffset(partition: number, offset: number): ConsumedRecord | undefined {
    const cursor = this.#reader(partition).seekOffset(offset)
    return cursor === undefined ? undefined : recordAt(this.topic, partition, cursor)
  }

  /**
   * The first record (lowest offset) with a timestamp at or after the given one, also where timestamps are out of order.
   * @param timestamp milliseconds since the Unix epoch
   * @returns undefined when there is none
   */
  byTimestamp(partition: number, timestamp: number): ConsumedRecord | undefined {
    const cursor = this.#reader(partition).seekTime(timestamp)
    return cursor === undefined ? undefined : recordAt(this.topic, partition, cursor)
  }

  /** Offset of the first record that is still there, or that will come. */
  earliest(partition: number): number {
    return this.#reader(partition).logStartOffset
  }

  /** The high watermark: the offset behind the last record that may be read. */
  latest(partition: number): number {
    return this.#reader(partition).highWatermark
  }

  /** The first record with the largest timestamp, undefined in an empty partition. */
  maxTimestamp(partition: number): { offset: number; timestamp: number } | undefined {
    return this.#reader(partition).maxTimestamp()
  }

  #reader(partition: number): PartitionReader {
    const known = this.#readers[partition]
    if (known !== undefined) {
      if (!this.#source.changed(known)) return known
      this.#readers[partition] = undefined
      this.#source.giveBack(known)
    }
    const located = this.#metadata.partitions[partition]
    if (located === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: this.topic, partition })
    const reader = demandReader(this.#source, located)
    this.#readers[partition] = reader
    return reader
  }

  /** Gives the mappings back; records that were read stay valid. */
  close(): void {
    for (const reader of this.#readers) if (reader !== undefined) this.#source.giveBack(reader)
    this.#readers.length = 0
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
