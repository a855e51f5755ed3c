/**
 * What a share partition is, written as plainly as can be: one object for each live record in a map, every rule a loop
 * over all of them. The tests compare the real one with it.
 */
import type { ManualClock } from '../../../../engine/base/clock.ts'
import type {
  Acknowledgement,
  AcquiredRange,
  DeadLetter,
  ShareCounts,
  ShareSettings,
} from '../../../../engine/group/share/share-types.ts'

interface ModelRecord {
  state: 'available' | 'acquired' | 'archiving' | 'delayed'
  deliveryCount: number
  memberId: string
  atMs: number
}

export class ShareModel {
  readonly records = new Map<number, ModelRecord>()
  endOffset: number
  accepted = 0
  deadLettered = 0
  letters: DeadLetter[] = []
  readonly settings: ShareSettings
  readonly #clock: ManualClock

  constructor(settings: ShareSettings, clock: ManualClock, startOffset: number) {
    this.settings = settings
    this.#clock = clock
    this.endOffset = startOffset
  }

  get startOffset(): number {
    return Math.min(this.endOffset, ...this.records.keys())
  }

  get counts(): ShareCounts {
    const count = (state: string): number => [...this.records.values()].filter(record => record.state === state).length
    return {
      available: count('available'),
      delayed: count('delayed'),
      acquired: count('acquired'),
      archiving: count('archiving'),
      accepted: this.accepted,
      deadLettered: this.deadLettered,
    }
  }

  #sorted(): [number, ModelRecord][] {
    return [...this.records].sort(([a], [b]) => a - b)
  }

  acquire(memberId: string, maxRecords: number, offsetEnd: number): AcquiredRange[] {
    const { recordLocksMax, delayedRecordsMax, lockDurationMs } = this.settings
    const atMs = this.#clock.monotonicMs() + lockDurationMs
    const ranges: AcquiredRange[] = []
    const give = (offset: number, deliveryCount: number): void => {
      this.records.set(offset, { state: 'acquired', deliveryCount, memberId, atMs })
      const last = ranges.at(-1)
      if (last?.lastOffset === offset - 1 && last.deliveryCount === deliveryCount) {
        ranges[ranges.length - 1] = { ...last, lastOffset: offset }
      } else ranges.push({ firstOffset: offset, lastOffset: offset, deliveryCount })
    }
    let given = 0
    const { available, acquired, archiving, delayed } = this.counts
    for (const [offset, record] of this.#sorted()) {
      if (given === maxRecords || acquired + given === recordLocksMax || offset >= offsetEnd) break
      if (record.state !== 'available') continue
      give(offset, record.deliveryCount + 1)
      given += 1
    }
    // What was available is acquired by now, so it counts as much as before.
    for (let locks = available + acquired + archiving; given < maxRecords && this.endOffset < offsetEnd; locks++) {
      if (delayed >= delayedRecordsMax || locks >= recordLocksMax) break
      give(this.endOffset++, 1)
      given += 1
    }
    return ranges
  }

  acknowledge(memberId: string, one: Acknowledgement): boolean {
    const offsets = Array.from({ length: one.lastOffset - one.firstOffset + 1 }, (_, i) => one.firstOffset + i)
    const isHeld = (offset: number): boolean => {
      const record = this.records.get(offset)
      return record?.state === 'acquired' && record.memberId === memberId
    }
    if (offsets.length === 0 || !offsets.every(isHeld)) return false
    for (const offset of offsets) this.#settle(offset, this.records.get(offset) as ModelRecord, one)
    return true
  }

  #settle(offset: number, record: ModelRecord, one: Acknowledgement): void {
    if (one.type === 'accept') this.accepted += 1
    if (one.type === 'accept' || one.type === 'gap') this.records.delete(offset)
    if (one.type === 'renew') record.atMs = this.#clock.monotonicMs() + this.settings.lockDurationMs
    if (one.type === 'reject') this.#archive(offset, record, 'rejected', one.reason)
    if (one.type === 'release') {
      if (one.undelivered === true) record.deliveryCount -= 1
      this.#release(offset, record, one.notBeforeMs ?? 0)
    }
  }

  #release(offset: number, record: ModelRecord, notBeforeMs = 0): void {
    if (record.deliveryCount >= this.settings.deliveryCountLimit) {
      this.#archive(offset, record, 'delivery-limit')
      return
    }
    const isDelayed = notBeforeMs > this.#clock.nowMs()
    Object.assign(record, {
      state: isDelayed ? 'delayed' : 'available',
      memberId: '',
      atMs: isDelayed ? notBeforeMs : 0,
    })
  }

  #archive(offset: number, record: ModelRecord, cause: DeadLetter['cause'], reason?: string): void {
    if (!this.settings.hasDeadLetters) {
      this.records.delete(offset)
      return
    }
    const why = reason === undefined ? {} : { reason }
    this.letters.push({ firstOffset: offset, lastOffset: offset, deliveryCount: record.deliveryCount, cause, ...why })
    Object.assign(record, { state: 'archiving', memberId: '', atMs: 0 })
  }

  letterAppended(firstOffset: number, lastOffset: number): void {
    for (let offset = firstOffset; offset <= lastOffset; offset++) {
      if (this.records.get(offset)?.state !== 'archiving') continue
      this.records.delete(offset)
      this.deadLettered += 1
    }
  }

  leave(memberId: string): void {
    for (const [offset, record] of this.#sorted()) if (record.memberId === memberId) this.#release(offset, record)
  }

  advance(): void {
    for (const [offset, record] of this.#sorted()) {
      if (record.state === 'acquired' && record.atMs <= this.#clock.monotonicMs()) this.#release(offset, record)
      if (record.state === 'delayed' && record.atMs <= this.#clock.nowMs()) {
        Object.assign(record, { state: 'available', atMs: 0 })
      }
    }
  }

  logStartMoved(logStartOffset: number): void {
    for (const offset of [...this.records.keys()]) if (offset < logStartOffset) this.records.delete(offset)
    this.endOffset = Math.max(this.endOffset, logStartOffset)
  }

  logCut(logEndOffset: number): void {
    for (const offset of [...this.records.keys()]) if (offset >= logEndOffset) this.records.delete(offset)
    this.endOffset = Math.min(this.endOffset, logEndOffset)
  }

  /** The engine died and began anew with all that was stored. */
  restart(): void {
    this.letters = []
    const { deliveryCountLimit } = this.settings
    for (const [offset, record] of this.#sorted()) {
      if (record.state === 'acquired') Object.assign(record, { state: 'available', memberId: '', atMs: 0 })
      const isUsedUp = record.deliveryCount >= deliveryCountLimit
      if (record.state === 'archiving' || isUsedUp) {
        this.#archive(offset, record, isUsedUp ? 'delivery-limit' : 'rejected')
      }
    }
  }
}

/** Dead letters one record each, in the order of their offsets: how they are cut into ranges does not matter. */
export function singly(letters: readonly DeadLetter[]): DeadLetter[] {
  return letters
    .flatMap(letter =>
      Array.from({ length: letter.lastOffset - letter.firstOffset + 1 }, (_, i) => {
        const offset = letter.firstOffset + i
        return { ...letter, firstOffset: offset, lastOffset: offset }
      }),
    )
    .sort((a, b) => a.firstOffset - b.firstOffset)
}
