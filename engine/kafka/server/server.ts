/**
 * A Kafka broker over a running engine: listeners, connections, requests. Everything runs in the broker's thread; nothing in it waits
 * for one client on behalf of another.
 *
 * Bounds: connections, in all and from one address; bytes of requests that are not complete (the connection that holds
 * most is ended); idle connections; memory for produced batches. What one client breaks is its own connection.
 */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { MillraceError } from '../../base/errors.ts'
import { GIB, KIB, MIB } from '../../base/limits.ts'
import type { Broker } from '../../broker/broker.ts'
import { whole } from '../../broker/options.ts'
import { ClusterNode, type ClusterOptions } from '../../cluster/cluster-node.ts'
import type { MetadataStore } from '../../cluster/metadata-store.ts'
import type { ReplicaSource } from '../../cluster/replica-source.ts'
import type { Groups } from '../../group/groups.ts'
import type { ClusterView } from '../cluster-view.ts'
import { GroupPlacement } from '../group-placement.ts'
import { CONNECTIONS_MAX, PENDING_BYTES_MAX, REQUEST_BYTES_MAX } from '../limits.ts'
import { LocalSource } from '../local-source.ts'
import { PeerSource } from '../peer-source.ts'
import { KafkaService } from '../service.ts'
import { type Answer, Connection, type ConnectionHandler } from './connection.ts'
import { Dispatcher, isPipelined } from './dispatcher.ts'
import type { ReceivedRequest } from './frame-assembler.ts'
import { type Endpoint, Listener, type ListenerOptions } from './listener.ts'

export type { Endpoint, ListenerOptions } from './listener.ts'

export interface KafkaServerOptions extends ListenerOptions {
  /** Several addresses; the ones above are not used then. */
  readonly listeners?: readonly ListenerOptions[]
  /** Number of this broker, as Kafka's `node.id`. Default 1. */
  readonly nodeId?: number
  /** A topic that a client asks for and that is not there is made, as Kafka's `auto.create.topics.enable`. Default true. */
  readonly autoCreateTopics?: boolean
  /** Partitions of a topic that is made without a number, as Kafka's `num.partitions`. Default 1. */
  readonly defaultPartitions?: number
  /** Connections in all, and from one address. Default 16,384 both. */
  readonly connectionsMax?: number
  readonly connectionsPerAddressMax?: number
  /** A connection on which nothing comes or goes for so long ends, as Kafka's `connections.max.idle.ms`. Default 600,000. */
  readonly connectionIdleMs?: number
  /** Longest request, as Kafka's `socket.request.max.bytes`. Default 100 MiB. */
  readonly requestBytesMax?: number
  /** Memory for produced batches on their way to the log. Default 64 MiB; a request has to fit. */
  readonly produceBufferBytes?: number
  /** Closing waits so long for answers that are under way. Default 5,000. */
  readonly drainMs?: number
  /** Changes or delays what happens to requests, for tests of clients: see `millrace/testing`. */
  readonly interceptor?: Interceptor
}

/** What is done with a request instead of carrying it out: its connection ends, or everything in it is answered with an error. */
export type Intervention = { readonly kind: 'drop' } | { readonly kind: 'error'; readonly errorCode: number }

/** Stands in front of requests, for tests of clients. */
export interface Interceptor {
  /** Called before a request is carried out, which it is when this gives nothing; a promise delays it. */
  before(apiKey: number, apiVersion: number): Promise<Intervention | undefined> | Intervention | undefined
}

export interface ServerEvents {
  /** A connection was ended by this side: why. */
  connectionEnded: [reason: Error, address: string]
}

export interface JoinOptions extends ClusterOptions {
  /** Brokers of this process by id, this one among them afterwards: they replicate through shared memory. */
  readonly peers?: Map<number, KafkaServer>
}

const INT_MAX = 0x7fff_ffff

