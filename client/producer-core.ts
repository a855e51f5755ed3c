/**
 * The machinery of one producer: its slabs, its channels to the writers, the batches that are open and those that are under
 * way. Used by one thread. Nothing in here waits: a full arena or a channel that is down is told to the caller.
 *
 *     open batch ── full, or the caller yields ──▶ sealed ── pushed on the ring ──▶ under way ── completion ──▶ settled
 *
 * Every request under way has a place in the completion ring, so at most CHANNEL_CAPACITY are, per writer; sealed batches
 * beyond that stay here, bounded by the slabs they lie in.
 */
import { type ErrorCode, MillraceError } from '../engine/base/errors.ts'
import { invariant } from '../engine/base/invariant.ts'
import { KIB } from '../engine/base/limits.ts'
import type { ClientLink } from '../engine/broker/client-link.ts'
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import type { Codec } from '../engine/format/compression.ts'
import { BatchEncoder } from '../engine/format/record-batch.ts'
import { CHANNEL_CAPACITY, COMPLETION, ERROR_CODES, ProducerEnd, REQUEST } from '../engine/memory/append-channel.ts'
import { currentCpu } from '../engine/memory/libc.ts'
import { Mapping } from '../engine/memory/mapping.ts'
import { SlabArena } from '../engine/memory/slab-arena.ts'
import { WAKE_CELL_BYTES, WakeCell } from '../engine/memory/wake-cell.ts'

/** Told what became of a part of a batch. */
export interface Delivery {
  /** `count` records of `partition` have offsets from `baseOffset` on; -1 with acks 0. */
  delivered(partition: ClientPartition, baseOffset: number, count: number): void
  failed(error: MillraceError): void
}

interface Part {
  readonly delivery: Delivery
  readonly first: number
  count: number
}

/** A batch from the moment it has slabs until it is settled. */
export class Batch {
  readonly partition: ClientPartition
  readonly id: number
  readonly firstSlab: number
  readonly slabCount: number
  /** Of a batch that was encoded elsewhere: one that is never used. */
  readonly encoder: BatchEncoder
  readonly parts: Part[] = []
  /** Records may still be appended. */
  isOpen = true
  bytes = 0
  flags = 0
  recordCount = 0
  deadlineMs = 0
  /** Delivered or failed. */
  isSettled = false

  constructor(partition: ClientPartition, id: number, firstSlab: number, slabCount: number, encoder: BatchEncoder) {
    this.partition = partition
    this.id = id
    this.firstSlab = firstSlab
    this.slabCount = slabCount
    this.encoder = encoder
  }

  /** The record that was just appended belongs to `delivery`. */
  expect(delivery: Delivery): void {
    const last = this.parts.at(-1)
    if (last?.delivery === delivery) last.count += 1
    else this.parts.push({ delivery, first: this.encoder.recordCount - 1, count: 1 })
  }
}

interface Channel {
  end: ProducerEnd
  underWay: number
  /** Pushed since the writer was last woken. */
  unseenBytes: number
  /** A new channel was asked for, after the writer died. */
  reattaching: boolean
}

export interface CoreOptions {
  readonly slabBytes: number
  readonly slabCount: number
  readonly codec: Codec
  readonly deliveryTimeoutMs: number
}

const NO_ENCODER = new BatchEncoder()
const ID_MAX = 0x7fff_ffff
/** A writer that is parked is woken when this much waits for it, if the caller does not yield before. */
const WAKE_BYTES = 256 * KIB

export class ProducerCore {
  readonly link: ClientLink
  readonly arena: SlabArena
  readonly cell: WakeCell
  readonly options: CoreOptions
  readonly #mapping: Mapping
  readonly #producerId: number
  readonly #channels: Channel[]
  readonly #underWay = new Map<number, Batch>()
  readonly #sealed: Batch[] = []
  readonly #encoders: BatchEncoder[] = []
  #nextId = 1
  #wakeScheduled = false
  /** Neighbouring slabs that the last batch needed. */
  #wantedSlabs = 1
  /** First error of a batch since it was last asked for. */
  #error: MillraceError | undefined

