/**
 * Follows one leader: asks it for what comes behind the ends of the logs that this broker follows there, and stores that. One request at a
 * time, for all those partitions; what each says moves the leader's view of this broker forward.
 *
 *     fetch ──▶ records ──▶ writer threads, byte for byte ──▶ high watermark
 *        └────▶ diverging ──▶ cut to the leader's epoch, and again
 */
import { KIB, MIB } from '../base/limits.ts'
import type { Broker } from '../broker/broker.ts'
import type { HostedPartition } from '../broker/hosted-partition.ts'
import type { Ingest } from '../broker/ingest.ts'
import { replicaPrefix, stretchesOf } from '../broker/replica-batches.ts'
import { REQUEST_FLAG } from '../memory/append-channel.ts'
import { SLOT } from '../memory/control-block.ts'
import type {
  FetchedReplica,
  FetchPosition,
  FollowedReplica,
  ReplicaFetchOptions,
  ReplicaSource,
  ReplicaStream,
} from './replica-source.ts'

const MAX_WAIT_MS = 500
const MAX_BYTES = 16 * MIB
const PARTITION_MAX_BYTES = 4 * MIB
/** What one request to a writer carries at most, unless one batch is larger. */
const PIECE_BYTES = 512 * KIB
const RETRY_MS = 100
/** So long after a partition came others may come by the hundred, and leaders may not know yet that they lead: nothing waits for long then. */
const COMING_MS = 1_000
const COMING_RETRY_MS = 10
/** From the first partition that comes while a fetch is under way to its end: they come by the hundred. */
const INTERRUPT_MS = 5
const ROOM_WAIT_MS = 10_000

export interface ReplicaFetcherOptions {
  readonly broker: Broker
  readonly ingest: Ingest
  readonly source: ReplicaSource
  readonly brokerId: number
  /** Under which this broker is registered; undefined while it is not. */
  readonly brokerEpoch: () => number | undefined
  readonly report: (error: unknown, partition?: HostedPartition) => void
}

/** A follower shows what its leader says is agreed on, and deletes what that has deleted. */
export async function takeBounds(
  broker: Broker,
  hosted: HostedPartition,
  { highWatermark, logStartOffset }: Pick<FetchedReplica, 'highWatermark' | 'logStartOffset'>,
): Promise<void> {
  broker.replicas.commit(hosted, highWatermark)
  const { control } = broker.memory
  const most = Math.min(logStartOffset, control.get(hosted.slot, SLOT.highWatermark))
  if (most > control.get(hosted.slot, SLOT.logStartOffset))
    await broker.deleteRecords(hosted.topic, hosted.partition, most)
}

interface Followed extends FollowedReplica {
  /** Number of the fetch that was under way, or the last, when it came. */
  readonly since: number
  /** As it was asked for last. */
  position: FetchPosition | undefined
  /** What storing failed with last; undefined once something was stored. */
  failure: string | undefined
}

const nameOf = ({ topicId, partition }: { readonly topicId: string; readonly partition: number }): string =>
  `${topicId}/${partition}`

export class ReplicaFetcher {
  readonly #options: ReplicaFetcherOptions
  /** By slot. */
  readonly #followed = new Map<number, Followed>()
  /** As answers name them. */
  readonly #byName = new Map<string, Followed>()
  #fetches = 0
  /** By slot, of those that need not be asked for. */
  readonly #streams = new Map<number, ReplicaStream>()
  /** Slots of partitions that are left out for a while: what was wrong with them would be wrong again. */
  readonly #pausing = new Map<number, NodeJS.Timeout>()
  #round: Promise<void> = Promise.resolve()
  /** What the last fetch brought, on its way to the logs: a partition that leaves waits for its end. */
  #storing: Promise<unknown> = Promise.resolve()
  #running = false
  #isClosed = false
  #wake: (() => void) | undefined
  #comingUntilMs = 0
  /** A fetch is under way that may wait for longer than those that come should. */
  #isWaiting = false
  #wasInterrupted = false
  #interrupting: NodeJS.Timeout | undefined
  /** What the last round failed with. */
  #failure: string | undefined

  constructor(options: ReplicaFetcherOptions) {
    this.#options = options
  }

  get isIdle(): boolean {
    return this.#followed.size === 0
  }

