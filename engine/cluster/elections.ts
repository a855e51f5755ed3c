/**
 * Who leads: what the controller changes in the partitions, given the brokers that are there. Pure: the cluster goes in, the changes come out,
 * and somebody else writes them by compare-and-swap.
 *
 * A leader comes from the in-sync replicas, or from nowhere: then the partition waits for one of them, unless its topic asks for an unclean
 * election. Whoever is not there any more, or about to stop, leaves the in-sync replicas, except the last of them, which may have records that nobody else has.
 */
import { type ClusterPartition, NO_LEADER, type PartitionAssignment } from './cluster-state.ts'

export interface Electorate {
  /** Brokers that are registered. */
  readonly live: ReadonlySet<number>
  /** Those of them that want to stop. */
  readonly draining: ReadonlySet<number>
  /** Give leaders back to the replicas that are preferred. */
  readonly prefersFirst: boolean
  /** `unclean.leader.election.enable` of a topic. */
  isUnclean(topicId: string): boolean
}

/** A change that is due. */
export interface Transition {
  readonly partition: ClusterPartition
  readonly to: PartitionAssignment
  /** The new leader may lack records that were acknowledged. */
  readonly isUnclean: boolean
}

/** Those that get another leader first: the others are led, and can wait. */
export function transitionsOf(partitions: Iterable<ClusterPartition>, electorate: Electorate): Transition[] {
  const elected: Transition[] = []
  const others: Transition[] = []
  for (const partition of partitions) {
    const transition = transitionOf(partition, electorate)
    if (transition === undefined) continue
    const isSameLeader = transition.to.leader === partition.leader
    ;(isSameLeader ? others : elected).push(transition)
  }
  return [...elected, ...others]
}

export function transitionOf(partition: ClusterPartition, electorate: Electorate): Transition | undefined {
  const moved = finishMove(partition)
  const isr = withoutAbsent(moved, electorate)
  const { leader, isUnclean } = leaderOf({ ...moved, isr }, electorate)
  const inSync = isUnclean ? [leader] : isr
  const isSameLeader = leader === partition.leader
  if (isSameLeader && moved === partition && sameIds(inSync, partition.isr)) return undefined
  const { replicas, adding, removing } = moved
  const moves = { ...(adding === undefined ? {} : { adding }), ...(removing === undefined ? {} : { removing }) }
  const leaderEpoch = isSameLeader ? partition.leaderEpoch : partition.leaderEpoch + 1
  return { partition, to: { replicas, isr: inSync, leader, leaderEpoch, ...moves }, isUnclean }
}

/** A reassignment is over once those that come are in sync: those that go have no part in it any more. */
function finishMove(partition: ClusterPartition): ClusterPartition {
  const { replicas, isr, adding = [], removing = [] } = partition
  if (adding.length === 0 && removing.length === 0) return partition
  if (!adding.every(id => isr.includes(id))) return partition
  const stays = (ids: readonly number[]): number[] => ids.filter(id => !removing.includes(id))
  const inSync = stays(isr)
  if (inSync.length === 0) return partition
  const { adding: _, removing: __, ...rest } = partition
  return { ...rest, replicas: stays(replicas), isr: inSync }
}

/** Who is about to stop goes as well, so that nobody waits for its fetches. */
function withoutAbsent({ isr }: PartitionAssignment, { live, draining }: Electorate): readonly number[] {
  const stays = isr.filter(id => live.has(id) && !draining.has(id))
  const present = stays.length > 0 ? stays : isr.filter(id => live.has(id))
  return present.length === 0 || present.length === isr.length ? isr : present
}

function leaderOf(
  { topicId, replicas, isr, leader }: ClusterPartition,
  { live, draining, prefersFirst, isUnclean }: Electorate,
): { leader: number; isUnclean: boolean } {
  const mayLead = replicas.filter(id => isr.includes(id) && live.has(id))
  const [best] = mayLead.filter(id => !draining.has(id))
  const holds = mayLead.includes(leader)
  if (holds && (!draining.has(leader) || best === undefined)) {
    const isPreferred = prefersFirst && best !== undefined && best === replicas[0]
    return { leader: isPreferred ? best : leader, isUnclean: false }
  }
  const elected = best ?? mayLead[0]
  if (elected !== undefined) return { leader: elected, isUnclean: false }
  const anyone = isUnclean(topicId) ? replicas.find(id => live.has(id)) : undefined
  return anyone === undefined ? { leader: NO_LEADER, isUnclean: false } : { leader: anyone, isUnclean: true }
}

const sameIds = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((id, index) => id === b[index])
