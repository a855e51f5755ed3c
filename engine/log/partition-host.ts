/**
 * A partition in the hands of its writer: the log, the requests that wait for room, and the acknowledgements that wait
 * for a flush. Owned by the writer's thread.
 *
 * Order holds: while one request of the partition waits, every later one waits behind it. A partition without room
 * parks alone; the rings of its producers are read on. What waits is bounded by the slabs of the producers.
 */
import { type ErrorCode, MillraceError, toErrorData } from '../base/errors.ts'
import { RecordCursor } from '../format/record.ts'
import {
  BATCH,
  baseOffsetOf,
  batchBytes,
  checkBatch,
  isControlBatch,
  isTransactional,
  recordCountOf,
} from '../format/record-batch.ts'
import { type Region, readI64, writeI64 } from '../format/region.ts'
import { COMPLETION, REPLICA_PREFIX_BYTES, REQUEST_FLAG, statusOf, type WriterEnd } from '../memory/append-channel.ts'
import { type ControlBlock, ROLE, SLOT } from '../memory/control-block.ts'
import { bootTimeMs } from '../memory/libc.ts'
import type { SlabArena } from '../memory/slab-arena.ts'
import type { WakeCell } from '../memory/wake-cell.ts'
import type { PartitionLog } from './partition-log.ts'
import { hasProducer, refuseTransactions } from './producer-state.ts'

/** One producer as a writer sees it. */
export interface AttachedProducer {
  readonly id: number
  readonly channel: WriterEnd
  readonly arena: SlabArena
  readonly cell: WakeCell
  /** Completions were pushed since the producer was last woken. */
  answered: boolean
}

interface WaitingRequest {
  readonly producer: AttachedProducer
  readonly id: number
  readonly firstSlab: number
  readonly slabCount: number
  readonly at: number
  readonly bytes: number
  readonly flags: number
}

/** Of the engine's memory: where the broker's thread says what a replica may do. */
export interface HostMemory {
  readonly control: ControlBlock
  readonly leaseEndMs: number
}

interface Unacknowledged {
  readonly producer: AttachedProducer
  readonly id: number
  readonly baseOffset: number
  readonly endOffset: number
}

/** Pushes the one completion of a request; the ring has room, because the producer keeps a place for each request. */
export function complete(producer: AttachedProducer, id: number, status: number, baseOffset: number, detail = 0): void {
  const { completions } = producer.channel
  const at = completions.reserve()
  if (at === -1) throw new Error('a completion slot is reserved with each request')
  const { words } = completions
  words[at + COMPLETION.id] = id
  words[at + COMPLETION.status] = status
  words[at + COMPLETION.baseOffsetLow] = baseOffset | 0
  words[at + COMPLETION.baseOffsetHigh] = Math.floor(baseOffset / 0x1_0000_0000)
  words[at + COMPLETION.detail] = detail
  completions.publish()
  producer.answered = true
}

/** Gives the slabs of a request back, unless its producer keeps them. */
export function freeSlabs({ arena }: AttachedProducer, firstSlab: number, slabCount: number, flags: number): void {
  if ((flags & REQUEST_FLAG.keepSlabs) === 0) arena.free(firstSlab, slabCount)
}

/** One for the thread: it is used within a call. */
const cursor = new RecordCursor()

export class PartitionHost {
  readonly log: PartitionLog
  /** Why the partition stopped; undefined while it runs. */
  failure: ErrorCode | undefined
  readonly #waiting: WaitingRequest[] = []
  readonly #unacknowledged: Unacknowledged[] = []
  readonly #memory: HostMemory

  constructor(log: PartitionLog, memory: HostMemory) {
    this.log = log
    this.#memory = memory
  }

  get role(): number {
    return this.#memory.control.get(this.log.slot, SLOT.role)
  }

  get idle(): boolean {
    return this.#waiting.length === 0 && this.#unacknowledged.length === 0 && !this.log.busy
  }

  /** Answers a request that no partition takes. */
  static refuse(producer: AttachedProducer, id: number, code: ErrorCode): void {
    complete(producer, id, statusOf(code), -1)
  }

