/**
 * A share partition: which records of a partition a share group has still to do, who holds which of them, and until when.
 * A pure state machine after Kafka's KIP-932: events and the clock's time come in, acquired ranges, dead letters and changes
 * to be stored go out. Owned by the broker's thread, driven by `ShareCoordinator`.
 *
 *                     acquire                     accept, gap
 *     Available ─────────────────▶ Acquired ─────────────────▶ Acknowledged
 *         ▲  ▲                      │   │
 *         │  └── release, lock over ┘   │ reject, or released at the delivery limit
 *         │      release with a time ▼  ▼
 *         └── due ─────────── Delayed   Archiving ── dead letter appended ──▶ Archived
 *
 * Records at or above the end offset were never acquired and are all available. Below it only what is live has a run; the
 * start offset is that of the first live record. The available record with the lowest offset is acquired first.
 *
 * Bounds: `recordLocksMax` counts what is acquired, archiving, or waits to be acquired again; delayed records do not
 * count, so they hold up nothing, until there are `delayedRecordsMax` of them and nothing new is acquired any more.
 */
import type { Clock } from '../../base/clock.ts'
import { invariant } from '../../base/invariant.ts'
import type { RunRow, ShareChanges, ShareFacts, StoredShare } from '../../store/share-states.ts'
import { STATE_NAMES } from './live-ranges.ts'
import { LiveRuns, RECORD_STATE, type RecordState, type Run } from './live-runs.ts'
import type {
  Acknowledgement,
  AcknowledgeType,
  AcquiredRange,
  DeadLetter,
  DeadLetterCause,
  ShareCounts,
  ShareSettings,
} from './share-types.ts'
import { rowOfRun, runOfRow } from './stored-runs.ts'

const NEVER = Number.POSITIVE_INFINITY

export class SharePartition {
  settings: ShareSettings
  readonly #clock: Clock
  readonly #runs = new LiveRuns()
  #endOffset: number
  #accepted: number
  #deadLettered: number
  readonly #counts = { available: 0, delayed: 0, acquired: 0, archiving: 0 }
  /** No available record lies below it. */
  #availableFrom = 0
  /** No lock ends, and nothing delayed is due, before these; there may be nothing by then. */
  #lockEndsMs = NEVER
  #dueMs = NEVER
  #letters: DeadLetter[] = []
  #factsChanged = false

  /** Begins at `startOffset` with nothing done, or with what was stored. */
  constructor(settings: ShareSettings, clock: Clock, stored: StoredShare | number) {
    this.settings = settings
    this.#clock = clock
    const isNew = typeof stored === 'number'
    const facts = isNew ? { startOffset: stored, endOffset: stored, accepted: 0, deadLettered: 0 } : stored.facts
    this.#endOffset = facts.endOffset
    this.#accepted = facts.accepted
    this.#deadLettered = facts.deadLettered
    this.#availableFrom = facts.startOffset
    this.#factsChanged = isNew
    if (!isNew) this.#restore(stored.blocks)
  }

