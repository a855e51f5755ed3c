/**
 * What the leader of a partition knows of its replicas under one leader epoch, and what follows from it: how far the log is committed,
 * who is in sync, when acks=all is answered. A pure state machine: facts and times come from outside, and changes of the in-sync replicas
 * are proposals that somebody else writes to the metadata store by compare-and-swap.
 *
 * Why a committed record is never lost: the next leader comes from the in-sync replicas (ISR) that the store has. So the high watermark
 * rests on everybody who may be in there: those of the last known ISR, and those of a proposal whose outcome is not known. A replica counts as
 * gone only once the store said so, and is proposed only when it has all that is committed, and all that was there when the epoch began.
 */
import { invariant } from '../base/invariant.ts'

export interface LeadershipStart {
  readonly brokerId: number
  readonly leaderEpoch: number
  /** Of the log when the epoch began; everything below is of earlier epochs. */
  readonly logEndOffset: number
  /** As it was checkpointed. */
  readonly highWatermark: number
  /** Brokers that are to have the partition, the leader among them. */
  readonly replicas: readonly number[]
  readonly isr: Isr
  readonly nowMs: number
}

/** In-sync replicas as the metadata store has them: `version` changes with each write of the partition. */
export interface Isr {
  readonly brokerIds: readonly number[]
  readonly version: number
}

/**
 * A change to write in one transaction with what it rests on: the partition still has version `basedOn`, and who comes is still registered
 * under the same epoch. Without the latter, a follower that lost its log with the power of its machine could be let in for what it had before
 * (KIP-903).
 */
export interface IsrProposal {
  readonly brokerIds: readonly number[]
  readonly basedOn: number
  readonly comes: readonly { readonly brokerId: number; readonly brokerEpoch: number }[]
}

export interface FollowerFetch {
  readonly brokerId: number
  /** Of the process that fetches. */
  readonly brokerEpoch: number
  /** Epoch under which it is registered just now; undefined: it is not. */
  readonly registeredEpoch: number | undefined
  readonly leaderEpoch: number
  /** Its log end. */
  readonly offset: number
  /** What it has below is not the leader's: it is to cut its log first (KIP-279). */
  readonly isDiverging: boolean
  readonly nowMs: number
}

/** What a fetch tells: taken, or why it moves nothing. */
export type FetchOutcome = 'taken' | 'fenced' | 'unknown-epoch' | 'not-a-replica' | 'stale-broker' | 'diverging'

/** What becomes of an append with acks=all whose last record is below some offset. */
export type Acknowledgement = 'waits' | 'done' | 'not-enough-replicas'

interface Follower {
  /** -1 until it fetched under this epoch. */
  logEndOffset: number
  /** It had everything that was there at this time. */
  caughtUpAtMs: number
  fetchedAtMs: number
  /** End of the leader's log then. */
  leaderEndThen: number
  /** Of the process that fetched last, if that is the registered one. */
  brokerEpoch: number | undefined
}

export class Leadership {
  readonly brokerId: number
  readonly leaderEpoch: number
  readonly epochStartOffset: number
  #logEndOffset: number
  #highWatermark: number
  #isr: Isr
  #proposal: IsrProposal | undefined
  readonly #followers = new Map<number, Follower>()

  constructor({ brokerId, leaderEpoch, logEndOffset, highWatermark, replicas, isr, nowMs }: LeadershipStart) {
    invariant(isr.brokerIds.includes(brokerId), 'a leader is in sync with itself')
    this.brokerId = brokerId
    this.leaderEpoch = leaderEpoch
    this.epochStartOffset = logEndOffset
    this.#logEndOffset = logEndOffset
    this.#highWatermark = Math.min(highWatermark, logEndOffset)
    this.#isr = isr
    this.replicasAre(replicas, nowMs)
    this.#advance()
  }

  get logEndOffset(): number {
    return this.#logEndOffset
  }

  /** Records below are on every replica that may lead next. */
  get highWatermark(): number {
    return this.#highWatermark
  }

  /** As the store has it, as far as is known. */
  get isr(): Isr {
    return this.#isr
  }

  /** What is written, or may have been. */
  get proposal(): IsrProposal | undefined {
    return this.#proposal
  }

  /** Until then nobody knows how far the log was committed before, and the ends of the log are not told: OFFSET_NOT_AVAILABLE. */
  get knowsItsEnd(): boolean {
    return this.#highWatermark >= this.epochStartOffset
  }

  /** False: acks=all is refused before anything is appended (NOT_ENOUGH_REPLICAS). */
  hasEnough(minInsyncReplicas: number): boolean {
    return this.#isr.brokerIds.length >= minInsyncReplicas
  }

