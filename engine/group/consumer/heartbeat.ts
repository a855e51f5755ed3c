/**
 * ConsumerGroupHeartbeat, the one request of KIP-848: it joins, changes the subscription, says what the member owns, fetches
 * what it is to own, and leaves. A request is refused before anything is changed for it.
 */
import { type Effects, refusal } from '../effects.ts'
import { PartitionSet } from '../partition-set.ts'
import type { Client, ConsumerGroupHeartbeat } from '../requests.ts'
import type { ConsumerGroup } from './group.ts'
import { ConsumerMember, LEAVE_EPOCH, STATIC_LEAVE_EPOCH, type Subscription } from './member.ts'
import { bringUpToDate, fenceMember } from './membership.ts'

/** @throws INVALID_ARGUMENT, UNSUPPORTED_ASSIGNOR: for what is wrong whatever the group looks like */
export function checkHeartbeat({ config }: Effects, request: ConsumerGroupHeartbeat): void {
  const { memberId, memberEpoch, instanceId, subscribedTopicNames, subscribedTopicRegex } = request
  const refuse = (argument: string, reason: string) => refusal('INVALID_ARGUMENT', { argument, reason })
  if (memberId === '' && memberEpoch !== 0) throw refuse('memberId', 'empty')
  if (instanceId === '') throw refuse('instanceId', 'empty')
  if (request.rackId === '') throw refuse('rackId', 'empty')
  if (memberEpoch < STATIC_LEAVE_EPOCH) throw refuse('memberEpoch', 'below -2')
  if (memberEpoch === STATIC_LEAVE_EPOCH && instanceId === null) throw refuse('instanceId', 'null')
  if (memberEpoch === 0) {
    if (request.rebalanceTimeoutMs < 0) throw refuse('rebalanceTimeoutMs', 'not given when joining')
    if (request.topicPartitions === null || request.topicPartitions.length > 0) {
      throw refuse('topicPartitions', 'not empty when joining')
    }
    if (subscribedTopicNames === null && subscribedTopicRegex === null) {
      throw refuse('subscribedTopicNames', 'neither names nor a pattern when joining')
    }
  }
  const assignor = request.serverAssignor
  const known = config.consumerAssignors
  if (assignor !== null && !known.includes(assignor)) {
    throw refusal('UNSUPPORTED_ASSIGNOR', { assignor, known: known.join(' ') })
  }
}

/**
 * A request that joins or stays.
 * @throws GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID, UNRELEASED_INSTANCE_ID,
 * INVALID_REGULAR_EXPRESSION
 */
export function heartbeatConsumer(effects: Effects, group: ConsumerGroup, request: ConsumerGroupHeartbeat): void {
  const { memberEpoch } = request
  const memberId = request.memberId === '' ? effects.newId() : request.memberId
  const owned = request.topicPartitions === null ? null : PartitionSet.of(request.topicPartitions)
  const pattern = request.subscribedTopicRegex
  if (pattern !== null && pattern !== '') group.checkPattern(pattern)
  const known =
    memberEpoch === 0
      ? findJoining(effects, group, memberId, request.instanceId)
      : checkEpoch(group, group.memberOf(memberId, request.instanceId), memberEpoch, owned)
  const member = known ?? admit(effects, group, memberId, request)
  const before = member.current.assigned
  const subscription = subscriptionOf(member.subscription, request)
  bringUpToDate(effects, group, member, { subscription, owned, isNew: known === undefined })
  const { current } = member
  const isFull = request.rebalanceTimeoutMs >= 0 && request.topicPartitions !== null
  const saysTopics = request.subscribedTopicNames !== null || request.subscribedTopicRegex !== null
  const sendsAssignment = memberEpoch === 0 || (isFull && saysTopics) || !current.assigned.equals(before)
  effects.reply(request.token, {
    type: 'ConsumerGroupHeartbeat',
    memberId,
    memberEpoch: current.memberEpoch,
    heartbeatIntervalMs: effects.config.consumerHeartbeatIntervalMs,
    assignment: sendsAssignment ? current.assigned.toTopics() : null,
  })
}

/** @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID */
export function leaveConsumer(effects: Effects, group: ConsumerGroup, request: ConsumerGroupHeartbeat): void {
  const { memberId, memberEpoch, instanceId } = request
  const member = group.memberOf(memberId, instanceId)
  if (memberEpoch === STATIC_LEAVE_EPOCH) {
    // It keeps its place for its session timeout; what it owned stays its own, what it was to give up is free.
    effects.cancel(member.rebalance)
    group.setCurrent(member, {
      memberEpoch: STATIC_LEAVE_EPOCH,
      state: 'stable',
      assigned: member.current.assigned,
      pendingRevocation: new PartitionSet(),
    })
  } else fenceMember(effects, group, member)
  effects.reply(request.token, {
    type: 'ConsumerGroupHeartbeat',
    memberId,
    memberEpoch: memberEpoch === STATIC_LEAVE_EPOCH ? STATIC_LEAVE_EPOCH : LEAVE_EPOCH,
    heartbeatIntervalMs: 0,
    assignment: null,
  })
}

