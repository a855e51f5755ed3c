/**
 * JoinGroup in a classic group: who comes in, under which id, and whether that means a rebalance.
 *
 * A dynamic member joins twice from JoinGroup 4 on: the first time it is only given an id, so that clients which never see
 * the answer leave no members behind. A static member is known by its instance id; a new process under that id takes the
 * place of the old one, and where its subscription is the same nobody else notices.
 */
import { decide } from '../../base/case-table.ts'
import { decodeSubscription } from '../consumer-protocol.ts'
import { type Effects, refusal } from '../effects.ts'
import { newMemberId } from '../ids.ts'
import { givePending, takePending } from '../pending.ts'
import type { JoinGroup } from '../requests.ts'
import { ACCEPT_CASES, JOIN_CASES, STATIC_CASES } from './cases.ts'
import type { ClassicGroup } from './group.ts'
import { ClassicMember, type MemberTerms } from './member.ts'
import {
  beginSession,
  joinAnswer,
  NEW_MEMBER_JOIN_TIMEOUT_MS,
  prepareRebalance,
  rebalance,
  refuseJoin,
  refuseSync,
  removeMember,
} from './rebalance.ts'

/**
 * @throws GROUP_MAX_SIZE_REACHED, INCONSISTENT_GROUP_PROTOCOL, MEMBER_ID_REQUIRED, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID
 */
export function joinClassic(effects: Effects, group: ClassicGroup, request: JoinGroup): void {
  if (!hasRoom(effects, group, request)) {
    const { memberId, token } = request
    const details = { groupId: group.groupId, members: group.members.size, max: effects.config.sizeMax }
    effects.refuse(token, 'GROUP_MAX_SIZE_REACHED', details)
    const member = group.members.get(memberId)
    if (member === undefined) return
    removeMember(effects, group, member)
    rebalance(effects, group)
    return
  }
  if (!group.supports(request.protocolType, request.protocols)) {
    throw refusal('INCONSISTENT_GROUP_PROTOCOL', {
      groupId: group.groupId,
      protocolType: request.protocolType,
      groupProtocolType: group.protocolType,
      protocols: request.protocols.map(({ name }) => name).join(' '),
    })
  }
  if (request.memberId === '') joinNew(effects, group, request)
  else joinKnown(effects, group, request)
}

function hasRoom(effects: Effects, group: ClassicGroup, { memberId }: JoinGroup): boolean {
  const member = group.members.get(memberId)
  const decision = decide(ACCEPT_CASES, {
    state: group.state,
    isMember: member !== undefined,
    isJoining: member?.joinToken !== undefined,
  })
  if (decision === 'accept') return true
  const count = decision === 'count-joining' ? group.joiningCount : group.members.size
  return count < effects.config.sizeMax
}

function joinNew(effects: Effects, group: ClassicGroup, request: JoinGroup): void {
  const { instanceId, token } = request
  const memberId = newMemberId(effects, instanceId, request.clientId)
  if (instanceId !== null) {
    const old = group.staticMember(instanceId)
    if (old === undefined) addMember(effects, group, memberId, request)
    else replaceStatic(effects, group, old, memberId, request)
  } else if (request.requiresMemberId) {
    givePending(effects, group, memberId, request.sessionTimeoutMs)
    effects.refuse(token, 'MEMBER_ID_REQUIRED', { groupId: group.groupId, memberId })
  } else addMember(effects, group, memberId, request)
}

function joinKnown(effects: Effects, group: ClassicGroup, request: JoinGroup): void {
  const { memberId, instanceId } = request
  if (instanceId === null && takePending(effects, group, memberId)) {
    addMember(effects, group, memberId, request)
    return
  }
  const member = group.memberOf(memberId, instanceId)
  const decision = decide(JOIN_CASES, {
    state: group.state,
    isLeader: group.leaderId === memberId,
    sameProtocols: member.hasProtocols(request.protocols),
  })
  if (decision === 'unknown-member') throw refusal('UNKNOWN_MEMBER_ID', { groupId: group.groupId, memberId })
  if (decision === 'repeat') {
    effects.reply(request.token, joinAnswer(group, member))
    beginSession(effects, member)
  } else rejoin(effects, group, member, request)
}

function addMember(effects: Effects, group: ClassicGroup, memberId: string, request: JoinGroup): void {
  const member = new ClassicMember(group.groupId, memberId, termsOf(request))
  member.isNew = true
  member.joinToken = request.token
  group.add(member, request.protocolType)
  group.hasNewMember = true
  effects.schedule(member.session, NEW_MEMBER_JOIN_TIMEOUT_MS)
  rebalance(effects, group)
}

function rejoin(effects: Effects, group: ClassicGroup, member: ClassicMember, request: JoinGroup): void {
  // The client gave its earlier request up, or it would not send another.
  refuseJoin(effects, group, member, 'REBALANCE_IN_PROGRESS')
  member.terms = { ...termsOf(request), instanceId: member.instanceId }
  member.joinToken = request.token
  if (member.isNew) effects.schedule(member.session, NEW_MEMBER_JOIN_TIMEOUT_MS)
  rebalance(effects, group)
}

function replaceStatic(
  effects: Effects,
  group: ClassicGroup,
  old: ClassicMember,
  memberId: string,
  request: JoinGroup,
): void {
  const leaderBefore = group.leaderId
  const heir = new ClassicMember(group.groupId, memberId, termsOf(request))
  refuseJoin(effects, group, old, 'FENCED_INSTANCE_ID')
  refuseSync(effects, group, old, 'FENCED_INSTANCE_ID')
  effects.cancel(old.session)
  group.replace(old, heir)
  beginSession(effects, heir)
  const sameSubscription = group.selectProtocol() === group.protocolName && subscribesAlike(group, old, heir)
  const decision = decide(STATIC_CASES, { state: group.state, sameSubscription })
  if (decision === 'take-over') {
    group.store(effects)
    const isLeader = leaderBefore === old.memberId
    const answer = joinAnswer(group, heir)
    // A leader that comes back must not assign, since nobody else would ask for it. A client that cannot be told so is made
    // to believe that another member is the leader.
    const known = request.canSkipAssignment
      ? { ...answer, skipAssignment: isLeader }
      : { ...answer, leader: leaderBefore ?? '', members: [] }
    effects.reply(request.token, known)
    return
  }
  heir.joinToken = request.token
  if (decision === 'rebalance') prepareRebalance(effects, group)
  else rebalance(effects, group)
}

/** Same topics, where consumers say which; else the same bytes. What a consumer owned before it restarted does not count. */
function subscribesAlike(group: ClassicGroup, old: ClassicMember, heir: ClassicMember): boolean {
  const [before, after] = [old.metadata(group.protocolName), heir.metadata(group.protocolName)]
  if (Buffer.compare(before, after) === 0) return true
  if (group.protocolType !== 'consumer') return false
  const [topicsBefore, topicsAfter] = [decodeSubscription(before)?.topics, decodeSubscription(after)?.topics]
  if (topicsBefore === undefined || topicsAfter === undefined) return false
  const [setBefore, setAfter] = [new Set(topicsBefore), new Set(topicsAfter)]
  return setBefore.size === setAfter.size && topicsBefore.every(topic => setAfter.has(topic))
}

function termsOf(request: JoinGroup): MemberTerms {
  const { instanceId, clientId, clientHost, sessionTimeoutMs, protocols } = request
  const rebalanceTimeoutMs = request.rebalanceTimeoutMs < 0 ? sessionTimeoutMs : request.rebalanceTimeoutMs
  return { instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, protocols }
}
