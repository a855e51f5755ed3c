/**
 * The group coordinator as a service: the state machine with a clock, a timer and the store around it. In the thread that
 * owns the store; every request is a promise.
 *
 * Invariant: nobody is told what is not on disk. The writes that a request leads to go into one transaction, and its
 * answers, with all later ones of the same group, wait for it. Only one change of a group's state is under way at a time;
 * commits go along in LMDB's order. Where a change cannot be stored its answers become that error, and the group goes back to
 * what is stored, as if the coordinator had been restarted.
 */
import { type Clock, systemClock } from '../base/clock.ts'
import { asMillraceError, type ErrorCode, fromErrorData, MillraceError } from '../base/errors.ts'
import type { CommittedOffset, PartitionOffset } from '../store/offsets.ts'
import type { Action, Answer, Refuse, Reply, Write } from './actions.ts'
import { type Caller, CommitBatch } from './commit-batch.ts'
import { type GroupConfig, resolveGroupConfig } from './config.ts'
import { OffsetExpiry } from './expiry.ts'
import { GroupMachine } from './machine.ts'
import type { TopicPartitions } from './partition-set.ts'
import type { GroupRequest, Token, TopicsChanged } from './requests.ts'
import type { GroupStorage } from './storage.ts'

/** A request as its sender makes it: the coordinator numbers it. */
export type WithoutToken<R> = R extends { token: Token } ? Omit<R, 'token' | 'type'> : never

type RequestOf<Type extends GroupRequest['type']> = WithoutToken<Extract<GroupRequest, { type: Type }>>
type AnswerTo<Type extends Answer['type']> = Extract<Answer, { type: Type }>

/** Where the coordinator learns about topics. */
export interface TopicSource {
  /** Rises with every change; looked at with each request. */
  readonly version: number
  list(): TopicsChanged['changed']
}

export interface CoordinatorOptions {
  /** In a cluster: why this coordinator does not answer for a group, undefined where it does. It starts with no groups then. */
  readonly gate?: (groupId: string) => ErrorCode | undefined
  readonly config?: Partial<GroupConfig>
  readonly clock?: Clock
  /** A new unique text for member ids; UUIDs by default. */
  readonly newId?: () => string
  /** Something failed that no request can be told. */
  readonly warn?: (error: MillraceError) => void
  /** The group is another one than before, and that is on disk. */
  readonly changed?: (groupId: string) => void
  /** True for the name of a queue, which no consumer group may have. */
  readonly isQueue?: (groupId: string) => boolean
}

interface Waiting extends Caller<never> {
  readonly groupId: string
}

/** What one call of the machine wants done for one group. */
interface Batch {
  readonly writes: Write[]
  readonly answers: (Reply | Refuse)[]
}

/** A timer cannot wait longer. */
const TIMER_MS_MAX = 0x7fff_ffff

export class GroupCoordinator {
  readonly #store: GroupStorage
  readonly #topics: TopicSource
  readonly #clock: Clock
  readonly #machine: GroupMachine
  readonly #expiry: OffsetExpiry
  readonly #warn: (error: MillraceError) => void
  readonly #changed: (groupId: string) => void
  readonly #commits: CommitBatch
  readonly #gate: (groupId: string) => ErrorCode | undefined
  readonly #waiting = new Map<Token, Waiting>()
  /** Groups with a change under way, and what comes after it. */
  readonly #lanes = new Map<string, Batch[]>()
  readonly #known = new Map<string, TopicsChanged['changed'][number]>()
  #topicsVersion = -1
  #tokens = 0
  #timer: NodeJS.Timeout | undefined
  #timerMs = Number.POSITIVE_INFINITY
  #closed = false
  /** Writes under way, for close. */
  readonly #writing = new Set<Promise<void>>()

