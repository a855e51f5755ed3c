/**
 * The partitions of a running engine: which slot, folder and writer each has, and how it is brought up, taken down,
 * recovered after its writer died and repaired after a failed flush. Owned by the broker's thread.
 *
 * Everything that changes files of a partition outside its writer goes the same way: the writer and the services let go
 * of it, a job works on its folder alone, the writer adopts what the job found under a new leader epoch.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TopicId } from '../base/brands.ts'
import { type ErrorData, fileError, fromErrorData, isMillraceError, MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { PARTITIONS_MAX } from '../base/limits.ts'
import { partitionDirectory } from '../format/file-names.ts'
import { writeEpochCheckpoint } from '../log/epoch-checkpoint-file.ts'
import type { RecoverItem } from '../log/jobs.ts'
import { withEpoch } from '../log/leader-epochs.ts'
import type { DetachedPartition, LeftOpen } from '../log/mail.ts'
import type { PartitionLocation } from '../log/partition-reader.ts'
import type { PartitionState } from '../log/partition-state.ts'
import type { RecoveryReport, RecoveryResult } from '../log/recovery-types.ts'
import { SYNC_TOGETHER_MIN } from '../log/sync-files.ts'
import type { TopicConfig } from '../log/topic-config.ts'
import { statusOf } from '../memory/append-channel.ts'
import { type ControlBlock, INDEX_LOCK, SLOT, STATE } from '../memory/control-block.ts'
import { type EngineMemory, SERVICE } from '../memory/engine-memory.ts'
import type { CheckpointEntry, PartitionCheckpoint } from '../store/checkpoints.ts'
import type { HostedPartition } from './hosted-partition.ts'
import { Mending, mayPass } from './mending.ts'
import { checkpointEntry, checkpointOf, recoverItem, recoveryRequest, served } from './partition-facts.ts'
import { Replicas } from './replicas.ts'
import type { Threads } from './threads.ts'
import type { WorkerLoop } from './worker-loop.ts'

export type { HostedPartition } from './hosted-partition.ts'

/** What a job found in a partition's folder, for its writer to adopt. */
interface Recovered {
  readonly partition: HostedPartition
  readonly result: RecoveryResult
}

/** A partition to be brought up. */
export interface PartitionToOpen {
  readonly topic: string
  readonly topicId: TopicId
  readonly partition: number
  readonly config: TopicConfig
  readonly checkpoint: PartitionCheckpoint | undefined
}

export interface PartitionEvents {
  recovered(partition: PartitionLocation, reports: readonly RecoveryReport[], logEndOffset: number): void
  failed(partition: PartitionLocation, error: MillraceError): void
  /** A log is about to be cut, or was cut: resolves when the checkpoint is stored. */
  truncating(entry: CheckpointEntry): Promise<void>
  /** What goes on in the background; `stop` ends it. */
  mending(work: Promise<void>): void
}

/** Partitions of one recovery job: enough to share its start, few enough to spread over the threads. */
const RECOVERY_BATCH = 16
/** After a clean close, and for new partitions, a job takes so little time for each that starting its thread takes more. */
const QUICK_BATCH = 1_024

export class Partitions {
  readonly #directory: string
  readonly #areReplicas: boolean
  readonly #memory: EngineMemory
  readonly #threads: Threads
  readonly #events: PartitionEvents
  readonly #hosted = new Map<number, HostedPartition>()
  readonly #freeSlots: number[] = []
  #unusedSlot = 0
  readonly #mending = new Mending()

  constructor(
    directory: string,
    areReplicas: boolean,
    memory: EngineMemory,
    threads: Threads,
    events: PartitionEvents,
  ) {
    this.#directory = directory
    this.#areReplicas = areReplicas
    this.#memory = memory
    this.#threads = threads
    this.#events = events
  }

  get all(): IterableIterator<HostedPartition> {
    return this.#hosted.values()
  }

  bySlot(slot: number): HostedPartition | undefined {
    return this.#hosted.get(slot)
  }

  /**
   * Recovers partitions in parallel and gives each to its writer.
   * @param how after a clean close checkpoints may be trusted; what is new is durable when this resolves
   */
  async open(list: readonly PartitionToOpen[], how: 'clean' | 'crashed' | 'new'): Promise<HostedPartition[]> {
    const syncLater = how === 'new' && list.length >= SYNC_TOGETHER_MIN
    const hosted: HostedPartition[] = []
    try {
      for (const item of list) hosted.push(this.#host(item))
    } catch (error) {
      for (const partition of hosted) this.#release(partition)
      throw error
    }
    this.#serve(hosted)
    const batches: Promise<void>[] = []
    const batch = how === 'crashed' ? RECOVERY_BATCH : QUICK_BATCH
    for (let from = 0; from < hosted.length; from += batch) {
      const to = from + batch
      batches.push(
        this.#recover(
          hosted.slice(from, to),
          list.slice(from, to).map(item => item.checkpoint),
          { clean: how === 'clean', syncLater },
        ),
      )
    }
    await Promise.all(batches)
    if (syncLater) await this.#threads.runJob({ kind: 'sync-folders', paths: hosted.map(({ directory }) => directory) })
    return hosted
  }

