/**
 * A group of the classic protocol: its members, state and generation, and what follows from them. It answers nobody and sets
 * no deadlines; `join.ts`, `rebalance.ts` and `requests.ts` do.
 *
 * Invariants: a leader is a member; an instance id belongs to one member; `empty` means no members; a member that is
 * pending is not a member yet.
 */
import { invariant } from '../../base/invariant.ts'
import type { StoredClassicGroup, StoredClassicMember } from '../../store/groups.ts'
import { CONSUMER_PROTOCOL_TYPE, decodeSubscription } from '../consumer-protocol.ts'
import { Deadline } from '../deadlines.ts'
import { type Due, type Effects, refusal } from '../effects.ts'
import type { Protocol } from '../requests.ts'
import type { ClassicState } from './cases.ts'
import { ClassicMember } from './member.ts'

export class ClassicGroup {
  readonly type = 'classic'
  readonly groupId: string
  readonly members = new Map<string, ClassicMember>()
  /** Ids that were given out and did not join yet; each has its time. */
  readonly pending = new Map<string, Deadline<Due>>()
  /** Members of this generation that did not ask for their assignment yet. */
  readonly awaitingSync = new Set<string>()
  readonly joinDeadline: Deadline<Due>
  readonly syncDeadline: Deadline<Due>
  state: ClassicState = 'empty'
  /** The rebalance that is being prepared is the first after the group was empty, so it waits for more members. */
  isInitialRebalance = false
  /** A member came since the last extension of that wait. */
  hasNewMember = false
  /** What is left of that wait behind its current part. */
  initialRemainingMs = 0
  generationId = 0
  protocolType: string | null = null
  protocolName: string | null = null
  leaderId: string | null = null
  stateSinceMs: number
  /** Offsets were committed, so the group is kept without members. */
  hasOffsets = false
  readonly #instances = new Map<string, string>()
  readonly #stored = new Set<string>()

  constructor(groupId: string, nowMs: number) {
    this.groupId = groupId
    this.stateSinceMs = nowMs
    this.joinDeadline = new Deadline({ kind: 'join', groupId, memberId: '' })
    this.syncDeadline = new Deadline({ kind: 'sync', groupId, memberId: '' })
  }

  transition(state: ClassicState, nowMs: number): void {
    invariant((state === 'empty') === (this.members.size === 0), 'a group is empty when it has no members')
    this.state = state
    this.stateSinceMs = nowMs
  }

  /** The member with this instance id; undefined when there is none. */
  staticMember(instanceId: string): ClassicMember | undefined {
    const memberId = this.#instances.get(instanceId)
    return memberId === undefined ? undefined : this.members.get(memberId)
  }

  /** @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID */
  memberOf(memberId: string, instanceId: string | null): ClassicMember {
    const details = { groupId: this.groupId, memberId }
    if (instanceId !== null) {
      const holder = this.#instances.get(instanceId)
      if (holder === undefined) throw refusal('UNKNOWN_MEMBER_ID', { ...details, instanceId })
      if (holder !== memberId) throw refusal('FENCED_INSTANCE_ID', { ...details, instanceId })
    }
    const member = this.members.get(memberId)
    if (member === undefined) throw refusal('UNKNOWN_MEMBER_ID', details)
    return member
  }

  add(member: ClassicMember, protocolType: string): void {
    if (this.members.size === 0) this.protocolType = protocolType
    invariant(!this.members.has(member.memberId) && !this.pending.has(member.memberId), 'a member joins once')
    this.members.set(member.memberId, member)
    if (member.instanceId !== null) {
      invariant(!this.#instances.has(member.instanceId), 'an instance id belongs to one member')
      this.#instances.set(member.instanceId, member.memberId)
    }
    this.leaderId ??= member.memberId
  }

  /** Forgets a member; the caller answers what it had waiting. */
  remove(member: ClassicMember): void {
    this.members.delete(member.memberId)
    this.awaitingSync.delete(member.memberId)
    if (member.instanceId !== null) this.#instances.delete(member.instanceId)
    if (this.leaderId === member.memberId) this.leaderId = this.members.keys().next().value ?? null
  }

  /** The new process has the place, and the assignment, of the old one. */
  replace(old: ClassicMember, heir: ClassicMember): void {
    const wasLeader = this.leaderId === old.memberId
    this.remove(old)
    heir.assignment = old.assignment
    this.add(heir, this.protocolType as string)
    if (wasLeader) this.leaderId = heir.memberId
  }

  /** Some protocol of the joining member is known to all that are there; an empty group takes any. */
  supports(protocolType: string, protocols: readonly Protocol[]): boolean {
    if (protocolType === '' || protocols.length === 0) return false
    if (this.members.size === 0) return true
    return protocolType === this.protocolType && protocols.some(({ name }) => this.#isCommon(name))
  }

  /** Every member votes for the first of its protocols that all know; of several with equal votes, the one that was voted for first. */
  selectProtocol(): string {
    const votes = new Map<string, number>()
    const common = new Map<string, boolean>()
    for (const { terms } of this.members.values()) {
      const choice = terms.protocols.find(({ name }) => {
        const known = common.get(name) ?? this.#isCommon(name)
        common.set(name, known)
        return known
      })
      invariant(choice !== undefined, 'members of a group have a protocol in common')
      votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1)
    }
    let [winner, most] = ['', 0]
    for (const [name, count] of votes) if (count > most) [winner, most] = [name, count]
    return winner
  }

  #isCommon(protocolName: string): boolean {
    for (const { terms } of this.members.values()) {
      if (!terms.protocols.some(({ name }) => name === protocolName)) return false
    }
    return true
  }

