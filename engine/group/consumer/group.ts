/**
 * A group of KIP-848: members, epochs, and who owns which partition. The group epoch rises with every change of members,
 * subscriptions or topics; the target is computed for an epoch (the assignment epoch); each member follows it in its own
 * time and has the epoch that it reached.
 *
 * Invariant: a partition has one owner at most, from the moment it is assigned until the owner confirmed that it gave it up
 * or is out of the group. `owners` holds that for all members together, and stops on a breach.
 */
import type { TopicId } from '../../base/brands.ts'
import { invariant } from '../../base/invariant.ts'
import type { StoredConsumerGroup, StoredConsumerMember, StoredMember } from '../../store/groups.ts'
import type { Deadline } from '../deadlines.ts'
import { type Due, type Effects, refusal } from '../effects.ts'
import type { PartitionSet } from '../partition-set.ts'
import { TopicPattern } from '../topic-pattern.ts'
import { ConsumerMember, type CurrentAssignment } from './member.ts'
import { SubscriptionCache } from './subscribed-topics.ts'

export type ConsumerGroupState = 'Empty' | 'Assigning' | 'Reconciling' | 'Stable'

export class ConsumerGroup {
  readonly type = 'consumer'
  readonly groupId: string
  readonly members = new Map<string, ConsumerMember>()
  /** Ids that were given to members of the classic protocol and did not join yet; each has its time. */
  readonly pending = new Map<string, Deadline<Due>>()
  groupEpoch = 0
  assignmentEpoch = 0
  assignorName = ''
  stateSinceMs: number
  /** Of the topics when the subscriptions were last looked at; -1 for never. */
  topicsVersion = -1
  /** What the subscribed topics looked like then. */
  topicsDigest = ''
  readonly subscriptions = new SubscriptionCache()
  readonly #instances = new Map<string, string>()
  readonly #owners = new Map<TopicId, Map<number, ConsumerMember>>()
  readonly #patterns = new Map<string, TopicPattern>()
  readonly #changed = new Set<string>()
  readonly #removed = new Set<string>()
  #headerChanged = false

  constructor(groupId: string, nowMs: number) {
    this.groupId = groupId
    this.stateSinceMs = nowMs
  }

  get state(): ConsumerGroupState {
    if (this.members.size === 0) return 'Empty'
    if (this.groupEpoch > this.assignmentEpoch) return 'Assigning'
    for (const member of this.members.values()) {
      if (!member.isReconciledTo(this.assignmentEpoch)) return 'Reconciling'
    }
    return 'Stable'
  }

  /** @throws UNKNOWN_MEMBER_ID */
  member(memberId: string): ConsumerMember {
    const member = this.members.get(memberId)
    if (member === undefined) throw refusal('UNKNOWN_MEMBER_ID', { groupId: this.groupId, memberId })
    return member
  }

  staticMember(instanceId: string): ConsumerMember | undefined {
    const memberId = this.#instances.get(instanceId)
    return memberId === undefined ? undefined : this.members.get(memberId)
  }

  /** The member that a request names. @throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID */
  memberOf(memberId: string, instanceId: string | null): ConsumerMember {
    if (instanceId === null) return this.member(memberId)
    const details = { groupId: this.groupId, memberId, instanceId }
    const member = this.staticMember(instanceId)
    if (member === undefined) throw refusal('UNKNOWN_MEMBER_ID', details)
    if (member.memberId !== memberId) throw refusal('FENCED_INSTANCE_ID', details)
    return member
  }

  add(member: ConsumerMember): void {
    invariant(!this.members.has(member.memberId), 'a member joins once')
    this.members.set(member.memberId, member)
    if (member.instanceId !== null) this.#instances.set(member.instanceId, member.memberId)
    this.#removed.delete(member.memberId)
    this.touch(member)
  }

  /** Forgets a member; what it owned is free. */
  remove(member: ConsumerMember): void {
    this.#disown(member, member.current)
    this.members.delete(member.memberId)
    if (member.instanceId !== null) this.#instances.delete(member.instanceId)
    this.#changed.delete(member.memberId)
    this.#removed.add(member.memberId)
  }

  /** A new process has the place of a static member, with its target and what it owned. */
  replace(old: ConsumerMember, heir: ConsumerMember): void {
    const { assigned, pendingRevocation } = old.current
    this.remove(old)
    heir.target = old.target
    this.add(heir)
    this.setCurrent(heir, { memberEpoch: 0, state: 'stable', assigned, pendingRevocation })
  }

  setSubscription(member: ConsumerMember, subscription: ConsumerMember['subscription']): void {
    invariant(member.instanceId === subscription.instanceId, 'a member keeps its instance id')
    member.subscription = subscription
    this.touch(member)
  }

