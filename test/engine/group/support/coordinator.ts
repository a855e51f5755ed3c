/**
 * A state machine with a clock that moves only when told, and its answers by token. Clients of both protocols in the form of
 * requests with defaults.
 */
import type { TopicId } from '../../../../engine/base/brands.ts'
import type { ErrorCode } from '../../../../engine/base/errors.ts'
import type { Answer, Refuse, Reply, StoreGroup, Write } from '../../../../engine/group/actions.ts'
import { GROUP_DEFAULTS, type GroupConfig } from '../../../../engine/group/config.ts'
import {
  type ConsumerSubscription,
  decodeAssignment,
  encodeAssignment,
  encodeSubscription,
} from '../../../../engine/group/consumer-protocol.ts'
import { GroupMachine } from '../../../../engine/group/machine.ts'
import type { ConsumerGroupHeartbeat, GroupRequest, JoinGroup } from '../../../../engine/group/requests.ts'
import type { StoredGroup, StoredMember } from '../../../../engine/store/groups.ts'

export const GROUP = 'group'

type WithoutToken<R> = R extends unknown ? Omit<R, 'token'> : never

export class Coordinator {
  readonly config: GroupConfig
  machine: GroupMachine
  nowMs = 0
  /** Everything that was to be stored, in order. */
  readonly writes: Write[] = []
  #tokens = 0
  #ids = 0
  readonly #answers = new Map<number, Reply | Refuse>()

  constructor(config: Partial<GroupConfig> = {}) {
    this.config = { ...GROUP_DEFAULTS, ...config }
    this.machine = this.#newMachine()
  }

  topic(name: string, partitions: number): TopicId {
    const topicId = topicIdOf(name)
    this.#take(
      this.machine.handle({ type: 'TopicsChanged', changed: [{ name, topicId, partitions }], removed: [] }, this.#now),
    )
    return topicId
  }

  removeTopic(name: string): void {
    this.#take(this.machine.handle({ type: 'TopicsChanged', changed: [], removed: [name] }, this.#now))
  }

  /** Sends a request; its token tells what becomes of it. */
  send(request: WithoutToken<GroupRequest>): number {
    const token = ++this.#tokens
    this.#take(this.machine.handle({ ...request, token } as GroupRequest, this.#now))
    return token
  }

  /** Sends a request that is answered at once, and well. */
  ask<Type extends Answer['type']>(
    request: WithoutToken<Extract<GroupRequest, { type: Type }>>,
  ): Extract<Answer, { type: Type }> {
    return this.answer<Type>(this.send(request as never))
  }

  /** The code of a request that is refused at once. */
  refusal(request: WithoutToken<GroupRequest>): ErrorCode | undefined {
    return this.refused(this.send(request))
  }

  answer<Type extends Answer['type']>(token: number): Extract<Answer, { type: Type }> {
    const answer = this.#answers.get(token)
    if (answer?.type !== 'reply') throw new Error(`not answered well: ${JSON.stringify(answer)}`)
    return answer.answer as Extract<Answer, { type: Type }>
  }

  refused(token: number): ErrorCode | undefined {
    const answer = this.#answers.get(token)
    return answer?.type === 'refuse' ? answer.error.code : undefined
  }

  /** The member id that came with a refusal. */
  givenId(token: number): string {
    const answer = this.#answers.get(token)
    return answer?.type === 'refuse' ? String(answer.error.details['memberId']) : ''
  }

  isOpen(token: number): boolean {
    return !this.#answers.has(token)
  }

  /** Lets time pass, deadline by deadline. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms
    for (let dueMs = this.machine.nextDeadlineMs; dueMs <= endMs; dueMs = this.machine.nextDeadlineMs) {
      this.nowMs = Math.max(this.nowMs, dueMs)
      this.#take(this.machine.handle({ type: 'Tick' }, this.#now))
    }
    this.nowMs = endMs
  }

  /** A new machine, with what was stored. */
  restart(topics: Record<string, number> = {}): void {
    const stored = this.stored()
    this.machine = this.#newMachine()
    for (const [name, partitions] of Object.entries(topics)) this.topic(name, partitions)
    for (const [groupId, { group, members }] of stored) {
      this.machine.load(groupId, group, [...members.values()], this.#now)
    }
  }

  /** What the store has of each group after all writes, through JSON as a store would. */
  stored(): Map<string, { group: StoredGroup; members: Map<string, StoredMember> }> {
    const groups = new Map<string, { group: StoredGroup; members: Map<string, StoredMember> }>()
    for (const write of this.writes) {
      if (write.type === 'store-group') apply(groups, write)
      if (write.type === 'delete-group') groups.delete(write.groupId)
    }
    return groups
  }

  #newMachine(): GroupMachine {
    return new GroupMachine(this.config, () => `id${++this.#ids}`)
  }

