/**
 * A member of a group of KIP-848: what it subscribes to, and how far it is on its way to its target. It may also be one of
 * the classic protocol that shares the group; then its generation is its member epoch.
 *
 *     stable       it has everything of its target at its epoch
 *     unrevoked    it was told to give up partitions and did not confirm that yet; its epoch stands still
 *     unreleased   it waits for partitions that others did not give up yet
 */
import type { TopicId } from '../../base/brands.ts'
import type { StoredConsumerMember, StoredPartitions } from '../../store/groups.ts'
import { fromBase64, toBase64 } from '../classic/member.ts'
import { Deadline } from '../deadlines.ts'
import type { Due } from '../effects.ts'
import { PartitionSet } from '../partition-set.ts'
import type { Protocol } from '../requests.ts'

/** The epoch of a static member that left for a while, and the one it sends to do so. */
export const STATIC_LEAVE_EPOCH = -2

/** The epoch that a member sends to leave. */
export const LEAVE_EPOCH = -1

/** What a member of the classic protocol brings along. */
export interface ClassicTerms {
  readonly sessionTimeoutMs: number
  readonly protocols: readonly Protocol[]
}

/** What a member says about itself; each heartbeat may change it. */
export interface Subscription {
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly rebalanceTimeoutMs: number
  readonly serverAssignor: string | null
  /** Ascending, each once. */
  readonly topicNames: readonly string[]
  /** Empty for none. */
  readonly topicRegex: string
  readonly classic: ClassicTerms | null
}

export type ConsumerMemberState = 'stable' | 'unrevoked' | 'unreleased'

/** What a member has, as opposed to what it is to have. */
export interface CurrentAssignment {
  readonly memberEpoch: number
  readonly state: ConsumerMemberState
  /** Each partition with the member epoch at which it was assigned. */
  readonly assigned: PartitionSet
  /** It may still own these, but is to give them up. */
  readonly pendingRevocation: PartitionSet
}

export class ConsumerMember {
  readonly memberId: string
  readonly session: Deadline<Due>
  /** For giving up partitions; of a classic member, for joining and syncing. */
  readonly rebalance: Deadline<Due>
  subscription: Subscription
  current: CurrentAssignment
  previousMemberEpoch = 0
  /** What it is to have once everybody has followed. */
  target = new PartitionSet()

  constructor(groupId: string, memberId: string, subscription: Subscription) {
    this.memberId = memberId
    this.subscription = subscription
    this.session = new Deadline({ kind: 'session', groupId, memberId })
    this.rebalance = new Deadline({ kind: 'rebalance', groupId, memberId })
    this.current = {
      memberEpoch: 0,
      state: 'stable',
      assigned: new PartitionSet(),
      pendingRevocation: new PartitionSet(),
    }
  }

  get instanceId(): string | null {
    return this.subscription.instanceId
  }

  get memberEpoch(): number {
    return this.current.memberEpoch
  }

  get usesClassicProtocol(): boolean {
    return this.subscription.classic !== null
  }

  /** A static member that left and is expected back. */
  get isAway(): boolean {
    return this.current.memberEpoch === STATIC_LEAVE_EPOCH
  }

  isReconciledTo(epoch: number): boolean {
    return this.current.state === 'stable' && this.current.memberEpoch === epoch
  }

  /** Moves on; a new epoch keeps the one before, which a member whose answer was lost still sends. */
  advance(next: CurrentAssignment): void {
    if (next.memberEpoch !== this.current.memberEpoch) this.previousMemberEpoch = this.current.memberEpoch
    this.current = next
  }

  store(): StoredConsumerMember {
    const { classic, ...subscription } = this.subscription
    const { memberEpoch, state, assigned, pendingRevocation } = this.current
    return {
      type: 'consumer',
      memberId: this.memberId,
      ...subscription,
      memberEpoch,
      previousMemberEpoch: this.previousMemberEpoch,
      state,
      assigned: storePartitions(assigned),
      pendingRevocation: storePartitions(pendingRevocation),
      target: storePartitions(this.target),
      classic: classic && {
        sessionTimeoutMs: classic.sessionTimeoutMs,
        protocols: classic.protocols.map(({ name, metadata }) => ({ name, metadata: toBase64(metadata) })),
      },
    }
  }

  static load(groupId: string, stored: StoredConsumerMember): ConsumerMember {
    const { instanceId, rackId, clientId, clientHost, rebalanceTimeoutMs, serverAssignor, topicNames, topicRegex } =
      stored
    const classic = stored.classic && {
      sessionTimeoutMs: stored.classic.sessionTimeoutMs,
      protocols: stored.classic.protocols.map(({ name, metadata }) => ({ name, metadata: fromBase64(metadata) })),
    }
    const member = new ConsumerMember(groupId, stored.memberId, {
      instanceId,
      rackId,
      clientId,
      clientHost,
      rebalanceTimeoutMs,
      serverAssignor,
      topicNames,
      topicRegex,
      classic,
    })
    member.current = {
      memberEpoch: stored.memberEpoch,
      state: stored.state,
      assigned: loadPartitions(stored.assigned),
      pendingRevocation: loadPartitions(stored.pendingRevocation),
    }
    member.previousMemberEpoch = stored.previousMemberEpoch
    member.target = loadPartitions(stored.target)
    return member
  }
}

function storePartitions(set: PartitionSet): StoredPartitions {
  return Array.from(set.topics(), ([topicId, partitions]) => {
    const byEpoch: [number, number[]][] = []
    let run: [number, number[]] | undefined
    for (const [partition, epoch] of partitions) {
      if (run?.[0] !== epoch) {
        run = byEpoch.find(([other]) => other === epoch)
        if (run === undefined) {
          run = [epoch, []]
          byEpoch.push(run)
        }
      }
      run[1].push(partition)
    }
    return [topicId, byEpoch] as const
  })
}

function loadPartitions(stored: StoredPartitions): PartitionSet {
  const set = new PartitionSet()
  for (const [topicId, byEpoch] of stored) {
    for (const [epoch, partitions] of byEpoch) {
      for (const partition of partitions) set.add(topicId as TopicId, partition, epoch)
    }
  }
  return set
}
