/**
 * A partition's log of a simulation: batches of one record each, in a list that is the disk. What the real one does to files is left out; what it
 * decides by (watermark, producers, leader epochs) is the engine's.
 */
import { MillraceError } from '../../../../engine/base/errors.ts'
import {
  BATCH,
  baseOffsetOf,
  baseSequenceOf,
  leaderEpochOf,
  producerIdOf,
  stampBatch,
} from '../../../../engine/format/record-batch.ts'
import { Region as Memory, type Region, readI64 } from '../../../../engine/format/region.ts'
import type { EpochEntry } from '../../../../engine/log/epoch-checkpoint-file.ts'
import { hasProducer, ProducerStates } from '../../../../engine/log/producer-state.ts'
import { reconcileEpochs } from '../../../../engine/log/recovery-epochs.ts'
import type { LogServices } from '../../../../engine/log/services.ts'
import { Watermark } from '../../../../engine/log/watermark.ts'
import { type ControlBlock, SLOT } from '../../../../engine/memory/control-block.ts'

export interface StoredRecord {
  readonly batch: Uint8Array
  readonly epoch: number
  /** Of all records that producers ever made. */
  readonly id: number
  readonly producerId: number
  readonly sequence: number
}

/** What is left of a partition when its process is gone. */
export interface Disk {
  readonly records: StoredRecord[]
  /** Records below survive a loss of power. */
  flushedOffset: number
  /** As it was stored last. */
  highWatermark: number
  /** A cut that was begun. */
  truncateTo: number | undefined
}

export const emptyDisk = (): Disk => ({ records: [], flushedOffset: 0, highWatermark: 0, truncateTo: undefined })

/** The id of a record is its timestamp. */
export function recordOf(batch: Uint8Array): StoredRecord {
  const { view } = Memory.of(batch)
  return {
    batch,
    epoch: leaderEpochOf(view, 0),
    id: readI64(view, BATCH.baseTimestampAt),
    producerId: producerIdOf(view, 0),
    sequence: baseSequenceOf(view, 0),
  }
}

export function epochsOf({ records }: Disk): EpochEntry[] {
  const epochs: EpochEntry[] = []
  for (const [startOffset, { epoch }] of records.entries()) {
    if (epoch !== epochs.at(-1)?.epoch) epochs.push({ epoch, startOffset })
  }
  return reconcileEpochs(undefined, [{ kind: 'walked', epochs }], 0, records.length) ?? []
}

export interface LogListener {
  appended(slot: number, record: StoredRecord, isReplica: boolean): void
  /** By an earlier log, or process, of the broker. */
  shownBefore(slot: number, to: number): void
  shown(slot: number, from: number, to: number): void
}

/** What `PartitionHost` uses of a log. */
export class ModelLog {
  readonly slot: number
  readonly config = { durable: false, compacts: false }
  readonly logStartOffset = 0
  readonly busy = false
  leaderEpoch: number
  lastBaseOffset = 0
  readonly #disk: Disk
  readonly #control: ControlBlock
  readonly #listener: LogListener
  readonly #watermark: Watermark
  readonly #services: LogServices
  readonly #producers = new ProducerStates(Number.MAX_SAFE_INTEGER)

  constructor(slot: number, disk: Disk, control: ControlBlock, services: LogServices, listener: LogListener) {
    this.slot = slot
    this.#disk = disk
    this.#control = control
    this.#listener = listener
    this.#services = services
    this.#watermark = new Watermark(control, services)
    this.leaderEpoch = disk.records.at(-1)?.epoch ?? -1
    for (const { batch } of disk.records) this.#note(Memory.of(batch).view)
    control.set(slot, SLOT.logEndOffset, this.logEndOffset)
    control.set(slot, SLOT.leaderEpoch, this.leaderEpoch)
    this.#watermark.publish(this)
    listener.shownBefore(slot, control.get(slot, SLOT.highWatermark))
    control.set(slot, SLOT.failure, 0)
  }

  get logEndOffset(): number {
    return this.#disk.records.length
  }

  get flushedOffset(): number {
    return this.#disk.flushedOffset
  }

  get highWatermark(): number {
    return this.#watermark.of(this)
  }

  advance(): boolean {
    const before = this.#control.get(this.slot, SLOT.highWatermark)
    if (!this.#watermark.advance(this)) return false
    this.#listener.shown(this.slot, before, this.#control.get(this.slot, SLOT.highWatermark))
    return true
  }

  replicated(): void {
    this.#watermark.appended(this)
  }

  append({ bytes, view }: Region, at: number, length: number, isReplica = false): 'appended' {
    if (isReplica) this.#continueAs(view, at)
    const batch = new Uint8Array(length)
    batch.set(bytes.subarray(at, at + length))
    const own = Memory.of(batch)
    if (!isReplica) stampBatch(own.view, 0, this.logEndOffset, this.leaderEpoch)
    const record = recordOf(batch)
    this.lastBaseOffset = this.logEndOffset
    this.#disk.records.push(record)
    this.#note(own.view)
    this.#listener.appended(this.slot, record, isReplica)
    this.#control.set(this.slot, SLOT.logEndOffset, this.logEndOffset)
    if (!this.advance()) this.#watermark.appended(this)
    this.#services.moved(this.slot)
    return 'appended'
  }

  /** As `PartitionLog`. */
  #continueAs(view: DataView, at: number): void {
    const baseOffset = baseOffsetOf(view, at)
    const leaderEpoch = leaderEpochOf(view, at)
    if (baseOffset < this.logEndOffset || leaderEpoch < this.leaderEpoch)
      throw new MillraceError('CORRUPT_BATCH', { reason: 'not the next one', baseOffset, leaderEpoch })
    if (baseOffset > this.logEndOffset) throw new Error('nothing is compacted here')
    if (leaderEpoch > this.leaderEpoch) this.beginEpoch(leaderEpoch)
  }

  repeatedBatch(view: DataView, at: number): number {
    return this.#producers.check(view, at, 0)
  }

  /** As `PartitionLog`. */
  beginEpoch(leaderEpoch: number): number {
    if (leaderEpoch <= this.leaderEpoch) throw new MillraceError('INVALID_ARGUMENT', { argument: 'leaderEpoch' })
    this.resumeAfter(leaderEpoch)
    return this.logEndOffset
  }

  resumeAfter(leaderEpoch: number): void {
    this.leaderEpoch = leaderEpoch
    this.#control.set(this.slot, SLOT.leaderEpoch, leaderEpoch)
  }

  #note(view: DataView): void {
    if (hasProducer(view, 0)) this.#producers.appended(view, 0, 0)
  }
}
