/**
 * Group coordination in a cluster. The journal of a group is a partition of an internal compacted topic, and its coordinator is the broker that leads it:
 *
 *     leads a partition ──▶ reads it, rebuilds what LMDB has of its groups ──▶ coordinates them ──▶ leads it no more: gives them up
 *
 * What is answered meanwhile: COORDINATOR_LOAD_IN_PROGRESS while it reads, NOT_COORDINATOR where another broker leads.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ErrorCode, isMillraceError, MillraceError } from '../base/errors.ts'
import { MIB } from '../base/limits.ts'
import type { Broker } from '../broker/broker.ts'
import type { Ingest } from '../broker/ingest.ts'
import type { ClientPartition } from '../broker/topic-metadata.ts'
import type { ClusterNode } from '../cluster/cluster-node.ts'
import { NO_LEADER } from '../cluster/cluster-state.ts'
import { RecordCursor } from '../format/record.ts'
import { batchBytes, encodeBatch, stampBatch } from '../format/record-batch.ts'
import { Region } from '../format/region.ts'
import type { Groups } from '../group/groups.ts'
import { type GroupJournal, type JournalChange, JournalReplay } from '../group/replicated-storage.ts'
import { SLOT } from '../memory/control-block.ts'
import { bootTimeMs } from '../memory/libc.ts'
import type { NodeAddress } from './cluster-view.ts'
import { GROUPS_TOPIC } from './internal-topics.ts'
import type { WireReaders } from './server/wire-readers.ts'

/** Of the internal topic: it is never grown, because a group's partition follows from its number. */
const PARTITIONS = 12
const REPLICAS_MAX = 3
const CONFIG = { 'cleanup.policy': 'compact', 'segment.bytes': 64 * MIB, 'max.message.bytes': 32 * MIB }
const LOOK_MS = 20
const READ_BYTES = MIB
const APPEND_TIMEOUT_MS = 10_000
const RETRY_MS = 200

interface Led {
  readonly leaderEpoch: number
  isLoaded: boolean
}

interface Pending {
  readonly records: { timestamp: number; key: Buffer; value: Buffer | null }[]
  readonly done: PromiseWithResolvers<void>
}

export interface GroupPlacementOptions {
  readonly broker: Broker
  readonly node: ClusterNode
  readonly groups: Groups
  readonly ingest: Ingest
  readonly readers: WireReaders
  readonly report: (error: MillraceError) => void
}

export class GroupPlacement implements GroupJournal {
  readonly #options: GroupPlacementOptions
  readonly #led = new Map<number, Led>()
  /** Changes of this turn of the event loop, by partition. */
  readonly #pending = new Map<number, Pending>()
  #creating: Promise<void> | undefined
  #isClosed = false

  constructor(options: GroupPlacementOptions) {
    this.#options = options
    options.node.replicas.onLeadership((topic, partition) => {
      if (topic === GROUPS_TOPIC) void this.#look(partition)
    })
  }

  close(): void {
    this.#isClosed = true
    this.#options.groups.coordinator.giveUp(() => true)
    this.#led.clear()
  }

  // ── who coordinates ───────────────────────────────────────────────────────────────────────────────────────────────

  static partitionOf(groupId: string): number {
    return createHash('sha256').update(groupId).digest().readUInt32BE() % PARTITIONS
  }

  /** Why this broker does not answer for a group; undefined where it does. */
  gate(groupId: string): ErrorCode | undefined {
    const led = this.#led.get(GroupPlacement.partitionOf(groupId))
    if (led === undefined || bootTimeMs() >= this.#options.broker.memory.leaseEndMs) return 'NOT_COORDINATOR'
    return led.isLoaded ? undefined : 'COORDINATOR_LOAD_IN_PROGRESS'
  }

  /** The broker that coordinates a group. The internal topic is made when there is none. @throws COORDINATOR_NOT_AVAILABLE */
  async coordinatorOf(groupId: string): Promise<NodeAddress> {
    const { image } = this.#options.node
    if (!image.topics.has(GROUPS_TOPIC)) await this.#create()
    const topic = image.topics.get(GROUPS_TOPIC)
    const state = topic && image.partition(topic.topicId, GroupPlacement.partitionOf(groupId))
    const leader = image.brokers.get(state?.leader ?? NO_LEADER)
    if (leader === undefined) throw new MillraceError('COORDINATOR_NOT_AVAILABLE', { groupId: groupId.slice(0, 100) })
    return { nodeId: leader.brokerId, host: leader.host, port: leader.port }
  }

  async #create(): Promise<void> {
    const { node } = this.#options
    const replicationFactor = Math.min(REPLICAS_MAX, node.image.brokers.size)
    const config = { ...CONFIG, 'min.insync.replicas': replicationFactor >= 3 ? 2 : 1 }
    this.#creating ??= node.topics
      .create({ topic: GROUPS_TOPIC, partitions: PARTITIONS, replicationFactor, config })
      .then(
        () => {},
        error => {
          if (!isMillraceError(error, 'TOPIC_ALREADY_EXISTS')) throw error
        },
      )
      .finally(() => {
        this.#creating = undefined
      })
    try {
      await this.#creating
    } catch (error) {
      throw new MillraceError('COORDINATOR_NOT_AVAILABLE', { topic: GROUPS_TOPIC }, error)
    }
  }

  // ── taking over and giving up ─────────────────────────────────────────────────────────────────────────────────────

