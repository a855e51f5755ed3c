/** What the handlers of requests share: the engine behind the server, and what the server remembers. In the broker's thread. */
import { MillraceError } from '../base/errors.ts'
import { Arrivals } from '../broker/arrivals.ts'
import type { Broker } from '../broker/broker.ts'
import type { ClientPartition, ClientTopic } from '../broker/topic-metadata.ts'
import type { Groups } from '../group/groups.ts'
import { KAFKA_ERROR } from './error-codes.ts'
import { FetchSessions } from './server/fetch-sessions.ts'
import { Ingest } from './server/ingest.ts'
import type { Endpoint } from './server/listener.ts'
import { TopicDirectory } from './server/topic-directory.ts'
import { WireReaders } from './server/wire-readers.ts'

export interface ServiceSettings {
  readonly nodeId: number
  /** A topic that a client asks for and that is not there is made, as Kafka's `auto.create.topics.enable`. */
  readonly autoCreateTopics: boolean
  /** Partitions of a topic that is made without a number, as Kafka's `num.partitions`. */
  readonly defaultPartitions: number
  /** Memory for produced batches on their way to the log. */
  readonly produceBufferBytes: number
}

/** Who asks. */
export interface Call {
  readonly apiVersion: number
  readonly clientId: string
  /** `/address` */
  readonly clientHost: string
  /** What the client is told to connect to. */
  readonly endpoint: Endpoint
  /** Aborted when the connection ends. */
  readonly signal: AbortSignal
}

const SESSION_ID_END = 0x7fff_ffff

export class KafkaService {
  readonly broker: Broker
  readonly groups: Groups
  readonly settings: ServiceSettings
  readonly topics: TopicDirectory
  readonly readers: WireReaders
  readonly arrivals: Arrivals
  readonly ingest: Ingest
  readonly sessions: FetchSessions
  /** 22 characters, as Kafka's: the UUID of the directory. */
  readonly clusterId: string

  private constructor(broker: Broker, groups: Groups, settings: ServiceSettings, ingest: Ingest) {
    this.broker = broker
    this.groups = groups
    this.settings = settings
    this.ingest = ingest
    this.topics = new TopicDirectory(broker)
    this.readers = new WireReaders(broker.memory)
    this.arrivals = new Arrivals(broker.memory)
    this.sessions = new FetchSessions(
      () => performance.now(),
      () => Math.floor(Math.random() * SESSION_ID_END),
    )
    this.clusterId = Buffer.from(broker.store.directoryId.replaceAll('-', ''), 'hex').toString('base64url')
  }

  /** @throws TOO_MANY_PRODUCERS, CLOSED */
  static async open(broker: Broker, groups: Groups, settings: ServiceSettings): Promise<KafkaService> {
    const link = {
      memory: broker.memory,
      attachProducer: broker.producers.attach.bind(broker.producers),
      reattachProducer: broker.producers.reattach.bind(broker.producers),
      detachProducer: broker.producers.detach.bind(broker.producers),
      isUnanswered: () => false,
    }
    return new KafkaService(broker, groups, settings, await Ingest.attach(link, settings.produceBufferBytes))
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

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  demandPartition(topic: string, partition: number): ClientPartition {
    const found = this.topics.byName(topic)?.partitions[partition]
    if (found === undefined)
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: topic.slice(0, 64), partition })
    return found
  }

  async close(): Promise<void> {
    this.readers.close()
    await this.ingest.close()
  }
}