  add(followed: FollowedReplica): void {
    const { slot } = followed.hosted
    this.#endPause(slot)
    const entry: Followed = { ...followed, since: this.#fetches, position: undefined, failure: undefined }
    this.#followed.set(slot, entry)
    this.#byName.set(nameOf(followed.hosted), entry)
    this.#wake?.()
    this.#comingUntilMs = performance.now() + COMING_MS
    if (this.#isWaiting) this.#interrupting ??= setTimeout(() => this.#interrupt(), INTERRUPT_MS)
    if (this.#running || this.#isClosed) return
    this.#running = true
    void this.#run()
  }

  #pausePartition(slot: number): void {
    if (this.#pausing.has(slot) || !this.#followed.has(slot)) return
    const over = (): void => {
      this.#pausing.delete(slot)
      this.#wake?.()
    }
    this.#pausing.set(slot, setTimeout(over, this.#retryMs))
  }

  get #retryMs(): number {
    return performance.now() < this.#comingUntilMs ? COMING_RETRY_MS : RETRY_MS
  }

  #endPause(slot: number): void {
    clearTimeout(this.#pausing.get(slot))
    this.#pausing.delete(slot)
  }

  /** The leader may wait for records of others, while nobody asks for those of what has come. */
  #interrupt(): void {
    this.#interrupting = undefined
    if (!this.#isWaiting) return
    this.#wasInterrupted = true
    this.#options.source.interrupt()
  }

  /** When this resolves nothing more of the partition is stored. */
  async remove(hosted: HostedPartition): Promise<void> {
    const { slot } = hosted
    this.#endPause(slot)
    if (!this.#followed.delete(slot)) return
    this.#byName.delete(nameOf(hosted))
    const stream = this.#streams.get(slot)
    this.#streams.delete(slot)
    await Promise.all([this.#storing, stream?.close()]) // what is fetched from now on is dropped
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const slot of this.#followed.keys()) this.#endPause(slot)
    this.#followed.clear()
    this.#byName.clear()
    clearTimeout(this.#interrupting)
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    const ended = Promise.all(streams.map(stream => stream.close()))
    this.#options.source.close()
    this.#wake?.()
    await Promise.all([this.#round, ended])
  }

  async #run(): Promise<void> {
    while (!this.#isClosed && this.#followed.size > 0) {
      this.#round = this.#fetchOnce().then(
        () => {
          this.#failure = undefined
        },
        async error => {
          if (this.#isClosed || this.#wasInterrupted) return
          this.#reportOnce(error)
          await this.#pause()
        },
      )
      await this.#round
    }
    this.#running = false
  }

  /** A leader that cannot be reached is tried again and again, and told of when that begins. */
  #reportOnce(error: unknown): void {
    const { message } = error as Error
    if (message !== this.#failure) this.#options.report(error)
    this.#failure = message
  }

  /** Or until there is something to ask for. */
  async #pause(ms = RETRY_MS): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    const timer = setTimeout(resolve, ms)
    await promise
    clearTimeout(timer)
    this.#wake = undefined
  }

  /** What to ask for, undefined when that is nothing just now. */
  #positionOf(followed: Followed): FetchPosition | undefined {
    const { hosted, leaderEpoch } = followed
    const { topicId, partition, slot } = hosted
    const { memory, replicas } = this.#options.broker
    const { control } = memory
    if (hosted.failure !== undefined || control.get(slot, SLOT.failure) !== 0) return undefined // it takes nothing
    if (this.#pausing.has(slot) || this.#streams.has(slot)) return undefined
    const offset = control.get(slot, SLOT.logEndOffset)
    const logStartOffset = control.get(slot, SLOT.logStartOffset)
    const lastEpoch = replicas.lastEpoch(hosted)
    const { position } = followed
    const isSame =
      position?.offset === offset && position.lastEpoch === lastEpoch && position.logStartOffset === logStartOffset
    if (!isSame) followed.position = { topicId, partition, leaderEpoch, offset, lastEpoch, logStartOffset }
    return followed.position
  }

  async #fetchOnce(): Promise<void> {
    const { source, brokerId, brokerEpoch } = this.#options
    const epoch = brokerEpoch()
    if (epoch === undefined) return await this.#pause()
    this.#fetches += 1
    const positions: FetchPosition[] = []
    for (const followed of this.#followed.values()) {
      const position = this.#positionOf(followed)
      if (position !== undefined) positions.push(position)
    }
    const isComing = performance.now() < this.#comingUntilMs
    const longestMs = this.#pausing.size > 0 ? RETRY_MS : MAX_WAIT_MS // the next one asks for who is left out
    const maxWaitMs = isComing ? COMING_RETRY_MS : longestMs
    if (positions.length === 0) return await this.#pause(maxWaitMs)
    const limits = { maxWaitMs, maxBytes: MAX_BYTES, partitionMaxBytes: PARTITION_MAX_BYTES }
    const options: ReplicaFetchOptions = { brokerId, brokerEpoch: epoch, ...limits }
    this.#isWaiting = !isComing
    this.#wasInterrupted = false
    let fetched: readonly FetchedReplica[]
    try {
      fetched = await source.fetch(positions, options)
    } finally {
      this.#isWaiting = false
    }
    const stored: Promise<void>[] = []
    for (const one of fetched) {
      const followed = this.#byName.get(nameOf(one))
      // What left meanwhile is not stored: its log may be a leader's by now. Nor is what came, or came back, since.
      if (followed !== undefined && followed.since < this.#fetches) stored.push(this.#take(followed, one))
    }
    this.#storing = Promise.all(stored)
    await this.#storing
  }

  /** A partition that cannot go on just now is left out for a while: the news of why is on its way. The others go on. */
  async #take(followed: Followed, fetched: FetchedReplica): Promise<void> {
    if (!(await this.#hasTaken(followed, fetched))) this.#pausePartition(followed.hosted.slot)
    else if (fetched.refusal === undefined && fetched.diverging === undefined) this.#stream(followed)
  }

  /** Its log goes on where the leader's does: where records can come by themselves, they do from now on. */
  #stream(followed: Followed): void {
    const { source } = this.#options
    const { slot } = followed.hosted
    if (source.stream === undefined || this.#isClosed || this.#followed.get(slot) !== followed) return
    const stream = source.stream(followed, () => {
      if (this.#streams.get(slot) !== stream) return
      this.#streams.delete(slot)
      this.#wake?.()
    })
    if (stream === undefined) this.#pausePartition(slot)
    else this.#streams.set(slot, stream)
  }

  async #hasTaken(followed: Followed, fetched: FetchedReplica): Promise<boolean> {
    const { hosted } = followed
    const { broker, report } = this.#options
    try {
      if (fetched.refusal !== undefined) return await this.#refused(hosted, fetched)
      if (fetched.diverging !== undefined) return await this.#cut(hosted, fetched.diverging)
      if (fetched.pieces.length > 0) await this.#store(hosted, fetched.pieces)
      await takeBounds(broker, hosted, fetched)
      followed.failure = undefined
      return true
    } catch (error) {
      const { message } = error as Error
      if (message !== followed.failure) report(error, hosted) // it is tried again and again
      followed.failure = message
      return false
    }
  }

  async #refused(hosted: HostedPartition, { refusal, logStartOffset }: FetchedReplica): Promise<boolean> {
    if (refusal !== 'out-of-range') return false
    const { broker } = this.#options
    const logEndOffset = broker.memory.control.get(hosted.slot, SLOT.logEndOffset)
    if (logStartOffset <= logEndOffset) return false
    await broker.restart(hosted.topic, hosted.partition, logStartOffset)
    return true
  }

  /** To the end of the leader's epoch, or of what this log has of it: the next fetch tells whether that was enough. */
  async #cut(
    { topic, partition, slot }: HostedPartition,
    diverging: { epoch: number; endOffset: number },
  ): Promise<boolean> {
    const { broker } = this.#options
    const { control } = broker.memory
    const own = diverging.epoch < 0 ? undefined : broker.offsetForLeaderEpoch(topic, partition, diverging.epoch)
    const end = Math.min(Math.max(diverging.endOffset, 0), own?.endOffset ?? Number.MAX_SAFE_INTEGER)
    const offset = Math.max(end, control.get(slot, SLOT.logStartOffset))
    if (offset >= control.get(slot, SLOT.logEndOffset)) return false // it would be told the same again
    await broker.truncate(topic, partition, { offset })
    return true
  }

  /** In order: all pieces are on their way before the first is stored, and each says where it goes on. */
  async #store(hosted: HostedPartition, pieces: readonly Uint8Array[]): Promise<void> {
    const { broker, ingest } = this.#options
    let from = broker.memory.control.get(hosted.slot, SLOT.logEndOffset)
    const stored: Promise<number>[] = []
    try {
      for (const piece of pieces) {
        for (const { batches, end, epochs } of stretchesOf(piece, PIECE_BYTES)) {
          for (const { epoch, offset } of epochs) this.#noteEpoch(hosted, epoch, offset)
          const placed = await ingest.placeWithin([replicaPrefix(from), batches], ROOM_WAIT_MS)
          const storing = ingest.send(hosted, placed, REQUEST_FLAG.replica)
          storing.catch(() => {}) // all of them are waited for
          stored.push(storing)
          from = end
        }
      }
    } finally {
      await Promise.all(stored)
    }
  }

  #noteEpoch(hosted: HostedPartition, epoch: number, offset: number): void {
    if (epoch > (hosted.epochs.at(-1)?.epoch ?? -1)) this.#options.broker.replicas.noteEpoch(hosted, epoch, offset)
  }
}
