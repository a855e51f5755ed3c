/**
 * The log of one partition, as its writer thread holds it: the only code that appends, rolls and removes.
 * It is cut only while no writer has it, by recovery.
 *
 * Everything that other threads may see is in the control block and the segment table; what is here besides is the
 * active segment's file. A batch is stored first, then published: segment length, log end offset, high watermark. With
 * `flush.messages=1` the high watermark stops at the flushed offset. Structure (segment list, log start) changes between
 * an odd and an even generation.
 *
 * Slow work is ordered through `LogServices`; the answers come back through `allocated`, `flushed` and `sealed`.
 */
import { MillraceError } from '../base/errors.ts'
import { failpoint, failpointDue } from '../base/failpoints.ts'
import { invariant } from '../base/invariant.ts'
import {
  BATCH,
  baseOffsetOf,
  baseTimestampOf,
  leaderEpochOf,
  maxTimestampOf,
  stampBatch,
  stampLogAppendTime,
} from '../format/record-batch.ts'
import type { Region } from '../format/region.ts'
import { SLOT, STATE } from '../memory/control-block.ts'
import { SEGMENT } from '../memory/segment-table.ts'
import { ActiveSegment } from './active-segment.ts'
import type { LogShared } from './log-shared.ts'
import type { PartitionState } from './partition-state.ts'
import { hasProducer, ProducerStates } from './producer-state.ts'
import { emptySegmentInfo, type SegmentInfo } from './recovery-types.ts'
import { countUnwanted, queueFloorOf } from './retention.ts'
import { demandSize, mustRoll } from './rolling.ts'
import { SegmentList } from './segment-list.ts'
import type { TopicConfig } from './topic-config.ts'
import { Watermark } from './watermark.ts'

/** What became of an append: `parked` waits for room and must be tried again when `allocated` was called. */
export type AppendOutcome = 'appended' | 'parked'

export class PartitionLog {
  readonly slot: number
  readonly slotGeneration: number
  readonly directory: string
  readonly producers: ProducerStates
  config: TopicConfig
  logStartOffset: number
  logEndOffset: number
  /** Everything below survives a loss of power. */
  flushedOffset: number
  leaderEpoch: number
  /** Base offset that the last successful append was given. */
  lastBaseOffset = 0
  /** Offset that the flush under way reaches, -1 when none is. */
  flushTarget = -1
  /** Base offset of the segment that the flush under way is for. */
  #flushBase = -1
  readonly #watermark: Watermark
  readonly #shared: LogShared
  readonly #segments: SegmentList
  #active: ActiveSegment
  /** End offsets of the segments that were handed over to be sealed, in that order. */
  readonly #unsealed: number[] = []
  /** The partition stopped. After a failed flush later ones report success, for the kernel forgets pages that it could not write. */
  #failed = false
  #held: (() => void) | undefined
  #flushedAtMs: number

