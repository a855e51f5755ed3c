/** What the handlers of requests share: the engine behind the server, and what the server remembers. In the broker's thread. */
import { MillraceError } from '../base/errors.ts'
import { appendLinkOf } from '../broker/append-port.ts'
import { Arrivals } from '../broker/arrivals.ts'
import type { Broker } from '../broker/broker.ts'
import { Ingest } from '../broker/ingest.ts'
import { Replicator } from '../broker/replicator.ts'
import type { ClientPartition, ClientTopic } from '../broker/topic-metadata.ts'
import type { ClusterNode } from '../cluster/cluster-node.ts'
import type { Groups } from '../group/groups.ts'
import { ClusterMember, type ClusterView, LoneBroker } from './cluster-view.ts'
import { KAFKA_ERROR } from './error-codes.ts'
import type { GroupPlacement } from './group-placement.ts'
import { FetchSessions } from './server/fetch-sessions.ts'
import { TopicDirectory } from './server/topic-directory.ts'
import { WireReaders } from './server/wire-readers.ts'

export type { Call } from './call.ts'

export interface ServiceSettings {
  readonly nodeId: number
  /** A topic that a client asks for and that is not there is made, as Kafka's `auto.create.topics.enable`. */
  readonly autoCreateTopics: boolean
  /** Partitions of a topic that is made without a number, as Kafka's `num.partitions`. */
  readonly defaultPartitions: number
  /** Memory for produced batches on their way to the log. */
  readonly produceBufferBytes: number
}

const SESSION_ID_END = 0x7fff_ffff

export class KafkaService {
  readonly broker: Broker
  readonly groups: Groups
  readonly settings: ServiceSettings
  readonly topics: TopicDirectory
  readonly readers: WireReaders
  readonly arrivals: Arrivals
  /** Brings records of leaders in this process. */
  readonly replicator: Replicator
  #ingest: Ingest | undefined
  #attaching: Promise<Ingest> | undefined
  #isClosed = false
  readonly sessions: FetchSessions
  /** The cluster that this broker is one of, undefined where it stands alone. */
  #node: ClusterNode | undefined
  #view: ClusterView
  #placement: GroupPlacement | undefined
  /** 22 characters, as Kafka's: the UUID of the directory. */
  readonly clusterId: string

  /** Begins to attach to the writers, whose threads may still be starting: other requests are answered meanwhile. */
  constructor(broker: Broker, groups: Groups, settings: ServiceSettings) {
    this.broker = broker
    this.groups = groups
    this.settings = settings
    this.topics = new TopicDirectory(broker)
    this.#view = new LoneBroker(broker, settings.nodeId)
    this.readers = new WireReaders(broker.memory)
    this.arrivals = new Arrivals(broker.memory)
    this.replicator = new Replicator(broker, settings.produceBufferBytes)
    this.sessions = new FetchSessions(
      () => performance.now(),
      () => Math.floor(Math.random() * SESSION_ID_END),
    )
    this.clusterId = Buffer.from(broker.store.directoryId.replaceAll('-', ''), 'hex').toString('base64url')
    this.attached().catch(() => undefined) // whoever produces tries again, and is told
  }

  get cluster(): ClusterView {
    return this.#view
  }

  get node(): ClusterNode | undefined {
    return this.#node
  }

  /** Who coordinates groups, in a cluster. */
  get placement(): GroupPlacement | undefined {
    return this.#placement
  }

  /** From now on it is one broker of several. */
  join(node: ClusterNode, placement: GroupPlacement): void {
    this.#node = node
    this.#placement = placement
    this.groups.replication?.use(placement)
    this.#view = new ClusterMember(this.broker, node)
  }

  /** The way of produced batches, once it is there. */
  get ingest(): Ingest | undefined {
    return this.#ingest
  }

  /** Longest Produce request. */
  get produceBytesMax(): number {
    return Ingest.bytesMax(this.settings.produceBufferBytes)
  }

  /** @throws TOO_MANY_PRODUCERS, CLOSED; the next call tries again */
  attached(): Promise<Ingest> {
    if (this.#isClosed) return Promise.reject(new MillraceError('CLOSED', { object: 'Kafka server' }))
    this.#attaching ??= this.#attach()
    return this.#attaching
  }

  async #attach(): Promise<Ingest> {
    try {
      this.#ingest = await Ingest.attach(appendLinkOf(this.broker), this.settings.produceBufferBytes)
      return this.#ingest
    } catch (error) {
      this.#attaching = undefined
      throw error
    }
  }

  /** A topic by what a request names it with; the code of the error when it is not there. */
  topic(named: { readonly name: string } | { readonly topicId: string }): ClientTopic | number {
    if ('name' in named) return this.topics.byName(named.name) ?? KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION
    return this.topics.byId(named.topicId) ?? KAFKA_ERROR.UNKNOWN_TOPIC_ID
  }

  /** A partition, or the code of the error. */
  partition(topic: ClientTopic | number, partition: number): ClientPartition | number {
    if (typeof topic === 'number') return topic
    return topic.partitions[partition] ?? KAFKA_ERROR.UNKNOWN_TOPIC_OR_PARTITION
  }

  /** A partition that this broker leads, or the code of the error. */
  ledPartition(topic: ClientTopic | number, partition: number): ClientPartition | number {
    const found = this.partition(topic, partition)
    return typeof found === 'number' ? found : (this.#view.leaderFault(found) ?? found)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  demandPartition(topic: string, partition: number): ClientPartition {
    const found = this.topics.byName(topic)?.partitions[partition]
    if (found === undefined)
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: topic.slice(0, 64), partition })
    return found
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#placement?.close()
    this.readers.close()
    await this.replicator.close()
    const ingest = await this.#attaching?.catch(() => undefined)
    await ingest?.close()
  }
}
