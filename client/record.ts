/** A record as it was read: its fields are views onto the mapped log, valid for as long as they are referenced. */
import type { RecordCursor, RecordHeader } from '../engine/format/record.ts'

export class ConsumedRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since the Unix epoch, -1 for none. */
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]

  constructor(
    topic: string,
    partition: number,
    offset: number,
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[],
  ) {
    this.topic = topic
    this.partition = partition
    this.offset = offset
    this.timestamp = timestamp
    this.key = key
    this.value = value
    this.headers = headers
  }

  /**
   * The same record in memory of its own. For what is kept or posted: a view keeps its whole mapping alive, and posting
   * one would copy all of it.
   */
  copy(): ConsumedRecord {
    const headers = this.headers.map(({ key, value }) => ({ key, value: value?.slice() ?? null }))
    const { topic, partition, offset, timestamp, key, value } = this
    return new ConsumedRecord(
      topic,
      partition,
      offset,
      timestamp,
      key?.slice() ?? null,
      value?.slice() ?? null,
      headers,
    )
  }
}

const NO_HEADERS: readonly RecordHeader[] = []

export function headersAt(cursor: RecordCursor): readonly RecordHeader[] {
  return cursor.headerCount === 0 ? NO_HEADERS : cursor.headers()
}

/** The record under a cursor. */
export function recordAt(topic: string, partition: number, cursor: RecordCursor): ConsumedRecord {
  const headers = headersAt(cursor)
  return new ConsumedRecord(topic, partition, cursor.offset, cursor.timestamp, cursor.key(), cursor.value(), headers)
}
