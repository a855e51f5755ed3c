/**
 * What every change of a member of a KIP-848 group leads to, whichever protocol it speaks: a new group epoch where the change
 * matters, a new target for it, a step of the member towards that, and its deadlines.
 */
import type { Effects } from '../effects.ts'
import type { PartitionSet } from '../partition-set.ts'
import type { ConsumerGroup } from './group.ts'
import type { ConsumerMember, Subscription } from './member.ts'
import { reconcile } from './reconcile.ts'
import { changesAssignment, topicsHaveChanged, updateTarget } from './target.ts'

export interface MemberNews {
  readonly subscription: Subscription
  /** What the member says it owns; null when it did not say. */
  readonly owned: PartitionSet | null
  readonly isNew: boolean
}

export function bringUpToDate(
  effects: Effects,
  group: ConsumerGroup,
  member: ConsumerMember,
  { subscription, owned, isNew }: MemberNews,
): void {
  const before = member.subscription
  const changed = isNew || changesAssignment(before, subscription)
  if (changed || !isSame(before, subscription)) group.setSubscription(member, subscription)
  if (before.topicRegex !== subscription.topicRegex) group.prunePatterns()
  if (changed) {
    topicsHaveChanged(group, effects.topics)
    group.bumpGroupEpoch()
  } else refreshTopics(effects, group)
  if (group.groupEpoch > group.assignmentEpoch) updateTarget(effects, group)
  advance(effects, group, member, owned)
  // A classic member has the same deadline for joining and syncing, which its requests set.
  if (subscription.classic === null) {
    if (member.current.state !== 'unrevoked') effects.cancel(member.rebalance)
    else if (!member.rebalance.isSet) effects.schedule(member.rebalance, subscription.rebalanceTimeoutMs)
  }
  effects.schedule(member.session, subscription.classic?.sessionTimeoutMs ?? effects.config.consumerSessionTimeoutMs)
}

/** A new epoch if the topics that members subscribe to came, grew or went since they were last looked at. */
export function refreshTopics(effects: Effects, group: ConsumerGroup): void {
  if (group.topicsVersion === effects.topics.version) return
  if (topicsHaveChanged(group, effects.topics)) group.bumpGroupEpoch()
}

function advance(effects: Effects, group: ConsumerGroup, member: ConsumerMember, owned: PartitionSet | null): void {
  const { current } = member
  const next = reconcile(group, member, owned)
  if (next === current) return
  if (
    next.memberEpoch === current.memberEpoch &&
    next.state === current.state &&
    next.assigned.equals(current.assigned) &&
    next.pendingRevocation.equals(current.pendingRevocation)
  ) {
    return
  }
  group.setCurrent(member, next)
  effects.cancel(member.rebalance)
}

/** The member is out, and the others get what it had: at their next heartbeats, for the epoch that begins now. */
export function fenceMember(effects: Effects, group: ConsumerGroup, member: ConsumerMember): void {
  effects.cancel(member.session)
  effects.cancel(member.rebalance)
  group.remove(member)
  group.prunePatterns()
  topicsHaveChanged(group, effects.topics)
  group.bumpGroupEpoch()
  if (group.members.size === 0) group.becomeEmpty(effects.now.wallMs)
}

function isSame(a: Subscription, b: Subscription): boolean {
  return (
    a.rackId === b.rackId &&
    a.clientId === b.clientId &&
    a.clientHost === b.clientHost &&
    a.rebalanceTimeoutMs === b.rebalanceTimeoutMs &&
    a.classic === b.classic
  )
}