  constructor(state: PartitionState, shared: LogShared) {
    this.slot = state.slot
    this.slotGeneration = state.slotGeneration
    this.directory = state.directory
    this.config = state.config
    this.logStartOffset = state.logStartOffset
    this.logEndOffset = state.logEndOffset
    this.flushedOffset = state.logEndOffset
    this.leaderEpoch = state.leaderEpoch
    this.#shared = shared
    this.#watermark = new Watermark(shared.control, shared.services)
    this.#flushedAtMs = shared.clock.monotonicMs()
    this.producers = new ProducerStates(shared.producerIdExpirationMs)
    this.producers.load(state.producers, this.#flushedAtMs)
    this.#segments = new SegmentList(this.slot, shared.control, shared.table, shared.entries)
    const last = state.segments.at(-1)
    invariant(last !== undefined, 'a partition has at least its active segment')
    const { control } = shared
    this.#active = this.#activeFrom(last, this.#segments.adopt(state.segments)) // which begins a change
    this.#publishOffsets()
    control.set(this.slot, SLOT.flushedOffset, this.flushedOffset)
    control.set(this.slot, SLOT.leaderEpoch, this.leaderEpoch)
    control.set(this.slot, SLOT.cleanedOffset, Math.min(state.cleanedOffset, this.logEndOffset))
    control.set(this.slot, SLOT.failure, 0)
    control.set(this.slot, SLOT.state, STATE.online)
    control.endChange(this.slot)
  }

  /** Highest offset that may be shown and acknowledged, plus one. It never goes back, also when a topic becomes durable. */
  get highWatermark(): number {
    return this.#watermark.of(this)
  }

  /** The brokers may have agreed on more of a replica: shows it. True when there was something. */
  advance(): boolean {
    return this.#watermark.advance(this)
  }

  /** Takes a changed configuration: from the next append on, and for what is published at once. */
  configure(config: TopicConfig): void {
    this.config = config
    this.#watermark.publish(this)
    if (this.#flushDue()) this.flush()
  }

  get active(): ActiveSegment {
    return this.#active
  }

  /** For compaction, which puts segments in the place of others. */
  get segments(): SegmentList {
    return this.#segments
  }

  /** Segments were to be removed while the indexer was at work: ask again soon. */
  get isRemovalHeldBack(): boolean {
    return this.#segments.isHeldBack
  }

  /** True while an order of this log is unanswered; it must not be dropped then. */
  get busy(): boolean {
    return (
      this.flushTarget !== -1 || this.#unsealed.length > 0 || this.#active.allocationPending || this.#held !== undefined
    )
  }

  /** Base offset of the batch in the log that an idempotent producer sends once more, -1 when it is new. @throws as `ProducerStates.check` */
  repeatedBatch(view: DataView, at: number): number {
    return this.producers.check(view, at, this.#shared.clock.monotonicMs())
  }

  /**
   * Appends one batch that lies at `at` in `source`: stamps offset and epoch there, copies it once, publishes it.
   * @param isReplica the batch is the leader's and stays as it is; it begins at the log end, or behind it where the leader compacted
   * @returns 'parked' when there is no allocated room yet; nothing has changed then
   * @throws RECORD_TOO_LARGE, DISK_FULL, IO_ERROR, TOO_MANY_SEGMENTS; nothing has changed then
   */
  append(source: Region, at: number, bytes: number, isReplica = false): AppendOutcome {
    const { view } = source
    const lastOffsetDelta = view.getInt32(at + BATCH.lastOffsetDeltaAt)
    invariant(lastOffsetDelta >= 0 && bytes >= BATCH.headerBytes, 'a batch that is appended is whole')
    if (isReplica) this.#continueAs(view, at)
    demandSize(this.config, bytes)
    const timestamp = maxTimestampOf(view, at)
    if (mustRoll(this, bytes, lastOffsetDelta, timestamp, this.#shared)) {
      if (this.#held !== undefined) return 'parked' // the segment before the last is not handed over yet
      this.roll()
    }
    if (bytes > this.#active.capacityBytes && !this.#enlarge()) return 'parked'
    const segment = this.#active
    if (!this.#hasRoom(segment, bytes)) return 'parked'
    this.#store(segment, source, at, bytes, isReplica)
    const baseOffset = this.logEndOffset
    this.lastBaseOffset = baseOffset
    this.logEndOffset = baseOffset + lastOffsetDelta + 1
    segment.lastAppendMs = this.#shared.clock.monotonicMs()
    if (segment.firstTimestamp === -1) segment.firstTimestamp = baseTimestampOf(view, at)
    const stamped = this.config.logAppendTime && !isReplica ? maxTimestampOf(view, at) : timestamp
    segment.noteTimestamp(stamped, this.logEndOffset - 1, this.#shared.table)
    if (hasProducer(view, at)) this.producers.appended(view, at, segment.lastAppendMs)
    failpoint('append-before-publish')
    this.#publishAppend(segment, isReplica)
    if (this.#flushDue()) this.flush()
    return 'appended'
  }

  /** The log goes on where the leader's does, under its epoch. */
  #continueAs(view: DataView, at: number): void {
    const baseOffset = baseOffsetOf(view, at)
    const leaderEpoch = leaderEpochOf(view, at)
    if (baseOffset < this.logEndOffset || leaderEpoch < this.leaderEpoch) {
      const { logEndOffset } = this
      throw new MillraceError('CORRUPT_BATCH', { reason: 'not the next one', baseOffset, logEndOffset, leaderEpoch })
    }
    this.logEndOffset = baseOffset
    if (leaderEpoch > this.leaderEpoch) this.beginEpoch(leaderEpoch)
  }

  #hasRoom(segment: ActiveSegment, bytes: number): boolean {
    if (!segment.isOpen) {
      segment.open(false)
      segment.publish()
    }
    segment.demandFile() // now that it may still fail
    const room = segment.sizeBytes + bytes <= segment.allocatedBytes
    if ((!room || segment.wantsMore(bytes)) && !segment.allocationPending) {
      const from = segment.allocatedBytes
      segment.requestedBytes = segment.nextAllocation(bytes, this.#shared.clock.monotonicMs())
      this.#shared.services.allocate(
        this.slot,
        segment.fd,
        from,
        segment.requestedBytes,
        segment.address,
        this.config.durable,
      )
    }
    return room
  }

  #store(segment: ActiveSegment, source: Region, at: number, bytes: number, isReplica: boolean): void {
    failpoint('append-before-copy')
    if (!isReplica) stampBatch(source.view, at, this.logEndOffset, this.leaderEpoch)
    if (this.config.logAppendTime && !isReplica) stampLogAppendTime(source, at, this.#shared.clock.nowMs())
    if (failpointDue('append-torn-copy')) segment.copyIn(source.bytes.subarray(at, at + (bytes >>> 1)))
    failpoint('append-torn-copy')
    segment.copyIn(source.bytes.subarray(at, at + bytes))
    segment.sizeBytes += bytes
  }

  /** What was appended of a leader's batches is there, and is told of once for all of them. */
  replicated(): void {
    this.#watermark.appended(this)
  }

  #publishAppend(segment: ActiveSegment, isReplica: boolean): void {
    const { control, table, services } = this.#shared
    table.set(segment.entry, SEGMENT.sizeBytes, segment.sizeBytes)
    control.set(this.slot, SLOT.logEndOffset, this.logEndOffset)
    const isShown = !this.config.durable && this.#watermark.advance(this)
    if (!isShown && !isReplica) this.#watermark.appended(this)
    services.dirty(this.slot)
  }

  #publishOffsets(): void {
    const { control } = this.#shared
    control.set(this.slot, SLOT.logStartOffset, this.logStartOffset)
    control.set(this.slot, SLOT.logEndOffset, this.logEndOffset)
    this.#watermark.publish(this)
  }

  // ── segments ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Closes the active segment and opens the next at the log end offset. @throws as `append`; nothing has changed then */
  roll(): void {
    const { control, services, table } = this.#shared
    const old = this.#active
    invariant(old.sizeBytes > 0, 'an empty segment is not rolled')
    if (old.isOpen) old.keepFile()
    failpoint('roll-before-create')
    const info = emptySegmentInfo(this.logEndOffset)
    control.beginChange(this.slot)
    try {
      const entry = this.#segments.link(info)
      const next = this.#activeFrom(info, entry)
      try {
        next.open(true)
      } catch (error) {
        this.#segments.unlinkTail()
        throw error
      }
      this.#active = next
    } finally {
      control.endChange(this.slot)
    }
    failpoint('roll-after-create')
    this.#active.publish()
    services.snapshot(this.slot, this.directory, this.logEndOffset, this.producers.entries())
    table.set(old.entry, SEGMENT.sizeBytes, old.sizeBytes)
    const endOffset = this.logEndOffset
    if (old.allocationPending) this.#held = () => this.#seal(old, endOffset)
    else this.#seal(old, endOffset)
    services.dirty(this.slot)
  }

  /** An empty segment from before `segment.bytes` was raised is opened anew. False while an allocation in it is under way. */
  #enlarge(): boolean {
    const old = this.#active
    invariant(old.sizeBytes === 0, 'a batch that fits a segment fits an empty one')
    if (old.allocationPending) return false
    old.close(true)
    this.#active = this.#activeFrom(emptySegmentInfo(old.baseOffset), old.entry)
    return true
  }

  #seal(segment: ActiveSegment, endOffset: number): void {
    if (!segment.isOpen) return // it was not opened since the start, so it holds nothing that is not flushed
    this.#unsealed.push(endOffset)
    this.#shared.services.seal(this.slot, { ...segment.handOver(), finalBytes: segment.sizeBytes })
  }

  #activeFrom(info: SegmentInfo, entry: number): ActiveSegment {
    const { slot, directory, config } = this
    const { control, files, clock } = this.#shared
    return new ActiveSegment({ slot, directory, entry, control, files }, info, config.segmentBytes, clock.nowMs())
  }

  /** Takes segments off the head and orders their files removed; none while the indexer is at work in this partition. */
  #removeHead(count: number, logStartOffset: number): number {
    const { control, services } = this.#shared
    const removed = this.#segments.removeHead(count, () => {
      this.logStartOffset = logStartOffset
      control.set(this.slot, SLOT.logStartOffset, logStartOffset)
    })
    for (const baseOffset of removed) services.remove(this.slot, baseOffset)
    return removed.length
  }

  /**
   * Removes the segments that retention does not want, oldest first; the active one once it is closed.
   * @returns segments removed
   * @throws DISK_FULL, IO_ERROR when the active segment cannot be closed; the others are removed then
   */
  applyRetention(nowMs: number): number {
    const { config, highWatermark, logEndOffset } = this
    const queueFloor = queueFloorOf(this.#shared.control, this.slot)
    const input = { config, highWatermark, logEndOffset, queueFloor, nowMs }
    const unwanted = countUnwanted({ segments: this.#segments, ...input })
    if (unwanted < this.#segments.length) return this.#removeFirst(unwanted)
    const removed = this.#removeFirst(unwanted - 1) // first, because closing takes room on the disk
    if (this.#held !== undefined) return removed
    this.roll()
    return removed + this.#removeFirst(unwanted - removed)
  }

  #removeFirst(count: number): number {
    return this.#removeHead(count, Math.max(this.logStartOffset, this.#segments.at(count).baseOffset))
  }

  /**
   * Raises the log start offset; the segments below are removed by `removeBelowStart`, once the new one is stored.
   * @returns the log start offset
   * @throws OFFSET_OUT_OF_RANGE above the high watermark
   */
  deleteRecordsBefore(offset: number): number {
    if (offset > this.highWatermark || offset < 0) {
      throw new MillraceError('OFFSET_OUT_OF_RANGE', {
        offset,
        logStartOffset: this.logStartOffset,
        highWatermark: this.highWatermark,
      })
    }
    if (offset <= this.logStartOffset) return this.logStartOffset
    const { control } = this.#shared
    control.beginChange(this.slot)
    this.logStartOffset = offset
    control.set(this.slot, SLOT.logStartOffset, offset)
    control.endChange(this.slot)
    return offset
  }

  /** Removes the segments that lie wholly below the log start offset; returns how many. */
  removeBelowStart(): number {
    let count = 0
    while (count < this.#segments.length - 1 && this.#segments.at(count + 1).baseOffset <= this.logStartOffset)
      count += 1
    return this.#removeHead(count, this.logStartOffset)
  }

  // ── flushing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #flushDue(): boolean {
    const { config } = this
    if (config.durable) return true
    return this.logEndOffset - this.flushedOffset >= config.flushMessages || this.flushOverdue()
  }

  /** True when `flush.ms` has passed since the last flush and there is something to flush; or a flush would fail and tell. */
  flushOverdue(): boolean {
    if (this.#active.isLost) return true
    const { flushMs } = this.config
    if (flushMs === Number.MAX_SAFE_INTEGER || this.logEndOffset === this.flushedOffset) return false
    return this.#shared.clock.monotonicMs() - this.#flushedAtMs >= flushMs
  }

  /** Orders a flush of all there is, unless one is under way; then the next begins when that is answered. */
  flush(): void {
    if (this.flushTarget !== -1 || this.logEndOffset === this.flushedOffset || !this.#active.isOpen) return
    if (this.#held !== undefined) return // the closed segment is sealed first, else its records would count as flushed
    this.#active.beginFlush()
    this.flushTarget = this.logEndOffset
    this.#flushBase = this.#active.baseOffset
    this.#shared.services.flush(this.slot, this.#active.fd, this.flushTarget, this.#active.baseOffset)
  }

  /**
   * What a caller that was asked to flush and does it in its own thread has to sync; undefined when the log has rolled since:
   * then the closed segment has to be sealed first, and another flush is ordered for what follows.
   */
  flushHere(): { readonly fd: number; readonly offset: number } | undefined {
    if (this.#flushBase === this.#active.baseOffset) return { fd: this.#active.fd, offset: this.logEndOffset }
    this.flushed(this.flushedOffset, true)
    return undefined
  }

  /** The flusher answered: everything below `offset` is durable, or it failed and nothing new is. */
  flushed(offset: number, ok: boolean): void {
    this.flushTarget = -1
    this.#active.endFlush(ok) // nothing to one that is newer than the flush
    if (!ok || this.#failed) return
    this.#flushedAtMs = this.#shared.clock.monotonicMs()
    this.#advanceFlushed(offset)
    if (this.#flushDue()) this.flush()
  }

  /** The flusher sealed the oldest segment that was handed over: everything below its end is durable, if that went well. */
  sealed(ok: boolean): void {
    const endOffset = this.#unsealed.shift()
    invariant(endOffset !== undefined, 'a seal is answered once')
    if (ok && !this.#failed) this.#advanceFlushed(endOffset)
  }

  #advanceFlushed(offset: number): void {
    invariant(offset <= this.logEndOffset, 'what is flushed was appended')
    if (offset <= this.flushedOffset) return
    this.flushedOffset = offset
    this.#shared.control.set(this.slot, SLOT.flushedOffset, offset)
    if (this.config.durable) this.#watermark.advance(this)
  }

  /**
   * The janitor allocated the segment up to `position`; `done` with the last answer to an order, which may have come
   * as far as was asked or not. Answers come in the order of the orders, so while a closed segment is held the first
   * are for that one.
   */
  allocated(position: number, done: boolean, ok = true): void {
    if (this.#held !== undefined) {
      if (done) this.#release()
      return
    }
    const segment = this.#active
    segment.allocatedBytes = Math.max(segment.allocatedBytes, position)
    if (done) segment.requestedBytes = segment.allocatedBytes
    if (!ok) segment.askForLess()
  }

  #release(): void {
    const held = this.#held
    this.#held = undefined
    held?.()
    if (this.#flushDue()) this.flush()
  }

  /** What an idle partition holds ahead of its tail is given back. True when there was something. @throws IO_ERROR */
  releaseAhead(idleMs: number): boolean {
    const segment = this.#active
    if (segment.allocationPending || !segment.holdsAhead) return false
    if (this.#shared.clock.monotonicMs() - segment.lastAppendMs < idleMs) return false
    segment.releaseAhead()
    return true
  }

  /** Appends under a higher leader epoch from now on. Returns where it begins. @throws INVALID_ARGUMENT */
  beginEpoch(leaderEpoch: number): number {
    if (leaderEpoch <= this.leaderEpoch) {
      throw new MillraceError('INVALID_ARGUMENT', {
        argument: 'leaderEpoch',
        value: leaderEpoch,
        min: this.leaderEpoch + 1,
      })
    }
    this.resumeAfter(leaderEpoch)
    return this.logEndOffset
  }

  /** A follower goes on behind the last record that it has, whatever epoch it began itself. */
  resumeAfter(leaderEpoch: number): void {
    this.leaderEpoch = leaderEpoch
    this.#shared.control.set(this.slot, SLOT.leaderEpoch, leaderEpoch)
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stops the partition: nothing is appended until it is adopted anew. */
  fail(status: number): void {
    this.#failed = true
    const { control } = this.#shared
    control.set(this.slot, SLOT.failure, status)
    control.set(this.slot, SLOT.state, STATE.failed)
  }

  /**
   * Gives file, mapping and list entries back. The caller has made sure that nothing is under way.
   * @param cut false when what is above the flushed offset is not trusted, or the directory is about to go
   */
  close(cut: boolean): void {
    const { control } = this.#shared
    control.beginChange(this.slot)
    control.set(this.slot, SLOT.state, STATE.closing)
    this.#segments.clear()
    control.endChange(this.slot)
    this.#active.close(cut)
  }

  /** The segments as they are now, for the checkpoint of a clean close. */
  describe(): SegmentInfo[] {
    return this.#segments.describe(this.logEndOffset, this.#active.firstTimestamp)
  }
}