  /** Takes one request off a ring. Returns the error that stopped the partition, if this request did. */
  request(
    producer: AttachedProducer,
    id: number,
    firstSlab: number,
    slabCount: number,
    at: number,
    bytes: number,
    flags: number,
  ): unknown {
    if (this.#waiting.length > 0) {
      this.#waiting.push({ producer, id, firstSlab, slabCount, at, bytes, flags })
      return undefined
    }
    if ((flags & REQUEST_FLAG.replica) !== 0)
      return this.#replicate({ producer, id, firstSlab, slabCount, at, bytes, flags })
    const { arena } = producer
    const { role } = this
    let baseOffset = -1
    let endOffset = -1
    try {
      if (this.failure !== undefined) throw new MillraceError(this.failure)
      if (role !== ROLE.alone) this.#demandLeader(role, flags)
      if ((flags & REQUEST_FLAG.checkCrc) !== 0) this.#check(arena, at, bytes)
      if (hasProducer(arena.region.view, at)) baseOffset = this.#repeated(arena.region, at)
      if (baseOffset === -1) {
        if (this.log.config.compacts) this.#demandKeys(arena.region, at)
        if (this.log.append(arena.region, at, bytes) === 'parked') {
          this.#waiting.push({ producer, id, firstSlab, slabCount, at, bytes, flags: flags & ~REQUEST_FLAG.checkCrc })
          return undefined
        }
        baseOffset = this.log.lastBaseOffset
      }
      endOffset = baseOffset + arena.region.view.getInt32(at + BATCH.lastOffsetDeltaAt) + 1
    } catch (error) {
      freeSlabs(producer, firstSlab, slabCount, flags)
      return this.#refuse(producer, id, error)
    }
    freeSlabs(producer, firstSlab, slabCount, flags)
    this.#appended({ producer, id, baseOffset, endOffset }, role, flags)
    return undefined
  }