  /** Brokers that are to have the partition: those that are new have nothing yet, and those that are gone are heard no more. */
  replicasAre(replicas: readonly number[], nowMs: number): void {
    for (const id of this.#followers.keys()) if (!replicas.includes(id)) this.#followers.delete(id)
    for (const id of replicas) {
      if (id === this.brokerId || this.#followers.has(id)) continue
      // Nobody is put out before having had the time to be heard of.
      const unheard = { logEndOffset: -1, caughtUpAtMs: nowMs, fetchedAtMs: nowMs, leaderEndThen: this.#logEndOffset }
      this.#followers.set(id, { ...unheard, brokerEpoch: undefined })
    }
  }

  /** The log has grown. */
  appended(logEndOffset: number): void {
    invariant(logEndOffset >= this.#logEndOffset, 'the log of a leader only grows')
    this.#logEndOffset = logEndOffset
    this.#advance()
  }

  /** A follower asks for what comes behind its log: so it has everything before. */
  fetched(fetch: FollowerFetch): FetchOutcome {
    const { brokerId, brokerEpoch, registeredEpoch, leaderEpoch, offset, isDiverging, nowMs } = fetch
    if (leaderEpoch < this.leaderEpoch) return 'fenced'
    if (leaderEpoch > this.leaderEpoch) return 'unknown-epoch'
    const follower = this.#followers.get(brokerId)
    if (follower === undefined) return 'not-a-replica'
    if (brokerEpoch !== registeredEpoch) {
      // A process of before, or one that the store does not know any more: it moves nothing, and is not let in.
      follower.brokerEpoch = undefined
      return 'stale-broker'
    }
    if (isDiverging || offset > this.#logEndOffset) return 'diverging'
    if (offset >= this.#logEndOffset) follower.caughtUpAtMs = nowMs
    else if (offset >= follower.leaderEndThen)
      follower.caughtUpAtMs = Math.max(follower.caughtUpAtMs, follower.fetchedAtMs)
    follower.logEndOffset = offset
    follower.fetchedAtMs = nowMs
    follower.leaderEndThen = this.#logEndOffset
    follower.brokerEpoch = brokerEpoch
    this.#advance()
    return 'taken'
  }

  /**
   * The change that is due, if any: followers that lag for longer than `lagMaxMs` go, those that have everything come. It counts as under way
   * from now on, so there is one at a time.
   */
  propose(nowMs: number, lagMaxMs: number): IsrProposal | undefined {
    if (this.#proposal !== undefined) return undefined
    const { brokerIds, version } = this.#isr
    const stays = brokerIds.filter(id => id === this.brokerId || !this.#lags(id, nowMs, lagMaxMs))
    const comes = [...this.#followers].flatMap(([id, { brokerEpoch }]) =>
      brokerIds.includes(id) || brokerEpoch === undefined || !this.#mayCome(id, nowMs, lagMaxMs)
        ? []
        : [{ brokerId: id, brokerEpoch }],
    )
    if (stays.length === brokerIds.length && comes.length === 0) return undefined
    const all = [...stays, ...comes.map(({ brokerId }) => brokerId)].sort((a, b) => a - b)
    this.#proposal = { brokerIds: all, basedOn: version, comes }
    return this.#proposal
  }

  /**
   * What the store was read to have under this leader epoch. That decides a proposal once the version is another one. Before, it may still
   * be on its way to the store, though nobody waits for its answer any more: it stays, and may be written again.
   */
  stored(isr: Isr): void {
    if (isr.version <= this.#isr.version) return // read before what is known already
    invariant(isr.brokerIds.includes(this.brokerId), 'who is not in sync does not lead')
    this.#isr = isr
    this.#proposal = undefined
    this.#advance()
  }

  /**
   * The store refused a proposal, and has this now. Where that is of a later version, another copy of the proposal may have been carried
   * out before. Where it is not, somebody who was to come is another process by now, and epochs only rise: no copy can be carried out later.
   */
  refused(proposal: IsrProposal, isr: Isr): void {
    if (isr.version > proposal.basedOn) this.stored(isr)
    else if (proposal === this.#proposal) {
      this.#proposal = undefined
      this.#advance() // who was to come held the watermark
    }
  }

  /** @param endOffset behind the last record */
  acknowledges(endOffset: number, minInsyncReplicas: number): Acknowledgement {
    if (this.#highWatermark < endOffset) return 'waits'
    return this.hasEnough(minInsyncReplicas) ? 'done' : 'not-enough-replicas'
  }

  #lags(brokerId: number, nowMs: number, lagMaxMs: number): boolean {
    const follower = this.#followers.get(brokerId)
    if (follower === undefined) return true // it is not to have the partition any more
    return follower.logEndOffset < this.#logEndOffset && nowMs - follower.caughtUpAtMs > lagMaxMs
  }

  #mayCome(brokerId: number, nowMs: number, lagMaxMs: number): boolean {
    const follower = this.#followers.get(brokerId) as Follower
    const { logEndOffset, brokerEpoch, fetchedAtMs } = follower
    const isThere = brokerEpoch !== undefined && nowMs - fetchedAtMs <= lagMaxMs
    return isThere && logEndOffset >= Math.max(this.#highWatermark, this.epochStartOffset)
  }

  /** To the least that anybody has who may lead next. */
  #advance(): void {
    let least = this.#logEndOffset
    for (const id of new Set([...this.#isr.brokerIds, ...(this.#proposal?.brokerIds ?? [])])) {
      if (id !== this.brokerId) least = Math.min(least, this.#followers.get(id)?.logEndOffset ?? -1)
    }
    this.#highWatermark = Math.max(this.#highWatermark, least)
  }
}
