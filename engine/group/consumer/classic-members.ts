/**
 * Members of the classic protocol in a group of KIP-848. The coordinator assigns, so nobody is a leader: a join brings the
 * subscription and what is owned, its answer a generation that is the member's epoch, and the sync fetches the assignment.
 * A heartbeat tells the member to join again whenever there is a step for it to take: a new epoch, partitions to give up
 * (which its next join shows as no longer owned), or partitions that have become free.
 */
import type { ErrorData } from '../../base/errors.ts'
import {
  CONSUMER_PROTOCOL_TYPE,
  type ConsumerSubscription,
  decodeSubscription,
  encodeAssignment,
  type NamedPartitions,
} from '../consumer-protocol.ts'
import { type Effects, refusal, refusalData } from '../effects.ts'
import { newMemberId } from '../ids.ts'
import { PartitionSet } from '../partition-set.ts'
import { givePending, takePending } from '../pending.ts'
import type { Heartbeat, JoinGroup, LeaveGroup, Protocol, SyncGroup } from '../requests.ts'
import type { TopicDirectory } from '../topic-directory.ts'
import type { ConsumerGroup } from './group.ts'
import { admit, takeOver } from './heartbeat.ts'
import type { ClassicTerms, ConsumerMember, Subscription } from './member.ts'
import { bringUpToDate, fenceMember, refreshTopics } from './membership.ts'
import { waitsForOthers } from './reconcile.ts'

/** @throws INCONSISTENT_GROUP_PROTOCOL, GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID */
export function joinAsClassic(effects: Effects, group: ConsumerGroup, request: JoinGroup): void {
  const { groupId } = group
  const { instanceId, clientId, clientHost, sessionTimeoutMs, protocols, protocolType } = request
  if (effects.config.migrationPolicy === 'disabled') {
    throw refusal('INCONSISTENT_GROUP_PROTOCOL', { groupId, reason: 'group.consumer.migration.policy is disabled' })
  }
  const said = protocolType === CONSUMER_PROTOCOL_TYPE ? subscriptionIn(protocols) : undefined
  if (said === undefined || !sharesProtocol(group, request)) {
    throw refusal('INCONSISTENT_GROUP_PROTOCOL', {
      groupId,
      protocolType,
      protocols: protocols.map(({ name }) => name).join(' '),
    })
  }
  const memberId = request.memberId === '' ? newMemberId(effects, instanceId, clientId) : request.memberId
  if (request.memberId === '' && instanceId === null && request.requiresMemberId) {
    givePending(effects, group, memberId, sessionTimeoutMs)
    effects.refuse(request.token, 'MEMBER_ID_REQUIRED', { groupId, memberId })
    return
  }
  const rebalanceTimeoutMs = request.rebalanceTimeoutMs < 0 ? sessionTimeoutMs : request.rebalanceTimeoutMs
  const known = findClassicJoining(effects, group, request, memberId)
  const member = known ?? admit(effects, group, memberId, { instanceId, clientId, clientHost, rebalanceTimeoutMs })
  const subscription: Subscription = {
    instanceId: member.instanceId,
    rackId: said.rackId,
    clientId,
    clientHost,
    rebalanceTimeoutMs,
    serverAssignor: null,
    topicNames: [...new Set(said.topics)].sort(),
    topicRegex: '',
    classic: { sessionTimeoutMs, protocols },
  }
  const owned = toPartitionSet(said.owned, effects.topics)
  bringUpToDate(effects, group, member, { subscription, owned, isNew: known === undefined })
  effects.schedule(member.rebalance, rebalanceTimeoutMs)
  effects.reply(request.token, {
    type: 'JoinGroup',
    generationId: member.memberEpoch,
    protocolType: CONSUMER_PROTOCOL_TYPE,
    protocolName: protocolNameOf(protocols),
    leader: '',
    skipAssignment: false,
    memberId,
    members: [],
  })
}

/** @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL */
export function syncAsClassic(effects: Effects, group: ConsumerGroup, request: SyncGroup): void {
  const { member, terms } = classicMemberOf(group, request)
  const protocolName = protocolNameOf(terms.protocols)
  const agrees =
    (request.protocolType ?? CONSUMER_PROTOCOL_TYPE) === CONSUMER_PROTOCOL_TYPE &&
    (request.protocolName ?? protocolName) === protocolName
  if (!agrees) throw refusal('INCONSISTENT_GROUP_PROTOCOL', { groupId: group.groupId, expected: protocolName })
  if (group.groupEpoch > member.memberEpoch && member.current.state !== 'unrevoked') {
    sendBackToJoin(effects, group, member, request.token)
    return
  }
  effects.cancel(member.rebalance)
  effects.schedule(member.session, terms.sessionTimeoutMs)
  const version = subscriptionIn(terms.protocols)?.version ?? 0
  const partitions = toNamedPartitions(member.current.assigned, effects.topics)
  effects.reply(request.token, {
    type: 'SyncGroup',
    protocolType: CONSUMER_PROTOCOL_TYPE,
    protocolName,
    assignment: encodeAssignment({ version, partitions, userData: null }),
  })
}

