/**
 * Compacts partitions in the background, one at a time, the dirtiest first, as Kafka's log cleaner does. Owned by the broker's
 * thread: a job writes the new segments, the partition's writer swaps them in, another job deletes the old ones.
 *
 * What went wrong is told, and that partition left alone until its log has grown: damage does not go away by itself.
 */
import { setTimeout } from 'node:timers/promises'
import { fromErrorData, isMillraceError } from '../base/errors.ts'
import type { SwapOrder } from '../log/compaction.ts'
import { type CompactionPlan, type PlannedSegment, planCompaction } from '../log/compaction-plan.ts'
import { SLOT } from '../memory/control-block.ts'
import type { EngineMemory } from '../memory/engine-memory.ts'
import { SEGMENT } from '../memory/segment-table.ts'
import type { Store } from '../store/store.ts'
import type { HostedPartition, Partitions } from './partitions.ts'
import type { Threads } from './threads.ts'

/** The indexer keeps a partition for some milliseconds at a time. */
const SWAP_ATTEMPTS = 100
const SWAP_PAUSE_MS = 5
/** How long a forced round waits for the indexer and the flusher. */
const SETTLE_MAX_MS = 5_000

interface Candidate {
  readonly partition: HostedPartition
  readonly plan: CompactionPlan
}

/** What a round of compactions has done. */
export interface CompactionSummary {
  readonly partitions: number
  readonly removedRecords: number
  readonly readBytes: number
  readonly writtenBytes: number
}

