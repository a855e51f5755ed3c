/**
 * A cluster of a simulation: three or four brokers with their directories, one metadata store, a network that loses, delays and repeats fetches, and
 * producers. What brokers decide is the engine's code; this is what surrounds it.
 */
import type { TopicId } from '../../../../engine/base/brands.ts'
import { isMillraceError, MillraceError } from '../../../../engine/base/errors.ts'
import type { Random } from '../../../../engine/base/random.ts'
import { Arrivals } from '../../../../engine/broker/arrivals.ts'
import { ClusterNode } from '../../../../engine/cluster/cluster-node.ts'
import {
  brokerKey,
  type ClusterPartition,
  idOf,
  KEY,
  type LiveBroker,
  partitionKey,
  partitionValue,
  readPartition,
  topicKey,
} from '../../../../engine/cluster/cluster-state.ts'
import type { Change } from '../../../../engine/cluster/metadata-store.ts'
import { placeReplicas } from '../../../../engine/cluster/placement.ts'
import type { ReplicaSource } from '../../../../engine/cluster/replica-source.ts'
import { ClusterMember } from '../../../../engine/kafka/cluster-view.ts'
import { KAFKA_ERROR } from '../../../../engine/kafka/error-codes.ts'
import type { KafkaService } from '../../../../engine/kafka/service.ts'
import { Checks } from './checks.ts'
import { SimulatedMetadata, SimulatedStore, type StoreMistakes } from './metadata.ts'
import { type BrokerListener, type BrokerMistakes, type Directory, ModelBroker } from './model-broker.ts'
import type { Disk } from './model-log.ts'
import { type NetworkTroubles, SimulatedSource } from './network.ts'
import { Process, VirtualTime } from './virtual-time.ts'

export const TOPIC = 'topic'
export const TOPIC_ID = 'topic-id' as string as TopicId
const LEASE_MS = 600
const LAG_MAX_MS = 500
const BALANCE_MS = 1_500
const TRACE_MAX = 300

export interface Mistakes extends StoreMistakes, BrokerMistakes {
  /** The topic allows unclean elections, and nobody expects them. */
  readonly electsAnybody?: boolean
  /** Who lost records says that nothing happened. */
  readonly hidesLosses?: boolean
}

/** A broker while its process is there. */
export interface Member {
  readonly brokerId: number
  readonly process: Process
  readonly broker: ModelBroker
  readonly store: SimulatedStore
  node: ClusterNode | undefined
  service: KafkaService | undefined
  isLeaving: boolean
}

export class World implements NetworkTroubles {
  readonly random: Random
  readonly time = new VirtualTime()
  readonly metadata: SimulatedMetadata
  readonly checks: Checks
  readonly brokerIds: readonly number[]
  readonly partitions: number
  readonly minInSync: number
  readonly isUnclean: boolean
  readonly members = new Map<number, Member>()
  readonly counts = { elections: 0, shrinks: 0, expansions: 0, cuts: 0, losses: 0, controllers: 0 }
  /** The last things that happened, where somebody asks for them. */
  readonly trace: string[] = []
  lossRate = 0
  lateRate = 0
  repeatRate = 0
  /** Producers that write with acks=1. */
  readonly leaderOnly = new Set<number>()
  /** Of producers and records. */
  ids = 0
  readonly #isTraced: boolean
  readonly #mistakes: Mistakes
  readonly #directories = new Map<number, Directory>()
  readonly #boots = new Map<number, number>()
  readonly #lost = new Set<number>()
  readonly #read: ClusterPartition[] = []
  #names = 0

  constructor(random: Random, mistakes: Mistakes, isTraced: boolean) {
    this.random = random
    this.#mistakes = mistakes
    this.#isTraced = isTraced
    this.brokerIds = random.chance(0.8) ? [1, 2, 3] : [1, 2, 3, 4]
    this.partitions = random.between(1, 2)
    this.minInSync = random.chance(0.8) ? 2 : 1
    this.isUnclean = random.chance(0.08)
    this.metadata = new SimulatedMetadata(this.time, random, mistakes)
    this.metadata.changed = (change, before) => this.#changed(change, before)
    this.checks = new Checks(
      {
        minInSync: this.minInSync,
        isUnclean: this.isUnclean,
        isLeaderOnly: producerId => this.leaderOnly.has(producerId),
        partition: partition => this.partition(partition),
        disk: (brokerId, partition) => this.#disk(brokerId, partition),
        registeredEpoch: brokerId => this.metadata.get(brokerKey(brokerId))?.version,
        hasLost: brokerId => this.#lost.has(brokerId),
      },
      this.partitions,
    )
    this.#createTopic()
    for (const brokerId of this.brokerIds) this.#newDirectory(brokerId)
  }

