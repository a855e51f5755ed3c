/**
 * The bytes that consumers of the classic protocol put into JoinGroup (their subscription) and SyncGroup (an assignment),
 * as Kafka's clients write them: a version, then plain big-endian fields. The coordinator itself passes them on unread,
 * unless both protocols share a group. Pure functions.
 *
 *     subscription   version i16 | topics [] string | user data bytes or -1
 *                    from 1: owned [] (topic string, partitions [] i32)   from 2: generation i32   from 3: rack string or -1
 *     assignment     version i16 | [] (topic string, partitions [] i32) | user data bytes or -1
 *
 *     string: length i16, UTF-8    bytes: length i32, bytes    []: count i32, entries
 *
 * A version above 3 is read as 3, and what follows the known fields is skipped: a newer client only appends fields.
 */

/** The highest version that is known. */
export const CONSUMER_PROTOCOL_VERSION_MAX = 3

/** The protocol type in JoinGroup of groups whose members speak this. */
export const CONSUMER_PROTOCOL_TYPE = 'consumer'

export interface NamedPartitions {
  readonly topic: string
  readonly partitions: readonly number[]
}

export interface ConsumerSubscription {
  readonly version: number
  readonly topics: readonly string[]
  readonly userData: Uint8Array | null
  /** What the member owns and keeps until it is told otherwise; empty before version 1. */
  readonly owned: readonly NamedPartitions[]
  /** The generation in which it got that; -1 for none, and before version 2. */
  readonly generationId: number
  readonly rackId: string | null
}

export interface ConsumerAssignment {
  readonly version: number
  readonly partitions: readonly NamedPartitions[]
  readonly userData: Uint8Array | null
}

/** A subscription of the given version; what that version has no field for is left out. */
export function encodeSubscription(subscription: ConsumerSubscription): Uint8Array {
  const { version } = subscription
  const out = new Writer(version)
  out.i32(subscription.topics.length)
  for (const topic of subscription.topics) out.text(topic)
  out.bytes(subscription.userData)
  if (version >= 1) out.named(subscription.owned)
  if (version >= 2) out.i32(subscription.generationId)
  if (version >= 3) out.text(subscription.rackId)
  return out.finish()
}

export function encodeAssignment(assignment: ConsumerAssignment): Uint8Array {
  const out = new Writer(assignment.version)
  out.named(assignment.partitions)
  out.bytes(assignment.userData)
  return out.finish()
}

/** Undefined where the bytes are no subscription. */
export function decodeSubscription(bytes: Uint8Array): ConsumerSubscription | undefined {
  return attempt(bytes, (reader, version) => {
    const topics = reader.array(2, () => reader.text())
    const userData = reader.bytes()
    const owned = version >= 1 ? reader.named() : []
    const generationId = version >= 2 ? reader.i32() : -1
    const rackId = version >= 3 ? reader.optionalText() : null
    return { version, topics, userData, owned, generationId, rackId }
  })
}

/** Undefined where the bytes are no assignment. No bytes at all are the empty assignment. */
export function decodeAssignment(bytes: Uint8Array): ConsumerAssignment | undefined {
  if (bytes.length === 0) return { version: 0, partitions: [], userData: null }
  return attempt(bytes, (reader, version) => ({ version, partitions: reader.named(), userData: reader.bytes() }))
}

/** What a reader throws at the first field that does not fit; it never leaves this file. */
class Malformed extends Error {}

function attempt<T>(bytes: Uint8Array, read: (reader: Reader, version: number) => T): T | undefined {
  try {
    const reader = new Reader(bytes)
    const version = reader.i16()
    return version < 0 ? undefined : read(reader, Math.min(version, CONSUMER_PROTOCOL_VERSION_MAX))
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  i16(): number {
    return this.#bytes.readInt16BE(this.#take(2))
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#take(4))
  }

  text(): string {
    const text = this.optionalText()
    if (text === null) throw new Malformed()
    return text
  }

  optionalText(): string | null {
    const length = this.i16()
    if (length === -1) return null
    const start = this.#take(length)
    return this.#bytes.toString('utf8', start, start + length)
  }

  bytes(): Uint8Array | null {
    const length = this.i32()
    if (length === -1) return null
    const start = this.#take(length)
    return new Uint8Array(this.#bytes.subarray(start, start + length))
  }

  /** Entries take at least `bytesMin`, so a count that the rest cannot hold is refused before anything is allocated. */
  array<T>(bytesMin: number, entry: () => T): T[] {
    const count = this.i32()
    if (count < 0 || count * bytesMin > this.#bytes.length - this.#at) throw new Malformed()
    return Array.from({ length: count }, entry)
  }

  named(): NamedPartitions[] {
    return this.array(6, () => ({ topic: this.text(), partitions: this.array(4, () => this.i32()) }))
  }

  #take(length: number): number {
    const start = this.#at
    if (length < 0 || start + length > this.#bytes.length) throw new Malformed()
    this.#at = start + length
    return start
  }
}

class Writer {
  readonly #parts: Buffer[] = []

  constructor(version: number) {
    this.#i16(version)
  }

  i32(value: number): void {
    const part = Buffer.allocUnsafe(4)
    part.writeInt32BE(value)
    this.#parts.push(part)
  }

  text(text: string | null): void {
    const bytes = Buffer.from(text ?? '')
    this.#i16(text === null ? -1 : bytes.length)
    this.#parts.push(bytes)
  }

  bytes(bytes: Uint8Array | null): void {
    this.i32(bytes === null ? -1 : bytes.length)
    if (bytes !== null) this.#parts.push(Buffer.from(bytes))
  }

  named(topics: readonly NamedPartitions[]): void {
    this.i32(topics.length)
    for (const { topic, partitions } of topics) {
      this.text(topic)
      const part = Buffer.allocUnsafe(4 + 4 * partitions.length)
      part.writeInt32BE(partitions.length)
      partitions.forEach((partition, at) => {
        part.writeInt32BE(partition, 4 + 4 * at)
      })
      this.#parts.push(part)
    }
  }

  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts))
  }

  #i16(value: number): void {
    const part = Buffer.allocUnsafe(2)
    part.writeInt16BE(value)
    this.#parts.push(part)
  }
}
