/**
 * What a partition knows of its idempotent producers: which batch each must send next, and which it has sent already. A pure
 * state machine, driven by the partition's writer thread, and by recovery, which feeds it what is in the log.
 *
 * A producer numbers the records that it sends to a partition; the numbers go from 0 to 2^31 - 1 and on at 0. Kafka's rules
 * (KIP-98):
 *
 * | the batch is of                     | and begins with                    | then                               |
 * |-------------------------------------|------------------------------------|------------------------------------|
 * | a producer that is not known        | any number                         | appended                           |
 * | the epoch that is known             | the number behind the last batch   | appended                           |
 * |                                     | and ends as one of the last five   | not appended: its offset is told   |
 * |                                     | anything else                      | OUT_OF_ORDER_SEQUENCE_NUMBER       |
 * | a newer epoch                       | 0                                  | appended; the old epoch is over    |
 * |                                     | anything else                      | OUT_OF_ORDER_SEQUENCE_NUMBER       |
 * | an older epoch                      |                                    | INVALID_PRODUCER_EPOCH             |
 *
 * A producer is forgotten when it was idle for `producer.id.expiration.ms`, and when there are more than PRODUCER_STATES_MAX:
 * then a tenth of them, those that were idle longest. Its next batch is taken as that of one that is not known. One with an
 * open transaction is never forgotten. Idle time counts from the last append, or from when the partition was opened, and
 * not from timestamps, which are the service's own.
 */
import { MillraceError } from '../base/errors.ts'
import { PRODUCER_STATES_MAX } from '../base/limits.ts'
import type { ProducerSnapshotEntry } from '../format/producer-snapshot.ts'
import {
  BATCH,
  baseOffsetOf,
  baseSequenceOf,
  isControlBatch,
  isTransactional,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
} from '../format/record-batch.ts'

/** Batches of a producer that are recognised when they are sent again: as many as Kafka's producers have under way. */
export const REMEMBERED_BATCHES = 5
const SEQUENCE_MAX = 0x7fff_ffff
const NONE = -1

interface SentBatch {
  readonly lastSequence: number
  readonly lastOffset: number
  readonly offsetDelta: number
  readonly timestamp: number
}

interface ProducerState {
  readonly producerId: number
  epoch: number
  /** Of this epoch, oldest first. */
  batches: SentBatch[]
  lastTimestamp: number
  coordinatorEpoch: number
  /** -1 when no transaction is open. */
  transactionFirstOffset: number
  /** Monotonic. */
  usedMs: number
}

/** True for a batch of an idempotent or transactional producer. */
export function hasProducer(view: DataView, at: number): boolean {
  return view.getInt32(at + BATCH.producerIdAt) >= 0 // the high half: without one the whole is -1
}

/** The number `delta` behind `sequence`. */
export function sequenceAfter(sequence: number, delta: number): number {
  const after = sequence + delta
  return after > SEQUENCE_MAX ? after - SEQUENCE_MAX - 1 : after
}

function sequenceBefore(sequence: number, delta: number): number {
  return sequence >= delta ? sequence - delta : sequence - delta + SEQUENCE_MAX + 1
}

export class ProducerStates {
  readonly #producers = new Map<number, ProducerState>()
  readonly #expirationMs: number

  /** @param expirationMs `producer.id.expiration.ms` */
  constructor(expirationMs: number) {
    this.#expirationMs = expirationMs
  }

  get count(): number {
    return this.#producers.size
  }

  /** First offset of the oldest transaction that is open; Infinity when none is. */
  get firstUnstableOffset(): number {
    let first = Number.POSITIVE_INFINITY
    for (const { transactionFirstOffset } of this.#producers.values()) {
      if (transactionFirstOffset !== NONE && transactionFirstOffset < first) first = transactionFirstOffset
    }
    return first
  }

