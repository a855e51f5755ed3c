/**
 * A consumer: a member of a group that divides the partitions of its topics, or one that is told its partitions. Used by the
 * thread that made it, which reads the mapped log itself; the broker's thread is asked for assignments and offsets only.
 *
 * A record is handled when whoever got it asks for the next one, or when its handler returned. What was handed out but not
 * handled is neither committed by itself nor lost: it is handed out again, here or to the next owner of the partition.
 */
import { EventEmitter } from 'node:events'
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import { whole } from '../engine/broker/options.ts'
import type { Handled } from './connection-types.ts'
import type { Delivery } from './consumed-partition.ts'
import type { ConsumedBatch, ConsumerBackend } from './consumer-backend.ts'
import { ConsumerCore } from './consumer-core.ts'
import { DeadLetters } from './consumer-dead-letters.ts'
import { attempt, handleDeliveries, handleRecords, resolveAttempts } from './consumer-each.ts'
import { resolveConsumerOptions, resolveSubscription } from './consumer-options.ts'
import type {
  CommittedPosition,
  ConsumerEvents,
  ConsumerOptions,
  HandlerOptions,
  MessageHandlerOptions,
  OffsetToSeek,
  OffsetToStore,
  PartitionLag,
  RebalanceListener,
  Subscription,
  TopicPartition,
} from './consumer-types.ts'
import type { ReadBatch } from './read-batch.ts'
import { ConsumedRecord } from './record.ts'

const CLOSE_MS = 30_000
const CLOSE_MS_MAX = 0x7fff_ffff