  get #now() {
    return { monotonicMs: this.nowMs, wallMs: 1_700_000_000_000 + this.nowMs }
  }

  #take(actions: readonly (Write | Reply | Refuse)[]): void {
    for (const action of actions) {
      if (action.type === 'reply' || action.type === 'refuse') {
        if (this.#answers.has(action.token)) throw new Error(`token ${action.token} is answered twice`)
        this.#answers.set(action.token, action)
      } else this.writes.push(action)
    }
  }
}

function apply(
  groups: Map<string, { group: StoredGroup; members: Map<string, StoredMember> }>,
  { groupId, group, members, removed }: StoreGroup,
): void {
  const entry = groups.get(groupId) ?? { group, members: new Map<string, StoredMember>() }
  entry.group = JSON.parse(JSON.stringify(group))
  for (const memberId of removed) entry.members.delete(memberId)
  for (const member of members) entry.members.set(member.memberId, JSON.parse(JSON.stringify(member)))
  groups.set(groupId, entry)
}

/** A topic id that shows the name. */
export function topicIdOf(name: string): TopicId {
  return `00000000-0000-4000-8000-${Buffer.from(name).toString('hex').padStart(12, '0').slice(-12)}` as TopicId
}

export function subscription(topics: readonly string[], more: Partial<ConsumerSubscription> = {}): Uint8Array {
  return encodeSubscription({
    version: 3,
    topics,
    userData: null,
    owned: [],
    generationId: -1,
    rackId: null,
    ...more,
  })
}

export function joinRequest(more: Partial<JoinGroup> = {}): WithoutToken<JoinGroup> {
  return {
    type: 'JoinGroup',
    groupId: GROUP,
    clientId: 'client',
    clientHost: 'host',
    memberId: '',
    instanceId: null,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: subscription(['t']) }],
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 60_000,
    requiresMemberId: false,
    canSkipAssignment: true,
    ...more,
  }
}

export function syncRequest(
  generationId: number,
  memberId: string,
  more: { instanceId?: string; assignments?: Record<string, Uint8Array> } = {},
) {
  return {
    type: 'SyncGroup',
    groupId: GROUP,
    generationId,
    memberId,
    instanceId: more.instanceId ?? null,
    protocolType: null,
    protocolName: null,
    assignments: Object.entries(more.assignments ?? {}).map(([id, assignment]) => ({ memberId: id, assignment })),
  } as const
}

export function heartbeat(generationId: number, memberId: string, instanceId: string | null = null) {
  return { type: 'Heartbeat', groupId: GROUP, generationId, memberId, instanceId } as const
}

export function leaveRequest(...members: { memberId?: string; instanceId?: string }[]) {
  return {
    type: 'LeaveGroup',
    groupId: GROUP,
    members: members.map(({ memberId = '', instanceId = null as string | null }) => ({ memberId, instanceId })),
  } as const
}

export function commitRequest(
  generationId: number,
  memberId: string,
  more: { instanceId?: string; partition?: number; topic?: string } = {},
) {
  const { instanceId = null, partition = 0, topic = 't' } = more
  const offset = { topicId: topicIdOf(topic), partition, offset: 5, leaderEpoch: 2, metadata: '' }
  return {
    type: 'OffsetCommit',
    groupId: GROUP,
    generationIdOrMemberEpoch: generationId,
    memberId,
    instanceId,
    offsets: [offset],
  } as const
}

/** A heartbeat of KIP-848 that says nothing; what it says is added. */
export function beat(
  memberId: string,
  memberEpoch: number,
  more: Partial<ConsumerGroupHeartbeat> = {},
): WithoutToken<ConsumerGroupHeartbeat> {
  return {
    type: 'ConsumerGroupHeartbeat',
    groupId: GROUP,
    clientId: 'client',
    clientHost: 'host',
    memberId,
    memberEpoch,
    instanceId: null,
    rackId: null,
    rebalanceTimeoutMs: -1,
    subscribedTopicNames: null,
    subscribedTopicRegex: null,
    serverAssignor: null,
    topicPartitions: null,
    ...more,
  }
}

/** The heartbeat that joins. */
export function enter(
  memberId: string,
  topics: readonly string[] | null = ['t'],
  more: Partial<ConsumerGroupHeartbeat> = {},
) {
  return beat(memberId, 0, { rebalanceTimeoutMs: 60_000, subscribedTopicNames: topics, topicPartitions: [], ...more })
}

export function owns(topic: string, ...partitions: number[]) {
  return [{ topicId: topicIdOf(topic), partitions }]
}

export function assigns(topic: string, ...partitions: number[]): Uint8Array {
  return encodeAssignment({ version: 3, partitions: [{ topic, partitions }], userData: null })
}

/** The partitions of an assignment of the classic protocol, as `t-0`. */
export function partitionsIn(assignment: Uint8Array): string[] {
  return (decodeAssignment(assignment)?.partitions ?? []).flatMap(({ topic, partitions }) =>
    partitions.map(partition => `${topic}-${partition}`),
  )
}
