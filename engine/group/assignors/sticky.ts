/**
 * The sticky assignors of the classic protocol: balanced, and of what members own as much stays as the balance allows (see
 * `balance.ts`). Two modes: `sticky` divides everything at once, since its members gave everything up before they joined;
 * `cooperative-sticky` lets members keep what they own while they join, and hands a partition that moves over in two
 * steps. In the first its old owner is not given it any more and gives it up; that makes it join again, and in the second
 * the partition is free.
 */

import {
  AssignmentBuilder,
  type ClientAssignment,
  type ClientAssignor,
  type ClientMember,
  inOrder,
  subscribedTopics,
} from './assignor.ts'
import { balance, NOBODY } from './balance.ts'

export const stickyAssignor: ClientAssignor = {
  name: 'sticky',
  mode: 'eager',
  assign: (partitionsOf, members) => divide(partitionsOf, members, () => true),
}

export const cooperativeStickyAssignor: ClientAssignor = {
  name: 'cooperative-sticky',
  mode: 'cooperative',
  assign(partitionsOf, members) {
    const claimants = claimantsOf(members)
    return divide(partitionsOf, members, (memberId, topic, partition) => {
      const owners = claimants.get(claimKey(topic, partition))
      return owners === undefined || owners.every(owner => owner === memberId)
    })
  },
}

/** @param gives false for a partition that its new owner does not get yet */
function divide(
  partitionsOf: ReadonlyMap<string, number>,
  members: readonly ClientMember[],
  gives: (memberId: string, topic: string, partition: number) => boolean,
): ClientAssignment {
  const ordered = inOrder(members)
  const subscribed = subscribedTopics(
    partitionsOf,
    ordered.map(member => member.topics),
  )
  const topics = subscribed.map(({ topic, partitions, subscribers }) => ({
    topic,
    subscribers,
    owners: new Int32Array(partitions).fill(NOBODY),
  }))
  claim(ordered, topics)
  balance(ordered.length, topics)
  const builder = new AssignmentBuilder(ordered)
  for (const { topic, owners } of topics) {
    owners.forEach((member, partition) => {
      if (gives((ordered[member] as ClientMember).memberId, topic, partition)) builder.add(member, topic, partition)
    })
  }
  return builder.finish()
}

/**
 * Sets the owners from what members say they own. Where two claim a partition the later generation is right: the other
 * one missed a rebalance. In the same generation neither is believed.
 */
function claim(members: readonly ClientMember[], topics: readonly { topic: string; owners: Int32Array }[]): void {
  const ownersOf = new Map(topics.map(({ topic, owners }) => [topic, owners]))
  const generations = new Map(topics.map(({ topic, owners }) => [topic, new Float64Array(owners.length).fill(-2)]))
  members.forEach(({ owned, generationId }, member) => {
    for (const { topic, partitions } of owned) {
      const owners = ownersOf.get(topic)
      const claimed = generations.get(topic)
      if (owners === undefined || claimed === undefined) continue
      for (const partition of partitions) {
        const before = claimed[partition]
        if (before === undefined || generationId < before) continue
        const isClash = generationId === before && owners[partition] !== member
        owners[partition] = isClash ? NOBODY : member
        claimed[partition] = generationId
      }
    }
  })
}

/** Everyone who says that it owns a partition, right or not: nobody gets it before all of them gave it up. */
function claimantsOf(members: readonly ClientMember[]): Map<string, string[]> {
  const claimants = new Map<string, string[]>()
  for (const { memberId, owned } of members) {
    for (const { topic, partitions } of owned) {
      for (const partition of partitions) {
        const key = claimKey(topic, partition)
        const others = claimants.get(key)
        if (others === undefined) claimants.set(key, [memberId])
        else others.push(memberId)
      }
    }
  }
  return claimants
}

function claimKey(topic: string, partition: number): string {
  return `${topic}-${partition}`
}
