/**
 * Models of the two kinds of clients, reduced to what concerns the coordinator: what they own, what they ask, and what they
 * make of the answers. They follow the rules of Kafka's clients; that they stop, are late or lose answers is up to the run.
 */
import type { ErrorCode } from '../../../../engine/base/errors.ts'
import type { Answer } from '../../../../engine/group/actions.ts'
import { rangeAssignor } from '../../../../engine/group/assignors/range.ts'
import { cooperativeStickyAssignor } from '../../../../engine/group/assignors/sticky.ts'
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  type NamedPartitions,
} from '../../../../engine/group/consumer-protocol.ts'
import type { TopicPartitions } from '../../../../engine/group/partition-set.ts'
import { beat, GROUP, heartbeat, joinRequest, leaveRequest, syncRequest, topicIdOf } from '../support/coordinator.ts'
import type { Listener, Spot, WithoutToken, World } from './world.ts'

type JoinAnswer = Extract<Answer, { type: 'JoinGroup' }>

export abstract class SimulatedClient {
  readonly world: World
  readonly instanceId: string | null
  topics: string[]
  /** Where it is in what it owns. */
  readonly owned = new Map<Spot, number>()
  memberId = ''
  /** Generation or member epoch. */
  epoch = -1
  /** The one in which it got what it owns. */
  ownedEpoch = -1
  /** It joined without having heard of a generation in between, so what it owns may be another's. */
  isStale = false
  /** Fenced for good, or left. */
  isOver = false
  token: number | undefined

  constructor(world: World, topics: string[], instanceId: string | null) {
    this.world = world
    this.topics = topics
    this.instanceId = instanceId
  }

  abstract get isSettled(): boolean
  /** One step; `orderly` without leaving or anything else that is not needed. */
  abstract act(orderly: boolean): void
  /** A request that was under way when the process died, for later. */
  abstract lastWords(): (() => void) | undefined

  /** Stops waiting for the answer that is due, as after a time-out. */
  giveUp(): void {
    if (this.token !== undefined) this.world.abandon(this.token)
  }

  /** True while it commits at all. */
  protected get mayCommit(): boolean {
    return true
  }

  /** A commit that is under way for a while: what it carries is of now. */
  lateCommit(): (() => void) | undefined {
    const request = this.#commitRequest()
    return request && (() => void this.world.send(request, () => {}))
  }

  protected commit(): void {
    const request = this.#commitRequest()
    if (request !== undefined) this.request(request, (_, refused) => this.onRefused(refused))
  }

  #commitRequest(): WithoutToken | undefined {
    const { random } = this.world
    const spots = [...this.owned.keys()]
    if (spots.length === 0 || !this.mayCommit) return undefined
    const spot = random.pick(spots)
    const offset = (this.owned.get(spot) as number) + random.between(0, 3)
    this.owned.set(spot, offset)
    const [topic, partition] = spot.split('-') as [string, string]
    return {
      type: 'OffsetCommit',
      groupId: GROUP,
      generationIdOrMemberEpoch: this.epoch,
      memberId: this.memberId,
      instanceId: this.instanceId,
      offsets: [{ topicId: topicIdOf(topic), partition: Number(partition), offset, leaderEpoch: 0, metadata: '' }],
    }
  }

  protected request(request: WithoutToken, listener: Listener): void {
    let isAnswered = false
    const token = this.world.send(request, (answer, refused, memberId) => {
      isAnswered = true
      this.token = undefined
      listener(answer, refused, memberId)
    })
    if (!isAnswered) this.token = token
  }

  /** Takes over what it was given: from where the group committed. */
  protected own(spots: readonly Spot[]): void {
    const given = new Set(spots)
    for (const spot of this.owned.keys()) if (!given.has(spot)) this.owned.delete(spot)
    for (const spot of spots) if (!this.owned.has(spot)) this.owned.set(spot, this.world.committed.get(spot) ?? 0)
  }

  protected abstract onRefused(code: ErrorCode | 'lost' | undefined): void
}

export class ClassicClient extends SimulatedClient {
  readonly isCooperative: boolean
  phase: 'out' | 'joined' | 'stable' = 'out'
  #join: JoinAnswer | undefined
  /** Of the topics that it divided as the leader. */
  #topicsVersion = -1

  constructor(world: World, topics: string[], instanceId: string | null, isCooperative: boolean) {
    super(world, topics, instanceId)
    this.isCooperative = isCooperative
  }

  get isSettled(): boolean {
    return this.phase === 'stable' && this.token === undefined
  }

  /**
   * From joining until a sync succeeds it has the new generation and still what it owned in the last one. The coordinator cannot
   * tell these apart, so Kafka's clients do not commit then (`generationIfStable`).
   */
  protected override get mayCommit(): boolean {
    return this.phase !== 'joined' && this.epoch === this.ownedEpoch
  }