export class Compactor {
  readonly #partitions: Partitions
  readonly #threads: Threads
  readonly #memory: EngineMemory
  readonly #store: Store
  readonly #bufferBytes: number
  readonly #abort = new SharedArrayBuffer(4)
  /** End of the log when a compaction of the partition failed. */
  readonly #failedAt = new WeakMap<HostedPartition, number>()
  /** One round at a time. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(partitions: Partitions, threads: Threads, memory: EngineMemory, store: Store, bufferBytes: number) {
    this.#partitions = partitions
    this.#threads = threads
    this.#memory = memory
    this.#store = store
    this.#bufferBytes = bufferBytes
  }

  /** The engine closes: a compaction that is under way ends soon, and nothing of it is used. */
  stop(): void {
    Atomics.store(new Int32Array(this.#abort), 0, 1)
  }

  /**
   * Compacts what is due, until nothing is.
   * @param force also what is not due yet, as long as something can be compacted; waits for closed segments to be flushed and indexed
   * @throws what a compaction met, after the others were done
   */
  run(nowMs: number, force = false): Promise<CompactionSummary> {
    const round = this.#turn.then(() => this.#round(nowMs, force))
    this.#turn = round.catch(() => undefined)
    return round
  }

  /** Works on a partition while it is not compacted. Waits for a round that is under way, if the partition may be in it. */
  aside<T>(partition: HostedPartition, work: () => Promise<T>): Promise<T> {
    if (!partition.config.compacts && partition.cleanedOffset === 0) return work()
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #round(nowMs: number, force: boolean): Promise<CompactionSummary> {
    const summary = { partitions: 0, removedRecords: 0, readBytes: 0, writtenBytes: 0 }
    const errors: unknown[] = []
    if (force) await this.#settled(nowMs)
    for (const { partition } of this.#candidates(nowMs, force)) {
      try {
        // Each may need several passes, when its keys do not fit the memory at once.
        for (;;) {
          const plan = this.#plan(partition, nowMs)
          if (plan === undefined || plan.dirtyBytes === 0 || this.#isStopping) break
          const before = partition.cleanedOffset
          await this.#compact(partition, plan, nowMs, summary)
          if (partition.cleanedOffset === before) break
        }
        summary.partitions += 1
      } catch (error) {
        if (this.#isStopping || this.#isGone(partition)) continue
        this.#failedAt.set(partition, this.#logEndOffset(partition))
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
    return summary
  }

  async #settled(nowMs: number): Promise<void> {
    const isWaiting = (): boolean => [...this.#partitions.all].some(each => this.#plan(each, nowMs)?.isWaiting === true)
    for (let waitedMs = 0; waitedMs < SETTLE_MAX_MS && !this.#isStopping && isWaiting(); waitedMs += SWAP_PAUSE_MS) {
      await setTimeout(SWAP_PAUSE_MS)
    }
  }

  get #isStopping(): boolean {
    return Atomics.load(new Int32Array(this.#abort), 0) !== 0
  }

  #isGone({ slot, slotGeneration }: HostedPartition): boolean {
    return this.#memory.control.get(slot, SLOT.slotGeneration) !== slotGeneration
  }

  #logEndOffset({ slot }: HostedPartition): number {
    return this.#memory.control.get(slot, SLOT.logEndOffset)
  }

  #candidates(nowMs: number, force: boolean): Candidate[] {
    const candidates: Candidate[] = []
    for (const partition of this.#partitions.all) {
      const plan = this.#plan(partition, nowMs)
      if (plan === undefined || plan.dirtyBytes === 0 || !(plan.isDue || force)) continue
      if (!force && this.#failedAt.get(partition) === this.#logEndOffset(partition)) continue
      candidates.push({ partition, plan })
    }
    return candidates.sort((a, b) => b.plan.dirtyRatio - a.plan.dirtyRatio)
  }

  /** Undefined for one that is not compacted, that stopped, or that is changing just now. */
  #plan(partition: HostedPartition, nowMs: number): CompactionPlan | undefined {
    const { slot, config, failure, cleanedOffset } = partition
    if (!config.compacts || failure !== undefined || this.#isGone(partition)) return undefined
    const { control, segments: table } = this.#memory
    const snapshot = control.snapshot(slot)
    if (snapshot === undefined) return undefined
    const segments: PlannedSegment[] = []
    for (let entry = snapshot.headSegment; entry >= 0 && segments.length < snapshot.segmentCount - 1; ) {
      const next = table.get(entry, SEGMENT.nextSegment)
      if (next < 0) return undefined
      segments.push({
        baseOffset: table.get(entry, SEGMENT.baseOffset),
        sizeBytes: table.get(entry, SEGMENT.sizeBytes),
        nextOffset: table.get(next, SEGMENT.baseOffset),
        maxTimestamp: table.get(entry, SEGMENT.maxTimestamp),
        offsetEntries: table.get(entry, SEGMENT.offsetEntries),
        timeEntries: table.get(entry, SEGMENT.timeEntries),
        isIndexed: table.get(entry, SEGMENT.indexedPosition) === table.get(entry, SEGMENT.sizeBytes),
      })
      entry = next
    }
    if (control.get(slot, SLOT.generation) !== snapshot.generation) return undefined
    // Of a replica what is not agreed on may be cut away yet, and what it would have replaced be needed.
    const flushedOffset = Math.min(snapshot.flushedOffset, snapshot.highWatermark)
    return planCompaction({ segments, config, flushedOffset, cleanedOffset, nowMs })
  }

  async #compact(
    partition: HostedPartition,
    plan: CompactionPlan,
    nowMs: number,
    summary: { removedRecords: number; readBytes: number; writtenBytes: number },
  ): Promise<void> {
    const { directory, config } = partition
    const outcome = await this.#threads.runJob({
      kind: 'compact',
      request: {
        directory,
        segments: plan.segments,
        firstDirtyOffset: plan.firstDirtyOffset,
        segmentBytes: config.segmentBytes,
        indexIntervalBytes: config.indexIntervalBytes,
        indexBytesMax: config.segmentIndexBytes,
        deleteRetentionMs: config.deleteRetentionMs,
        bufferBytes: this.#bufferBytes,
        nowMs,
        abort: this.#abort,
      },
    })
    if ('error' in outcome) throw fromErrorData(outcome.error)
    const { swaps, cleanedOffset, removedRecords, readBytes, writtenBytes } = outcome.result
    const refused: number[] = []
    try {
      for (const order of swaps) {
        if (!(await this.#swap(partition, order, cleanedOffset))) refused.push(order.replaced[0] as number)
      }
    } finally {
      if (!this.#isGone(partition)) await this.#threads.runJob({ kind: 'sweep', directory, refused })
    }
    if (refused.length > 0) return // retention took segments meanwhile, or a recovery: the next round begins anew
    partition.cleanedOffset = cleanedOffset
    await this.#store.checkpoints.put([this.#partitions.checkpoint(partition)])
    summary.removedRecords += removedRecords
    summary.readBytes += readBytes
    summary.writtenBytes += writtenBytes
  }

  async #swap(partition: HostedPartition, order: SwapOrder, cleanedOffset: number): Promise<boolean> {
    const { slot } = partition
    for (let attempt = 0; attempt < SWAP_ATTEMPTS; attempt++) {
      try {
        const writer = this.#threads.writer(partition.writer)
        if (await writer.request<boolean>({ kind: 'swap-segments', slot, order, cleanedOffset })) return true
      } catch (error) {
        if (isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) return false
        throw error
      }
      await setTimeout(SWAP_PAUSE_MS)
    }
    return false
  }
}
