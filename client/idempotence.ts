/**
 * What makes a producer idempotent: every batch carries the producer's id, an epoch, and a number in its partition's sequence, so
 * that the writer recognises one that is sent again. Owned by the producer's thread; one `Lane` for each partition.
 *
 * A batch keeps its slabs until it is settled. What nobody can tell the fate of (the writer died, the partition was being
 * repaired or cut) is sent again as it is, in its order, until the delivery timeout. Five batches of a partition are under way
 * at most, because that many are remembered there. When a batch is given up, those behind it would leave a hole in the
 * sequence: the lane waits until nothing of it is under way, and goes on under the next epoch, from 0.
 */
import type { ErrorCode } from '../engine/base/errors.ts'
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import { type BatchOptions, stampCrc, stampProducer } from '../engine/format/record-batch.ts'
import type { Region } from '../engine/format/region.ts'
import { REMEMBERED_BATCHES, sequenceAfter } from '../engine/log/producer-state.ts'

/** What nobody can tell the fate of, or what was refused for a moment. */
const RETRIED: readonly ErrorCode[] = ['WRITER_CRASHED', 'LEADER_NOT_AVAILABLE', 'FLUSH_FAILED']
/** Before a batch is sent again: what it met takes some milliseconds to pass. */
export const RETRY_MS = 10
const EPOCH_MAX = 0x7fff

/** The sequence of one partition. */
export class Lane {
  readonly key: string
  epoch = 0
  nextSequence = 0
  nextOrder = 0
  underWay = 0
  /** A batch was given up: those behind it have to be numbered anew. */
  isBroken = false
  /** A batch was refused while others were under way: that those are out of order is no news. */
  isHoled = false
  retryAtMs = 0

  constructor(key: string) {
    this.key = key
  }

  mayPush(nowMs: number): boolean {
    return this.underWay < REMEMBERED_BATCHES && !this.isBroken && nowMs >= this.retryAtMs
  }
}

/** A batch's place in the sequence of its partition. */
export interface Place {
  readonly lane: Lane
  /** Counts the batches of the lane. */
  readonly order: number
}

/** A batch as it is numbered. */
interface Numbered {
  readonly place: Place | undefined
  readonly recordCount: number
  /** Where it lies. */
  readonly at: number
}

export class Idempotence {
  readonly #producerId: number
  readonly #lanes = new Map<string, Lane>()

  constructor(producerId: number) {
    this.#producerId = producerId
  }

  lane({ slot, slotGeneration }: ClientPartition): Lane {
    const key = `${slot} ${slotGeneration}`
    const known = this.#lanes.get(key)
    if (known !== undefined) return known
    const lane = new Lane(key)
    this.#lanes.set(key, lane)
    return lane
  }

  /** Takes the next place in a lane for a batch of `recordCount` records; what it is to be encoded with comes along. */
  number(lane: Lane, recordCount: number): { readonly place: Place; readonly options: BatchOptions } {
    const options = { producerId: this.#producerId, producerEpoch: lane.epoch, baseSequence: lane.nextSequence }
    lane.nextSequence = sequenceAfter(lane.nextSequence, recordCount)
    return { place: { lane, order: lane.nextOrder++ }, options }
  }

  /** Writes the numbers into a finished batch. */
  stamp(region: Region, at: number, { producerId = -1, producerEpoch = -1, baseSequence = -1 }: BatchOptions): void {
    stampProducer(region.view, at, producerId, producerEpoch, baseSequence)
    stampCrc(region, at)
  }

  /** What to do about a batch that was refused; the lane takes note. */
  refused({ lane }: Place, code: ErrorCode, nowMs: number): 'again' | 'give up' {
    if (code === 'UNKNOWN_TOPIC_OR_PARTITION') this.#lanes.delete(lane.key)
    const isRetried = RETRIED.includes(code)
    if (isRetried) lane.retryAtMs = nowMs + RETRY_MS
    // Behind a hole everything is out of order. Without one the partition has lost what came before, and so has its sequence.
    const isDisplaced = code === 'OUT_OF_ORDER_SEQUENCE_NUMBER'
    if (!isRetried && !(isDisplaced && lane.isHoled)) lane.isBroken = true
    lane.isHoled = true
    return isRetried || isDisplaced ? 'again' : 'give up'
  }

  /** Numbers a broken lane anew once nothing of it is under way. False when its epochs are used up. */
  mend(lane: Lane, region: Region, waiting: readonly Numbered[]): boolean {
    if (lane.underWay > 0) return true
    lane.isHoled = false
    if (!lane.isBroken) return true
    if (lane.epoch === EPOCH_MAX) return false
    lane.epoch += 1
    lane.nextSequence = 0
    lane.isBroken = false
    for (const { place, recordCount, at } of waiting) {
      if (place?.lane !== lane) continue
      const options = { producerId: this.#producerId, producerEpoch: lane.epoch, baseSequence: lane.nextSequence }
      this.stamp(region, at, options)
      lane.nextSequence = sequenceAfter(lane.nextSequence, recordCount)
    }
    return true
  }
}

/** Puts a batch back among those that wait, in front of the later ones of its lane. */
export function putBack<T extends { readonly place: Place | undefined }>(waiting: T[], batch: T): void {
  const { lane, order } = batch.place as Place
  const later = waiting.findIndex(({ place }) => place?.lane === lane && place.order > order)
  waiting.splice(later === -1 ? waiting.length : later, 0, batch)
}