/** @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION */
export function heartbeatAsClassic(effects: Effects, group: ConsumerGroup, request: Heartbeat): void {
  const { member, terms } = classicMemberOf(group, request)
  effects.schedule(member.session, terms.sessionTimeoutMs)
  refreshTopics(effects, group)
  const { state } = member.current
  const hasToJoin =
    member.memberEpoch < group.groupEpoch ||
    state === 'unrevoked' ||
    (state === 'unreleased' && !waitsForOthers(group, member))
  if (hasToJoin) sendBackToJoin(effects, group, member, request.token)
  else effects.reply(request.token, { type: 'Heartbeat' })
}

/** Also removes members of the new protocol where an administrator names them by instance id. */
export function leaveAsClassic(effects: Effects, group: ConsumerGroup, request: LeaveGroup): void {
  const members = request.members.map(({ memberId, instanceId }) => {
    if (takePending(effects, group, memberId)) return { memberId, instanceId, error: undefined }
    const byInstance = memberId === '' && instanceId !== null ? group.staticMember(instanceId) : undefined
    let error: ErrorData | undefined
    try {
      const member = byInstance ?? group.memberOf(memberId, instanceId)
      if (byInstance === undefined) termsOf(group, member)
      fenceMember(effects, group, member)
    } catch (reason) {
      error = refusalData(reason)
    }
    return { memberId, instanceId, error }
  })
  effects.reply(request.token, { type: 'LeaveGroup', members })
}

/** The subscription of a classic member; undefined where its bytes are none. */
export function subscriptionIn(protocols: readonly Protocol[]): ConsumerSubscription | undefined {
  const first = protocols[0]
  return first === undefined ? undefined : decodeSubscription(first.metadata)
}

/** By topic id; topics that do not exist (any more) are left out. */
export function toPartitionSet(topics: readonly NamedPartitions[], directory: TopicDirectory): PartitionSet {
  const set = new PartitionSet()
  for (const { topic, partitions } of topics) {
    const topicId = directory.named(topic)?.topicId
    if (topicId !== undefined) for (const partition of partitions) set.add(topicId, partition)
  }
  return set
}

export function toNamedPartitions(set: PartitionSet, directory: TopicDirectory): NamedPartitions[] {
  return set.toTopics().flatMap(({ topicId, partitions }) => {
    const topic = directory.withId(topicId)?.name
    return topic === undefined ? [] : [{ topic, partitions }]
  })
}

/** A protocol of the joining member is known to all other classic members, so that they could go on by themselves. */
function sharesProtocol(group: ConsumerGroup, { memberId, protocols }: JoinGroup): boolean {
  const others = [...group.members.values()].filter(member => member.memberId !== memberId)
  return protocols.some(({ name }) =>
    others.every(({ subscription: { classic } }) => classic === null || classic.protocols.some(p => p.name === name)),
  )
}

function findClassicJoining(
  effects: Effects,
  group: ConsumerGroup,
  request: JoinGroup,
  memberId: string,
): ConsumerMember | undefined {
  const { instanceId } = request
  // Whoever was a member once has to hear that it is none any more, or it would keep what it owned.
  if (request.memberId !== '') {
    return instanceId === null && takePending(effects, group, memberId)
      ? undefined
      : group.memberOf(memberId, instanceId)
  }
  const holder = instanceId === null ? undefined : group.staticMember(instanceId)
  return holder && takeOver(effects, group, holder, memberId)
}

function sendBackToJoin(effects: Effects, group: ConsumerGroup, member: ConsumerMember, token: number): void {
  if (!member.rebalance.isSet) effects.schedule(member.rebalance, member.subscription.rebalanceTimeoutMs)
  effects.refuse(token, 'REBALANCE_IN_PROGRESS', { groupId: group.groupId, memberId: member.memberId })
}

function classicMemberOf(
  group: ConsumerGroup,
  { memberId, instanceId, generationId }: SyncGroup | Heartbeat,
): { member: ConsumerMember; terms: ClassicTerms } {
  const member = group.memberOf(memberId, instanceId)
  const terms = termsOf(group, member)
  if (generationId === member.memberEpoch) return { member, terms }
  throw refusal('ILLEGAL_GENERATION', {
    groupId: group.groupId,
    memberId,
    generationId,
    currentGenerationId: member.memberEpoch,
  })
}

/** @throws UNKNOWN_MEMBER_ID for a member of the new protocol */
function termsOf(group: ConsumerGroup, { memberId, subscription }: ConsumerMember): ClassicTerms {
  if (subscription.classic !== null) return subscription.classic
  throw refusal('UNKNOWN_MEMBER_ID', { groupId: group.groupId, memberId, reason: 'not of the classic protocol' })
}

function protocolNameOf(protocols: readonly Protocol[]): string {
  return protocols[0]?.name ?? ''
}
