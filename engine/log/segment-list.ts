/**
 * The segments of one partition as its writer keeps them in the shared table: linked in the order of their base offsets. Owned
 * by the writer's thread; every change of the links lies between an odd and an even generation of the partition.
 */
import { invariant } from '../base/invariant.ts'
import { type ControlBlock, INDEX_LOCK, SLOT } from '../memory/control-block.ts'
import { SEGMENT, type SegmentEntries, type SegmentTable } from '../memory/segment-table.ts'
import type { SegmentInfo } from './recovery-types.ts'

export interface ListedSegment {
  /** Entry of the segment table. */
  readonly entry: number
  readonly baseOffset: number
}

export class SegmentList {
  readonly #slot: number
  readonly #control: ControlBlock
  readonly #table: SegmentTable
  readonly #entries: SegmentEntries
  readonly #listed: ListedSegment[] = []
  /** The last removal found the indexer at work: it is to be tried again. */
  isHeldBack = false

  constructor(slot: number, control: ControlBlock, table: SegmentTable, entries: SegmentEntries) {
    this.#slot = slot
    this.#control = control
    this.#table = table
    this.#entries = entries
  }

  get length(): number {
    return this.#listed.length
  }

  at(index: number): ListedSegment {
    const segment = this.#listed.at(index)
    invariant(segment !== undefined, 'a segment that is asked for is listed')
    return segment
  }

  sizeBytes(index: number): number {
    return this.#table.get(this.at(index).entry, SEGMENT.sizeBytes)
  }

  maxTimestamp(index: number): number {
    return this.#table.get(this.at(index).entry, SEGMENT.maxTimestamp)
  }

  get totalBytes(): number {
    let total = 0
    for (const { entry } of this.#listed) total += this.#table.get(entry, SEGMENT.sizeBytes)
    return total
  }

  /**
   * Begins a change of the generation, and links the segments of a partition that is taken over.
   * @returns the entry of the last
   * @throws TOO_MANY_SEGMENTS; nothing is linked then, and the change is over
   */
  adopt(segments: readonly SegmentInfo[]): number {
    this.#control.beginChange(this.#slot)
    try {
      for (const segment of segments) this.link(segment)
    } catch (error) {
      this.clear()
      this.#control.endChange(this.#slot)
      throw error
    }
    return this.at(-1).entry
  }

  /** Appends a segment. Inside a change of the generation. @returns its entry @throws TOO_MANY_SEGMENTS */
  link(info: SegmentInfo): number {
    const entry = this.#take(info)
    const tail = this.#listed.at(-1)
    if (tail === undefined) this.#control.set(this.#slot, SLOT.headSegment, entry)
    else this.#table.set(tail.entry, SEGMENT.nextSegment, entry)
    this.#listed.push({ entry, baseOffset: info.baseOffset })
    this.#publishTail(entry)
    return entry
  }

  /** Takes the last segment off again. Inside a change of the generation. */
  unlinkTail(): void {
    const dropped = this.#listed.pop()
    const tail = this.#listed.at(-1)
    invariant(dropped !== undefined && tail !== undefined, 'the first segment stays')
    this.#table.set(tail.entry, SEGMENT.nextSegment, -1)
    this.#publishTail(tail.entry)
    this.#entries.give(dropped.entry)
  }

  #publishTail(entry: number): void {
    this.#control.set(this.#slot, SLOT.tailSegment, entry)
    this.#control.set(this.#slot, SLOT.segmentCount, this.#listed.length)
  }

