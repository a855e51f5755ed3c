/**
 * A member of a consumer group as KIP-848 has it: sends heartbeats, is told what to own, gives up before it gets, and says
 * so. Used by the consumer's thread. What owning means is the host's; here are only sets. Between heartbeats it waits for
 * the group to change, so a rebalance takes round trips and not heartbeat intervals.
 *
 * A member that was fenced has lost everything, tells its host so, and joins again under its old id.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { TopicId } from '../engine/base/brands.ts'
import { isMillraceError, MillraceError } from '../engine/base/errors.ts'
import {
  type CallGroup,
  type HeartbeatCall,
  type HeartbeatResult,
  plainHeartbeat,
} from '../engine/group/group-calls.ts'
import { PartitionSet } from '../engine/group/partition-set.ts'

const JOIN_EPOCH = 0
const LEAVE_EPOCH = -1
/** Of a static member, whose place is kept. */
const PAUSE_EPOCH = -2

/** Pause before a request that was not answered, or cannot be carried out just now, is sent again. */
const RETRY_MS = 100

/** Longest wait for a change of the group: well below the time-out of a call from another thread. */
const WAIT_MS_MAX = 10_000

const FENCED = ['UNKNOWN_MEMBER_ID', 'FENCED_MEMBER_EPOCH', 'GROUP_ID_NOT_FOUND'] as const
const PASSING = ['COORDINATOR_NOT_AVAILABLE', 'TIMED_OUT', 'BACK_PRESSURE', 'DISK_FULL'] as const

export interface MemberTerms {
  readonly groupId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly assignor: string | null
  readonly rebalanceTimeoutMs: number
}

export interface MemberSubscription {
  readonly topicNames: readonly string[]
  /** Empty for none. */
  readonly pattern: string
}

export interface OwnedPartition {
  readonly topic: string
  readonly topicId: TopicId
  readonly partition: number
}

/** What the membership asks of the consumer; awaited. None of it throws. */
export interface MembershipHost {
  /** @param isCurrent false as soon as the assignment does not count any more */
  takeOver(partitions: readonly OwnedPartition[], isCurrent: () => boolean): Promise<void>
  /** Resolves when nothing of them is in use any more. */
  giveUp(partitions: PartitionSet): Promise<void>
  /** All that it owns belongs to others by now. */
  lose(error: MillraceError): Promise<void>
  /** The member cannot go on. */
  failed(error: unknown): void
}

export class GroupMembership {
  readonly #call: CallGroup
  readonly #terms: MemberTerms
  readonly #host: MembershipHost
  readonly #memberId = randomUUID()
  #subscription: MemberSubscription
  /** The coordinator does not know these yet. */
  #saysSubscription = true
  #saysOwned = false
  #epoch = JOIN_EPOCH
  #owned = new PartitionSet()
  #target = new PartitionSet()
  readonly #names = new Map<TopicId, string>()
  /** Rises when everything was lost: what was under way before does not count. */
  #life = 0
  #isReconciling = false
  #sinceVersion = 0
  #intervalMs = RETRY_MS
  #nudge: (() => void) | undefined
  #isNudged = false
  #beating: Promise<void> | undefined
  #isOver = false

  constructor(call: CallGroup, terms: MemberTerms, subscription: MemberSubscription, host: MembershipHost) {
    this.#call = call
    this.#terms = terms
    this.#subscription = subscription
    this.#host = host
  }

