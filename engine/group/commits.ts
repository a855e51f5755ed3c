/** Who may commit, fetch and delete offsets in a group of KIP-848. The rules of classic groups are in `classic/requests.ts`. */
import type { ConsumerGroup } from './consumer/group.ts'
import type { ConsumerMember } from './consumer/member.ts'
import { refusal } from './effects.ts'
import type { OffsetCommit, OffsetFetch } from './requests.ts'

/**
 * A member commits at its epoch. A commit that was under way while the epoch rose is accepted as well, for partitions that the
 * member already had at the epoch it names: nobody else can have owned them since.
 * @throws UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH; ILLEGAL_GENERATION for members of the classic protocol
 */
export function checkCommitConsumer(group: ConsumerGroup, request: OffsetCommit): void {
  const { generationIdOrMemberEpoch: memberEpoch, memberId, offsets } = request
  if (memberEpoch < 0 && group.members.size === 0) return
  const member = group.member(memberId)
  if (memberEpoch === member.memberEpoch) return
  if (memberEpoch > member.memberEpoch || member.isAway) throw wrongEpoch(group, member, memberEpoch)
  const { assigned, pendingRevocation } = member.current
  for (const { topicId, partition } of offsets) {
    const since = assigned.epochOf(topicId, partition) ?? pendingRevocation.epochOf(topicId, partition)
    if (since === undefined || memberEpoch < since) throw wrongEpoch(group, member, memberEpoch)
  }
}

/** @throws UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH */
export function checkFetchConsumer(group: ConsumerGroup, { memberId, memberEpoch }: OffsetFetch): void {
  if (memberId === null && memberEpoch < 0) return
  const member = group.member(memberId ?? '')
  if (memberEpoch !== member.memberEpoch) throw wrongEpoch(group, member, memberEpoch)
}

function wrongEpoch(group: ConsumerGroup, member: ConsumerMember, memberEpoch: number) {
  return refusal(member.usesClassicProtocol ? 'ILLEGAL_GENERATION' : 'STALE_MEMBER_EPOCH', {
    groupId: group.groupId,
    memberId: member.memberId,
    memberEpoch,
    currentMemberEpoch: member.memberEpoch,
  })
}
