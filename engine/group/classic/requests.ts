/** SyncGroup, Heartbeat, LeaveGroup and what ends by itself in a classic group; and who may commit. */
import { decide } from '../../base/case-table.ts'
import type { ErrorData } from '../../base/errors.ts'
import { type Effects, refusal, refusalData } from '../effects.ts'
import { takePending } from '../pending.ts'
import type { Heartbeat, LeaveGroup, OffsetCommit, SyncGroup } from '../requests.ts'
import { COMMIT_CASES, HEARTBEAT_CASES, SYNC_CASES } from './cases.ts'
import type { ClassicGroup } from './group.ts'
import type { ClassicMember } from './member.ts'
import { answerSync, beginSession, noteSync, rebalance, refuseSync, removeMember } from './rebalance.ts'

/** @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS */
export function syncClassic(effects: Effects, group: ClassicGroup, request: SyncGroup): void {
  const member = memberOfGeneration(group, request.memberId, request.instanceId, request.generationId)
  const { groupId } = group
  for (const [mine, theirs] of [
    [request.protocolType, group.protocolType],
    [request.protocolName, group.protocolName],
  ]) {
    if (mine === null || mine === theirs) continue
    throw refusal('INCONSISTENT_GROUP_PROTOCOL', { groupId, given: mine ?? '', expected: theirs ?? '' })
  }
  const decision = decide(SYNC_CASES, { state: group.state })
  if (decision === 'unknown-member') throw refusal('UNKNOWN_MEMBER_ID', { groupId, memberId: member.memberId })
  if (decision === 'rebalance-in-progress') throw refusal('REBALANCE_IN_PROGRESS', { groupId })
  refuseSync(effects, group, member, 'REBALANCE_IN_PROGRESS')
  member.syncToken = request.token
  noteSync(effects, group, member)
  if (decision === 'answer') answerSync(effects, group, member)
  else if (group.leaderId === member.memberId) assign(effects, group, request)
}

/** The leader has spoken: everyone who waits gets its part, and who is not in it gets nothing. */
function assign(effects: Effects, group: ClassicGroup, { assignments }: SyncGroup): void {
  for (const member of group.members.values()) member.clearAssignment()
  for (const { memberId, assignment } of assignments) {
    const member = group.members.get(memberId)
    if (member !== undefined) member.assignment = assignment
  }
  group.transition('stable', effects.now.wallMs)
  group.store(effects)
  for (const member of group.members.values()) answerSync(effects, group, member)
}

/** @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS */
export function heartbeatClassic(effects: Effects, group: ClassicGroup, request: Heartbeat): void {
  const member = memberOfGeneration(group, request.memberId, request.instanceId, request.generationId)
  const decision = decide(HEARTBEAT_CASES, { state: group.state })
  const details = { groupId: group.groupId, memberId: member.memberId }
  if (decision === 'unknown-member') throw refusal('UNKNOWN_MEMBER_ID', details)
  // A new member has not had its id yet; whoever sends this knows it all the same.
  if (!member.isNew) beginSession(effects, member)
  if (decision === 'alive') effects.reply(request.token, { type: 'Heartbeat' })
  else effects.refuse(request.token, 'REBALANCE_IN_PROGRESS', details)
}

export function leaveClassic(effects: Effects, group: ClassicGroup, request: LeaveGroup): void {
  const before = group.members.size
  const members = request.members.map(({ memberId, instanceId }) => ({
    memberId,
    instanceId,
    error: leaveOne(effects, group, memberId, instanceId),
  }))
  effects.reply(request.token, { type: 'LeaveGroup', members })
  if (group.members.size < before) rebalance(effects, group)
  else rebalanceIfWaiting(effects, group)
}

function leaveOne(
  effects: Effects,
  group: ClassicGroup,
  memberId: string,
  instanceId: string | null,
): ErrorData | undefined {
  if (takePending(effects, group, memberId)) return undefined
  const byInstance = memberId === '' && instanceId !== null ? group.staticMember(instanceId) : undefined
  try {
    removeMember(effects, group, byInstance ?? group.memberOf(memberId, instanceId))
    return undefined
  } catch (error) {
    return refusalData(error)
  }
}

/** A session is over: of a member, or of an id that never joined. */
export function sessionIsOver(effects: Effects, group: ClassicGroup, memberId: string): void {
  const member = group.members.get(memberId)
  if (member === undefined) {
    if (group.pending.delete(memberId)) rebalanceIfWaiting(effects, group)
  } else if (member.isNew || !member.isWaiting) {
    removeMember(effects, group, member)
    rebalance(effects, group)
  }
}

function rebalanceIfWaiting(effects: Effects, group: ClassicGroup): void {
  if (group.state === 'preparing-rebalance') rebalance(effects, group)
}

/**
 * May these offsets be committed? A commit of a member also shows that it lives.
 * @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS
 */
export function checkCommitClassic(effects: Effects, group: ClassicGroup, request: OffsetCommit): void {
  const { memberId, instanceId, generationIdOrMemberEpoch: generationId } = request
  const isNamed = memberId !== '' || instanceId !== null
  const membership = generationId >= 0 ? 'claimed' : isNamed ? 'stray' : 'none'
  const decision = decide(COMMIT_CASES, { state: group.state, membership })
  if (decision === 'accept') return
  if (decision === 'unknown-member') throw refusal('UNKNOWN_MEMBER_ID', { groupId: group.groupId, memberId })
  const member = memberOfGeneration(group, memberId, instanceId, generationId)
  if (decision === 'check-then-rebalance') throw refusal('REBALANCE_IN_PROGRESS', { groupId: group.groupId })
  if (!member.isNew) beginSession(effects, member)
}

/** @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION */
function memberOfGeneration(
  group: ClassicGroup,
  memberId: string,
  instanceId: string | null,
  generationId: number,
): ClassicMember {
  const member = group.memberOf(memberId, instanceId)
  if (generationId === group.generationId) return member
  throw refusal('ILLEGAL_GENERATION', {
    groupId: group.groupId,
    memberId,
    generationId,
    currentGenerationId: group.generationId,
  })
}
