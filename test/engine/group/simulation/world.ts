/**
 * A group with its clients, its store and its clock, all from one seed. The coordinator is the real one; the store is a map
 * through JSON; clients are models. After each step the world is checked; at the end chaos stops and the group has to come to
 * rest with everything assigned.
 */
import type { TopicId } from '../../../../engine/base/brands.ts'
import type { ErrorCode, ErrorData } from '../../../../engine/base/errors.ts'
import { Random } from '../../../../engine/base/random.ts'
import type { Action, Answer } from '../../../../engine/group/actions.ts'
import { GROUP_DEFAULTS, type GroupConfig } from '../../../../engine/group/config.ts'
import { GroupMachine } from '../../../../engine/group/machine.ts'
import type { GroupRequest, OffsetToCommit } from '../../../../engine/group/requests.ts'
import type { StoredGroup, StoredMember } from '../../../../engine/store/groups.ts'
import { GROUP, topicIdOf } from '../support/coordinator.ts'

export type WithoutToken = GroupRequest extends infer R ? (R extends unknown ? Omit<R, 'token'> : never) : never

/** What a client does with an answer; `lost` when it never comes. */
export type Listener = (answer: Answer | undefined, refused: ErrorCode | 'lost' | undefined, memberId: string) => void

/** A partition as text, `t0-3`. */
export type Spot = string

export class World {
  readonly random: Random
  readonly config: GroupConfig
  readonly topics = new Map<string, number>()
  readonly committed = new Map<Spot, number>()
  /** How many of the answers never arrive. */
  lossRate = 0
  machine: GroupMachine
  nowMs = 0
  steps = 0
  restarts = 0
  #stored: { group: StoredGroup; members: Map<string, string> } | undefined
  #hasOffsets = false
  #topicsVersion = 0
  #sender = ''
  readonly #committers = new Map<Spot, string>()
  #tokens = 0
  #ids = 0
  readonly #listeners = new Map<number, Listener>()
  /** Who was given what, by generation of the classic protocol. */
  readonly #given = new Map<string, string>()

  constructor(seed: number) {
    this.random = new Random(seed)
    const { random } = this
    this.config = {
      ...GROUP_DEFAULTS,
      initialRebalanceDelayMs: random.pick([0, 1_000, 3_000]),
      consumerAssignors: random.pick([['uniform', 'range'], ['range']]),
    }
    this.machine = this.#newMachine()
    for (let topic = random.between(1, 3); topic > 0; topic--) this.grow(`t${topic}`, random.between(1, 5))
  }

  grow(name: string, partitions: number): void {
    this.topics.set(name, partitions)
    this.#topicsVersion++
    this.#announce(name)
  }

  /** Sends a request. An answer that is lost is one that the client stopped waiting for. */
  send(request: WithoutToken, listener: Listener): number {
    const token = ++this.#tokens
    const isLost = this.lossRate > 0 && this.random.chance(this.lossRate)
    this.#listeners.set(token, isLost ? () => {} : listener)
    this.#sender = 'memberId' in request ? (request.memberId ?? '') : ''
    this.#carryOut(this.machine.handle({ ...request, token } as GroupRequest, this.#now))
    if (isLost) listener(undefined, 'lost', '')
    return token
  }

  /** The client gives up waiting; the coordinator does not know. */
  abandon(token: number): void {
    const listener = this.#listeners.get(token)
    if (listener === undefined) return
    this.#listeners.set(token, () => {})
    listener(undefined, 'lost', '')
  }

  advance(ms: number): void {
    const endMs = this.nowMs + ms
    for (let dueMs = this.machine.nextDeadlineMs; dueMs <= endMs; dueMs = this.machine.nextDeadlineMs) {
      this.nowMs = Math.max(this.nowMs, dueMs)
      this.#carryOut(this.machine.handle({ type: 'Tick' }, this.#now))
    }
    this.nowMs = endMs
  }

