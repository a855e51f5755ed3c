/**
 * The indexer thread: follows every log and adds the sparse index entries, off the append path. Look-ups are right
 * however far it lags; they walk further. It works in turns of some milliseconds, so that a busy log is indexed in
 * stretches and a quiet one soon.
 *
 * While it works on a partition it holds the partition's index lock: the writer does not give away segment entries then,
 * so counts are never published into an entry that belongs to another segment.
 */

import { join } from 'node:path'
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import { KIB, MIB } from '../engine/base/limits.ts'
import { segmentFileName } from '../engine/format/file-names.ts'
import type { Region } from '../engine/format/region.ts'
import type { ServedPartition, ServiceStart } from '../engine/log/mail.ts'
import { withFile } from '../engine/log/recovery-files.ts'
import { type IndexCounts, SegmentIndexWriter } from '../engine/log/segment-index.ts'
import { SYNC_TOGETHER_MIN } from '../engine/log/sync-files.ts'
import { INDEX_LOCK, SLOT } from '../engine/memory/control-block.ts'
import { EngineMemory } from '../engine/memory/engine-memory.ts'
import { CAN_SYNC_FILE_SYSTEM, syncFileSystem } from '../engine/memory/libc.ts'
import { Mapping } from '../engine/memory/mapping.ts'
import { SEGMENT } from '../engine/memory/segment-table.ts'
import { ServiceLoop, stepBack } from './service-loop.ts'

/** Log bytes that are indexed while one lock is held. */
const STRETCH_BYTES = 32 * MIB
/** Between two turns. */
const TURN_MS = 10
const GAP_MS = 1
/**
 * After a turn of more partitions than this, most of whose files had to be opened for a batch or two, there is a gap of some
 * times its length: the next finds more to do in each, and the processor is left to those who append.
 */
const MANY = 64
const MANY_GAP = 9
const MANY_GAP_MS_MAX = 1_000
/** Segments whose files stay mapped between turns; beyond it the one that was used least recently is let go. */
const OPEN_MAX = 1_024
const VIEW_BYTES_MIN = 64 * KIB

interface OpenSegment {
  readonly slot: number
  readonly baseOffset: number
  readonly writer: SegmentIndexWriter
  log: Mapping
  /** What of it is published, and some room to grow. */
  region: Region
}

interface Listed {
  readonly entry: number
  readonly isActive: boolean
}

class IndexerLoop extends ServiceLoop {
  readonly #open = new Map<number, OpenSegment>()
  /** Base offset of the first segment of each slot that is not indexed to its end. */
  readonly #unfinished = new Map<number, number>()
  /** Segments that cannot be indexed, by slot: damaged bytes are reported once, and not walked again. */
  readonly #stuck = new Map<number, number>()
  /** Base offset of the segment of each slot whose files were let go of before they were finished. */
  readonly #left = new Map<number, number>()
  /** Swaps of each slot when it was looked at last. */
  readonly #swaps = new Map<number, number>()
  #nextTurnMs = 0
  #settling = false

  protected override start(): void {
    stepBack()
  }

  protected override order(): void {
    throw new MillraceError('INVALID_ARGUMENT', { thread: 'indexer' })
  }

  protected override hasWork(): boolean {
    return performance.now() >= this.#nextTurnMs && this.memory.anyDirty
  }

