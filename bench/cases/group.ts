/**
 * The group coordinator: commits through it into LMDB, and its own time for a rebalance, which is a demand and not a bound.
 * Main thread.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { TopicId } from '../../engine/base/brands.ts'
import { resolveGroupConfig } from '../../engine/group/config.ts'
import { encodeSubscription } from '../../engine/group/consumer-protocol.ts'
import { GroupCoordinator } from '../../engine/group/coordinator.ts'
import { GroupMachine } from '../../engine/group/machine.ts'
import type { ConsumerGroupHeartbeat, GroupRequest, TopicsChanged } from '../../engine/group/requests.ts'
import { Store } from '../../engine/store/store.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import { median, type Side } from '../harness/side.ts'
import { COMMITS, LIMITS } from '../limits/all.ts'

const GROUPS = COMMITS.groups
const PARTITIONS = COMMITS.perRound / GROUPS

/** One commit for each of many groups and partitions, without waiting for the one before; each is answered behind its transaction. */
function commitSide(context: BenchContext): Side {
  const store = Store.open(context.freshDirectory('group-commit'))
  const { topicId } = store.topics.create('topic', PARTITIONS)
  const coordinator = new GroupCoordinator(store, {
    version: 1,
    list: () => [{ name: 'topic', topicId, partitions: PARTITIONS }],
  })
  const groupIds = Array.from({ length: GROUPS }, (_, group) => `group-${group}`)
  let offset = 0
  return {
    work: COMMITS.perRound,
    async round() {
      offset++
      const start = performance.now()
      const all: Promise<unknown>[] = []
      for (let partition = 0; partition < PARTITIONS; partition++) {
        for (const groupId of groupIds) {
          const request = {
            groupId,
            generationIdOrMemberEpoch: -1,
            memberId: '',
            instanceId: null,
            offsets: [{ topicId, partition, offset, leaderEpoch: 0, metadata: '' }],
          }
          all.push(coordinator.offsetCommit(request))
        }
        await nextTurn() // GROUPS commits, as many as the limit's puts in a turn
      }
      const answers = await Promise.all(all)
      const ms = performance.now() - start
      const stored = store.offsets.get(groupIds[GROUPS - 1] as string, topicId, PARTITIONS - 1)
      if (answers.length !== COMMITS.perRound || stored?.offset !== offset) throw new Error('a commit is not stored')
      return ms
    },
    async close() {
      await coordinator.close()
      await store.close()
    },
  }
}

const MEMBERS = 100
const TOPICS = 10
const TOPIC_PARTITIONS = 100
const REBALANCE_TIMEOUT_MS = 60_000

/** Rebalances of a round, which gives their median: the first ones still run uncompiled. */
const REPEATS = 15

/** More rounds of heartbeats than a rebalance takes. */
const HEARTBEATS_MAX = 20

const TOPIC_NAMES = Array.from({ length: TOPICS }, (_, topic) => `topic-${topic}`)
const topicIdAt = (topic: number): TopicId => `00000000-0000-4000-8000-00000000000${topic}` as TopicId

/** Runs requests through a machine, and counts its time alone. */
class Timed {
  ms = 0
  readonly machine: GroupMachine
  #tokens = 0
  #nowMs = 0

  constructor() {
    let ids = 0
    const config = resolveGroupConfig({ initialRebalanceDelayMs: REBALANCE_TIMEOUT_MS })
    this.machine = new GroupMachine(config, () => `${ids++}`)
    const changed = TOPIC_NAMES.map((name, topic) => ({
      name,
      topicId: topicIdAt(topic),
      partitions: TOPIC_PARTITIONS,
    }))
    this.run({ type: 'TopicsChanged', changed, removed: [] })
  }