  act(orderly: boolean): void {
    const { random } = this.world
    if (this.token !== undefined) {
      if (!orderly && random.chance(0.05)) this.giveUp()
    } else if (this.phase === 'out') {
      // What it handled may still be committed before it joins.
      if (!orderly && this.epoch >= 0 && random.chance(0.3)) this.commit()
      else this.#sendJoin()
    } else if (this.phase === 'joined') this.#sendSync()
    else if (!orderly && random.chance(0.05)) this.#leave()
    else if (this.#hasToLead()) this.#sendJoin()
    else {
      const commits = random.chance(0.5)
      if (commits) this.commit()
      // A thread of its own keeps it in the group: commits alone do not tell of a rebalance. That it is late is part of the chaos.
      if (!commits || (orderly && this.isSettled)) this.#heartbeat()
    }
  }

  #heartbeat(): void {
    this.request(heartbeat(this.epoch, this.memberId, this.instanceId), (_, refused) => this.onRefused(refused))
  }

  lastWords(): (() => void) | undefined {
    const { world, epoch, memberId, instanceId } = this
    if (memberId === '') return undefined
    const ghost = new ClassicClient(world, this.topics, instanceId, this.isCooperative)
    ghost.memberId = memberId
    ghost.epoch = epoch
    ghost.ownedEpoch = this.ownedEpoch
    for (const [spot, offset] of this.owned) ghost.owned.set(spot, offset)
    const words = [() => ghost.#sendJoin(), () => ghost.#leave()]
    return world.random.pick(this.mayCommit ? [() => ghost.commit(), ...words] : words)
  }

  #sendJoin(): void {
    if (!this.isCooperative) this.owned.clear()
    const known = this.world.epochOf(this.memberId)
    this.isStale = known !== undefined && known !== this.ownedEpoch
    const metadata = encodeSubscription({
      version: this.isCooperative ? 3 : 0,
      topics: this.topics,
      userData: null,
      owned: toNamed(this.owned.keys()),
      generationId: this.owned.size > 0 ? this.ownedEpoch : -1,
      rackId: null,
    })
    // A client that can also do with an eager assignor gives everything up before it joins, whichever is chosen.
    const names = this.isCooperative ? ['cooperative-sticky'] : ['range', 'cooperative-sticky']
    const request = joinRequest({
      memberId: this.memberId,
      instanceId: this.instanceId,
      protocols: names.map(name => ({ name, metadata })),
      requiresMemberId: true,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 20_000,
    })
    this.request(request, (answer, refused, memberId) => {
      if (answer?.type === 'JoinGroup') {
        this.memberId = answer.memberId
        this.epoch = answer.generationId
        this.#join = answer
        this.phase = 'joined'
      } else if (refused === 'MEMBER_ID_REQUIRED') this.memberId = memberId
      else this.onRefused(refused)
    })
  }

  #sendSync(): void {
    const join = this.#join as JoinAnswer
    const assignments = join.leader === this.memberId && !join.skipAssignment ? this.#divide(join) : {}
    const instance = this.instanceId === null ? {} : { instanceId: this.instanceId }
    this.request(syncRequest(this.epoch, this.memberId, { assignments, ...instance }), (answer, refused) => {
      if (answer?.type !== 'SyncGroup') {
        this.onRefused(refused)
        return
      }
      const given = toSpots(decodeAssignment(answer.assignment)?.partitions ?? [])
      // Generations of a group that the coordinator assigns are epochs of single members.
      if (join.leader !== '') this.world.noteGiven(this.epoch, this.instanceId ?? this.memberId, given)
      const gaveUp = [...this.owned.keys()].some(spot => !given.includes(spot))
      this.own(given)
      this.ownedEpoch = this.epoch
      this.isStale = false
      this.phase = this.isCooperative && gaveUp ? 'out' : 'stable'
    })
  }

  /** Topics changed since the leader divided them. */
  #hasToLead(): boolean {
    return this.#join?.leader === this.memberId && this.#topicsVersion !== this.world.topicsVersion
  }

  #divide({ members, protocolName }: JoinAnswer): Record<string, Uint8Array> {
    this.#topicsVersion = this.world.topicsVersion
    const assignor = protocolName === 'range' ? rangeAssignor : cooperativeStickyAssignor
    const result = assignor.assign(
      this.world.topics,
      members.map(({ memberId, instanceId, metadata }) => {
        const said = decodeSubscription(metadata)
        if (said === undefined) throw new Error('a subscription that is none')
        return { memberId, instanceId, topics: said.topics, owned: said.owned, generationId: said.generationId }
      }),
    )
    return Object.fromEntries(
      [...result].map(([memberId, partitions]) => [
        memberId,
        encodeAssignment({ version: 0, partitions, userData: null }),
      ]),
    )
  }

  #leave(): void {
    const instance = this.instanceId === null ? {} : { instanceId: this.instanceId }
    this.isOver = true
    this.owned.clear()
    this.request(leaveRequest({ memberId: this.memberId, ...instance }), () => {})
  }

  protected onRefused(code: ErrorCode | 'lost' | undefined): void {
    if (code === undefined) return
    if (code === 'lost' || code === 'REBALANCE_IN_PROGRESS' || code === 'COORDINATOR_NOT_AVAILABLE') {
      if (code !== 'lost' || this.phase !== 'stable') this.phase = 'out'
      return
    }
    this.owned.clear()
    if (code === 'FENCED_INSTANCE_ID') this.isOver = true
    if (code !== 'ILLEGAL_GENERATION') this.memberId = ''
    this.epoch = -1
    this.phase = 'out'
  }
}

