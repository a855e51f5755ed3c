/**
 * A consumer's group and records over a cluster: the requests of KIP-848 to the group's coordinator, and fetches ahead of what is read. The
 * membership itself, and what a consumer does, are those of the embedded consumer.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  consumerGroupHeartbeatV0,
  type Admin as KafkaAdmin,
  type Connection as KafkaConnection,
  offsetCommitV9,
  offsetFetchV9,
} from '@platformatic/kafka'
import type { TopicId } from '../../engine/base/brands.ts'
import { isMillraceError, MillraceError } from '../../engine/base/errors.ts'
import type {
  CallGroup,
  CommitCall,
  GroupCalls,
  HeartbeatCall,
  HeartbeatResult,
} from '../../engine/group/group-calls.ts'
import type { PartitionOffset } from '../../engine/store/offsets.ts'
import type { BackendTopic, ConsumerBackend } from '../consumer-backend.ts'
import type { Message, ProducerOptions } from '../types.ts'
import type { Cluster } from './cluster.ts'
import { coordinatorOf } from './coordinator.ts'
import { kafkaCodeIn, toMillraceError, unsupported } from './errors.ts'
import { FetchAhead } from './fetch-ahead.ts'
import type { RemoteProducer } from './producer.ts'
import { RemoteTrack } from './track.ts'

/** What the coordinator answers when it is another broker by now, or none yet. */
const MOVED = new Set([14, 15, 16])

export interface BackendOptions {
  readonly maxBytes: number
  readonly isCommitted: boolean
}

export class RemoteBackend implements ConsumerBackend {
  readonly object = 'connection'
  readonly group: CallGroup
  readonly #cluster: Cluster
  /** For fetches. */
  readonly #fork: Cluster
  readonly #admin: KafkaAdmin
  readonly #ahead: FetchAhead
  readonly #makeProducer: (options: ProducerOptions) => RemoteProducer
  #producer: RemoteProducer | undefined
  #coordinator: Promise<KafkaConnection> | undefined
  /** Names of topics by their ids, as far as they were needed. */
  readonly #names = new Map<string, string>()
  #subscribed: readonly string[] = []
  #isClosed = false

