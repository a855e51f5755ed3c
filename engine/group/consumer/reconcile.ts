/**
 * One step of a member towards its target. It gives up before it gets: partitions that are not in the target any more are
 * to be revoked first, at the epoch that the member has; only when it confirmed that does it move to the epoch of the target
 * and get what is new, as far as the former owners let go of it.
 */
import type { TopicId } from '../../base/brands.ts'
import { PartitionSet } from '../partition-set.ts'
import type { ConsumerGroup } from './group.ts'
import type { ConsumerMember, CurrentAssignment } from './member.ts'

/**
 * @param owned what the member says it owns; null when it did not say
 * @returns what the member has now; the same object when nothing changes
 */
export function reconcile(group: ConsumerGroup, member: ConsumerMember, owned: PartitionSet | null): CurrentAssignment {
  const { current } = member
  const epoch = group.assignmentEpoch
  switch (current.state) {
    case 'stable':
      return current.memberEpoch === epoch ? current : step(group, member, owned, current.memberEpoch)
    case 'unrevoked':
      // Nothing moves before the member says that it gave up all of it. Then it is one epoch further, and the target may
      // have changed once more meanwhile.
      if (owned === null || owned.intersects(current.pendingRevocation)) return current
      return step(group, member, owned, current.memberEpoch + 1)
    case 'unreleased':
      return step(group, member, owned, current.memberEpoch)
  }
}

/** @param memberEpoch the epoch at which the member stays if it has to give up something */
function step(
  group: ConsumerGroup,
  member: ConsumerMember,
  owned: PartitionSet | null,
  memberEpoch: number,
): CurrentAssignment {
  const { target, current } = member
  const assigned = current.assigned.filter((topicId, partition) => target.has(topicId, partition))
  const toRevoke = current.assigned.filter((topicId, partition) => !target.has(topicId, partition))
  if (toRevoke.size > 0 && (owned === null || owned.intersects(toRevoke))) {
    return { memberEpoch, state: 'unrevoked', assigned, pendingRevocation: toRevoke }
  }
  let waits = false
  target.forEach((topicId, partition) => {
    if (assigned.has(topicId, partition)) return
    if (isFree(group, member, topicId, partition)) assigned.add(topicId, partition, group.assignmentEpoch)
    else waits = true
  })
  return {
    memberEpoch: group.assignmentEpoch,
    state: waits ? 'unreleased' : 'stable',
    assigned,
    pendingRevocation: new PartitionSet(),
  }
}

/** Nobody owns it, or only the member itself, which has just given it up. */
function isFree(group: ConsumerGroup, member: ConsumerMember, topicId: TopicId, partition: number): boolean {
  const owner = group.ownerOf(topicId, partition)
  return owner === undefined || owner === member
}

/** Some partition that the member waits for is still with another. */
export function waitsForOthers(group: ConsumerGroup, member: ConsumerMember): boolean {
  let waits = false
  member.target.forEach((topicId, partition) => {
    const owner = group.ownerOf(topicId, partition)
    if (owner !== undefined && owner !== member) waits = true
  })
  return waits
}
