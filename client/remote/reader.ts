/** A reader without a group over a cluster: from a place on, to an end or following the tail. */
import { whole } from '../../engine/broker/options.ts'
import type { PortableReader } from '../connection-types.ts'
import { TailWait } from '../read-track.ts'
import { checkReaderOptions } from '../reader-options.ts'
import type { ConsumedRecord } from '../record.ts'
import type { ReaderOptions, ReadFrom } from '../types.ts'
import type { RemoteBatch } from './batch.ts'
import { type Cluster, OFFSET_OF, offsetAt } from './cluster.ts'
import { FetchAhead } from './fetch-ahead.ts'
import { RemoteTrack } from './track.ts'

/** So long a cluster may not answer, or have no leader, before a reader says so. */
const PATIENCE_MS = 10_000

interface Track {
  readonly at: RemoteTrack
  /** Reading ends before this offset; infinite when it follows the tail. */
  readonly toOffset: number
}

export class RemoteReader implements PortableReader {
  readonly #parent: Cluster
  readonly #options: ReaderOptions
  readonly #maxBytes: number
  readonly #isCommitted: boolean
  readonly #onClose: (reader: RemoteReader) => void
  /** Of its own, while it reads. */
  #fork: Cluster | undefined
  #ahead: FetchAhead | undefined
  #tracks: readonly Track[] | undefined
  #isClosed = false
  readonly #tail = new TailWait()

  /** @throws INVALID_ARGUMENT */
  constructor(cluster: Cluster, options: ReaderOptions, onClose: (reader: RemoteReader) => void) {
    this.#parent = cluster
    this.#options = options
    this.#onClose = onClose
    const { maxBytes, isCommitted } = checkReaderOptions(options)
    this.#maxBytes = maxBytes
    this.#isCommitted = isCommitted
    options.signal?.addEventListener('abort', () => this.close(), { once: true })
    if (options.signal?.aborted === true) this.#isClosed = true
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get positions(): ReadonlyMap<number, number> {
    return new Map((this.#tracks ?? []).map(({ at }) => [at.partition, at.offset]))
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE, CONNECTION_FAILED, TIMED_OUT, LEADER_NOT_AVAILABLE after 10 s of it */
  async *[Symbol.asyncIterator](): AsyncGenerator<RemoteBatch, undefined> {
    try {
      while (!this.#isClosed) {
        this.#tracks ??= await this.#start()
        const open = this.#tracks.filter(({ at, toOffset }) => at.offset < toOffset)
        if (open.length === 0) break
        for (const { at, toOffset } of open) {
          if (this.#isClosed) break
          const batch = at.read(this.#maxBytes, toOffset)
          if (batch !== undefined) yield batch
        }
        const more = open.filter(({ at, toOffset }) => at.offset < toOffset)
        if (more.length > 0 && !this.#isClosed) await this.#tail.wait(more.map(({ at }) => at))
      }
    } catch (error) {
      if (!this.#isClosed) throw error // what a reader that was closed meanwhile waited for does not matter
    } finally {
      this.close()
    }
    return undefined
  }

  async *records(): AsyncGenerator<ConsumedRecord, undefined> {
    for await (const batch of this) yield* batch
    return undefined
  }

  async #start(): Promise<Track[]> {
    const { topic, from = 'earliest', to = 'end' } = this.#options
    const fork = this.#parent.fork()
    this.#fork = fork
    const { partitions: all } = await fork.topic(topic)
    const partitions = this.#options.partitions ?? all.map((_, partition) => partition)
    const [starts, ends] = await Promise.all([
      this.#starts(fork, partitions, from),
      fork.offsets(topic, partitions, OFFSET_OF.latest),
    ])
    const ahead = new FetchAhead(fork, {
      maxBytes: this.#maxBytes,
      isCommitted: this.#isCommitted,
      patienceMs: PATIENCE_MS,
    })
    this.#ahead = ahead
    return partitions.map(partition => {
      const latest = ends.get(partition)?.offset ?? 0
      const found = starts.get(partition) ?? latest
      const at = new RemoteTrack(ahead, topic, partition)
      at.offset = found < 0 ? latest : found
      return { at, toOffset: to === 'never' ? Number.POSITIVE_INFINITY : to === 'end' ? latest : to.offset }
    })
  }

  async #starts(cluster: Cluster, partitions: readonly number[], from: ReadFrom): Promise<Map<number, number>> {
    if (typeof from === 'object' && 'offset' in from) {
      return new Map(partitions.map(partition => [partition, whole('from', from.offset, 0, Number.MAX_SAFE_INTEGER)]))
    }
    const timestamp = from === 'earliest' || from === 'latest' ? OFFSET_OF[from] : offsetAt(from.timestamp)
    const found = await cluster.offsets(this.#options.topic, partitions, timestamp)
    return new Map([...found].map(([partition, { offset }]) => [partition, offset]))
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#tail.wake()
    this.#ahead?.close()
    void this.#fork?.close()
    this.#onClose(this)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