  say(text: string): void {
    if (!this.#isTraced) return
    const who = this.time.current?.name ?? '-'
    this.trace.push(`${this.time.nowMs.toFixed(0).padStart(6)} ${who.padEnd(5)} ${text}`)
    if (this.trace.length > TRACE_MAX) this.trace.shift()
  }

  /** As the store has it. */
  partition(partition: number): ClusterPartition {
    const entry = this.metadata.get(partitionKey(TOPIC_ID, partition))
    if (entry === undefined) throw new Error(`partition ${partition} is gone`)
    if (this.#read[partition]?.version !== entry.version) this.#read[partition] = readPartition(entry)
    return this.#read[partition] as ClusterPartition
  }

  // ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────────

  start(brokerId: number): void {
    if (this.members.has(brokerId)) return
    const process = new Process(
      `${brokerId}.${++this.#names}`,
      `boot ${this.#mistakes.hidesLosses === true ? 0 : (this.#boots.get(brokerId) ?? 0)}`,
    )
    this.time.after(0, process, () => this.#begin(brokerId, process))
  }

  #begin(brokerId: number, process: Process): void {
    if (this.members.has(brokerId)) return
    const { time, random } = this
    const store = new SimulatedStore(this.metadata, process)
    const directory = this.#directories.get(brokerId) as Directory
    const broker = new ModelBroker({ time, random, process }, directory, this.#listener(brokerId), this.#mistakes)
    const member: Member = { brokerId, process, broker, store, node: undefined, service: undefined, isLeaving: false }
    this.members.set(brokerId, member)
    this.say('starts')
    this.#join(member).catch(error => {
      this.say(`does not start: ${(error as Error).message}`)
      this.#demandKnown(error)
      this.crash(brokerId)
    })
  }

  async #join(member: Member): Promise<void> {
    const { brokerId, broker, store } = member
    const node = await ClusterNode.open({
      brokerId,
      broker: broker.asBroker,
      ingest: broker.ingest,
      store,
      address: { host: 'simulated', port: brokerId },
      sourceOf: leader => this.#sourceOf(member, leader),
      report: error => this.#reported(brokerId, error),
      leaseMs: LEASE_MS,
      lagMaxMs: LAG_MAX_MS,
      balanceMs: BALANCE_MS,
      startTimeoutMs: 6_000,
    })
    member.node = node
    member.service = serviceOf(broker, node)
    await node.start()
  }

  /** The process dies. */
  crash(brokerId: number): void {
    const member = this.members.get(brokerId)
    if (member === undefined) return
    this.say(`${member.process.name} dies`)
    member.process.isAlive = false
    this.members.delete(brokerId)
  }

  /** The machine loses power, and with it what was not flushed. */
  losePower(brokerId: number): void {
    this.crash(brokerId)
    this.#boots.set(brokerId, (this.#boots.get(brokerId) ?? 0) + 1)
    for (const disk of (this.#directories.get(brokerId) as Directory).disks.values()) {
      const left = this.random.between(disk.flushedOffset, disk.records.length)
      if (left === disk.records.length) continue
      disk.records.length = left
      this.#loses(brokerId)
    }
    this.say(`${brokerId} has lost power`)
  }

  loseDirectory(brokerId: number): void {
    this.crash(brokerId)
    this.#newDirectory(brokerId)
    this.#loses(brokerId)
    this.say(`${brokerId} has lost its directory`)
  }

  #loses(brokerId: number): void {
    this.#lost.add(brokerId)
    this.counts.losses++
  }

  /** For each partition somebody in sync has everything, also without this broker. */
  mayLose(brokerId: number): boolean {
    for (let partition = 0; partition < this.partitions; partition++) {
      const { isr } = this.partition(partition)
      if (!isr.some(id => id !== brokerId && !this.#lost.has(id))) return false
    }
    return true
  }

  /** In order: it gives its leaders away, flushes, and goes. */
  stop(brokerId: number): void {
    const member = this.members.get(brokerId)
    const node = member?.node
    if (member === undefined || node === undefined || node.brokerEpoch === undefined || member.isLeaving) return
    member.isLeaving = true
    this.time.after(0, member.process, () => {
      this.say('stops in order')
      this.#leave(member, node)
        .catch(error => this.#demandKnown(error))
        .finally(() => this.crash(brokerId))
    })
  }

  async #leave({ broker }: Member, node: ClusterNode): Promise<void> {
    await node.drain(1_000).catch(error => this.#demandKnown(error))
    await node.retire()
    broker.checkpoint()
    broker.flush()
    await node.leave(true)
  }

  // ── what surrounds a broker ───────────────────────────────────────────────────────────────────────────────────────

  #sourceOf({ process }: Member, leader: LiveBroker): ReplicaSource {
    return new SimulatedSource(this, process, () => this.members.get(leader.brokerId))
  }

  #listener(brokerId: number): BrokerListener {
    const guard = (work: () => void): void => {
      try {
        work()
      } catch (error) {
        this.time.failure ??= error
      }
    }
    return {
      appended: (slot, record, isReplica) => {
        guard(() => this.checks.appended(brokerId, slot, record, isReplica))
        this.say(`${isReplica ? 'copies' : 'appends'} ${slot}: ${record.id}@${record.epoch}`)
      },
      shownBefore: (slot, to) => guard(() => this.checks.shownBefore(brokerId, slot, to)),
      shown: (slot, from, to) => {
        guard(() => this.checks.shown(brokerId, slot, from, to))
        this.say(`shows ${slot} up to ${to}`)
      },
      acknowledged: (slot, offset, record, leaderEpoch) => {
        guard(() => this.checks.acknowledged(brokerId, slot, offset, record, leaderEpoch))
        this.say(`acknowledges ${slot}: ${record.id} at ${offset}`)
      },
      cut: (slot, from, to) => {
        guard(() => this.checks.cut(brokerId, slot, to))
        this.counts.cuts++
        this.say(`cuts ${slot} from ${from} to ${to}`)
      },
    }
  }

  #reported(brokerId: number, error: MillraceError): void {
    this.say(`reports ${error.message}`)
    this.#demandKnown(error)
    if (!isMillraceError(error, 'UNCLEAN_ELECTION') || error.details['reason'] === undefined) return
    try {
      this.checks.reportedLoss(brokerId, error.details['partition'] as number)
    } catch (cause) {
      this.time.failure ??= cause
    }
  }

