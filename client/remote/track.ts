/**
 * Where a consumer stands in a partition of a cluster, with what was fetched ahead of it. Tracks of one consumer that wait for more are
 * fetched together: one request for each leader.
 */
import { isMillraceError, type MillraceError } from '../../engine/base/errors.ts'
import type { ConsumedTrack } from '../consumer-backend.ts'
import { RemoteBatch } from './batch.ts'
import { type Cluster, type Fetched, OFFSET_OF } from './cluster.ts'

/** Longest wait of a fetch at the tail. */
const WAIT_MS = 500
/** What a client waits out. */
const PASSING = ['CONNECTION_FAILED', 'TIMED_OUT', 'LEADER_NOT_AVAILABLE', 'COORDINATOR_NOT_AVAILABLE'] as const
/** Pause after a fetch that failed. */
const RETRY_MS = 200

export class RemoteTrack implements ConsumedTrack<RemoteBatch> {
  readonly topic: string
  readonly partition: number
  offset = 0
  readonly reader = { logStartOffset: 0, highWatermark: 0, leaderEpoch: -1 }
  readonly #ahead: FetchAhead
  #fetched: Fetched | undefined
  #error: MillraceError | undefined

  private constructor(ahead: FetchAhead, topic: string, partition: number) {
    this.#ahead = ahead
    this.topic = topic
    this.partition = partition
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION, CONNECTION_FAILED, TIMED_OUT */
  static async open(cluster: Cluster, ahead: FetchAhead, topic: string, partition: number): Promise<RemoteTrack> {
    const track = new RemoteTrack(ahead, topic, partition)
    const [starts, ends] = await Promise.all([
      cluster.offsets(topic, [partition], OFFSET_OF.earliest),
      cluster.offsets(topic, [partition], OFFSET_OF.latest),
    ])
    track.reader.logStartOffset = starts.get(partition)?.offset ?? 0
    track.reader.highWatermark = ends.get(partition)?.offset ?? 0
    return track
  }

  /** What was fetched, if it is what is wanted now. */
  read(): RemoteBatch | undefined {
    const error = this.#error
    this.#error = undefined
    const at = (error?.details as { offset?: number } | undefined)?.offset
    if (error !== undefined && (at === undefined || at === this.offset)) throw error
    for (;;) {
      const fetched = this.#fetched
      this.#fetched = undefined
      if (fetched === undefined || fetched.offset !== this.offset) return undefined
      this.offset = fetched.nextOffset
      if (fetched.records.length === 0) continue // control records, or what compaction left
      return new RemoteBatch(fetched)
    }
  }

  /** @internal A fetch brought something for it. */
  take(fetched: Fetched): void {
    this.reader.logStartOffset = fetched.logStartOffset
    this.reader.highWatermark = fetched.highWatermark
    if (fetched.offset !== this.offset || fetched.nextOffset === fetched.offset) return
    this.#fetched = fetched
    this.reader.leaderEpoch = fetched.leaderEpochs.at(-1)?.[1] ?? this.reader.leaderEpoch
  }

  /** @internal */
  fail(error: MillraceError): void {
    this.#error = error
    const { logStartOffset, highWatermark } = error.details as { logStartOffset?: number; highWatermark?: number }
    if (logStartOffset !== undefined && logStartOffset >= 0) this.reader.logStartOffset = logStartOffset
    if (highWatermark !== undefined && highWatermark >= 0) this.reader.highWatermark = highWatermark
  }

  arrival(): Promise<void> {
    return this.#fetched !== undefined || this.#error !== undefined ? Promise.resolve() : this.#ahead.wait(this)
  }

  close(): void {
    this.#ahead.forget(this)
  }
}

export class FetchAhead {
  readonly #cluster: Cluster
  readonly #limits: { readonly maxBytes: number; readonly maxWaitMs: number; readonly isCommitted: boolean }
  readonly #waiting = new Map<RemoteTrack, PromiseWithResolvers<void>>()
  #isFetching = false
  #isClosed = false

  constructor(
    cluster: Cluster,
    { maxBytes, isCommitted }: { readonly maxBytes: number; readonly isCommitted: boolean },
  ) {
    this.#cluster = cluster
    this.#limits = { maxBytes, maxWaitMs: WAIT_MS, isCommitted }
  }

  /** Resolves when something came for the track, or nothing for a while. */
  wait(track: RemoteTrack): Promise<void> {
    const known = this.#waiting.get(track)
    if (known !== undefined) return known.promise
    const waiting = Promise.withResolvers<void>()
    this.#waiting.set(track, waiting)
    if (!this.#isFetching) {
      this.#isFetching = true
      queueMicrotask(() => void this.#run()) // with all that begin to wait in this turn
    }
    return waiting.promise
  }

  forget(track: RemoteTrack): void {
    this.#waiting.get(track)?.resolve()
    this.#waiting.delete(track)
  }

  close(): void {
    this.#isClosed = true
    for (const { resolve } of this.#waiting.values()) resolve()
    this.#waiting.clear()
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0 && !this.#isClosed) {
      const tracks = [...this.#waiting.keys()]
      const positions = tracks.map(({ topic, partition, offset }) => ({ topic, partition, offset }))
      try {
        for (const fetched of await this.#cluster.fetch(positions, this.#limits)) {
          const at = tracks.find(({ topic, partition }) => topic === fetched.topic && partition === fetched.partition)
          at?.take(fetched)
        }
      } catch (error) {
        if (!(await this.#told(tracks, error))) await new Promise(resolve => setTimeout(resolve, RETRY_MS).unref())
      }
      for (const track of tracks) this.forget(track)
    }
    this.#isFetching = false
  }

  /** Whoever is concerned is told. False for what passes: it is tried again with the next wait. */
  async #told(tracks: readonly RemoteTrack[], error: unknown): Promise<boolean> {
    if (this.#isClosed) return true
    if (!isMillraceError(error) || PASSING.some(code => error.code === code)) return false
    if (error.code === 'OFFSET_OUT_OF_RANGE') {
      const { topic, partition } = error.details as { topic?: string; partition?: number }
      tracks.find(track => track.topic === topic && track.partition === partition)?.fail(error)
      return true
    }
    // One topic that is gone, or may not be read, does not hold up the others.
    const topics = Map.groupBy(tracks, ({ topic }) => topic)
    for (const [topic, list] of topics) {
      const failure = topics.size === 1 ? error : await this.#faultOf(topic)
      if (failure !== undefined) for (const track of list) track.fail(failure)
    }
    return topics.size === 1
  }

  async #faultOf(topic: string): Promise<MillraceError | undefined> {
    try {
      await this.#cluster.topic(topic, true)
      return undefined
    } catch (error) {
      return isMillraceError(error) && !PASSING.some(code => error.code === code) ? error : undefined
    }
  }
}
