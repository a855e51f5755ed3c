/** Ids of groups and members: what is accepted, and those that the coordinator gives out. */
import { GROUP_ID_BYTES_MAX, MEMBER_ID_BYTES_MAX } from '../base/limits.ts'
import { type Effects, refusal } from './effects.ts'
import type { GroupRequest } from './requests.ts'

/** Of a client id or an instance id, in the ids of its members: with a UUID behind it that is below the limit. */
const STEM_CHARACTERS_MAX = 200

/** @throws INVALID_GROUP_ID, INVALID_ARGUMENT */
export function checkIds(request: Exclude<GroupRequest, { type: 'ListGroups' }>): void {
  const { groupId } = request
  if (groupId === '' || !fits(groupId, GROUP_ID_BYTES_MAX)) {
    throw refusal('INVALID_GROUP_ID', { groupId: groupId.slice(0, 64), bytesMax: GROUP_ID_BYTES_MAX })
  }
  if (!('memberId' in request) || request.memberId === null || fits(request.memberId, MEMBER_ID_BYTES_MAX)) return
  throw refusal('INVALID_ARGUMENT', { argument: 'memberId', bytesMax: MEMBER_ID_BYTES_MAX })
}

/** Well-formed, and in UTF-8 no longer than that. */
function fits(text: string, bytesMax: number): boolean {
  return (3 * text.length <= bytesMax || Buffer.byteLength(text) <= bytesMax) && text.isWellFormed()
}

/** A new id for a member of the classic protocol: what its owner would recognize, and something unique. */
export function newMemberId(effects: Effects, instanceId: string | null, clientId: string): string {
  return `${(instanceId ?? clientId).slice(0, STEM_CHARACTERS_MAX).toWellFormed()}-${effects.newId()}`
}
