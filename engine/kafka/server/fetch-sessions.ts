/**
 * Fetch sessions (KIP-227): the partitions that a client fetches again and again, so that its requests name changes only, and answers
 * hold only partitions with something new. Pure but for the clock that is passed in; used by the broker's thread.
 *
 * | session epoch | the request                                    | the answer                                             |
 * |---------------|------------------------------------------------|--------------------------------------------------------|
 * | -1            | names all partitions; the session, if any, ends | all partitions                                        |
 * | 0             | names all partitions; a new session begins     | all partitions, and the session's id, 0 for no room    |
 * | n > 0         | names what changed since the request before    | partitions with records, an error, or another end      |
 *
 * What a request costs goes with the partitions that have news, but for a look at some words of each of the others: see `CachedPartition`.
 *
 * Bounds: SESSIONS_MAX sessions. A new one takes the place of one that was idle for IDLE_MS; without such a one the client fetches without.
 */
import type { ClientPartition } from '../../broker/topic-metadata.ts'
import { SESSION_PARTITIONS_MAX, SESSIONS_MAX } from '../limits.ts'

/** A session that is idle for so long gives way to a new one, as Kafka's `min.incremental.fetch.session.eviction.ms`. */
const IDLE_MS = 120_000
const EPOCH_MAX = 0x7fff_ffff

/** A partition as a Fetch request names it. */
export interface WantedPartition {
  /** Name, or id as text: what the client used. */
  readonly topic: string
  readonly isId: boolean
  readonly partition: number
  readonly currentLeaderEpoch: number
  readonly fetchOffset: number
  readonly lastFetchedEpoch: number
  readonly maxBytes: number
}

/** Where a partition was found when it was read, and what it was then: while all that is as it was, a look at a few words tells whether there is news. */
export interface FoundPartition {
  readonly at: ClientPartition
  readonly role: number
  readonly leaderEpoch: number
}

export interface CachedPartition {
  wanted: WantedPartition
  /** The client has named it anew, and it was not read since. */
  isChanged: boolean
  found: FoundPartition | undefined
  readAtMs: number
  /** What the client was told last; -1 before. */
  highWatermark: number
  logStartOffset: number
  hadError: boolean
}

/** What of an answer decides whether a client has to be told. */
export interface FetchedState {
  readonly errorCode: number
  readonly bytes: number
  readonly highWatermark: number
  readonly logStartOffset: number
  /** The log of the follower that fetches parts from this one. */
  readonly isDiverging?: boolean
}

export type SessionFault = 'FETCH_SESSION_ID_NOT_FOUND' | 'INVALID_FETCH_SESSION_EPOCH' | 'FETCH_SESSION_TOPIC_ID_ERROR'

const keyOf = ({ topic, partition }: Pick<WantedPartition, 'topic' | 'partition'>): string => `${partition} ${topic}`

export class FetchSession {
  readonly id: number
  readonly usesIds: boolean
  /** Of the next request. */
  epoch = 1
  usedMs: number
  /** In the order in which they are served: those that had records go to the end. */
  readonly #partitions = new Map<string, CachedPartition>()

  constructor(id: number, usesIds: boolean, usedMs: number) {
    this.id = id
    this.usesIds = usesIds
    this.usedMs = usedMs
  }

  get size(): number {
    return this.#partitions.size
  }

  /** In the order in which they are served. */
  get partitions(): IterableIterator<CachedPartition> {
    return this.#partitions.values()
  }

  want(wanted: WantedPartition): void {
    const key = keyOf(wanted)
    const cached = this.#partitions.get(key)
    if (cached === undefined) {
      const unread = { isChanged: true, found: undefined, readAtMs: 0 }
      this.#partitions.set(key, { wanted, ...unread, highWatermark: -1, logStartOffset: -1, hadError: false })
    } else {
      cached.wanted = wanted
      cached.isChanged = true
    }
  }