  constructor(
    cluster: Cluster,
    admin: KafkaAdmin,
    options: BackendOptions,
    makeProducer: (options: ProducerOptions) => RemoteProducer,
  ) {
    this.#cluster = cluster
    this.#fork = cluster.fork()
    this.#admin = admin
    this.#ahead = new FetchAhead(this.#fork, { ...options, patienceMs: Number.POSITIVE_INFINITY })
    this.#makeProducer = makeProducer
    const calls: { [C in keyof GroupCalls]: (request: GroupCalls[C][0]) => Promise<GroupCalls[C][1]> } = {
      heartbeat: request => this.#heartbeat(request),
      commit: request => this.#commit(request),
      offsets: ({ groupId, memberId, memberEpoch }) => this.#offsets(groupId, memberId, memberEpoch),
      // Nobody tells from afar: the next heartbeat finds out.
      awaitChange: async ({ waitMs }) => sleep(waitMs, 0, { ref: false }),
      deadLetterTopic: ({ topic }) => this.#demandTopic(topic),
    }
    this.group = (call, request) => calls[call](request as never) as never
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  async topic(topic: string): Promise<BackendTopic> {
    const found = await this.#cluster.topic(topic)
    this.#names.set(found.topicId, topic)
    return found
  }

  async track(topic: string, partition: number): Promise<RemoteTrack> {
    return RemoteTrack.open(this.#cluster, this.#ahead, topic, partition)
  }

  async sendLetters(topic: string, messages: readonly Message[]): Promise<void> {
    this.#producer ??= this.#makeProducer({})
    await this.#producer.send({ topic, messages })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#ahead.close()
    await Promise.all([this.#producer?.close(), this.#fork.close()])
  }

  // ── the group ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks the coordinator of a group; one that has moved is looked for with the next request. */
  async #ask<T>(groupId: string, ask: (connection: KafkaConnection) => Promise<T>): Promise<T> {
    this.#coordinator ??= coordinatorOf(this.#admin, groupId)
    try {
      return await ask(await this.#coordinator)
    } catch (error) {
      const code = kafkaCodeIn(error)
      if (isMillraceError(error) && code === undefined) throw error
      if (code !== undefined && !MOVED.has(code)) throw toMillraceError(error, { groupId })
      this.#coordinator = undefined
      throw new MillraceError('COORDINATOR_NOT_AVAILABLE', { groupId }, error)
    }
  }

  async #heartbeat(call: HeartbeatCall): Promise<HeartbeatResult> {
    if (call.subscribedTopicRegex !== null && call.subscribedTopicRegex !== '')
      throw unsupported('consumer.subscribe with a pattern')
    if (call.subscribedTopicNames !== null) this.#subscribed = call.subscribedTopicNames
    const owned = call.topicPartitions?.map(({ topicId, partitions }) => ({ topicId, partitions: [...partitions] }))
    const answer = await this.#ask(call.groupId, connection =>
      consumerGroupHeartbeatV0.api.async(
        connection,
        call.groupId,
        call.memberId,
        call.memberEpoch,
        call.instanceId,
        call.rackId,
        call.rebalanceTimeoutMs,
        call.subscribedTopicNames === null ? null : [...call.subscribedTopicNames],
        null,
        call.serverAssignor,
        owned ?? null,
      ),
    )
    const assigned = answer.assignment?.topicPartitions ?? null
    return {
      memberId: answer.memberId ?? call.memberId,
      memberEpoch: answer.memberEpoch,
      heartbeatIntervalMs: answer.heartbeatIntervalMs,
      assignment: assigned?.map(({ topicId, partitions }) => ({ topicId: topicId as TopicId, partitions })) ?? null,
      topics: await this.#namesOf(assigned?.map(({ topicId }) => topicId) ?? []),
    }
  }

  /** What is not known yet is of a topic that is subscribed to. */
  async #namesOf(topicIds: readonly string[]): Promise<(readonly [TopicId, string])[]> {
    if (topicIds.some(topicId => !this.#names.has(topicId))) {
      await Promise.all(this.#subscribed.map(topic => this.topic(topic).catch(() => undefined)))
    }
    return topicIds.flatMap(topicId => {
      const name = this.#names.get(topicId)
      return name === undefined ? [] : [[topicId as TopicId, name] as const]
    })
  }

  async #commit({ groupId, memberId, instanceId, generationIdOrMemberEpoch, offsets }: CommitCall): Promise<undefined> {
    const byTopic = Map.groupBy(offsets, ({ topicId }) => topicId as string)
    const topics = [...byTopic].map(([topicId, list]) => {
      const name = this.#names.get(topicId)
      if (name === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topicId })
      const partitions = list.map(({ partition, offset, leaderEpoch, metadata }) => ({
        partitionIndex: partition,
        committedOffset: BigInt(offset),
        committedLeaderEpoch: leaderEpoch,
        committedMetadata: metadata,
      }))
      return { name, partitions }
    })
    await this.#ask(groupId, connection =>
      offsetCommitV9.api.async(connection, groupId, generationIdOrMemberEpoch, memberId, instanceId, topics),
    )
    return undefined
  }

  async #offsets(groupId: string, memberId: string | null, memberEpoch: number): Promise<PartitionOffset[]> {
    const { groups } = await this.#ask(groupId, connection =>
      offsetFetchV9.api.async(connection, [{ groupId, memberId, memberEpoch, topics: null }], false),
    )
    const found: PartitionOffset[] = []
    for (const { name, partitions } of groups[0]?.topics ?? []) {
      const known = await this.topic(name).catch(() => undefined)
      if (known === undefined) continue
      for (const { partitionIndex, committedOffset, committedLeaderEpoch, metadata } of partitions) {
        if (committedOffset < 0n) continue
        found.push({
          topicId: known.topicId as TopicId,
          partition: partitionIndex,
          offset: Number(committedOffset),
          leaderEpoch: committedLeaderEpoch,
          metadata: metadata ?? '',
          committedAtMs: -1,
        })
      }
    }
    return found
  }

  async #demandTopic(topic: string): Promise<undefined> {
    try {
      await this.#cluster.topic(topic, true)
    } catch (error) {
      if (!isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) throw error
      await this.#admin.createTopics({ topics: [topic], partitions: 1, replicas: -1 }).catch((reason: unknown) => {
        const failure = toMillraceError(reason, { topic })
        if (failure.code !== 'TOPIC_ALREADY_EXISTS') throw failure // another consumer was first
      })
    }
    return undefined
  }
}