export class KafkaServer extends EventEmitter<ServerEvents> implements ConnectionHandler {
  readonly #service: KafkaService
  readonly #dispatcher: Dispatcher
  readonly #options: KafkaServerOptions
  readonly #connectionsMax: number
  readonly #perAddressMax: number
  readonly #idleMs: number
  readonly #requestBytesMax: number
  readonly #drainMs: number
  readonly #listeners: Listener[] = []
  readonly #connections = new Map<Connection, Listener>()
  readonly #perAddress = new Map<string, number>()
  readonly #timer: NodeJS.Timeout
  #pendingBytes = 0
  #closing: Promise<void> | undefined

  private constructor(service: KafkaService, options: KafkaServerOptions) {
    super()
    this.#service = service
    this.#dispatcher = new Dispatcher(service)
    this.#options = options
    this.#connectionsMax = whole('connectionsMax', options.connectionsMax ?? CONNECTIONS_MAX, 1, INT_MAX)
    const perAddress = options.connectionsPerAddressMax ?? this.#connectionsMax
    this.#perAddressMax = whole('connectionsPerAddressMax', perAddress, 1, INT_MAX)
    this.#idleMs = whole('connectionIdleMs', options.connectionIdleMs ?? 600_000, 1, INT_MAX)
    this.#requestBytesMax = whole('requestBytesMax', options.requestBytesMax ?? REQUEST_BYTES_MAX, KIB, GIB)
    this.#drainMs = whole('drainMs', options.drainMs ?? 5_000, 0, INT_MAX)
    this.#timer = setInterval(() => this.#endIdle(), Math.min(Math.max(this.#idleMs / 4, 10), 10_000)).unref()
  }

  /** Serves an engine. @throws INVALID_ARGUMENT, IO_ERROR when an address cannot be listened on, CLOSED */
  static async open(broker: Broker, groups: Groups, options: KafkaServerOptions = {}): Promise<KafkaServer> {
    const service = new KafkaService(broker, groups, {
      nodeId: whole('nodeId', options.nodeId ?? 1, 0, INT_MAX),
      autoCreateTopics: options.autoCreateTopics ?? true,
      defaultPartitions: whole('defaultPartitions', options.defaultPartitions ?? 1, 1, 10_000),
      produceBufferBytes: whole('produceBufferBytes', options.produceBufferBytes ?? 64 * MIB, MIB, GIB),
    })
    let server: KafkaServer | undefined
    try {
      server = new KafkaServer(service, options)
      for (const listener of options.listeners ?? [options]) await server.#listen(listener)
      return server
    } catch (error) {
      if (server === undefined) await service.close()
      else await server.close()
      throw error
    }
  }

