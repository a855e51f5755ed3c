/**
 * What a consumer owns and how that changes: by its membership in a group, or because it was told. Offsets are looked up
 * before a partition is read and committed before it is handed over. Used by the consumer's thread.
 */
import type { EventEmitter } from 'node:events'
import type { TopicId } from '../engine/base/brands.ts'
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import type { PartitionSet } from '../engine/group/partition-set.ts'
import { ConsumedPartition, type Delivery } from './consumed-partition.ts'
import { ConsumerAssignment } from './consumer-assignment.ts'
import type { ConsumerBackend } from './consumer-backend.ts'
import { ConsumerOffsets, keyOf } from './consumer-offsets.ts'
import type { ResolvedConsumerOptions } from './consumer-options.ts'
import type { ConsumerEvents, RebalanceListener, TopicPartition } from './consumer-types.ts'
import { ConsumerWatchdog } from './consumer-watchdog.ts'
import {
  GroupMembership,
  type MemberSubscription,
  type MembershipHost,
  type OwnedPartition,
} from './group-membership.ts'

export class ConsumerCore implements MembershipHost {
  readonly assignment: ConsumerAssignment
  readonly offsets: ConsumerOffsets
  readonly #backend: ConsumerBackend
  readonly #options: ResolvedConsumerOptions
  readonly #isCommitted: boolean
  readonly #events: EventEmitter<ConsumerEvents>
  readonly #watchdog: ConsumerWatchdog
  #membership: GroupMembership | undefined
  #subscription: MemberSubscription | undefined
  #listener: RebalanceListener = {}
  /** It left because nobody asked for records; whoever asks again joins again. */
  #isStalled = false
  #committing: NodeJS.Timeout | undefined

