/**
 * A follower's fetch session with its leader (KIP-227): what the leader knows that this follower wants, so that each request names changes only. Positions
 * are compared by identity: whoever fetches passes the same object again while nothing about it has changed.
 */
import type { FetchPosition } from '../cluster/replica-source.ts'
import { NEW_SESSION } from './replica-fetch.ts'

const EPOCH_MAX = 0x7fff_ffff

/** What a request says. */
export interface SessionRequest {
  readonly sessionId: number
  readonly sessionEpoch: number
  /** All, or what is new. */
  readonly positions: readonly FetchPosition[]
  readonly forgotten: readonly FetchPosition[]
}

export class PeerSession {
  #id = 0
  /** Of the next request; 0 opens a session. */
  #epoch = NEW_SESSION
  #known: ReadonlySet<FetchPosition> = new Set()
  #asked: ReadonlySet<FetchPosition> = new Set()

  /** Of the next request, after which `answered` or `reset` is called. */
  request(positions: readonly FetchPosition[]): SessionRequest {
    this.#asked = new Set(positions)
    if (this.#epoch === NEW_SESSION) {
      // The leader forgets the one of before, if it has it still.
      return { sessionId: this.#id, sessionEpoch: NEW_SESSION, positions, forgotten: [] }
    }
    const changed = positions.filter(position => !this.#known.has(position))
    const renewed = new Set(changed.map(keyOf))
    const forgotten = [...this.#known].filter(known => !this.#asked.has(known) && !renewed.has(keyOf(known)))
    return { sessionId: this.#id, sessionEpoch: this.#epoch, positions: changed, forgotten }
  }

  /** The leader took the request. @param sessionId 0: it has no room for a session */
  answered(sessionId: number): void {
    this.#id = sessionId
    this.#known = this.#asked
    if (sessionId === 0) this.#epoch = NEW_SESSION
    else this.#epoch = this.#epoch === EPOCH_MAX ? 1 : this.#epoch + 1
  }

  /** What the leader knows is not known here: the next request names all. */
  reset(): void {
    this.#epoch = NEW_SESSION
  }
}

const keyOf = ({ topicId, partition }: FetchPosition): string => `${partition} ${topicId}`