/**
 * The member that is joining, where it is in the group already: its answer was lost, it was fenced, or it is a static member
 * that comes back, as itself or as a new process.
 */
function findJoining(
  effects: Effects,
  group: ConsumerGroup,
  memberId: string,
  instanceId: string | null,
): ConsumerMember | undefined {
  if (instanceId === null) return group.members.get(memberId)
  const holder = group.staticMember(instanceId)
  if (holder?.memberId === memberId) return holder
  checkUnused(group, memberId)
  if (holder === undefined) return undefined
  if (!holder.isAway) {
    throw refusal('UNRELEASED_INSTANCE_ID', { groupId: group.groupId, instanceId, holder: holder.memberId })
  }
  return takeOver(effects, group, holder, memberId)
}

/** An instance id is for a member's whole life. @throws INVALID_ARGUMENT where the id is that of another member */
function checkUnused(group: ConsumerGroup, memberId: string): void {
  if (!group.members.has(memberId)) return
  throw refusal('INVALID_ARGUMENT', { argument: 'instanceId', memberId, reason: 'the member joined without it' })
}

/** The place of a static member, with its target and what it owned, under a new member id. */
export function takeOver(
  effects: Effects,
  group: ConsumerGroup,
  holder: ConsumerMember,
  memberId: string,
): ConsumerMember {
  const heir = new ConsumerMember(group.groupId, memberId, holder.subscription)
  effects.cancel(holder.session)
  effects.cancel(holder.rebalance)
  group.replace(holder, heir)
  return heir
}

/** @throws GROUP_MAX_SIZE_REACHED */
function checkRoom({ config }: Effects, group: ConsumerGroup): void {
  const count = group.members.size
  if (count < config.consumerSizeMax) return
  throw refusal('GROUP_MAX_SIZE_REACHED', { groupId: group.groupId, members: count, max: config.consumerSizeMax })
}

/** A new member, without a subscription yet. @throws GROUP_MAX_SIZE_REACHED */
export function admit(
  effects: Effects,
  group: ConsumerGroup,
  memberId: string,
  {
    instanceId,
    clientId,
    clientHost,
    rebalanceTimeoutMs,
  }: Pick<Subscription, keyof Client | 'instanceId' | 'rebalanceTimeoutMs'>,
): ConsumerMember {
  checkRoom(effects, group)
  const member = new ConsumerMember(group.groupId, memberId, {
    instanceId,
    rackId: null,
    clientId,
    clientHost,
    rebalanceTimeoutMs,
    serverAssignor: null,
    topicNames: [],
    topicRegex: '',
    classic: null,
  })
  group.add(member)
  return member
}

/**
 * A member has the epoch it was told, or the one before if that answer was lost. Then what it owns has to be part of what it
 * was assigned, or it missed a revocation.
 */
function checkEpoch(
  group: ConsumerGroup,
  member: ConsumerMember,
  memberEpoch: number,
  owned: PartitionSet | null,
): ConsumerMember {
  if (memberEpoch === member.memberEpoch) return member
  const isPrevious = memberEpoch === member.previousMemberEpoch && memberEpoch < member.memberEpoch
  if (isPrevious && owned?.isSubsetOf(member.current.assigned)) return member
  throw refusal('FENCED_MEMBER_EPOCH', {
    groupId: group.groupId,
    memberId: member.memberId,
    memberEpoch,
    currentMemberEpoch: member.memberEpoch,
  })
}

function subscriptionOf(before: Subscription, request: ConsumerGroupHeartbeat): Subscription {
  const names = request.subscribedTopicNames
  return {
    instanceId: before.instanceId,
    rackId: request.rackId ?? before.rackId,
    clientId: request.clientId,
    clientHost: request.clientHost,
    rebalanceTimeoutMs: request.rebalanceTimeoutMs < 0 ? before.rebalanceTimeoutMs : request.rebalanceTimeoutMs,
    serverAssignor: request.serverAssignor ?? before.serverAssignor,
    topicNames: names === null ? before.topicNames : [...new Set(names)].sort(),
    topicRegex: request.subscribedTopicRegex ?? before.topicRegex,
    classic: null,
  }
}
