/**
 * The producer: batches records per partition in its slabs and sends them to the partitions' writers. Used by the thread
 * that made it. `send` takes messages in the shape that Node's Kafka users know and waits for room; an `Appender` is the
 * synchronous hot path, which says `false` when there is none.
 */
import { setImmediate } from 'node:timers/promises'
import { MillraceError } from '../engine/base/errors.ts'
import type { ClientLink } from '../engine/broker/client-link.ts'
import type { ClientPartition } from '../engine/broker/topic-metadata.ts'
import type { RecordHeader } from '../engine/format/record.ts'
import { RECORD_BYTES_MIN, recordBytesMax } from '../engine/format/record-batch.ts'
import { Appender } from './appender.ts'
import { toBytes, toHeaders } from './messages.ts'
import { type Batch, type Delivery, ProducerCore } from './producer-core.ts'
import { checkAcks, type ResolvedProducerOptions, resolveProducerOptions } from './producer-options.ts'
import { SendTracker } from './send-tracker.ts'
import { choosePartition, type TopicBatches } from './topic-batches.ts'
import type { Acks, Message, ProducerOptions, RecordMetadata, SendRequest } from './types.ts'

const BATCH_HEADER_BYTES = 61
/** `recordBytesMax` is an upper bound; a record takes at most this much less. */
const RECORD_BYTES_SPREAD = recordBytesMax(0, 0) - RECORD_BYTES_MIN
/** While something waits: how often deadlines are looked at. The timer also keeps the process alive until then. */
const WATCH_MS = 100
/** Longest park between two looks at the rings; wake-ups come long before. */
const PARK_MS = 1_000
/** Longest spin for room before parking. */
const SPIN_MS = 0.05

export class Producer {
  readonly #core: ProducerCore
  readonly #acks: Acks
  readonly #lingerMs: number
  readonly #topics = new Map<string, TopicBatches>()
  readonly #openBatches = new Set<Batch>()
  /** The last of the sends that wait, by topic: later ones go behind it, because order holds between sends as well. */
  readonly #waitingSends = new Map<string, Promise<void>>()
  readonly #refreshing = new Set<string>()
  readonly #onClose: () => void
  #sealScheduled = false
  #lingerTimer: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  #parked = false
  #waiters: (() => void)[] = []
  #closing: Promise<void> | undefined

  private constructor(core: ProducerCore, options: ResolvedProducerOptions, onClose: () => void) {
    this.#core = core
    this.#acks = options.acks
    this.#lingerMs = options.lingerMs
    this.#onClose = onClose
  }

  /** @internal Use `Millrace.producer`. */
  static async attach(link: ClientLink, options: ProducerOptions, onClose: () => void): Promise<Producer> {
    const resolved = resolveProducerOptions(options)
    const core = await ProducerCore.attach(link, resolved.core)
    return new Producer(core, resolved, onClose)
  }

  // ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Appends messages and resolves when they are acknowledged as `acks` demands. Waits while there is no room.
   * @returns one entry for each run of consecutive offsets in a partition
   * @throws UNKNOWN_TOPIC_OR_PARTITION, RECORD_TOO_LARGE, DISK_FULL, FLUSH_FAILED, WRITER_CRASHED, TIMED_OUT, CLOSED, INVALID_ARGUMENT.
   *   Messages of one call are not a unit: with an error some of them may have been appended
   */
  send(request: SendRequest): Promise<RecordMetadata[]> {
    const { messages } = request
    const acks = request.acks ?? this.#acks
    if (!Array.isArray(messages)) {
      return Promise.reject(new MillraceError('INVALID_ARGUMENT', { argument: 'messages', accepted: 'an array' }))
    }
    const tracker = new SendTracker(messages.length)
    try {
      checkAcks(acks)
      this.#demandOpen()
      const topic = this.#waitingSends.has(request.topic) ? undefined : this.#current(request.topic)
      const next = topic === undefined ? 0 : this.#appendAll(topic, messages, 0, acks, tracker)
      if (next < messages.length) this.#sendLater(request.topic, messages, next, acks, tracker)
    } catch (error) {
      tracker.failed(error)
    }
    this.#watchDeadlines()
    this.#park()
    return tracker.promise
  }

