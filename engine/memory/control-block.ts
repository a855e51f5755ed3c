/**
 * The control block: what every thread knows about every partition, one slot of 192 bytes each (whole cache lines, so that
 * neighbours do not disturb each other) of 64-bit words in the engine's control file, which every thread and every
 * reading process maps.
 *
 * Who writes: the partition's writer thread alone, except `indexLock` (indexer and writer, by compare-and-swap) and
 * what the broker sets up before a writer adopts the slot, and `queueFloor`, `role`, `committedOffset` and `tooFewInSync`, which are the
 * broker's. Reading needs no lock.
 *
 * Order of publication on append: bytes of the segment, then `logEndOffset`, `highWatermark`, `lastStableOffset`. Whoever
 * reads the high watermark first and the segment's length afterwards therefore finds every byte below that watermark.
 *
 * `generation` guards what must be seen together (segment list, log start, truncation): it is odd while the writer
 * changes them. A reader takes it before and after and tries again when it differs or is odd. Appends do not change it.
 */

/** Index of each word in a slot. */
export const SLOT = {
  logStartOffset: 0,
  logEndOffset: 1,
  highWatermark: 2,
  lastStableOffset: 3,
  flushedOffset: 4,
  leaderEpoch: 5,
  generation: 6,
  state: 7,
  headSegment: 8, // entry of the segment table, -1 when the list is empty
  tailSegment: 9, // the active segment
  segmentCount: 10,
  activeFd: 11, // 1 + descriptor of the active segment's .log, 0 when it is not open; for the clean-up after a crash
  indexLock: 12, // who may touch the index files: INDEX_LOCK
  slotGeneration: 13, // rises each time the slot is given to another partition
  failure: 14, // why the partition stopped: 0, or 1 + index of the error's code in ERROR_CODES
  activeAddress: 15, // where the active segment is mapped, 0 when it is not; for the clean-up after a crash
  activeMappedBytes: 16,
  cleanedOffset: 17, // everything below it was compacted, so offsets may be missing there
  swaps: 18, // rises when segments are replaced under the index lock: files of the same name are others then
  queueFloor: 19, // 1 + the offset from which queues still need the records, 0 where there is no queue
  role: 20, // ROLE
  committedOffset: 21, // of a replica: what is below is on every replica in sync, as far as the broker knows
  tooFewInSync: 22, // 1: fewer replicas are in sync than `min.insync.replicas` asks for
  words: 24,
} as const

export const STATE = { absent: 0, online: 1, failed: 2, closing: 3 } as const
/** A partition that stands alone, or what a replica is: a follower takes what its leader has, and nothing from producers. */
export const ROLE = { alone: 0, leader: 1, follower: 2 } as const
export const INDEX_LOCK = { free: 0, indexer: 1, writer: 2 } as const

export type SlotWord = Exclude<keyof typeof SLOT, 'words'>

/** A consistent picture of a partition, taken between two equal, even generations. */
export interface PartitionSnapshot {
  readonly generation: number
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly flushedOffset: number
  readonly leaderEpoch: number
  readonly segmentCount: number
  readonly headSegment: number
}

export class ControlBlock {
  readonly #words: BigInt64Array

  /** @param words `SLOT.words` per partition */
  constructor(words: BigInt64Array) {
    this.#words = words
  }

  get(slot: number, word: number): number {
    return Number(Atomics.load(this.#words, slot * SLOT.words + word))
  }

  set(slot: number, word: number, value: number): void {
    Atomics.store(this.#words, slot * SLOT.words + word, BigInt(value))
  }

  /** Adds and returns the value before. */
  add(slot: number, word: number, delta: number): number {
    return Number(Atomics.add(this.#words, slot * SLOT.words + word, BigInt(delta)))
  }

  exchange(slot: number, word: number, value: number): number {
    return Number(Atomics.exchange(this.#words, slot * SLOT.words + word, BigInt(value)))
  }

  /** Stores `to` where `from` stands; true when it stood there. */
  swap(slot: number, word: number, from: number, to: number): boolean {
    const expected = BigInt(from)
    return Atomics.compareExchange(this.#words, slot * SLOT.words + word, expected, BigInt(to)) === expected
  }

  /**
   * A slot as it is before a partition moves in; its generation and slot generation go on rising. The new slot generation
   * is stored first, so that whoever looks at it after a word knows whose word that was. Ends with an even generation,
   * also after a thread that died inside a change.
   */
  clear(slot: number): void {
    if (this.get(slot, SLOT.generation) % 2 === 0) this.beginChange(slot)
    this.add(slot, SLOT.slotGeneration, 1)
    for (let word = 0; word < SLOT.words; word++) {
      if (word !== SLOT.generation && word !== SLOT.slotGeneration) this.set(slot, word, 0)
    }
    this.set(slot, SLOT.headSegment, -1)
    this.set(slot, SLOT.tailSegment, -1)
    this.endChange(slot)
  }

  /** Opens a change of what must be seen together: the generation becomes odd. */
  beginChange(slot: number): void {
    this.add(slot, SLOT.generation, 1)
  }

  endChange(slot: number): void {
    this.add(slot, SLOT.generation, 1)
  }

  /**
   * A snapshot between two equal, even generations, or undefined when the writer kept changing the partition for
   * `attempts` tries (a roll takes microseconds; a caller may try again later). Appends go on meanwhile, so the
   * offsets are read in the order in which they bound each other: LSO <= HW <= LEO and flushed <= LEO hold in it.
   */
  snapshot(slot: number, attempts = 1_000): PartitionSnapshot | undefined {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const generation = this.get(slot, SLOT.generation)
      if (generation % 2 !== 0) continue
      const picture: PartitionSnapshot = {
        generation,
        lastStableOffset: this.get(slot, SLOT.lastStableOffset),
        highWatermark: this.get(slot, SLOT.highWatermark),
        flushedOffset: this.get(slot, SLOT.flushedOffset),
        logEndOffset: this.get(slot, SLOT.logEndOffset),
        logStartOffset: this.get(slot, SLOT.logStartOffset),
        leaderEpoch: this.get(slot, SLOT.leaderEpoch),
        segmentCount: this.get(slot, SLOT.segmentCount),
        headSegment: this.get(slot, SLOT.headSegment),
      }
      if (this.get(slot, SLOT.generation) === generation) return picture
    }
    return undefined
  }
}
