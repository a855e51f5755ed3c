/**
 * A partition that a consumer owns: where reading is, what of it was handled, and what is in somebody's hands. Used by the
 * consumer's thread. Only one batch of a partition is handed out at a time, so its records are handled in their order.
 */
import type { TopicId } from '../engine/base/brands.ts'
import { isMillraceError } from '../engine/base/errors.ts'
import type { ConsumedBatch, ConsumedTrack } from './consumer-backend.ts'
import type { OffsetToSeek } from './consumer-types.ts'

/** Changes of the leader epoch that are remembered; what was handed out is far younger. */
const EPOCHS_MAX = 16

export class ConsumedPartition<Batch extends ConsumedBatch = ConsumedBatch> {
  readonly topic: string
  readonly topicId: TopicId
  readonly partition: number
  readonly track: ConsumedTrack<Batch>
  isPaused = false
  /** It is being given up, or is lost: nothing more is handed out. */
  isLeaving = false
  /** Whoever listens was told that it is given up. */
  isRevoked = false
  /** Whoever listens was told that it is assigned. */
  isReady = false
  /** Its topic was deleted. */
  isGone = false
  /** Why it cannot be read; thrown by whoever asks for records, until a seek. */
  problem: Error | undefined
  /** What is in somebody's hands. */
  delivery: Delivery<Batch> | undefined
  /** Everything below was handled: what is to be committed. */
  handledOffset = 0
  /** The last commit that was acknowledged, -1 when there is none. */
  committedOffset = -1
  /** `[first offset, leader epoch]` of what was handed out, ascending. */
  #epochs: (readonly [number, number])[] = []
  #idle: (() => void)[] = []

  constructor(topicId: TopicId, topic: string, partition: number, track: ConsumedTrack<Batch>) {
    this.topic = topic
    this.topicId = topicId
    this.partition = partition
    this.track = track
  }

  get isReadable(): boolean {
    return this.isReady && !this.isGone && !this.isPaused && !this.isLeaving && this.delivery === undefined
  }

  /** Undefined once the topic was deleted. */
  get highWatermark(): number | undefined {
    try {
      return this.isGone ? undefined : this.track.reader.highWatermark
    } catch (error) {
      if (!isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) throw error
      this.isGone = true
      return undefined
    }
  }

  /** What `handledOffset` is, and with it what an iteration has in hand. */
  get positionOffset(): number {
    return this.delivery?.isOwned === true ? this.delivery.positionOffset : this.handledOffset
  }

  get at(): OffsetToSeek {
    return { topic: this.topic, partition: this.partition, offset: this.handledOffset }
  }

  /** Reading and handling go on at `offset`; what is in hand does not count any more. */
  moveTo(offset: number): void {
    this.delivery?.disown()
    this.track.offset = offset
    this.handledOffset = offset
    this.problem = undefined
  }

  /** The next batch, into somebody's hands. @throws as `ReadTrack.read` */
  take(maxBytes: number): Delivery<Batch> | undefined {
    const batch = this.track.read(maxBytes)
    if (batch === undefined) return undefined
    this.#noteEpochs(batch)
    this.delivery = new Delivery(this, batch)
    return this.delivery
  }

  /** The leader epoch of the record before `offset`; -1 when it was not handed out. */
  leaderEpochBefore(offset: number): number {
    return this.#epochs.findLast(([from]) => from < offset)?.[1] ?? -1
  }

  #noteEpochs(batch: Batch): void {
    const known = this.#epochs.at(-1)
    if (known?.[1] === this.track.reader.leaderEpoch && known[0] <= batch.baseOffset) return
    if (known !== undefined && known[0] > batch.baseOffset) this.#epochs = [] // after a seek backwards
    for (const [offset, epoch] of batch.leaderEpochs()) {
      if (this.#epochs.at(-1)?.[1] !== epoch) this.#epochs.push([offset, epoch])
    }
    if (this.#epochs.length > EPOCHS_MAX) this.#epochs = this.#epochs.slice(-EPOCHS_MAX)
  }

  /** Resolves when nothing is in anybody's hands. */
  async idle(): Promise<void> {
    while (this.delivery !== undefined) await new Promise<void>(resolve => this.#idle.push(resolve))
  }

  /** @internal A delivery is over. */
  release(delivery: Delivery<Batch>): void {
    if (this.delivery !== delivery) return
    this.delivery = undefined
    // What was not handled is handed out once more.
    this.track.offset = this.handledOffset
    for (const resolve of this.#idle.splice(0)) resolve()
  }
}

/** A batch in somebody's hands. */
export class Delivery<Batch extends ConsumedBatch = ConsumedBatch> {
  readonly owner: ConsumedPartition<Batch>
  readonly batch: Batch
  /** Since when whoever has it is at work, on the monotonic clock; renewed with each record that is asked for. */
  sinceMs = performance.now()
  /** Up to where it was handed out to an iteration; `commit()` counts that as handled. */
  positionOffset: number
  /** The partition was not moved since. */
  isOwned = true
  /** In the hands of a `for await`, not of a handler. */
  isIterated = false

  constructor(owner: ConsumedPartition<Batch>, batch: Batch) {
    this.owner = owner
    this.batch = batch
    this.positionOffset = owner.handledOffset
  }

  /** Its records still count: the partition was neither moved, nor is it to be given up. */
  get isWanted(): boolean {
    return this.isOwned && !this.owner.isLeaving
  }

  /** Everything below `offset` was handled. */
  handled(offset: number): void {
    this.sinceMs = performance.now()
    if (!this.isOwned) return
    this.owner.handledOffset = offset
    this.positionOffset = Math.max(this.positionOffset, offset)
  }

  disown(): void {
    this.isOwned = false
  }

  /** Given back; what was not handled comes again. */
  end(): void {
    this.owner.release(this)
  }
}
