/**
 * A queue: point to point over a topic. Each job goes to one consumer, under a lock, and comes back until it is
 * acknowledged; Kafka calls this a share group (KIP-932). Used by the thread that made it. The locks are kept in the
 * broker's thread, in which nothing but offsets is known; records are read here, from the mapped log.
 */
import { randomUUID } from 'node:crypto'
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import type { ClientLink } from '../engine/broker/client-link.ts'
import { whole } from '../engine/broker/options.ts'
import type { ReaderPool } from '../engine/broker/reader-pool.ts'
import type { ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { AcquiredRecords, CallShare, ShareOpenResult } from '../engine/group/share/share-calls.ts'
import type { PartitionReader } from '../engine/log/partition-reader.ts'
import type { ShareGroupConfig } from '../engine/store/share-states.ts'
import type { Job } from './job.ts'
import { toHeaders } from './messages.ts'
import { Producer } from './producer.ts'
import { QueueAcks } from './queue-acks.ts'
import { type ConsumerHost, NOT_BEFORE_HEADER, QueueConsumer, type QueueFetch } from './queue-consumer.ts'
import { processJobs } from './queue-process.ts'
import { redriveLetters } from './queue-redrive.ts'
import type {
  JobsOptions,
  ProcessOptions,
  PushedJob,
  PushOptions,
  QueueOptions,
  QueueStatistics,
} from './queue-types.ts'
import { LocalSource } from './read-source.ts'
import type { BytesLike } from './types.ts'

/** Longest wait of one fetch in the broker's thread; then the next follows. Below the time-out of a call from another thread. */
const FETCH_WAIT_MS = 5_000
const PREFETCH = 100
/** Letters of other queues are taken and given back, which is no failure of theirs. */
const REDRIVE_DELIVERIES = 1_000_000
const PREFETCH_MAX = 10_000
const DELAY_MS_MAX = 0x7fff_ffff

interface Opened extends ShareOpenResult {
  readonly metadata: ClientTopic
}

export class Queue implements AsyncIterable<Job> {
  /** The topic that holds the jobs. */
  readonly name: string
  /** The share group that works on them. */
  readonly group: string
  readonly #link: ClientLink
  readonly #share: CallShare
  readonly #pool: ReaderPool
  readonly #source: LocalSource
  readonly #options: QueueOptions
  readonly #onClose: () => void
  readonly #memberId = randomUUID()
  readonly #acks: QueueAcks
  readonly #consumers = new Set<QueueConsumer>()
  #opened: Promise<Opened> | undefined
  #producer: Promise<Producer> | undefined
  #nextFetchId = 1
  #closing: Promise<void> | undefined

  /** @internal Use `Millrace.queue`. */
  constructor(link: ClientLink, pool: ReaderPool, name: string, options: QueueOptions, onClose: () => void) {
    this.name = name
    this.group = options.group ?? name
    this.#link = link
    this.#share = (call, request) => link.share(call, request) as never
    this.#pool = pool
    this.#source = new LocalSource(link, pool, true)
    this.#options = options
    this.#onClose = onClose
    this.#acks = new QueueAcks(async partitions => this.#share('acknowledge', { ...(await this.#place()), partitions }))
  }

  // ── jobs in ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Appends a job and resolves when it is acknowledged, as `producer.send` does with acks 'all'.
   * @throws as `Producer.send`, and as opening the queue: UNKNOWN_TOPIC_OR_PARTITION unless it is created, QUEUE_IS_COMPACTED
   */
  async push(value: BytesLike | null, options: PushOptions = {}): Promise<PushedJob> {
    const { key, headers, delayMs, partition } = options
    this.#demandOpen()
    await this.#open() // first, so that retention keeps what is pushed
    const all = [...(headers === undefined ? [] : toHeaders(headers))]
    if (delayMs !== undefined) {
      if (!(delayMs >= 0))
        throw new MillraceError('INVALID_ARGUMENT', { argument: 'delayMs', value: String(delayMs), min: 0 })
      all.push({ key: NOT_BEFORE_HEADER, value: Buffer.from(String(Math.ceil(Date.now() + delayMs))) })
    }
    const producer = await this.#attached()
    const message = { value, key: key ?? null, headers: all, ...(partition === undefined ? {} : { partition }) }
    const [pushed] = await producer.send({ topic: this.name, messages: [message] })
    return { partition: pushed?.partition ?? -1, offset: pushed?.baseOffset ?? -1 }
  }

  #attached(): Promise<Producer> {
    const attaching = this.#producer ?? Producer.attach(this.#link, this.#options.producer ?? {}, () => undefined)
    this.#producer = attaching
    attaching.catch(() => {
      if (this.#producer === attaching) this.#producer = undefined
    })
    return attaching
  }

  // ── jobs out ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Jobs as they come, with the default prefetch; see `jobs`. */
  [Symbol.asyncIterator](): AsyncGenerator<Job, undefined> {
    return this.jobs()
  }

  /**
   * Jobs as they come, each to be settled by whoever iterates; waits while there are none. Several iterations, of any
   * queue object and thread, share the jobs. Ends when the queue is closed or the signal aborts. Leaving the loop gives
   * back what was locked ahead; jobs that were handed out stay locked.
   * @throws UNKNOWN_TOPIC_OR_PARTITION, QUEUE_IS_COMPACTED, UNKNOWN_QUEUE when it was deleted, CLOSED with the engine, INVALID_ARGUMENT
   */
  async *jobs({ prefetch = PREFETCH, signal }: JobsOptions = {}): AsyncGenerator<Job, undefined> {
    whole('prefetch', prefetch, 1, PREFETCH_MAX)
    this.#demandOpen()
    const opened = await this.#open().catch((error: unknown) => {
      if (this.#closing === undefined) throw error // else it was closed while it was being opened
    })
    if (opened === undefined || this.#closing !== undefined || signal?.aborted === true) return undefined
    const consumer = new QueueConsumer(this.#host(opened.config), prefetch)
    const abort = (): void => void consumer.close()
    signal?.addEventListener('abort', abort, { once: true })
    this.#consumers.add(consumer)
    try {
      for (;;) {
        const job = await consumer.next()
        if (job === undefined) return undefined
        yield job
      }
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#consumers.delete(consumer)
      await consumer.close()
    }
  }

  /**
   * Up to `count` jobs that are there now, or that come within `waitMs`; fewer when there are fewer.
   * @throws as `jobs`
   */
  async take(count: number, { waitMs = 0 }: { readonly waitMs?: number } = {}): Promise<Job[]> {
    whole('count', count, 1, PREFETCH_MAX)
    this.#demandOpen()
    const { config } = await this.#open()
    const consumer = new QueueConsumer(this.#host(config), count)
    this.#consumers.add(consumer)
    const untilMs = performance.now() + whole('waitMs', waitMs, 0, DELAY_MS_MAX)
    try {
      for (;;) {
        const leftMs = Math.max(0, Math.ceil(untilMs - performance.now()))
        const jobs = await consumer.take(count, Math.min(leftMs, FETCH_WAIT_MS))
        if (jobs.length > 0 || leftMs === 0 || this.#closing !== undefined) return jobs
      }
    } finally {
      this.#consumers.delete(consumer)
      await consumer.close()
    }
  }

  /**
   * Runs a handler for each job, several at once if wanted: acknowledges when it returns, retries with a growing pause
   * when it throws, renews the lock while it runs. Resolves when the queue is closed or the signal aborts, after the
   * handlers that run have ended.
   * @throws as `jobs`
   */
  process(handler: (job: Job) => unknown, options: ProcessOptions = {}): Promise<void> {
    return processJobs(this, handler, options, async () => (await this.#open()).config)
  }

  /**
   * Brings dead letters of this queue back as new jobs, oldest first, and returns how many. Letters that were brought back once
   * stay in their topic and are not brought back again: the share group `<group>.redrive` remembers them.
   * @param options.count at most so many, default all that are there
   * @throws as `jobs` and `push`
   */
  async redrive({ count = Number.MAX_SAFE_INTEGER }: { readonly count?: number } = {}): Promise<number> {
    whole('count', count, 1, Number.MAX_SAFE_INTEGER)
    this.#demandOpen()
    const { deadLetterTopic } = (await this.#open()).config
    if (deadLetterTopic === null) return 0
    const options = { group: `${this.group}.redrive`, deadLetterTopic: null, deliveryCountLimit: REDRIVE_DELIVERIES }
    await using letters = new Queue(this.#link, this.#pool, deadLetterTopic, options, () => undefined)
    return await redriveLetters(letters, this.name, await this.#attached(), count) // before they are closed
  }

  #host({ lockDurationMs }: ShareGroupConfig): ConsumerHost {
    return {
      lockDurationMs,
      fetch: (maxRecords, waitMs) => this.#fetch(maxRecords, waitMs),
      reader: partition => this.#reader(partition),
      giveBack: reader => this.#source.giveBack(reader),
      acknowledge: (partition, acknowledgement) => this.#acks.add(partition, acknowledgement),
      settle: (job, acknowledgement) => this.#acks.add(job.partition, acknowledgement),
    }
  }

  #fetch(maxRecords: number, maxWaitMs = FETCH_WAIT_MS): QueueFetch {
    const fetchId = this.#nextFetchId++
    let isCancelled = false
    const fetch = async (): Promise<readonly AcquiredRecords[]> => {
      const place = await this.#place()
      if (this.#closing !== undefined || isCancelled) return []
      try {
        return await this.#share('fetch', { ...place, fetchId, maxRecords, maxWaitMs })
      } catch (error) {
        if (this.#closing !== undefined) return []
        throw error
      }
    }
    const cancel = async (): Promise<void> => {
      isCancelled = true
      await this.#share('cancel', { ...(await this.#place()), fetchId })
    }
    return { acquired: fetch(), cancel: () => void cancel().catch(() => undefined) }
  }

  async #reader(partition: number): Promise<PartitionReader> {
    const opened = await this.#open()
    let located = opened.metadata.partitions[partition]
    if (located === undefined) {
      const metadata = await this.#link.topic(this.name) // it has more partitions by now
      this.#opened = Promise.resolve({ ...opened, metadata })
      located = metadata.partitions[partition]
    }
    if (located === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: this.name, partition })
    return this.#source.partitionReader(located)
  }

  // ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Numbers over all partitions, as they are now. @throws as `jobs` */
  async statistics(): Promise<QueueStatistics> {
    this.#demandOpen()
    const { topicId } = await this.#open()
    const { topics } = await this.#share('describe', this.group)
    const sums = { available: 0, inFlight: 0, delayed: 0, dying: 0, acknowledged: 0, deadLettered: 0 }
    for (const partition of topics.find(topic => topic.topicId === topicId)?.partitions ?? []) {
      sums.available += partition.available
      sums.inFlight += partition.acquired
      sums.delayed += partition.delayed
      sums.dying += partition.archiving
      sums.acknowledged += partition.accepted
      sums.deadLettered += partition.deadLettered
    }
    return sums
  }

  /** Makes the queue, if `push` or `jobs` has not yet. @throws as `jobs` */
  async open(): Promise<void> {
    this.#demandOpen()
    await this.#open()
  }

  #open(): Promise<Opened> {
    const opening = this.#opened ?? this.#openNow()
    this.#opened = opening
    opening.catch(() => {
      if (this.#opened === opening) this.#opened = undefined
    })
    return opening
  }

  async #openNow(): Promise<Opened> {
    const {
      create = false,
      lockDurationMs,
      deliveryCountLimit,
      recordLocksMax,
      delayedRecordsMax,
      deadLetterTopic,
    } = this.#options
    const given = { lockDurationMs, deliveryCountLimit, recordLocksMax, delayedRecordsMax, deadLetterTopic }
    const config = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
    const spec = create === false ? {} : { create: create === true ? {} : create }
    const opened = await this.#share('open', { group: this.group, topic: this.name, config, ...spec })
    return { ...opened, metadata: await this.#link.topic(this.name) }
  }

  async #place(): Promise<{ readonly group: string; readonly topicId: string; readonly memberId: string }> {
    const { topicId } = await this.#open()
    return { group: this.group, topicId, memberId: this.#memberId }
  }

  #demandOpen(): void {
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', { object: 'queue' })
    if (this.#link.memory.closed) throw new MillraceError('CLOSED', { object: 'engine' })
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Ends the iterations, sends the acknowledgements that are under way, and gives back at once whatever is still locked.
   * May be called twice.
   */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown()
    return this.#closing
  }

  async #shutDown(): Promise<void> {
    const member = { group: this.group, memberId: this.#memberId }
    try {
      for (const consumer of this.#consumers) await consumer.close()
      await this.#acks.settled()
      if (this.#opened !== undefined) await this.#share('leave', member)
    } catch (error) {
      if (!isMillraceError(error, 'CLOSED')) throw error // with the engine, which has let go of everything
    } finally {
      this.#onClose()
      await (await this.#producer?.catch(() => undefined))?.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