  /** The topic's batches, if its metadata is known and true. */
  #current(topic: string): TopicBatches | undefined {
    const known = this.#topics.get(topic)
    return known !== undefined && known.metadata.version === this.#core.link.memory.metadataVersion ? known : undefined
  }

  /** Appends the rest of a send after those of the topic that wait already. */
  #sendLater(topic: string, messages: readonly Message[], from: number, acks: Acks, tracker: SendTracker): void {
    const before = this.#waitingSends.get(topic) ?? Promise.resolve()
    const deadlineMs = this.#deadlineMs() // counted from now, else those at the end of the queue would wait for all before them
    const turn = before.then(() => this.#sendRest(topic, messages, from, acks, tracker, deadlineMs))
    this.#waitingSends.set(topic, turn)
    void turn.then(() => {
      if (this.#waitingSends.get(topic) === turn) this.#waitingSends.delete(topic)
    })
  }

  async #sendRest(
    topic: string,
    messages: readonly Message[],
    from: number,
    acks: Acks,
    tracker: SendTracker,
    deadlineMs: number,
  ): Promise<void> {
    try {
      for (let next = from; next < messages.length; ) {
        const batches = await this.#topic(topic)
        const appended = this.#appendAll(batches, messages, next, acks, tracker)
        this.#watchDeadlines() // while the metadata were on their way nothing was, so the timer may have ended
        this.#park()
        if (appended < messages.length) await this.#room(appended > next ? this.#deadlineMs() : deadlineMs)
        next = appended
      }
    } catch (error) {
      await setImmediate() // a caller that tries again at once must not keep the event loop from what would help it
      tracker.failed(error)
    }
  }

  /** Appends messages until there is no room; returns the index of the first that was not appended. */
  #appendAll(
    topic: TopicBatches,
    messages: readonly Message[],
    from: number,
    acks: Acks,
    tracker: SendTracker,
  ): number {
    for (let index = from; index < messages.length; index++) {
      const message = messages[index] as Message
      const key = toBytes(message.key ?? null)
      const value = toBytes(message.value)
      const timestamp = message.timestamp ?? Date.now()
      const headers = message.headers === undefined ? undefined : toHeaders(message.headers)
      const delivery = acks === 0 ? undefined : tracker
      const partition = this.#append(topic, message.partition, timestamp, key, value, headers, delivery)
      if (partition === -1) return index
      if (acks === 0) tracker.unconfirmed(topic.metadata.partitions[partition] as ClientPartition)
    }
    return messages.length
  }

  /**
   * Appends one record to the open batch of its partition.
   * @param given the partition, if the caller has chosen one
   * @returns the partition, -1 when there is no room
   */
  #append(
    topic: TopicBatches,
    given: number | undefined,
    timestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[] | undefined,
    delivery: Delivery | undefined,
  ): number {
    let partition = choosePartition(topic, key, given)
    let batch = topic.open[partition]
    if (batch !== undefined && !batch.encoder.append(timestamp, key, value, headers)) {
      this.#seal(topic, partition, batch)
      partition = choosePartition(topic, key, given) // without a key the next one, now that this batch is full
      batch = topic.open[partition]
      if (batch !== undefined && !batch.encoder.append(timestamp, key, value, headers)) {
        this.#seal(topic, partition, batch)
        batch = undefined
      }
    }
    if (batch === undefined) {
      batch = this.#openBatch(topic, partition, key, value, headers)
      if (batch === undefined) return -1
      let fits = false
      try {
        fits = batch.encoder.append(timestamp, key, value, headers)
      } finally {
        if (!fits) this.#abandon(topic, partition, batch) // also when it throws: a batch without records cannot be sent
      }
      if (!fits) throw this.#tooLarge(topic, partition, batch.encoder.bytesUsed)
    }
    if (delivery !== undefined) batch.expect(delivery)
    return partition
  }

  #openBatch(
    topic: TopicBatches,
    partition: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[] | undefined,
  ): Batch | undefined {
    if (topic.metadata.version !== this.#core.link.memory.metadataVersion) this.#refresh(topic.metadata.topic)
    const neededBytes = BATCH_HEADER_BYTES + recordBytesMax(key?.length ?? 0, value?.length ?? 0, headers)
    const maxBytes = this.#batchBytesMax(topic)
    if (neededBytes - RECORD_BYTES_SPREAD > maxBytes) {
      throw this.#tooLarge(topic, partition, neededBytes - RECORD_BYTES_SPREAD)
    }
    const bytes = Math.min(Math.max(this.#core.shareBytes, neededBytes), maxBytes)
    const located = topic.metadata.partitions[partition] as ClientPartition
    const batch = this.#core.open(located, bytes) ?? this.#openAfterPoll(located, bytes)
    if (batch === undefined) return undefined
    topic.open[partition] = batch
    this.#openBatches.add(batch)
    this.#scheduleSeal()
    return batch
  }

  /** What the topic takes as one batch and what fits into all slabs, whichever is less. */
  #batchBytesMax(topic: TopicBatches): number {
    return Math.min(topic.metadata.batchBytesMax, this.#core.options.bufferBytes)
  }

  #tooLarge(topic: TopicBatches, partition: number, batchBytes: number): MillraceError {
    const maxBytes = this.#batchBytesMax(topic)
    return new MillraceError('RECORD_TOO_LARGE', { topic: topic.metadata.topic, partition, batchBytes, maxBytes })
  }

  /** Looks at the rings before it gives up; open batches that hold all slabs are sent, or nothing would ever be freed. */
  #openAfterPoll(partition: ClientPartition, bytes: number): Batch | undefined {
    this.#poll()
    const batch = this.#core.open(partition, bytes)
    if (batch === undefined && this.#core.idle) this.#sealAll()
    return batch
  }

  #abandon(topic: TopicBatches, partition: number, batch: Batch): void {
    topic.open[partition] = undefined
    this.#openBatches.delete(batch)
    this.#core.discard(batch)
  }

  #seal(topic: TopicBatches, partition: number, batch: Batch): void {
    topic.open[partition] = undefined
    this.#openBatches.delete(batch)
    this.#core.seal(batch)
    this.#moveOn(topic, partition)
  }

  /** A batch of the partition is full: records without a key go to the next. */
  #moveOn(topic: TopicBatches, partition: number): void {
    if (topic.sticky === partition) topic.sticky = (partition + 1) % topic.metadata.partitions.length
  }

  #sealAll(): void {
    if (this.#lingerTimer !== undefined) clearTimeout(this.#lingerTimer)
    this.#lingerTimer = undefined
    for (const batch of this.#openBatches) {
      const { topic, partition } = batch.partition
      this.#seal(this.#topics.get(topic) as TopicBatches, partition, batch)
    }
  }

  /** With linger 0 a batch leaves as soon as the caller lets other work run, so sends of one turn share it. */
  #scheduleSeal(): void {
    if (this.#lingerMs > 0) {
      this.#lingerTimer ??= setTimeout(() => {
        this.#lingerTimer = undefined
        this.#sealAll()
        this.#park()
      }, this.#lingerMs)
    } else if (!this.#sealScheduled) {
      this.#sealScheduled = true
      queueMicrotask(() => {
        this.#sealScheduled = false
        this.#sealAll()
      })
    }
  }

  // ── the hot path ──────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The synchronous hot path to one topic, or to one partition of it.
   * @throws UNKNOWN_TOPIC_OR_PARTITION
   */
  async appender(topic: string, partition?: number): Promise<Appender> {
    this.#demandOpen()
    const batches = await this.#topic(topic)
    if (partition !== undefined) choosePartition(batches, null, partition)
    const current = (): TopicBatches => this.#topics.get(topic) as TopicBatches
    return new Appender({
      append: (timestamp, key, value) => {
        this.#demandOpen()
        return this.#append(current(), partition, timestamp, key, value, undefined, undefined) !== -1
      },
      openBatch: () => current().open[choosePartition(current(), null, partition)],
      submit: (bytes, recordCount, flags) => {
        this.#demandOpen()
        return this.#submit(current(), choosePartition(current(), null, partition), bytes, recordCount, flags)
      },
      hasPartition: partition !== undefined,
    })
  }

  /** Sends a finished batch; what is open for its partition goes first, for order holds within it. */
  #submit(topic: TopicBatches, partition: number, bytes: Uint8Array, recordCount: number, flags: number): boolean {
    const open = topic.open[partition]
    if (open !== undefined) this.#seal(topic, partition, open)
    const located = topic.metadata.partitions[partition] as ClientPartition
    if (bytes.length > this.#batchBytesMax(topic)) throw this.#tooLarge(topic, partition, bytes.length)
    if (!this.#core.trySubmit(located, bytes, recordCount, flags)) {
      this.#poll()
      if (!this.#core.trySubmit(located, bytes, recordCount, flags)) return false
    }
    this.#moveOn(topic, partition)
    return true
  }

  /** Resolves when there is room for what was refused last. @throws CLOSED, TIMED_OUT after the delivery timeout */
  async ready(): Promise<void> {
    this.#demandOpen()
    await this.#room(this.#deadlineMs())
    this.#demandOpen()
  }

  #deadlineMs(): number {
    return performance.now() + this.#core.options.deliveryTimeoutMs
  }

  async #room(deadlineMs: number): Promise<void> {
    for (;;) {
      this.#poll()
      if (this.#core.hasRoom) return
      this.#sealAll()
      if (this.#spinForRoom()) return
      if (performance.now() > deadlineMs) throw new MillraceError('TIMED_OUT', { waitedFor: 'room in the slabs' })
      await this.#completion()
    }
  }

  /** A busy writer makes room in less time than parking and being woken takes. */
  #spinForRoom(): boolean {
    const untilMs = performance.now() + SPIN_MS
    while (performance.now() < untilMs) {
      this.#poll()
      if (this.#core.hasRoom) return true
    }
    return false
  }

  /** As `ready`, blocking the thread: for loops that never yield. False after `timeoutMs`. @throws CLOSED */
  waitReady(timeoutMs = this.#core.options.deliveryTimeoutMs): boolean {
    const deadlineMs = performance.now() + timeoutMs
    for (;;) {
      this.#demandOpen()
      this.#poll()
      if (this.#core.hasRoom) return true
      this.#sealAll()
      if (this.#spinForRoom()) return true
      this.#core.cell.announce()
      if (this.#core.poll()) this.#core.cell.cancel()
      else {
        const leftMs = deadlineMs - performance.now()
        if (leftMs <= 0) return false
        this.#core.cell.wait(Math.min(leftMs, PARK_MS))
      }
    }
  }

  /**
   * Sends what is open and resolves when everything sent so far is acknowledged.
   * @throws the first error that a batch met since the last flush, also one that `send` has thrown already
   */
  async flush(): Promise<void> {
    this.#demandOpen()
    await this.#drain()
    const error = this.#core.takeError()
    if (error !== undefined) throw error
  }

  /** What is sent after this was called is not waited for, else a busy producer would never be done. */
  async #drain(): Promise<void> {
    await Promise.all(this.#waitingSends.values())
    this.#sealAll()
    this.#watchDeadlines()
    const batches = this.#core.unsettled()
    for (;;) {
      this.#poll()
      if (batches.every(({ isSettled }) => isSettled)) return
      await this.#completion()
    }
  }

  // ── waiting ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #poll(): void {
    if (!this.#core.poll()) return
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }

  /** Resolves after the next completion, or after a while without one. */
  #completion(): Promise<void> {
    this.#watchDeadlines()
    return new Promise(resolve => {
      this.#waiters.push(resolve)
      this.#park()
    })
  }

  /** Waits for completions without blocking the event loop, as long as anyone is interested. */
  #park(): void {
    if (this.#parked) return
    const { cell } = this.#core
    cell.announce()
    this.#poll()
    if (this.#core.idle && this.#openBatches.size === 0 && this.#waiters.length === 0) {
      cell.cancel()
      return
    }
    const wait = cell.waitAsync(PARK_MS)
    this.#parked = true
    const woken = (): void => {
      this.#parked = false
      this.#poll()
      this.#park()
    }
    if (wait === undefined) queueMicrotask(woken)
    else void wait.then(woken)
  }

  /** A timer that lives while something is under way: it keeps the process alive and fails what waits for too long. */
  #watchDeadlines(): void {
    if (this.#watch !== undefined) return
    this.#watch = setInterval(() => {
      this.#poll()
      this.#core.expire()
      const waiters = this.#waiters
      this.#waiters = []
      for (const wake of waiters) wake()
      if (!this.#core.idle || this.#openBatches.size > 0 || this.#waiters.length > 0) return
      clearInterval(this.#watch)
      this.#watch = undefined
    }, WATCH_MS)
  }

  // ── metadata and the end ──────────────────────────────────────────────────────────────────────────────────────────

  async #topic(topic: string): Promise<TopicBatches> {
    const current = this.#current(topic)
    if (current !== undefined) return current
    const metadata = await this.#core.link.topic(topic)
    const known = this.#topics.get(topic)
    if (known !== undefined && known.metadata.topicId !== metadata.topicId) this.#sealAll()
    const { length } = metadata.partitions
    const batches: TopicBatches = {
      metadata,
      open: known?.metadata.topicId === metadata.topicId ? known.open : [],
      sticky: (known?.sticky ?? Math.floor(Math.random() * length)) % length,
    }
    while (batches.open.length < length) batches.open.push(undefined)
    this.#topics.set(topic, batches)
    return batches
  }

  /** Asks for a topic's metadata in the background, for the calls that cannot wait for it. */
  #refresh(topic: string): void {
    if (this.#refreshing.has(topic)) return
    this.#refreshing.add(topic)
    const done = (): unknown => this.#refreshing.delete(topic)
    this.#topic(topic).then(done, done) // a topic that is gone is told by what is sent to it
  }

  /** Also when the engine was closed in another thread. */
  #demandOpen(): void {
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', { object: 'producer' })
    if (this.#core.link.memory.closed) throw new MillraceError('CLOSED', { object: 'engine' })
  }

  /** Sends what is open, waits until it is acknowledged, and gives slabs and rings back. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown()
    return this.#closing
  }

  async #shutDown(): Promise<void> {
    try {
      await this.#drain()
    } finally {
      clearInterval(this.#watch)
      this.#watch = undefined
      await this.#core.detach()
      this.#onClose()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
