/**
 * The replicas of this broker: it gives each the role that the cluster's image says, leads with `Leadership`, and follows with a fetcher for each
 * leader. Changes of one partition come one after the other, the newest last; what lies between may be left out.
 *
 *     image ──▶ lead:   epoch begins, followers' fetches move the high watermark, proposals for the in-sync replicas go to the store
 *           └─▶ follow: the fetcher of that leader takes the partition
 *           └─▶ wait:   no leader, or this broker is not registered: nothing is taken, nothing acknowledged
 */
import { type ErrorDetails, MillraceError } from '../base/errors.ts'
import { Arrivals } from '../broker/arrivals.ts'
import type { Broker } from '../broker/broker.ts'
import type { HostedPartition } from '../broker/hosted-partition.ts'
import type { Ingest } from '../broker/ingest.ts'
import { SLOT } from '../memory/control-block.ts'
import type { ClusterImage } from './cluster-image.ts'
import { type ClusterPartition, KEY, type LiveBroker, NO_LEADER, partitionKey } from './cluster-state.ts'
import { IsrWriter, type Proposed } from './isr-writer.ts'
import { type FetchOutcome, Leadership } from './leadership.ts'
import type { MetadataStore } from './metadata-store.ts'
import { ReplicaFetcher } from './replica-fetcher.ts'
import type { ReplicaSource } from './replica-source.ts'
import { SteppingDown } from './stepping-down.ts'

const TICK_MS = 100

export interface ReplicaManagerOptions {
  readonly brokerId: number
  readonly broker: Broker
  readonly ingest: Ingest
  readonly image: ClusterImage
  readonly store: MetadataStore
  /** Under which this broker is registered; undefined while it is not. */
  readonly brokerEpoch: () => number | undefined
  readonly sourceOf: (leader: LiveBroker) => ReplicaSource
  /** `replica.lag.time.max.ms` */
  readonly lagMaxMs: number
  readonly report: (error: MillraceError) => void
}

/** A fetch of a follower, as its leader takes it. */
export interface FollowerPosition {
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly leaderEpoch: number
  readonly offset: number
  readonly isDiverging: boolean
}

interface Replica {
  readonly hosted: HostedPartition
  readonly key: string
  /** While this broker leads. */
  leadership: Leadership | undefined
  /** While it follows. */
  following: { readonly leader: LiveBroker; readonly leaderEpoch: number } | undefined
  isDue: boolean
  work: Promise<void> | undefined
  /** Told of what is appended while nobody follows. */
  readonly arrived: () => void
  isWatched: boolean
}

export class ReplicaManager {
  readonly #options: ReplicaManagerOptions
  readonly #replicas = new Map<string, Replica>()
  readonly #fetchers = new Map<number, { readonly leader: LiveBroker; readonly fetcher: ReplicaFetcher }>()
  readonly #arrivals: Arrivals
  readonly #isrWriter: IsrWriter
  readonly #steppingDown: SteppingDown
  readonly #leadershipListeners = new Set<(topic: string, partition: number) => void>()
  readonly #timer: NodeJS.Timeout
  #isClosed = false

