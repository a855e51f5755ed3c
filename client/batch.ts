/** A producer's batch from the moment it has slabs until it is settled, and who is told. Used by the producer's thread. */
import type { MillraceError } from '../engine/base/errors.ts'
import { invariant } from '../engine/base/invariant.ts'
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import type { BatchEncoder } from '../engine/format/record-batch.ts'
import type { Place } from './idempotence.ts'

/** Told what became of a part of a batch. */
export interface Delivery {
  /** `count` records of `partition` have offsets from `baseOffset` on; -1 with acks 0. */
  delivered(partition: Pick<ClientPartition, 'topic' | 'partition'>, baseOffset: number, count: number): void
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
  /** In the sequence of an idempotent producer. Such a batch keeps its slabs until it is answered. */
  place: Place | undefined
  /** Where it lies in the slabs. */
  at = 0

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

export function deliver(batch: Batch, baseOffset: number): void {
  invariant(baseOffset >= 0, 'a batch that was appended has an offset')
  batch.isSettled = true
  for (const { delivery, first, count } of batch.parts) delivery.delivered(batch.partition, baseOffset + first, count)
}
