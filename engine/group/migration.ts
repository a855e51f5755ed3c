/**
 * A group that changes its protocol while it has members, as `group.consumer.migration.policy` allows: the first member of
 * the new protocol makes a KIP-848 group of a classic one, the last one that leaves makes it classic again. Members of the
 * classic protocol notice no more than a rebalance.
 */

import type { MillraceError } from '../base/errors.ts'
import { ClassicGroup } from './classic/group.ts'
import { ClassicMember } from './classic/member.ts'
import { beginSession, prepareRebalance, refuseJoin, refuseSync } from './classic/rebalance.ts'
import { allowsDowngrade, allowsUpgrade } from './config.ts'
import { subscriptionIn, toNamedPartitions, toPartitionSet } from './consumer/classic-members.ts'
import { ConsumerGroup } from './consumer/group.ts'
import { ConsumerMember, type CurrentAssignment } from './consumer/member.ts'
import {
  CONSUMER_PROTOCOL_TYPE,
  type ConsumerAssignment,
  type ConsumerSubscription,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
} from './consumer-protocol.ts'
import { type Effects, refusal } from './effects.ts'
import { PartitionSet } from './partition-set.ts'
import { dropPending } from './pending.ts'

/**
 * The KIP-848 group that a classic group becomes: same members, same ownership, its generation as their epoch. What a member
 * owned when it joined and was not given again it may still have, so that is for it to give up first. The classic group is
 * left as it is until `finishUpgrade`, because the request that leads to this may still be refused.
 * @throws GROUP_ID_NOT_FOUND where the policy forbids it or a member does not speak the consumers' protocol
 */
export function upgraded(effects: Effects, classic: ClassicGroup): ConsumerGroup {
  const { groupId, generationId } = classic
  if (!allowsUpgrade(effects.config)) throw cannotUpgrade(classic, 'group.consumer.migration.policy forbids it')
  if (classic.protocolType !== CONSUMER_PROTOCOL_TYPE) throw cannotUpgrade(classic, 'not a group of consumers')
  const group = new ConsumerGroup(groupId, effects.now.wallMs)
  const claims = new Map<ConsumerMember, PartitionSet>()
  for (const member of classic.members.values()) {
    const { subscription, assignment } = spokenBy(classic, member)
    const { sessionTimeoutMs, protocols, ...known } = member.terms
    const heir = new ConsumerMember(groupId, member.memberId, {
      ...known,
      rackId: subscription.rackId,
      serverAssignor: null,
      topicNames: [...new Set(subscription.topics)].sort(),
      topicRegex: '',
      classic: { sessionTimeoutMs, protocols },
    })
    group.add(heir)
    // A faulty leader may have given a partition to two members. Then the first keeps it.
    const assigned = unowned(group, toPartitionSet(assignment.partitions, effects.topics), generationId)
    heir.target = assigned.filter(() => true)
    const pendingRevocation = new PartitionSet()
    group.setCurrent(heir, { memberEpoch: generationId, state: 'stable', assigned, pendingRevocation })
    claims.set(heir, toPartitionSet(subscription.owned, effects.topics))
  }
  for (const [heir, claimed] of claims) {
    const pendingRevocation = unowned(group, claimed, 0)
    if (pendingRevocation.size > 0) group.setCurrent(heir, { ...heir.current, state: 'unrevoked', pendingRevocation })
  }
  group.groupEpoch = generationId
  group.setAssignmentEpoch(generationId, '')
  return group
}

/** What a member says and was told. @throws GROUP_ID_NOT_FOUND */
function spokenBy(
  classic: ClassicGroup,
  { terms, assignment }: ClassicMember,
): { subscription: ConsumerSubscription; assignment: ConsumerAssignment } {
  const bytes = terms.protocols.find(({ name }) => name === classic.protocolName)?.metadata
  const subscription = bytes === undefined ? subscriptionIn(terms.protocols) : decodeSubscription(bytes)
  const told = decodeAssignment(assignment)
  if (subscription === undefined || told === undefined) throw cannotUpgrade(classic, 'a member is not understood')
  // What an assignor of the members' own tells them this way, the coordinator could not.
  if ((told.userData?.length ?? 0) > 0) throw cannotUpgrade(classic, 'a member has an assignor of its own')
  return { subscription, assignment: told }
}

