/** Ids of groups and members: what is accepted, and those that the coordinator gives out. */
import { GROUP_ID_BYTES_MAX, MEMBER_ID_BYTES_MAX } from '../base/limits.ts'
import { type Effects, refusal } from './effects.ts'
import type { GroupRequest } from './requests.ts'

/** Of a client id or an instance id, in the ids of its members: with a UUID behind it that is below the limit. */
const STEM_CHARACTERS_MAX = 200

/** @throws INVALID_GROUP_ID, INVALID_ARGUMENT */
export function checkIds(request: Exclude<GroupRequest, { type: 'ListGroups' }>): void {
  const { groupId } = request
  const bytes = Buffer.byteLength(groupId)
  if (bytes === 0 || bytes > GROUP_ID_BYTES_MAX || !groupId.isWellFormed()) {
    throw refusal('INVALID_GROUP_ID', { groupId: groupId.slice(0, 64), bytes, bytesMax: GROUP_ID_BYTES_MAX })
  }
  if (!('memberId' in request) || request.memberId === null) return
  const { memberId } = request
  const memberBytes = Buffer.byteLength(memberId)
  if (memberBytes <= MEMBER_ID_BYTES_MAX && memberId.isWellFormed()) return
  throw refusal('INVALID_ARGUMENT', { argument: 'memberId', bytes: memberBytes, bytesMax: MEMBER_ID_BYTES_MAX })
}

/** A new id for a member of the classic protocol: what its owner would recognize, and something unique. */
export function newMemberId(effects: Effects, instanceId: string | null, clientId: string): string {
  return `${(instanceId ?? clientId).slice(0, STEM_CHARACTERS_MAX).toWellFormed()}-${effects.newId()}`
}