  #host(item: PartitionToOpen): HostedPartition {
    const directory = join(this.#directory, partitionDirectory(item.topic, item.partition))
    try {
      mkdirSync(directory, { recursive: true })
    } catch (error) {
      throw fileError(error, { directory })
    }
    const slot = this.#freeSlots.pop() ?? this.#unusedSlot++
    if (slot >= PARTITIONS_MAX) {
      this.#unusedSlot = PARTITIONS_MAX
      throw new MillraceError('INVALID_PARTITIONS', { partitionsMax: PARTITIONS_MAX })
    }
    const { control } = this.#memory
    control.clear(slot)
    if (this.#areReplicas) Replicas.prepare(control, slot, item.checkpoint?.highWatermark ?? 0)
    this.#memory.setIdentity(slot, item.topicId, item.partition)
    const hosted: HostedPartition = {
      topic: item.topic,
      topicId: item.topicId,
      partition: item.partition,
      directory,
      slot,
      slotGeneration: control.get(slot, SLOT.slotGeneration),
      writer: slot % this.#threads.writerCount,
      config: item.config,
      cleanedOffset: item.checkpoint?.cleanedOffset ?? 0,
      epochs: [],
      isReplica: this.#areReplicas,
      truncateTo: item.checkpoint?.truncateTo,
      failure: undefined,
    }
    this.#hosted.set(slot, hosted)
    return hosted
  }

  #serve(hosted: readonly HostedPartition[]): void {
    const partitions = hosted.map(served)
    for (const service of this.#threads.services) service.post({ kind: 'serve', partitions })
  }

  /** Tells a service that was started anew what there is; the indexer's locks died with its thread. */
  serveTo(service: WorkerLoop<void>): void {
    const { control } = this.#memory
    service.post({ kind: 'serve', partitions: [...this.#hosted.values()].map(served) })
    if (service.thread !== SERVICE.indexer) return
    for (const { slot } of this.#hosted.values()) {
      control.swap(slot, SLOT.indexLock, INDEX_LOCK.indexer, INDEX_LOCK.free)
      this.#memory.markDirty(slot)
    }
  }

  async #recover(
    hosted: readonly HostedPartition[],
    checkpoints: readonly (PartitionCheckpoint | undefined)[],
    { clean, syncLater }: { readonly clean: boolean; readonly syncLater: boolean },
  ): Promise<void> {
    const items = hosted.map((partition, index) => recoverItem(partition, checkpoints[index], clean))
    const asked = syncLater ? items.map(item => ({ ...item, request: { ...item.request, syncLater } })) : items
    const outcomes = await this.#threads.runJob({ kind: 'recover', items: asked })
    const recovered: Recovered[] = []
    for (const [index, partition] of hosted.entries()) {
      const outcome = outcomes[index] ?? { error: { code: 'IO_ERROR', details: {} } }
      if ('result' in outcome) recovered.push({ partition, result: outcome.result })
      else {
        this.#markFailed(partition, outcome.error)
        if (mayPass(outcome.error.code)) this.#recoverLater(partition, items[index] as RecoverItem)
      }
    }
    // One partition with too many segments does not keep the others down.
    for (const { partition, error } of await this.#adopt(recovered)) this.#markFailed(partition, error)
  }

  #recoverLater(partition: HostedPartition, item: RecoverItem): void {
    const attempt = (): Promise<void> => this.#recoverAgain(partition, item)
    const failed = (error: ErrorData): void => this.#markFailed(partition, error)
    this.#events.mending(this.#mending.begin(partition.slot, attempt, failed, 'later'))
  }

  async #recoverAgain(partition: HostedPartition, item: RecoverItem): Promise<void> {
    const [outcome] = await this.#threads.runJob({ kind: 'recover', items: [item] })
    invariant(outcome !== undefined, 'a job answers for each of its items')
    if ('error' in outcome) throw fromErrorData(outcome.error)
    await this.#adoptOne(partition, outcome.result)
  }

  async #adoptOne(partition: HostedPartition, result: RecoveryResult): Promise<void> {
    const [refused] = await this.#adopt([{ partition, result }])
    if (refused !== undefined) throw fromErrorData(refused.error)
  }

  /** Gives partitions to their writers, with one mail to each. Returns those that were refused: TOO_MANY_SEGMENTS. */
  async #adopt(recovered: readonly Recovered[]): Promise<{ partition: HostedPartition; error: ErrorData }[]> {
    const cut = recovered.filter(({ partition }) => partition.truncateTo !== undefined)
    await Promise.all(cut.map(({ partition, result }) => this.#forgetTruncation(partition, result)))
    // What was brought up again does not lead before its cluster says so anew: its epoch may have gone with what was lost.
    for (const { partition } of recovered)
      if (partition.isReplica) Replicas.demote(this.#memory.control, partition.slot)
    const byWriter = Map.groupBy(recovered, ({ partition }) => partition.writer)
    const refused: { partition: HostedPartition; error: ErrorData }[] = []
    const mails = [...byWriter].map(async ([writer, mine]) => {
      const states = mine.map(stateOf)
      const errors = await this.#threads.writer(writer).request<(ErrorData | undefined)[]>({ kind: 'adopt', states })
      for (const [index, { partition, result }] of mine.entries()) {
        const error = errors[index]
        if (error !== undefined) refused.push({ partition, error })
        else this.#adopted(partition, result)
      }
    })
    await Promise.all(mails)
    return refused
  }

  #adopted(partition: HostedPartition, { logEndOffset, epochs, reports }: RecoveryResult): void {
    partition.failure = undefined
    partition.epochs = epochs
    partition.cleanedOffset = Math.min(partition.cleanedOffset, logEndOffset)
    this.#memory.markDirty(partition.slot)
    this.#events.recovered(partition, reports, logEndOffset)
  }

  /** A partition that could not be brought up: the others go on, and what it says is why. */
  #markFailed(partition: HostedPartition, data: ErrorData): void {
    const { control } = this.#memory
    control.set(partition.slot, SLOT.failure, statusOf(data.code))
    control.set(partition.slot, SLOT.state, STATE.failed)
    const isNews = partition.failure?.code !== data.code
    partition.failure = fromErrorData(data)
    if (isNews) this.#events.failed(partition, partition.failure)
  }

  /** The writer and the services let go of a partition. Undefined when the writer did not have it. */
  async #detach(partition: HostedPartition, cut: boolean): Promise<DetachedPartition | undefined> {
    const { slot } = partition
    // The indexer first: it must not publish into entries that the writer gives back.
    await this.#threads.service('indexer').request({ kind: 'detach', slot, cut })
    let described: DetachedPartition | undefined
    try {
      described = await this.#threads.writer(partition.writer).request<DetachedPartition>({ kind: 'detach', slot, cut })
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
    }
    await Promise.all([
      this.#threads.service('flusher').request({ kind: 'detach', slot, cut }),
      this.#threads.service('janitor').request({ kind: 'detach', slot, cut }),
    ])
    return described
  }

