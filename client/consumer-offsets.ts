/**
 * The offsets of a consumer's group: what is committed of the consumer's partitions, and what is to be. Used by the
 * consumer's thread; they are stored in the broker's.
 */
import { setTimeout } from 'node:timers/promises'
import type { TopicId } from '../engine/base/brands.ts'
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import type { OffsetToCommit } from '../engine/group/requests.ts'
import type { PartitionOffset } from '../engine/store/offsets.ts'
import type { ConsumedPartition } from './consumed-partition.ts'
import type { ConsumerAssignment } from './consumer-assignment.ts'
import type { ConsumerBackend } from './consumer-backend.ts'
import { ConsumerCommits } from './consumer-commits.ts'
import type { CommittedPosition, OffsetToStore, TopicPartition } from './consumer-types.ts'
import { type GroupMembership, isPassing } from './group-membership.ts'

/** Of a commit or a look at offsets by somebody who is no member. */
const NO_MEMBER = { memberId: '', memberEpoch: -1, instanceId: null }

/** Looks at the offsets before the error is the caller's, over about 2 s. */
const ATTEMPTS = 8
const RETRY_MS = 50

export class ConsumerOffsets {
  readonly #backend: ConsumerBackend
  readonly #groupId: string | null
  readonly #assignment: ConsumerAssignment
  readonly #membership: () => GroupMembership | undefined
  readonly #commits: ConsumerCommits

  constructor(
    backend: ConsumerBackend,
    groupId: string | null,
    assignment: ConsumerAssignment,
    membership: () => GroupMembership | undefined,
  ) {
    this.#backend = backend
    this.#groupId = groupId
    this.#assignment = assignment
    this.#membership = membership
    this.#commits = new ConsumerCommits({
      send: offsets => this.#send(offsets),
      refresh: async () => membership()?.heartbeat(),
    })
  }

  /** @throws INVALID_GROUP_ID */
  demandGroup(): string {
    if (this.#groupId === null)
      throw new MillraceError('INVALID_GROUP_ID', { reason: 'the consumer was made without one' })
    return this.#groupId
  }

  // ── committing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Commits the positions of all partitions that can be read: what was handled, and what an iteration has in hand. */
  async commitPositions(metadata = ''): Promise<void> {
    this.demandGroup()
    const moved = this.#assignment.partitions.filter(({ isGone, problem }) => !isGone && problem === undefined)
    for (const partition of moved) partition.handledOffset = partition.positionOffset
    await this.#commit(moved.map(partition => toCommit(partition, partition.handledOffset, metadata)))
  }

  /** Commits as it is told; a partition that is assigned goes on there if it is left with something in hand. */
  async commitOffsets(offsets: readonly OffsetToStore[]): Promise<void> {
    this.demandGroup()
    await this.#commit(await Promise.all(offsets.map(offset => this.#resolve(offset))))
  }

  async #resolve({ topic, partition, offset, leaderEpoch, metadata = '' }: OffsetToStore): Promise<OffsetToCommit> {
    const owned = this.#assignment.partitions.find(each => each.partition === partition && each.topic === topic)
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'offset', value: String(offset), min: 0 })
    if (owned === undefined) {
      const topicId = await this.#topicId({ topic, partition })
      return { topicId, partition, offset, leaderEpoch: leaderEpoch ?? -1, metadata }
    }
    const { delivery } = owned
    if (delivery !== undefined && offset > owned.handledOffset && offset <= delivery.batch.nextOffset)
      delivery.handled(offset)
    const commit = toCommit(owned, offset, metadata)
    return leaderEpoch === undefined ? commit : { ...commit, leaderEpoch }
  }

  /** Commits what was handled since the last commit. A topic that was deleted meanwhile does not hold up the others. */
  async commitHandled(partitions: readonly ConsumedPartition[]): Promise<void> {
    const moved = partitions.filter(({ isGone, handledOffset, committedOffset, problem }) => {
      return !isGone && problem === undefined && handledOffset !== committedOffset
    })
    const byTopic = Map.groupBy(moved, ({ topicId }) => topicId)
    await Promise.all(
      [...byTopic.values()].map(ofTopic =>
        this.#commit(ofTopic.map(partition => toCommit(partition, partition.handledOffset, ''))),
      ),
    )
  }

  async #commit(offsets: readonly OffsetToCommit[]): Promise<void> {
    await this.#commits.add(offsets)
    for (const { topicId, partition, offset } of offsets) {
      const owned = this.#assignment.partitions.find(each => each.partition === partition && each.topicId === topicId)
      if (owned !== undefined) owned.committedOffset = offset
    }
  }

  /** Resolves when no commit is under way. */
  settled(): Promise<void> {
    return this.#commits.settled()
  }

  async #send(offsets: readonly OffsetToCommit[]): Promise<void> {
    const { memberId, memberEpoch, instanceId } = this.#membership()?.identity ?? NO_MEMBER
    const member = { memberId, instanceId, generationIdOrMemberEpoch: memberEpoch }
    await this.#backend.group('commit', { groupId: this.demandGroup(), ...member, offsets })
  }

  // ── what is committed ─────────────────────────────────────────────────────────────────────────────────────────────

  /** By topic id and partition; empty without a group. @throws UNKNOWN_MEMBER_ID, and what does not pass */
  async fetch(): Promise<ReadonlyMap<string, PartitionOffset>> {
    const groupId = this.#groupId
    if (groupId === null) return new Map()
    for (let attempt = 1; ; attempt++) {
      const { memberId, memberEpoch } = this.#membership()?.identity ?? { memberId: null, memberEpoch: -1 }
      try {
        const offsets = await this.#backend.group('offsets', { groupId, memberId, memberEpoch })
        return new Map(offsets.map(offset => [keyOf(offset), offset]))
      } catch (error) {
        const isStale = isMillraceError(error, 'STALE_MEMBER_EPOCH')
        if (attempt === ATTEMPTS || !(isStale || isPassing(error))) throw error
        if (isStale) await this.#membership()?.heartbeat()
        else await setTimeout(RETRY_MS * attempt)
      }
    }
  }

  /** @throws INVALID_GROUP_ID, UNKNOWN_TOPIC_OR_PARTITION */
  async committed(partitions: readonly TopicPartition[]): Promise<CommittedPosition[]> {
    this.demandGroup()
    const offsets = await this.fetch()
    const found: CommittedPosition[] = []
    for (const { topic, partition } of partitions) {
      const topicId = await this.#topicId({ topic, partition })
      const stored = offsets.get(keyOf({ topicId, partition }))
      if (stored === undefined) continue
      const { offset, leaderEpoch, metadata, committedAtMs } = stored
      found.push({ topic, partition, offset, leaderEpoch, metadata, committedAtMs })
    }
    return found
  }

  async #topicId({ topic, partition }: TopicPartition): Promise<TopicId> {
    const { topicId, partitions } = await this.#backend.topic(topic)
    if (partitions[partition] === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
    return topicId as TopicId
  }
}

export function keyOf({ topicId, partition }: { readonly topicId: TopicId; readonly partition: number }): string {
  return `${topicId} ${partition}`
}

function toCommit(partition: ConsumedPartition, offset: number, metadata: string): OffsetToCommit {
  const leaderEpoch = partition.leaderEpochBefore(offset)
  return { topicId: partition.topicId, partition: partition.partition, offset, leaderEpoch, metadata }
}
