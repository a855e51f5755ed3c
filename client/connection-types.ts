/**
 * What code needs of Millrace that is to run over an engine in its own process and over a Kafka cluster alike. `Millrace` is such a
 * connection, and so is what `connect('kafka://…')` gives; `docs/API.md` says what they have in common and what not.
 *
 * What the network makes slow is a promise there and may be a plain value here: `await` works with both.
 */
import type {
  CommittedPosition,
  ConsumerEvents,
  ConsumerOptions,
  HandlerOptions,
  MessageHandlerOptions,
  OffsetToSeek,
  OffsetToStore,
  PartitionLag,
  RebalanceListener,
  Subscription,
  TopicPartition,
} from './consumer-types.ts'
import type { GroupDeletion, GroupDescription, GroupListing, OffsetChange, ResetOptions } from './group-types.ts'
import type { ConsumedRecord } from './record.ts'
import type {
  PartitionDescription,
  ProducerOptions,
  ReaderOptions,
  RecordMetadata,
  SendRequest,
  TopicDescription,
  TopicSpec,
} from './types.ts'

export type Awaitable<T> = T | Promise<T>

/** Records of one partition that came together. */
export interface RecordBatch extends Iterable<ConsumedRecord> {
  readonly topic: string
  readonly partition: number
  readonly baseOffset: number
  /** Where reading goes on. */
  readonly nextOffset: number
  readonly highWatermark: number
}

export interface PortableProducer extends AsyncDisposable {
  send(request: SendRequest): Promise<RecordMetadata[]>
  flush(): Promise<void>
  close(): Promise<void>
}

export interface PortableReader extends AsyncIterable<RecordBatch> {
  readonly positions: ReadonlyMap<number, number>
  records(): AsyncIterable<ConsumedRecord>
  close(): void
}

export interface PortableLookup {
  readonly topic: string
  readonly partitions: number
  byOffset(partition: number, offset: number): Awaitable<ConsumedRecord | undefined>
  byTimestamp(partition: number, timestamp: number): Awaitable<ConsumedRecord | undefined>
  earliest(partition: number): Awaitable<number>
  latest(partition: number): Awaitable<number>
  maxTimestamp(partition: number): Awaitable<{ offset: number; timestamp: number } | undefined>
  close(): void
}

/** What a partition is described by everywhere. */
export type PortablePartition = Pick<
  PartitionDescription,
  'partition' | 'logStartOffset' | 'logEndOffset' | 'highWatermark' | 'leaderEpoch'
>

export type PortableTopic = Pick<TopicDescription, 'topic' | 'topicId' | 'config'> & {
  readonly partitions: readonly PortablePartition[]
}

export interface PortableAdmin {
  createTopic(spec: TopicSpec): Promise<{ topicId: string }>
  listTopics(): Promise<string[]>
  describeTopic(topic: string): Promise<PortableTopic>
  createPartitions(topic: string, partitions: number): Promise<void>
  alterConfig(topic: string, config: Readonly<Record<string, string | number | boolean | null>>): Promise<void>
  deleteTopic(topic: string): Promise<void>
  deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<{ logStartOffset: number }>
  listGroups(): Promise<GroupListing[]>
  describeGroup(groupId: string): Promise<GroupDescription>
  deleteGroups(groupIds: readonly string[]): Promise<GroupDeletion[]>
  deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<void>
  resetOffsets(groupId: string, options: ResetOptions): Promise<OffsetChange[]>
}

/** What was handled: a record, a batch, or the next offset. */
export type Handled = ConsumedRecord | RecordBatch | OffsetToStore

export interface PortableConsumer extends AsyncIterable<RecordBatch>, AsyncDisposable {
  readonly groupId: string | null
  subscribe(topics: Subscription, listener?: RebalanceListener): Promise<void>
  unsubscribe(): Promise<void>
  assign(partitions: readonly TopicPartition[]): Promise<void>
  assignment(): TopicPartition[]
  records(): AsyncIterable<ConsumedRecord>
  eachMessage(handle: (record: ConsumedRecord) => unknown, options?: MessageHandlerOptions): Promise<void>
  eachBatch(handle: (batch: RecordBatch) => unknown, options?: HandlerOptions): Promise<void>
  stop(): void
  pause(partitions: readonly TopicPartition[]): void
  resume(partitions: readonly TopicPartition[]): void
  paused(): TopicPartition[]
  seek(position: OffsetToSeek): void
  seekToBeginning(partitions?: readonly TopicPartition[]): Awaitable<void>
  seekToEnd(partitions?: readonly TopicPartition[]): Awaitable<void>
  position(partition: TopicPartition): number
  lag(): Awaitable<PartitionLag[]>
  commit(handled?: Handled | readonly Handled[], options?: { readonly metadata?: string }): Promise<void>
  committed(partitions?: readonly TopicPartition[]): Promise<CommittedPosition[]>
  on<Name extends keyof ConsumerEvents>(event: Name, listener: (...args: ConsumerEvents[Name]) => void): this
  close(): Promise<void>
}

export interface Connection extends AsyncDisposable {
  readonly admin: PortableAdmin
  producer(options?: ProducerOptions): Promise<PortableProducer>
  consumer(options?: ConsumerOptions): PortableConsumer
  reader(options: ReaderOptions): PortableReader
  lookup(topic: string): Promise<PortableLookup>
  close(): Promise<void>
}
