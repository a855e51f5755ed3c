/**
 * Holds the index entries of one segment against its batches, as a walk over the log comes past them: every offset entry points at
 * a batch and has its last offset, every time entry has the last offset of the first batch with a timestamp that is larger than
 * all before. How dense the entries are is not judged: look-ups are right whatever the distance. Pure; any thread.
 */
import { OFFSET_ENTRY, offsetEntryPosition, offsetEntryRelativeOffset } from '../format/offset-index.ts'
import { type Region, readI64Rough } from '../format/region.ts'
import { TIME_ENTRY, timeEntryRelativeOffset } from '../format/time-index.ts'

/** @param position of the entry in the index file */
export type IndexFaultReport = (index: 'index' | 'timeindex', position: number, reason: string) => void

export class IndexComparison {
  readonly #offsets: Region
  readonly #times: Region
  readonly #report: IndexFaultReport
  readonly #offsetCount: number
  readonly #timeCount: number
  #nextOffset = 0
  #nextTime = 0
  /** Position of the batch that the next offset entry names, and offset that the next time entry names; infinite behind the last. */
  #nextPosition = Number.POSITIVE_INFINITY
  #nextTimeOffset = Number.POSITIVE_INFINITY

  /** @param offsets, times: whole entries. An index whose entries are out of order is reported once, and not looked at further. */
  constructor(offsets: Region, times: Region, report: IndexFaultReport) {
    this.#offsets = offsets
    this.#times = times
    this.#report = report
    this.#offsetCount = this.#inOrder('index') ? offsets.length / OFFSET_ENTRY.sizeBytes : 0
    this.#timeCount = this.#inOrder('timeindex') ? times.length / TIME_ENTRY.sizeBytes : 0
    this.#seekOffset(0)
    this.#seekTime(0)
  }

  get entries(): number {
    return this.#offsetCount + this.#timeCount
  }

  #inOrder(index: 'index' | 'timeindex'): boolean {
    const isOffsets = index === 'index'
    const { view, length } = isOffsets ? this.#offsets : this.#times
    const { sizeBytes } = isOffsets ? OFFSET_ENTRY : TIME_ENTRY
    // No entry points at the first batch, so zeros are out of order wherever they are.
    let major = isOffsets ? 0 : -1
    let minor = -1
    for (let at = 0; at < length; at += sizeBytes) {
      const nextMajor = isOffsets ? view.getUint32(at + OFFSET_ENTRY.positionAt) : readI64Rough(view, at)
      const nextMinor = view.getUint32(at + (isOffsets ? OFFSET_ENTRY.relativeOffsetAt : TIME_ENTRY.relativeOffsetAt))
      if (nextMajor <= major || nextMinor <= minor) {
        this.#report(index, at, 'entries are out of order')
        return false
      }
      major = nextMajor
      minor = nextMinor
    }
    return true
  }

  #seekOffset(entry: number): void {
    this.#nextOffset = entry
    this.#nextPosition = entry < this.#offsetCount ? offsetEntryPosition(this.#offsets.view, entry) : Infinity
  }

  #seekTime(entry: number): void {
    this.#nextTime = entry
    this.#nextTimeOffset = entry < this.#timeCount ? timeEntryRelativeOffset(this.#times.view, entry) : Infinity
  }

  /**
   * The walk comes to a sound batch.
   * @param lastRelativeOffset its last offset, less the segment's base offset
   * @param largestBefore largest timestamp of the batches in front of it
   */
  batch(position: number, lastRelativeOffset: number, maxTimestamp: number, largestBefore: number): void {
    if (this.#nextPosition <= position) this.#compareOffset(position, lastRelativeOffset)
    if (this.#nextTimeOffset <= lastRelativeOffset) this.#compareTime(lastRelativeOffset, maxTimestamp, largestBefore)
  }

  #compareOffset(position: number, lastRelativeOffset: number): void {
    while (this.#nextPosition < position) this.#wrongOffset('an entry points at no batch')
    if (this.#nextPosition !== position) return
    const found = offsetEntryRelativeOffset(this.#offsets.view, this.#nextOffset)
    if (found !== lastRelativeOffset) this.#wrongOffset('an entry has another offset than its batch')
    else this.#seekOffset(this.#nextOffset + 1)
  }

  #wrongOffset(reason: string): void {
    this.#report('index', this.#nextOffset * OFFSET_ENTRY.sizeBytes, reason)
    this.#seekOffset(this.#nextOffset + 1)
  }

  #compareTime(lastRelativeOffset: number, maxTimestamp: number, largestBefore: number): void {
    while (this.#nextTimeOffset < lastRelativeOffset) this.#wrongTime('an entry has the offset of no batch')
    if (this.#nextTimeOffset !== lastRelativeOffset) return
    const found = readI64Rough(this.#times.view, this.#nextTime * TIME_ENTRY.sizeBytes)
    if (found !== maxTimestamp) this.#wrongTime('an entry has another timestamp than its batch')
    else if (maxTimestamp <= largestBefore) this.#wrongTime('an entry has a timestamp that came before')
    else this.#seekTime(this.#nextTime + 1)
  }

  #wrongTime(reason: string): void {
    this.#report('timeindex', this.#nextTime * TIME_ENTRY.sizeBytes, reason)
    this.#seekTime(this.#nextTime + 1)
  }

  /** The walk goes on behind damage: nothing is said about entries for what lies in it. */
  skipTo(position: number, relativeOffset: number): void {
    while (this.#nextPosition < position) this.#seekOffset(this.#nextOffset + 1)
    while (this.#nextTimeOffset < relativeOffset) this.#seekTime(this.#nextTime + 1)
  }

  /** The walk came to the end of the log. @param largestTimestamp that must have an entry, -1 when none must */
  end(largestTimestamp: number): void {
    while (this.#nextOffset < this.#offsetCount) this.#wrongOffset('an entry points behind the log')
    while (this.#nextTime < this.#timeCount) this.#wrongTime('an entry has an offset behind the log')
    const { view, length } = this.#times
    const isOrdered = this.#timeCount * TIME_ENTRY.sizeBytes === length
    const last = length === 0 ? -1 : readI64Rough(view, length - TIME_ENTRY.sizeBytes)
    if (isOrdered && last < largestTimestamp) this.#report('timeindex', length, 'no entry has the largest timestamp')
  }
}