  protected override parkMs(): number {
    this.memory.indexerWaits = false
    if (!this.memory.anyDirty) return super.parkMs()
    this.memory.indexerWaits = true
    return Math.max(1, this.#nextTurnMs - performance.now())
  }

  protected override work(): boolean {
    const nowMs = performance.now()
    if (nowMs < this.#nextTurnMs && !this.#settling) return false
    this.memory.indexerWaits = true
    this.#nextTurnMs = nowMs + TURN_MS
    let turns = 0
    for (let group = 0; group < EngineMemory.dirtyGroups; group++) {
      for (let bits = this.memory.takeDirty(group); bits !== 0; bits &= bits - 1) {
        this.#turn(group * 32 + (31 - Math.clz32(bits & -bits)))
        turns += 1
      }
    }
    // Also after a long turn the lock is free for a moment: a writer may be waiting to remove segments.
    const endMs = performance.now()
    const gapMs = turns > MANY ? Math.min((endMs - nowMs) * MANY_GAP, MANY_GAP_MS_MAX) : GAP_MS
    this.#nextTurnMs = Math.max(this.#nextTurnMs, endMs + gapMs)
    return turns > 0
  }

  #turn(slot: number): void {
    const partition = this.partitions.get(slot) ?? this.#announced(slot)
    const { control } = this.memory
    if (partition === undefined || !control.swap(slot, SLOT.indexLock, INDEX_LOCK.free, INDEX_LOCK.indexer)) {
      if (partition !== undefined) this.memory.markDirty(slot) // the writer is removing segments: next turn
      return
    }
    try {
      this.#noteSwaps(slot)
      if (control.get(slot, SLOT.slotGeneration) === partition.slotGeneration) this.#indexSegments(partition)
    } catch (error) {
      this.#drop(slot)
      this.#report(slot, error)
    } finally {
      control.set(slot, SLOT.indexLock, INDEX_LOCK.free)
    }
  }

  /** Compacted segments have the names of those that they replaced: what is open may be a file that is gone. */
  #noteSwaps(slot: number): void {
    const swaps = this.memory.control.get(slot, SLOT.swaps)
    if (swaps !== (this.#swaps.get(slot) ?? 0)) this.#drop(slot)
    this.#swaps.set(slot, swaps)
  }

  /** A partition whose announcement has not been read yet. */
  #announced(slot: number): ServedPartition | undefined {
    this.readMail()
    return this.partitions.get(slot)
  }

  /** A full disk passes; damage stays. Either way the log is not affected, only look-ups walk further. */
  #report(slot: number, error: unknown): void {
    this.warn(error)
    if (isMillraceError(error, 'CORRUPT_BATCH')) this.#stuck.set(slot, this.#unfinished.get(slot) ?? 0)
  }

  #indexSegments(partition: ServedPartition): void {
    const { slot } = partition
    let budget = STRETCH_BYTES
    for (const listed of this.#list(slot)) {
      const { segments } = this.memory
      const baseOffset = segments.get(listed.entry, SEGMENT.baseOffset)
      if (baseOffset < (this.#unfinished.get(slot) ?? 0)) continue
      if (this.#stuck.get(slot) === baseOffset) continue
      const done = this.#indexSegment(partition, baseOffset, listed, budget)
      budget -= done
      if (segments.get(listed.entry, SEGMENT.indexedPosition) < segments.get(listed.entry, SEGMENT.sizeBytes)) {
        this.memory.markDirty(slot) // the rest in another turn
        return
      }
    }
  }

  #list(slot: number): Listed[] {
    const { control, segments } = this.memory
    const listed: Listed[] = []
    const snapshot = control.snapshot(slot)
    if (snapshot === undefined) {
      this.memory.markDirty(slot)
      return listed
    }
    for (let entry = snapshot.headSegment; entry >= 0 && listed.length < snapshot.segmentCount; ) {
      const next = segments.get(entry, SEGMENT.nextSegment)
      listed.push({ entry, isActive: next < 0 })
      entry = next
    }
    return listed
  }

  /** Returns the bytes that were indexed. */
  #indexSegment(partition: ServedPartition, baseOffset: number, listed: Listed, budget: number): number {
    const { segments } = this.memory
    const { slot } = partition
    const published = segments.get(listed.entry, SEGMENT.sizeBytes)
    const before = segments.get(listed.entry, SEGMENT.indexedPosition)
    if (published === 0 || (published === before && listed.isActive)) return 0
    const open = this.#opened(partition, baseOffset, listed.entry, published)
    const to = published - before <= budget ? published : this.#boundary(open, before, budget, published)
    this.#publish(listed.entry, open.writer.extend(open.region, to))
    if (!listed.isActive && to === published) {
      this.#publish(listed.entry, open.writer.finish())
      this.#drop(slot)
      this.#left.delete(slot)
      this.#unfinished.set(slot, baseOffset + 1)
    }
    return to - before
  }

