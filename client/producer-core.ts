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
import { type AppendHandler, AppendPort } from '../engine/broker/append-port.ts'
import type { ClientLink } from '../engine/broker/client-link.ts'
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import type { Codec } from '../engine/format/compression.ts'
import { BatchEncoder, type BatchOptions } from '../engine/format/record-batch.ts'
import { hasProducer } from '../engine/log/producer-state.ts'
import { ERROR_CODES, REQUEST_FLAG, statusOf } from '../engine/memory/append-channel.ts'
import type { SlabArena } from '../engine/memory/slab-arena.ts'
import type { WakeCell } from '../engine/memory/wake-cell.ts'
import { Batch, deliver } from './batch.ts'
import { BatchBudget, type BudgetOptions } from './batch-budget.ts'
import { Idempotence, type Place, putBack, RETRY_MS } from './idempotence.ts'

export type { Batch, Delivery } from './batch.ts'

export interface CoreOptions extends BudgetOptions {
  readonly slabCount: number
  readonly codec: Codec
  readonly deliveryTimeoutMs: number
  readonly idempotent: boolean
  /** Of a cluster: a batch is answered once the leader has it. */
  readonly isLeaderOnly: boolean
}

const NO_ENCODER = new BatchEncoder()
const ID_MAX = 0x7fff_ffff
export class ProducerCore implements AppendHandler {
  readonly link: ClientLink
  readonly arena: SlabArena
  readonly cell: WakeCell
  readonly options: CoreOptions
  readonly #budget: BatchBudget
  readonly #port: AppendPort
  readonly #idempotence: Idempotence | undefined
  #isRetryDue = false
  readonly #underWay = new Map<number, Batch>()
  readonly #sealed: Batch[] = []
  readonly #encoders: BatchEncoder[] = []
  #nextId = 1
  /** Neighbouring slabs that the last batch needed. */
  #wantedSlabs = 1
  /** First error of a batch since it was last asked for. */
  #error: MillraceError | undefined

  private constructor(link: ClientLink, options: CoreOptions, port: AppendPort, idempotence: Idempotence | undefined) {
    this.#idempotence = idempotence
    this.link = link
    this.options = options
    this.#budget = new BatchBudget(options)
    this.#port = port
    this.arena = port.arena
    this.cell = port.cell
  }

