/**
 * The course of a rebalance in a classic group: it is prepared (all members are to join), the join is completed (a new
 * generation, the leader gets the list), the leader assigns, and the group is stable. Each step ends by itself, by its last
 * member or by its deadline, so that every rebalance ends.
 *
 * An empty group waits `group.initial.rebalance.delay.ms` for further members, again for each part in which one came, up to
 * the rebalance timeout in all: the members of a service that starts come one after the other.
 */
import type { ErrorCode } from '../../base/errors.ts'
import type { JoinGroupAnswer } from '../actions.ts'
import type { Effects } from '../effects.ts'
import { mayRebalance } from './cases.ts'
import type { ClassicGroup } from './group.ts'
import type { ClassicMember } from './member.ts'

/**
 * How long a new member's request to join may wait. Its client does not know its id yet, so it can neither send heartbeats nor
 * be told apart from one that went away; Kafka's value.
 */
export const NEW_MEMBER_JOIN_TIMEOUT_MS = 300_000

/** A rebalance begins, or the one that is under way may be complete now. */
export function rebalance(effects: Effects, group: ClassicGroup): void {
  if (mayRebalance(group.state)) prepareRebalance(effects, group)
  else tryCompleteJoin(effects, group)
}

/** Everybody has to join again. */
export function prepareRebalance(effects: Effects, group: ClassicGroup): void {
  if (group.members.size === 0) {
    completeJoin(effects, group)
    return
  }
  if (group.state === 'completing-rebalance') {
    // Assignments stay those of the last stable generation: cooperative members still own what is in them.
    for (const member of group.members.values()) refuseSync(effects, group, member, 'REBALANCE_IN_PROGRESS')
  }
  group.awaitingSync.clear()
  effects.cancel(group.syncDeadline)
  group.isInitialRebalance = group.state === 'empty'
  group.transition('preparing-rebalance', effects.now.wallMs)
  if (group.isInitialRebalance) {
    const delayMs = effects.config.initialRebalanceDelayMs
    group.initialRemainingMs = Math.max(group.rebalanceTimeoutMs - delayMs, 0)
    group.hasNewMember = false
    effects.schedule(group.joinDeadline, delayMs)
  } else if (group.haveAllJoined) completeJoin(effects, group)
  else effects.schedule(group.joinDeadline, group.rebalanceTimeoutMs)
}

/** Completes the join if nobody is missing; an initial rebalance takes its time even so. */
export function tryCompleteJoin(effects: Effects, group: ClassicGroup): void {
  if (group.state !== 'preparing-rebalance') return
  const isComplete = group.members.size === 0 || (group.haveAllJoined && !group.isInitialRebalance)
  if (isComplete) completeJoin(effects, group)
}

/** The time for joining is over. */
export function joinTimeIsOver(effects: Effects, group: ClassicGroup): void {
  if (group.state !== 'preparing-rebalance') return
  if (group.isInitialRebalance && group.hasNewMember && group.initialRemainingMs > 0) {
    group.hasNewMember = false
    const delayMs = Math.min(effects.config.initialRebalanceDelayMs, group.initialRemainingMs)
    group.initialRemainingMs -= delayMs
    effects.schedule(group.joinDeadline, delayMs)
  } else completeJoin(effects, group)
}

/** Goes on with those who joined. Static members that did not join keep their place: they may be restarting. */
function completeJoin(effects: Effects, group: ClassicGroup): void {
  effects.cancel(group.joinDeadline)
  group.isInitialRebalance = false
  for (const member of [...group.members.values()]) {
    if (member.joinToken === undefined && member.instanceId === null) removeMember(effects, group, member)
  }
  if (group.members.size > 0 && !group.electLeader()) {
    // Only static members are left and none of them is here: their sessions decide.
    effects.schedule(group.joinDeadline, group.rebalanceTimeoutMs)
    return
  }
  group.nextGeneration(effects.now.wallMs)
  if (group.state === 'empty') {
    group.store(effects)
    return
  }
  for (const member of group.members.values()) {
    if (member.joinToken === undefined) continue
    answerJoin(effects, group, member)
    group.awaitingSync.add(member.memberId)
  }
  effects.schedule(group.syncDeadline, group.rebalanceTimeoutMs)
}

/** The time for asking for assignments is over: who did not ask is out. */
export function syncTimeIsOver(effects: Effects, group: ClassicGroup): void {
  if (group.awaitingSync.size === 0) return
  for (const memberId of [...group.awaitingSync]) {
    const member = group.members.get(memberId)
    if (member !== undefined) removeMember(effects, group, member)
  }
  prepareRebalance(effects, group)
}

/** A member asked for its assignment. */
export function noteSync(effects: Effects, group: ClassicGroup, member: ClassicMember): void {
  group.awaitingSync.delete(member.memberId)
  if (group.awaitingSync.size === 0) effects.cancel(group.syncDeadline)
}

/** The member is out; what it had waiting is answered. Whether that means a rebalance is the caller's business. */
export function removeMember(effects: Effects, group: ClassicGroup, member: ClassicMember): void {
  refuseJoin(effects, group, member, 'UNKNOWN_MEMBER_ID')
  refuseSync(effects, group, member, 'UNKNOWN_MEMBER_ID')
  effects.cancel(member.session)
  group.remove(member)
  if (group.awaitingSync.size === 0) effects.cancel(group.syncDeadline)
}

/** The answer of the current generation to a member whose request waits. */
export function answerJoin(effects: Effects, group: ClassicGroup, member: ClassicMember): void {
  if (member.joinToken === undefined) return
  effects.reply(member.joinToken, joinAnswer(group, member))
  member.joinToken = undefined
  member.isNew = false
  beginSession(effects, member)
}

export function joinAnswer(group: ClassicGroup, { memberId }: ClassicMember): JoinGroupAnswer {
  return {
    type: 'JoinGroup',
    generationId: group.generationId,
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    leader: group.leaderId ?? '',
    skipAssignment: false,
    memberId,
    members: group.leaderId === memberId ? group.subscriptions() : [],
  }
}

export function refuseJoin(effects: Effects, group: ClassicGroup, member: ClassicMember, code: ErrorCode): void {
  const { joinToken, memberId } = member
  if (joinToken === undefined) return
  effects.refuse(joinToken, code, { groupId: group.groupId, memberId })
  member.joinToken = undefined
  beginSession(effects, member)
}

export function answerSync(effects: Effects, group: ClassicGroup, member: ClassicMember): void {
  if (member.syncToken === undefined) return
  effects.reply(member.syncToken, {
    type: 'SyncGroup',
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    assignment: member.assignment,
  })
  member.syncToken = undefined
  beginSession(effects, member)
}

export function refuseSync(effects: Effects, group: ClassicGroup, member: ClassicMember, code: ErrorCode): void {
  const { syncToken, memberId } = member
  if (syncToken === undefined) return
  effects.refuse(syncToken, code, { groupId: group.groupId, memberId })
  member.syncToken = undefined
  beginSession(effects, member)
}

/** From now on the member has to be heard from. While a request of it waits its session may end without harm. */
export function beginSession(effects: Effects, { session, terms }: ClassicMember): void {
  effects.schedule(session, terms.sessionTimeoutMs)
}
