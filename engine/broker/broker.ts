/**
 * A running engine over one data directory: opens it, owns its threads and its metadata, and closes it again. Everything
 * in here runs in the thread that opened the directory, and none of it is on the append or the fetch path: producers and
 * readers talk to the writers and the mapped files themselves.
 */
import { EventEmitter } from 'node:events'
import type { TopicId } from '../base/brands.ts'
import { fromErrorData, isMillraceError, MillraceError } from '../base/errors.ts'
import { failpoint } from '../base/failpoints.ts'
import { checkTopicName } from '../format/file-names.ts'
import type { EpochEnd } from '../log/leader-epochs.ts'
import type { DetachedPartition, Mail, WorkerEvent } from '../log/mail.ts'
import type { PartitionLocation } from '../log/partition-reader.ts'
import { syncDirectory } from '../log/recovery-files.ts'
import type { RecoveryReport } from '../log/recovery-types.ts'
import { checkTopicConfigs, demandTopicConfigKey, effectiveTopicConfig, parseTopicConfig } from '../log/topic-config.ts'
import { SLOT } from '../memory/control-block.ts'
import { createEngineMemory, EngineMemory } from '../memory/engine-memory.ts'
import type { CheckpointEntry } from '../store/checkpoints.ts'
import { Store } from '../store/store.ts'
import type { NamedTopic } from '../store/topics.ts'
import { type AdoptedTopic, adoptFolders, demandNoRecords } from './adoption.ts'
import { Background } from './background.ts'
import { bootId } from './boot-id.ts'
import type { BrokerEvents } from './broker-events.ts'
import { Checkpointing } from './checkpointing.ts'
import { type CompactionSummary, Compactor } from './compactor.ts'
import { deletedFolders, renameDeleted } from './deleted-folders.ts'
import { DirectoryLock } from './directory-lock.ts'
import type { ResolvedOptions } from './options.ts'
import { closingEntry } from './partition-facts.ts'
import { type HostedPartition, Partitions, type PartitionToOpen } from './partitions.ts'
import { ProducerIds } from './producer-ids.ts'
import { Producers } from './producers.ts'
import { demandNoQueue, restoreQueues } from './queue-floors.ts'
import { Replicas } from './replicas.ts'
import { type ServiceName, Threads } from './threads.ts'
import { type ClientTopic, clientTopicOf } from './topic-metadata.ts'
import { epochEnd, logEnd, type TruncationTarget, truncationOffset } from './truncation-target.ts'
import { WriterRecoveries } from './writer-recoveries.ts'

