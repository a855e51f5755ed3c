/**
 * The segment list of every partition, in the engine's control file: entries of 64 bytes, linked from the control block's
 * `headSegment` to its `tailSegment` in the order of their base offsets.
 *
 * Each writer owns a fixed share of the entries and is alone in taking, linking and freeing them, inside a change of the
 * partition's generation; so any thread may walk a list between two equal, even generations. Three words have another
 * writer: the indexer publishes how far it has come. `sizeBytes` moves with every append and is stored before the
 * offsets in the control block.
 */
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'

/** Index of each 64-bit word in an entry. */
export const SEGMENT = {
  baseOffset: 0,
  sizeBytes: 1, // published length of the .log
  maxTimestamp: 2, // largest so far, -1 when none
  maxTimestampOffset: 3, // last offset of the first batch that has it
  offsetEntries: 4, // indexer
  timeEntries: 5, // indexer
  indexedPosition: 6, // indexer: bytes of the .log that the indexes cover
  nextSegment: 7, // entry of the following segment, -1 at the tail
  words: 8,
} as const

const FREE_MARK = -2

export class SegmentTable {
  readonly #words: BigInt64Array
  readonly capacity: number

  /** @param words `SEGMENT.words` per entry */
  constructor(words: BigInt64Array) {
    this.#words = words
    this.capacity = this.#words.length / SEGMENT.words
  }

  get(entry: number, word: number): number {
    return Number(Atomics.load(this.#words, entry * SEGMENT.words + word))
  }

  set(entry: number, word: number, value: number): void {
    Atomics.store(this.#words, entry * SEGMENT.words + word, BigInt(value))
  }
}

/** One writer's share of the table. Lives in the writer's thread. */
export class SegmentEntries {
  readonly #table: SegmentTable
  readonly #free: number[] = []
  readonly #end: number
  #unused: number

  /** @param share which of `shares` equal parts of the table; `inUse` are entries of it that already hold segments */
  constructor(table: SegmentTable, share: number, shares: number, inUse: ReadonlySet<number> = new Set()) {
    this.#table = table
    const size = Math.floor(table.capacity / shares)
    this.#unused = share * size
    this.#end = this.#unused + size
    if (inUse.size === 0) return
    for (let entry = this.#unused; entry < this.#end; entry++) if (!inUse.has(entry)) this.#free.push(entry)
    this.#unused = this.#end
  }

  /** @throws TOO_MANY_SEGMENTS when the share is used up */
  take(): number {
    const entry = this.#free.pop() ?? (this.#unused < this.#end ? this.#unused++ : -1)
    if (entry === -1) throw new MillraceError('TOO_MANY_SEGMENTS', { segments: this.#table.capacity })
    this.#table.set(entry, SEGMENT.nextSegment, -1)
    return entry
  }

  give(entry: number): void {
    invariant(this.#table.get(entry, SEGMENT.nextSegment) !== FREE_MARK, 'a segment entry is freed once')
    this.#table.set(entry, SEGMENT.nextSegment, FREE_MARK)
    this.#free.push(entry)
  }
}