export class ConsumerClient extends SimulatedClient {
  #assigned: Spot[] = []
  #says: 'all' | 'owned' | 'nothing' = 'all'
  readonly byPattern: boolean

  /** @param byPattern it subscribes by a pattern instead of names */
  constructor(world: World, memberId: string, topics: string[], instanceId: string | null, byPattern: boolean) {
    super(world, topics, instanceId)
    this.memberId = memberId
    this.byPattern = byPattern
    this.epoch = 0
  }

  get isSettled(): boolean {
    return this.epoch > 0 && this.#says === 'nothing' && this.#assigned.length === this.owned.size
  }

  act(orderly: boolean): void {
    const { random } = this.world
    if (this.epoch === 0) this.#heartbeat()
    else if (!orderly && random.chance(0.05)) this.#leave()
    else if (random.chance(0.3)) this.commit()
    else {
      if (orderly || random.chance(0.7)) this.#follow()
      // Clients may say everything again at any time, before they have followed as well.
      else if (random.chance(0.3)) this.#says = 'all'
      this.#heartbeat()
    }
  }

  lastWords(): (() => void) | undefined {
    const { world, topics, instanceId, memberId } = this
    const ghost = new ConsumerClient(world, memberId, topics, instanceId, this.byPattern)
    ghost.epoch = this.epoch
    for (const [spot, offset] of this.owned) ghost.owned.set(spot, offset)
    return world.random.pick([() => ghost.commit(), () => ghost.#heartbeat(), () => ghost.#leave()])
  }

  /** Gives up what it is not assigned any more, and takes what it is. */
  #follow(): void {
    const before = this.owned.size
    const isSame = before === this.#assigned.length && this.#assigned.every(spot => this.owned.has(spot))
    if (isSame) return
    this.own(this.#assigned)
    if (this.#says === 'nothing') this.#says = 'owned'
  }

  #heartbeat(): void {
    const isJoining = this.epoch === 0
    const saysAll = isJoining || this.#says === 'all'
    const request = beat(this.memberId, this.epoch, {
      instanceId: this.instanceId,
      rebalanceTimeoutMs: saysAll ? 20_000 : -1,
      subscribedTopicNames: saysAll ? (this.byPattern ? [] : this.topics) : null,
      subscribedTopicRegex: saysAll ? (this.byPattern ? this.topics.join('|') || 'none' : '') : null,
      topicPartitions: isJoining ? [] : this.#says === 'nothing' ? null : toTopics(this.owned.keys()),
    })
    this.request(request, (answer, refused) => {
      if (answer?.type !== 'ConsumerGroupHeartbeat') {
        this.onRefused(refused)
        return
      }
      this.epoch = answer.memberEpoch
      this.#says = 'nothing'
      if (answer.assignment !== null) this.#assigned = this.#spots(answer.assignment)
    })
  }

  #spots(assignment: readonly TopicPartitions[]): Spot[] {
    return assignment.flatMap(({ topicId, partitions }) =>
      partitions.map(partition => `${this.world.topicName(topicId)}-${partition}`),
    )
  }

  #leave(): void {
    const epoch = this.instanceId === null || this.world.random.chance(0.3) ? -1 : -2
    this.isOver = true
    this.owned.clear()
    this.request(beat(this.memberId, epoch, { instanceId: this.instanceId }), () => {})
  }

  protected onRefused(code: ErrorCode | 'lost' | undefined): void {
    if (code === undefined || code === 'UNRELEASED_INSTANCE_ID') return
    if (code === 'lost' || code === 'STALE_MEMBER_EPOCH') {
      this.#says = 'all'
      return
    }
    this.owned.clear()
    this.#assigned = []
    this.#says = 'all'
    this.epoch = 0
    if (code === 'FENCED_INSTANCE_ID') this.isOver = true
  }
}

function toNamed(spots: Iterable<Spot>): NamedPartitions[] {
  const topics = new Map<string, number[]>()
  for (const spot of spots) {
    const [topic, partition] = spot.split('-') as [string, string]
    topics.set(topic, [...(topics.get(topic) ?? []), Number(partition)])
  }
  return [...topics].map(([topic, partitions]) => ({ topic, partitions }))
}

function toTopics(spots: Iterable<Spot>): TopicPartitions[] {
  return toNamed(spots).map(({ topic, partitions }) => ({ topicId: topicIdOf(topic), partitions }))
}

function toSpots(named: readonly NamedPartitions[]): Spot[] {
  return named.flatMap(({ topic, partitions }) => partitions.map(partition => `${topic}-${partition}`))
}
