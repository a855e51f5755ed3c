/**
 * The embedded engine as a service sees it: open a directory, make producers and readers, close it. Lives in the thread
 * that opened it; other threads of the service get a handle (`threadHandle`) and attach with `attachThread`.
 */
import type { MessagePort } from 'node:worker_threads'
import { MillraceError } from '../engine/base/errors.ts'
import { Broker } from '../engine/broker/broker.ts'
import type { BrokerEvents } from '../engine/broker/broker-events.ts'
import { serveThread, type ThreadHandle } from '../engine/broker/client-link.ts'
import { Observer } from '../engine/broker/observer.ts'
import { type EngineOptions, resolveOptions } from '../engine/broker/options.ts'
import { ReaderPool } from '../engine/broker/reader-pool.ts'
import { SCHEMA_WRITES } from '../engine/broker/schema-service.ts'
import { type GroupConfig, resolveGroupConfig } from '../engine/group/config.ts'
import { ObservedGroups, OwnedGroups } from '../engine/group/group-source.ts'
import { Groups } from '../engine/group/groups.ts'
import { LateJournal } from '../engine/group/late-journal.ts'
import { ObservedShares } from '../engine/group/share/observed-shares.ts'
import { ShareCoordinator } from '../engine/group/share/share-coordinator.ts'
import { ShareSession } from '../engine/group/share/share-session.ts'
import type { KafkaServer, KafkaServerOptions } from '../engine/kafka/server/server.ts'
import { mappingStatistics } from '../engine/memory/mapping.ts'
import { SchemaRegistry } from '../engine/schema/schema-registry.ts'
import { Admin } from './admin.ts'
import type { ClusterEngineOptions, MillraceCluster } from './cluster.ts'
import type { ClusterListener, ClusterListenOptions } from './cluster-listener.ts'
import { Consumer } from './consumer.ts'
import { LocalBackend } from './consumer-backend.ts'
import type { ConsumerOptions } from './consumer-types.ts'
import { DeadLetterAppender } from './dead-letters.ts'
import { LocalLink } from './local-link.ts'
import { Lookup } from './lookup.ts'
import { Producer } from './producer.ts'
import { Queue } from './queue.ts'
import type { QueueOptions } from './queue-types.ts'
import { LocalSource, ObservedSource, type ReadSource } from './read-source.ts'
import { Reader } from './reader.ts'
import { callSchemas, type SchemaSource, Schemas } from './schemas.ts'
import { OwnTopics, SharedTopics } from './topic-changes.ts'
import type { EngineStatistics, ProducerOptions, ReaderOptions } from './types.ts'

type Listeners = { readonly [Name in keyof BrokerEvents]?: (...args: BrokerEvents[Name]) => void }

export interface MillraceOptions extends EngineOptions {
  /** Configuration of the group coordinator: Kafka's, see docs/API.md. */
  readonly groups?: Partial<GroupConfig>
}

export interface ListenOptions extends KafkaServerOptions {
  /** The engine is one broker of a cluster. */
  readonly cluster?: ClusterListenOptions
}

export class Millrace {
  readonly admin: Admin
  readonly schemas: Schemas
  readonly #engine: Broker | Observer
  readonly #link: LocalLink | undefined
  readonly #shares: ShareCoordinator | undefined
  readonly #groups: Groups | undefined
  readonly #deadLetters: DeadLetterAppender | undefined
  readonly #producers = new Set<Producer>()
  readonly #consumers = new Set<Consumer>()
  readonly #queues = new Set<Queue>()
  readonly #servers = new Set<KafkaServer>()
  readonly #readers = new ReaderPool()
  #cluster: ClusterListener | undefined