  private constructor(
    link: ClientLink,
    options: CoreOptions,
    mapping: Mapping,
    arena: SlabArena,
    cell: WakeCell,
    grant: { producerId: number; channels: readonly SharedArrayBuffer[] },
  ) {
    this.link = link
    this.options = options
    this.#mapping = mapping
    this.arena = arena
    this.cell = cell
    this.#producerId = grant.producerId
    this.#channels = grant.channels.map(channel => ({
      end: new ProducerEnd(channel),
      underWay: 0,
      unseenBytes: 0,
      reattaching: false,
    }))
  }

  static async attach(link: ClientLink, options: CoreOptions): Promise<ProducerCore> {
    const { slabBytes, slabCount } = options
    const mapping = Mapping.anonymous(slabBytes * slabCount)
    const handle = { address: mapping.address, slabBytes, slabCount, states: new SharedArrayBuffer(slabCount * 4) }
    const cellBuffer = new SharedArrayBuffer(WAKE_CELL_BYTES)
    try {
      const grant = await link.attachProducer({ arena: handle, cell: cellBuffer })
      return new ProducerCore(
        link,
        options,
        mapping,
        new SlabArena(handle),
        new WakeCell(new Int32Array(cellBuffer), 0),
        grant,
      )
    } catch (error) {
      // Else the broker may know the slabs, and unmaps them itself when it finds that this thread is gone.
      if (!link.isUnanswered(error)) mapping.release()
      throw error
    }
  }

  /** Nothing is sealed or under way. */
  get idle(): boolean {
    return this.#underWay.size === 0 && this.#sealed.length === 0
  }

  /** The first error since the last call. */
  takeError(): MillraceError | undefined {
    const error = this.#error
    this.#error = undefined
    return error
  }

  // ── batches ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * True when the slabs are free that the last batch which was opened or refused needed; while some are on their way, more
   * than a few, so that a loop does not wait for each slab by itself.
   */
  get hasRoom(): boolean {
    if (this.#underWay.size > 0 && this.arena.freeCount < this.arena.slabCount >>> 3) return false
    const first = this.arena.take(this.#wantedSlabs, this.#nextId)
    if (first !== -1) this.arena.free(first, this.#wantedSlabs)
    return first !== -1
  }

  /** Batches that are sealed or under way. */
  unsettled(): readonly Batch[] {
    return [...this.#underWay.values(), ...this.#sealed]
  }

  /** Opens a batch that grows to `bytes` at most; undefined when there are no free slabs. */
  open(partition: ClientPartition, bytes: number): Batch | undefined {
    const batch = this.#take(partition, bytes, this.#encoders.pop() ?? new BatchEncoder())
    if (batch === undefined) return undefined
    const from = batch.firstSlab * this.arena.slabBytes
    batch.encoder.begin(this.arena.region, from, from + bytes)
    return batch
  }

  #take(partition: ClientPartition, bytes: number, encoder: BatchEncoder): Batch | undefined {
    const count = bytes <= this.arena.slabBytes ? 1 : this.arena.slabsFor(bytes)
    const id = this.#nextId
    this.#wantedSlabs = count
    const first = this.arena.take(count, id)
    if (first === -1) return undefined
    this.#nextId = id === ID_MAX ? 1 : id + 1
    return new Batch(partition, id, first, count, encoder)
  }

  /** Finishes an open batch and sends it on its way. */
  seal(batch: Batch): void {
    const { encoder } = batch
    batch.isOpen = false
    batch.recordCount = encoder.recordCount
    batch.bytes = encoder.finish({ codec: this.options.codec })
    this.#encoders.push(encoder)
    this.#submit(batch)
  }

  /** Gives an open batch without records back. */
  discard(batch: Batch): void {
    batch.isOpen = false
    this.arena.free(batch.firstSlab, batch.slabCount)
    this.#encoders.push(batch.encoder)
  }

  /** Copies a finished batch into slabs and sends it. False when there are none free. */
  trySubmit(partition: ClientPartition, bytes: Uint8Array, recordCount: number, flags: number): boolean {
    const batch = this.#take(partition, bytes.length, NO_ENCODER)
    if (batch === undefined) return false
    this.arena.region.bytes.set(bytes, batch.firstSlab * this.arena.slabBytes)
    batch.bytes = bytes.length
    batch.recordCount = recordCount
    batch.flags = flags
    this.#submit(batch)
    return true
  }

  #submit(batch: Batch): void {
    batch.deadlineMs = performance.now() + this.options.deliveryTimeoutMs
    if (this.#sealed.length > 0 || !this.#push(batch)) this.#sealed.push(batch)
  }

  #push(batch: Batch): boolean {
    const { partition } = batch
    const channel = this.#channels[partition.writer] as Channel
    if (channel.underWay === CHANNEL_CAPACITY || channel.end.dead) return false
    const { requests } = channel.end
    const at = requests.reserve()
    if (at === -1) return false
    const { words } = requests
    words[at + REQUEST.id] = batch.id
    words[at + REQUEST.slot] = partition.slot
    words[at + REQUEST.slotGeneration] = partition.slotGeneration
    words[at + REQUEST.firstSlab] = batch.firstSlab
    words[at + REQUEST.slabCount] = batch.slabCount
    words[at + REQUEST.batchBytes] = batch.bytes
    words[at + REQUEST.flags] = batch.flags
    requests.publish()
    channel.underWay += 1
    this.#underWay.set(batch.id, batch)
    channel.unseenBytes += batch.bytes
    if (channel.unseenBytes >= WAKE_BYTES) this.#wakeWriter(partition.writer)
    else this.#wakeSoon()
    return true
  }

  /**
   * Waking a parked thread costs more than a batch does, so a loop that never yields wakes the writer once for several;
   * whoever yields, waits or finds no room wakes it at once.
   */
  #wakeSoon(): void {
    if (this.#wakeScheduled) return
    this.#wakeScheduled = true
    queueMicrotask(() => {
      this.#wakeScheduled = false
      this.#wakeWriters()
    })
  }

  #wakeWriters(): void {
    for (let writer = 0; writer < this.#channels.length; writer++) {
      if ((this.#channels[writer] as Channel).unseenBytes > 0) this.#wakeWriter(writer)
    }
  }

  #wakeWriter(writer: number): void {
    const channel = this.#channels[writer] as Channel
    channel.unseenBytes = 0
    channel.end.noteCpu(currentCpu())
    this.link.memory.cell(writer).wake()
  }

  // ── completions ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes completions off the rings, settles their batches, and pushes what was held back. True if there were any. */
  poll(): boolean {
    let settled = false
    this.#wakeWriters()
    const { closed } = this.link.memory // before the rings are looked at: afterwards nothing is answered any more
    for (let writer = 0; writer < this.#channels.length; writer++) {
      const channel = this.#channels[writer] as Channel
      if (this.#takeCompletions(channel)) settled = true
      if (channel.end.dead && !channel.reattaching) {
        this.#takeCompletions(channel)
        this.#writerDied(writer, channel)
        settled = true
      }
    }
    if (closed) return this.#failAll() || settled
    this.#pushSealed()
    this.#wakeWriters() // the caller may be about to block
    return settled
  }

  /** The engine was closed by another thread: what its writers have not answered by then is lost. */
  #failAll(): boolean {
    const batches = this.unsettled()
    this.#underWay.clear()
    this.#sealed.length = 0
    for (const batch of batches) {
      this.arena.freeHeldBy(batch.firstSlab, batch.slabCount, batch.id)
      this.#fail(batch, 'CLOSED')
    }
    return batches.length > 0
  }

  #takeCompletions(channel: Channel): boolean {
    const { completions } = channel.end
    let at = completions.peek()
    if (at === -1) return false
    const { words } = completions
    for (; at !== -1; at = completions.peek()) {
      const id = words[at + COMPLETION.id] as number
      const status = words[at + COMPLETION.status] as number
      const high = words[at + COMPLETION.baseOffsetHigh] as number
      const baseOffset = high * 0x1_0000_0000 + ((words[at + COMPLETION.baseOffsetLow] as number) >>> 0)
      const detail = words[at + COMPLETION.detail] as number
      completions.release()
      channel.underWay -= 1
      const batch = this.#underWay.get(id)
      if (batch === undefined) continue // it timed out before
      this.#underWay.delete(id)
      if (status === 0) deliver(batch, baseOffset)
      else this.#fail(batch, ERROR_CODES[status - 1] as ErrorCode, detail)
    }
    return true
  }

  #fail(batch: Batch, code: ErrorCode, limit = 0): void {
    const { topic, partition } = batch.partition
    const details = limit > 0 ? { topic, partition, maxBytes: limit } : { topic, partition }
    const error = new MillraceError(code, details)
    this.#error ??= error
    batch.isSettled = true
    for (const { delivery } of batch.parts) delivery.failed(error)
  }

  #pushSealed(): void {
    let pushed = 0
    for (const batch of this.#sealed) {
      if (!this.#push(batch)) break
      pushed += 1
    }
    if (pushed > 0) this.#sealed.splice(0, pushed)
  }

  /** Whatever was under way with a writer that died is failed: it may have been appended or not. */
  #writerDied(writer: number, channel: Channel): void {
    for (const batch of [...this.#underWay.values()]) {
      if (batch.partition.writer !== writer) continue
      this.#underWay.delete(batch.id)
      this.arena.freeHeldBy(batch.firstSlab, batch.slabCount, batch.id)
      this.#fail(batch, 'WRITER_CRASHED')
    }
    channel.underWay = 0
    channel.reattaching = true
    this.link.reattachProducer(this.#producerId, writer).then(
      buffer => {
        channel.end = new ProducerEnd(buffer)
        channel.reattaching = false
        this.poll()
        this.cell.wake()
      },
      () => {
        // The writer is not back yet, or the engine is closed: the next poll asks again, and deadlines go on running.
        channel.reattaching = false
      },
    )
  }

  /** Fails what has waited past its deadline. */
  expire(): void {
    const nowMs = performance.now()
    for (const batch of [...this.#underWay.values()]) {
      if (batch.deadlineMs > nowMs) continue
      this.#underWay.delete(batch.id)
      this.#fail(batch, 'TIMED_OUT')
    }
    for (const batch of this.#sealed.filter(({ deadlineMs }) => deadlineMs <= nowMs)) {
      this.#sealed.splice(this.#sealed.indexOf(batch), 1)
      this.arena.free(batch.firstSlab, batch.slabCount)
      this.#fail(batch, 'TIMED_OUT')
    }
  }

  /** Lets the writers go and unmaps the slabs. What is not settled fails with CLOSED. */
  async detach(): Promise<void> {
    for (const batch of this.unsettled()) this.#fail(batch, 'CLOSED')
    this.#underWay.clear()
    this.#sealed.length = 0
    try {
      await this.link.detachProducer(this.#producerId)
    } catch (error) {
      // A writer may still look at the slabs. The broker unmaps them when it finds that this thread is gone.
      if (this.link.isUnanswered(error)) return
      throw error
    }
    this.#mapping.release()
  }
}

function deliver(batch: Batch, baseOffset: number): void {
  invariant(baseOffset >= 0, 'a batch that was appended has an offset')
  batch.isSettled = true
  for (const { delivery, first, count } of batch.parts) delivery.delivered(batch.partition, baseOffset + first, count)
}
