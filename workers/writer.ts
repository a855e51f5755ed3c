/**
 * The writer thread: runs as one long task of the writer pool, owns its share of the partitions, and is alone in changing
 * them. A pass takes requests off the rings of all producers, replies off the rings of the services, and mail; then it
 * wakes whom it answered. With nothing to do it spins for a few microseconds and parks.
 *
 * The loop never waits for a producer or a service: what cannot go on now is kept with its partition and tried again
 * when the reply is there. It ends when the engine stops, after everything is flushed and closed.
 */
import { fdatasyncSync } from 'node:fs'
import type { MessagePort } from 'node:worker_threads'
import { systemClock } from '../engine/base/clock.ts'
import { type ErrorCode, type ErrorData, MillraceError, toErrorData } from '../engine/base/errors.ts'
import { failpoint } from '../engine/base/failpoints.ts'
import { invariant } from '../engine/base/invariant.ts'
import { OPEN_SEGMENTS_MAX, OPEN_SEGMENTS_SHARE } from '../engine/base/limits.ts'
import type { SwapOrder } from '../engine/log/compaction.ts'
import type { DetachedPartition, Mail, ProducerAttachment, WriterStart } from '../engine/log/mail.ts'
import { OpenFiles } from '../engine/log/open-files.ts'
import { type AttachedProducer, freeSlabs, PartitionHost } from '../engine/log/partition-host.ts'
import { PartitionLog } from '../engine/log/partition-log.ts'
import type { PartitionState } from '../engine/log/partition-state.ts'
import { writeProducerSnapshot } from '../engine/log/producer-snapshot-file.ts'
import { applySwap } from '../engine/log/segment-swap.ts'
import type { TopicConfig } from '../engine/log/topic-config.ts'
import { CHANNEL_CAPACITY, ERROR_CODES, REQUEST, WriterEnd } from '../engine/memory/append-channel.ts'
import { SLOT } from '../engine/memory/control-block.ts'
import { EngineMemory, STOP_PHASE } from '../engine/memory/engine-memory.ts'
import { openFilesMax } from '../engine/memory/libc.ts'
import { SegmentEntries } from '../engine/memory/segment-table.ts'
import { ORDER, type ServiceMessage } from '../engine/memory/service-ring.ts'
import { SlabArena } from '../engine/memory/slab-arena.ts'
import { WakeCell } from '../engine/memory/wake-cell.ts'
import { EventLoopTurns } from './event-loop.ts'
import { giveBackRoom } from './idle-room.ts'
import { LATER, Mailbox } from './mailbox.ts'
import { PassClock } from './pass-clock.ts'
import { Placement } from './placement.ts'
import { Removals } from './removals.ts'
import { WriterServices } from './writer-services.ts'

/** Requests of one producer per pass, so that one busy producer does not keep the others waiting. */
const REQUESTS_PER_PASS = 16
/** Passes without work before parking: some 10 µs, about what a wake-up costs. */
const SPIN_PASSES = 200
/** While flushes are done here, senders come back with their next records in less time than two wake-ups take. */
const SPIN_PASSES_FLUSHING = 1_500
const PARK_MS = 1_000
/** While segments are held back from removal, or room is given back. */
const PARK_SHORT_MS = 10
const TICK_MS = 500

class WriterLoop {
  readonly #clock = new PassClock()
  readonly #placement = new Placement()
  readonly #turns = new EventLoopTurns()
  readonly #memory: EngineMemory
  readonly #cell: WakeCell
  readonly #mailbox: Mailbox
  readonly #services: WriterServices
  readonly #entries: SegmentEntries
  readonly #producerIdExpirationMs: number
  readonly #files: OpenFiles
  readonly #hosts = new Map<number, PartitionHost>()
  readonly #producers = new Map<number, AttachedProducer>()
  #producerList: AttachedProducer[] = []
  readonly #detaching = new Map<number, { reply: number | undefined; cut: boolean }>()
  readonly #removals = new Removals(error => this.#warn(error))
  #settle: number | undefined
  /** The engine is closing: what producers of other threads still push is refused, else a busy one would hold it open. */
  #isRefusing = false
  #nextTickMs = 0
  #isReleasing = false

