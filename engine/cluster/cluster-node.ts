/**
 * One broker of a cluster: its registration, its image of the cluster, its replicas, and its part in being the controller.
 *
 *     metadata store ──watch──▶ image ──▶ local topics ──▶ replicas (lead, follow)
 *           ▲                     └─────▶ controller (one of the brokers) ──▶ elections
 *           └── lease, registration, in-sync replicas, elections: by compare-and-swap
 */
import { MillraceError } from '../base/errors.ts'
import { bootId } from '../broker/boot-id.ts'
import type { Broker } from '../broker/broker.ts'
import type { Ingest } from '../broker/ingest.ts'
import { ClusterImage } from './cluster-image.ts'
import { ClusterProducerIds } from './cluster-producer-ids.ts'
import { type BrokerAddress, type LiveBroker, machineKey, readMachine } from './cluster-state.ts'
import { ClusterTopics } from './cluster-topics.ts'
import { Controller } from './controller.ts'
import { LocalTopics } from './local-topics.ts'
import { Membership } from './membership.ts'
import type { MetadataStore } from './metadata-store.ts'
import { ReplicaManager } from './replica-manager.ts'
import type { ReplicaSource } from './replica-source.ts'

export interface ClusterOptions {
  /** Lease of a broker: one that does not answer for so long is replaced. Default 2,000; etcd takes whole seconds from 2 on. */
  readonly leaseMs?: number
  /** A follower that is behind for so long is not in sync any more, as Kafka's `replica.lag.time.max.ms`. Default 30,000. */
  readonly lagMaxMs?: number
  /** How often leaders are given back to preferred replicas, as Kafka's `leader.imbalance.check.interval.seconds`. Default 300,000; 0: never. */
  readonly balanceMs?: number
  /** Longest wait for the first registration. Default 30,000. */
  readonly startTimeoutMs?: number
}

export interface ClusterNodeOptions extends ClusterOptions {
  readonly brokerId: number
  /** Its partitions are replicas (`EngineOptions.replicas`). */
  readonly broker: Broker
  readonly ingest: Ingest
  readonly store: MetadataStore
  /** Where other brokers and clients reach this one. */
  readonly address: BrokerAddress
  readonly sourceOf: (leader: LiveBroker) => ReplicaSource
  /** Told of what went wrong and is tried again, and of unclean elections. */
  readonly report: (error: MillraceError) => void
}

export class ClusterNode {
  readonly brokerId: number
  readonly image: ClusterImage
  readonly topics: ClusterTopics
  readonly producerIds: ClusterProducerIds
  readonly replicas: ReplicaManager
  readonly controller: Controller
  readonly #membership: Membership
  readonly #local: LocalTopics
  readonly #startTimeoutMs: number
  readonly #broker: Broker
  readonly #store: MetadataStore

  private constructor(options: ClusterNodeOptions, image: ClusterImage) {
    const { broker, brokerId, ingest, store, address, sourceOf, report } = options
    const { leaseMs = 2_000, lagMaxMs = 30_000, balanceMs = 300_000, startTimeoutMs = 30_000 } = options
    this.brokerId = brokerId
    this.#broker = broker
    this.#store = store
    this.image = image
    this.topics = new ClusterTopics(store, image, report)
    this.producerIds = new ClusterProducerIds(store)
    this.#startTimeoutMs = startTimeoutMs
    const brokerEpoch = (): number | undefined => this.#membership.epoch
    this.replicas = new ReplicaManager({
      brokerId,
      broker,
      ingest,
      image,
      store,
      brokerEpoch,
      sourceOf,
      lagMaxMs,
      report,
    })
    this.#local = new LocalTopics({
      broker,
      image,
      changed: topic => this.replicas.topicChanged(topic),
      removing: topic => this.replicas.topicRemoved(topic),
      report: error => report(error as MillraceError),
    })
    const registration = (): void => {
      this.replicas.registrationChanged()
      this.controller.look()
    }
    this.#membership = new Membership({
      brokerId,
      address,
      machine: { bootId: bootId(), directoryId: broker.store.directoryId, isClean: false },
      store,
      image,
      leaseMs,
      extended: endsAtMs => {
        broker.replicas.leaseEndMs = endsAtMs
      },
      registered: registration,
      lost: registration,
      report,
    })
    this.controller = new Controller({ brokerId, store, image, lease: () => this.#membership.lease, balanceMs, report })
    image.onChange(({ topics }) => {
      if (topics.size > 0) void this.#local.look()
    })
  }

  /** Knows the cluster, and takes no part in it before `start`. @throws METADATA_STORE_UNAVAILABLE */
  static async open(options: ClusterNodeOptions): Promise<ClusterNode> {
    const { store, report } = options
    const image = await ClusterImage.open(store, error => report(error as MillraceError))
    return new ClusterNode(options, image)
  }

  /** Registers the broker and takes its part. Afterwards it can only be retired. @throws DUPLICATE_BROKER, METADATA_STORE_UNAVAILABLE, INVALID_ARGUMENT */
  async start(): Promise<void> {
    try {
      await this.#demandOurs()
      await this.#local.look()
      for (const topic of this.#broker.topicNames()) this.replicas.topicChanged(topic)
      await this.#membership.start(this.#startTimeoutMs)
    } catch (error) {
      await this.retire()
      await this.leave(false)
      throw error
    }
  }

  /**
   * Topics that the cluster does not know are deleted, so they must have been the cluster's. Where all are known to it, by their ids, nothing
   * is: a first start makes them before it registers, and may end in between.
   * @throws INVALID_ARGUMENT
   */
  async #demandOurs(): Promise<void> {
    const { directory, store } = this.#broker
    const { topics } = this.image
    const isOurs = (topic: string): boolean => this.#broker.topicIdOf(topic) === topics.get(topic)?.topicId
    if (this.#broker.topicNames().every(isOurs)) return
    const entry = await this.#store.get(machineKey(this.brokerId))
    if (entry !== undefined && readMachine(entry).directoryId === store.directoryId) return
    const reason = `it has topics of its own, and was not the directory of broker ${this.brokerId} in this cluster before`
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'directory', value: directory, reason })
  }

  /** Resolves when this broker has the topics that its image has. */
  localTopics(): Promise<void> {
    return this.#local.look()
  }

  /** Under which the broker is registered; undefined while it is not. */
  get brokerEpoch(): number | undefined {
    return this.#membership.epoch
  }

  /** Gives its leaders away: resolves when it leads nothing that another could lead, or the time is over. */
  async drain(timeoutMs: number): Promise<void> {
    await this.#membership.drain()
    await this.image.until(() => !this.#isNeeded(), timeoutMs)
  }

  /** Others could lead what it leads, or wait for its fetches. */
  #isNeeded(): boolean {
    for (const { isr, replicas } of this.image.partitions.values()) {
      if (!isr.includes(this.brokerId)) continue
      const { brokers, draining } = this.image
      if (replicas.some(id => isr.includes(id) && brokers.has(id) && !draining.has(id))) return true
    }
    return false
  }

  /** Takes no part any more. The engine can be closed then; `leave` gives the registration back. */
  async retire(): Promise<void> {
    await this.controller.close()
    await this.#local.close()
    await this.replicas.close()
  }

  /** @param isClean the engine was closed with everything flushed */
  async leave(isClean: boolean): Promise<void> {
    if (isClean && this.#membership.lease !== undefined) await this.#membership.leaveClean().catch(() => {})
    await this.#membership.close()
    this.image.close()
  }
}
