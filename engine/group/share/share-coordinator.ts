/**
 * The coordinator of share groups: queues as their consumers and the administration see them. Runs in the broker's
 * thread, around one pure `SharePartition` for each group and partition; consumers of all threads call it with plain data
 * (share-calls.ts). Records do not pass through it: it hands out ranges of offsets, and consumers read the mapped log.
 *
 * A group and what it has begun is stored, so a start loads all of it, and what was on its way to a dead-letter topic goes on.
 */
import type { TopicId } from '../../base/brands.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import type { Broker } from '../../broker/broker.ts'
import { setQueueFloor } from '../../broker/queue-floors.ts'
import type { ShareGroupConfig } from '../../store/share-states.ts'
import { type AppendDeadLetters, DeadLetters } from './dead-letters.ts'
import { LiveRanges } from './live-ranges.ts'
import type {
  AcquiredRecords,
  LiveRange,
  ShareAcknowledgeRequest,
  ShareAcknowledgeResult,
  ShareCancelRequest,
  ShareFetchRequest,
  ShareGroupDescription,
  ShareMember,
  ShareOpenRequest,
  ShareOpenResult,
  ShareSource,
  ShareTopicSpec,
} from './share-calls.ts'
import { checkShareConfig, defaultShareConfig, settingsOf } from './share-config.ts'
import { ShareWrites } from './share-writes.ts'
import { type HostedShare, SharedTopic, type SharedTopicHost } from './shared-topic.ts'

interface ShareGroup {
  readonly group: string
  config: ShareGroupConfig
  /** By topic id. */
  readonly topics: Map<string, SharedTopic>
}

export interface ShareLimits {
  /** How many queues there may be. */
  readonly groupsMax: number
  /** True for the id of a consumer group, which no queue may have. */
  readonly isConsumerGroup: (groupId: string) => boolean
}