  constructor(start: WriterStart) {
    this.#memory = new EngineMemory(start.memory, false, 'on release')
    this.#cell = this.#memory.cell(start.thread)
    this.#mailbox = new Mailbox(start.port as MessagePort, this.#memory, start.thread)
    this.#services = new WriterServices(start, this.#memory, error => this.#warn(error))
    this.#producerIdExpirationMs = start.producerIdExpirationMs
    this.#entries = new SegmentEntries(this.#memory.segments, start.thread, start.writers)
    const filesMax = Math.min(OPEN_SEGMENTS_MAX, openFilesMax() * OPEN_SEGMENTS_SHARE)
    this.#files = new OpenFiles(Math.max(1, Math.floor(filesMax / start.writers)))
  }

  async run(): Promise<DetachedPartition[]> {
    let idlePasses = 0
    let idlePassesMax = SPIN_PASSES
    for (;;) {
      const worked = this.#pass()
      const nowMs = this.#clock.monotonicMs()
      if (this.#turns.due(nowMs)) await this.#turns.turn(nowMs)
      if (worked) {
        idlePasses = 0
        continue
      }
      if (this.#memory.stopPhase >= STOP_PHASE.writers && this.#settle === undefined && this.#quiet) break
      if (idlePasses === 0) idlePassesMax = this.#services.isFlushing ? SPIN_PASSES_FLUSHING : SPIN_PASSES
      if (++idlePasses < idlePassesMax) continue
      this.#park()
      idlePasses = 0
    }
    const closed = [...this.#hosts.keys()].map(slot => this.#close(slot, true))
    this.#mailbox.close()
    this.#memory.release()
    return closed
  }

  /** Does what there is to do; false when there was nothing. */
  #pass(): boolean {
    this.#clock.refresh()
    let worked = this.#mailbox.read(mail => this.#handle(mail))
    if (this.#takeReplies()) worked = true
    if (this.#takeRequests()) worked = true
    if (this.#services.pushBacklog()) worked = true
    if (this.#flushKept()) worked = true
    this.#tick()
    if (this.#removals.waiting) this.#removals.retry(this.#clock, slot => this.#removable(slot))
    if (this.#detaching.size > 0) this.#finishDetaching()
    if (this.#settle !== undefined) this.#trySettle()
    for (const producer of this.#producerList) {
      if (!producer.answered) continue
      producer.answered = false
      producer.cell.wake()
    }
    return worked
  }

  #park(): void {
    this.#cell.announce()
    if (this.#hasWork()) this.#cell.cancel()
    else this.#cell.wait(this.#removals.waiting || this.#isReleasing ? PARK_SHORT_MS : PARK_MS)
  }

  #hasWork(): boolean {
    if (this.#mailbox.waiting || this.#services.repliesWaiting) return true
    return !this.#isRefusing && this.#producerList.some(producer => producer.channel.requests.peek() !== -1)
  }

  /** Nothing is under way in any partition. */
  get #quiet(): boolean {
    if (this.#services.hasBacklog || this.#hasWork()) return false
    for (const host of this.#hosts.values()) if (!host.idle) return false
    return true
  }

  // ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #takeRequests(): boolean {
    let busy = 0
    let pressing: AttachedProducer | undefined
    for (const producer of this.#producerList) {
      const taken = this.#takeRequestsOf(producer, REQUESTS_PER_PASS)
      if (taken > 0) busy += 1
      if (taken === REQUESTS_PER_PASS) pressing = producer
    }
    if (busy === 1 && pressing !== undefined)
      this.#placement.keepApart(pressing.channel.producerCpu, this.#clock.monotonicMs())
    return busy > 0 && !this.#isRefusing
  }

  /** Takes requests off one ring, `most` at most; returns how many. */
  #takeRequestsOf(producer: AttachedProducer, most: number): number {
    const { requests } = producer.channel
    let count = 0
    for (; count < most; count++) {
      const at = requests.peek()
      if (at === -1) break
      this.#takeRequest(producer, requests.words, at)
      requests.release()
    }
    return count
  }

  #takeRequest(producer: AttachedProducer, words: Int32Array, at: number): void {
    const slot = words[at + REQUEST.slot] as number
    const id = words[at + REQUEST.id] as number
    const firstSlab = words[at + REQUEST.firstSlab] as number
    const slabCount = words[at + REQUEST.slabCount] as number
    const flags = words[at + REQUEST.flags] as number
    if (this.#isRefusing) {
      freeSlabs(producer, firstSlab, slabCount, flags)
      PartitionHost.refuse(producer, id, 'CLOSED')
      return
    }
    const host = this.#hosts.get(slot)
    if (host === undefined || (host.log.slotGeneration | 0) !== words[at + REQUEST.slotGeneration]) {
      freeSlabs(producer, firstSlab, slabCount, flags)
      this.#refuseAbsent(producer, id, slot, words[at + REQUEST.slotGeneration] as number)
      return
    }
    const bytes = words[at + REQUEST.batchBytes] as number
    const error = host.request(producer, id, firstSlab, slabCount, words[at + REQUEST.at] as number, bytes, flags)
    if (error !== undefined) this.#stop(host, error)
    if (!host.log.config.durable) this.#services.noteOther(this.#clock.monotonicMs())
  }

  /** The partition is gone, or being repaired: then what stopped it is the answer. */
  #refuseAbsent(producer: AttachedProducer, id: number, slot: number, slotGeneration: number): void {
    const isHere = (this.#memory.control.get(slot, SLOT.slotGeneration) | 0) === slotGeneration
    const failure = isHere ? this.#failureOf(slot) : undefined
    PartitionHost.refuse(producer, id, failure ?? 'UNKNOWN_TOPIC_OR_PARTITION')
  }

  /** Why what is in a slot takes no records, as the broker or its writer has said. */
  #failureOf(slot: number): ErrorCode | undefined {
    return ERROR_CODES[this.#memory.control.get(slot, SLOT.failure) - 1]
  }

  /** A bug or a failed flush stops one partition; the others go on. */
  #stop(host: PartitionHost, error: unknown): void {
    const data = toErrorData(error)
    host.fail(data.code)
    const { slot, slotGeneration } = host.log
    this.#mailbox.post({ kind: 'partition-failed', slot, slotGeneration, error: data })
  }

  // ── services ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Flushes what was kept, once nothing else is waiting. */
  #flushKept(): boolean {
    if (!this.#services.hasKept || this.#hasWork()) return false
    for (const slot of this.#services.takeKept()) {
      const host = this.#hosts.get(slot)
      if (host === undefined || host.failure !== undefined) continue
      const due = host.log.flushHere()
      if (due !== undefined) this.#flushNow(host, due.fd, due.offset)
    }
    return true
  }

  #flushNow(host: PartitionHost, fd: number, target: number): void {
    const { log } = host
    const startMs = systemClock.monotonicMs()
    try {
      failpoint('flush-before-sync')
      fdatasyncSync(fd)
      failpoint('flush-after-sync')
    } catch (error) {
      log.flushed(log.flushedOffset, false)
      this.#stop(host, new MillraceError('FLUSH_FAILED', { flushedOffset: log.flushedOffset }, error))
      return
    }
    this.#services.noteFlush(startMs)
    log.flushed(target, true)
    host.acknowledge()
  }

  #takeReplies(): boolean {
    let worked = false
    for (let reply = this.#services.shiftReply(); reply !== undefined; reply = this.#services.shiftReply()) {
      worked = true
      const host = this.#hosts.get(reply.slot)
      invariant(host !== undefined, 'a partition stays until its orders are answered')
      this.#takeReply(host, reply)
    }
    return worked
  }

  #takeReply(host: PartitionHost, reply: ServiceMessage): void {
    const code = reply.status === 0 ? undefined : ERROR_CODES[reply.status - 1]
    const ok = code === undefined
    const { log } = host
    if (reply.kind === ORDER.allocate) {
      log.allocated(reply.a, reply.c === 1, ok)
      if (code === 'DISK_FULL' || code === 'IO_ERROR') host.refuseWaiting(code)
    } else if (reply.kind === ORDER.flush) log.flushed(ok ? reply.a : log.flushedOffset, ok)
    else log.sealed(ok)
    if (code === 'FLUSH_FAILED' && host.failure === undefined) {
      this.#stop(host, new MillraceError('FLUSH_FAILED', { flushedOffset: log.flushedOffset }))
      return
    }
    host.acknowledge()
    const error = host.retry()
    if (error !== undefined) this.#stop(host, error)
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #tick(): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#nextTickMs) return
    this.#nextTickMs = nowMs + TICK_MS
    this.#placement.relax(nowMs)
    for (const { log, failure } of this.#hosts.values()) if (failure === undefined && log.flushOverdue()) log.flush()
    this.#isReleasing = giveBackRoom(this.#hosts.values())
    if (this.#isReleasing) this.#nextTickMs = nowMs + PARK_SHORT_MS
  }

  // ── mail ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #handle(mail: Mail): unknown {
    switch (mail.kind) {
      case 'adopt':
        return mail.states.map(state => this.#adopt(state))
      case 'attach':
        return this.#attach(mail.attachment)
      case 'detach-producer':
        return this.#detachProducer(mail.producerId)
      case 'configure':
        return this.#configure(this.#host(mail.slot), mail.config)
      case 'retention':
        return this.#retention(mail.nowMs)
      case 'swap-segments':
        return this.#swapSegments(this.#host(mail.slot), mail.order, mail.cleanedOffset)
      case 'delete-records':
        return this.#host(mail.slot).log.deleteRecordsBefore(mail.offset)
      case 'producers':
        return this.#host(mail.slot).log.producers.entries()
      case 'begin-epoch':
        return this.#host(mail.slot).log.beginEpoch(mail.leaderEpoch)
      case 'replicate':
        for (const slot of mail.slots) this.#hosts.get(slot)?.replicate()
        return
      case 'last-epoch':
        return this.#host(mail.slot).log.resumeAfter(mail.leaderEpoch)
      case 'remove-below-start':
        return this.#removeBelowStart(mail.slot)
      case 'detach':
        this.#host(mail.slot)
        this.#detaching.set(mail.slot, { reply: mail.reply, cut: mail.cut })
        return LATER
      case 'settle':
        this.#settle = mail.reply
        for (const producer of this.#producerList) this.#takeRequestsOf(producer, CHANNEL_CAPACITY) // all that are there
        this.#isRefusing = true
        for (const host of this.#hosts.values()) host.refuseUnacknowledged('NOT_LEADER_OR_FOLLOWER')
        return LATER
      case 'abandon':
        throw new MillraceError('WRITER_CRASHED', { service: mail.service })
      default:
        throw new MillraceError('INVALID_ARGUMENT', { mail: mail.kind })
    }
  }

  #host(slot: number): PartitionHost {
    const host = this.#hosts.get(slot)
    if (host === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { slot })
    return host
  }

  #configure(host: PartitionHost, config: TopicConfig): undefined {
    if (host.failure !== undefined) host.log.config = config
    else host.log.configure(config)
    host.acknowledge() // what waited for a flush that is not asked for any more
  }

  #adopt(state: PartitionState): ErrorData | undefined {
    invariant(!this.#hosts.has(state.slot), 'a slot holds one partition')
    const { control, segments } = this.#memory
    const own = { entries: this.#entries, services: this.#services, files: this.#files, clock: this.#clock }
    const shared = { control, table: segments, ...own, producerIdExpirationMs: this.#producerIdExpirationMs }
    try {
      this.#hosts.set(state.slot, new PartitionHost(new PartitionLog(state, shared), this.#memory))
      return undefined
    } catch (error) {
      if (error instanceof MillraceError) return toErrorData(error)
      throw error
    }
  }

  #attach(attachment: ProducerAttachment): undefined {
    this.#producers.set(attachment.producerId, {
      id: attachment.producerId,
      channel: new WriterEnd(attachment.channel),
      arena: new SlabArena(attachment.arena),
      cell: new WakeCell(new Int32Array(attachment.cell), 0),
      answered: false,
    })
    this.#producerList = [...this.#producers.values()]
  }

  /** The producer's thread pushes nothing any more; afterwards this thread does not look at its memory again. */
  #detachProducer(producerId: number): undefined {
    const producer = this.#producers.get(producerId)
    if (producer === undefined) return
    while (this.#takeRequestsOf(producer, CHANNEL_CAPACITY) > 0) {
      // what was pushed before the producer went is appended
    }
    for (const host of this.#hosts.values()) host.forget(producer)
    this.#producers.delete(producerId)
    this.#producerList = [...this.#producers.values()]
  }

  #retention(nowMs: number): number {
    let removed = 0
    for (const host of this.#hosts.values()) {
      if (this.#removable(host.log.slot) !== undefined) removed += this.#removals.apply(host, nowMs)
      host.log.producers.expire(this.#clock.monotonicMs())
    }
    return removed
  }

  /** Also a failure half-way leaves files from which the next recovery completes the swap. */
  #swapSegments(host: PartitionHost, order: SwapOrder, cleanedOffset: number): boolean {
    const { log, failure } = host
    if (failure !== undefined) return false
    try {
      const { replaced, replacedBytes, segment } = order
      return log.segments.replace(replaced, replacedBytes, segment, () => {
        applySwap(log.directory, order)
        this.#memory.control.set(log.slot, SLOT.cleanedOffset, cleanedOffset)
      })
    } catch (error) {
      this.#stop(host, error)
      throw error
    }
  }

  #removeBelowStart(slot: number): undefined {
    const host = this.#removable(slot)
    if (host !== undefined) this.#removals.removeBelowStart(host)
  }

  /** The partition in a slot, undefined when it has stopped or is about to go. */
  #removable(slot: number): PartitionHost | undefined {
    const host = this.#hosts.get(slot)
    return host?.failure === undefined && !this.#detaching.has(slot) ? host : undefined
  }

  #warn(error: unknown): void {
    this.#mailbox.post({ kind: 'warning', error: toErrorData(error, 'IO_ERROR') })
  }

  #finishDetaching(): void {
    for (const [slot, { reply, cut }] of this.#detaching) {
      const host = this.#host(slot)
      host.refuseWaiting(this.#failureOf(slot) ?? 'UNKNOWN_TOPIC_OR_PARTITION')
      host.refuseUnacknowledged('NOT_LEADER_OR_FOLLOWER')
      if (!host.idle) continue
      this.#detaching.delete(slot)
      const described = this.#close(slot, cut)
      if (reply !== undefined) this.#mailbox.answer(reply, described)
    }
  }

  #close(slot: number, cut: boolean): DetachedPartition {
    const { log, failure } = this.#host(slot)
    const described: DetachedPartition = {
      slot,
      slotGeneration: log.slotGeneration,
      segments: log.describe(),
      logStartOffset: log.logStartOffset,
      logEndOffset: log.logEndOffset,
      flushedOffset: log.flushedOffset,
      leaderEpoch: log.leaderEpoch,
      producers: log.producers.count,
    }
    const isSound = cut && failure === undefined
    if (isSound) this.#writeSnapshot(log)
    log.close(isSound)
    this.#hosts.delete(slot)
    this.#services.forget(slot)
    return described
  }

  /** A partition that had no producers needs none, so that a start with many partitions stays cheap. */
  #writeSnapshot({ directory, logEndOffset, producers }: PartitionLog): void {
    if (producers.count === 0) return
    try {
      writeProducerSnapshot(directory, logEndOffset, producers.entries())
    } catch (error) {
      this.#warn(error) // the next start finds it missing and reads the log
    }
  }

  /** Everything that was pushed is appended and flushed; then the answer goes out. */
  #trySettle(): void {
    if (!this.#quiet) return
    let flushing = 0
    for (const { log, failure } of this.#hosts.values()) {
      if (failure !== undefined) continue
      log.flush()
      // Each needs a descriptor until it is answered. The others follow once these are.
      if (log.busy && ++flushing === this.#files.limit) return
    }
    if (flushing > 0) return
    const reply = this.#settle as number
    this.#settle = undefined
    this.#mailbox.answer(reply, undefined)
  }
}

/** Piscina's entry point: runs until the engine stops and returns how each partition stood then. */
export default function runWriter(start: WriterStart): Promise<DetachedPartition[]> {
  return new WriterLoop(start).run()
}
