/**
 * The group coordinator as a pure state machine: an event and the time go in, actions come out. It reads no clock, keeps no
 * timer, does no I/O; the shell around it calls `handle` for each request, and with `Tick` when `nextDeadlineMs` is reached.
 *
 * Groups live here as long as they have members, ids that are pending, or offsets. A group that is none of that is dead and
 * forgotten. Every token is answered exactly once.
 */
import type { TopicId } from '../base/brands.ts'
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { StoredGroup, StoredMember } from '../store/groups.ts'
import type { Action } from './actions.ts'
import { ClassicGroup } from './classic/group.ts'
import { joinClassic } from './classic/join.ts'
import { joinTimeIsOver, prepareRebalance, syncTimeIsOver } from './classic/rebalance.ts'
import { checkCommitClassic, heartbeatClassic, leaveClassic, sessionIsOver, syncClassic } from './classic/requests.ts'
import { checkCommitConsumer, checkFetchConsumer } from './commits.ts'
import type { GroupConfig } from './config.ts'
import { heartbeatAsClassic, joinAsClassic, leaveAsClassic, syncAsClassic } from './consumer/classic-members.ts'
import { ConsumerGroup } from './consumer/group.ts'
import { checkHeartbeat, heartbeatConsumer, leaveConsumer } from './consumer/heartbeat.ts'
import { fenceMember } from './consumer/membership.ts'
import { describeClassic, describeConsumer, listed } from './describe.ts'
import { type Due, Effects, type Instant, refusal, refusalData } from './effects.ts'
import { checkIds } from './ids.ts'
import { downgrade, dropClassic, dropConsumer, finishUpgrade, mayDowngrade, upgraded } from './migration.ts'
import type {
  ConsumerGroupHeartbeat,
  GroupRequest,
  JoinGroup,
  OffsetCommit,
  OffsetDelete,
  Tick,
  TopicsChanged,
} from './requests.ts'
import { TopicDirectory } from './topic-directory.ts'

type Group = ClassicGroup | ConsumerGroup

export class GroupMachine {
  readonly #groups = new Map<string, Group>()
  readonly #topics = new TopicDirectory()
  readonly #effects: Effects
  readonly #isQueue: (groupId: string) => boolean

  /**
   * @param newId gives a new unique text each time, for member ids
   * @param isQueue true for the id of a group of another kind, which is not to be created here as well
   */
  constructor(config: GroupConfig, newId: () => string, isQueue: (groupId: string) => boolean = () => false) {
    this.#effects = new Effects(config, this.#topics, newId)
    this.#isQueue = isQueue
  }

  /** When `handle` has to be called at the latest; Infinity when nothing is due. */
  get nextDeadlineMs(): number {
    return this.#effects.deadlines.nextMs()
  }

  /** The group, to look at; undefined when it is not there. */
  group(groupId: string): ClassicGroup | ConsumerGroup | undefined {
    return this.#groups.get(groupId)
  }

  /**
   * Carries out what became due, then the event.
   * @param now not before that of the last call
   */
  handle(event: GroupRequest | TopicsChanged | Tick, now: Instant): Action[] {
    const effects = this.#effects
    this.#setTime(now)
    for (;;) {
      const due = effects.deadlines.takeDue(now.monotonicMs)
      if (due === undefined) break
      this.#expire(due)
    }
    if (event.type === 'TopicsChanged') this.#topics.apply(event)
    else if (event.type !== 'Tick') this.#request(event)
    return effects.take()
  }