export class Broker extends EventEmitter<BrokerEvents> {
  readonly directory: string
  readonly options: ResolvedOptions
  readonly memory: EngineMemory
  readonly store: Store
  readonly producers: Producers
  readonly replicas: Replicas
  /** Called when a partition was brought up again: its log may have been cut to this end. */
  readonly logEndListeners = new Set<(partition: HostedPartition, logEndOffset: number) => void>()
  readonly #lock: DirectoryLock
  readonly #threads: Threads
  readonly #partitions: Partitions
  readonly #byTopic = new Map<string, HostedPartition[]>()
  readonly #compactor: Compactor
  readonly #producerIds: ProducerIds
  readonly #background = new Background(error => {
    if (this.#closing === undefined)
      this.emit('warning', error instanceof MillraceError ? error : new MillraceError('IO_ERROR', {}, error))
  })
  /** Operations on topics, one at a time. */
  #adminQueue: Promise<unknown> = Promise.resolve()
  readonly #recoveries = new WriterRecoveries(writer => this.#partitions.recoverWriter(writer))
  #closing: Promise<void> | undefined
  #sound = true

  private constructor(directory: string, options: ResolvedOptions, lock: DirectoryLock, store: Store) {
    super()
    this.directory = directory
    this.options = options
    this.#lock = lock
    this.store = store
    this.#producerIds = new ProducerIds(store)
    this.memory = new EngineMemory(createEngineMemory(directory))
    this.#threads = new Threads(this.memory, options, {
      event: event => this.#workerEvent(event),
      writerCrashed: (writer, error) => this.#background.run(this.#writerCrashed(writer, error)),
      serviceCrashed: (service, error) => this.#serviceCrashed(service, error),
    })
    this.producers = new Producers(this.#threads)
    this.replicas = new Replicas(this.memory, this.#threads, work => this.#administer(work))
    this.#partitions = new Partitions(directory, options.replicas, this.memory, this.#threads, {
      recovered: (partition, reports, logEndOffset) => this.#recovered(partition, reports, logEndOffset),
      failed: (partition, error) => {
        this.#sound = false
        this.emit('partitionFailed', partition, error)
      },
      truncating: entry => this.store.checkpoints.put([entry]),
      mending: work => this.#background.run(work),
    })
    const { cleanerBufferBytes } = options
    this.#compactor = new Compactor(this.#partitions, this.#threads, this.memory, store, cleanerBufferBytes)
  }

  /** @throws DIRECTORY_LOCKED, NEWER_FORMAT, CORRUPT_STORE, DISK_FULL, IO_ERROR */
  static async open(directory: string, options: ResolvedOptions, events: (broker: Broker) => void): Promise<Broker> {
    const lock = DirectoryLock.take(directory)
    let store: Store | undefined
    try {
      store = Store.open(directory)
      const broker = new Broker(directory, options, lock, store)
      events(broker)
      try {
        await broker.#start()
      } catch (error) {
        broker.#sound = false
        await broker.#shutDown().catch(() => undefined) // what it could not start with is what is told
        throw error
      }
      return broker
    } catch (error) {
      await store?.close()
      lock.release()
      throw error
    }
  }

  async #start(): Promise<void> {
    const clean = this.store.takeCleanShutdown() !== undefined
    const topics = this.store.topics.list()
    const deleted = deletedFolders(this.directory)
    if (deleted.length > 0) await this.#threads.runJob({ kind: 'remove-folders', paths: deleted })
    const list = topics.flatMap(topic => this.#toOpen(topic, 0))
    const hosted = await this.#partitions.open(list, clean ? 'clean' : 'crashed')
    for (const partition of hosted) this.#list(partition)
    restoreQueues(this.store.shares, this.memory.control, hosted)
    const checkpointing = new Checkpointing(this.#partitions, this.store)
    this.#background.every(this.options.checkpointMs, () => checkpointing.storeMoved())
    this.#background.every(this.options.retentionCheckMs, () => this.applyRetention())
    this.#background.every(this.options.cleanerBackoffMs, () => this.applyCompaction(false))
  }

  #toOpen(topic: NamedTopic, from: number): PartitionToOpen[] {
    const checkpoints = this.store.checkpoints.ofTopic(topic.topicId)
    const config = parseTopicConfig(topic.config)
    const list: PartitionToOpen[] = []
    for (let partition = from; partition < topic.partitions; partition++) {
      const { topicId } = topic
      list.push({ topic: topic.topic, topicId, partition, config, checkpoint: checkpoints.get(partition) })
    }
    return list
  }

  #list(partition: HostedPartition): void {
    const list = this.#byTopic.get(partition.topic) ?? []
    list[partition.partition] = partition
    this.#byTopic.set(partition.topic, list)
  }

  #recovered(location: PartitionLocation, reports: readonly RecoveryReport[], logEndOffset: number): void {
    const partition = this.#partitions.bySlot(location.slot)
    if (partition === undefined) return
    const clamped = this.store.offsets.clampOffsets(partition.topicId, partition.partition, logEndOffset)
    if (clamped.length > 0) this.emit('offsetsClamped', partition.topic, partition.partition, clamped)
    for (const listener of this.logEndListeners) listener(partition, logEndOffset)
    if (reports.length > 0) this.emit('recovered', partition, reports)
  }

  // ── topics ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws INVALID_TOPIC_NAME, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_CONFIG, DISK_FULL, IO_ERROR */
  createTopic(
    topic: string,
    partitions: number,
    config: Readonly<Record<string, string | number | boolean>>,
    topicId?: TopicId,
  ): Promise<string> {
    return this.#administer(async () => {
      checkTopicName(topic)
      const checked = checkTopicConfigs(config)
      await this.#withdraw(topic) // left over when an earlier creation or deletion could not be finished
      const created = this.store.topics.create(topic, partitions, checked, topicId)
      try {
        this.#listAll(await this.#bringUp({ topic, ...created }, 0))
      } catch (error) {
        // A full disk may refuse this too: then the next creation, or the next start, meets it.
        await this.#withdraw(topic).catch(() => undefined)
        throw error
      }
      return created.topicId as string
    })
  }

  /** Takes a topic in whose folders something else has put into the directory: see `adoption.ts`. */
  adoptTopic(topic: string, config: Readonly<Record<string, string | number | boolean>>): Promise<AdoptedTopic> {
    return this.#administer(async () => {
      await this.#withdraw(topic)
      const { hosted, ...adopted } = await adoptFolders(this, this.#partitions, this.#threads, topic, config)
      this.#listAll(hosted)
      return adopted
    })
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, DISK_FULL, IO_ERROR */
  createPartitions(topic: string, partitions: number): Promise<void> {
    return this.#administer(async () => {
      const before = this.#stored(topic)
      if (partitions <= before.partitions) {
        throw new MillraceError('INVALID_PARTITIONS', { topic, partitions, existing: before.partitions })
      }
      const hosted = await this.#bringUp({ ...before, partitions }, before.partitions)
      try {
        this.store.topics.setPartitions(topic, partitions)
      } catch (error) {
        await this.#takeDown(hosted)
        throw error
      }
      this.#listAll(hosted)
    })
  }

  /** Brings new partitions up: all of them, or none. */
  async #bringUp(topic: NamedTopic, from: number): Promise<HostedPartition[]> {
    demandNoRecords(this.directory, topic.topic, from, topic.partitions)
    const hosted = await this.#partitions.open(this.#toOpen(topic, from), 'new')
    syncDirectory(this.directory) // the new folders, before anything in them is acknowledged
    const failure = hosted.find(one => one.failure !== undefined)?.failure
    if (failure === undefined) return hosted
    await this.#takeDown(hosted)
    throw failure
  }

  async #takeDown(hosted: readonly HostedPartition[]): Promise<void> {
    await this.#partitions.remove(hosted)
    await this.#threads.runJob({ kind: 'remove-folders', paths: hosted.map(({ directory }) => directory) })
  }

  #listAll(hosted: readonly HostedPartition[]): void {
    for (const partition of hosted) this.#list(partition)
    this.memory.bumpMetadataVersion()
  }

  /** Takes a topic out of the store of which no partition runs. */
  async #withdraw(topic: string): Promise<void> {
    if (!this.#byTopic.has(topic) && this.store.topics.get(topic) !== undefined) await this.store.topics.delete(topic)
  }

  /** Sets keys, or removes those whose value is null. @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG */
  alterConfig(topic: string, entries: Readonly<Record<string, string | number | boolean | null>>): Promise<void> {
    return this.#administer(async () => {
      const config = { ...this.#stored(topic).config }
      for (const [key, value] of Object.entries(entries)) {
        if (value === null) delete config[demandTopicConfigKey(key)]
        else Object.assign(config, checkTopicConfigs({ [key]: value }))
      }
      demandNoQueue(this.store.shares, { ...this.#stored(topic), config })
      this.store.topics.setConfig(topic, config)
      await this.#partitions.configure(this.#byTopic.get(topic) ?? [], parseTopicConfig(config))
      this.memory.bumpMetadataVersion()
    })
  }

  /** The topic's records are gone when this resolves; views that were read stay valid. @throws UNKNOWN_TOPIC_OR_PARTITION */
  deleteTopic(topic: string): Promise<void> {
    return this.#administer(async () => {
      // One of which no partition runs is left over from a deletion that was refused half-way.
      const isThere = this.#byTopic.has(topic) || this.store.topics.list().some(stored => stored.topic === topic)
      if (!isThere) throw unknownTopic(topic)
      const partitions = this.#byTopic.get(topic) ?? []
      this.#byTopic.delete(topic)
      this.memory.bumpMetadataVersion()
      await this.#partitions.remove(partitions)
      // Renamed first, so that a crash before the folders are gone leaves nothing under the topic's name.
      const paths = partitions.map(partition => renameDeleted(this.directory, partition))
      syncDirectory(this.directory)
      const removeFolders = (): Promise<unknown> => this.#threads.runJob({ kind: 'remove-folders', paths })
      try {
        await this.store.topics.delete(topic)
      } catch (error) {
        if (!isMillraceError(error, 'DISK_FULL')) throw error
        await removeFolders() // which makes the room that the store needs
        await this.store.topics.delete(topic)
      }
      await removeFolders()
    })
  }

  /** Raises the log start offset of a partition, to the high watermark with -1. Returns the new one; it is stored by then. */
  deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<number> {
    return this.#administer(async () => {
      const hosted = this.hosted(topic, partition)
      const before = beforeOffset === -1 ? this.#highWatermark(hosted) : beforeOffset
      const { slot } = hosted
      const logStartOffset = await this.ask<number>(hosted, { kind: 'delete-records', slot, offset: before })
      failpoint('delete-records-before-put')
      await this.store.checkpoints.put([this.#partitions.checkpoint(hosted)])
      failpoint('delete-records-after-put')
      this.#threads.writer(hosted.writer).post({ kind: 'remove-below-start', slot }) // files go only when a crash cannot bring the old start back
      return logStartOffset
    })
  }

  /**
   * Cuts a log: at an offset, or at the end of a leader epoch. The batch that reaches there goes as well.
   * @throws OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, DISK_FULL, IO_ERROR
   */
  truncate(topic: string, partition: number, target: TruncationTarget): Promise<EpochEnd> {
    return this.#administer(async () => {
      const hosted = this.hosted(topic, partition)
      const offset = truncationOffset(this.memory.control, hosted, target)
      if (offset < this.memory.control.get(hosted.slot, SLOT.logEndOffset))
        await this.#compactor.aside(hosted, () => this.#partitions.truncate(hosted, offset))
      return logEnd(this.memory.control, hosted)
    })
  }

  /** Drops everything that a replica has, which ends below where its leader's log begins; it goes on there. */
  restart(topic: string, partition: number, logStartOffset: number): Promise<void> {
    const hosted = this.hosted(topic, partition)
    const work = (): Promise<void> => this.#partitions.restart(hosted, logStartOffset)
    return this.#administer(() => this.#compactor.aside(hosted, work))
  }

  /** Where a leader epoch ends in a partition's log, undefined for one that has not begun there. */
  offsetForLeaderEpoch(topic: string, partition: number, leaderEpoch: number): EpochEnd | undefined {
    return epochEnd(this.memory.control, this.hosted(topic, partition), leaderEpoch)
  }

  /** An id for an idempotent producer, which no other of this directory has or had. @throws DISK_FULL, IO_ERROR */
  allocateProducerId(): number {
    return this.#producerIds.allocate()
  }

  /** Appends go on under a higher leader epoch, which the caller has decided. */
  beginLeaderEpoch(topic: string, partition: number, leaderEpoch: number): Promise<void> {
    return this.#administer(() => this.#partitions.beginEpoch(this.hosted(topic, partition), leaderEpoch))
  }

  /** Asks the thread that owns a partition. */
  ask<T>({ writer }: HostedPartition, mail: Mail): Promise<T> {
    return this.#threads.writer(writer).request<T>(mail)
  }

  #highWatermark(partition: HostedPartition): number {
    return this.memory.control.snapshot(partition.slot)?.highWatermark ?? 0
  }

  topicNames(): string[] {
    return [...this.#byTopic.keys()].sort()
  }

  topicIdOf(topic: string): TopicId | undefined {
    return this.#byTopic.get(topic)?.[0]?.topicId
  }

  topicConfig(topic: string): Record<string, string> {
    return effectiveTopicConfig(this.#stored(topic).config)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  clientTopic(topic: string): ClientTopic {
    const version = this.memory.metadataVersion
    const partitions = this.#byTopic.get(topic)
    if (partitions === undefined) throw unknownTopic(topic)
    return clientTopicOf(topic, partitions, version)
  }

  #stored(topic: string): NamedTopic {
    const stored = this.#byTopic.has(topic) ? this.store.topics.get(topic) : undefined
    if (stored === undefined) throw unknownTopic(topic)
    return { topic, ...stored }
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  hosted(topic: string, partition: number): HostedPartition {
    const hosted = this.#byTopic.get(topic)?.[partition]
    if (hosted === undefined)
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: topic.slice(0, 64), partition })
    return hosted
  }

  #administer<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(this.#closed())
    const run = this.#adminQueue.then(operation) // close waits for it
    this.#adminQueue = run.catch(() => undefined)
    return run
  }

  demandOpen(): void {
    if (this.#closing !== undefined) throw this.#closed()
  }

  #closed(): MillraceError {
    return new MillraceError('CLOSED', { directory: this.directory })
  }

  // ── in the background ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Removes the segments that retention does not want any more, in all partitions. Returns how many. */
  async applyRetention(nowMs = Date.now()): Promise<number> {
    const writers = Array.from({ length: this.#threads.writerCount }, (_, writer) => this.#threads.writer(writer))
    const removed = await Promise.all(writers.map(writer => writer.request<number>({ kind: 'retention', nowMs })))
    return removed.reduce((sum, count) => sum + count, 0)
  }

  /** Compacts what is due, or with `force` all that can be. */
  applyCompaction(force: boolean, nowMs = Date.now()): Promise<CompactionSummary> {
    return this.#compactor.run(nowMs, force)
  }

  #workerEvent(event: WorkerEvent): void {
    if (event.kind === 'warning') this.emit('warning', fromErrorData(event.error))
    if (event.kind !== 'partition-failed') return
    const partition = this.#partitions.bySlot(event.slot)
    if (partition === undefined || partition.slotGeneration !== event.slotGeneration) return
    this.#sound = false
    this.emit('partitionFailed', partition, fromErrorData(event.error))
    if (event.error.code === 'FLUSH_FAILED')
      this.#background.run(this.#partitions.repair(event.slot, event.slotGeneration))
  }

  /**
   * The order that the service had in its hands is lost, and whoever gave it would wait for ever: the writers begin anew
   * as well, which fails what is under way and recovers every partition. The indexer has no orders.
   */
  #serviceCrashed(service: ServiceName, error: unknown): void {
    this.#sound = false
    this.emit('warning', new MillraceError('WRITER_CRASHED', { service }, error))
    this.#threads.restartService(service)
    this.#partitions.serveTo(this.#threads.service(service))
    if (service === 'indexer') return
    for (let writer = 0; writer < this.#threads.writerCount; writer++) {
      this.#threads.writer(writer).post({ kind: 'abandon', service })
    }
  }

  async #writerCrashed(writer: number, error: unknown): Promise<void> {
    this.#sound = false
    this.producers.writerDied(writer)
    await this.#recoveries.run(writer)
    this.emit('writerRestarted', writer, new MillraceError('WRITER_CRASHED', { writer }, error))
  }

  /** The engine was closed, and everything that it acknowledged is flushed. */
  get closedClean(): boolean {
    return this.memory.closed && this.#sound
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Appends and flushes what is under way, stops every thread, leaves the marker of a clean close. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#adminQueue.then(() => this.#shutDown()).finally(() => this.#lock.release())
    return this.#closing
  }

  async #shutDown(): Promise<void> {
    this.#background.stopTimers()
    this.#partitions.stop()
    this.#compactor.stop()
    await this.replicas.settle()
    await this.#background.settle()
    try {
      await this.#settle()
    } catch (error) {
      this.#sound = false
      throw error
    } finally {
      const closed = await this.#threads.stop()
      try {
        await this.#leaveMarker(closed) // a full disk may refuse it: then the next start recovers
      } finally {
        await this.store.close()
        this.memory.markClosed()
        this.memory.release()
      }
    }
  }

  async #settle(): Promise<void> {
    // Long enough for a slow disk to take all that is dirty.
    const timeoutMs = 10 * this.options.requestTimeoutMs
    const writers = Array.from({ length: this.#threads.writerCount }, (_, writer) => this.#threads.writer(writer))
    this.#threads.service('flusher').post({ kind: 'settle' })
    await Promise.all(writers.map(writer => writer.request({ kind: 'settle' }, timeoutMs)))
    await this.#threads.service('indexer').request({ kind: 'settle' }, timeoutMs)
  }

  async #leaveMarker(closed: readonly DetachedPartition[]): Promise<void> {
    const entries: CheckpointEntry[] = []
    for (const described of closed) {
      const partition = this.#partitions.bySlot(described.slot)
      if (partition === undefined || partition.slotGeneration !== described.slotGeneration) continue
      this.#sound &&= described.flushedOffset === described.logEndOffset
      entries.push(closingEntry(this.memory.control, partition, described))
    }
    await this.store.checkpoints.put(entries)
    if (this.#sound) await this.store.markCleanShutdown({ bootId: bootId(), atMs: Date.now() })
  }
}

const unknownTopic = (topic: string): MillraceError =>
  new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: String(topic).slice(0, 64) })