  /** What was acquired when this was stored is available, what had used up its deliveries becomes a dead letter. */
  #restore(blocks: StoredShare['blocks']): void {
    for (const number of [...blocks.keys()].sort((a, b) => a - b)) {
      for (const row of blocks.get(number) as readonly RunRow[]) {
        this.#runs.append(runOfRow(number, row))
      }
    }
    this.#runs.takeChanged()
    this.#runs.changeWhere(
      () => true,
      run => {
        this.#count(run.state, run.end - run.first)
        if (run.state === RECORD_STATE.delayed) this.#dueMs = Math.min(this.#dueMs, run.atMs)
        if (run.state !== RECORD_STATE.archiving && !this.#isUsedUp(run)) return run
        return this.#archive(run, run.first, run.end, this.#isUsedUp(run) ? 'delivery-limit' : 'rejected')
      },
    )
  }

  get startOffset(): number {
    return this.#runs.firstOffset ?? this.#endOffset
  }

  get endOffset(): number {
    return this.#endOffset
  }

  get counts(): ShareCounts {
    return { ...this.#counts, accepted: this.#accepted, deadLettered: this.#deadLettered }
  }

  /** Runs in memory, for tests and statistics. */
  get runs(): readonly Run[] {
    return this.#runs.blocks.flatMap(block => block.runs)
  }

  // ── acquiring ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The lowest offset that `acquire` would give out now, undefined when it would give out nothing: from there a server
   * reads as many bytes as it wants to send, and acquires up to where they end.
   */
  nextOffset(offsetEnd: number): number | undefined {
    let next: number | undefined
    if (this.#counts.available > 0 && this.#counts.acquired < this.settings.recordLocksMax) {
      this.#runs.visit(this.#availableFrom, run => {
        if (run.state === RECORD_STATE.available) next = run.first
        return next === undefined
      })
    } else if (this.#roomForNew() > 0) next = this.#endOffset
    return next !== undefined && next < offsetEnd ? next : undefined
  }

  /**
   * Gives records to a member, lowest offsets first, each under a lock.
   * @param maxRecords most records
   * @param offsetEnd records from here on are left alone: the high watermark, or the end of what the caller has read
   */
  acquire(memberId: string, maxRecords: number, offsetEnd: number): AcquiredRange[] {
    const acquired: AcquiredRange[] = []
    const atMs = this.#clock.monotonicMs() + this.settings.lockDurationMs
    let left = Math.min(maxRecords, this.settings.recordLocksMax - this.#counts.acquired)
    left -= this.#acquireAgain(memberId, left, offsetEnd, atMs, acquired)
    // Only when nothing below is left over: the order is that of the offsets.
    const fresh = Math.min(left, this.#roomForNew(), offsetEnd - this.#endOffset)
    if (fresh > 0) {
      const first = this.#endOffset
      const end = first + fresh
      this.#runs.append({ first, end, state: RECORD_STATE.acquired, deliveryCount: 1, memberId, atMs })
      this.#count(RECORD_STATE.acquired, fresh)
      this.#endOffset = end
      this.#factsChanged = true
      push(acquired, first, end, 1)
    }
    if (acquired.length > 0) this.#lockEndsMs = Math.min(this.#lockEndsMs, atMs)
    return acquired
  }

  /** Acquires what was released; returns how many records. */
  #acquireAgain(memberId: string, most: number, offsetEnd: number, atMs: number, acquired: AcquiredRange[]): number {
    let taken = 0
    while (taken < most && this.#counts.available > 0) {
      const run = this.#firstAvailable()
      const end = Math.min(run.end, run.first + most - taken, offsetEnd)
      if (end <= run.first) break
      const deliveryCount = run.deliveryCount + 1
      this.#runs.change(run.first, end, (part, first, partEnd) => {
        this.#move(part.state, RECORD_STATE.acquired, partEnd - first)
        return { first, end: partEnd, state: RECORD_STATE.acquired, deliveryCount, memberId, atMs }
      })
      push(acquired, run.first, end, deliveryCount)
      this.#availableFrom = end
      taken += end - run.first
    }
    return taken
  }

  #firstAvailable(): Run {
    let found: Run | undefined
    this.#runs.visit(this.#availableFrom, run => {
      if (run.state === RECORD_STATE.available) found = run
      return found === undefined
    })
    invariant(found !== undefined, 'an available record lies at or above the hint')
    return found
  }

  /** Records that may be acquired for the first time. */
  #roomForNew(): number {
    const { available, acquired, archiving, delayed } = this.#counts
    const { recordLocksMax, delayedRecordsMax } = this.settings
    const locks = available + acquired + archiving
    return delayed >= delayedRecordsMax ? 0 : Math.max(0, recordLocksMax - locks)
  }

  // ── acknowledging ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Applies each acknowledgement to the whole of its range, or not at all: when the member does not hold every record of it.
   * @returns for each whether it was applied
   */
  acknowledge(memberId: string, acknowledgements: readonly Acknowledgement[]): boolean[] {
    return acknowledgements.map(one => this.#acknowledge(memberId, one))
  }

  #acknowledge(memberId: string, one: Acknowledgement): boolean {
    const { firstOffset, lastOffset } = one
    const isHeld = (run: Run): boolean => run.state === RECORD_STATE.acquired && run.memberId === memberId
    if (lastOffset < firstOffset || !this.#runs.every(firstOffset, lastOffset + 1, isHeld)) return false
    this.#runs.change(firstOffset, lastOffset + 1, (run, first, end) => this.#settle(one, run, first, end))
    return true
  }

  #settle(one: Acknowledgement, run: Run, first: number, end: number): Run | undefined {
    switch (one.type satisfies AcknowledgeType) {
      case 'accept':
        this.#accepted += end - first
        return this.#finish(run, first, end)
      case 'gap':
        return this.#finish(run, first, end)
      case 'release':
        return this.#release(run, first, end, one.notBeforeMs, one.undelivered)
      case 'reject':
        return this.#archive(run, first, end, 'rejected', one.reason)
      case 'renew':
        return { ...run, first, end, atMs: this.#clock.monotonicMs() + this.settings.lockDurationMs }
    }
  }

  #finish(run: Run, first: number, end: number): undefined {
    this.#count(run.state, first - end)
    this.#factsChanged = true
    return undefined
  }

  #release(run: Run, first: number, end: number, notBeforeMs = 0, undelivered = false): Run | undefined {
    const deliveryCount = undelivered ? run.deliveryCount - 1 : run.deliveryCount
    if (this.#isUsedUp({ deliveryCount })) return this.#archive(run, first, end, 'delivery-limit')
    const isDelayed = notBeforeMs > this.#clock.nowMs()
    const state = isDelayed ? RECORD_STATE.delayed : RECORD_STATE.available
    this.#move(run.state, state, end - first)
    if (isDelayed) this.#dueMs = Math.min(this.#dueMs, notBeforeMs)
    else this.#availableFrom = Math.min(this.#availableFrom, first)
    return { first, end, state, deliveryCount, memberId: '', atMs: isDelayed ? notBeforeMs : 0 }
  }

  #isUsedUp({ deliveryCount }: { readonly deliveryCount: number }): boolean {
    return deliveryCount >= this.settings.deliveryCountLimit
  }

  /** On its way to the dead-letter topic, or archived at once where there is none. */
  #archive(run: Run, first: number, end: number, cause: DeadLetterCause, reason?: string): Run | undefined {
    if (!this.settings.hasDeadLetters) return this.#finish(run, first, end)
    this.#move(run.state, RECORD_STATE.archiving, end - first)
    this.#letter(first, end, run.deliveryCount, cause, reason)
    return { first, end, state: RECORD_STATE.archiving, deliveryCount: run.deliveryCount, memberId: '', atMs: 0 }
  }

  #letter(first: number, end: number, deliveryCount: number, cause: DeadLetterCause, reason?: string): void {
    const why = reason === undefined ? {} : { reason }
    this.#letters.push({ firstOffset: first, lastOffset: end - 1, deliveryCount, cause, ...why })
  }

  /** The records that became dead letters since this was called last; each is answered with `deadLettered`. */
  takeDeadLetters(): DeadLetter[] {
    const letters = this.#letters
    this.#letters = []
    return letters
  }

  /**
   * The records of a dead letter are in the dead-letter topic, so they are archived. Whoever appends them may die before it says
   * so: then they are appended once more after the restart.
   */
  deadLettered(firstOffset: number, lastOffset: number): void {
    this.#runs.change(firstOffset, lastOffset + 1, (run, first, end) => {
      if (run.state !== RECORD_STATE.archiving) return run
      this.#deadLettered += end - first
      return this.#finish(run, first, end)
    })
  }

  /** A member left or died: what it holds is released. Returns how many records. */
  leave(memberId: string): number {
    let released = 0
    const isHeld = (run: Run): boolean => run.state === RECORD_STATE.acquired && run.memberId === memberId
    this.#runs.changeWhere(isHeld, (run, first, end) => {
      released += end - first
      return this.#release(run, first, end)
    })
    return released
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Milliseconds until `advance` may have something to do, infinite when nothing is under way. */
  get idleMs(): number {
    return Math.min(this.#lockEndsMs - this.#clock.monotonicMs(), this.#dueMs - this.#clock.nowMs())
  }

  /** Releases what is locked for too long and makes available what is due. Cost: a walk over all runs, when there may be any. */
  advance(): void {
    const monotonicMs = this.#clock.monotonicMs()
    if (this.#lockEndsMs <= monotonicMs) {
      const isOver = (run: Run): boolean => run.state === RECORD_STATE.acquired && run.atMs <= monotonicMs
      this.#runs.changeWhere(isOver, (run, first, end) => this.#release(run, first, end))
      this.#lockEndsMs = this.#earliest(RECORD_STATE.acquired)
    }
    const nowMs = this.#clock.nowMs()
    if (this.#dueMs > nowMs) return
    const isDue = (run: Run): boolean => run.state === RECORD_STATE.delayed && run.atMs <= nowMs
    this.#runs.changeWhere(isDue, (run, first, end) => {
      this.#move(run.state, RECORD_STATE.available, end - first)
      this.#availableFrom = Math.min(this.#availableFrom, first)
      return { ...run, first, end, state: RECORD_STATE.available, atMs: 0 }
    })
    this.#dueMs = this.#earliest(RECORD_STATE.delayed)
  }

  #earliest(state: RecordState): number {
    let earliestMs = NEVER
    this.#runs.visit(0, run => {
      if (run.state === state) earliestMs = Math.min(earliestMs, run.atMs)
      return true
    })
    return earliestMs
  }

  // ── the log ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Records below are gone from the log: archived. */
  logStartMoved(logStartOffset: number): void {
    if (logStartOffset <= this.startOffset) return
    this.#runs.change(0, logStartOffset, (run, first, end) => this.#finish(run, first, end))
    this.#endOffset = Math.max(this.#endOffset, logStartOffset)
    this.#factsChanged = true
  }

  /** The log was cut: what is appended from its end on are other records. */
  logCut(logEndOffset: number): void {
    if (logEndOffset >= this.#endOffset) return
    this.#runs.change(logEndOffset, NEVER, (run, first, end) => this.#finish(run, first, end))
    this.#endOffset = logEndOffset
    this.#availableFrom = Math.min(this.#availableFrom, logEndOffset)
    this.#factsChanged = true
  }

  // ── storing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get hasChanges(): boolean {
    return this.#factsChanged || this.#runs.hasChanged
  }

  get facts(): ShareFacts {
    const { startOffset, endOffset } = this
    return { startOffset, endOffset, accepted: this.#accepted, deadLettered: this.#deadLettered }
  }

  /** What changed since this was called last, to be stored as one; acquired records as available with their delivery count. */
  takeChanges(): ShareChanges {
    const blocks = new Map<number, readonly RunRow[]>()
    for (const number of this.#runs.takeChanged()) {
      blocks.set(
        number,
        this.#runs.runsOf(number).map(run => rowOfRun(number, run)),
      )
    }
    this.#factsChanged = false
    return { facts: this.facts, blocks }
  }

  /** Changes could not be stored: they come with the next. */
  changesFailed(changes: ShareChanges): void {
    this.#runs.markChanged(changes.blocks.keys())
    this.#factsChanged = true
  }

  // ── counting ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #move(from: RecordState, to: RecordState, records: number): void {
    this.#count(from, -records)
    this.#count(to, records)
  }

  #count(state: RecordState, records: number): void {
    const name = STATE_NAMES[state]
    this.#counts[name] += records
    invariant(this.#counts[name] >= 0, 'a state has no fewer than no records')
  }
}

function push(acquired: AcquiredRange[], first: number, end: number, deliveryCount: number): void {
  const last = acquired.at(-1)
  if (last !== undefined && last.lastOffset + 1 === first && last.deliveryCount === deliveryCount) {
    acquired[acquired.length - 1] = { ...last, lastOffset: end - 1 }
  } else acquired.push({ firstOffset: first, lastOffset: end - 1, deliveryCount })
}
