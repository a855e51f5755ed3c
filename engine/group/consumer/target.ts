/**
 * The target of a group of KIP-848: which topics its members subscribe to, and the division of their partitions by the
 * assignor that most members ask for. It is computed anew whenever the group epoch rises.
 */
import { hash } from 'node:crypto'
import type { TopicId } from '../../base/brands.ts'
import type { ServerAssignor, ServerMember } from '../assignors/assignor.ts'
import { SERVER_ASSIGNORS } from '../assignors/index.ts'
import type { Effects } from '../effects.ts'
import { PartitionSet } from '../partition-set.ts'
import type { KnownTopic, TopicDirectory } from '../topic-directory.ts'
import type { ConsumerGroup } from './group.ts'
import type { Subscription } from './member.ts'
import type { SubscribedTopics } from './subscribed-topics.ts'

/**
 * Has something changed about the topics that members subscribe to? Asked after each change of a subscription, and once for
 * each version of the directory.
 */
export function topicsHaveChanged(group: ConsumerGroup, directory: TopicDirectory): boolean {
  const topics = new Set<KnownTopic>()
  for (const { list } of new Set(subscriptionsOf(group, directory))) for (const topic of list) topics.add(topic)
  const lines = [...topics].map(({ topicId, partitions }) => `${topicId}:${partitions}`).sort()
  const digest = hash('sha256', lines.join(), 'base64')
  const changed = digest !== group.topicsDigest
  group.topicsDigest = digest
  group.topicsVersion = directory.version
  return changed
}

/** Computes the target for the group epoch. Members whose target changed are stored. */
export function updateTarget(effects: Effects, group: ConsumerGroup): void {
  const subscriptions = subscriptionsOf(group, effects.topics)
  const partitionsOf = new Map<TopicId, number>()
  for (const { list } of new Set(subscriptions)) {
    for (const { topicId, partitions } of list) partitionsOf.set(topicId, partitions)
  }
  const members: ServerMember[] = Array.from(group.members.values(), ({ memberId, instanceId, target }, at) => {
    return { memberId, instanceId, topicIds: (subscriptions[at] as SubscribedTopics).topicIds, target }
  })
  const assignor = chooseAssignor(effects, group)
  const targets = assignor.assign(partitionsOf, members)
  for (const member of group.members.values()) {
    const target = targets.get(member.memberId) ?? new PartitionSet()
    if (target.equals(member.target)) continue
    member.target = target
    group.touch(member)
  }
  group.setAssignmentEpoch(group.groupEpoch, assignor.name)
}

/** What each member's subscription comes to, in the order of the members. */
function subscriptionsOf(group: ConsumerGroup, directory: TopicDirectory): SubscribedTopics[] {
  const patternOf = (text: string) => group.pattern(text)
  return Array.from(group.members.values(), ({ subscription }) =>
    group.subscriptions.topicsOf(subscription, directory, patternOf),
  )
}

/** The one that most members ask for; the first of the configuration when none asks or those who do are even. */
function chooseAssignor({ config }: Effects, group: ConsumerGroup): ServerAssignor {
  const votes = new Map<string, number>(config.consumerAssignors.map(name => [name, 0]))
  for (const { subscription } of group.members.values()) {
    const choice = subscription.serverAssignor
    if (choice !== null) votes.set(choice, (votes.get(choice) ?? 0) + 1)
  }
  let [winner, most] = ['', -1]
  for (const [name, count] of votes) if (count > most) [winner, most] = [name, count]
  return SERVER_ASSIGNORS.find(({ name }) => name === winner) ?? (SERVER_ASSIGNORS[0] as ServerAssignor)
}

/** What a change of the subscription means for the group: a new epoch or nothing. */
export function changesAssignment(before: Subscription, after: Subscription): boolean {
  return (
    before.topicRegex !== after.topicRegex ||
    before.serverAssignor !== after.serverAssignor ||
    before.topicNames.length !== after.topicNames.length ||
    before.topicNames.some((name, at) => name !== after.topicNames[at])
  )
}