  /**
   * The request's records are in the log. They are acknowledged once the high watermark covers them; that the leader has them is enough where that is
   * asked for and nothing has to be flushed.
   */
  #appended(item: Unacknowledged, role: number, flags: number): void {
    const { durable } = this.log.config
    const isEnough = !durable && (role === ROLE.alone || (flags & REQUEST_FLAG.leaderOnly) !== 0)
    const waits = item.endOffset > this.log.highWatermark || this.#unacknowledged.length > 0
    if (!isEnough && waits) this.#unacknowledged.push(item)
    else this.#answer(item, this.#acknowledgement(isEnough))
  }

  /** What a record that the high watermark covers is answered with. A leader has to be sure that nobody else leads by now. */
  #acknowledgement(isLeaderOnly: boolean): ErrorCode | undefined {
    const { role } = this
    if (role === ROLE.alone) return undefined
    if (role !== ROLE.leader || bootTimeMs() >= this.#memory.leaseEndMs) return 'NOT_LEADER_OR_FOLLOWER'
    return !isLeaderOnly && this.#isShort ? 'NOT_ENOUGH_REPLICAS_AFTER_APPEND' : undefined
  }

  #answer({ producer, id, baseOffset }: Unacknowledged, code: ErrorCode | undefined): void {
    if (code === undefined) complete(producer, id, 0, baseOffset)
    else complete(producer, id, statusOf(code), -1)
  }

  get #isShort(): boolean {
    return this.#memory.control.get(this.log.slot, SLOT.tooFewInSync) === 1
  }

  /** @throws NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS */
  #demandLeader(role: number, flags: number): void {
    if (role !== ROLE.leader || bootTimeMs() >= this.#memory.leaseEndMs)
      throw new MillraceError('NOT_LEADER_OR_FOLLOWER')
    if ((flags & REQUEST_FLAG.leaderOnly) === 0 && this.#isShort) throw new MillraceError('NOT_ENOUGH_REPLICAS')
  }

  /**
   * Stores batches of the leader as they are; what the log has already is passed over. In front of them stands where they go on, so that nothing is
   * left out after a request that failed. The answer names the log end offset.
   */
  #replicate(item: WaitingRequest): unknown {
    const { producer, id, firstSlab, slabCount, flags } = item
    const { arena } = producer
    const { region } = arena
    const end = item.at + item.bytes
    let at = item.at + REPLICA_PREFIX_BYTES
    try {
      if (this.failure !== undefined) throw new MillraceError(this.failure)
      if (this.role !== ROLE.follower) throw new MillraceError('NOT_LEADER_OR_FOLLOWER')
      const from = readI64(region.view, item.at)
      if (this.log.logEndOffset < from) throw new MillraceError('CORRUPT_BATCH', { reason: 'gap', from })
      while (at < end) {
        const fault = checkBatch(region, at, end)
        if (fault !== undefined) throw new MillraceError('CORRUPT_BATCH', { reason: fault })
        const bytes = batchBytes(region.view, at)
        const isKnown = baseOffsetOf(region.view, at) < this.log.logEndOffset
        if (!isKnown && this.log.append(region, at, bytes, true) === 'parked') {
          const left = at - REPLICA_PREFIX_BYTES // what stood there is stored
          writeI64(region.view, left, this.log.logEndOffset)
          this.#waiting.push({ ...item, at: left, bytes: end - left })
          return undefined
        }
        at += bytes
      }
    } catch (error) {
      freeSlabs(producer, firstSlab, slabCount, flags)
      return this.#refuse(producer, id, error)
    } finally {
      this.log.replicated()
    }
    freeSlabs(producer, firstSlab, slabCount, flags)
    complete(producer, id, 0, this.log.logEndOffset)
    return undefined
  }

  /** Base offset of the batch in the log that an idempotent producer sends once more, -1 when it is new. @throws as `ProducerStates.check` */
  #repeated({ view }: Region, at: number): number {
    refuseTransactions(view, at)
    return this.log.repeatedBatch(view, at)
  }

  /** One bad batch in the log would cost everything behind it, so bytes from outside are verified first. */
  #check(arena: SlabArena, at: number, bytes: number): void {
    const { region } = arena
    const fault = checkBatch(region, at, at + bytes) ?? this.#shapeFault(region, at, bytes)
    if (fault !== undefined) throw new MillraceError('CORRUPT_BATCH', { reason: fault })
  }

  /** Compaction keeps the latest record of each key, so every record has to have one. @throws INVALID_RECORD */
  #demandKeys(region: Region, at: number): void {
    cursor.reset(region, at)
    while (cursor.next()) if (cursor.keyBytes < 0) throw new MillraceError('INVALID_RECORD', { reason: 'no key' })
  }

  /** A request is exactly one batch, and a producer's batch has no gaps: else one record could use up all offsets. */
  #shapeFault({ view }: Region, at: number, bytes: number): string | undefined {
    if (batchBytes(view, at) !== bytes) return 'length'
    const lastOffsetDelta = view.getInt32(at + BATCH.lastOffsetDeltaAt)
    if (recordCountOf(view, at) !== lastOffsetDelta + 1) return 'count'
    return isControlBatch(view, at) || isTransactional(view, at) ? 'attributes' : undefined
  }

  /** Conditions of the world are answered; anything else is a bug and stops the partition. */
  #refuse(producer: AttachedProducer, id: number, error: unknown): unknown {
    const known = error instanceof MillraceError
    const code = toErrorData(error).code
    complete(producer, id, statusOf(code), -1, known ? limitOf(error) : 0)
    return known ? undefined : error
  }

  /** There may be room now: tries what waits, in order. Returns the error that stopped the partition, if one did. */
  retry(): unknown {
    if (this.#waiting.length === 0) return undefined
    let failure: unknown
    for (const item of this.#waiting.splice(0)) {
      if (failure !== undefined) this.#waiting.push(item)
      else
        failure = this.request(item.producer, item.id, item.firstSlab, item.slabCount, item.at, item.bytes, item.flags)
    }
    return failure
  }

  /** Answers what the high watermark has passed. */
  acknowledge(): void {
    const { highWatermark } = this.log
    let count = 0
    let code: ErrorCode | undefined
    for (const item of this.#unacknowledged) {
      if (item.endOffset > highWatermark) break
      if (count === 0) code = this.#acknowledgement(false)
      this.#answer(item, code)
      count += 1
    }
    if (count > 0) this.#unacknowledged.splice(0, count)
  }

  /** The role has changed, or what the brokers have agreed on: see the control block. */
  replicate(): void {
    if (this.failure !== undefined) return
    if (this.role !== ROLE.leader) this.refuseUnacknowledged('NOT_LEADER_OR_FOLLOWER')
    if (this.log.advance()) this.acknowledge()
  }

  /** Of a replica: what waits for others is answered so. */
  refuseUnacknowledged(code: ErrorCode): void {
    if (this.role === ROLE.alone) return
    for (const item of this.#unacknowledged.splice(0)) this.#answer(item, code)
  }

  /** Fails what waits for room. */
  refuseWaiting(code: ErrorCode): void {
    for (const item of this.#waiting.splice(0)) {
      freeSlabs(item.producer, item.firstSlab, item.slabCount, item.flags)
      complete(item.producer, item.id, statusOf(code), -1)
    }
  }

  /** Stops the partition: everything that is under way fails, and so does every request from now on. */
  fail(code: ErrorCode): void {
    this.failure = code
    this.log.fail(statusOf(code))
    this.refuseWaiting(code)
    for (const item of this.#unacknowledged.splice(0)) this.#answer(item, code)
  }

  /** Drops what a producer that is gone had under way; its slabs are freed with its arena. */
  forget(producer: AttachedProducer): void {
    const keep = <T extends { producer: AttachedProducer }>(items: T[]): void => {
      const kept = items.filter(item => item.producer !== producer)
      items.splice(0, items.length, ...kept)
    }
    keep(this.#waiting)
    keep(this.#unacknowledged)
  }
}

function limitOf(error: MillraceError): number {
  const limit = error.details['maxBytes']
  return typeof limit === 'number' ? limit : 0
}
