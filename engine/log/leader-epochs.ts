/**
 * What a partition's leader epochs say about its log: where each begins, where it ends, and from where on two logs differ. Pure
 * functions over the entries of the leader-epoch checkpoint, ascending; any thread.
 *
 * Two replicas have the same records up to the end of the latest epoch that both know, as far as the shorter of them goes
 * (KIP-101, KIP-279). A follower asks its leader where the follower's latest epoch ends there, and cuts its log to that.
 */
import type { EpochEntry } from '../format/leader-epoch-checkpoint.ts'

/** Where an epoch ends: the answer to Kafka's OffsetsForLeaderEpoch. */
export interface EpochEnd {
  /** The largest epoch that is known up to the one that was asked for; that one itself when all that are known are larger. */
  readonly leaderEpoch: number
  /** Offset behind its last record. */
  readonly endOffset: number
}

/** Where a leader epoch ends in the log; `undefined` for one that has not begun here, whose end nobody here can know. */
export function endOffsetForEpoch(
  entries: readonly EpochEntry[],
  epoch: number,
  logEndOffset: number,
): EpochEnd | undefined {
  const last = entries.at(-1)
  if (last === undefined || epoch > last.epoch || epoch < 0) return undefined
  if (epoch === last.epoch) return { leaderEpoch: epoch, endOffset: logEndOffset }
  const next = entries.find(entry => entry.epoch > epoch) as EpochEntry
  const floor = entries.findLast(entry => entry.epoch <= epoch)
  return { leaderEpoch: floor?.epoch ?? epoch, endOffset: next.startOffset }
}

/** Where a follower has to cut its log. */
export interface Divergence {
  readonly offset: number
  /** False: what lies below may still differ, so the leader is to be asked again, for the follower's latest epoch then. */
  readonly isFinal: boolean
}

/**
 * @param entries of the follower
 * @param leader what the leader answered for the follower's latest epoch
 */
export function divergence(entries: readonly EpochEntry[], logEndOffset: number, leader: EpochEnd): Divergence {
  const own = endOffsetForEpoch(entries, leader.leaderEpoch, logEndOffset)
  // An epoch above all of the follower's: it was asked for none of these, so only the leader's end counts.
  if (own === undefined) return { offset: Math.min(leader.endOffset, logEndOffset), isFinal: true }
  if (own.leaderEpoch !== leader.leaderEpoch) return { offset: Math.min(own.endOffset, logEndOffset), isFinal: false }
  return { offset: Math.min(own.endOffset, leader.endOffset, logEndOffset), isFinal: true }
}

/** The entries when `epoch` begins at `startOffset`, the end of the log. An epoch that ends without a record leaves no entry. */
export function withEpoch(entries: readonly EpochEntry[], epoch: number, startOffset: number): EpochEntry[] {
  return [...entries.filter(entry => entry.startOffset < startOffset && entry.epoch < epoch), { epoch, startOffset }]
}
