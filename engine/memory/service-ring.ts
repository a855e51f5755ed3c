/**
 * Rings between a writer and a service thread (flusher or janitor): orders go down, replies come up. Both carry the same
 * entry of numbers; file descriptors and addresses mean the same in every thread of a process.
 *
 * A writer has at most one allocation and one flush under way per partition, and seals in between, so the rings stay
 * short; an order that finds its ring full is kept by the writer and pushed again on its next pass.
 */
import { RingReader, RingWriter, ringWords } from './ring.ts'

export const ORDER = { allocate: 1, flush: 2, seal: 3, remove: 4, snapshot: 5 } as const

/** A message on a service ring. What `a`, `b` and `c` mean depends on `kind`; see engine/log/services.ts. */
export interface ServiceMessage {
  readonly kind: number
  readonly slot: number
  readonly slotGeneration: number
  readonly fd: number
  /** Reply: 0, or 1 + index of an error code in ERROR_CODES. Order: flags. */
  readonly status: number
  readonly a: number
  readonly b: number
  readonly c: number
}

const ENTRY_WORDS = 16
const CAPACITY = 4_096
const RING_WORDS = ringWords(CAPACITY, ENTRY_WORDS)

/** Both directions between one writer and one service. */
export function serviceRingBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(2 * RING_WORDS * 4)
}

const HALF = 0x1_0000_0000

class MessageWriter {
  readonly #ring: RingWriter

  constructor(words: Int32Array) {
    this.#ring = new RingWriter(words, CAPACITY, ENTRY_WORDS)
  }

  /** False when the ring is full. */
  push(message: ServiceMessage): boolean {
    const at = this.#ring.reserve()
    if (at === -1) return false
    const words = this.#ring.words
    words[at] = message.kind
    words[at + 1] = message.slot
    words[at + 2] = message.slotGeneration
    words[at + 3] = message.fd
    words[at + 4] = message.status
    putNumber(words, at + 6, message.a)
    putNumber(words, at + 8, message.b)
    putNumber(words, at + 10, message.c)
    this.#ring.publish()
    return true
  }
}

class MessageReader {
  readonly #ring: RingReader

  constructor(words: Int32Array) {
    this.#ring = new RingReader(words, CAPACITY, ENTRY_WORDS)
  }

  /** True when a message waits. */
  get waiting(): boolean {
    return this.#ring.peek() !== -1
  }

  shift(): ServiceMessage | undefined {
    const at = this.#ring.peek()
    if (at === -1) return undefined
    const words = this.#ring.words
    const message: ServiceMessage = {
      kind: words[at] as number,
      slot: words[at + 1] as number,
      slotGeneration: words[at + 2] as number,
      fd: words[at + 3] as number,
      status: words[at + 4] as number,
      a: getNumber(words, at + 6),
      b: getNumber(words, at + 8),
      c: getNumber(words, at + 10),
    }
    this.#ring.release()
    return message
  }
}

function putNumber(words: Int32Array, at: number, value: number): void {
  words[at] = value | 0
  words[at + 1] = Math.floor(value / HALF)
}

function getNumber(words: Int32Array, at: number): number {
  return (words[at + 1] as number) * HALF + ((words[at] as number) >>> 0)
}

export type { MessageReader, MessageWriter }

const down = (buffer: SharedArrayBuffer): Int32Array => new Int32Array(buffer, 0, RING_WORDS)
const up = (buffer: SharedArrayBuffer): Int32Array => new Int32Array(buffer, RING_WORDS * 4, RING_WORDS)

/** The writer's end: orders out, replies in. */
export function writerServiceEnd(buffer: SharedArrayBuffer): { orders: MessageWriter; replies: MessageReader } {
  return { orders: new MessageWriter(down(buffer)), replies: new MessageReader(up(buffer)) }
}

/** The service's end: orders in, replies out. */
export function serviceEnd(buffer: SharedArrayBuffer): { orders: MessageReader; replies: MessageWriter } {
  return { orders: new MessageReader(down(buffer)), replies: new MessageWriter(up(buffer)) }
}