  /**
   * Takes segments off the head. While the indexer is at work in this partition nothing is removed: it may be about to
   * publish into an entry that would be given to another segment.
   * @param change what else changes in the same generation
   * @returns the base offsets of what was removed
   */
  removeHead(count: number, change: () => void): number[] {
    invariant(count < this.#listed.length, 'the active segment is not removed')
    this.isHeldBack = count > 0 && !this.#control.swap(this.#slot, SLOT.indexLock, INDEX_LOCK.free, INDEX_LOCK.writer)
    if (count === 0 || this.isHeldBack) return []
    const removed = this.#listed.splice(0, count)
    this.#control.beginChange(this.#slot)
    change()
    this.#control.set(this.#slot, SLOT.headSegment, this.at(0).entry)
    this.#control.set(this.#slot, SLOT.segmentCount, this.#listed.length)
    for (const { entry } of removed) this.#entries.give(entry)
    this.#control.endChange(this.#slot)
    this.#control.set(this.#slot, SLOT.indexLock, INDEX_LOCK.free)
    return removed.map(({ baseOffset }) => baseOffset)
  }

  /**
   * Puts a segment, or none, in the place of neighbours, none of which is the active one.
   * @param sizes of the replaced in the order of `bases`: what they must still be
   * @param change what else changes in the same generation
   * @returns false when the list has changed, or the indexer is at work, so that nothing was done
   * @throws TOO_MANY_SEGMENTS, when nothing was done, and what `change` throws
   */
  replace(
    bases: readonly number[],
    sizes: readonly number[],
    info: SegmentInfo | undefined,
    change: () => void,
  ): boolean {
    const first = this.#listed.findIndex(({ baseOffset }) => baseOffset === bases[0])
    const isThere = bases.every(
      (base, index) =>
        this.#listed[first + index]?.baseOffset === base && this.sizeBytes(first + index) === sizes[index],
    )
    if (first === -1 || !isThere || first + bases.length >= this.#listed.length) return false
    if (!this.#control.swap(this.#slot, SLOT.indexLock, INDEX_LOCK.free, INDEX_LOCK.writer)) return false
    try {
      // Taken before the old ones are given back, so that readers see that it is another segment.
      const added = info === undefined ? [] : [{ entry: this.#take(info), baseOffset: info.baseOffset }]
      this.#control.beginChange(this.#slot)
      try {
        change()
        this.#control.add(this.#slot, SLOT.swaps, 1)
        this.#relink(first, bases.length, added)
      } finally {
        this.#control.endChange(this.#slot)
      }
    } finally {
      this.#control.set(this.#slot, SLOT.indexLock, INDEX_LOCK.free)
    }
    return true
  }

  #relink(first: number, count: number, added: readonly ListedSegment[]): void {
    const following = this.at(first + count).entry
    const entry = added[0]?.entry ?? following
    if (added.length > 0) this.#table.set(entry, SEGMENT.nextSegment, following)
    if (first === 0) this.#control.set(this.#slot, SLOT.headSegment, entry)
    else this.#table.set(this.at(first - 1).entry, SEGMENT.nextSegment, entry)
    const replaced = this.#listed.splice(first, count, ...added)
    this.#control.set(this.#slot, SLOT.segmentCount, this.#listed.length)
    for (const old of replaced) this.#entries.give(old.entry)
  }

  #take(info: SegmentInfo): number {
    const entry = this.#entries.take()
    for (const word of WORDS) this.#table.set(entry, SEGMENT[word], info[word])
    return entry
  }

  /** Gives every entry back. Inside a change of the generation. */
  clear(): void {
    this.#control.set(this.#slot, SLOT.headSegment, -1)
    this.#control.set(this.#slot, SLOT.tailSegment, -1)
    this.#control.set(this.#slot, SLOT.segmentCount, 0)
    for (const { entry } of this.#listed) this.#entries.give(entry)
    this.#listed.length = 0
  }

  /** The segments as they are now, for the checkpoint of a clean close. */
  describe(logEndOffset: number, activeFirstTimestamp: number): SegmentInfo[] {
    return this.#listed.map(({ entry, baseOffset }, index) => ({
      baseOffset,
      sizeBytes: this.#table.get(entry, SEGMENT.sizeBytes),
      nextOffset: this.#listed[index + 1]?.baseOffset ?? logEndOffset,
      maxTimestamp: this.#table.get(entry, SEGMENT.maxTimestamp),
      maxTimestampOffset: this.#table.get(entry, SEGMENT.maxTimestampOffset),
      firstTimestamp: index === this.#listed.length - 1 ? activeFirstTimestamp : -1,
      offsetEntries: this.#table.get(entry, SEGMENT.offsetEntries),
      timeEntries: this.#table.get(entry, SEGMENT.timeEntries),
      indexedPosition: this.#table.get(entry, SEGMENT.indexedPosition),
    }))
  }
}

const WORDS = [
  'baseOffset',
  'sizeBytes',
  'maxTimestamp',
  'maxTimestampOffset',
  'offsetEntries',
  'timeEntries',
  'indexedPosition',
] as const satisfies readonly (keyof typeof SEGMENT & keyof SegmentInfo)[]