  get joiningCount(): number {
    let count = 0
    for (const { joinToken } of this.members.values()) if (joinToken !== undefined) count++
    return count
  }

  get haveAllJoined(): boolean {
    return this.pending.size === 0 && this.joiningCount === this.members.size
  }

  /** The longest that any member may take to join. */
  get rebalanceTimeoutMs(): number {
    let longestMs = 0
    for (const { terms } of this.members.values()) longestMs = Math.max(longestMs, terms.rebalanceTimeoutMs)
    return longestMs
  }

  /** If the leader did not join, the first that did takes its place. False when nobody joined. */
  electLeader(): boolean {
    if (this.leaderId === null) return false
    if (this.members.get(this.leaderId)?.joinToken !== undefined) return true
    for (const member of this.members.values()) {
      if (member.joinToken === undefined) continue
      this.leaderId = member.memberId
      return true
    }
    return false
  }

  nextGeneration(nowMs: number): void {
    this.generationId++
    this.awaitingSync.clear()
    const isEmpty = this.members.size === 0
    this.protocolName = isEmpty ? null : this.selectProtocol()
    this.transition(isEmpty ? 'empty' : 'completing-rebalance', nowMs)
  }

  /** What the leader needs in order to assign. */
  subscriptions(): { memberId: string; instanceId: string | null; metadata: Uint8Array }[] {
    return [...this.members.values()].map(member => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      metadata: member.metadata(this.protocolName),
    }))
  }

  /** Whether a member of a stable group of consumers subscribes to the topic; undefined where that cannot be known. */
  isSubscribedTo(topic: string): boolean | undefined {
    if (this.members.size === 0) return false
    if (this.protocolType !== CONSUMER_PROTOCOL_TYPE || this.protocolName === null) return undefined
    for (const member of this.members.values()) {
      const subscription = decodeSubscription(member.metadata(this.protocolName))
      if (subscription === undefined) return undefined
      if (subscription.topics.includes(topic)) return true
    }
    return false
  }

  /**
   * Hands over the group as it is now: its header, all its members, and those that are no longer there.
   * @param leaderId null: the members are to rebalance, and who loads the group has to see to it
   */
  store(effects: Effects, leaderId = this.leaderId): void {
    const removed = [...this.#stored].filter(memberId => !this.members.has(memberId))
    this.#stored.clear()
    for (const memberId of this.members.keys()) this.#stored.add(memberId)
    const { protocolType, protocolName, generationId, stateSinceMs } = this
    const group: StoredClassicGroup = {
      type: 'classic',
      protocolType,
      protocolName,
      generationId,
      leaderId,
      stateSinceMs,
    }
    const members = [...this.members.values()].map(member => member.store())
    effects.write({ type: 'store-group', groupId: this.groupId, group, members, removed })
  }

  /** Ids of the members that the store has; for a group that another one replaces. */
  get storedMemberIds(): Iterable<string> {
    return this.#stored
  }

  /** The store has these members, of a group that this one replaces. */
  inherit(memberIds: Iterable<string>): void {
    for (const memberId of memberIds) this.#stored.add(memberId)
  }

  /** As it was when it was last stable, or empty. */
  static load(groupId: string, stored: StoredClassicGroup, members: readonly StoredClassicMember[]): ClassicGroup {
    const group = new ClassicGroup(groupId, stored.stateSinceMs)
    for (const entry of members) {
      group.add(ClassicMember.load(groupId, entry), stored.protocolType ?? '')
      group.#stored.add(entry.memberId)
    }
    group.protocolType = stored.protocolType
    group.protocolName = stored.protocolName
    group.generationId = stored.generationId
    if (stored.leaderId !== null && group.members.has(stored.leaderId)) group.leaderId = stored.leaderId
    group.state = members.length === 0 ? 'empty' : 'stable'
    return group
  }
}