  // ── appending ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Whether a batch of a producer may be appended now; nothing changes.
   * @returns -1 when it may; else it is there already, and this is its base offset
   * @throws OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_RECORD without an epoch or a sequence
   */
  check(view: DataView, at: number, nowMs: number): number {
    const producerId = producerIdOf(view, at)
    const epoch = producerEpochOf(view, at)
    const sequence = baseSequenceOf(view, at)
    if (epoch < 0 || sequence < 0) {
      throw new MillraceError('INVALID_RECORD', { reason: 'a producer id without epoch or sequence', producerId })
    }
    const known = this.#producers.get(producerId)
    if (known === undefined || this.#isExpired(known, nowMs)) return NONE
    if (epoch < known.epoch) {
      throw new MillraceError('INVALID_PRODUCER_EPOCH', { producerId, epoch, currentEpoch: known.epoch })
    }
    const last = epoch === known.epoch ? known.batches.at(-1) : undefined
    const expected = last === undefined ? 0 : sequenceAfter(last.lastSequence, 1)
    if (sequence === expected) return NONE
    const repeated =
      epoch === known.epoch
        ? findBatch(known.batches, sequence, view.getInt32(at + BATCH.lastOffsetDeltaAt))
        : undefined
    if (repeated !== undefined) return repeated.lastOffset - repeated.offsetDelta
    throw new MillraceError('OUT_OF_ORDER_SEQUENCE_NUMBER', { producerId, epoch, sequence, expectedSequence: expected })
  }

  /** Takes note of a batch that is in the log, whatever it is: what was appended counts. Its offset is stamped. */
  appended(view: DataView, at: number, nowMs: number): void {
    const producerId = producerIdOf(view, at)
    const baseOffset = baseOffsetOf(view, at)
    const state = this.#enter(producerId, producerEpochOf(view, at), nowMs)
    const offsetDelta = view.getInt32(at + BATCH.lastOffsetDeltaAt)
    const lastSequence = sequenceAfter(baseSequenceOf(view, at), offsetDelta)
    const timestamp = maxTimestampOf(view, at)
    if (state.batches.length === REMEMBERED_BATCHES) state.batches.shift()
    state.batches.push({ lastSequence, lastOffset: baseOffset + offsetDelta, offsetDelta, timestamp })
    state.lastTimestamp = timestamp
    if (isTransactional(view, at) && state.transactionFirstOffset === NONE) state.transactionFirstOffset = baseOffset
  }

  /** A transaction marker that is in the log ends the producer's transaction. */
  transactionEnded(
    producerId: number,
    epoch: number,
    coordinatorEpoch: number,
    timestamp: number,
    nowMs: number,
  ): void {
    const state = this.#enter(producerId, epoch, nowMs)
    state.transactionFirstOffset = NONE
    state.coordinatorEpoch = coordinatorEpoch
    state.lastTimestamp = timestamp
  }

  #enter(producerId: number, epoch: number, nowMs: number): ProducerState {
    let state = this.#producers.get(producerId)
    if (state === undefined) {
      if (this.#producers.size >= PRODUCER_STATES_MAX) this.#forgetIdlest()
      state = {
        producerId,
        epoch,
        batches: [],
        lastTimestamp: NONE,
        coordinatorEpoch: NONE,
        transactionFirstOffset: NONE,
        usedMs: nowMs,
      }
      this.#producers.set(producerId, state)
    } else if (state.epoch !== epoch || this.#isExpired(state, nowMs)) {
      state.epoch = epoch
      state.batches = []
    }
    state.usedMs = nowMs
    return state
  }

  // ── forgetting ────────────────────────────────────────────────────────────────────────────────────────────────────

  #isExpired({ usedMs, transactionFirstOffset }: ProducerState, nowMs: number): boolean {
    return transactionFirstOffset === NONE && nowMs - usedMs >= this.#expirationMs
  }

  /** Forgets those that were idle for too long. */
  expire(nowMs: number): void {
    for (const state of this.#producers.values()) {
      if (this.#isExpired(state, nowMs)) this.#producers.delete(state.producerId)
    }
  }

  #forgetIdlest(): void {
    const idle = [...this.#producers.values()].filter(({ transactionFirstOffset }) => transactionFirstOffset === NONE)
    idle.sort((a, b) => a.usedMs - b.usedMs)
    for (const { producerId } of idle.slice(0, Math.ceil(PRODUCER_STATES_MAX / 10))) this.#producers.delete(producerId)
  }

  // ── snapshots ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Everything that is known, the batches of a producer one after the other, oldest first. */
  entries(): ProducerSnapshotEntry[] {
    const entries: ProducerSnapshotEntry[] = []
    for (const state of this.#producers.values()) {
      const {
        producerId,
        epoch: producerEpoch,
        coordinatorEpoch,
        batches,
        lastTimestamp,
        transactionFirstOffset,
      } = state
      const earlier = { producerId, producerEpoch, coordinatorEpoch, transactionFirstOffset: NONE }
      for (const batch of batches.slice(0, -1)) entries.push({ ...earlier, ...batch })
      const last = batches.at(-1) ?? { lastSequence: NONE, lastOffset: NONE, offsetDelta: 0 }
      entries.push({ ...earlier, ...last, timestamp: lastTimestamp, transactionFirstOffset })
    }
    return entries
  }

  /** Adds what a snapshot says; of several entries for one producer the last epoch counts. */
  load(entries: readonly ProducerSnapshotEntry[], nowMs: number): void {
    for (const entry of entries) {
      const { lastSequence, lastOffset, offsetDelta, timestamp } = entry
      const state = this.#enter(entry.producerId, entry.producerEpoch, nowMs)
      if (lastOffset !== NONE) {
        if (state.batches.length === REMEMBERED_BATCHES) state.batches.shift()
        state.batches.push({ lastSequence, lastOffset, offsetDelta, timestamp })
      }
      state.lastTimestamp = timestamp
      state.coordinatorEpoch = entry.coordinatorEpoch
      state.transactionFirstOffset = entry.transactionFirstOffset
    }
  }
}

function findBatch(batches: readonly SentBatch[], sequence: number, offsetDelta: number): SentBatch | undefined {
  return batches.find(
    batch => batch.offsetDelta === offsetDelta && sequenceBefore(batch.lastSequence, offsetDelta) === sequence,
  )
}

/** Refuses what is not served: batches of transactions, and markers, from a producer. @throws CORRUPT_BATCH */
export function refuseTransactions(view: DataView, at: number): void {
  if (isTransactional(view, at) || isControlBatch(view, at)) {
    throw new MillraceError('CORRUPT_BATCH', { reason: 'attributes' })
  }
}