function unowned(group: ConsumerGroup, partitions: PartitionSet, epoch: number): PartitionSet {
  const free = new PartitionSet()
  partitions.forEach((topicId, partition) => {
    if (group.ownerOf(topicId, partition) === undefined) free.add(topicId, partition, epoch)
  })
  return free
}

function cannotUpgrade({ groupId }: ClassicGroup, reason: string): MillraceError {
  return refusal('GROUP_ID_NOT_FOUND', { groupId, reason })
}

/** The classic group has gone: its deadlines too, and who waited for it joins again. */
export function finishUpgrade(effects: Effects, classic: ClassicGroup, group: ConsumerGroup): void {
  dropClassic(effects, classic, 'REBALANCE_IN_PROGRESS')
  group.inherit(classic.storedMemberIds)
  for (const member of group.members.values()) {
    const { classic: terms } = member.subscription
    if (terms !== null && !member.session.isSet) effects.schedule(member.session, terms.sessionTimeoutMs)
  }
}

/** What a member has, and what it was told to give up and may still have. */
function mayOwn({ assigned, pendingRevocation }: CurrentAssignment): PartitionSet {
  const all = assigned.filter(() => true)
  pendingRevocation.forEach((topicId, partition) => {
    all.add(topicId, partition)
  })
  return all
}

/** Nothing of the group is to happen any more; what waits is refused. */
export function dropClassic(
  effects: Effects,
  classic: ClassicGroup,
  code: 'REBALANCE_IN_PROGRESS' | 'COORDINATOR_NOT_AVAILABLE',
): void {
  effects.cancel(classic.joinDeadline)
  effects.cancel(classic.syncDeadline)
  dropPending(effects, classic)
  for (const member of classic.members.values()) {
    refuseJoin(effects, classic, member, code)
    refuseSync(effects, classic, member, code)
    effects.cancel(member.session)
  }
}

export function dropConsumer(effects: Effects, group: ConsumerGroup): void {
  dropPending(effects, group)
  for (const member of group.members.values()) {
    effects.cancel(member.session)
    effects.cancel(member.rebalance)
  }
}

/** Only members of the classic protocol are left, and the policy lets them go on by themselves. */
export function mayDowngrade({ config }: Effects, group: ConsumerGroup): boolean {
  if (group.members.size === 0 || group.members.size > config.sizeMax || !allowsDowngrade(config)) return false
  for (const member of group.members.values()) if (!member.usesClassicProtocol) return false
  return true
}

/**
 * The classic group that is left. Its generation is the highest epoch that a member has, so members that had followed keep what
 * they own until they join the rebalance that begins at once.
 */
export function downgrade(effects: Effects, group: ConsumerGroup): ClassicGroup {
  dropConsumer(effects, group)
  const classic = new ClassicGroup(group.groupId, effects.now.wallMs)
  for (const { memberId, subscription, current } of group.members.values()) {
    const { instanceId, clientId, clientHost, rebalanceTimeoutMs, classic: terms } = subscription
    if (terms === null) continue
    const member = new ClassicMember(group.groupId, memberId, {
      instanceId,
      clientId,
      clientHost,
      rebalanceTimeoutMs,
      ...terms,
    })
    member.assignment = encodeAssignment({
      version: subscriptionIn(terms.protocols)?.version ?? 0,
      partitions: toNamedPartitions(mayOwn(current), effects.topics),
      userData: null,
    })
    classic.generationId = Math.max(classic.generationId, current.memberEpoch)
    classic.add(member, CONSUMER_PROTOCOL_TYPE)
    beginSession(effects, member)
  }
  classic.protocolName = classic.selectProtocol()
  classic.transition('stable', effects.now.wallMs)
  classic.inherit(group.storedMemberIds)
  classic.store(effects, null)
  prepareRebalance(effects, classic)
  return classic
}