  constructor(options: ReplicaManagerOptions) {
    this.#options = options
    this.#arrivals = new Arrivals(options.broker.memory)
    this.#isrWriter = new IsrWriter(options.store, options.brokerId, key => this.#refresh(key))
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    const { brokerId, image, store } = options
    this.#steppingDown = new SteppingDown({ brokerId, image, store, report: error => this.#report(error) })
    options.broker.on('partitionFailed', this.#steppingDown.stopped)
    options.ingest.onRefusal = this.#steppingDown.refused
    options.broker.logEndListeners.add(this.#broughtUp)
    options.image.onChange(({ brokers, partitions }) => {
      if (brokers) for (const replica of this.#replicas.values()) this.#look(replica)
      else for (const key of partitions) this.#lookAt(key)
    })
  }

  /** Partitions of a topic are there, or their configuration is another one. */
  topicChanged(topic: string): void {
    const { broker } = this.#options
    for (const { partition } of broker.clientTopic(topic).partitions) {
      const hosted = broker.hosted(topic, partition)
      const key = partitionKey(hosted.topicId, partition)
      if (this.#replicas.get(key)?.hosted !== hosted) {
        const replica: Replica = {
          hosted,
          key,
          leadership: undefined,
          following: undefined,
          isDue: false,
          work: undefined,
          arrived: () => this.#grown(replica),
          isWatched: false,
        }
        this.#replicas.set(key, replica)
      }
      this.#lookAt(key)
    }
  }

  /** Called when this broker begins to lead a partition, or leads it no more: see `leadershipOf`. @returns ends that */
  onLeadership(listener: (topic: string, partition: number) => void): () => void {
    this.#leadershipListeners.add(listener)
    return () => void this.#leadershipListeners.delete(listener)
  }

  /** A topic goes: when this resolves nobody here looks at it any more. */
  async topicRemoved(topic: string): Promise<void> {
    const mine = [...this.#replicas.values()].filter(({ hosted }) => hosted.topic === topic)
    for (const replica of mine) this.#replicas.delete(replica.key)
    await Promise.all(mine.map(replica => this.#release(replica)))
  }

  /** The broker is registered, or not any more. */
  registrationChanged(): void {
    for (const replica of this.#replicas.values()) this.#look(replica)
  }

  /** This broker's knowledge of a partition that it leads; undefined where it does not. */
  leadershipOf(topicId: string, partition: number): Leadership | undefined {
    return this.#options.brokerEpoch() === undefined
      ? undefined
      : this.#replicas.get(partitionKey(topicId, partition))?.leadership
  }

  /** Takes a follower's fetch as word of what it has. */
  fetched(topicId: string, partition: number, position: FollowerPosition): FetchOutcome | 'not-leader' {
    const replica = this.#replicas.get(partitionKey(topicId, partition))
    const leadership = replica?.leadership
    if (replica === undefined || leadership === undefined || this.#options.brokerEpoch() === undefined)
      return 'not-leader'
    const { brokers, draining } = this.#options.image
    // Who is about to stop is not let in again.
    const registeredEpoch = draining.has(position.brokerId) ? undefined : brokers.get(position.brokerId)?.epoch
    leadership.appended(this.#logEnd(replica))
    const outcome = leadership.fetched({ ...position, registeredEpoch, nowMs: performance.now() })
    this.#commit(replica)
    return outcome
  }

  /** Followers of led partitions and how far they are, for whoever wants to see. */
  *lags(): Generator<{ topic: string; partition: number; logEndOffset: number; highWatermark: number }> {
    for (const { hosted, leadership } of this.#replicas.values()) {
      if (leadership === undefined) continue
      const { topic, partition } = hosted
      yield { topic, partition, logEndOffset: leadership.logEndOffset, highWatermark: leadership.highWatermark }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#options.broker.off('partitionFailed', this.#steppingDown.stopped)
    this.#options.ingest.onRefusal = undefined
    this.#options.broker.logEndListeners.delete(this.#broughtUp)
    await Promise.all([...this.#replicas.values()].map(({ work }) => work)) // which begin nothing more
    await Promise.all([...this.#fetchers.values()].map(({ fetcher }) => fetcher.close()))
    await Promise.all([...this.#replicas.values()].map(replica => this.#release(replica)))
    await this.#isrWriter.close()
  }

  /** A log was recovered, or cut: whoever led it leads anew, and whoever follows goes on behind the last record that is left. */
  readonly #broughtUp = (hosted: HostedPartition): void => {
    const replica = this.#replicas.get(partitionKey(hosted.topicId, hosted.partition))
    if (replica?.hosted !== hosted) return
    if (replica.leadership === undefined) {
      this.#options.broker.replicas.follow(hosted).catch(error => this.#report(error, hosted))
      return
    }
    replica.leadership = undefined
    this.#unwatch(replica)
    this.#tell(replica)
    this.#look(replica)
  }

  // ── roles ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #lookAt(key: string): void {
    const replica = this.#replicas.get(key)
    if (replica !== undefined) this.#look(replica)
  }

  /** Brings a replica to where the image has it, one step at a time. */
  #look(replica: Replica): void {
    replica.isDue = true
    replica.work ??= this.#bring(replica).finally(() => {
      replica.work = undefined
    })
  }

  async #bring(replica: Replica): Promise<void> {
    while (replica.isDue && !this.#isClosed && this.#replicas.get(replica.key) === replica) {
      replica.isDue = false
      try {
        await this.#step(replica)
      } catch (error) {
        this.#report(error, replica.hosted)
        setTimeout(() => this.#lookAt(replica.key), TICK_MS).unref()
      }
    }
  }

  async #step(replica: Replica): Promise<void> {
    const { image, brokerId, brokerEpoch } = this.#options
    const { topicId, partition } = replica.hosted
    const state = image.partition(topicId, partition)
    const mayLead = state !== undefined && brokerEpoch() !== undefined
    if (mayLead && state.leader === brokerId) await this.#lead(replica, state)
    else if (mayLead && state.leader !== NO_LEADER && state.replicas.includes(brokerId))
      await this.#follow(replica, state)
    else await this.#release(replica)
  }

  async #lead(replica: Replica, state: ClusterPartition): Promise<void> {
    const { hosted } = replica
    const { leaderEpoch, isr, version, replicas } = state
    if (replica.leadership?.leaderEpoch === leaderEpoch) {
      replica.leadership.replicasAre(replicas, performance.now())
      replica.leadership.stored({ brokerIds: isr, version })
      this.#commit(replica)
      return
    }
    await this.#stopFollowing(replica)
    const { broker, brokerId } = this.#options
    const { control } = broker.memory
    const isShort = isr.length < this.#minInSync(hosted)
    broker.replicas.setTooFewInSync(hosted, isShort)
    const logEndOffset = await broker.replicas.lead(hosted, leaderEpoch)
    replica.leadership = new Leadership({
      brokerId,
      leaderEpoch,
      logEndOffset,
      highWatermark: control.get(hosted.slot, SLOT.highWatermark),
      replicas,
      isr: { brokerIds: isr, version },
      nowMs: performance.now(),
    })
    this.#grown(replica)
    this.#tell(replica)
  }

  #tell({ hosted: { topic, partition } }: Replica): void {
    for (const listener of this.#leadershipListeners) listener(topic, partition)
  }

  async #follow(replica: Replica, { leader: leaderId, leaderEpoch }: ClusterPartition): Promise<void> {
    const leader = this.#options.image.brokers.get(leaderId)
    if (leader === undefined) return await this.#release(replica)
    const { following } = replica
    if (following?.leader.epoch === leader.epoch && following.leaderEpoch === leaderEpoch) return
    await this.#release(replica)
    if (this.#isClosed) return
    replica.following = { leader, leaderEpoch }
    this.#fetcherOf(leader).add({ hosted: replica.hosted, leaderEpoch })
  }

  /** Neither leads nor follows. */
  async #release(replica: Replica): Promise<void> {
    const led = replica.leadership !== undefined
    replica.leadership = undefined
    this.#unwatch(replica)
    if (led) this.#tell(replica)
    await this.#stopFollowing(replica)
    await this.#options.broker.replicas.follow(replica.hosted)
  }

  async #stopFollowing(replica: Replica): Promise<void> {
    const { following } = replica
    replica.following = undefined
    if (following === undefined) return
    const found = this.#fetchers.get(following.leader.brokerId)
    await found?.fetcher.remove(replica.hosted)
    if (found?.fetcher.isIdle !== true || this.#fetchers.get(following.leader.brokerId) !== found) return
    this.#fetchers.delete(following.leader.brokerId)
    await found.fetcher.close()
  }

  #fetcherOf(leader: LiveBroker): ReplicaFetcher {
    const known = this.#fetchers.get(leader.brokerId)
    if (known?.leader.epoch === leader.epoch) return known.fetcher
    void known?.fetcher.close() // its partitions are about to leave
    const { broker, ingest, brokerId, brokerEpoch, sourceOf } = this.#options
    const fetcher = new ReplicaFetcher({
      broker,
      ingest,
      brokerId,
      brokerEpoch,
      source: sourceOf(leader),
      report: (error, partition) => this.#report(error, partition),
    })
    this.#fetchers.set(leader.brokerId, { leader, fetcher })
    return fetcher
  }

  // ── what is agreed on ─────────────────────────────────────────────────────────────────────────────────────────────

  #logEnd({ hosted }: Replica): number {
    return this.#options.broker.memory.control.get(hosted.slot, SLOT.logEndOffset)
  }

  #grown(replica: Replica): void {
    const { leadership } = replica
    if (leadership === undefined) return
    leadership.appended(this.#logEnd(replica))
    this.#commit(replica)
  }

  /** Says how far the log is agreed on; too few in sync is said first, so that nobody is answered as if there were enough. */
  #commit(replica: Replica): void {
    const { hosted, leadership } = replica
    if (leadership === undefined) return
    const { replicas } = this.#options.broker
    replicas.setTooFewInSync(hosted, !leadership.hasEnough(this.#minInSync(hosted)))
    replicas.commit(hosted, leadership.highWatermark)
    const isSingle = leadership.isr.brokerIds.length === 1 && leadership.proposal === undefined
    if (isSingle && !replica.isWatched) {
      replica.isWatched = true
      this.#arrivals.watch(hosted, leadership.logEndOffset, replica.arrived)
    } else if (!isSingle) this.#unwatch(replica)
  }

  #unwatch(replica: Replica): void {
    if (replica.isWatched) this.#arrivals.unwatch(replica.hosted, replica.arrived)
    replica.isWatched = false
  }

  #minInSync({ topicId }: HostedPartition): number {
    return Number(this.#options.image.topicById(topicId)?.config['min.insync.replicas'] ?? 1)
  }

  #tick(): void {
    const { image, lagMaxMs } = this.#options
    const nowMs = performance.now()
    if (this.#options.brokerEpoch() === undefined) return
    const proposed: Proposed[] = []
    for (const { key, leadership } of this.#replicas.values()) {
      if (leadership === undefined) continue
      const state = image.partitions.get(key)
      if (state?.version !== leadership.isr.version) continue // news of it is on its way
      const proposal = leadership.propose(nowMs, lagMaxMs)
      if (proposal !== undefined) proposed.push({ key, state, leadership, proposal })
    }
    this.#isrWriter.write(proposed)
  }

  /** What the store has of a partition has moved on, as its leader learned by itself. */
  #refresh(key: string): void {
    const replica = this.#replicas.get(key)
    if (replica !== undefined) this.#commit(replica)
  }

  #report(error: unknown, partition?: HostedPartition): void {
    if (this.#isClosed) return
    if (error instanceof MillraceError) {
      this.#options.report(error)
      return
    }
    const details: ErrorDetails =
      partition === undefined ? {} : { topic: partition.topic, partition: partition.partition }
    this.#options.report(new MillraceError('IO_ERROR', { ...details, work: KEY.partitions }, error))
  }
}
