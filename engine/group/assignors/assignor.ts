/**
 * What an assignor is. Those of the classic protocol run in the group's leader, see topics by name, and take what members
 * own from their subscriptions. Those of KIP-848 run in the coordinator and see topic ids. Both are pure functions, and
 * deterministic: the same input gives the same division, whatever the order of the members.
 */
import type { TopicId } from '../../base/brands.ts'
import type { NamedPartitions } from '../consumer-protocol.ts'
import type { PartitionSet } from '../partition-set.ts'

export interface ClientMember {
  readonly memberId: string
  /** `group.instance.id`; static members come first, so that a restart does not change the order. */
  readonly instanceId: string | null
  readonly topics: readonly string[]
  /** What it says it owns. */
  readonly owned: readonly NamedPartitions[]
  /** The generation in which it got that; -1 when unknown. */
  readonly generationId: number
}

export type ClientAssignment = Map<string, NamedPartitions[]>

export interface ClientAssignor {
  /** As in JoinGroup. */
  readonly name: string
  /** `cooperative`: members keep what they own while they join; a partition that moves is given out one rebalance later. */
  readonly mode: 'eager' | 'cooperative'
  /**
   * @param partitionsOf how many partitions each topic has; topics that are not in it are left out
   * @returns what each member gets, by topic in ascending order; an entry for every member
   */
  assign(partitionsOf: ReadonlyMap<string, number>, members: readonly ClientMember[]): ClientAssignment
}

export interface ServerMember {
  readonly memberId: string
  readonly instanceId: string | null
  /** Ids of the topics it subscribes to, by name or pattern, each once. */
  readonly topicIds: readonly TopicId[]
  /** The target that it has so far. */
  readonly target: PartitionSet
}

export interface ServerAssignor {
  readonly name: string
  /**
   * @param partitionsOf how many partitions each topic has; it has every topic that a member subscribes to
   * @returns the new target of each member; an entry for every member
   */
  assign(partitionsOf: ReadonlyMap<TopicId, number>, members: readonly ServerMember[]): Map<string, PartitionSet>
}

interface Identity {
  readonly memberId: string
  readonly instanceId: string | null
}

/** Static members by instance id, then the others by member id. */
export function inOrder<M extends Identity>(members: readonly M[]): M[] {
  return [...members].sort((a, b) => {
    if (a.instanceId === null && b.instanceId === null) return compareText(a.memberId, b.memberId)
    if (a.instanceId === null) return 1
    if (b.instanceId === null) return -1
    return compareText(a.instanceId, b.instanceId)
  })
}

/** By UTF-16 code units, as Java compares strings: every leader of a group has to find the same order. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/**
 * The topics that have partitions and at least one subscriber, ascending, with the indexes of their subscribers. Members that
 * share one list of topics are looked at together.
 */
export function subscribedTopics<T extends string>(
  partitionsOf: ReadonlyMap<T, number>,
  topicsOfMembers: readonly (readonly T[])[],
): { topic: T; partitions: number; subscribers: readonly number[] }[] {
  const membersOf = new Map<readonly T[], number[]>()
  topicsOfMembers.forEach((topics, member) => {
    const members = membersOf.get(topics)
    if (members === undefined) membersOf.set(topics, [member])
    else members.push(member)
  })
  const subscribers = new Map<T, readonly number[]>()
  for (const [topics, members] of membersOf) {
    for (const topic of new Set(topics)) {
      if (!partitionsOf.has(topic)) continue
      const others = subscribers.get(topic)
      subscribers.set(topic, others === undefined ? members : [...others, ...members].sort((a, b) => a - b))
    }
  }
  return [...subscribers]
    .map(([topic, members]) => ({ topic, partitions: partitionsOf.get(topic) as number, subscribers: members }))
    .sort((a, b) => compareText(a.topic, b.topic))
}

/** Collects a client-side assignment, partition by partition; topics and partitions have to come in ascending order. */
export class AssignmentBuilder {
  readonly #partitions: Map<string, number[]>[]
  readonly #members: readonly ClientMember[]

  constructor(members: readonly ClientMember[]) {
    this.#members = members
    this.#partitions = members.map(() => new Map())
  }

  add(member: number, topic: string, partition: number): void {
    const topics = this.#partitions[member] as Map<string, number[]>
    const partitions = topics.get(topic)
    if (partitions === undefined) topics.set(topic, [partition])
    else partitions.push(partition)
  }

  finish(): ClientAssignment {
    return new Map(
      this.#members.map(({ memberId }, at) => [
        memberId,
        [...(this.#partitions[at] as Map<string, number[]>)].map(([topic, partitions]) => ({ topic, partitions })),
      ]),
    )
  }
}
