/** Where a reader or a consumer stands in a partition of a cluster, with what was fetched ahead of it. */
import type { MillraceError } from '../../engine/base/errors.ts'
import type { ConsumedTrack } from '../consumer-backend.ts'
import { RemoteBatch } from './batch.ts'
import { type Cluster, type Fetched, OFFSET_OF } from './cluster.ts'
import type { FetchAhead, FetchTarget } from './fetch-ahead.ts'

export class RemoteTrack implements ConsumedTrack<RemoteBatch>, FetchTarget {
  readonly topic: string
  readonly partition: number
  offset = 0
  readonly reader = { logStartOffset: 0, highWatermark: 0, leaderEpoch: -1 }
  readonly #ahead: FetchAhead
  #fetched: Fetched | undefined
  #error: MillraceError | undefined

  constructor(ahead: FetchAhead, topic: string, partition: number) {
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

  /**
   * What was fetched, if it is what is wanted now; undefined also where that has no records, as after transactions and compaction.
   * @param _maxBytes has a say when it is fetched
   * @param toOffset what is at or behind it is left out
   */
  read(_maxBytes: number, toOffset = Number.POSITIVE_INFINITY): RemoteBatch | undefined {
    const error = this.#error
    this.#error = undefined
    const at = (error?.details as { offset?: number } | undefined)?.offset
    if (error !== undefined && (at === undefined || at === this.offset)) throw error
    const fetched = this.#fetched
    this.#fetched = undefined
    if (fetched === undefined || fetched.offset !== this.offset) return undefined
    const batch = new RemoteBatch(fetched, toOffset)
    this.offset = batch.nextOffset
    return batch.isEmpty ? undefined : batch
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