  async #look(partition: number): Promise<void> {
    const leadership = this.#leadership(partition)
    const led = this.#led.get(partition)
    if (leadership?.leaderEpoch === led?.leaderEpoch) return
    if (led !== undefined) this.#giveUp(partition)
    if (leadership === undefined || this.#isClosed) return
    const now: Led = { leaderEpoch: leadership.leaderEpoch, isLoaded: false }
    this.#led.set(partition, now)
    while (this.#led.get(partition) === now) {
      try {
        const groupIds = await this.#load(partition, now)
        if (this.#led.get(partition) !== now) return
        this.#options.groups.coordinator.takeOver(groupIds)
        now.isLoaded = true
        return
      } catch (error) {
        if (!this.#isClosed && this.#led.get(partition) === now) {
          this.#options.report(
            error instanceof MillraceError ? error : new MillraceError('IO_ERROR', { partition }, error),
          )
        }
        await sleep(RETRY_MS)
      }
    }
  }

  #giveUp(partition: number): void {
    this.#led.delete(partition)
    this.#options.groups.coordinator.giveUp(groupId => GroupPlacement.partitionOf(groupId) === partition)
    const pending = this.#pending.get(partition)
    this.#pending.delete(partition)
    pending?.done.reject(new MillraceError('NOT_COORDINATOR', { partition }))
  }

  /** Rebuilds what the store has of a partition's groups; resolves with their ids. */
  async #load(partition: number, led: Led): Promise<string[]> {
    const { broker } = this.#options
    const { store } = broker
    while (this.#leadership(partition)?.knowsItsEnd !== true) {
      if (this.#led.get(partition) !== led) return []
      await sleep(LOOK_MS)
    }
    for (const groupId of new Set([...store.groups.list().map(one => one.groupId), ...store.offsets.groups()])) {
      if (GroupPlacement.partitionOf(groupId) === partition) await store.groups.delete(groupId)
    }
    const replay = new JournalReplay()
    await this.#read(partition, change => replay.take(change))
    return await replay.into(store, topicId => store.topics.isLive(topicId))
  }

  async #read(partition: number, take: (change: JournalChange) => void): Promise<void> {
    const { broker, readers } = this.#options
    const { control } = broker.memory
    const located = this.#partition(partition)
    const reader = readers.of(located)
    const cursor = new RecordCursor()
    const end = control.get(located.slot, SLOT.highWatermark)
    let offset = control.get(located.slot, SLOT.logStartOffset)
    while (offset < end) {
      const { pieces } = reader.read(offset, READ_BYTES, true)
      if (pieces.length === 0) return
      for (const piece of pieces) {
        const region = Region.of(piece)
        for (let at = 0; at < piece.length; at += batchBytes(region.view, at)) {
          cursor.reset(region, at)
          while (cursor.next()) {
            offset = cursor.offset + 1
            const key = cursor.key()
            const value = cursor.value()
            if (key !== null) take({ key: textOf(key), value: value === null ? undefined : textOf(value) })
          }
        }
      }
      await sleep(0)
    }
  }

  // ── the journal ───────────────────────────────────────────────────────────────────────────────────────────────────

  append(groupId: string, changes: readonly JournalChange[]): Promise<void> {
    const partition = GroupPlacement.partitionOf(groupId)
    if (this.#led.get(partition)?.isLoaded !== true) {
      return Promise.reject(new MillraceError('NOT_COORDINATOR', { groupId: groupId.slice(0, 100) }))
    }
    let pending = this.#pending.get(partition)
    if (pending === undefined) {
      pending = { records: [], done: Promise.withResolvers() }
      this.#pending.set(partition, pending)
      queueMicrotask(() => void this.#flush(partition))
    }
    const timestamp = Date.now()
    for (const { key, value } of changes) {
      pending.records.push({ timestamp, key: Buffer.from(key), value: value === undefined ? null : Buffer.from(value) })
    }
    return pending.done.promise
  }

  async #flush(partition: number): Promise<void> {
    const pending = this.#pending.get(partition)
    if (pending === undefined) return
    this.#pending.delete(partition)
    const { bytes } = encodeBatch(pending.records)
    stampBatch(Region.of(bytes).view, 0, 0, 0)
    try {
      await this.#send(this.#partition(partition), bytes)
      pending.done.resolve()
    } catch (error) {
      pending.done.reject(new MillraceError('COORDINATOR_NOT_AVAILABLE', { partition }, error))
    }
  }

  async #send(partition: ClientPartition, bytes: Uint8Array): Promise<void> {
    const { ingest } = this.#options
    const placed = await ingest.placeWithin([bytes], APPEND_TIMEOUT_MS)
    const { promise, reject } = Promise.withResolvers<never>()
    const late = (): void => reject(new MillraceError('TIMED_OUT', { timeoutMs: APPEND_TIMEOUT_MS }))
    const timer = setTimeout(late, APPEND_TIMEOUT_MS)
    try {
      await Promise.race([ingest.send(partition, placed, 0), promise])
    } finally {
      clearTimeout(timer)
    }
  }

  #leadership(partition: number) {
    const topicId = this.#options.broker.topicIdOf(GROUPS_TOPIC)
    return topicId === undefined ? undefined : this.#options.node.replicas.leadershipOf(topicId, partition)
  }

  #partition(partition: number): ClientPartition {
    const found = this.#options.broker.clientTopic(GROUPS_TOPIC).partitions[partition]
    if (found === undefined) throw new MillraceError('COORDINATOR_NOT_AVAILABLE', { partition })
    return found
  }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
