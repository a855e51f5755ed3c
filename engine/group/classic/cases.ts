/**
 * What a classic group answers, as tables over its state and who is asking. `dead` has no rows: a group that is dead is no
 * longer there, and requests for it are those of an unknown member.
 *
 *     JOIN_CASES        a member that is in the group joins again
 *     STATIC_CASES      a new process joins under the instance id of a member
 *     SYNC_CASES        a member of the current generation asks for its assignment
 *     HEARTBEAT_CASES   a member of the current generation shows that it lives
 *     COMMIT_CASES      offsets are committed
 *     ACCEPT_CASES      is there room for one more member?
 */
import { BOOLEAN, type CaseTable } from '../../base/case-table.ts'

export const CLASSIC_STATES = ['empty', 'preparing-rebalance', 'completing-rebalance', 'stable'] as const

/**
 * `empty`: no members. `preparing-rebalance`: members join. `completing-rebalance`: all have joined, the leader assigns.
 * `stable`: all have their assignment.
 */
export type ClassicState = (typeof CLASSIC_STATES)[number]

/** States in which a rebalance may begin. */
export function mayRebalance(state: ClassicState): boolean {
  return state !== 'preparing-rebalance'
}

export interface JoinFacts {
  readonly state: ClassicState
  readonly isLeader: boolean
  /** It joins with the same protocols and subscription as before. */
  readonly sameProtocols: boolean
}

/** `rejoin`: it takes part in a rebalance, which begins if none is under way. `repeat`: it gets the answer of the current generation. */
export const JOIN_CASES: CaseTable<JoinFacts, 'rejoin' | 'repeat' | 'unknown-member'> = {
  domains: { state: CLASSIC_STATES, isLeader: BOOLEAN, sameProtocols: BOOLEAN },
  rows: [
    { state: 'empty', isLeader: 'any', sameProtocols: 'any', decision: 'unknown-member' },
    { state: 'preparing-rebalance', isLeader: 'any', sameProtocols: 'any', decision: 'rejoin' },
    // The same again: the first answer was lost.
    { state: 'completing-rebalance', isLeader: 'any', sameProtocols: true, decision: 'repeat' },
    { state: 'completing-rebalance', isLeader: 'any', sameProtocols: false, decision: 'rejoin' },
    // The leader joins when it saw topics change, which no subscription shows.
    { state: 'stable', isLeader: true, sameProtocols: 'any', decision: 'rejoin' },
    { state: 'stable', isLeader: false, sameProtocols: true, decision: 'repeat' },
    { state: 'stable', isLeader: false, sameProtocols: false, decision: 'rejoin' },
  ],
}

export interface StaticFacts {
  readonly state: ClassicState
  /** The topics are the same, and the vote for a protocol does not change. */
  readonly sameSubscription: boolean
}

/** `take-over`: the new process gets the place and the assignment of the old one, and nobody else notices. */
export const STATIC_CASES: CaseTable<StaticFacts, 'take-over' | 'rejoin' | 'rebalance'> = {
  domains: { state: CLASSIC_STATES, sameSubscription: BOOLEAN },
  rows: [
    { state: 'empty', sameSubscription: 'any', decision: 'rejoin' },
    { state: 'preparing-rebalance', sameSubscription: 'any', decision: 'rejoin' },
    // The leader may be assigning to the old member id.
    { state: 'completing-rebalance', sameSubscription: 'any', decision: 'rebalance' },
    { state: 'stable', sameSubscription: true, decision: 'take-over' },
    { state: 'stable', sameSubscription: false, decision: 'rejoin' },
  ],
}

/** `wait`: the answer comes with the leader's assignment. */
export const SYNC_CASES: CaseTable<
  { readonly state: ClassicState },
  'wait' | 'answer' | 'rebalance-in-progress' | 'unknown-member'
> = {
  domains: { state: CLASSIC_STATES },
  rows: [
    { state: 'empty', decision: 'unknown-member' },
    { state: 'preparing-rebalance', decision: 'rebalance-in-progress' },
    { state: 'completing-rebalance', decision: 'wait' },
    { state: 'stable', decision: 'answer' },
  ],
}

/** A member may send heartbeats as soon as it has joined, before it has its assignment. */
export const HEARTBEAT_CASES: CaseTable<
  { readonly state: ClassicState },
  'alive' | 'rebalance-in-progress' | 'unknown-member'
> = {
  domains: { state: CLASSIC_STATES },
  rows: [
    { state: 'empty', decision: 'unknown-member' },
    { state: 'preparing-rebalance', decision: 'rebalance-in-progress' },
    { state: 'completing-rebalance', decision: 'alive' },
    { state: 'stable', decision: 'alive' },
  ],
}

export interface CommitFacts {
  readonly state: ClassicState
  /** `none`: no generation, member or instance id. `stray`: a generation below 0 with one of the others. */
  readonly membership: 'none' | 'stray' | 'claimed'
}

/**
 * `check`: the member and its generation have to be right. Until a rebalance has everybody joined, members commit what they
 * handled; between that and the new assignment nobody owns anything.
 */
export const COMMIT_CASES: CaseTable<CommitFacts, 'accept' | 'check' | 'check-then-rebalance' | 'unknown-member'> = {
  domains: { state: CLASSIC_STATES, membership: ['none', 'stray', 'claimed'] },
  rows: [
    { state: 'empty', membership: 'none', decision: 'accept' },
    { state: 'empty', membership: 'stray', decision: 'accept' },
    { state: 'empty', membership: 'claimed', decision: 'check' },
    // Whoever does not take part may not move the offsets of those who do.
    { state: 'preparing-rebalance', membership: 'none', decision: 'unknown-member' },
    { state: 'completing-rebalance', membership: 'none', decision: 'unknown-member' },
    { state: 'stable', membership: 'none', decision: 'unknown-member' },
    { state: 'preparing-rebalance', membership: 'stray', decision: 'check' },
    { state: 'preparing-rebalance', membership: 'claimed', decision: 'check' },
    { state: 'completing-rebalance', membership: 'stray', decision: 'check-then-rebalance' },
    { state: 'completing-rebalance', membership: 'claimed', decision: 'check-then-rebalance' },
    { state: 'stable', membership: 'stray', decision: 'check' },
    { state: 'stable', membership: 'claimed', decision: 'check' },
  ],
}

export interface AcceptFacts {
  readonly state: ClassicState
  readonly isMember: boolean
  /** Its request to join is waiting already. */
  readonly isJoining: boolean
}

/**
 * What is held against the greatest size. While members join, those who wait count, so a group that became too large when the
 * limit was lowered shrinks to it in its next rebalance.
 */
export const ACCEPT_CASES: CaseTable<AcceptFacts, 'accept' | 'count-members' | 'count-joining'> = {
  domains: { state: CLASSIC_STATES, isMember: BOOLEAN, isJoining: BOOLEAN },
  rows: [
    { state: 'empty', isMember: 'any', isJoining: 'any', decision: 'accept' },
    { state: 'preparing-rebalance', isMember: 'any', isJoining: true, decision: 'accept' },
    { state: 'preparing-rebalance', isMember: 'any', isJoining: false, decision: 'count-joining' },
    { state: 'completing-rebalance', isMember: true, isJoining: 'any', decision: 'accept' },
    { state: 'completing-rebalance', isMember: false, isJoining: 'any', decision: 'count-members' },
    { state: 'stable', isMember: true, isJoining: 'any', decision: 'accept' },
    { state: 'stable', isMember: false, isJoining: 'any', decision: 'count-members' },
  ],
}
