/**
 * Member ids that were given out and did not join yet (MEMBER_ID_REQUIRED). They have their session timeout to join; a group
 * of the classic protocol waits that long for them in a rebalance.
 */
import { PENDING_MEMBERS_MAX } from '../base/limits.ts'
import { Deadline } from './deadlines.ts'
import { type Due, type Effects, refusal } from './effects.ts'

interface GroupWithPending {
  readonly groupId: string
  readonly pending: Map<string, Deadline<Due>>
}

/** @throws GROUP_MAX_SIZE_REACHED */
export function givePending(
  effects: Effects,
  { groupId, pending }: GroupWithPending,
  memberId: string,
  sessionTimeoutMs: number,
): void {
  if (pending.size >= PENDING_MEMBERS_MAX) {
    throw refusal('GROUP_MAX_SIZE_REACHED', { groupId, pendingMembers: pending.size, max: PENDING_MEMBERS_MAX })
  }
  const deadline = new Deadline<Due>({ kind: 'session', groupId, memberId })
  pending.set(memberId, deadline)
  effects.schedule(deadline, sessionTimeoutMs)
}

/** The id is no longer pending; false where it was not. */
export function takePending(effects: Effects, { pending }: GroupWithPending, memberId: string): boolean {
  const deadline = pending.get(memberId)
  if (deadline === undefined) return false
  effects.cancel(deadline)
  return pending.delete(memberId)
}

export function dropPending(effects: Effects, { pending }: GroupWithPending): void {
  for (const deadline of pending.values()) effects.cancel(deadline)
  pending.clear()
}