  /**
   * Takes over a group as it was stored. Its members have their session timeout to be heard from.
   * @param stored undefined for a group of which only offsets are stored
   */
  load(groupId: string, stored: StoredGroup | undefined, members: readonly StoredMember[], now: Instant): void {
    const effects = this.#effects
    invariant(!this.#groups.has(groupId), 'a group is loaded once')
    this.#setTime(now)
    if (stored?.type === 'consumer') {
      const group = ConsumerGroup.load(
        groupId,
        stored,
        members.filter(member => member.type === 'consumer'),
      )
      for (const { session, rebalance, current, subscription } of group.members.values()) {
        effects.schedule(session, subscription.classic?.sessionTimeoutMs ?? effects.config.consumerSessionTimeoutMs)
        if (current.state === 'unrevoked' && subscription.classic === null)
          effects.schedule(rebalance, subscription.rebalanceTimeoutMs)
      }
      this.#groups.set(groupId, group)
      return
    }
    const group =
      stored === undefined
        ? new ClassicGroup(groupId, now.wallMs)
        : ClassicGroup.load(
            groupId,
            stored,
            members.filter(member => member.type === 'classic'),
          )
    for (const { session, terms } of group.members.values()) effects.schedule(session, terms.sessionTimeoutMs)
    group.hasOffsets = true
    this.#groups.set(groupId, group)
    // The rebalance that begins as the last member of the new protocol leaves: nobody else would ask for it again.
    if (stored?.leaderId === null && group.members.size > 0) prepareRebalance(effects, group)
  }

  /** Forgets a group in order to load it anew; what waits for it is refused with COORDINATOR_NOT_AVAILABLE. */
  unload(groupId: string): Action[] {
    const group = this.#groups.get(groupId)
    if (group?.type === 'classic') dropClassic(this.#effects, group, 'COORDINATOR_NOT_AVAILABLE')
    else if (group !== undefined) dropConsumer(this.#effects, group)
    this.#groups.delete(groupId)
    return this.#effects.take()
  }

  /** Forgets a group that has neither members nor ids that are pending; false where it has. */
  dropIfEmpty(groupId: string): boolean {
    const group = this.#groups.get(groupId)
    const isEmpty = group === undefined || (group.members.size === 0 && group.pending.size === 0)
    if (isEmpty) this.#groups.delete(groupId)
    return isEmpty
  }

  /** Undefined for a topic that does not exist. */
  topicName(topicId: TopicId): string | undefined {
    return this.#topics.withId(topicId)?.name
  }

  groupIds(): string[] {
    return [...this.#groups.keys()]
  }

  #setTime(now: Instant): void {
    invariant(now.monotonicMs >= this.#effects.now.monotonicMs, 'time does not go back')
    this.#effects.now = now
  }

  #request(request: GroupRequest): void {
    try {
      if (request.type === 'ListGroups') {
        this.#effects.reply(request.token, { type: 'ListGroups', groups: [...this.#groups.values()].map(listed) })
        return
      }
      checkIds(request)
      this.#dispatch(request)
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
      this.#effects.refuseWith(request.token, refusalData(error))
    }
    if (request.type !== 'ListGroups') this.#settle(request.groupId)
  }

  #dispatch(request: Exclude<GroupRequest, { type: 'ListGroups' }>): void {
    const effects = this.#effects
    const { groupId, token } = request
    const group = this.#groups.get(groupId)
    if (group === undefined) this.#demandMayCreate(request)
    switch (request.type) {
      case 'JoinGroup':
        this.#join(group, request)
        break
      case 'SyncGroup':
        if (group === undefined) throw unknownMember(request)
        if (group.type === 'classic') syncClassic(effects, group, request)
        else syncAsClassic(effects, group, request)
        break
      case 'Heartbeat':
        if (group === undefined) throw unknownMember(request)
        if (group.type === 'classic') heartbeatClassic(effects, group, request)
        else heartbeatAsClassic(effects, group, request)
        break
      case 'LeaveGroup':
        if (group === undefined) throw refusal('UNKNOWN_MEMBER_ID', { groupId })
        if (group.type === 'classic') leaveClassic(effects, group, request)
        else leaveAsClassic(effects, group, request)
        break
      case 'ConsumerGroupHeartbeat':
        this.#heartbeat(group, request)
        break
      case 'OffsetCommit':
        this.#commit(group, request)
        break
      case 'OffsetFetch':
        if (group?.type === 'consumer') checkFetchConsumer(group, request)
        effects.reply(token, { type: 'OffsetFetch' })
        break
      case 'OffsetDelete':
        this.#deleteOffsets(group, request)
        break
      case 'DeleteGroup':
        this.#deleteGroup(group, groupId, token)
        break
      case 'DescribeGroup':
        if (group?.type !== 'classic') throw notFound(groupId, group, 'not a classic group')
        effects.reply(token, describeClassic(group))
        break
      case 'ConsumerGroupDescribe':
        if (group?.type !== 'consumer') throw notFound(groupId, group, 'not a consumer group')
        effects.reply(token, describeConsumer(group))
        break
    }
  }

  /** A request that would create its group: an id is of one kind of group only, and groups have to end somewhere. */
  #demandMayCreate(request: Exclude<GroupRequest, { type: 'ListGroups' }>): void {
    const { groupId, type } = request
    if (type !== 'JoinGroup' && type !== 'ConsumerGroupHeartbeat' && type !== 'OffsetCommit') return
    if (this.#isQueue(groupId)) {
      if (type === 'JoinGroup') throw refusal('INCONSISTENT_GROUP_PROTOCOL', { groupId, reason: 'it is a queue' })
      throw refusal('GROUP_ID_NOT_FOUND', { groupId, reason: 'it is a queue' })
    }
    const { groupsMax } = this.#effects.config
    if (this.#groups.size >= groupsMax) throw refusal('TOO_MANY_GROUPS', { groupId, groupsMax })
  }

  #join(group: Group | undefined, request: JoinGroup): void {
    const effects = this.#effects
    const { groupId, memberId, sessionTimeoutMs } = request
    const { sessionTimeoutMinMs: minMs, sessionTimeoutMaxMs: maxMs } = effects.config
    if (sessionTimeoutMs < minMs || sessionTimeoutMs > maxMs) {
      throw refusal('INVALID_SESSION_TIMEOUT', { groupId, sessionTimeoutMs, minMs, maxMs })
    }
    if (group?.type === 'consumer' && group.members.size > 0) {
      joinAsClassic(effects, group, request)
      return
    }
    if (group?.type === 'classic') {
      joinClassic(effects, group, request)
      return
    }
    if (memberId !== '') throw unknownMember(request)
    const fresh = new ClassicGroup(groupId, effects.now.wallMs)
    if (group !== undefined) {
      dropConsumer(effects, group)
      fresh.inherit(group.storedMemberIds)
      fresh.hasOffsets = true
      // Whoever still thinks to be a member of the group before is of an earlier generation.
      fresh.generationId = group.groupEpoch
    }
    joinClassic(effects, fresh, request)
    this.#groups.set(groupId, fresh)
  }

  #heartbeat(group: Group | undefined, request: ConsumerGroupHeartbeat): void {
    const effects = this.#effects
    const { groupId, memberEpoch } = request
    checkHeartbeat(effects, request)
    if (memberEpoch < 0) {
      if (group?.type !== 'consumer') throw notFound(groupId, group, 'not a consumer group')
      leaveConsumer(effects, group, request)
    } else if (group?.type === 'consumer') heartbeatConsumer(effects, group, request)
    else if (memberEpoch > 0) throw notFound(groupId, group, 'not a consumer group')
    else if (group !== undefined && group.members.size > 0) {
      const heir = upgraded(effects, group)
      heartbeatConsumer(effects, heir, request)
      finishUpgrade(effects, group, heir)
      this.#groups.set(groupId, heir)
    } else {
      const fresh = new ConsumerGroup(groupId, effects.now.wallMs)
      fresh.groupEpoch = group?.generationId ?? 0
      fresh.assignmentEpoch = fresh.groupEpoch
      heartbeatConsumer(effects, fresh, request)
      if (group !== undefined) finishUpgrade(effects, group, fresh)
      this.#groups.set(groupId, fresh)
    }
  }