  async #listen(options: ListenerOptions): Promise<void> {
    this.#listeners.push(await Listener.open(options, (socket, listener) => this.#accept(socket, listener)))
  }

  /**
   * Makes the engine one broker of a cluster, under the first listener's address: it takes part once this resolves. `leaveCluster` before it
   * is closed.
   * @throws DUPLICATE_BROKER, METADATA_STORE_UNAVAILABLE, CLOSED
   */
  async joinCluster(
    store: MetadataStore,
    { peers, ...options }: JoinOptions,
    report: (error: MillraceError) => void,
  ): Promise<ClusterNode> {
    const { broker, settings } = this.#service
    const brokerId = settings.nodeId
    const { groups, readers } = this.#service
    const ingest = await this.#service.attached()
    const node = await ClusterNode.open({
      ...options,
      brokerId,
      broker,
      ingest,
      store,
      address: this.#advertised(),
      sourceOf: leader => peers?.get(leader.brokerId)?.localSource(this.#service) ?? new PeerSource(leader, brokerId),
      report,
    })
    this.#service.join(node, new GroupPlacement({ broker, node, groups, ingest, readers, report }))
    peers?.set(brokerId, this)
    try {
      await node.start()
    } catch (error) {
      peers?.delete(brokerId)
      throw error
    }
    return node
  }

  /** The cluster as this broker sees it. */
  get cluster(): ClusterView {
    return this.#service.cluster
  }

  /** Replication from this broker to another of the same process. */
  localSource(follower: KafkaService): ReplicaSource {
    return new LocalSource(this.#service, follower)
  }

  /** Where other brokers find this one. @throws INVALID_ARGUMENT where that is not said */
  #advertised(): Endpoint {
    const [first = this.#options] = this.#options.listeners ?? []
    const { host, port } = this.addresses[0] as Endpoint
    const advertised = { host: first.advertisedHost ?? host, port: first.advertisedPort ?? port }
    if (advertised.host !== '0.0.0.0' && advertised.host !== '::') return advertised
    throw new MillraceError('INVALID_ARGUMENT', {
      argument: 'advertisedHost',
      value: advertised.host,
      expected: 'a host',
    })
  }

  /** Where it listens, in the order of the listeners. */
  get addresses(): readonly Endpoint[] {
    return this.#listeners.map(({ host, port }) => ({ host, port }))
  }

  /** Of the first listener. */
  get port(): number {
    return (this.#listeners[0] as Listener).port
  }

  /** What clients are told as the id of the cluster: the directory's own. */
  get clusterId(): string {
    return this.#service.clusterId
  }

  get connections(): number {
    return this.#connections.size
  }

  #accept(socket: Socket, listener: Listener): void {
    const address = socket.remoteAddress ?? ''
    const fromHere = this.#perAddress.get(address) ?? 0
    if (
      this.#closing !== undefined ||
      this.#connections.size >= this.#connectionsMax ||
      fromHere >= this.#perAddressMax
    ) {
      socket.destroy()
      return
    }
    this.#perAddress.set(address, fromHere + 1)
    const connection = new Connection(socket, this, { requestBytesMax: this.#requestBytesMax })
    this.#connections.set(connection, listener)
  }

  // ── for connections ───────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal */
  handle(request: ReceivedRequest, connection: Connection): Answer | Promise<Answer> {
    const endpoint = (this.#connections.get(connection) as Listener).endpoint(connection.socket)
    const go = (intervention?: Intervention): Answer | Promise<Answer> => {
      if (intervention === undefined) return this.#dispatcher.handle(request, connection, endpoint)
      if (intervention.kind === 'error') return this.#dispatcher.refuse(request, intervention.errorCode)
      throw new MillraceError('CLOSED', { object: 'connection' })
    }
    const first = this.#options.interceptor?.before(request.apiKey, request.apiVersion)
    return first instanceof Promise ? first.then(go) : go(first)
  }

  /** @internal */
  isPipelined(request: ReceivedRequest): boolean {
    return isPipelined(request)
  }

  /** @internal */
  holds(_: Connection, bytes: number): void {
    this.#pendingBytes += bytes
    if (bytes <= 0 || this.#pendingBytes <= PENDING_BYTES_MAX) return
    let most: Connection | undefined
    for (const connection of this.#connections.keys()) {
      if (most === undefined || connection.pendingBytes > most.pendingBytes) most = connection
    }
    most?.end(new MillraceError('BACK_PRESSURE', { pendingBytes: most.pendingBytes, maxBytes: PENDING_BYTES_MAX }))
  }

  /** @internal */
  ended(connection: Connection, reason: unknown): void {
    if (!this.#connections.delete(connection)) return
    const address = connection.address
    const left = (this.#perAddress.get(address) ?? 1) - 1
    if (left === 0) this.#perAddress.delete(address)
    else this.#perAddress.set(address, left)
    if (reason === undefined) return
    // A bug of ours: whoever does not listen here is to know of it too.
    if (!(reason instanceof MillraceError))
      this.#service.broker.emit('warning', new MillraceError('IO_ERROR', { object: 'Kafka server', address }, reason))
    this.emit('connectionEnded', reason instanceof Error ? reason : new Error(String(reason)), address)
  }

  #endIdle(): void {
    const untilMs = performance.now() - this.#idleMs
    for (const connection of this.#connections.keys()) {
      if (connection.activeMs <= untilMs && connection.isIdle) connection.end()
    }
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Nobody connects any more; requests that are under way are answered, then connections end. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown()
    return this.#closing
  }

  async #shutDown(): Promise<void> {
    clearInterval(this.#timer)
    const listeners = this.#listeners.map(listener => listener.close())
    await Promise.all([...this.#connections.keys()].map(connection => connection.drain(this.#drainMs)))
    await Promise.all(listeners)
    await this.#service.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
