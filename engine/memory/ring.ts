/**
 * A ring of fixed-size entries between exactly one writing and one reading thread, in a SharedArrayBuffer.
 *
 *     word 0          16         32            32 + i * entryWords
 *     ┌─────────┬──────────┬────────────────────────┬─ ─ ─
 *     │  head   │   tail   │ entry 0                │ …       head and tail lie on cache lines of their own
 *     └─────────┴──────────┴────────────────────────┴─ ─ ─
 *
 * Head and tail count entries and wrap at 2^32; entry i is at `i & (capacity - 1)`. The writer fills the words of an
 * entry with plain stores and then stores the tail atomically: the reader, which loads the tail first, sees the entry
 * whole. The reader stores the head after it has copied what it needs, so an entry is not overwritten under it. Each
 * side keeps the last value it saw of the other's counter and looks again only when the ring seems full or empty.
 */
import { invariant } from '../base/invariant.ts'

const HEAD = 0
const TAIL = 16
const ENTRIES = 32

/** Words of a ring, to lay out a buffer. */
export function ringWords(capacity: number, entryWords: number): number {
  return ENTRIES + capacity * entryWords
}

function checkShape(words: Int32Array, capacity: number, entryWords: number): void {
  invariant(capacity > 0 && (capacity & (capacity - 1)) === 0, 'the capacity of a ring is a power of two')
  invariant(words.length >= ringWords(capacity, entryWords), 'a ring fits its buffer')
}

export class RingWriter {
  /** The ring's words; entries are filled in place. */
  readonly words: Int32Array
  readonly capacity: number
  readonly #entryWords: number
  #tail: number
  #headSeen: number

  constructor(words: Int32Array, capacity: number, entryWords: number) {
    checkShape(words, capacity, entryWords)
    this.words = words
    this.capacity = capacity
    this.#entryWords = entryWords
    this.#tail = Atomics.load(words, TAIL)
    this.#headSeen = Atomics.load(words, HEAD)
  }

  /** Index of the first word of the next free entry, -1 when the ring is full. Fill it, then `publish`. */
  reserve(): number {
    if (((this.#tail - this.#headSeen) | 0) === this.capacity) {
      this.#headSeen = Atomics.load(this.words, HEAD)
      if (((this.#tail - this.#headSeen) | 0) === this.capacity) return -1
    }
    return ENTRIES + (this.#tail & (this.capacity - 1)) * this.#entryWords
  }

  /** Hands the reserved entry to the reader. */
  publish(): void {
    this.#tail = (this.#tail + 1) | 0
    Atomics.store(this.words, TAIL, this.#tail)
  }
}

export class RingReader {
  readonly words: Int32Array
  readonly capacity: number
  readonly #entryWords: number
  #head: number
  #tailSeen: number

  constructor(words: Int32Array, capacity: number, entryWords: number) {
    checkShape(words, capacity, entryWords)
    this.words = words
    this.capacity = capacity
    this.#entryWords = entryWords
    this.#head = Atomics.load(words, HEAD)
    this.#tailSeen = this.#head
  }

  /** Index of the first word of the oldest entry, -1 when the ring is empty. Read it, then `release`. */
  peek(): number {
    if (this.#head === this.#tailSeen) {
      this.#tailSeen = Atomics.load(this.words, TAIL)
      if (this.#head === this.#tailSeen) return -1
    }
    return ENTRIES + (this.#head & (this.capacity - 1)) * this.#entryWords
  }

  /** Gives the entry back to the writer. */
  release(): void {
    this.#head = (this.#head + 1) | 0
    Atomics.store(this.words, HEAD, this.#head)
  }
}