  /** The coordinator dies, and another takes over what was stored. What waited is lost. */
  restart(): void {
    this.restarts++
    this.machine = this.#newMachine()
    for (const name of this.topics.keys()) this.#announce(name)
    if (this.#stored !== undefined || this.#hasOffsets) {
      const members = [...(this.#stored?.members.values() ?? [])].map(text => JSON.parse(text) as StoredMember)
      this.machine.load(GROUP, this.#stored?.group, members, this.#now)
    }
    const waiting = [...this.#listeners.values()]
    this.#listeners.clear()
    for (const listener of waiting) listener(undefined, 'lost', '')
  }

  get openRequests(): number {
    return this.#listeners.size
  }

  /**
   * A member of a classic group was given these in a generation: nobody else may have been.
   * @param memberId the instance id of a static member, because its member id may change within a generation
   */
  noteGiven(generationId: number, memberId: string, spots: Iterable<Spot>): void {
    for (const spot of spots) {
      const key = `${generationId} ${spot}`
      const holder = this.#given.get(key) ?? memberId
      if (holder !== memberId) throw new Error(`${spot} is given to ${holder} and ${memberId} in ${generationId}`)
      this.#given.set(key, memberId)
    }
  }

  /** Rises with every change of the topics. */
  get topicsVersion(): number {
    return this.#topicsVersion
  }

  /** The generation or epoch of a member, as the coordinator has it; undefined for one that it does not know. */
  epochOf(memberId: string): number | undefined {
    const group = this.machine.group(GROUP)
    if (group?.type === 'consumer') return group.members.get(memberId)?.memberEpoch
    return group?.members.has(memberId) ? group.generationId : undefined
  }

  topicName(topicId: TopicId): string {
    for (const name of this.topics.keys()) if (topicIdOf(name) === topicId) return name
    throw new Error(`no topic has the id ${topicId}`)
  }

  #carryOut(actions: readonly Action[]): void {
    for (const action of actions) {
      switch (action.type) {
        case 'store-group': {
          const members = this.#stored?.members ?? new Map<string, string>()
          for (const memberId of action.removed) members.delete(memberId)
          for (const member of action.members) members.set(member.memberId, JSON.stringify(member))
          this.#stored = { group: action.group, members }
          break
        }
        case 'commit-offsets':
          this.#hasOffsets = true
          for (const offset of action.offsets) this.#commit(offset)
          break
        case 'delete-group':
        case 'delete-offsets':
          throw new Error('nobody asked for that')
        case 'reply':
          this.#answer(action.token, action.answer, undefined)
          break
        case 'refuse':
          this.#answer(action.token, undefined, action.error)
          break
      }
    }
  }

  #commit({ topicId, partition, offset }: OffsetToCommit): void {
    const spot = `${this.topicName(topicId)}-${partition}`
    const owner = this.#ownerOf(topicId, partition, spot)
    if (owner !== undefined && owner !== this.#sender) {
      throw new Error(`a commit of ${spot} by ${this.#sender} is taken, which ${owner} owns`)
    }
    const before = this.committed.get(spot) ?? 0
    // A member's own commits may overtake each other; that is its own business.
    if (offset < before && this.#committers.get(spot) !== this.#sender) {
      throw new Error(`${spot} is moved back from ${before} to ${offset} by ${this.#sender}`)
    }
    this.committed.set(spot, offset)
    this.#committers.set(spot, this.#sender)
  }

  /** Who owns a partition, as far as the coordinator knows; undefined where nobody does or it does not know. */
  #ownerOf(topicId: TopicId, partition: number, spot: Spot): string | undefined {
    const group = this.machine.group(GROUP)
    if (group?.type === 'consumer') return group.ownerOf(topicId, partition)?.memberId
    const holder = this.#given.get(`${group?.generationId} ${spot}`)
    return (holder === undefined ? undefined : group?.staticMember(holder)?.memberId) ?? holder
  }

  #answer(token: number, answer: Answer | undefined, refused: ErrorData | undefined): void {
    const listener = this.#listeners.get(token)
    if (listener === undefined) throw new Error(`request ${token} is answered twice`)
    this.#listeners.delete(token)
    listener(answer, refused?.code, String(refused?.details['memberId'] ?? ''))
  }

  #announce(name: string): void {
    const partitions = this.topics.get(name) as number
    const changed = [{ name, topicId: topicIdOf(name), partitions }]
    this.#carryOut(this.machine.handle({ type: 'TopicsChanged', changed, removed: [] }, this.#now))
  }

  #newMachine(): GroupMachine {
    return new GroupMachine(this.config, () => `id${++this.#ids}`)
  }

  get #now() {
    return { monotonicMs: this.nowMs, wallMs: this.nowMs }
  }
}