  constructor(backend: ConsumerBackend, options: ResolvedConsumerOptions, events: EventEmitter<ConsumerEvents>) {
    this.#backend = backend
    this.#options = options
    this.#isCommitted = options.isolation === 'read_committed'
    this.#events = events
    this.assignment = new ConsumerAssignment(options, at => events.emit('offsetReset', at))
    this.offsets = new ConsumerOffsets(backend, options.groupId, this.assignment, () => this.#membership)
    this.#watchdog = new ConsumerWatchdog(options.maxPollIntervalMs, (late, forMs) => void this.#stalled(late, forMs))
  }

  /** The partitions of topics that are there, but for those that are being given up. */
  owned(): readonly ConsumedPartition[] {
    return this.assignment.partitions.filter(({ isGone, isLeaving }) => !isGone && !isLeaving)
  }

  /** @throws as `ConsumerAssignment.take`, and as `subscribe` where it joins again */
  async take(isOver: () => boolean): Promise<Delivery | undefined> {
    this.#watchdog.asked()
    try {
      if (this.#isStalled) await this.#rejoin()
      return await this.assignment.take(isOver)
    } finally {
      this.#watchdog.answered()
    }
  }

  // ── coming and going ──────────────────────────────────────────────────────────────────────────────────────────────

  async subscribe(subscription: MemberSubscription, listener: RebalanceListener): Promise<void> {
    this.offsets.demandGroup()
    if (this.#subscription === undefined && this.assignment.partitions.length > 0)
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'topics', reason: 'partitions are assigned' })
    this.#listener = listener
    this.#subscription = subscription
    if (this.#membership !== undefined) return this.#membership.resubscribe(subscription)
    try {
      await this.#join(subscription)
    } catch (error) {
      this.#subscription = undefined
      throw error
    }
  }

  async #join(subscription: MemberSubscription): Promise<void> {
    const { clientId, instanceId, assignor, maxPollIntervalMs } = this.#options
    const groupId = this.offsets.demandGroup()
    const terms = { groupId, clientId, instanceId, assignor, rebalanceTimeoutMs: maxPollIntervalMs }
    const membership = new GroupMembership(this.#backend.group, terms, subscription, this)
    this.#membership = membership
    try {
      await membership.join()
    } catch (error) {
      if (this.#membership === membership) this.#membership = undefined
      throw error
    }
    this.#watchdog.start(() => this.assignment.partitions)
    this.#commitNowAndThen()
  }

  async #rejoin(): Promise<void> {
    this.#isStalled = false
    if (this.#subscription !== undefined && this.#membership === undefined) await this.#join(this.#subscription)
  }

  /** Takes partitions without a membership. @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT */
  async assign(partitions: readonly TopicPartition[]): Promise<void> {
    if (this.#subscription !== undefined)
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'partitions', reason: 'the consumer is subscribed' })
    const named = new Map(partitions.map(each => [`${each.topic} ${each.partition}`, each]))
    const wanted: OwnedPartition[] = []
    for (const { topic, partition } of named.values()) {
      const { topicId, partitions: located } = await this.#backend.topic(topic)
      if (located[partition] === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
      wanted.push({ topic, topicId: topicId as TopicId, partition })
    }
    const leaving = this.assignment.partitions.filter(each => !named.has(`${each.topic} ${each.partition}`))
    await this.#autoCommit(leaving)
    this.assignment.remove(leaving)
    const added = await this.#open(wanted.filter(each => this.assignment.find(each) === undefined))
    this.assignment.add(added)
    for (const partition of added) partition.isReady = true
    this.assignment.wake()
    this.#commitNowAndThen()
  }

  /** Commits what was handled, tells the listener, leaves. What is in hand is not waited for. */
  async leave(): Promise<void> {
    const membership = this.#membership
    const owned = this.assignment.partitions
    this.#subscription = undefined
    this.#isStalled = false
    this.stop()
    for (const partition of owned) partition.isLeaving = true
    await membership?.stop()
    try {
      await this.#autoCommit(owned)
      await this.offsets.settled()
      if (membership !== undefined) await this.#revoked(owned)
    } finally {
      this.assignment.remove(owned)
      this.#membership = undefined
      await membership?.leave()
    }
  }

  stop(): void {
    this.#watchdog.stop()
    clearInterval(this.#committing)
  }

  async #stalled(late: readonly ConsumedPartition[], forMs: number): Promise<void> {
    const membership = this.#membership
    if (membership === undefined) return
    this.#membership = undefined
    this.#isStalled = true
    clearInterval(this.#committing)
    this.#events.emit('stalled', { partitions: late.map(({ at }) => at), forMs })
    await Promise.all([membership.stop().then(() => membership.leave(true)), this.#letGo()])
    this.assignment.wake()
  }

  // ── what the membership asks for ──────────────────────────────────────────────────────────────────────────────────

  async takeOver(partitions: readonly OwnedPartition[], isCurrent: () => boolean): Promise<void> {
    try {
      const added = await this.#open(partitions)
      if (!isCurrent()) {
        for (const { track } of added) track.close()
        return
      }
      this.assignment.add(added)
      await this.#tell(() => this.#listener.onAssigned?.(named(added)))
      for (const partition of added) partition.isReady = true
      this.assignment.wake()
    } catch (error) {
      if (!isMillraceError(error, 'UNKNOWN_MEMBER_ID')) this.assignment.fail(error) // else the next heartbeat deals with it
    }
  }

  async giveUp(partitions: PartitionSet): Promise<void> {
    const leaving = this.assignment.partitions.filter(each => partitions.has(each.topicId, each.partition))
    for (const partition of leaving) partition.isLeaving = true
    this.assignment.wake()
    await Promise.all(leaving.map(partition => partition.idle()))
    const isLost = (): boolean => leaving.every(partition => !this.assignment.partitions.includes(partition))
    if (isLost()) return
    await this.#autoCommit(leaving)
    if (isLost()) return
    await this.#tell(() => this.#revoked(leaving))
    if (isLost()) return
    await this.offsets.settled()
    this.assignment.remove(leaving)
  }

  async lose(error: MillraceError): Promise<void> {
    this.#events.emit('fenced', error)
    await this.#letGo()
  }

  failed(error: unknown): void {
    this.#membership = undefined
    this.#isStalled = true
    this.stop()
    this.assignment.fail(error)
    void this.#letGo()
  }

  async #letGo(): Promise<void> {
    const lost = this.assignment.partitions
    for (const { delivery } of lost) delivery?.disown()
    this.assignment.remove(lost)
    const { onLost, onRevoked } = this.#listener
    if (lost.length > 0) await this.#tell(() => (onLost ?? onRevoked)?.call(this.#listener, named(lost)))
  }

  /** Each is told of once, whoever gives it up. */
  async #revoked(partitions: readonly ConsumedPartition[]): Promise<void> {
    const untold = partitions.filter(({ isRevoked }) => !isRevoked)
    for (const partition of untold) partition.isRevoked = true
    if (untold.length > 0) await this.#listener.onRevoked?.(named(untold))
  }

  /** What a listener throws is thrown by whoever asks for records. */
  async #tell(listener: () => unknown): Promise<void> {
    try {
      await listener()
    } catch (error) {
      this.assignment.fail(error)
    }
  }

  // ── partitions and their offsets ──────────────────────────────────────────────────────────────────────────────────

  /** At their committed offsets, or where the policy says; those of topics that were deleted meanwhile are left out. */
  async #open(partitions: readonly OwnedPartition[]): Promise<ConsumedPartition[]> {
    const committed = await this.offsets.fetch()
    const opened: ConsumedPartition[] = []
    for (const wanted of partitions) {
      const partition = await this.#locate(wanted)
      if (partition !== undefined && this.#place(partition, committed.get(keyOf(wanted))?.offset))
        opened.push(partition)
    }
    return opened
  }

  /** False when the topic has just been deleted. */
  #place(partition: ConsumedPartition, committedOffset: number | undefined): boolean {
    try {
      if (committedOffset === undefined) this.assignment.reset(partition, this.#noOffset(partition))
      else {
        partition.moveTo(committedOffset)
        partition.committedOffset = committedOffset
      }
      return true
    } catch (error) {
      partition.track.close()
      if (isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) return false
      throw error
    }
  }

  async #locate({ topic, topicId, partition }: OwnedPartition): Promise<ConsumedPartition | undefined> {
    try {
      const metadata = await this.#backend.topic(topic)
      if (metadata.topicId !== topicId || metadata.partitions[partition] === undefined) return undefined
      const track = await this.#backend.track(topic, partition, this.#isCommitted)
      return new ConsumedPartition(topicId, topic, partition, track)
    } catch (error) {
      if (isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) return undefined
      throw error
    }
  }

  #noOffset({ topic, partition }: TopicPartition): MillraceError {
    const { groupId } = this.#options
    return new MillraceError('NO_OFFSET_FOR_PARTITION', { groupId, topic, partition })
  }

  async #autoCommit(partitions: readonly ConsumedPartition[]): Promise<void> {
    if (!this.#options.autoCommit || this.#options.groupId === null) return
    try {
      await this.offsets.commitHandled(partitions)
    } catch (error) {
      this.#events.emit('commitFailed', error as Error)
    }
  }

  #commitNowAndThen(): void {
    clearInterval(this.#committing)
    if (!this.#options.autoCommit) return
    const commit = (): void => void this.#autoCommit(this.assignment.partitions)
    this.#committing = setInterval(commit, this.#options.autoCommitIntervalMs).unref()
  }
}

function named(partitions: readonly ConsumedPartition[]): TopicPartition[] {
  return partitions.map(({ topic, partition }) => ({ topic, partition }))
}