  /** End of the last whole batch within the budget, at least one batch further. */
  #boundary(open: OpenSegment, from: number, budget: number, published: number): number {
    const { view } = open.region
    let at = from
    while (at < published) {
      const bytes = 12 + view.getInt32(at + 8)
      if (bytes <= 12 || at + bytes > published) return published // damage: let `extend` say what it is
      if (at > from && at + bytes - from > budget) break
      at += bytes
    }
    return at
  }

  #publish(entry: number, counts: IndexCounts): void {
    const { segments } = this.memory
    // Entries are complete before their count is stored, and readers load the count first.
    segments.set(entry, SEGMENT.offsetEntries, counts.offsetEntries)
    segments.set(entry, SEGMENT.timeEntries, counts.timeEntries)
    segments.set(entry, SEGMENT.indexedPosition, counts.indexedPosition)
  }

  #opened(partition: ServedPartition, baseOffset: number, entry: number, bytes: number): OpenSegment {
    const { slot, directory, indexBytesMax, indexIntervalBytes } = partition
    const known = this.#open.get(slot)
    if (known?.baseOffset === baseOffset) {
      if (known.log.bytes < bytes) {
        known.log.release()
        known.log = this.#mapLog(directory, baseOffset)
        known.region = viewOf(known.log, bytes)
      } else if (known.region.length < bytes) known.region = viewOf(known.log, bytes)
      this.#open.delete(slot) // to the young end
      this.#open.set(slot, known)
      return known
    }
    this.#drop(slot)
    const { segments } = this.memory
    const log = this.#mapLog(directory, baseOffset)
    const writer = new SegmentIndexWriter({ directory, baseOffset, indexIntervalBytes, indexBytesMax })
    const open: OpenSegment = { slot, baseOffset, writer, log, region: viewOf(log, bytes) }
    this.#open.set(slot, open)
    writer.resume(
      {
        offsetEntries: segments.get(entry, SEGMENT.offsetEntries),
        timeEntries: segments.get(entry, SEGMENT.timeEntries),
        indexedPosition: segments.get(entry, SEGMENT.indexedPosition),
      },
      open.region,
    )
    this.#evict()
    return open
  }

  #mapLog(directory: string, baseOffset: number): Mapping {
    const path = join(directory, segmentFileName(baseOffset, 'log'))
    const mapping = Mapping.ofWhole(path) // the flusher may be cutting it to its content
    if (mapping === undefined) throw new MillraceError('IO_ERROR', { path, fileBytes: 0 })
    return mapping
  }

  #evict(): void {
    for (const slot of this.#open.keys()) {
      if (this.#open.size <= OPEN_MAX) return
      this.#drop(slot)
    }
  }

  /** Lets go of what is open. It is as long as it may become then, until somebody finishes it. */
  #drop(slot: number): void {
    const open = this.#open.get(slot)
    if (open === undefined) return
    this.#open.delete(slot)
    this.#left.set(slot, open.baseOffset)
    open.writer.release()
    open.log.release()
  }

  protected override forget(slot: number): void {
    this.#drop(slot)
    this.#unfinished.delete(slot)
    this.#stuck.delete(slot)
    this.#swaps.delete(slot)
    this.#left.delete(slot)
  }

  /** The writers have flushed and append nothing more: indexes everything to the end and closes the files. */
  protected override settle(): void {
    this.#settling = true
    while (this.work()) {
      // one stretch of each dirty partition per turn
    }
    for (const slot of [...this.#open.keys()]) {
      this.#noteSwaps(slot)
      this.#drop(slot)
    }
    this.#finishLeft()
    for (const slot of [...this.#open.keys()]) this.#drop(slot)
  }

  /** Many are made durable by one sync of the file system instead of two each. @throws IO_ERROR */
  #finishLeft(): void {
    const first = this.#left.keys().next().value
    const directory = first === undefined ? undefined : this.partitions.get(first)?.directory
    if (this.#left.size < SYNC_TOGETHER_MIN || directory === undefined || !CAN_SYNC_FILE_SYSTEM) {
      for (const [slot, baseOffset] of this.#left) this.#finish(slot, baseOffset, true)
      return
    }
    withFile(directory, 'r', fd => {
      for (const [slot, baseOffset] of this.#left) this.#finish(slot, baseOffset, false)
      syncFileSystem(fd) // which tells of every write that failed since the folder was opened
    })
  }

  /** Cuts the files of a segment to their entries. */
  #finish(slot: number, baseOffset: number, sync: boolean): void {
    const { segments } = this.memory
    const partition = this.partitions.get(slot)
    const listed = this.#list(slot).find(({ entry }) => segments.get(entry, SEGMENT.baseOffset) === baseOffset)
    if (partition === undefined || listed === undefined) return
    const bytes = segments.get(listed.entry, SEGMENT.sizeBytes)
    if (bytes === 0) return
    try {
      this.#publish(listed.entry, this.#opened(partition, baseOffset, listed.entry, bytes).writer.finish(sync))
    } catch (error) {
      this.warn(error)
    }
  }

  protected override stopped(): void {
    for (const slot of [...this.#open.keys()]) this.#drop(slot)
  }
}

/** A large window takes a garbage collection, so a quiet log gets a small one; none is made anew for every few batches. */
function viewOf(log: Mapping, bytes: number): Region {
  return log.window(0, Math.min(Math.max(2 * bytes, VIEW_BYTES_MIN), log.bytes))
}

/** Piscina's entry point: runs until the engine stops. */
export default function runIndexer(start: ServiceStart): Promise<void> {
  return new IndexerLoop(start).run()
}
