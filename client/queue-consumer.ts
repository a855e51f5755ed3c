/**
 * One iteration over a queue: locks jobs ahead of the one that is handed out, up to a bound, reads their records in this
 * thread, and settles what is no job: offsets without a record, damage, and jobs that are not due yet, which go back
 * until they are. Locks of jobs that wait here are renewed. Jobs that were locked but not handed out when the iteration
 * ends go back without counting as delivered.
 */
import { isMillraceError } from '../engine/base/errors.ts'
import type { AcquiredRecords } from '../engine/group/share/share-calls.ts'
import type { Acknowledgement } from '../engine/group/share/share-types.ts'
import type { PartitionReader } from '../engine/log/partition-reader.ts'
import { Job, type SettleJob } from './job.ts'
import { type RangePart, recordsOf } from './queue-records.ts'

/** When a job is due: milliseconds since the Unix epoch, as text. Written by `push` with a delay. */
export const NOT_BEFORE_HEADER = 'millrace.not-before-ms'

/** Waits for jobs, and ends with nothing after a while, when it is cancelled, or when the queue is closed. */
export interface QueueFetch {
  readonly acquired: Promise<readonly AcquiredRecords[]>
  cancel(): void
}

/** What an iteration needs of its queue. */
export interface ConsumerHost {
  readonly lockDurationMs: number
  fetch(maxRecords: number, waitMs?: number): QueueFetch
  /** Balance with `giveBack`. */
  reader(partition: number): Promise<PartitionReader>
  giveBack(reader: PartitionReader): void
  acknowledge(partition: number, acknowledgement: Acknowledgement): Promise<void>
  readonly settle: SettleJob
}

/** A job whose record cannot be read just now. */
const UNREAD_PAUSE_MS = 100
/** Locks are renewed three times as often as they need to be: a turn may come late. */
const RENEWALS_PER_LOCK = 3

export class QueueConsumer {
  readonly #host: ConsumerHost
  readonly #prefetch: number
  #jobs: Job[] = []
  #filling: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined
  #fetch: QueueFetch | undefined
  #isClosed = false
  readonly #renewing: NodeJS.Timeout

  constructor(host: ConsumerHost, prefetch: number) {
    this.#host = host
    this.#prefetch = prefetch
    this.#renewing = setInterval(() => this.#renew(), Math.max(1, host.lockDurationMs / RENEWALS_PER_LOCK)).unref()
  }

  /** The next job, undefined once closed. @throws what a fetch or a read meets */
  async next(): Promise<Job | undefined> {
    while (!this.#isClosed) {
      if (this.#failure !== undefined) throw this.#failure.error
      if (this.#jobs.length * 2 <= this.#prefetch) this.#filling ??= this.#fill()
      const job = this.#jobs.shift()
      if (job !== undefined) return job
      await new Promise<void>(resolve => {
        this.#wake = resolve
        void this.#filling?.then(resolve)
      })
    }
    return undefined
  }

  /** Up to `count` jobs that come within `waitMs`, without locking any ahead. @throws as `next` */
  async take(count: number, waitMs: number): Promise<Job[]> {
    await this.#fetchJobs(count, waitMs)
    return this.#jobs.splice(0)
  }

  /** Ends the iteration and gives back what was not handed out. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#fetch?.cancel()
    this.#wake?.()
    clearInterval(this.#renewing)
    await Promise.all(this.#jobs.splice(0).map(job => this.#release(job.partition, job.offset, job.offset)))
  }

  async #fill(): Promise<void> {
    try {
      await this.#fetchJobs(Math.max(1, this.#prefetch - this.#jobs.length))
    } catch (error) {
      this.#failure = { error }
    }
    this.#filling = undefined
  }

  async #fetchJobs(maxRecords: number, waitMs?: number): Promise<void> {
    this.#fetch = this.#host.fetch(maxRecords, waitMs)
    for (const { partition, ranges } of await this.#fetch.acquired) await this.#take(partition, ranges)
    this.#fetch = undefined
  }

  async #take(partition: number, ranges: AcquiredRecords['ranges']): Promise<void> {
    if (this.#isClosed) {
      for (const { firstOffset, lastOffset } of ranges) await this.#release(partition, firstOffset, lastOffset)
      return
    }
    const reader = await this.#host.reader(partition)
    let next = ranges[0]?.firstOffset ?? 0
    try {
      for (const part of recordsOf(reader, ranges)) {
        if (part.kind === 'record') {
          next = part.cursor.offset + 1
          this.#takeJob(new Job(reader.location.topic, partition, part.cursor, part.deliveryCount, this.#host.settle))
        } else {
          next = part.lastOffset + 1
          this.#settlePart(partition, part)
        }
      }
    } catch (error) {
      for (const { firstOffset, lastOffset } of ranges) {
        if (lastOffset >= next) void this.#release(partition, Math.max(firstOffset, next), lastOffset)
      }
      throw error
    } finally {
      this.#host.giveBack(reader)
    }
  }

  #takeJob(job: Job): void {
    const dueMs = notBeforeOf(job)
    if (dueMs > Date.now()) {
      this.#quietly(job.partition, { ...one(job), type: 'release', undelivered: true, notBeforeMs: dueMs })
    } else this.#jobs.push(job)
  }

  #settlePart(partition: number, part: Exclude<RangePart, { kind: 'record' }>): void {
    const { firstOffset, lastOffset } = part
    const range = { firstOffset, lastOffset }
    if (part.kind === 'gap') this.#quietly(partition, { ...range, type: 'gap' })
    else if (part.kind === 'damaged') this.#quietly(partition, { ...range, type: 'reject', reason: part.error.message })
    else {
      const notBeforeMs = Date.now() + UNREAD_PAUSE_MS
      this.#quietly(partition, { ...range, type: 'release', undelivered: true, notBeforeMs })
    }
  }

  #release(partition: number, firstOffset: number, lastOffset: number): Promise<void> {
    return this.#quietly(partition, { firstOffset, lastOffset, type: 'release', undelivered: true })
  }

  /** Whoever lost a lock meanwhile, or whose acknowledgement got lost, has nothing to do about it: the lock ends by itself. */
  #quietly(partition: number, acknowledgement: Acknowledgement): Promise<void> {
    return this.#host.acknowledge(partition, acknowledgement).catch(() => undefined)
  }

  /** Jobs whose lock could not be renewed belong to others by now. */
  #renew(): void {
    for (const job of this.#jobs) {
      this.#host.acknowledge(job.partition, { ...one(job), type: 'renew' }).catch((error: unknown) => {
        if (isMillraceError(error, 'INVALID_RECORD_STATE')) this.#jobs = this.#jobs.filter(other => other !== job)
      })
    }
  }
}

function one({ offset }: Job): { readonly firstOffset: number; readonly lastOffset: number } {
  return { firstOffset: offset, lastOffset: offset }
}

/** 0 for a job without a time, or with something else in its header. */
function notBeforeOf({ headers }: Job): number {
  const header = headers.find(({ key }) => key === NOT_BEFORE_HEADER)
  const timeMs = header?.value == null ? 0 : Number(Buffer.from(header.value).toString())
  return Number.isSafeInteger(timeMs) ? timeMs : 0
}
