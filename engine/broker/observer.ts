/**
 * A directory as a process sees it that does not own it: topics from the store, offsets and segments from the owner's control
 * file, or, where nobody has the directory open, from a survey of the folders. Nothing is changed. When the directory
 * changes hands the observer notices and looks anew; readers made before then are told to do the same.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TopicId } from '../base/brands.ts'
import { MillraceError } from '../base/errors.ts'
import { PARTITIONS_MAX, SEGMENTS_MAX } from '../base/limits.ts'
import { partitionDirectory } from '../format/file-names.ts'
import { surveyCold } from '../log/cold-survey.ts'
import { effectiveTopicConfig, parseTopicConfig } from '../log/topic-config.ts'
import { SLOT, STATE } from '../memory/control-block.ts'
import { CONTROL_FILE, createEngineMemory, EngineMemory, openEngineMemory } from '../memory/engine-memory.ts'
import { SEGMENT, SegmentEntries } from '../memory/segment-table.ts'
import { Store } from '../store/store.ts'
import type { NamedTopic } from '../store/topics.ts'
import { DirectoryLock } from './directory-lock.ts'
import type { ClientPartition, ClientTopic } from './topic-metadata.ts'

/** Between two looks at who owns the directory. */
const LOOK_MS = 100

export class Observer {
  readonly directory: string
  readonly store: Store
  #memory: EngineMemory
  /** Inode of the control file that is mapped, 0 when the folders were surveyed instead. */
  #inode = 0
  #version = 0
  #lookedMs = 0
  #closed = false
  #coldSlots = new Map<string, number>()

  private constructor(directory: string, store: Store) {
    this.directory = directory
    this.store = store
    this.#memory = this.#look()
  }

  /** @throws DIRECTORY_NOT_FOUND, NEWER_FORMAT, CORRUPT_STORE, IO_ERROR */
  static open(directory: string): Observer {
    const store = Store.open(directory, { readOnly: true })
    try {
      return new Observer(directory, store)
    } catch (error) {
      void store.close()
      throw error
    }
  }

  /** The memory that describes the directory now; another object after it changed hands. */
  get memory(): EngineMemory {
    const nowMs = performance.now()
    if (nowMs - this.#lookedMs > LOOK_MS) {
      this.#lookedMs = nowMs
      if (this.#inode !== this.#controlInode()) {
        const before = this.#memory
        this.#memory = this.#look()
        before.release()
      }
    }
    return this.#memory
  }

  #look(): EngineMemory {
    this.#version += 1
    this.#lookedMs = performance.now()
    const inode = this.#controlInode()
    const memory = inode === 0 ? this.#survey() : new EngineMemory(openEngineMemory(this.directory), true)
    this.#inode = inode // last: a look that failed is repeated
    return memory
  }

  /** Of the live owner's control file, 0 when there is no owner. */
  #controlInode(): number {
    if (!DirectoryLock.isHeld(this.directory)) return 0
    return statSync(join(this.directory, CONTROL_FILE), { throwIfNoEntry: false })?.ino ?? 0
  }

  #survey(): EngineMemory {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-'))
    try {
      const memory = new EngineMemory(createEngineMemory(folder))
      const entries = new SegmentEntries(memory.segments, 0, 1)
      this.#coldSlots = new Map()
      for (const topic of this.store.topics.list()) this.#surveyTopic(memory, entries, topic)
      return memory
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  #surveyTopic(memory: EngineMemory, entries: SegmentEntries, topic: NamedTopic): void {
    const clean = this.store.cleanShutdown !== undefined
    const checkpoints = this.store.checkpoints.ofTopic(topic.topicId)
    for (let partition = 0; partition < topic.partitions; partition++) {
      const slot = this.#coldSlots.size
      if (slot >= PARTITIONS_MAX) throw new MillraceError('INVALID_PARTITIONS', { partitionsMax: PARTITIONS_MAX })
      this.#coldSlots.set(`${topic.topicId} ${partition}`, slot)
      const checkpoint = checkpoints.get(partition)
      const known = clean ? checkpoint?.segments : undefined
      const directory = join(this.directory, partitionDirectory(topic.topic, partition))
      const segments = surveyCold(directory, known)
      if (segments.length >= SEGMENTS_MAX) throw new MillraceError('TOO_MANY_SEGMENTS', { segments: segments.length })
      let before = -1
      memory.control.clear(slot)
      for (const segment of segments) {
        const entry = entries.take()
        for (const word of [
          'baseOffset',
          'sizeBytes',
          'maxTimestamp',
          'maxTimestampOffset',
          'offsetEntries',
          'timeEntries',
        ] as const) {
          memory.segments.set(entry, SEGMENT[word], segment[word])
        }
        if (before === -1) memory.control.set(slot, SLOT.headSegment, entry)
        else memory.segments.set(before, SEGMENT.nextSegment, entry)
        before = entry
      }
      const logEndOffset = segments.at(-1)?.nextOffset ?? 0
      const logStartOffset = Math.max(checkpoint?.logStartOffset ?? 0, segments[0]?.baseOffset ?? 0)
      for (const word of [SLOT.logEndOffset, SLOT.highWatermark, SLOT.lastStableOffset, SLOT.flushedOffset]) {
        memory.control.set(slot, word, logEndOffset)
      }
      memory.control.set(slot, SLOT.logStartOffset, logStartOffset)
      memory.control.set(slot, SLOT.leaderEpoch, checkpoint?.leaderEpoch ?? 0)
      memory.control.set(slot, SLOT.segmentCount, segments.length)
      memory.control.set(slot, SLOT.state, STATE.online)
    }
  }

  topicNames(): string[] {
    return this.store.topics.list().map(({ topic }) => topic)
  }

  topicConfig(topic: string): Record<string, string> {
    return effectiveTopicConfig(this.#stored(topic).config)
  }

  #stored(topic: string): NamedTopic {
    const stored = this.store.topics.get(topic)
    if (stored === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: topic.slice(0, 64) })
    return { topic, ...stored }
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  clientTopic(topic: string): ClientTopic {
    const { memory } = this
    const { topicId, partitions, config } = this.#stored(topic)
    const slots = this.#inode === 0 ? this.#coldSlotsOf(topicId, partitions) : memory.slotsOf(topicId)
    const parsed = parseTopicConfig(config)
    const located: ClientPartition[] = []
    for (let partition = 0; partition < partitions; partition++) {
      const slot = slots.get(partition)
      if (slot === undefined) break // the owner is still bringing it up
      const directory = join(this.directory, partitionDirectory(topic, partition))
      located.push({
        topic,
        partition,
        directory,
        slot,
        slotGeneration: memory.control.get(slot, SLOT.slotGeneration),
        writer: 0,
      })
    }
    const batchBytesMax = Math.min(parsed.maxMessageBytes, parsed.segmentBytes)
    return { topic, topicId, partitions: located, batchBytesMax, version: this.#version }
  }

  #coldSlotsOf(topicId: TopicId, partitions: number): Map<number, number> {
    const slots = new Map<number, number>()
    for (let partition = 0; partition < partitions; partition++) {
      const slot = this.#coldSlots.get(`${topicId} ${partition}`)
      if (slot !== undefined) slots.set(partition, slot)
    }
    return slots
  }

  demandOpen(): void {
    if (this.#closed) throw new MillraceError('CLOSED', { directory: this.directory })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#memory.release()
    await this.store.close()
  }
}