  /** Hands a changed configuration to whoever works with the partitions. One that stopped has no writer to tell. */
  async configure(partitions: readonly HostedPartition[], config: TopicConfig): Promise<void> {
    for (const partition of partitions) partition.config = config
    this.#serve(partitions)
    const asked = partitions.map(({ writer, slot }) =>
      this.#threads.writer(writer).request({ kind: 'configure', slot, config }),
    )
    for (const outcome of await Promise.allSettled(asked)) {
      if (outcome.status === 'rejected' && !isMillraceError(outcome.reason, 'UNKNOWN_TOPIC_OR_PARTITION'))
        throw outcome.reason
    }
  }

  /** Takes partitions down for good and frees their slots; their folders are the caller's to remove. */
  async remove(partitions: readonly HostedPartition[]): Promise<void> {
    await Promise.all(
      partitions.map(async partition => {
        await this.#mending.stop(partition.slot)
        await this.#detach(partition, false)
        this.#release(partition)
      }),
    )
  }

  /** Frees the slot of a partition that nobody holds. */
  #release({ slot }: HostedPartition): void {
    this.#hosted.delete(slot)
    this.#memory.clearIdentity(slot)
    this.#memory.control.clear(slot)
    this.#freeSlots.push(slot)
  }

  /** After a failed flush: keeps what is trusted, rewritten into files that are synced, and brings the partition up again. */
  async repair(slot: number, slotGeneration: number): Promise<void> {
    const partition = this.#hosted.get(slot)
    if (partition === undefined || partition.slotGeneration !== slotGeneration || this.#mending.has(slot)) return
    const described = await this.#detach(partition, false)
    if (described === undefined) return
    const { flushedOffset, logEndOffset, logStartOffset, segments } = described
    const keepOffset = partition.config.durable ? flushedOffset : logEndOffset
    const request = { ...recoveryRequest(partition, undefined, false), recoveryPoint: flushedOffset, logStartOffset }
    const newEpoch = !partition.isReplica
    const item = { directory: partition.directory, keepOffset, flushedOffset, segments, request, newEpoch }
    const attempt = async (): Promise<void> => {
      this.#serve([partition])
      try {
        await this.#adoptOne(partition, await this.#threads.runJob({ kind: 'repair', item }))
      } catch (error) {
        throw new MillraceError('FLUSH_FAILED', { flushedOffset }, error)
      }
    }
    await this.#mending.begin(partition.slot, attempt, error => this.#markFailed(partition, error), 'now')
  }

  // ── truncation ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Cuts a log: the batch that reaches `offset` goes, and everything behind it. The partition goes on under the next leader epoch.
   * That it is to be cut is stored before the first byte of it goes, so a crash leaves the whole log or the cut one.
   * @throws what keeps the partition from running; DISK_FULL, IO_ERROR
   */
  async truncate(partition: HostedPartition, offset: number): Promise<void> {
    const { slot } = partition
    const { control } = this.#memory
    if (partition.failure !== undefined) throw partition.failure
    control.set(slot, SLOT.failure, statusOf('LEADER_NOT_AVAILABLE')) // the answer for what is sent meanwhile
    const shownOffset = control.get(slot, SLOT.highWatermark)
    const described = await this.#detach(partition, false)
    if (described === undefined) throw new MillraceError('LEADER_NOT_AVAILABLE', { partition: partition.partition })
    const { flushedOffset, segments, logStartOffset, leaderEpoch } = described
    // A segment that the indexer is not done with is looked at as one that is not flushed: its indexes are made anew.
    const lagging = segments.find(({ sizeBytes, indexedPosition }) => indexedPosition < sizeBytes)
    const recoveryPoint = Math.min(flushedOffset, lagging?.baseOffset ?? flushedOffset)
    let refusal: unknown
    try {
      partition.truncateTo = offset
      await this.#events.truncating(this.checkpoint(partition))
    } catch (error) {
      partition.truncateTo = undefined // the log is brought up again as it was
      refusal = error
    }
    const checkpoint = { recoveryPoint, logStartOffset, highWatermark: shownOffset, leaderEpoch }
    const attempt = (): Promise<void> => {
      this.#serve([partition])
      return this.#recoverAgain(partition, recoverItem(partition, checkpoint, false, offset < shownOffset))
    }
    await this.#mending.begin(slot, attempt, error => this.#markFailed(partition, error), 'now')
    if (refusal !== undefined) throw refusal
    if (partition.failure !== undefined) throw partition.failure
  }

  /** Drops all records, which lie below `logStartOffset`; the log goes on there. @throws as `truncate` */
  async restart(partition: HostedPartition, logStartOffset: number): Promise<void> {
    const { slot, topicId } = partition
    if (partition.failure !== undefined) throw partition.failure
    this.#memory.control.set(slot, SLOT.failure, statusOf('LEADER_NOT_AVAILABLE'))
    const described = await this.#detach(partition, false)
    if (described === undefined) throw new MillraceError('LEADER_NOT_AVAILABLE', { partition: partition.partition })
    const { flushedOffset: recoveryPoint, leaderEpoch } = described
    const checkpoint = { recoveryPoint, logStartOffset, highWatermark: logStartOffset, leaderEpoch }
    const attempt = async (): Promise<void> => {
      await this.#events.truncating({ topicId, partition: partition.partition, checkpoint }) // after a crash recovery does the same
      this.#serve([partition])
      await this.#recoverAgain(partition, recoverItem(partition, checkpoint, false))
    }
    await this.#mending.begin(slot, attempt, error => this.#markFailed(partition, error), 'now')
    if (partition.failure !== undefined) throw partition.failure
  }

  /** The log is cut and durable. That must be known before it takes another record, or a crash would cut that as well. */
  async #forgetTruncation(partition: HostedPartition, { logEndOffset }: RecoveryResult): Promise<void> {
    const { slot, truncateTo } = partition
    const { control } = this.#memory
    const known = partition.isReplica ? control.get(slot, SLOT.committedOffset) : logEndOffset
    const committedOffset = Math.min(known, logEndOffset) // lower after an unclean election only
    control.set(slot, SLOT.flushedOffset, logEndOffset)
    control.set(slot, SLOT.committedOffset, committedOffset)
    control.set(slot, SLOT.highWatermark, committedOffset)
    partition.truncateTo = undefined // at once, or a checkpoint that is stored meanwhile would have it again
    try {
      await this.#events.truncating(this.checkpoint(partition))
    } catch (error) {
      partition.truncateTo = truncateTo
      throw error
    }
  }

  /** Begins a leader epoch at the end of the log. @throws INVALID_ARGUMENT unless it is higher than the last */
  async beginEpoch(partition: HostedPartition, leaderEpoch: number): Promise<void> {
    const { slot, directory } = partition
    const writer = this.#threads.writer(partition.writer)
    const startOffset = await writer.request<number>({ kind: 'begin-epoch', slot, leaderEpoch })
    partition.epochs = withEpoch(partition.epochs, leaderEpoch, startOffset)
    writeEpochCheckpoint(directory, partition.epochs) // after a crash the log itself tells, once it has a record of it
  }

  /** The engine closes: nothing is attempted again. */
  stop(): void {
    this.#mending.stopAll()
  }

  /**
   * After a writer died: starts another and gives it the partitions, recovered from their flushed offsets. May be called again
   * after it failed half-way, and does nothing where nothing is to be done. One call at a time.
   */
  async recoverWriter(writer: number): Promise<void> {
    if (this.#threads.writer(writer).ended) await this.#replaceWriter(writer)
    const waiting = this.#ofWriter(writer).filter(({ failure }) => failure?.code === 'WRITER_CRASHED')
    const checkpoints = waiting.map(({ slot }) => checkpointOf(this.#memory.control, slot))
    await this.#recover(waiting, checkpoints, { clean: false, syncLater: false })
  }

  #ofWriter(writer: number): HostedPartition[] {
    return [...this.#hosted.values()].filter(partition => partition.writer === writer)
  }

  async #replaceWriter(writer: number): Promise<void> {
    const { control } = this.#memory
    const mine = this.#ofWriter(writer)
    await Promise.all(mine.map(({ slot }) => this.#mending.stop(slot)))
    const indexer = this.#threads.service('indexer')
    await Promise.all(mine.map(({ slot }) => indexer.request({ kind: 'detach', slot, cut: false })))
    const left = mine.map(({ slot }) => takeLeftOpen(control, slot)).filter(open => open !== undefined)
    const rings = this.#threads.replaceRings(writer)
    // The janitor first: it may still be allocating on a descriptor that the flusher then closes.
    await this.#threads.service('janitor').request({ kind: 'rings', writer, ring: rings.janitor, left: [] })
    await this.#threads.service('flusher').request({ kind: 'rings', writer, ring: rings.flusher, left })
    for (const partition of mine) {
      const { slot } = partition
      control.set(slot, SLOT.indexLock, INDEX_LOCK.free)
      // What is sent before the new writer has adopted the partition is to be sent again.
      control.set(slot, SLOT.failure, statusOf('WRITER_CRASHED'))
      partition.failure = new MillraceError('WRITER_CRASHED', { writer })
      // The next writer gives the entries of the list away again. The thread may have died inside a change, which ends here.
      if (control.get(slot, SLOT.generation) % 2 === 0) control.beginChange(slot)
      control.set(slot, SLOT.headSegment, -1)
      control.set(slot, SLOT.tailSegment, -1)
      control.set(slot, SLOT.segmentCount, 0)
      control.endChange(slot)
    }
    this.#threads.restartWriter(writer)
    this.#serve(mine)
  }

  /** Recovery points as they are now, for the store. */
  checkpoint(partition: HostedPartition): CheckpointEntry {
    return checkpointEntry(this.#memory.control, partition)
  }
}

/** What a dead writer had open in a slot. Taken once: closed twice it would be another file that is closed. */
function takeLeftOpen(control: ControlBlock, slot: number): LeftOpen | undefined {
  const fd = control.get(slot, SLOT.activeFd) - 1
  const address = control.get(slot, SLOT.activeAddress)
  control.set(slot, SLOT.activeFd, 0)
  control.set(slot, SLOT.activeAddress, 0)
  return address !== 0 ? { fd, address, mappedBytes: control.get(slot, SLOT.activeMappedBytes) } : undefined
}

function stateOf({ partition, result }: Recovered): PartitionState {
  const { slot, slotGeneration, topic, directory, config, cleanedOffset } = partition
  const { segments, logStartOffset, logEndOffset, leaderEpoch, producers } = result
  const place = { slot, slotGeneration, topic, partition: partition.partition, directory, config }
  return { ...place, segments, logStartOffset, logEndOffset, leaderEpoch, cleanedOffset, producers }
}
