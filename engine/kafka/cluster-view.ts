/**
 * The cluster as the handlers of requests see it: one broker that leads everything, or one of several. What changes topics goes through here
 * too, because in a cluster it is the metadata store that has them.
 */
import { MillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import type { ClientPartition } from '../broker/topic-metadata.ts'
import type { ClusterNode } from '../cluster/cluster-node.ts'
import { NO_LEADER } from '../cluster/cluster-state.ts'
import type { ElectionOutcome } from '../cluster/cluster-topics.ts'
import { SLOT, STATE } from '../memory/control-block.ts'
import type { Call } from './call.ts'
import { KAFKA_ERROR } from './error-codes.ts'

export interface NodeAddress {
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

export interface PartitionView {
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
  readonly offline: readonly number[]
}

export interface NewTopicRequest {
  readonly topic: string
  readonly partitions: number
  /** Undefined: the default. */
  readonly replicationFactor: number | undefined
  /** Replicas of each partition, in place of the two above. */
  readonly assignments?: readonly (readonly number[])[] | undefined
  readonly config: Readonly<Record<string, string | number | boolean>>
}

type ConfigChanges = Readonly<Record<string, string | number | boolean | null>>

export interface ClusterView {
  readonly controllerId: number
  /** Of the brokers that are there. */
  readonly brokerIds: readonly number[]
  brokers(call: Call): readonly NodeAddress[]
  describe(partition: ClientPartition): PartitionView
  /** -1 while there is none, or no such partition. */
  leaderOf(topic: string, partition: number): number
  /** The code for who takes this broker for the leader of a partition; undefined where it is. */
  leaderFault(partition: ClientPartition): number | undefined
  /** Leader epoch under which this broker leads. */
  leaderEpoch(partition: ClientPartition): number
  /** False while a new leader cannot tell yet how far the log was committed: OFFSET_NOT_AVAILABLE. */
  knowsItsEnd(partition: ClientPartition): boolean
  /** @throws what `createTopic` throws, INVALID_REPLICATION_FACTOR for replicas that cannot be @returns replication factor that it gets */
  demandCreatable(request: NewTopicRequest): number
  createTopic(request: NewTopicRequest): Promise<string>
  deleteTopic(topic: string): Promise<void>
  createPartitions(topic: string, partitions: number, assignments?: readonly (readonly number[])[]): Promise<void>
  alterConfig(topic: string, changes: ConfigChanges): Promise<void>
  /** Replicas of a partition that come and go; undefined while none do. */
  moves(
    partition: ClientPartition,
  ): { readonly adding: readonly number[]; readonly removing: readonly number[] } | undefined
  /** Asks that these brokers have a partition; undefined takes that back. @throws INVALID_REPLICATION_FACTOR, METADATA_STORE_UNAVAILABLE */
  reassign(partition: ClientPartition, replicas: readonly number[] | undefined): Promise<void>
  /** Lets the first replica lead, or with `isUnclean` any that is there when none in sync is. @throws METADATA_STORE_UNAVAILABLE */
  elect(partition: ClientPartition, isUnclean: boolean): Promise<ElectionOutcome>
  /** An id for an idempotent producer, which no other has or had. @throws DISK_FULL, IO_ERROR, METADATA_STORE_UNAVAILABLE */
  allocateProducerId(): number | Promise<number>
}

/** One broker, which has every replica. */
export class LoneBroker implements ClusterView {
  readonly controllerId: number
  readonly #broker: Broker

  constructor(broker: Broker, nodeId: number) {
    this.#broker = broker
    this.controllerId = nodeId
  }

  get brokerIds(): readonly number[] {
    return [this.controllerId]
  }

  brokers({ endpoint }: Call): readonly NodeAddress[] {
    return [{ nodeId: this.controllerId, ...endpoint }]
  }

  describe({ slot }: ClientPartition): PartitionView {
    const { control } = this.#broker.memory
    const replicas = [this.controllerId]
    const isOffline = control.get(slot, SLOT.state) === STATE.failed
    return {
      leaderId: isOffline ? NO_LEADER : this.controllerId,
      leaderEpoch: control.get(slot, SLOT.leaderEpoch),
      replicas,
      isr: isOffline ? [] : replicas,
      offline: isOffline ? replicas : [],
    }
  }

  leaderOf(): number {
    return this.controllerId
  }

  leaderFault(): undefined {
    return undefined
  }

  leaderEpoch({ slot }: ClientPartition): number {
    return this.#broker.memory.control.get(slot, SLOT.leaderEpoch)
  }

  knowsItsEnd(): boolean {
    return true
  }

  demandCreatable({ replicationFactor, assignments }: NewTopicRequest): number {
    this.#demandHere(assignments)
    if (replicationFactor !== undefined && replicationFactor !== 1) {
      throw new MillraceError('INVALID_REPLICATION_FACTOR', { replicationFactor, liveBrokers: 1 })
    }
    return 1
  }

  createTopic(request: NewTopicRequest): Promise<string> {
    this.demandCreatable(request)
    return this.#broker.createTopic(request.topic, request.partitions, request.config)
  }

  deleteTopic(topic: string): Promise<void> {
    return this.#broker.deleteTopic(topic)
  }

  createPartitions(topic: string, partitions: number, assignments?: readonly (readonly number[])[]): Promise<void> {
    this.#demandHere(assignments)
    return this.#broker.createPartitions(topic, partitions)
  }

  alterConfig(topic: string, changes: ConfigChanges): Promise<void> {
    return this.#broker.alterConfig(topic, changes)
  }

  moves(): undefined {
    return undefined
  }

  async reassign(): Promise<void> {
    // It has the one replica that there can be.
  }

  async elect(): Promise<ElectionOutcome> {
    return 'not-needed'
  }

  allocateProducerId(): number {
    return this.#broker.allocateProducerId()
  }

  #demandHere(assignments: readonly (readonly number[])[] = []): void {
    for (const replicas of assignments) {
      if (replicas.length === 1 && replicas[0] === this.controllerId) continue
      throw new MillraceError('INVALID_REPLICATION_FACTOR', {
        replicas: replicas.join(' '),
        liveBrokers: this.controllerId,
      })
    }
  }
}

/** Replicas of a new topic for which no number was given, where there are so many brokers. */
const DEFAULT_REPLICAS = 3

/** One of several brokers. */
export class ClusterMember implements ClusterView {
  readonly #broker: Broker
  readonly #node: ClusterNode

  constructor(broker: Broker, node: ClusterNode) {
    this.#broker = broker
    this.#node = node
  }

  get controllerId(): number {
    return this.#node.image.controllerId ?? NO_LEADER
  }

  get brokerIds(): readonly number[] {
    return [...this.#node.image.brokers.keys()]
  }

  brokers(): readonly NodeAddress[] {
    const { brokers } = this.#node.image
    return [...brokers.values()].map(({ brokerId, host, port }) => ({ nodeId: brokerId, host, port }))
  }

  describe({ topic, partition }: ClientPartition): PartitionView {
    const { brokers } = this.#node.image
    const state = this.#node.image.partition(this.#topicId(topic), partition)
    if (state === undefined) return { leaderId: NO_LEADER, leaderEpoch: -1, replicas: [], isr: [], offline: [] }
    const { leader, leaderEpoch, replicas, isr } = state
    const leaderId = brokers.has(leader) ? leader : NO_LEADER
    return { leaderId, leaderEpoch, replicas, isr, offline: replicas.filter(id => !brokers.has(id)) }
  }

  leaderOf(topic: string, partition: number): number {
    const { topicId } = this.#node.image.topics.get(topic) ?? {}
    const state = topicId === undefined ? undefined : this.#node.image.partition(topicId, partition)
    return state?.leader ?? NO_LEADER
  }

  leaderFault({ topic, partition }: ClientPartition): number | undefined {
    const leadership = this.#node.replicas.leadershipOf(this.#topicId(topic), partition)
    return leadership === undefined ? KAFKA_ERROR.NOT_LEADER_OR_FOLLOWER : undefined
  }

  leaderEpoch({ topic, partition }: ClientPartition): number {
    return this.#node.replicas.leadershipOf(this.#topicId(topic), partition)?.leaderEpoch ?? -1
  }

  knowsItsEnd({ topic, partition }: ClientPartition): boolean {
    return this.#node.replicas.leadershipOf(this.#topicId(topic), partition)?.knowsItsEnd ?? false
  }

  demandCreatable({ replicationFactor, assignments }: NewTopicRequest): number {
    const live = this.#node.image.brokers.size
    const factor = assignments?.[0]?.length ?? replicationFactor ?? Math.min(DEFAULT_REPLICAS, live)
    if (factor < 1 || factor > live)
      throw new MillraceError('INVALID_REPLICATION_FACTOR', { replicationFactor: factor, liveBrokers: live })
    return factor
  }

  async createTopic(request: NewTopicRequest): Promise<string> {
    const replicationFactor = this.demandCreatable(request)
    const { topic, partitions, config, assignments } = request
    const given = assignments === undefined ? {} : { assignments }
    const { topicId } = await this.#node.topics.create({ topic, partitions, replicationFactor, config, ...given })
    await this.#node.localTopics()
    return topicId
  }

  async deleteTopic(topic: string): Promise<void> {
    await this.#node.topics.delete(topic)
    await this.#node.localTopics()
  }

  async createPartitions(
    topic: string,
    partitions: number,
    assignments?: readonly (readonly number[])[],
  ): Promise<void> {
    await this.#node.topics.grow(topic, partitions, assignments)
    await this.#node.localTopics()
  }

  async alterConfig(topic: string, changes: ConfigChanges): Promise<void> {
    await this.#node.topics.configure(topic, changes)
    await this.#node.localTopics()
  }

  moves({ topic, partition }: ClientPartition) {
    const { adding = [], removing = [] } = this.#node.image.partition(this.#topicId(topic), partition) ?? {}
    return adding.length + removing.length > 0 ? { adding, removing } : undefined
  }

  reassign({ topic, partition }: ClientPartition, replicas: readonly number[] | undefined): Promise<void> {
    return this.#node.topics.reassign(topic, partition, replicas)
  }

  elect({ topic, partition }: ClientPartition, isUnclean: boolean): Promise<ElectionOutcome> {
    return this.#node.topics.elect(topic, partition, isUnclean)
  }

  allocateProducerId(): Promise<number> {
    return this.#node.producerIds.allocate()
  }

  #topicId(topic: string): string {
    return this.#broker.topicIdOf(topic) ?? ''
  }
}
