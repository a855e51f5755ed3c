/** A member of a classic group: what it joined with, its assignment, and the requests of it that wait. */

import type { StoredClassicMember } from '../../store/groups.ts'
import { Deadline } from '../deadlines.ts'
import type { Due } from '../effects.ts'
import type { Protocol, Token } from '../requests.ts'

const NOTHING = new Uint8Array(0)

/** What a member brings along when it joins. */
export interface MemberTerms {
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocols: readonly Protocol[]
}

export class ClassicMember {
  readonly memberId: string
  readonly session: Deadline<Due>
  terms: MemberTerms
  /** As the leader sent it, in the protocol's own bytes; empty before the first. */
  assignment: Uint8Array = NOTHING
  /** It joined and never had an answer, so its client cannot send heartbeats and its session is a longer one. */
  isNew = false
  joinToken: Token | undefined
  syncToken: Token | undefined

  constructor(groupId: string, memberId: string, terms: MemberTerms) {
    this.memberId = memberId
    this.terms = terms
    this.session = new Deadline({ kind: 'session', groupId, memberId })
  }

  get instanceId(): string | null {
    return this.terms.instanceId
  }

  /** A request of it waits for the others, which is a sign of life. */
  get isWaiting(): boolean {
    return this.joinToken !== undefined || this.syncToken !== undefined
  }

  /** Its subscription in one of its protocols; empty where it does not know the protocol. */
  metadata(protocolName: string | null): Uint8Array {
    return this.terms.protocols.find(({ name }) => name === protocolName)?.metadata ?? NOTHING
  }

  hasProtocols(protocols: readonly Protocol[]): boolean {
    return (
      protocols.length === this.terms.protocols.length &&
      protocols.every(({ name, metadata }, at) => {
        const own = this.terms.protocols[at]
        return own?.name === name && Buffer.compare(own.metadata, metadata) === 0
      })
    )
  }

  clearAssignment(): void {
    this.assignment = NOTHING
  }

  store(): StoredClassicMember {
    const { protocols, ...terms } = this.terms
    return {
      type: 'classic',
      memberId: this.memberId,
      ...terms,
      protocols: protocols.map(({ name, metadata }) => ({ name, metadata: toBase64(metadata) })),
      assignment: toBase64(this.assignment),
    }
  }

  static load(groupId: string, stored: StoredClassicMember): ClassicMember {
    const { type: _, memberId, protocols, assignment, ...terms } = stored
    const member = new ClassicMember(groupId, memberId, {
      ...terms,
      protocols: protocols.map(({ name, metadata }) => ({ name, metadata: fromBase64(metadata) })),
    })
    member.assignment = fromBase64(assignment)
    return member
  }
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

export function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'))
}
