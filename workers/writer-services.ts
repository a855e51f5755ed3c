/**
 * A writer's side of the service rings: turns what its logs ask for into orders, keeps those that find a ring full, and
 * decides which flushes are not worth handing over. Owned by the writer's thread.
 */
import { systemClock } from '../engine/base/clock.ts'
import type { ProducerSnapshotEntry } from '../engine/format/producer-snapshot.ts'
import type { WriterStart } from '../engine/log/mail.ts'
import { stageProducerSnapshot } from '../engine/log/producer-snapshot-file.ts'
import { ALLOCATE_FLAG, type LogServices, type SealOrder } from '../engine/log/services.ts'
import { SLOT } from '../engine/memory/control-block.ts'
import { type EngineMemory, SERVICE } from '../engine/memory/engine-memory.ts'
import { ORDER, type ServiceMessage, writerServiceEnd } from '../engine/memory/service-ring.ts'

/** A flush that takes less is not worth the two wake-ups of handing it over (20 to 50 µs each between idle processors). */
const QUICK_FLUSH_MS = 0.3
/** How long partitions that do not wait for flushes have to be quiet before a flush may hold the thread up. */
const OTHERS_QUIET_MS = 100
const FLUSHING_MS = 2

type ServiceEnd = ReturnType<typeof writerServiceEnd>

export class WriterServices implements LogServices {
  readonly #memory: EngineMemory
  readonly #warn: (error: unknown) => void
  readonly #flusher: ServiceEnd
  readonly #janitor: ServiceEnd
  /** Orders that found their ring full, in order. */
  readonly #backlog: { end: ServiceEnd; message: ServiceMessage; thread: number }[] = []
  /** Partitions that the writer flushes by itself at the end of its pass. */
  readonly #kept = new Set<number>()
  /** Base offset of the segment that was flushed last, by slot. */
  readonly #flushedBase = new Map<number, number>()
  /** Running mean of what a flush takes; unknown, so slow, at first. */
  #flushMs = 1
  #flushOrderedMs = 0
  #keptAtMs = Number.NEGATIVE_INFINITY
  #othersBusyMs = Number.NEGATIVE_INFINITY

  constructor(start: WriterStart, memory: EngineMemory, warn: (error: unknown) => void) {
    this.#memory = memory
    this.#warn = warn
    this.#flusher = writerServiceEnd(start.flusherRing)
    this.#janitor = writerServiceEnd(start.janitorRing)
  }

  get repliesWaiting(): boolean {
    return this.#flusher.replies.waiting || this.#janitor.replies.waiting
  }

  get hasBacklog(): boolean {
    return this.#backlog.length > 0
  }

  /** The next reply of a service, undefined when there is none. */
  shiftReply(): ServiceMessage | undefined {
    const reply = this.#flusher.replies.shift()
    if (reply?.kind === ORDER.flush) this.noteFlush(this.#flushOrderedMs)
    return reply ?? this.#janitor.replies.shift()
  }

  // ── orders ────────────────────────────────────────────────────────────────────────────────────────────────────────

  allocate(slot: number, fd: number, from: number, to: number, address: number, sync: boolean): void {
    const status = sync ? ALLOCATE_FLAG.sync : 0
    this.#order(this.#janitor, SERVICE.janitor, { kind: ORDER.allocate, slot, fd, status, a: from, b: to, c: address })
  }

  /**
   * Hands a flush to the flusher, or keeps it for the end of this pass when waiting for it here costs less than handing it
   * over: the disk is quick, and nothing but durable partitions has been busy, whose appends wait for flushes anyway.
   */
  flush(slot: number, fd: number, offset: number, baseOffset: number): void {
    // The first flush of a file is the flusher's: it flushes the folder as well.
    const isKnown = this.#flushedBase.get(slot) === baseOffset
    const nowMs = systemClock.monotonicMs()
    if (isKnown && this.#flushMs < QUICK_FLUSH_MS && nowMs - this.#othersBusyMs > OTHERS_QUIET_MS) this.#kept.add(slot)
    else this.#handOverFlush(slot, fd, offset, baseOffset)
  }

  #handOverFlush(slot: number, fd: number, offset: number, baseOffset: number): void {
    this.#flushedBase.set(slot, baseOffset)
    this.#flushOrderedMs = systemClock.monotonicMs()
    const order = { kind: ORDER.flush, slot, fd, status: 0, a: offset, b: baseOffset, c: 0 }
    this.#order(this.#flusher, SERVICE.flusher, order)
  }

  seal(slot: number, { fd, finalBytes, address, mappedBytes }: SealOrder): void {
    const order = { kind: ORDER.seal, slot, fd, status: 0, a: finalBytes, b: address, c: mappedBytes }
    this.#order(this.#flusher, SERVICE.flusher, order)
  }

  remove(slot: number, baseOffset: number): void {
    const order = { kind: ORDER.remove, slot, fd: -1, status: 0, a: baseOffset, b: 0, c: 0 }
    this.#order(this.#janitor, SERVICE.janitor, order)
  }

  snapshot(slot: number, directory: string, offset: number, entries: readonly ProducerSnapshotEntry[]): void {
    try {
      stageProducerSnapshot(directory, offset, entries)
    } catch (error) {
      this.#warn(error) // the next start reads more of the log
      return
    }
    const order = { kind: ORDER.snapshot, slot, fd: -1, status: 0, a: offset, b: 0, c: 0 }
    this.#order(this.#flusher, SERVICE.flusher, order)
  }

  dirty(slot: number): void {
    this.#memory.markDirty(slot)
  }

  moved(slot: number): void {
    this.#memory.notifyReaders(slot)
  }

  #order(end: ServiceEnd, thread: number, order: Omit<ServiceMessage, 'slotGeneration'>): void {
    const message = { ...order, slotGeneration: this.#memory.control.get(order.slot, SLOT.slotGeneration) }
    if (this.#backlog.length > 0 || !end.orders.push(message)) this.#backlog.push({ end, message, thread })
    this.#memory.cell(thread).wake()
  }

  /** Pushes what found its ring full. True when any of it went. */
  pushBacklog(): boolean {
    let pushed = 0
    for (const { end, message, thread } of this.#backlog) {
      if (!end.orders.push(message)) break
      this.#memory.cell(thread).wake()
      pushed += 1
    }
    if (pushed > 0) this.#backlog.splice(0, pushed)
    return pushed > 0
  }

  // ── flushes in place ──────────────────────────────────────────────────────────────────────────────────────────────

  get hasKept(): boolean {
    return this.#kept.size > 0
  }

  /** The partitions whose flush was kept; they are the caller's now. */
  takeKept(): number[] {
    const slots = [...this.#kept]
    this.#keptAtMs = systemClock.monotonicMs()
    this.#kept.clear()
    return slots
  }

  /** A flush was done here in the last milliseconds. */
  get isFlushing(): boolean {
    return this.#keptAtMs + FLUSHING_MS > systemClock.monotonicMs()
  }

  /** A flush that began at `startMs` is done. */
  noteFlush(startMs: number): void {
    this.#flushMs += (systemClock.monotonicMs() - startMs - this.#flushMs) / 8
  }

  /** A partition was appended to that does not wait for flushes. */
  noteOther(nowMs: number): void {
    this.#othersBusyMs = nowMs
  }

  forget(slot: number): void {
    this.#flushedBase.delete(slot)
    this.#kept.delete(slot)
  }
}