  static async attach(link: ClientLink, options: CoreOptions): Promise<ProducerCore> {
    const idempotence = options.idempotent ? new Idempotence(await link.allocateProducerId()) : undefined
    const port = await AppendPort.attach(link, options.slabBytes, options.slabCount)
    return new ProducerCore(link, options, port, idempotence)
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
   * True when the slabs are free that the last batch which was opened or refused needed; while some are on their way, as many
   * as the batches will take that are opened next, so that a loop does not wait for each by itself.
   */
  get hasRoom(): boolean {
    const { resumeSlabs } = this.#budget
    if (this.#underWay.size > 0 && this.arena.freeCount(resumeSlabs) < resumeSlabs) return false
    const first = this.arena.take(this.#wantedSlabs, this.#nextId)
    if (first !== -1) this.arena.free(first, this.#wantedSlabs)
    return first !== -1
  }

  /** Batches that are sealed or under way. */
  unsettled(): readonly Batch[] {
    return [...this.#underWay.values(), ...this.#sealed]
  }

  /** Bytes that a batch should be opened with. */
  get shareBytes(): number {
    return this.#budget.shareBytes
  }

  /** Opens a batch that grows to `bytes` at most; undefined when there are no free slabs. */
  open(partition: ClientPartition, bytes: number): Batch | undefined {
    const encoder = this.#encoders.pop() ?? new BatchEncoder()
    const batch = this.#take(partition, bytes, encoder)
    if (batch === undefined) {
      this.#encoders.push(encoder)
      if (this.idle) this.#budget.refused()
      return undefined
    }
    this.#budget.opened()
    const from = batch.firstSlab * this.arena.slabBytes
    batch.encoder.begin(this.arena.region, from, from + bytes)
    return batch
  }

  #take(partition: ClientPartition, bytes: number, encoder: BatchEncoder): Batch | undefined {
    const count = this.arena.slabsFor(bytes)
    this.arena.limit = Math.max(this.#budget.limitSlabs, count)
    const id = this.#nextId
    this.#wantedSlabs = count
    const first = this.arena.take(count, id)
    if (first === -1) return undefined
    this.#nextId = id === ID_MAX ? 1 : id + 1
    const batch = new Batch(partition, id, first, count, encoder)
    batch.at = first * this.arena.slabBytes
    return batch
  }

  /** Finishes an open batch and sends it on its way. */
  seal(batch: Batch): void {
    const { encoder } = batch
    batch.isOpen = false
    this.#budget.closed()
    batch.recordCount = encoder.recordCount
    batch.bytes = encoder.finish({ codec: this.options.codec, ...this.#number(batch) })
    this.#encoders.push(encoder)
    this.#submit(batch)
  }

  /** Gives a batch of an idempotent producer its place. */
  #number(batch: Batch): BatchOptions | undefined {
    if (this.#idempotence === undefined) return undefined
    const numbered = this.#idempotence.number(this.#idempotence.lane(batch.partition), batch.recordCount)
    batch.place = numbered.place
    batch.flags |= REQUEST_FLAG.keepSlabs
    return numbered.options
  }

  /** Gives an open batch without records back. */
  discard(batch: Batch): void {
    batch.isOpen = false
    this.#budget.closed()
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
    // One from elsewhere, which is still to be verified, or which has a producer of its own, is sent once and as it is.
    if (flags === 0 && !hasProducer(this.arena.region.view, batch.at)) {
      const options = this.#number(batch)
      if (options !== undefined) this.#idempotence?.stamp(this.arena.region, batch.at, options)
    }
    this.#submit(batch)
    return true
  }

  #submit(batch: Batch): void {
    batch.deadlineMs = performance.now() + this.options.deliveryTimeoutMs
    if (this.options.isLeaderOnly) batch.flags |= REQUEST_FLAG.leaderOnly
    if (this.#sealed.length > 0 || !this.#push(batch)) this.#sealed.push(batch)
  }

  #push(batch: Batch): boolean {
    const lane = batch.place?.lane
    if (lane !== undefined && !lane.mayPush(performance.now())) return false
    if (!this.#port.push(batch.partition, batch)) return false
    if (lane !== undefined) lane.underWay += 1
    this.#underWay.set(batch.id, batch)
    return true
  }

  // ── completions ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes completions off the rings, settles their batches, and pushes what was held back. True if there were any. */
  poll(): boolean {
    this.#port.wakeWriters()
    const { closed } = this.link.memory // before the rings are looked at: afterwards nothing is answered any more
    const settled = this.#port.poll(this)
    if (closed) return this.#failAll() || settled
    this.#pushSealed()
    this.#port.wakeWriters() // the caller may be about to block
    return settled
  }

  /** The engine was closed by another thread: what its writers have not answered by then is lost. */
  #failAll(): boolean {
    const batches = this.unsettled()
    this.#underWay.clear()
    this.#sealed.length = 0
    for (const batch of batches) {
      this.arena.freeHeldBy(batch.firstSlab, batch.slabCount, batch.id)
      if (!batch.isSettled) this.#fail(batch, 'CLOSED')
    }
    return batches.length > 0
  }

  /** @internal For the port. */
  completed(id: number, status: number, baseOffset: number, detail: number): void {
    const batch = this.#underWay.get(id)
    if (batch === undefined) return // it timed out before
    this.#underWay.delete(id)
    if (batch.place !== undefined) this.#answered(batch, batch.place, status, baseOffset, detail)
    else if (status === 0) deliver(batch, baseOffset)
    else this.#fail(batch, ERROR_CODES[status - 1] as ErrorCode, detail)
  }

  /** A batch of an idempotent producer was answered. */
  #answered(batch: Batch, place: Place, status: number, baseOffset: number, detail: number): void {
    const { lane } = place
    lane.underWay -= 1
    const code = ERROR_CODES[status - 1]
    if (code === undefined) {
      this.#freeSlabs(batch)
      if (!batch.isSettled) deliver(batch, baseOffset)
    } else if (this.#refused(place, code) === 'give up' || batch.isSettled) {
      lane.isBroken = true // also when it timed out before and was to be sent again: it is not
      this.#freeSlabs(batch)
      if (!batch.isSettled) this.#fail(batch, code, detail)
    } else putBack(this.#sealed, batch)
    this.#mend(lane)
  }

  #refused(place: Place, code: ErrorCode): 'again' | 'give up' {
    const fate = (this.#idempotence as Idempotence).refused(place, code, performance.now())
    if (fate === 'again' && !this.#isRetryDue) {
      this.#isRetryDue = true
      setTimeout(() => {
        this.#isRetryDue = false
        this.poll()
        this.cell.wake()
      }, RETRY_MS)
    }
    return fate
  }

  /** What waits behind a batch that was given up is numbered anew as soon as nothing else is under way. */
  #mend(lane: Place['lane']): void {
    if (this.#idempotence?.mend(lane, this.arena.region, this.#sealed) !== false) return
    for (const batch of this.#sealed.filter(({ place }) => place?.lane === lane)) {
      this.#giveUp(batch, 'INVALID_PRODUCER_EPOCH') // there is no higher one
    }
  }

  /** Fails a batch that waits. */
  #giveUp(batch: Batch, code: ErrorCode): void {
    this.#sealed.splice(this.#sealed.indexOf(batch), 1)
    this.#freeSlabs(batch)
    this.#fail(batch, code)
    if (batch.place !== undefined) batch.place.lane.isBroken = true
  }

  #freeSlabs({ firstSlab, slabCount }: Batch): void {
    this.arena.free(firstSlab, slabCount)
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
    if (this.#idempotence !== undefined) {
      this.#pushLanes()
      return
    }
    let pushed = 0
    for (const batch of this.#sealed) {
      if (!this.#push(batch)) break
      pushed += 1
    }
    if (pushed > 0) this.#sealed.splice(0, pushed)
  }

  /** A lane that has to wait does not hold the others up. */
  #pushLanes(): void {
    const held = new Set<unknown>()
    const waiting = this.#sealed.splice(0)
    for (const batch of waiting) {
      const lane = batch.place?.lane ?? batch.partition
      if (!held.has(lane) && this.#push(batch)) continue
      held.add(lane)
      this.#sealed.push(batch)
    }
  }

  /** @internal What was under way there is failed, or sent again by an idempotent producer. */
  writerDied(writer: number): void {
    for (const batch of [...this.#underWay.values()]) {
      if (batch.partition.writer !== writer) continue
      this.#underWay.delete(batch.id)
      if (batch.place !== undefined) {
        this.#answered(batch, batch.place, statusOf('WRITER_CRASHED'), -1, 0)
        continue
      }
      this.arena.freeHeldBy(batch.firstSlab, batch.slabCount, batch.id)
      this.#fail(batch, 'WRITER_CRASHED')
    }
  }

  /** @internal */
  reattached(): void {
    this.poll()
    this.cell.wake()
  }

  /** Fails what has waited past its deadline. */
  expire(): void {
    const nowMs = performance.now()
    for (const batch of [...this.#underWay.values()]) {
      if (batch.deadlineMs > nowMs || batch.isSettled) continue
      if (batch.place === undefined) this.#underWay.delete(batch.id) // else its slabs are ours until it is answered
      this.#fail(batch, 'TIMED_OUT')
    }
    for (const batch of this.#sealed.filter(({ deadlineMs }) => deadlineMs <= nowMs)) {
      this.#giveUp(batch, 'TIMED_OUT')
      if (batch.place !== undefined) this.#mend(batch.place.lane)
    }
  }

  /** Lets the writers go and unmaps the slabs. What is not settled fails with CLOSED. */
  async detach(): Promise<void> {
    for (const batch of this.unsettled()) if (!batch.isSettled) this.#fail(batch, 'CLOSED')
    this.#underWay.clear()
    this.#sealed.length = 0
    await this.#port.detach()
  }
}
