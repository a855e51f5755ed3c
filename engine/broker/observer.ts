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
/** Looks before it is told that the directory cannot be read: each ends in an owner coming or going. */
const LOOKS_MAX = 10
/** How long an owner may take to bring its partitions up, and how often they are looked at meanwhile. */
const START_MS = 30_000
const START_LOOK_MS = 10

/** Why a partition that is known cannot be read yet. */
export const OWNER_STARTS = 'the owner of the directory is starting'

interface Owner {
  readonly isLive: boolean
  /** Another one for each owner, and for what each leaves behind. */
  readonly key: string
}

export class Observer {
  readonly directory: string
  readonly store: Store
  #memory: EngineMemory
  /** Whose control file is mapped, or after whom the folders were surveyed. */
  #owner: Owner = { isLive: false, key: '' }
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
      if (this.#owner.key !== this.#ownerNow().key) {
        const before = this.#memory
        this.#memory = this.#look()
        before.release()
      }
    }
    return this.#memory
  }

  #look(): EngineMemory {
    for (let look = 1; ; look++) {
      this.#lookedMs = performance.now()
      const owner = this.#ownerNow()
      const isLast = look === LOOKS_MAX
      try {
        const memory = owner.isLive ? new EngineMemory(openEngineMemory(this.directory), true) : this.#survey()
        if (isLast || this.#ownerNow().key === owner.key) {
          this.#owner = owner
          this.#version += 1
          return memory
        }
        memory.release()
      } catch (error) {
        // An owner that came or went meanwhile has changed the files.
        if (isLast || this.#ownerNow().key === owner.key) throw error
      }
    }
  }

  /** Each owner makes a control file of its own. It is told by more than its inode, which may be given away again. */
  #ownerNow(): Owner {
    const isHeld = DirectoryLock.isHeld(this.directory)
    const control = statSync(join(this.directory, CONTROL_FILE), { throwIfNoEntry: false, bigint: true })
    return { isLive: isHeld && control !== undefined, key: `${isHeld} ${control?.ino} ${control?.birthtimeNs}` }
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

  /**
   * A topic with all of its partitions. Waits while its owner is bringing them up.
   * @throws UNKNOWN_TOPIC_OR_PARTITION, TIMED_OUT, CLOSED
   */
  async clientTopic(topic: string): Promise<ClientTopic> {
    const deadlineMs = performance.now() + START_MS
    for (;;) {
      this.demandOpen()
      const { topicId, partitions, config } = this.#stored(topic)
      const slots = this.#slotsOf(topicId, partitions)
      const located = Array.from({ length: partitions }, (_, partition) => this.#locate(topic, partition, slots))
      if (located.every(partition => partition !== undefined)) {
        const { maxMessageBytes, segmentBytes } = parseTopicConfig(config)
        const batchBytesMax = Math.min(maxMessageBytes, segmentBytes)
        return { topic, topicId, partitions: located, batchBytesMax, version: this.#version }
      }
      if (performance.now() > deadlineMs) throw new MillraceError('TIMED_OUT', { topic, reason: OWNER_STARTS })
      await new Promise(resolve => setTimeout(resolve, START_LOOK_MS))
    }
  }

  /** Where a partition is now, undefined while its owner is bringing it up. @throws UNKNOWN_TOPIC_OR_PARTITION */
  locate(topic: string, partition: number): ClientPartition | undefined {
    const { topicId, partitions } = this.#stored(topic)
    if (partition >= partitions) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
    return this.#locate(topic, partition, this.#slotsOf(topicId, partitions))
  }

  #locate(topic: string, partition: number, slots: ReadonlyMap<number, number>): ClientPartition | undefined {
    const { memory } = this
    const slot = slots.get(partition)
    if (slot === undefined) return undefined
    const slotGeneration = memory.control.get(slot, SLOT.slotGeneration)
    const state = memory.control.get(slot, SLOT.state)
    if (state !== STATE.online && state !== STATE.failed) return undefined
    const directory = join(this.directory, partitionDirectory(topic, partition))
    return { topic, partition, directory, slot, slotGeneration, writer: 0 }
  }

  #slotsOf(topicId: TopicId, partitions: number): Map<number, number> {
    const { memory } = this
    if (this.#owner.isLive) return memory.slotsOf(topicId)
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