  #commit(group: Group | undefined, request: OffsetCommit): void {
    const effects = this.#effects
    const { groupId, token, offsets, generationIdOrMemberEpoch: generationId } = request
    if (group === undefined) {
      if (generationId >= 0) throw refusal('ILLEGAL_GENERATION', { groupId, generationId })
      const simple = new ClassicGroup(groupId, effects.now.wallMs)
      simple.hasOffsets = true
      this.#groups.set(groupId, simple)
    } else if (group.type === 'classic') {
      checkCommitClassic(effects, group, request)
      group.hasOffsets = true
    } else checkCommitConsumer(group, request)
    if (offsets.length > 0)
      effects.write({ type: 'commit-offsets', groupId, offsets, committedAtMs: effects.now.wallMs })
    effects.reply(token, { type: 'OffsetCommit' })
  }

  #deleteOffsets(group: Group | undefined, { groupId, token, topics }: OffsetDelete): void {
    if (group === undefined) throw notFound(groupId, group, '')
    const subscribed = topics
      .map(({ topicId }) => topicId)
      .filter(topicId => {
        const isSubscribed = group.isSubscribedTo(this.#topics.withId(topicId)?.name ?? '')
        if (isSubscribed === undefined) throw refusal('NON_EMPTY_GROUP', { groupId, members: group.members.size })
        return isSubscribed
      })
    const deleted = topics.filter(({ topicId }) => !subscribed.includes(topicId))
    if (deleted.length > 0) this.#effects.write({ type: 'delete-offsets', groupId, topics: deleted })
    this.#effects.reply(token, { type: 'OffsetDelete', subscribed })
  }

  #deleteGroup(group: Group | undefined, groupId: string, token: number): void {
    if (group === undefined) throw notFound(groupId, group, '')
    if (group.members.size > 0) throw refusal('NON_EMPTY_GROUP', { groupId, members: group.members.size })
    if (group.type === 'classic') dropClassic(this.#effects, group, 'COORDINATOR_NOT_AVAILABLE')
    else dropConsumer(this.#effects, group)
    this.#groups.delete(groupId)
    this.#effects.write({ type: 'delete-group', groupId })
    this.#effects.reply(token, { type: 'DeleteGroup' })
  }

  #expire({ kind, groupId, memberId }: Due): void {
    const group = this.#groups.get(groupId)
    invariant(group !== undefined, 'a deadline goes with its group')
    if (group.type === 'consumer') {
      const member = group.members.get(memberId)
      if (member !== undefined) fenceMember(this.#effects, group, member)
      else invariant(group.pending.delete(memberId), 'a deadline goes with its member')
    } else if (kind === 'join') joinTimeIsOver(this.#effects, group)
    else if (kind === 'sync') syncTimeIsOver(this.#effects, group)
    else sessionIsOver(this.#effects, group, memberId)
    this.#settle(groupId)
  }

  /** After each event: what it left of the group is stored, turned into a classic one, or forgotten. */
  #settle(groupId: string): void {
    const group = this.#groups.get(groupId)
    if (group === undefined) return
    if (group.type === 'classic') {
      const isNothing = group.members.size === 0 && group.pending.size === 0 && group.generationId === 0
      if (isNothing && !group.hasOffsets) this.#groups.delete(groupId)
    } else if (mayDowngrade(this.#effects, group)) this.#groups.set(groupId, downgrade(this.#effects, group))
    else group.store(this.#effects)
  }
}

function unknownMember({ groupId, memberId }: { groupId: string; memberId: string }): MillraceError {
  return refusal('UNKNOWN_MEMBER_ID', { groupId, memberId })
}

function notFound(groupId: string, group: Group | undefined, reason: string): MillraceError {
  return refusal('GROUP_ID_NOT_FOUND', group === undefined ? { groupId } : { groupId, reason })
}
