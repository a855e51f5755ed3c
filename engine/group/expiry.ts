/**
 * Offsets that nobody will ask for any more, by Kafka's rules: while a group has members it keeps what it committed for topics
 * that it subscribes to; without members it keeps everything for `offsets.retention.minutes` after the last one went. In
 * the thread of the coordinator, from time to time. A group that is left with nothing is forgotten.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { TopicId } from '../base/brands.ts'
import type { GroupStore } from '../store/groups.ts'
import type { ClassicGroup } from './classic/group.ts'
import type { GroupConfig } from './config.ts'
import type { ConsumerGroup } from './consumer/group.ts'
import type { GroupMachine } from './machine.ts'
import type { OffsetStorage } from './storage.ts'

/** Groups between two turns of the event loop. */
const GROUPS_AT_ONCE = 64

interface ExpiryStorage {
  readonly groups: Pick<GroupStore, 'deleteUnlessCommitted'>
  readonly offsets: OffsetStorage
}

export interface ExpiryHost {
  nowMs(): number
  /** A change of the group is being stored; it is left for the next time. */
  isChanging(groupId: string): boolean
  topicName(topicId: TopicId): string | undefined
  failed(error: unknown): void
}

/** When a commit may be forgotten; Infinity while the group needs it. */
export function expiresAtMs(
  group: ClassicGroup | ConsumerGroup | undefined,
  topic: string,
  committedAtMs: number,
  retentionMs: number,
): number {
  const isSimple = group === undefined || (group.type === 'classic' && group.protocolType === null)
  if (isSimple) return committedAtMs + retentionMs
  if (group.members.size === 0) return Math.max(group.stateSinceMs, committedAtMs) + retentionMs
  return group.isSubscribedTo(topic) === false ? committedAtMs + retentionMs : Number.POSITIVE_INFINITY
}

export class OffsetExpiry {
  readonly #store: ExpiryStorage
  readonly #machine: GroupMachine
  readonly #retentionMs: number
  readonly #host: ExpiryHost
  readonly #timer: NodeJS.Timeout
  #running: Promise<number> | undefined
  #closed = false

  constructor(store: ExpiryStorage, machine: GroupMachine, config: GroupConfig, host: ExpiryHost) {
    this.#store = store
    this.#machine = machine
    this.#retentionMs = config.offsetsRetentionMinutes * 60_000
    this.#host = host
    this.#timer = setInterval(() => {
      this.run().catch((error: unknown) => host.failed(error))
    }, config.offsetsRetentionCheckMs)
    this.#timer.unref()
  }

  /** Returns how many offsets went. A second call while one is running is that one. */
  run(): Promise<number> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#running?.catch(() => undefined) // whoever asked for it is told
  }

  async #run(): Promise<number> {
    let count = 0
    const groupIds = new Set([...this.#store.offsets.groups(), ...this.#machine.groupIds()])
    for (const [at, groupId] of [...groupIds].entries()) {
      if (at % GROUPS_AT_ONCE === GROUPS_AT_ONCE - 1) await nextTurn()
      if (this.#closed) break
      count += await this.#expire(groupId)
    }
    return count
  }

  async #expire(groupId: string): Promise<number> {
    const { offsets } = this.#store
    const isOver = (topicId: TopicId, committedAtMs: number): boolean => {
      const topic = this.#host.topicName(topicId) ?? ''
      const group = this.#machine.group(groupId)
      return expiresAtMs(group, topic, committedAtMs, this.#retentionMs) <= this.#host.nowMs()
    }
    const expired = offsets.ofGroup(groupId).filter(({ topicId, committedAtMs }) => isOver(topicId, committedAtMs))
    const count = expired.length === 0 ? 0 : await offsets.deleteIf(groupId, expired, isOver)
    if (this.#closed || offsets.hasCommits(groupId) || this.#host.isChanging(groupId)) return count
    const group = this.#machine.group(groupId)
    const isEmpty = group === undefined || (group.members.size === 0 && group.pending.size === 0)
    // Whoever joins from here on is stored behind this, so nothing of that is lost.
    if (isEmpty && (await this.#store.groups.deleteUnlessCommitted(groupId))) this.#machine.dropIfEmpty(groupId)
    return count
  }
}