  private constructor(engine: Broker | Observer, groups: Partial<GroupConfig>) {
    this.#engine = engine
    if (engine instanceof Broker) {
      const deadLetters = new DeadLetterAppender(engine, () => this.#owned)
      this.#deadLetters = deadLetters
      const shares = new ShareCoordinator(engine, letters => deadLetters.append(letters), {
        groupsMax: resolveGroupConfig(groups).groupsMax,
        isConsumerGroup: groupId => this.#groups?.coordinator.has(groupId) === true,
      })
      this.#shares = shares
      const replication = engine.options.replicas ? new LateJournal(engine.store) : undefined
      this.#groups = new Groups(engine, groups, groupId => shares.has(groupId), replication)
      this.#link = new LocalLink(engine, new ShareSession(shares), this.#groups.session())
      const topics = engine.options.replicas ? new SharedTopics(() => this.#cluster?.topics) : new OwnTopics(engine)
      this.admin = new Admin(
        engine,
        { broker: engine, topics },
        shares,
        new OwnedGroups(this.#groups.coordinator, engine.store),
      )
      this.schemas = new Schemas(this.#link)
    } else {
      this.admin = new Admin(engine, undefined, new ObservedShares(engine), new ObservedGroups(engine))
      this.schemas = new Schemas(observedSchemas(engine))
    }
  }

  /**
   * Opens a data directory, creating it if there is none, and recovers what the last owner left. With `readOnly` it is
   * looked at instead, beside a live owner or without one, and nothing is changed.
   * @param events listeners that must not miss what recovery tells
   * @throws DIRECTORY_LOCKED when another process has it open, DIRECTORY_NOT_FOUND (readOnly), NEWER_FORMAT, CORRUPT_STORE,
   *   DISK_FULL, IO_ERROR
   */
  static async open(directory: string, options: MillraceOptions = {}, events: Listeners = {}): Promise<Millrace> {
    const { groups = {}, ...rest } = options
    const resolved = resolveOptions(rest)
    if (resolved.readOnly) return new Millrace(Observer.open(directory), groups)
    const broker = await Broker.open(directory, resolved, opening => {
      for (const [name, listener] of Object.entries(events)) opening.on(name as keyof BrokerEvents, listener as never)
    })
    try {
      return new Millrace(broker, groups)
    } catch (error) {
      await broker.close()
      throw error
    }
  }

  /**
   * Opens a cluster within this process: `brokers` engines, which replicate to one another through shared memory and serve Kafka clients on free ports of
   * the loopback address.
   * @throws what `open` and `listen` throw
   */
  static async cluster(
    options: ClusterEngineOptions,
    engine: MillraceOptions = {},
  ): Promise<MillraceCluster<Millrace>> {
    const { MillraceCluster } = await import('./cluster.ts')
    return await MillraceCluster.open(options, directory => Millrace.open(directory, { ...engine, replicas: true }))
  }

  /** The engine of a directory that this process owns. */
  get #broker(): Broker {
    if (!(this.#engine instanceof Broker)) throw new MillraceError('READ_ONLY', { directory: this.#engine.directory })
    return this.#engine
  }

  get #owned(): LocalLink {
    if (this.#link === undefined) throw new MillraceError('READ_ONLY', { directory: this.#engine.directory })
    return this.#link
  }

  #source(checkCrc: boolean): ReadSource {
    if (this.#link !== undefined) return new LocalSource(this.#link, this.#readers, checkCrc)
    return new ObservedSource(this.#engine as Observer, checkCrc)
  }

  get directory(): string {
    return this.#engine.directory
  }

  on<Name extends keyof BrokerEvents>(event: Name, listener: (...args: BrokerEvents[Name]) => void): this {
    this.#broker.on(event, listener as never)
    return this
  }

  off<Name extends keyof BrokerEvents>(event: Name, listener: (...args: BrokerEvents[Name]) => void): this {
    this.#broker.off(event, listener as never)
    return this
  }

  /** Makes a producer for this thread. @throws TOO_MANY_PRODUCERS, INVALID_ARGUMENT, CLOSED */
  async producer(options: ProducerOptions = {}): Promise<Producer> {
    const producer: Producer = await Producer.attach(this.#owned, options, () => this.#producers.delete(producer))
    this.#producers.add(producer)
    return producer
  }

  /**
   * Makes a consumer for this thread: a member of a group once it subscribes, or a reader with committed offsets. Close it,
   * and it leaves its group at once.
   * @throws INVALID_ARGUMENT, INVALID_GROUP_ID, CLOSED, READ_ONLY
   */
  consumer(options: ConsumerOptions = {}): Consumer {
    this.#broker.demandOpen()
    const consumer: Consumer = new Consumer(
      new LocalBackend(this.#owned, this.#readers, options.checkCrc ?? true),
      options,
      () => this.#consumers.delete(consumer),
    )
    this.#consumers.add(consumer)
    return consumer
  }

  /** Makes a reader for this thread. Nothing is opened before its first batch is asked for. @throws INVALID_ARGUMENT */
  reader(options: ReaderOptions): Reader {
    return new Reader(this.#source(options.checkCrc ?? true), options)
  }

  /** The look-up API of a topic. @throws UNKNOWN_TOPIC_OR_PARTITION */
  async lookup(topic: string): Promise<Lookup> {
    const source = this.#source(true)
    return new Lookup(source, await source.topic(topic))
  }

  /**
   * A queue over a topic, for this thread: each job goes to one consumer and comes back until it is acknowledged. The
   * first call that needs it makes it, from the earliest record on; from then on retention keeps what is not acknowledged.
   * @throws CLOSED, READ_ONLY
   */
  queue(name: string, options: QueueOptions = {}): Queue {
    this.#broker.demandOpen()
    const queue: Queue = new Queue(this.#owned, this.#readers, name, options, () => this.#queues.delete(queue))
    this.#queues.add(queue)
    return queue
  }

  /**
   * A handle for one other thread of this process. Post it with its port transferred, and attach there:
   * `worker.postMessage(handle, [handle.port])`, then `attachThread(handle)`.
   */
  threadHandle(): ThreadHandle & { readonly port: MessagePort } {
    this.#broker.demandOpen()
    const shares = new ShareSession(this.#shares as ShareCoordinator)
    const groups = (this.#groups as Groups).session()
    return serveThread(new LocalLink(this.#broker, shares, groups), producerIds => {
      shares.end()
      groups.end()
      for (const producerId of producerIds) void this.#broker.producers.reclaim(producerId)
    })
  }

  /**
   * Serves the directory to Kafka clients; nothing of it is loaded before. Any number of times, with other addresses; with `cluster` once,
   * for an engine that was opened with `replicas: true`: it is one broker of several then, `nodeId` is its id, and it takes part when this
   * resolves.
   * @throws DUPLICATE_BROKER, METADATA_STORE_UNAVAILABLE with `cluster`; READ_ONLY, INVALID_ARGUMENT, IO_ERROR when an address cannot be listened on, CLOSED
   */
  async listen(options: ListenOptions = {}): Promise<KafkaServer> {
    const { cluster } = options
    this.#broker.demandOpen()
    if (this.#broker.options.replicas !== (cluster !== undefined) || (cluster && this.#cluster !== undefined))
      throw new MillraceError('INVALID_ARGUMENT', {
        argument: 'cluster',
        expected: 'once for an engine that was opened with replicas: true, and for no other',
      })
    const { KafkaServer } = await import('../engine/kafka/server/server.ts')
    const server = await KafkaServer.open(this.#broker, this.#groups as Groups, options)
    this.#servers.add(server)
    if (cluster === undefined) return server
    try {
      const { ClusterListener } = await import('./cluster-listener.ts')
      this.#cluster = await ClusterListener.join(server, cluster)
      return server
    } catch (error) {
      this.#servers.delete(server)
      await server.close()
      throw error
    }
  }

  statistics(): EngineStatistics {
    const producers = this.#engine instanceof Broker ? this.#engine.producers.count : 0
    return { ...mappingStatistics(), producers, topics: this.#engine.topicNames().length }
  }

  /**
   * Closes the consumers, queues and producers of this thread, flushes everything, stops all threads and gives the directory
   * free. What producers of other threads have not handed over by then fails with CLOSED. May be called twice.
   */
  async close(): Promise<void> {
    const cluster = this.#cluster
    this.#cluster = undefined
    await cluster?.retire()
    await Promise.allSettled([...this.#servers].map(server => server.close()))
    await Promise.allSettled([...this.#consumers].map(consumer => consumer.close()))
    await Promise.allSettled([...this.#queues].map(queue => queue.close()))
    await Promise.allSettled([...this.#producers].map(producer => producer.close()))
    await this.#groups?.close()
    await this.#shares?.close()
    await this.#deadLetters?.close()
    this.#readers.close()
    try {
      await this.#engine.close()
    } finally {
      await cluster?.leave(this.#engine instanceof Broker && this.#engine.closedClean)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The registry over a store that only reads. */
function observedSchemas(observer: Observer): SchemaSource {
  const registry = new SchemaRegistry(observer.store.schemas)
  return {
    schemas: async (call, ...args) => {
      if (SCHEMA_WRITES.has(call)) throw new MillraceError('READ_ONLY', { directory: observer.directory })
      return callSchemas(registry, call, args)
    },
  }
}