  /** A partition is read. @param found undefined: it could not be */
  read(wanted: WantedPartition, found: FoundPartition | undefined, nowMs: number): void {
    const cached = this.#partitions.get(keyOf(wanted))
    if (cached === undefined) return
    cached.isChanged = false
    cached.found = found
    cached.readAtMs = nowMs
  }

  forget(partition: Pick<WantedPartition, 'topic' | 'partition'>): void {
    this.#partitions.delete(keyOf(partition))
  }

  /** Whether the client has to be told of a partition. */
  isNews(wanted: WantedPartition, state: FetchedState): boolean {
    const { errorCode, bytes, highWatermark, logStartOffset, isDiverging = false } = state
    const cached = this.#partitions.get(keyOf(wanted))
    if (cached === undefined || errorCode !== 0 || cached.hadError || bytes > 0 || isDiverging) return true
    return cached.highWatermark !== highWatermark || cached.logStartOffset !== logStartOffset
  }

  /** The client is being told. */
  told(wanted: WantedPartition, { errorCode, bytes, highWatermark, logStartOffset }: FetchedState): void {
    const key = keyOf(wanted)
    const cached = this.#partitions.get(key)
    if (cached === undefined) return
    cached.hadError = errorCode !== 0
    cached.highWatermark = highWatermark
    cached.logStartOffset = logStartOffset
    if (bytes === 0) return
    this.#partitions.delete(key)
    this.#partitions.set(key, cached)
  }
}

export class FetchSessions {
  readonly #byId = new Map<number, FetchSession>()
  readonly #nowMs: () => number
  readonly #randomId: () => number
  #partitions = 0

  /** @param randomId 31 bits */
  constructor(nowMs: () => number, randomId: () => number) {
    this.#nowMs = nowMs
    this.#randomId = randomId
  }

  get size(): number {
    return this.#byId.size
  }

  /** A new session; undefined when there is no room for it. */
  open(wanted: readonly WantedPartition[]): FetchSession | undefined {
    if (wanted.length === 0 || wanted.length > SESSION_PARTITIONS_MAX) return undefined
    const nowMs = this.#nowMs()
    while (this.#byId.size >= SESSIONS_MAX || this.#partitions + wanted.length > SESSION_PARTITIONS_MAX) {
      const oldest = this.#byId.values().next().value
      if (oldest === undefined || oldest.usedMs > nowMs - IDLE_MS) return undefined
      this.close(oldest.id)
    }
    let id = 0
    while (id === 0 || this.#byId.has(id)) id = this.#randomId()
    const session = new FetchSession(id, wanted[0]?.isId === true, nowMs)
    for (const partition of wanted) session.want(partition)
    this.#byId.set(id, session)
    this.#partitions += session.size
    return session
  }

  close(id: number): void {
    this.#partitions -= this.#byId.get(id)?.size ?? 0
    this.#byId.delete(id)
  }

  /** The session of a request with epoch > 0, with what the request changes; or why there is none. */
  resume(
    id: number,
    epoch: number,
    changed: readonly WantedPartition[],
    forgotten: readonly Pick<WantedPartition, 'topic' | 'partition' | 'isId'>[],
  ): FetchSession | SessionFault {
    const session = this.#byId.get(id)
    if (session === undefined) return 'FETCH_SESSION_ID_NOT_FOUND'
    if (session.epoch !== epoch) return 'INVALID_FETCH_SESSION_EPOCH'
    if ([...changed, ...forgotten].some(({ isId }) => isId !== session.usesIds)) return 'FETCH_SESSION_TOPIC_ID_ERROR'
    this.#partitions -= session.size
    for (const partition of changed) session.want(partition)
    for (const partition of forgotten) session.forget(partition)
    this.#partitions += session.size
    if (this.#partitions > SESSION_PARTITIONS_MAX) {
      this.close(id) // the client begins anew, and is told that there is no room
      return 'FETCH_SESSION_ID_NOT_FOUND'
    }
    session.epoch = epoch === EPOCH_MAX ? 1 : epoch + 1
    session.usedMs = this.#nowMs()
    this.#byId.delete(id) // to the young end
    this.#byId.set(id, session)
    return session
  }
}
