/** A reader without a group over a cluster: from a place on, to an end or following the tail. */
import { MillraceError } from '../../engine/base/errors.ts'
import { whole } from '../../engine/broker/options.ts'
import type { PortableReader } from '../connection-types.ts'
import type { ConsumedRecord } from '../record.ts'
import type { ReaderOptions, ReadFrom } from '../types.ts'
import { RemoteBatch } from './batch.ts'
import { type Cluster, type Fetched, type FetchLimits, OFFSET_OF, type Position } from './cluster.ts'

const MAX_BYTES = 1_048_576
/** Longest wait of one fetch at the tail. */
const WAIT_MS = 500

interface Track {
  offset: number
  readonly end: number
}

export class RemoteReader implements PortableReader {
  readonly #parent: Cluster
  readonly #options: ReaderOptions
  readonly #onClose: (reader: RemoteReader) => void
  /** Of its own, while it reads. */
  #fork: Cluster | undefined
  readonly #tracks = new Map<number, Track>()
  #isClosed = false

  /** @throws INVALID_ARGUMENT */
  constructor(cluster: Cluster, options: ReaderOptions, onClose: (reader: RemoteReader) => void) {
    this.#parent = cluster
    this.#options = options
    this.#onClose = onClose
    whole('maxBytes', options.maxBytes ?? MAX_BYTES, 1, 0x7fff_ffff)
    options.signal?.addEventListener('abort', () => this.close(), { once: true })
    if (options.signal?.aborted === true) this.close()
  }

  get positions(): ReadonlyMap<number, number> {
    return new Map([...this.#tracks].map(([partition, { offset }]) => [partition, offset]))
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE, CONNECTION_FAILED, TIMED_OUT */
  async *[Symbol.asyncIterator](): AsyncGenerator<RemoteBatch, undefined> {
    const { topic, maxBytes = MAX_BYTES, isolation } = this.#options
    const limits = { maxBytes, maxWaitMs: WAIT_MS, isCommitted: isolation === 'read_committed' }
    try {
      if (this.#tracks.size === 0) await this.#start()
      while (!this.#isClosed) {
        const open = [...this.#tracks].filter(([, { offset, end }]) => offset < end)
        if (open.length === 0) break
        const positions = open.map(([partition, { offset }]) => ({ topic, partition, offset }))
        for (const fetched of await this.#fetch(positions, limits)) {
          const track = this.#tracks.get(fetched.partition)
          if (track === undefined || fetched.nextOffset <= track.offset) continue
          const batch = new RemoteBatch(fetched, track.end)
          track.offset = batch.nextOffset
          if (this.#isClosed) return undefined
          if (!batch[Symbol.iterator]().next().done) yield batch
        }
      }
    } finally {
      this.close()
    }
    return undefined
  }

  /** What a reader that was closed meanwhile still waits for does not matter. */
  async #fetch(positions: readonly Position[], limits: FetchLimits): Promise<Fetched[]> {
    try {
      return await this.#cluster.fetch(positions, limits)
    } catch (error) {
      if (this.#isClosed) return []
      throw error
    }
  }

  async *records(): AsyncGenerator<ConsumedRecord, undefined> {
    for await (const batch of this) yield* batch
    return undefined
  }

  async #start(): Promise<void> {
    const { topic, from = 'earliest', to = 'end' } = this.#options
    const metadata = await this.#cluster.topic(topic)
    const partitions = this.#options.partitions ?? metadata.partitions.map((_, partition) => partition)
    const [starts, ends] = await Promise.all([
      this.#starts(partitions, from),
      this.#cluster.offsets(topic, partitions, OFFSET_OF.latest),
    ])
    for (const partition of partitions) {
      const latest = ends.get(partition)?.offset ?? 0
      const found = starts.get(partition) ?? latest
      const end = to === 'never' ? Number.POSITIVE_INFINITY : to === 'end' ? latest : to.offset
      this.#tracks.set(partition, { offset: found < 0 ? latest : found, end })
    }
  }

  async #starts(partitions: readonly number[], from: ReadFrom): Promise<Map<number, number>> {
    if (typeof from === 'object' && 'offset' in from) {
      return new Map(partitions.map(partition => [partition, whole('from', from.offset, 0, Number.MAX_SAFE_INTEGER)]))
    }
    let timestamp: bigint
    if (from === 'earliest' || from === 'latest') timestamp = OFFSET_OF[from]
    else {
      if (!Number.isSafeInteger(from?.timestamp)) throw new MillraceError('INVALID_ARGUMENT', { argument: 'from' })
      timestamp = BigInt(from.timestamp)
    }
    const found = await this.#cluster.offsets(this.#options.topic, partitions, timestamp)
    return new Map([...found].map(([partition, { offset }]) => [partition, offset]))
  }

  get #cluster(): Cluster {
    this.#fork ??= this.#parent.fork()
    return this.#fork
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    void this.#fork?.close()
    this.#onClose(this)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