  /** How requests about offsets name the member. */
  get identity() {
    const { groupId, instanceId } = this.#terms
    return { groupId, instanceId, memberId: this.#memberId, memberEpoch: this.#epoch }
  }

  /** Joins; what is assigned comes later. @throws what the coordinator refuses the member for, TIMED_OUT, CLOSED */
  async join(): Promise<void> {
    await this.#beat()
    void this.#run()
  }

  /** Subscribes to something else. @throws as `join` */
  async resubscribe(subscription: MemberSubscription): Promise<void> {
    this.#subscription = subscription
    this.#saysSubscription = true
    await this.heartbeat().catch((error: unknown) => {
      if (!isFenced(error)) throw error // it joins anew, with this subscription
    })
  }

  /** Sends a heartbeat now, behind one that is under way. @throws as `join`, and for a fenced member what fenced it */
  async heartbeat(): Promise<void> {
    while (this.#beating !== undefined) await this.#beating.catch(() => undefined)
    if (!this.#isOver) await this.#beat()
  }

  /** Ends the heartbeats; from then on nothing is assigned or revoked. Call `leave` before the session times out. */
  async stop(): Promise<void> {
    this.#isOver = true
    this.#life += 1
    this.#wakeUp()
    while (this.#beating !== undefined) await this.#beating.catch(() => undefined)
  }

  /** Leaves, once stopped; a static member keeps its place for its session timeout unless `forGood`. */
  async leave(forGood = false): Promise<void> {
    if (this.#epoch <= JOIN_EPOCH) return
    const memberEpoch = this.#terms.instanceId === null || forGood ? LEAVE_EPOCH : PAUSE_EPOCH
    try {
      await this.#call('heartbeat', this.#unchanged(memberEpoch))
    } catch (error) {
      if (!isMillraceError(error)) throw error // it is out already, or its session ends by itself
    }
    this.#epoch = memberEpoch
  }

  // ── heartbeats ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    let waitMs = RETRY_MS
    while (!this.#isOver) {
      await this.#pause(waitMs)
      if (this.#isOver) return
      try {
        await this.heartbeat()
        waitMs = Math.min(this.#intervalMs, WAIT_MS_MAX)
      } catch (error) {
        if (this.#isOver) return
        waitMs = RETRY_MS
        if (isFenced(error) || isPassing(error)) continue
        this.#isOver = true
        this.#host.failed(error)
      }
    }
  }

  /** Until the group changes, somebody nudges, or it is time. */
  async #pause(waitMs: number): Promise<void> {
    const { groupId } = this.#terms
    const nudged = new Promise<void>(resolve => {
      this.#nudge = resolve
    })
    if (!this.#isNudged) {
      const changed = this.#call('awaitChange', { groupId, version: this.#sinceVersion, waitMs }).then(
        version => {
          this.#sinceVersion = version
        },
        () => setTimeout(waitMs, undefined, { ref: false }),
      )
      await Promise.race([changed, nudged])
    }
    this.#isNudged = false
    this.#nudge = undefined
  }

  #wakeUp(): void {
    this.#isNudged = true
    this.#nudge?.()
  }

  #beat(): Promise<void> {
    const beating = this.#beatNow().finally(() => {
      if (this.#beating === beating) this.#beating = undefined
    })
    this.#beating = beating
    return beating
  }

  async #beatNow(): Promise<void> {
    const isJoining = this.#epoch === JOIN_EPOCH
    const life = this.#life
    const owned = isJoining ? [] : this.#saysOwned ? this.#owned.toTopics() : null
    const saysSubscription = isJoining || this.#saysSubscription
    const { topicNames, pattern } = this.#subscription
    this.#saysOwned = false
    this.#saysSubscription = false
    try {
      const answer = await this.#call('heartbeat', {
        ...this.#unchanged(),
        rebalanceTimeoutMs: isJoining ? this.#terms.rebalanceTimeoutMs : -1,
        ...(saysSubscription ? { subscribedTopicNames: topicNames, subscribedTopicRegex: pattern } : {}),
        serverAssignor: isJoining ? this.#terms.assignor : null,
        topicPartitions: owned,
      })
      if (this.#life === life && !this.#isOver) this.#take(answer)
      else this.#epoch = answer.memberEpoch
    } catch (error) {
      this.#saysOwned ||= owned !== null
      this.#saysSubscription ||= saysSubscription
      if (isFenced(error) && this.#life === life) await this.#fence(error)
      throw error
    }
  }

  #unchanged(memberEpoch = this.#epoch): HeartbeatCall {
    const { groupId, instanceId, clientId } = this.#terms
    return plainHeartbeat({ groupId, memberId: this.#memberId, memberEpoch, instanceId, clientId })
  }

  #take({ memberEpoch, heartbeatIntervalMs, assignment, topics }: HeartbeatResult): void {
    this.#epoch = memberEpoch
    this.#intervalMs = heartbeatIntervalMs
    if (assignment === null) return
    for (const [topicId, topic] of topics) this.#names.set(topicId, topic)
    this.#target = PartitionSet.of(assignment)
    if (!this.#isReconciling) void this.#reconcile(this.#life)
  }

  async #fence(error: MillraceError): Promise<void> {
    this.#life += 1
    this.#epoch = JOIN_EPOCH
    this.#owned = new PartitionSet()
    this.#target = new PartitionSet()
    this.#saysOwned = false
    this.#isReconciling = false
    await this.#host.lose(error)
  }

  // ── reconciliation ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Moves towards the target, which may change meanwhile. */
  async #reconcile(life: number): Promise<void> {
    const isCurrent = (): boolean => this.#life === life && !this.#isOver
    this.#isReconciling = true
    while (isCurrent()) {
      const target = this.#target
      const toRevoke = this.#owned.filter((topicId, partition) => !target.has(topicId, partition))
      if (toRevoke.size > 0) {
        await this.#host.giveUp(toRevoke)
        if (!isCurrent()) return
        this.#owned = this.#owned.filter((topicId, partition) => !toRevoke.has(topicId, partition))
        this.#tell()
        continue // the target may be another by now
      }
      const toAssign: OwnedPartition[] = []
      target.forEach((topicId, partition) => {
        const topic = this.#names.get(topicId)
        if (topic !== undefined && !this.#owned.has(topicId, partition)) toAssign.push({ topic, topicId, partition })
      })
      if (toAssign.length === 0) break
      for (const { topicId, partition } of toAssign) this.#owned.add(topicId, partition)
      await this.#host.takeOver(toAssign, isCurrent)
      if (!isCurrent()) return
      this.#tell()
    }
    if (this.#life === life) this.#isReconciling = false
  }

  /** The coordinator waits to hear what the member owns now. */
  #tell(): void {
    this.#saysOwned = true
    this.#wakeUp()
  }
}

function isFenced(error: unknown): error is MillraceError {
  return error instanceof MillraceError && FENCED.some(code => error.code === code)
}

export function isPassing(error: unknown): error is MillraceError {
  return error instanceof MillraceError && PASSING.some(code => error.code === code)
}