  /** The answers that this leads to. */
  run(event: Omit<GroupRequest, 'token'> | TopicsChanged | { type: 'Tick' }, nowMs = this.#nowMs) {
    this.#nowMs = nowMs
    const request = { ...event, token: ++this.#tokens } as GroupRequest
    const start = performance.now()
    const actions = this.machine.handle(request, { monotonicMs: nowMs, wallMs: nowMs })
    this.ms += performance.now() - start
    return actions.flatMap(action => (action.type === 'reply' ? [action.answer] : []))
  }
}

/** Members of KIP-848 join one after the other, the first with everything, and send heartbeats until all have their part. */
function consumerRound(): number {
  const timed = new Timed()
  const members = Array.from({ length: MEMBERS }, (_, at) => ({
    memberId: `member-${at}`,
    memberEpoch: 0,
    owned: [] as ConsumerGroupHeartbeat['topicPartitions'],
  }))
  for (let round = 0; round < HEARTBEATS_MAX; round++) {
    for (const member of members) {
      const { memberId, memberEpoch, owned } = member
      const isJoining = memberEpoch === 0
      const [answer] = timed.run({
        type: 'ConsumerGroupHeartbeat',
        groupId: 'group',
        clientId: 'client',
        clientHost: 'host',
        memberId,
        memberEpoch,
        instanceId: null,
        rackId: null,
        rebalanceTimeoutMs: isJoining ? REBALANCE_TIMEOUT_MS : -1,
        subscribedTopicNames: isJoining ? TOPIC_NAMES : null,
        subscribedTopicRegex: null,
        serverAssignor: null,
        topicPartitions: owned,
      } as Omit<ConsumerGroupHeartbeat, 'token'>)
      if (answer?.type !== 'ConsumerGroupHeartbeat') throw new Error(`${memberId} is not answered`)
      member.memberEpoch = answer.memberEpoch
      member.owned = answer.assignment
    }
    const group = timed.machine.group('group')
    if (group?.type === 'consumer' && group.state === 'Stable') return timed.ms
  }
  throw new Error('the group does not come to rest')
}

/** Members of the classic protocol join at once; the leader's own work is not the coordinator's. */
function classicRound(): number {
  const timed = new Timed()
  const metadata = encodeSubscription({
    version: 3,
    topics: TOPIC_NAMES,
    userData: null,
    owned: [],
    generationId: -1,
    rackId: null,
  })
  for (let at = 0; at < MEMBERS; at++) {
    timed.run({
      type: 'JoinGroup',
      groupId: 'group',
      clientId: 'client',
      clientHost: 'host',
      memberId: '',
      instanceId: null,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata }],
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      requiresMemberId: false,
      canSkipAssignment: true,
    } as Omit<GroupRequest, 'token'>)
  }
  const joined = timed
    .run({ type: 'Tick' }, REBALANCE_TIMEOUT_MS)
    .flatMap(answer => (answer.type === 'JoinGroup' ? [answer] : []))
  // 10 partitions of 4 bytes and a topic name for each member, as an assignor would send it.
  const assignments = joined.map(({ memberId }) => ({ memberId, assignment: new Uint8Array(64) }))
  let answered = 0
  for (const { memberId, generationId } of joined.reverse()) {
    answered += timed.run({
      type: 'SyncGroup',
      groupId: 'group',
      generationId,
      memberId,
      instanceId: null,
      protocolType: 'consumer',
      protocolName: 'range',
      assignments,
    } as Omit<GroupRequest, 'token'>).length
  }
  if (answered !== MEMBERS) throw new Error(`${answered} members were assigned`)
  return timed.ms
}

const DEMAND: Side = { work: 1, round: () => 50 }

const rebalance = (name: string, round: () => number): BenchCase => ({
  name: `group/rebalance/${name}`,
  unit: 'us',
  limitName: 'demand: 50 ms',
  bar: 1,
  run: context =>
    context.compareLatencies({ work: 1, round: () => median(Array.from({ length: REPEATS }, round)) }, DEMAND),
})

export const groupCases: BenchCase[] = [
  {
    name: 'group/commit',
    unit: 'acks/s',
    limitName: LIMITS.lmdbPut.name,
    bar: 0.5,
    run: context => context.compareRates(commitSide(context), LIMITS.lmdbPut.side(context)),
  },
  rebalance('kip-848', consumerRound),
  rebalance('classic', classicRound),
]