export class Consumer<Batch extends ConsumedBatch = ReadBatch>
  extends EventEmitter<ConsumerEvents>
  implements AsyncIterable<Batch>
{
  readonly #core: ConsumerCore
  readonly #backend: ConsumerBackend
  readonly #groupId: string | null
  readonly #deadLetters: DeadLetters
  readonly #onClose: () => void
  /** Somebody iterates, or has handlers run. */
  #loop: Promise<void> | undefined
  #isStopped = false
  #closing: Promise<void> | undefined
  #isClosed = false

  /** @internal Use `Millrace.consumer`. */
  constructor(backend: ConsumerBackend<Batch>, options: ConsumerOptions, onClose: () => void) {
    super()
    const resolved = resolveConsumerOptions(options)
    this.#backend = backend
    this.#groupId = resolved.groupId
    this.#onClose = onClose
    this.#core = new ConsumerCore(backend, resolved, this)
    this.#deadLetters = new DeadLetters(backend, resolved.groupId)
  }

  get groupId(): string | null {
    return this.#groupId
  }

  // ── what to consume ───────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Joins the group, or changes what the member is subscribed to. Resolves when the coordinator took the member;
   * partitions come later, and `listener` is told of them. Topics need not be there yet.
   * @throws INVALID_GROUP_ID without a group, INVALID_ARGUMENT after `assign`, INVALID_REGULAR_EXPRESSION, UNSUPPORTED_ASSIGNOR,
   *   GROUP_MAX_SIZE_REACHED, UNRELEASED_INSTANCE_ID, TIMED_OUT, CLOSED
   */
  async subscribe(topics: Subscription, listener: RebalanceListener = {}): Promise<void> {
    this.#demandOpen()
    await this.#core.subscribe(resolveSubscription(topics), listener)
  }

  /** Leaves the group, or gives up what was assigned, after a commit of what was handled. It may subscribe again. */
  async unsubscribe(): Promise<void> {
    this.#demandOpen()
    await this.#core.leave()
  }

  /**
   * Takes partitions without asking the group, which then must not have members if offsets are committed. Begins at the
   * committed offsets, if there is a group. An empty list gives everything up.
   * @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT while subscribed
   */
  async assign(partitions: readonly TopicPartition[]): Promise<void> {
    this.#demandOpen()
    await this.#core.assign(partitions)
  }

  /** The partitions that the consumer owns now. */
  assignment(): TopicPartition[] {
    return this.#core.owned().map(({ topic, partition }) => ({ topic, partition }))
  }

  // ── records out ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Batches as they come, of all partitions in turn; waits while there are none. Asking for the next one says that the
   * last one was handled; a batch in hand when the loop is left was not, unless it was committed. Ends when the consumer
   * is closed. One loop at a time.
   * @throws OFFSET_OUT_OF_RANGE and NO_OFFSET_FOR_PARTITION with autoOffsetReset 'none', CORRUPT_BATCH: the partition is
   *   skipped by a seek; FENCED_INSTANCE_ID and what else ends a membership; what a listener threw; CLOSED with the engine
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, undefined> {
    for await (const delivery of this.#deliveries()) {
      const { batch } = delivery
      delivery.positionOffset = batch.nextOffset
      yield batch
      delivery.handled(batch.nextOffset)
    }
    return undefined
  }

  /** The same record by record; a partition that is to be given up is left in the middle of a batch. @throws as the iteration over batches */
  async *records(): AsyncGenerator<ConsumedRecord, undefined> {
    for await (const delivery of this.#deliveries()) {
      const isWanted = (): boolean => delivery.isWanted && !this.#isStopped && this.#closing === undefined
      for (const record of delivery.batch) {
        if (!isWanted()) break
        delivery.positionOffset = record.offset + 1
        yield record
        delivery.handled(record.offset + 1)
      }
      if (isWanted()) delivery.handled(delivery.batch.nextOffset)
    }
    return undefined
  }

  async *#deliveries(): AsyncGenerator<Delivery<Batch>, undefined> {
    const done = this.#enter()
    let delivery: Delivery<Batch> | undefined
    try {
      for (;;) {
        delivery = await this.#take(() => false)
        if (delivery === undefined) return undefined
        delivery.isIterated = true
        yield delivery
        delivery.end()
      }
    } finally {
      delivery?.end()
      done()
    }
  }

  /**
   * Runs a handler for each batch, several partitions at once if wanted. Resolves when the consumer is closed or the
   * signal aborts, after the handlers that run have ended.
   * @throws as the iteration, and what a handler threw for the last time
   */
  eachBatch(handler: (batch: Batch) => unknown, options: HandlerOptions = {}): Promise<void> {
    const attempts = resolveAttempts(options)
    const isOver = this.#isOver(options.signal)
    return this.#each(options, async delivery => {
      const { batch, owner } = delivery
      const at = { topic: owner.topic, partition: owner.partition, offset: batch.baseOffset }
      const failed = (error: unknown, attempt: number): void => options.onError?.(error, { ...at, attempt })
      const result = await attempt(delivery, () => handler(batch), attempts, failed, isOver)
      if (result === undefined) delivery.handled(batch.nextOffset)
      else if (result !== 'unwanted') throw result.error
    })
  }

  /**
   * Runs a handler for each record, several partitions at once if wanted, within each in order. A record that is tried as
   * often as it may be goes to the dead-letter topic, if there is one.
   * @throws as `eachBatch`
   */
  eachMessage(handler: (record: ConsumedRecord) => unknown, options: MessageHandlerOptions = {}): Promise<void> {
    const attempts = resolveAttempts(options)
    const isOver = this.#isOver(options.signal)
    return this.#each(options, delivery =>
      handleRecords(
        delivery,
        async record => {
          const { topic, partition, offset } = record
          const at = { topic, partition, offset }
          const failed = (error: unknown, attempt: number): void => options.onError?.(error, { ...at, attempt })
          const result = await attempt(delivery, () => handler(record), attempts, failed, isOver)
          if (result === 'unwanted') return false
          if (result === undefined) return true
          if (options.deadLetterTopic === undefined) throw result.error
          await this.#deadLetters.append(options.deadLetterTopic, record, attempts.retries + 1, result.error)
          this.emit('deadLetter', at, result.error)
          return true
        },
        isOver,
      ),
    )
  }

  async #each(options: HandlerOptions, handle: (delivery: Delivery<Batch>) => Promise<void>): Promise<void> {
    const done = this.#enter()
    try {
      const { assignment } = this.#core
      const source = { take: (isOver: () => boolean) => this.#take(isOver), wake: () => assignment.wake() }
      await handleDeliveries(source, handle as (delivery: Delivery) => Promise<void>, options)
    } finally {
      done()
    }
  }

  #isOver(signal: AbortSignal | undefined): () => boolean {
    return () => this.#isStopped || this.#closing !== undefined || signal?.aborted === true
  }

  /** @throws INVALID_ARGUMENT when somebody else is at it */
  #enter(): () => void {
    this.#demandOpen()
    if (this.#loop !== undefined) {
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'consumer', reason: 'it is iterated already' })
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#isStopped = false
    this.#loop = promise
    return () => {
      this.#loop = undefined
      resolve()
    }
  }

  async #take(isOver: () => boolean): Promise<Delivery<Batch> | undefined> {
    if (this.#closing !== undefined) return undefined
    return this.#core.take(() => this.#isStopped || isOver()) as Promise<Delivery<Batch> | undefined>
  }

  /**
   * Ends the loop, or the handling, as soon as it asks for more: what is in hand is handled first. The consumer stays in
   * its group; close it then, or begin another loop.
   */
  stop(): void {
    if (this.#loop === undefined) return
    this.#isStopped = true
    this.#core.assignment.wake()
  }

  // ── positions ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Hands nothing more out of these, until `resume`; the member keeps them. @throws UNKNOWN_TOPIC_OR_PARTITION unless they are assigned */
  pause(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#core.assignment.demand(partition).isPaused = true
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION unless they are assigned */
  resume(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#core.assignment.demand(partition).isPaused = false
    this.#core.assignment.wake()
  }

  paused(): TopicPartition[] {
    const paused = this.#core.owned().filter(({ isPaused }) => isPaused)
    return paused.map(({ topic, partition }) => ({ topic, partition }))
  }

  /**
   * Goes on at an offset. What is in hand of the partition does not count any more.
   * @throws UNKNOWN_TOPIC_OR_PARTITION unless it is assigned, INVALID_ARGUMENT; that the offset is in the log shows when it is read
   */
  seek({ topic, partition, offset }: OffsetToSeek): void {
    whole('offset', offset, 0, Number.MAX_SAFE_INTEGER)
    this.#core.assignment.demand({ topic, partition }).moveTo(offset)
    this.#core.assignment.wake()
  }

  /** Goes on at the log's start; all partitions without a list. @throws UNKNOWN_TOPIC_OR_PARTITION unless they are assigned */
  seekToBeginning(partitions: readonly TopicPartition[] = this.assignment()): void {
    for (const partition of partitions) {
      const found = this.#core.assignment.demand(partition)
      found.moveTo(found.track.reader.logStartOffset)
    }
    this.#core.assignment.wake()
  }

  /** Goes on at the high watermark; all partitions without a list. @throws UNKNOWN_TOPIC_OR_PARTITION unless they are assigned */
  seekToEnd(partitions: readonly TopicPartition[] = this.assignment()): void {
    for (const partition of partitions) {
      const found = this.#core.assignment.demand(partition)
      found.moveTo(found.track.reader.highWatermark)
    }
    this.#core.assignment.wake()
  }

  /** The next offset that is not handled, or behind what an iteration has in hand: what `commit()` commits. @throws UNKNOWN_TOPIC_OR_PARTITION */
  position(partition: TopicPartition): number {
    return this.#core.assignment.demand(partition).positionOffset
  }

  /** How far each partition is behind the end of its log, from the log's own state. No cost but a few loads. */
  lag(): PartitionLag[] {
    return this.#core.owned().flatMap(({ topic, partition, positionOffset, highWatermark }) => {
      if (highWatermark === undefined) return []
      const lag = Math.max(0, highWatermark - positionOffset)
      return { topic, partition, position: positionOffset, highWatermark, lag }
    })
  }

  // ── commits ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Commits and resolves when it is on disk: without an argument all positions, a record or batch up to behind it, an
   * offset as it is. Commits are stored in the order in which they were made.
   * @param options.metadata kept beside the offsets, 4,096 bytes at most
   * @throws INVALID_GROUP_ID without a group, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_MEMBER_ID and STALE_MEMBER_EPOCH for
   *   what the member does not own any more, ILLEGAL_GENERATION, INVALID_ARGUMENT, DISK_FULL, TIMED_OUT, CLOSED
   */
  async commit(handled?: Handled | readonly Handled[], options: { readonly metadata?: string } = {}): Promise<void> {
    this.#demandNotClosed()
    await this.#commit(handled, options)
  }

  /** The same without waiting; what fails is told by the event `commitFailed`. */
  commitAsync(handled?: Handled | readonly Handled[], options: { readonly metadata?: string } = {}): void {
    this.#demandNotClosed()
    this.#commit(handled, options).catch((error: unknown) => this.emit('commitFailed', error as Error))
  }

  #commit(handled: Handled | readonly Handled[] | undefined, { metadata }: { readonly metadata?: string }) {
    if (handled === undefined) return this.#core.offsets.commitPositions(metadata)
    const list = Array.isArray(handled) ? (handled as readonly Handled[]) : [handled as Handled]
    return this.#core.offsets.commitOffsets(list.map(each => offsetBehind(each, metadata)))
  }

  /**
   * What the group has committed for these partitions, without a list for those that are assigned; left out where it has
   * committed nothing.
   * @throws INVALID_GROUP_ID without a group, UNKNOWN_TOPIC_OR_PARTITION
   */
  async committed(partitions: readonly TopicPartition[] = this.assignment()): Promise<CommittedPosition[]> {
    this.#demandNotClosed()
    return this.#core.offsets.committed(partitions)
  }

  #demandOpen(): void {
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', { object: 'consumer' })
    this.#demandNotClosed()
  }

  /** A listener may still commit while the consumer is being closed. */
  #demandNotClosed(): void {
    if (this.#isClosed) throw new MillraceError('CLOSED', { object: 'consumer' })
    const { isClosed, object } = this.#backend
    if (isClosed) throw new MillraceError('CLOSED', { object })
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Ends the iteration, waits for handlers that run, commits what was handled (with autoCommit) and leaves the group at
   * once; a static member keeps its place for its session timeout. May be called twice.
   * @param options.timeoutMs longest wait for handlers, default 30,000. What a `for await` has in hand is not waited for
   */
  close({ timeoutMs = CLOSE_MS }: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#shutDown(whole('timeoutMs', timeoutMs, 0, CLOSE_MS_MAX))
    return this.#closing
  }

  async #shutDown(timeoutMs: number): Promise<void> {
    try {
      this.#core.assignment.close()
      await this.#handlersEnd(timeoutMs)
      await this.#core.leave()
    } catch (error) {
      if (!isMillraceError(error, 'CLOSED') || !this.#backend.isClosed) throw error // else the engine knows that its members are gone
    } finally {
      this.#isClosed = true
      this.#core.stop()
      this.#onClose()
      await this.#backend.close()
    }
  }

  /** An iteration that waits ends at once; one with something in hand may be what closes the consumer. */
  async #handlersEnd(timeoutMs: number): Promise<void> {
    const isIterated = this.#core.assignment.partitions.some(({ delivery }) => delivery?.isIterated === true)
    if (this.#loop === undefined || isIterated) return
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<void>(resolve => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([this.#loop, timeout])
    clearTimeout(timer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function offsetBehind(handled: Handled, metadata: string | undefined): OffsetToStore {
  const { topic, partition } = handled
  const text = metadata === undefined ? {} : { metadata }
  if ('nextOffset' in handled) return { topic, partition, offset: handled.nextOffset, ...text }
  if (handled instanceof ConsumedRecord) return { topic, partition, offset: handled.offset + 1, ...text }
  return { ...text, ...handled }
}
