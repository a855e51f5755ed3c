/** Administration of topics and groups. Calls change one thing after another, in the order in which they were made. */

import { MillraceError } from '../engine/base/errors.ts'
import { TOPIC_PARTITIONS_MAX } from '../engine/base/limits.ts'
import type { AdoptedTopic } from '../engine/broker/adoption.ts'
import type { Broker } from '../engine/broker/broker.ts'
import type { CompactionSummary } from '../engine/broker/compactor.ts'
import { whole } from '../engine/broker/options.ts'
import type { ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { TruncationTarget } from '../engine/broker/truncation-target.ts'
import type { GroupSource } from '../engine/group/group-source.ts'
import type { ShareGroupDescription, ShareSource } from '../engine/group/share/share-calls.ts'
import type { EpochEnd } from '../engine/log/leader-epochs.ts'
import { PartitionReader } from '../engine/log/partition-reader.ts'
import type { EngineMemory } from '../engine/memory/engine-memory.ts'
import type { TopicPartition } from './consumer-types.ts'
import { GroupAdmin } from './group-admin.ts'
import type { GroupDeletion, GroupDescription, GroupListing, OffsetChange, ResetOptions } from './group-types.ts'
import { peekJobs } from './queue-peek.ts'
import type { PeekedJob } from './queue-types.ts'
import type { TopicChanges } from './topic-changes.ts'
import type { PartitionDescription, TopicDescription, TopicSpec } from './types.ts'

const LEADER_EPOCH_MAX = 0x7fff_ffff

/** Jobs of one look: all of them are in memory at once. */
const PEEK_MAX = 100_000

/** What an engine and an observer of a directory both can tell. */
export interface TopicSource {
  readonly directory: string
  readonly memory: EngineMemory
  demandOpen(): void
  topicNames(): string[]
  topicConfig(topic: string): Record<string, string>
  clientTopic(topic: string): ClientTopic | Promise<ClientTopic>
}

/** Who has the directory. */
export interface Owner {
  readonly broker: Broker
  readonly topics: TopicChanges
}

export class Admin {
  readonly #source: TopicSource
  readonly #owner: Owner | undefined
  readonly #shares: ShareSource
  readonly #groups: GroupAdmin

  /** @internal Use `Millrace.admin`. */
  constructor(source: TopicSource, owner: Owner | undefined, shares: ShareSource, groups: GroupSource) {
    this.#source = source
    this.#owner = owner
    this.#shares = shares
    this.#groups = new GroupAdmin(source, groups)
  }

  get #broker(): Broker {
    return this.#demandOwner().broker
  }

  get #topics(): TopicChanges {
    return this.#demandOwner().topics
  }

  #demandOwner(): Owner {
    if (this.#owner === undefined) throw new MillraceError('READ_ONLY', { directory: this.#source.directory })
    return this.#owner
  }

  /**
   * Creates a topic; it takes records when this resolves.
   * @returns the topic's id, a UUID
   * @throws INVALID_TOPIC_NAME, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_CONFIG, DISK_FULL, IO_ERROR, INVALID_ARGUMENT when
   *   its folder holds records that the engine does not know
   */
  async createTopic(spec: TopicSpec): Promise<{ topicId: string }> {
    const { topic, partitions = 1, replicationFactor, config = {} } = spec
    return { topicId: await this.#topics.createTopic({ topic, partitions, replicationFactor, config }) }
  }

  /**
   * Takes in a topic that something else wrote, such as Apache Kafka: its folders `<topic>-0`, `<topic>-1`, … were put into the data
   * directory, with the engine open or closed. Every batch is read first; a folder that cannot be served is refused as it is.
   * Afterwards the log goes on under a new leader epoch. The topic keeps the id in Kafka's `partition.metadata`.
   * @param spec.config as for a new topic: Kafka keeps it elsewhere. A compacted topic should stay one
   * @returns the topic's id, and how many partitions were found
   * @throws DIRECTORY_NOT_FOUND without a folder, INVALID_PARTITIONS when one is missing in between, TOPIC_ALREADY_EXISTS,
   *   INVALID_TOPIC_NAME, INVALID_CONFIG, INVALID_ARGUMENT when the folders are of several topics, UNSUPPORTED_FORMAT for batches older
   *   than magic 2 and for a transaction that has not ended, CORRUPT_BATCH, CORRUPT_INDEX, DISK_FULL, IO_ERROR
   * Cost: one CRC over all of it.
   */
  async adoptTopic(spec: Omit<TopicSpec, 'partitions'>): Promise<AdoptedTopic> {
    this.#topics.demandAlone('adoptTopic')
    const { topic, config = {} } = spec
    return this.#broker.adoptTopic(topic, config)
  }

  /** Names of all topics, sorted. */
  async listTopics(): Promise<string[]> {
    this.#source.demandOpen()
    return this.#source.topicNames()
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async describeTopic(topic: string): Promise<TopicDescription> {
    this.#source.demandOpen()
    const { topicId, partitions } = await this.#source.clientTopic(topic)
    const { control, segments } = this.#source.memory
    const described = partitions.map(located => describePartition(new PartitionReader(located, control, segments)))
    return { topic, topicId, partitions: described, config: this.#source.topicConfig(topic) }
  }

  /** Gives a topic more partitions. @param partitions the new total @throws INVALID_PARTITIONS unless that is more */
  async createPartitions(topic: string, partitions: number): Promise<void> {
    return this.#topics.createPartitions(topic, whole('partitions', partitions, 1, TOPIC_PARTITIONS_MAX))
  }

  /** Sets configuration keys; `null` puts a key back to its default. @throws INVALID_CONFIG */
  async alterConfig(topic: string, config: Readonly<Record<string, string | number | boolean | null>>): Promise<void> {
    return this.#topics.alterConfig(topic, config)
  }

  /** Deletes a topic and its records. Views that were read stay valid. @throws UNKNOWN_TOPIC_OR_PARTITION */
  async deleteTopic(topic: string): Promise<void> {
    return this.#topics.deleteTopic(topic)
  }

  /**
   * Deletes the records of a partition below an offset; -1 stands for the high watermark.
   * @returns the new log start offset, durable
   * @throws OFFSET_OUT_OF_RANGE above the high watermark
   */
  async deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<{ logStartOffset: number }> {
    whole('beforeOffset', beforeOffset, -1, Number.MAX_SAFE_INTEGER)
    return { logStartOffset: await this.#broker.deleteRecords(topic, partition, beforeOffset) }
  }

  /**
   * Deletes the newest records of a partition: from an offset on, or behind the end of a leader epoch (KIP-101). Batches go as
   * wholes, the one that holds the offset with them, so the log may end below it. Committed offsets above the new end are lowered to it
   * (event `offsetsClamped`), readers beyond it get OFFSET_OUT_OF_RANGE, what is sent meanwhile fails with LEADER_NOT_AVAILABLE.
   * Views that were read stay valid. A crash leaves the whole log or the cut one.
   * @returns where the log ends, durable, and the leader epoch under which it goes on
   * @throws OFFSET_OUT_OF_RANGE below the log start, or for an epoch that has not begun; DISK_FULL, IO_ERROR
   * Cost: the last segment that is left is written anew.
   */
  async truncate(topic: string, partition: number, target: TruncationTarget): Promise<EpochEnd> {
    this.#topics.demandAlone('truncate')
    if ('offset' in target) whole('offset', target.offset, 0, Number.MAX_SAFE_INTEGER)
    else whole('leaderEpoch', target.leaderEpoch, 0, LEADER_EPOCH_MAX)
    return this.#broker.truncate(topic, partition, target)
  }

  /**
   * Where a leader epoch ends in a partition's log, as Kafka's OffsetsForLeaderEpoch: of the largest epoch up to the one that is
   * asked for, the offset behind its last record. From there on another replica's log may differ (KIP-101, KIP-279).
   * @returns undefined for an epoch that has not begun here
   * @throws UNKNOWN_TOPIC_OR_PARTITION
   */
  async offsetForLeaderEpoch(topic: string, partition: number, leaderEpoch: number): Promise<EpochEnd | undefined> {
    whole('leaderEpoch', leaderEpoch, 0, LEADER_EPOCH_MAX)
    this.#broker.demandOpen()
    return this.#broker.offsetForLeaderEpoch(topic, partition, leaderEpoch)
  }

  /** Applies retention now rather than at its next turn. @returns segments removed */
  async applyRetention(): Promise<number> {
    this.#broker.demandOpen()
    return this.#broker.applyRetention()
  }

  /**
   * Compacts the topics with `cleanup.policy=compact` now rather than at the next turn: those that are due, or with `force` whatever
   * lies in closed segments and is old enough for `min.compaction.lag.ms`.
   * @returns partitions that were compacted, records removed, bytes read and written
   * @throws CORRUPT_BATCH, CORRUPT_RECORD, DISK_FULL, IO_ERROR: the first that a partition met, whose log is as it was
   */
  async applyCompaction({ force = false }: { readonly force?: boolean } = {}): Promise<CompactionSummary> {
    this.#broker.demandOpen()
    return this.#broker.applyCompaction(force)
  }

  /** Names of the share groups of all queues, sorted. */
  async listQueues(): Promise<string[]> {
    return this.#shares.list()
  }

  /** Settings, consumers and numbers of a share group. Read-only, locked jobs count as available. @throws UNKNOWN_QUEUE */
  async describeQueue(group: string): Promise<ShareGroupDescription> {
    return this.#shares.describe(group)
  }

  /** The first jobs of a share group that are still to be done, without locking them. @throws UNKNOWN_QUEUE, and as reading */
  async peekQueue(group: string, { count = 10 }: { readonly count?: number } = {}): Promise<PeekedJob[]> {
    return peekJobs(this.#source, await this.#shares.live(group, whole('count', count, 1, PEEK_MAX)))
  }

  /**
   * Forgets a share group: what it had done and what not. Its topic and the records in it stay, and retention may remove them.
   * @throws UNKNOWN_QUEUE
   */
  async deleteQueue(group: string): Promise<void> {
    return this.#shares.delete(group)
  }

  // ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All groups, by id. Read-only, as they are stored. */
  async listGroups(): Promise<GroupListing[]> {
    this.#source.demandOpen()
    return this.#groups.list()
  }

  /** Members with what they own, and what the group has committed with its lag. @throws GROUP_ID_NOT_FOUND */
  async describeGroup(groupId: string): Promise<GroupDescription> {
    this.#source.demandOpen()
    return this.#groups.describe(groupId)
  }

  /** Deletes groups that have no members, and what they committed. @returns for each what hindered it, if anything did */
  async deleteGroups(groupIds: readonly string[]): Promise<GroupDeletion[]> {
    this.#source.demandOpen()
    return this.#groups.delete(groupIds)
  }

  /**
   * Forgets what a group committed for partitions of topics that its members are not subscribed to.
   * @throws GROUP_ID_NOT_FOUND, GROUP_SUBSCRIBED_TO_TOPIC, NON_EMPTY_GROUP, UNKNOWN_TOPIC_OR_PARTITION
   */
  async deleteOffsets(groupId: string, partitions: readonly TopicPartition[]): Promise<void> {
    this.#source.demandOpen()
    return this.#groups.deleteOffsets(groupId, partitions)
  }

  /**
   * Commits other offsets for a group without members; with `topics` or `partitions` also for one that is new.
   * @returns what was, or with `dryRun` would be, done
   * @throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT
   */
  async resetOffsets(groupId: string, options: ResetOptions): Promise<OffsetChange[]> {
    this.#source.demandOpen()
    return this.#groups.reset(groupId, options)
  }
}

export function describePartition(reader: PartitionReader): PartitionDescription {
  const error = reader.failure()
  const { logStartOffset, logEndOffset, highWatermark } = reader
  const described = {
    partition: reader.location.partition,
    logStartOffset,
    logEndOffset,
    highWatermark,
    ...reader.describe(),
    ...(error === undefined ? {} : { error }),
  }
  reader.unmap()
  return described
}