export class ShareCoordinator implements ShareSource {
  readonly #broker: Broker
  readonly #groups = new Map<string, ShareGroup>()
  readonly #writes: ShareWrites
  readonly #deadLetters: DeadLetters
  readonly #host: SharedTopicHost
  readonly #metadataChanged = (): void => this.#followTopics()
  /** Before anybody acquires what is appended behind the cut. */
  readonly #logCut = ({ topicId, partition }: { topicId: string; partition: number }, logEndOffset: number): void => {
    for (const { topics } of this.#groups.values()) {
      const shared = topics.get(topicId)
      const hosted = shared?.partitions[partition]
      hosted?.share.logCut(logEndOffset)
      if (hosted !== undefined) shared?.touched(hosted)
    }
  }
  readonly #limits: ShareLimits
  #isClosed = false

  /** @param append how dead letters get into their topic */
  constructor(broker: Broker, append: AppendDeadLetters, limits: ShareLimits, clock: Clock = systemClock) {
    this.#broker = broker
    this.#limits = limits
    const failed = (error: unknown): void => {
      if (!this.#isClosed) broker.emit('warning', asError(error))
    }
    this.#writes = new ShareWrites(broker.store.shares, failed)
    this.#deadLetters = new DeadLetters(append, failed)
    this.#host = {
      memory: broker.memory,
      clock,
      changed: hosted => this.#writes.note(hosted),
      stored: hosted => this.#setFloor(hosted),
      deadLetter: (hosted, letter) => {
        const { group, location } = hosted
        const deadLetterTopic = this.#groups.get(group)?.config.deadLetterTopic
        const appended = (): void => this.#deadLettered(hosted, letter.firstOffset, letter.lastOffset)
        if (deadLetterTopic == null)
          appended() // switched off meanwhile
        else this.#deadLetters.add({ ...letter, group, deadLetterTopic, location }, appended)
      },
    }
    this.#restore()
    broker.memory.metadataListeners.add(this.#metadataChanged)
    broker.logEndListeners.add(this.#logCut)
  }

  #restore(): void {
    const { shares } = this.#broker.store
    for (const [group, config] of shares.groups()) this.#groups.set(group, { group, config, topics: new Map() })
    const names = new Map(
      this.#broker.topicNames().map(topic => [this.#broker.clientTopic(topic).topicId as string, topic]),
    )
    for (const { group, topicId } of shares.partitions()) {
      const known = this.#groups.get(group)
      const topic = names.get(topicId)
      if (known !== undefined && topic !== undefined && !known.topics.has(topicId)) this.#share(known, topic)
    }
  }

  // ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes a topic a queue of a group, from its earliest record on, or takes over settings for one that is. Stored when
   * this resolves, and retention keeps what the group has not done from before that on.
   * @throws UNKNOWN_TOPIC_OR_PARTITION, QUEUE_IS_COMPACTED, INVALID_ARGUMENT, DISK_FULL; GROUP_ID_NOT_FOUND where a consumer
   *   group has the name; TOO_MANY_GROUPS
   */
  async open({ group, topic, config, create }: ShareOpenRequest): Promise<ShareOpenResult> {
    this.#demandOpen()
    if (!this.#groups.has(group)) this.#demandMayCreate(group)
    if (create !== undefined) await this.#create(topic, create)
    const { topicId } = this.#broker.clientTopic(topic)
    if (this.#broker.topicConfig(topic)['cleanup.policy']?.includes('compact') === true) {
      throw new MillraceError('QUEUE_IS_COMPACTED', { topic })
    }
    const known = this.#groups.get(group) ?? { group, config: defaultShareConfig(topic), topics: new Map() }
    const changed = checkShareConfig(topic, { ...known.config, ...config })
    if (!this.#groups.has(group) || JSON.stringify(changed) !== JSON.stringify(known.config)) {
      this.#broker.store.shares.putGroup(group, changed)
      known.config = changed
      this.#groups.set(group, known)
      for (const shared of known.topics.values()) shared.configure(settingsOf(changed))
    }
    if (!known.topics.has(topicId)) this.#share(known, topic)
    await this.#writes.stored()
    return { topicId, config: known.config }
  }

  #demandMayCreate(group: string): void {
    const { groupsMax, isConsumerGroup } = this.#limits
    if (isConsumerGroup(group))
      throw new MillraceError('GROUP_ID_NOT_FOUND', { group, reason: 'it is a consumer group' })
    if (this.#groups.size >= groupsMax) throw new MillraceError('TOO_MANY_GROUPS', { group, groupsMax })
  }

  async #create(topic: string, { partitions = 1, config = {} }: ShareTopicSpec): Promise<void> {
    if (this.#broker.topicNames().includes(topic)) return
    try {
      await this.#broker.createTopic(topic, partitions, config)
    } catch (error) {
      if (!isMillraceError(error, 'TOPIC_ALREADY_EXISTS')) throw error // another consumer was first
    }
  }

  #share(group: ShareGroup, topic: string): void {
    const { topicId, partitions } = this.#broker.clientTopic(topic)
    const shared = new SharedTopic(this.#host, group.group, topic, topicId as TopicId)
    group.topics.set(topicId, shared)
    for (const location of partitions) this.#add(group, shared, location)
  }

  #add(group: ShareGroup, shared: SharedTopic, location: HostedShare['location']): void {
    const key = { group: group.group, topicId: shared.topicId, partition: location.partition }
    shared.add(location, settingsOf(group.config), this.#broker.store.shares.get(key))
  }

  /** Topics were deleted, or have more partitions: these begin at once, before retention could take anything from them. */
  #followTopics(): void {
    for (const group of this.#groups.values()) {
      for (const shared of group.topics.values()) {
        const current = this.#broker.topicNames().includes(shared.topic)
          ? this.#broker.clientTopic(shared.topic)
          : undefined
        if (current?.topicId !== shared.topicId) {
          group.topics.delete(shared.topicId)
          shared.close(new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: shared.topic }))
        } else
          for (const location of current.partitions.slice(shared.partitions.length)) this.#add(group, shared, location)
      }
    }
  }

  /** True when there is a queue of that name. */
  has(group: string): boolean {
    return this.#groups.has(group)
  }

  /** Names of the groups, sorted. */
  list(): string[] {
    this.#demandOpen()
    return [...this.#groups.keys()].sort()
  }

  /** @throws UNKNOWN_QUEUE */
  async describe(group: string): Promise<ShareGroupDescription> {
    const { config, topics } = this.#demandGroup(group)
    const members = new Set<string>()
    const described = [...topics.values()].map(shared => {
      for (const member of shared.members) members.add(member)
      return { topic: shared.topic, topicId: shared.topicId as string, partitions: shared.describe() }
    })
    return { group, config, members: [...members], topics: described }
  }

  async live(group: string, count: number): Promise<LiveRange[]> {
    const ranges = new LiveRanges(count)
    for (const { topic, partitions } of this.#demandGroup(group).topics.values()) {
      for (const hosted of partitions) {
        const highWatermark = hosted.sync()
        const { share, partition } = hosted
        ranges.add({ topic, partition }, share.runs, share.endOffset, highWatermark ?? share.endOffset)
      }
    }
    return ranges.ranges
  }

  /** Forgets a group and all that it did; its consumers fail. Stored when this resolves. @throws UNKNOWN_QUEUE */
  async delete(group: string): Promise<void> {
    const { topics } = this.#demandGroup(group)
    this.#groups.delete(group)
    for (const shared of topics.values()) shared.close(new MillraceError('UNKNOWN_QUEUE', { queue: group }))
    await this.#broker.store.shares.deleteGroup(group)
    for (const shared of topics.values()) for (const hosted of shared.partitions) this.#setFloor(hosted)
  }

  // ── records ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** As ShareFetch, for one topic. @throws UNKNOWN_QUEUE, UNKNOWN_TOPIC_OR_PARTITION */
  async fetch(request: ShareFetchRequest): Promise<readonly AcquiredRecords[]> {
    return this.#demandShared(request).fetch(request)
  }

  /** Answers a fetch that waits with nothing. */
  async cancel(request: ShareCancelRequest): Promise<undefined> {
    this.#groups.get(request.group)?.topics.get(request.topicId)?.cancel(request)
  }

  /**
   * As ShareAcknowledge, for one topic; each range by itself. Resolves when it is on disk.
   * @throws UNKNOWN_QUEUE, UNKNOWN_TOPIC_OR_PARTITION; DISK_FULL, IO_ERROR, BACK_PRESSURE when it could not be stored: then it
   *   holds while the engine runs
   */
  async acknowledge(request: ShareAcknowledgeRequest): Promise<ShareAcknowledgeResult> {
    const shared = this.#demandShared(request)
    const outcome = request.partitions.map(({ partition, acknowledgements }) => {
      const hosted = shared.demand(partition)
      const applied = hosted.share.acknowledge(request.memberId, acknowledgements)
      shared.touched(hosted)
      return applied
    })
    shared.pump()
    await this.#writes.stored()
    return outcome
  }

  /** A member is done, or its thread has died: what it holds goes to others at once. */
  async leave({ group, memberId }: ShareMember): Promise<undefined> {
    for (const shared of this.#groups.get(group)?.topics.values() ?? []) shared.leave(memberId)
  }

  #deadLettered(hosted: HostedShare, firstOffset: number, lastOffset: number): void {
    if (hosted.isClosed) return
    hosted.share.deadLettered(firstOffset, lastOffset)
    const shared = this.#groups.get(hosted.group)?.topics.get(hosted.topicId)
    shared?.touched(hosted)
    shared?.pump()
  }

  /** The floor of a partition is the least that any group has stored; one that has stored nothing yet needs all. */
  #setFloor({ topicId, partition, location }: HostedShare): void {
    let floor: number | undefined
    for (const { topics } of this.#groups.values()) {
      const hosted = topics.get(topicId)?.partitions[partition]
      if (hosted !== undefined) floor = Math.min(floor ?? Number.POSITIVE_INFINITY, hosted.storedStartOffset ?? 0)
    }
    setQueueFloor(this.#broker.memory.control, location, floor)
  }

  #demandShared({ group, topicId }: { readonly group: string; readonly topicId: string }): SharedTopic {
    const shared = this.#demandGroup(group).topics.get(topicId)
    if (shared === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { queue: group, topicId })
    return shared
  }

  #demandGroup(group: string): ShareGroup {
    this.#demandOpen()
    const known = this.#groups.get(group)
    if (known === undefined) throw new MillraceError('UNKNOWN_QUEUE', { queue: String(group).slice(0, 64) })
    return known
  }

  #demandOpen(): void {
    if (this.#isClosed) throw new MillraceError('CLOSED', { directory: this.#broker.directory })
  }

  /** Stores what is left and ends what waits. Before the broker is closed, and before the producer of dead letters is. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#broker.memory.metadataListeners.delete(this.#metadataChanged)
    this.#broker.logEndListeners.delete(this.#logCut)
    const closed = new MillraceError('CLOSED', { directory: this.#broker.directory })
    const all = [...this.#groups.values()].flatMap(({ topics }) => [...topics.values()])
    for (const shared of all) shared.failFetches(closed)
    await this.#deadLetters.close()
    await this.#writes.close()
    for (const shared of all) shared.close(closed)
  }
}

function asError(error: unknown): MillraceError {
  return error instanceof MillraceError ? error : new MillraceError('IO_ERROR', {}, error)
}
