/** A connection to a Kafka cluster, in the shape of the engine. What only an engine can do is UNSUPPORTED_OPERATION. */
import type { Connection } from '../connection-types.ts'
import { Consumer } from '../consumer.ts'
import { resolveConsumerOptions } from '../consumer-options.ts'
import type { ConsumerOptions } from '../consumer-types.ts'
import type { ProducerOptions, ReaderOptions } from '../types.ts'
import { RemoteAdmin } from './admin.ts'
import type { RemoteBatch } from './batch.ts'
import { Cluster } from './cluster.ts'
import { RemoteBackend } from './consumer-backend.ts'
import { unsupported } from './errors.ts'
import { RemoteLookup } from './lookup.ts'
import type { KafkaOptions } from './options.ts'
import { RemoteProducer } from './producer.ts'
import { RemoteReader } from './reader.ts'

export class RemoteConnection implements Connection {
  readonly admin: RemoteAdmin
  readonly #cluster: Cluster
  readonly #open = new Set<{ close(): unknown }>()

  private constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.admin = new RemoteAdmin(cluster)
  }

  /** @param brokers `host:port` @throws CONNECTION_FAILED, INVALID_ARGUMENT */
  static async open(brokers: readonly string[], options: KafkaOptions): Promise<RemoteConnection> {
    return new RemoteConnection(await Cluster.open(brokers, options))
  }

  /** @throws INVALID_ARGUMENT */
  async producer(options: ProducerOptions = {}): Promise<RemoteProducer> {
    return this.#makeProducer(options)
  }

  #makeProducer(options: ProducerOptions): RemoteProducer {
    const producer: RemoteProducer = new RemoteProducer(this.#cluster, options, () => this.#open.delete(producer))
    this.#open.add(producer)
    return producer
  }

  /** @throws INVALID_ARGUMENT, INVALID_GROUP_ID */
  consumer(options: ConsumerOptions = {}): Consumer<RemoteBatch> {
    const { maxBytes, isolation } = resolveConsumerOptions(options)
    const limits = { maxBytes, isCommitted: isolation === 'read_committed' }
    const backend = new RemoteBackend(this.#cluster, this.admin.client, limits, made => this.#makeProducer(made))
    const consumer: Consumer<RemoteBatch> = new Consumer(backend, options, () => this.#open.delete(consumer))
    this.#open.add(consumer)
    return consumer
  }

  /** @throws INVALID_ARGUMENT */
  reader(options: ReaderOptions): RemoteReader {
    const reader = new RemoteReader(this.#cluster, options, closed => this.#open.delete(closed))
    if (!reader.isClosed) this.#open.add(reader)
    return reader
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async lookup(topic: string): Promise<RemoteLookup> {
    const { partitions } = await this.#cluster.topic(topic)
    return new RemoteLookup(this.#cluster, topic, partitions.length)
  }

  /** @throws UNSUPPORTED_OPERATION always */
  queue(): never {
    throw unsupported('queue')
  }

  /** @throws UNSUPPORTED_OPERATION always */
  get schemas(): never {
    throw unsupported('schemas')
  }

  /** Closes what was made of it, and its connections. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open].map(each => each.close()))
    await this.admin.close()
    await this.#cluster.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