  /** A bug of the engine's comes as what is no error of its own, or as the cause of one. */
  #demandKnown(error: unknown): void {
    const isOurs = error instanceof MillraceError
    if (!isOurs || (error.cause !== undefined && !(error.cause instanceof MillraceError))) this.time.failure ??= error
  }

  // ── what the store has ────────────────────────────────────────────────────────────────────────────────────────────

  #createTopic(): void {
    const { partitions, minInSync, brokerIds } = this
    const isUnclean = this.isUnclean || this.#mistakes.electsAnybody === true
    const config = { 'min.insync.replicas': String(minInSync), 'unclean.leader.election.enable': String(isUnclean) }
    const value = JSON.stringify({ topicId: TOPIC_ID, partitions, replicationFactor: 3, config })
    const placed = placeReplicas(brokerIds, 0, partitions, 3, this.random.below(3))
    const writes = placed.map((replicas, partition) => {
      const assignment = { replicas, isr: [...replicas].sort(), leader: replicas[0] as number, leaderEpoch: 0 }
      return { key: partitionKey(TOPIC_ID, partition), value: partitionValue(assignment) }
    })
    this.metadata.put([...writes, { key: topicKey(TOPIC), value }])
  }

  #changed({ key, value, version }: Change, before: string | undefined): void {
    this.say(`store: ${key} is ${value ?? 'gone'}, ${version}`)
    if (key === KEY.controller && value !== undefined) this.counts.controllers++
    if (value === undefined) return
    if (key.startsWith(KEY.brokers)) this.#lost.delete(idOf(key)) // what it is in sync with later rests on what it has now
    if (!key.startsWith(KEY.partitions)) return
    try {
      this.checks.stored({ key, value, version }, before)
    } catch (error) {
      this.time.failure ??= error
    }
    if (before === undefined) return
    const now = readPartition({ key, value, version })
    const then = readPartition({ key, value: before, version })
    if (now.leaderEpoch > then.leaderEpoch) this.counts.elections++
    if (now.isr.length < then.isr.length) this.counts.shrinks++
    if (now.isr.length > then.isr.length) this.counts.expansions++
  }

  #disk(brokerId: number, partition: number): Disk | undefined {
    return this.#directories.get(brokerId)?.disks.get(partition)
  }

  #newDirectory(brokerId: number): void {
    const directoryId = `directory ${brokerId}.${++this.#names}`
    const id = this.#mistakes.hidesLosses === true ? `directory ${brokerId}` : directoryId
    this.#directories.set(brokerId, { directoryId: id, disks: new Map(), topic: undefined })
  }
}

/** What fetches need of the service of a broker. */
function serviceOf(broker: ModelBroker, node: ClusterNode): KafkaService {
  const cluster = new ClusterMember(broker.asBroker, node)
  const service = {
    broker,
    node,
    cluster,
    arrivals: new Arrivals(broker.memory),
    sessions: { close: () => {} },
    topic: ({ topicId }: { topicId: string }) =>
      broker.topicIdOf(TOPIC) === topicId ? broker.clientTopic(TOPIC) : KAFKA_ERROR.UNKNOWN_TOPIC_ID,
    ledPartition(topic: ReturnType<ModelBroker['clientTopic']> | number, partition: number) {
      if (typeof topic === 'number') return topic
      const found = topic.partitions[partition]
      if (found === undefined) return KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION
      return cluster.leaderFault(found) ?? found
    },
    readers: { of: ({ slot }: { slot: number }) => wireOf(broker, slot) },
  }
  return service as unknown as KafkaService
}

/** Reads some batches of a log. */
function wireOf(broker: ModelBroker, slot: number) {
  const { records } = broker.data.disks.get(slot) as Disk
  const logEndOffset = records.length
  const demandInRange = (offset: number): void => {
    if (offset < 0 || offset > logEndOffset) throw new MillraceError('OFFSET_OUT_OF_RANGE', { offset, logEndOffset })
  }
  const read = (offset: number) => {
    const pieces = records.slice(offset, offset + 3).map(({ batch }) => batch)
    return { pieces, bytes: pieces.reduce((sum, { length }) => sum + length, 0) }
  }
  return { reader: { logStartOffset: 0, logEndOffset, demandInRange }, read }
}
