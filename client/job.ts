/** A job of a queue: a record that its consumer has to itself until it is settled or its lock ends. */
import { MillraceError } from '../engine/base/errors.ts'
import type { RecordCursor } from '../engine/format/record.ts'
import type { Acknowledgement } from '../engine/group/share/share-types.ts'
import { ConsumedRecord, headersAt } from './record.ts'

/** Sends an acknowledgement of a job to the queue. */
export type SettleJob = (job: Job, acknowledgement: Acknowledgement) => Promise<void>

/** A dead letter's reason is a header of its record. */
const REASON_CHARACTERS_MAX = 1_000

export class Job extends ConsumedRecord {
  /** How often this job was delivered, this time included; from 1. */
  readonly deliveryCount: number
  readonly #settle: SettleJob
  #isSettled = false

  /** @internal Jobs come from a `Queue`. */
  constructor(topic: string, partition: number, cursor: RecordCursor, deliveryCount: number, settle: SettleJob) {
    super(topic, partition, cursor.offset, cursor.timestamp, cursor.key(), cursor.value(), headersAt(cursor))
    this.deliveryCount = deliveryCount
    this.#settle = settle
  }

  /** True once `ack`, `retry` or `reject` was called. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  /**
   * The job is done. Resolves when that is stored: from then on it never comes back, whatever crashes.
   * @throws INVALID_RECORD_STATE when the lock had ended or the job is settled; DISK_FULL, IO_ERROR when it could not be stored:
   *   then it holds while the engine runs
   */
  ack(): Promise<void> {
    return this.#once({ type: 'accept' })
  }

  /** Gives the job back, to be delivered again at once or after a delay; a dead letter when it has used up its deliveries. @throws as `ack` */
  retry({ delayMs = 0 }: { readonly delayMs?: number } = {}): Promise<void> {
    if (!(delayMs >= 0)) {
      return Promise.reject(
        new MillraceError('INVALID_ARGUMENT', { argument: 'delayMs', value: String(delayMs), min: 0 }),
      )
    }
    return this.#once(
      delayMs > 0 ? { type: 'release', notBeforeMs: Math.ceil(Date.now() + delayMs) } : { type: 'release' },
    )
  }

  /** The job is never delivered again; its record goes to the dead-letter topic with the reason. @throws as `ack` */
  reject(reason = ''): Promise<void> {
    return this.#once(
      reason === '' ? { type: 'reject' } : { type: 'reject', reason: reason.slice(0, REASON_CHARACTERS_MAX) },
    )
  }

  /** Begins the lock anew. @throws INVALID_RECORD_STATE when it had ended or the job is settled */
  renew(): Promise<void> {
    return this.#isSettled
      ? Promise.reject(this.#settled())
      : this.#settle(this, this.#acknowledgement({ type: 'renew' }))
  }

  #once(how: Omit<Acknowledgement, 'firstOffset' | 'lastOffset'>): Promise<void> {
    if (this.#isSettled) return Promise.reject(this.#settled())
    this.#isSettled = true
    return this.#settle(this, this.#acknowledgement(how))
  }

  #acknowledgement(how: Omit<Acknowledgement, 'firstOffset' | 'lastOffset'>): Acknowledgement {
    return { firstOffset: this.offset, lastOffset: this.offset, ...how }
  }

  #settled(): MillraceError {
    const { topic, partition, offset } = this
    return new MillraceError('INVALID_RECORD_STATE', { topic, partition, offset, reason: 'settled before' })
  }
}