  /**
   * Takes over the groups that are stored. Their members have their session timeout to be heard from.
   * @throws CORRUPT_STORE, INVALID_ARGUMENT for a configuration that makes no sense
   */
  constructor(store: GroupStorage, topics: TopicSource, options: CoordinatorOptions = {}) {
    const config = resolveGroupConfig(options.config ?? {})
    this.#store = store
    this.#topics = topics
    this.#clock = options.clock ?? systemClock
    this.#warn = options.warn ?? (() => {})
    this.#changed = options.changed ?? (() => {})
    this.#machine = new GroupMachine(config, options.newId ?? (() => crypto.randomUUID()), options.isQueue)
    this.#commits = new CommitBatch(store.offsets, done => this.#underWay(done))
    this.#refreshTopics()
    this.#gate = options.gate ?? (() => undefined)
    if (options.gate === undefined) this.#loadAll()
    this.#expiry = new OffsetExpiry(store, this.#machine, config, {
      nowMs: () => this.#clock.nowMs(),
      isChanging: groupId => this.#lanes.has(groupId),
      topicName: topicId => this.#machine.topicName(topicId),
      failed: error => this.#warn(asMillraceError(error)),
    })
    this.#arm()
  }

  #loadAll(): void {
    for (const { groupId, group, members } of this.#store.groups.list()) {
      this.#machine.load(groupId, group, members, this.#now())
    }
    for (const groupId of this.#store.offsets.groups()) {
      if (this.#machine.group(groupId) === undefined) this.#machine.load(groupId, undefined, [], this.#now())
    }
  }

  /** Takes over groups that are stored: this coordinator answers for them from now on. Their members have time to be heard from. */
  takeOver(groupIds: readonly string[]): void {
    for (const groupId of groupIds) {
      if (this.#machine.group(groupId) !== undefined) continue
      const entry = this.#store.groups.get(groupId)
      this.#machine.load(groupId, entry?.group, entry?.members ?? [], this.#now())
    }
    this.#arm()
  }

  /** Another coordinator answers for these groups: whoever waits for them is refused with NOT_COORDINATOR. */
  giveUp(isGone: (groupId: string) => boolean): void {
    for (const groupId of this.#machine.groupIds()) {
      if (!isGone(groupId)) continue
      this.#machine.unload(groupId)
      const error = new MillraceError('NOT_COORDINATOR', { groupId })
      for (const batch of this.#lanes.get(groupId) ?? []) this.#fail(batch, error)
      this.#lanes.delete(groupId)
      for (const [token, waiting] of this.#waiting) {
        if (waiting.groupId !== groupId) continue
        this.#waiting.delete(token)
        waiting.reject(error)
      }
    }
  }

  /** True when there is a group of that id. */
  has(groupId: string): boolean {
    return this.#machine.group(groupId) !== undefined
  }

  joinGroup(request: RequestOf<'JoinGroup'>): Promise<AnswerTo<'JoinGroup'>> {
    return this.#ask('JoinGroup', request.groupId, request)
  }

  syncGroup(request: RequestOf<'SyncGroup'>): Promise<AnswerTo<'SyncGroup'>> {
    return this.#ask('SyncGroup', request.groupId, request)
  }

  heartbeat(request: RequestOf<'Heartbeat'>): Promise<AnswerTo<'Heartbeat'>> {
    return this.#ask('Heartbeat', request.groupId, request)
  }

  leaveGroup(request: RequestOf<'LeaveGroup'>): Promise<AnswerTo<'LeaveGroup'>> {
    return this.#ask('LeaveGroup', request.groupId, request)
  }

  consumerGroupHeartbeat(request: RequestOf<'ConsumerGroupHeartbeat'>): Promise<AnswerTo<'ConsumerGroupHeartbeat'>> {
    return this.#ask('ConsumerGroupHeartbeat', request.groupId, request)
  }

  /** Resolves when the offsets are on disk. Rejects as a whole, with UNKNOWN_TOPIC_OR_PARTITION for a topic that is gone. */
  offsetCommit(request: RequestOf<'OffsetCommit'>): Promise<AnswerTo<'OffsetCommit'>> {
    const { groupId, generationIdOrMemberEpoch, memberId, instanceId, offsets } = request
    const token = ++this.#tokens
    const type = 'OffsetCommit'
    return this.#send(groupId, { type, token, groupId, generationIdOrMemberEpoch, memberId, instanceId, offsets })
  }

  /** What a group committed for one partition; undefined when nothing. What is committed at the same time may not be in it. */
  async offsetFetch(
    request: RequestOf<'OffsetFetch'>,
    partitions: readonly TopicPartitions[] | null,
  ): Promise<PartitionOffset[]> {
    await this.#ask('OffsetFetch', request.groupId, request)
    if (partitions === null) return this.#store.offsets.ofGroup(request.groupId)
    const found: PartitionOffset[] = []
    for (const { topicId, partitions: numbers } of partitions) {
      for (const partition of numbers) {
        const committed: CommittedOffset | undefined = this.#store.offsets.get(request.groupId, topicId, partition)
        if (committed !== undefined) found.push({ topicId, partition, ...committed })
      }
    }
    return found
  }

  offsetDelete(request: RequestOf<'OffsetDelete'>): Promise<AnswerTo<'OffsetDelete'>> {
    return this.#ask('OffsetDelete', request.groupId, request)
  }

  deleteGroup(request: RequestOf<'DeleteGroup'>): Promise<AnswerTo<'DeleteGroup'>> {
    return this.#ask('DeleteGroup', request.groupId, request)
  }

  describeGroup(request: RequestOf<'DescribeGroup'>): Promise<AnswerTo<'DescribeGroup'>> {
    return this.#ask('DescribeGroup', request.groupId, request)
  }

  consumerGroupDescribe(request: RequestOf<'ConsumerGroupDescribe'>): Promise<AnswerTo<'ConsumerGroupDescribe'>> {
    return this.#ask('ConsumerGroupDescribe', request.groupId, request)
  }

  listGroups(): Promise<AnswerTo<'ListGroups'>> {
    return this.#ask('ListGroups', '', {})
  }

  /**
   * Forgets offsets that are older than `offsets.retention.minutes` allows, and groups that are left with nothing. Runs by
   * itself as well. @returns how many offsets went
   */
  expireOffsets(): Promise<number> {
    return this.#expiry.run()
  }

  /** Carries out what is due. The timer calls it; a test with a clock of its own does as well. */
  tick(): void {
    if (this.#closed) return
    this.#carryOut(this.#machine.handle({ type: 'Tick' }, this.#now()))
    this.#arm()
  }

  /** Refuses what waits for others with CLOSED, stores what was handed in, and resolves then. The groups stay as they are. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#expiry.close()
    for (const { reject } of this.#waiting.values()) reject(new MillraceError('CLOSED'))
    this.#waiting.clear()
    while (this.#writing.size > 0) await Promise.all(this.#writing)
  }

  #ask<Type extends Answer['type']>(type: Type, groupId: string, request: object): Promise<AnswerTo<Type>> {
    return this.#send(groupId, { ...request, type, token: ++this.#tokens } as unknown as GroupRequest)
  }

  #send<Type extends Answer['type']>(groupId: string, request: GroupRequest): Promise<AnswerTo<Type>> {
    if (this.#closed) return Promise.reject(new MillraceError('CLOSED'))
    const refusal = groupId === '' ? undefined : this.#gate(groupId)
    if (refusal !== undefined) return Promise.reject(new MillraceError(refusal, { groupId }))
    if (this.#topics.version !== this.#topicsVersion) this.#refreshTopics()
    return new Promise((resolve, reject) => {
      const actions = this.#machine.handle(request, this.#now())
      const [first] = actions
      if (first?.type === 'commit-offsets' && actions.length === 2 && !this.#lanes.has(groupId)) {
        // Nothing but this commit and its answer: what comes by the hundred thousand goes the short way.
        this.#commits.add(first, { resolve: resolve as (answer: Answer) => void, reject })
      } else {
        this.#waiting.set(request.token, { groupId, resolve, reject })
        this.#carryOut(actions)
      }
      this.#arm()
      if (this.#waiting.size === 1) this.#hold()
    })
  }

  /** Each group by itself: its writes first, its answers when they are on disk. */
  #carryOut(actions: readonly Action[]): void {
    const batches = new Map<string, Batch>()
    for (const action of actions) {
      const isAnswer = action.type === 'reply' || action.type === 'refuse'
      const groupId = isAnswer ? this.#waiting.get(action.token)?.groupId : action.groupId
      if (groupId === undefined) continue // closed meanwhile
      let batch = batches.get(groupId)
      if (batch === undefined) {
        batch = { writes: [], answers: [] }
        batches.set(groupId, batch)
      }
      if (isAnswer) batch.answers.push(action)
      else batch.writes.push(action)
    }
    for (const [groupId, batch] of batches) {
      const lane = this.#lanes.get(groupId)
      if (lane === undefined) this.#write(groupId, batch)
      else lane.push(batch)
    }
  }

  #write(groupId: string, batch: Batch): void {
    const [first] = batch.writes
    if (first === undefined) {
      this.#settle(batch)
      return
    }
    if (first.type === 'commit-offsets' && batch.writes.length === 1) {
      this.#commits.add(first, this.#callerOf(batch))
      return
    }
    this.#lanes.set(groupId, [])
    this.#underWay(
      this.#submit(batch.writes).then(
        () => {
          this.#settle(batch)
          this.#next(groupId)
          this.#changed(groupId)
        },
        (reason: unknown) => {
          const error = asMillraceError(reason)
          this.#fail(batch, error)
          this.#goBack(groupId, error)
        },
      ),
    )
  }

  /** Of a commit that had to wait for a change of its group. */
  #callerOf(batch: Batch): Caller<Answer> {
    return { resolve: () => this.#settle(batch), reject: error => this.#fail(batch, error) }
  }

  #underWay(done: Promise<void>): void {
    this.#writing.add(done)
    void done.then(() => this.#writing.delete(done))
  }

  /** What came while a change was stored, up to and with the next change. */
  #next(groupId: string): void {
    const lane = this.#lanes.get(groupId) ?? []
    this.#lanes.delete(groupId)
    for (const [at, batch] of lane.entries()) {
      this.#write(groupId, batch)
      const opened = this.#lanes.get(groupId)
      if (opened === undefined) continue
      opened.push(...lane.slice(at + 1))
      return
    }
  }

  /** The change is not stored, so nothing that came after it may be either. */
  #goBack(groupId: string, error: MillraceError): void {
    for (const batch of this.#lanes.get(groupId) ?? []) this.#fail(batch, error)
    this.#lanes.delete(groupId)
    for (const action of this.#machine.unload(groupId)) {
      if (action.type === 'refuse') this.#answer(action)
    }
    if (this.#closed || this.#gate(groupId) !== undefined) return
    try {
      const entry = this.#store.groups.get(groupId)
      const hasOffsets = entry === undefined && this.#store.offsets.ofGroup(groupId).length > 0
      if (entry !== undefined || hasOffsets) {
        this.#machine.load(groupId, entry?.group, entry?.members ?? [], this.#now())
      }
    } catch (reason) {
      this.#warn(asMillraceError(reason))
    }
    this.#arm()
  }

  /** All in one transaction: what is submitted in one turn of the event loop shares it. */
  async #submit(writes: readonly Write[]): Promise<void> {
    const results = await Promise.allSettled(writes.map(write => this.#submitOne(write)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  #submitOne(write: Write): Promise<void> {
    const { offsets, groups } = this.#store
    switch (write.type) {
      case 'commit-offsets':
        return offsets.commit(
          write.groupId,
          write.offsets.map(offset => ({ ...offset, committedAtMs: write.committedAtMs })),
        )
      case 'store-group':
        return groups.put(write)
      case 'delete-group':
        return groups.delete(write.groupId)
      case 'delete-offsets':
        return offsets.delete(
          write.groupId,
          write.topics.flatMap(({ topicId, partitions }) => partitions.map(partition => ({ topicId, partition }))),
        )
    }
  }

  #settle({ answers }: Batch): void {
    for (const answer of answers) this.#answer(answer)
  }

  #answer(action: Reply | Refuse): void {
    const waiting = this.#waiting.get(action.token)
    if (waiting === undefined) return
    this.#waiting.delete(action.token)
    if (this.#waiting.size === 0) this.#hold()
    if (action.type === 'reply') waiting.resolve(action.answer as never)
    else waiting.reject(fromErrorData(action.error))
  }

  #fail({ answers }: Batch, error: MillraceError): void {
    for (const { token } of answers) {
      this.#waiting.get(token)?.reject(error)
      this.#waiting.delete(token)
    }
  }

  #refreshTopics(): void {
    this.#topicsVersion = this.#topics.version
    const current = new Map(this.#topics.list().map(topic => [topic.name, topic]))
    const changed = [...current.values()].filter(({ name, topicId, partitions }) => {
      const known = this.#known.get(name)
      return known?.topicId !== topicId || known.partitions !== partitions
    })
    const removed = [...this.#known.keys()].filter(name => !current.has(name))
    if (changed.length === 0 && removed.length === 0) return
    for (const name of removed) this.#known.delete(name)
    for (const topic of changed) this.#known.set(topic.name, topic)
    this.#carryOut(this.#machine.handle({ type: 'TopicsChanged', changed, removed }, this.#now()))
  }

  /** Sets the timer for what is due next. One that is set too early only looks once more. */
  #arm(): void {
    const dueMs = this.#machine.nextDeadlineMs
    if (this.#closed || dueMs >= this.#timerMs) return
    clearTimeout(this.#timer)
    this.#timerMs = dueMs
    const delayMs = Math.min(Math.max(dueMs - this.#clock.monotonicMs(), 0), TIMER_MS_MAX)
    this.#timer = setTimeout(() => {
      this.#timerMs = Number.POSITIVE_INFINITY
      this.tick()
    }, delayMs)
    this.#hold()
  }

  /** A request that waits for others is worth waiting for; sessions alone do not keep a process alive. */
  #hold(): void {
    if (this.#waiting.size > 0) this.#timer?.ref()
    else this.#timer?.unref()
  }

  #now() {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.nowMs() }
  }
}