  /** Gives a member what it has from now on, and moves the ownership of partitions with it. */
  setCurrent(member: ConsumerMember, next: CurrentAssignment): void {
    this.#disown(member, member.current)
    member.advance(next)
    this.#own(member, next.assigned)
    this.#own(member, next.pendingRevocation)
    this.touch(member)
  }

  /** Who owns a partition or did not give it up yet; undefined when it is free. */
  ownerOf(topicId: TopicId, partition: number): ConsumerMember | undefined {
    return this.#owners.get(topicId)?.get(partition)
  }

  /** The last member went; nothing is left to assign, so the target is up to date. */
  becomeEmpty(nowMs: number): void {
    this.stateSinceMs = nowMs
    this.setAssignmentEpoch(this.groupEpoch, this.assignorName)
  }

  bumpGroupEpoch(): void {
    this.groupEpoch++
    this.#headerChanged = true
  }

  setAssignmentEpoch(epoch: number, assignorName: string): void {
    this.assignmentEpoch = epoch
    this.assignorName = assignorName
    this.#headerChanged = true
  }

  /** The member is to be stored. */
  touch(member: ConsumerMember): void {
    this.#changed.add(member.memberId)
  }

  /** The pattern, compiled once for the group. @throws INVALID_REGULAR_EXPRESSION */
  pattern(text: string): TopicPattern {
    const known = this.#patterns.get(text)
    if (known !== undefined) return known
    const pattern = new TopicPattern(text)
    this.#patterns.set(text, pattern)
    return pattern
  }

  /** @throws INVALID_REGULAR_EXPRESSION */
  checkPattern(text: string): void {
    if (!this.#patterns.has(text)) new TopicPattern(text)
  }

  /** Forgets patterns that no member has any more. */
  prunePatterns(): void {
    const used = new Set([...this.members.values()].map(member => member.subscription.topicRegex))
    for (const text of this.#patterns.keys()) if (!used.has(text)) this.#patterns.delete(text)
    this.subscriptions.clear()
  }

  /** All topics that some member is subscribed to, by name. */
  isSubscribedTo(topic: string): boolean {
    for (const { subscription } of this.members.values()) {
      if (subscription.topicNames.includes(topic)) return true
      if (subscription.topicRegex !== '' && this.pattern(subscription.topicRegex).matches(topic)) return true
    }
    return false
  }

  /** Hands over what changed since the last time. */
  store(effects: Effects): void {
    if (!this.#headerChanged && this.#changed.size === 0 && this.#removed.size === 0) return
    const members: StoredMember[] = []
    for (const memberId of this.#changed) {
      const member = this.members.get(memberId)
      if (member !== undefined) members.push(member.store())
    }
    const { groupEpoch, assignmentEpoch, assignorName, topicsDigest, stateSinceMs } = this
    const header = { groupEpoch, assignmentEpoch, assignorName, topicsDigest, stateSinceMs }
    const group: StoredConsumerGroup = { type: 'consumer', ...header }
    effects.write({ type: 'store-group', groupId: this.groupId, group, members, removed: [...this.#removed] })
    this.#headerChanged = false
    this.#changed.clear()
    this.#removed.clear()
  }

  /** The store has these members, of a group that this one replaces. */
  inherit(memberIds: Iterable<string>): void {
    for (const memberId of memberIds) if (!this.members.has(memberId)) this.#removed.add(memberId)
  }

  /** Ids of the members that the store has; for a group that another one replaces. */
  get storedMemberIds(): Iterable<string> {
    return [...this.members.keys(), ...this.#removed]
  }

  #own(member: ConsumerMember, partitions: PartitionSet): void {
    partitions.forEach((topicId, partition) => {
      let owners = this.#owners.get(topicId)
      if (owners === undefined) {
        owners = new Map()
        this.#owners.set(topicId, owners)
      }
      invariant(!owners.has(partition), 'a partition has one owner at most')
      owners.set(partition, member)
    })
  }

  #disown(member: ConsumerMember, { assigned, pendingRevocation }: CurrentAssignment): void {
    for (const partitions of [assigned, pendingRevocation]) {
      partitions.forEach((topicId, partition) => {
        const owners = this.#owners.get(topicId)
        invariant(owners?.get(partition) === member, 'a partition is taken from its owner')
        owners.delete(partition)
        if (owners.size === 0) this.#owners.delete(topicId)
      })
    }
  }

  static load(groupId: string, stored: StoredConsumerGroup, members: readonly StoredConsumerMember[]): ConsumerGroup {
    const group = new ConsumerGroup(groupId, stored.stateSinceMs)
    for (const entry of members) {
      const member = ConsumerMember.load(groupId, entry)
      group.add(member)
      group.#own(member, member.current.assigned)
      group.#own(member, member.current.pendingRevocation)
    }
    group.groupEpoch = stored.groupEpoch
    group.assignmentEpoch = stored.assignmentEpoch
    group.assignorName = stored.assignorName
    group.topicsDigest = stored.topicsDigest
    group.#changed.clear()
    return group
  }
}
