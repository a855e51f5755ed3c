/**
 * The synchronous hot path of a producer: one call appends one record, makes no promise and no object, and says `false`
 * when there is no room. Then either `await producer.ready()` or, in a loop that never yields, `producer.waitReady()`.
 * Records are acknowledged in the background; `producer.flush()` waits for that and throws the first error. What is
 * appended here may overtake messages of a `send` that waits for room.
 */

import { MillraceError } from '../engine/base/errors.ts'
import { BATCH, batchBytes, checkBatch, EncodedBatch, recordCountOf } from '../engine/format/record-batch.ts'
import { Region } from '../engine/format/region.ts'
import { REQUEST_FLAG } from '../engine/memory/append-channel.ts'
import type { Batch } from './batch.ts'

/** What an appender asks of its producer. */
export interface AppendTarget {
  append(timestamp: number, key: Uint8Array | null, value: Uint8Array | null): boolean
  /** The open batch that a record without a key would go to. */
  openBatch(): Batch | undefined
  submit(bytes: Uint8Array, recordCount: number, flags: number): boolean
  /** Every record goes to one partition, whatever its key. */
  readonly hasPartition: boolean
}

export class Appender {
  readonly #target: AppendTarget
  /** Where the last record without a choice of partition went; sealed behind our back it says so. */
  #batch: Batch | undefined

  /** @internal Use `producer.appender`. */
  constructor(target: AppendTarget) {
    this.#target = target
  }

  /**
   * Appends one record.
   * @param key `null`: no key. @param timestamp milliseconds since the Unix epoch, default now
   * @returns false when there is no room: nothing was appended
   * @throws RECORD_TOO_LARGE, CLOSED, INVALID_ARGUMENT
   * Cost: about 30 ns for a record of 100 bytes, its part of the checksum included.
   */
  tryAppend(value: Uint8Array | null, key: Uint8Array | null = null, timestamp: number = Date.now()): boolean {
    const batch = this.#batch
    if (batch?.isOpen === true && (key === null || this.#target.hasPartition)) {
      if (batch.encoder.append(timestamp, key, value)) return true
    }
    const appended = this.#target.append(timestamp, key, value)
    this.#batch = this.#target.openBatch()
    return appended
  }

  /**
   * Appends a batch that was encoded before. One that `encodeBatch` made is taken as it is; other bytes are a whole Kafka
   * record batch, whose checksum is verified before it reaches the log.
   * @returns false when there is no room: nothing was appended
   * @throws CORRUPT_BATCH, RECORD_TOO_LARGE, CLOSED
   */
  tryAppendBatch(batch: EncodedBatch | Uint8Array): boolean {
    if (batch instanceof EncodedBatch) return this.#target.submit(batch.bytes, batch.recordCount, 0)
    const region = Region.of(batch)
    // The writer checks the CRC; what would not even be understood as a request is refused here.
    const isWhole = batch.length >= BATCH.headerBytes && batchBytes(region.view, 0) === batch.length
    const fault = isWhole ? checkBatch(region, 0, batch.length, false) : 'length'
    if (fault !== undefined) throw new MillraceError('CORRUPT_BATCH', { position: 0, reason: fault })
    return this.#target.submit(batch, recordCountOf(region.view, 0), REQUEST_FLAG.checkCrc)
  }
}
