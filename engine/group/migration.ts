/**
 * A group that changes its protocol while it has members, as `group.consumer.migration.policy` allows: the first member of
 * the new protocol makes a KIP-848 group of a classic one, the last one that leaves makes it classic again. Members of the
 * classic protocol notice no more than a rebalance.
 */

import { ClassicGroup } from './classic/group.ts'
import { ClassicMember } from './classic/member.ts'
import { beginSession, prepareRebalance, refuseJoin, refuseSync } from './classic/rebalance.ts'
import { allowsDowngrade, allowsUpgrade } from './config.ts'
import { subscriptionIn, toNamedPartitions, toPartitionSet } from './consumer/classic-members.ts'
import { ConsumerGroup } from './consumer/group.ts'
import { ConsumerMember, type CurrentAssignment } from './consumer/member.ts'
import { CONSUMER_PROTOCOL_TYPE, decodeAssignment, decodeSubscription, encodeAssignment } from './consumer-protocol.ts'
import { type Effects, refusal } from './effects.ts'
import { PartitionSet } from './partition-set.ts'
import { dropPending } from './pending.ts'

/**
 * The KIP-848 group that a classic group becomes: same members, same ownership, its generation as their epoch. The classic
 * group is left as it is until `finishUpgrade`, because the request that leads to this may still be refused.
 * @throws GROUP_ID_NOT_FOUND where the policy forbids it or a member does not speak the consumers' protocol
 */
export function upgraded(effects: Effects, classic: ClassicGroup): ConsumerGroup {
  const { groupId, generationId, protocolName } = classic
  const refuse = (reason: string) => refusal('GROUP_ID_NOT_FOUND', { groupId, reason })
  if (!allowsUpgrade(effects.config)) throw refuse('group.consumer.migration.policy forbids the upgrade')
  if (classic.protocolType !== CONSUMER_PROTOCOL_TYPE) throw refuse(`protocol type ${classic.protocolType}`)
  const group = new ConsumerGroup(groupId, effects.now.wallMs)
  for (const { memberId, terms, assignment } of classic.members.values()) {
    const bytes = terms.protocols.find(({ name }) => name === protocolName)?.metadata
    const subscription = bytes === undefined ? subscriptionIn(terms.protocols) : decodeSubscription(bytes)
    const owned = decodeAssignment(assignment)
    if (subscription === undefined || owned === undefined) throw refuse('a member with an unreadable subscription')
    // What an assignor of the members' own tells them this way, the coordinator could not.
    if ((owned.userData?.length ?? 0) > 0) throw refuse('a member with a custom assignor')
    const { sessionTimeoutMs, protocols, ...known } = terms
    const heir = new ConsumerMember(groupId, memberId, {
      ...known,
      rackId: subscription.rackId,
      serverAssignor: null,
      topicNames: [...new Set(subscription.topics)].sort(),
      topicRegex: '',
      classic: { sessionTimeoutMs, protocols },
    })
    group.add(heir)
    // A faulty leader may have given a partition to two members. Then the first keeps it.
    const assigned = new PartitionSet()
    toPartitionSet(owned.partitions, effects.topics).forEach((topicId, partition) => {
      if (group.ownerOf(topicId, partition) === undefined) assigned.add(topicId, partition, generationId)
    })
    heir.target = assigned.filter(() => true)
    const pendingRevocation = new PartitionSet()
    group.setCurrent(heir, { memberEpoch: generationId, state: 'stable', assigned, pendingRevocation })
  }
  group.groupEpoch = generationId
  group.setAssignmentEpoch(generationId, '')
  return group
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
  classic.store(effects)
  prepareRebalance(effects, classic)
  return classic
}
