/**
 * A cluster as readers, look-ups and consumers see it: partitions with their leaders, fetches, and offsets for a time. Over a client that
 * never joins a group.
 *
 * A broker carries out the requests of one connection after each other, and a fetch at the tail takes its time: so whoever follows a tail
 * has a client of its own (`fork`). Its fetches from one broker share a session, so they go one after another.
 */
import { type ClusterMetadata, Consumer as KafkaConsumer } from '@platformatic/kafka'
import { MillraceError } from '../../engine/base/errors.ts'
import { ConsumedRecord } from '../record.ts'
import { kafkaCodeIn, remotely, responseIn, toMillraceError } from './errors.ts'
import { clientOptions, type KafkaOptions } from './options.ts'

/** Where reading goes on in a partition. */
export interface Position {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** What a fetch brought of one partition. */
export interface Fetched extends Position {
  /** Those at the offset that was asked for, and behind. */
  readonly records: readonly ConsumedRecord[]
  readonly nextOffset: number
  /** Of its batches, by their first offsets. */
  readonly leaderEpochs: readonly (readonly [offset: number, leaderEpoch: number])[]
  readonly highWatermark: number
  readonly logStartOffset: number
}

export interface FetchLimits {
  readonly maxBytes: number
  readonly maxWaitMs: number
  readonly isCommitted: boolean
}

export interface TopicMetadata {
  readonly topicId: string
  readonly partitions: readonly { readonly leader: number; readonly leaderEpoch: number }[]
}

/** What ListOffsets calls the ends of a partition. */
export const OFFSET_OF = { latest: -1n, earliest: -2n, maxTimestamp: -3n } as const

/** For the first offset at or after a time, in ms. What is below 0 would be taken for an end. */
export const offsetAt = (timestamp: number): bigint => BigInt(Math.max(0, timestamp))

const IS_CONTROL = 0x20
const APPEND_TIME_BIT = 0x08
const OFFSET_OUT_OF_RANGE = 1

type Response = Awaited<ReturnType<KafkaConsumer['fetch']>>
type ResponsePartition = Response['responses'][number]['partitions'][number]

export class Cluster {
  readonly brokers: readonly string[]
  readonly options: KafkaOptions
  readonly #client: KafkaConsumer
  /** The fetch that each broker was asked for last. */
  readonly #fetching = new Map<number, Promise<unknown>>()

  private constructor(brokers: readonly string[], options: KafkaOptions) {
    this.brokers = brokers
    this.options = options
    this.#client = new KafkaConsumer({ ...clientOptions(brokers, options), groupId: 'millrace-reader' })
  }

  /** @throws CONNECTION_FAILED, INVALID_ARGUMENT */
  static async open(brokers: readonly string[], options: KafkaOptions): Promise<Cluster> {
    let cluster: Cluster
    try {
      cluster = new Cluster(brokers, options)
    } catch (error) {
      throw toMillraceError(error)
    }
    try {
      await remotely(cluster.#client.listApis(), { brokers: brokers.join(',') })
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  /** The same cluster over connections of its own; close it by itself. */
  fork(): Cluster {
    return new Cluster(this.brokers, this.options)
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  async topic(topic: string, forceUpdate = false): Promise<TopicMetadata> {
    const { topics } = await this.#metadata([topic], forceUpdate)
    const found = topics.get(topic)
    if (found === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic })
    return { topicId: found.id, partitions: found.partitions }
  }

  async #metadata(topics: readonly string[], forceUpdate = false): Promise<ClusterMetadata> {
    const topic = topics.join(',')
    try {
      return await this.#client.metadata({ topics: [...topics], autocreateTopics: false, forceUpdate })
    } catch (error) {
      // The client underneath takes a topic that is not there for its caller's mistake.
      const failure = toMillraceError(error, { topic })
      throw failure.code === 'INVALID_ARGUMENT'
        ? new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic }, error)
        : failure
    }
  }

  async leaders(topic: string, forceUpdate = false): Promise<number[]> {
    return (await this.topic(topic, forceUpdate)).partitions.map(({ leader }) => leader)
  }

  /**
   * Fetches from positions that one broker leads; resolves when the first has something or `maxWaitMs` is over.
   * @throws OFFSET_OUT_OF_RANGE with topic, partition and offset, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, CONNECTION_FAILED,
   *   TIMED_OUT
   */
  fetchFrom(leader: number, positions: readonly Position[], limits: FetchLimits): Promise<Fetched[]> {
    const before = this.#fetching.get(leader) ?? Promise.resolve()
    const fetching = before.then(() => this.#fetchNow(leader, positions, limits))
    this.#fetching.set(
      leader,
      fetching.catch(() => undefined),
    )
    return fetching
  }

  async #fetchNow(
    node: number,
    positions: readonly Position[],
    { maxBytes, maxWaitMs, isCommitted }: FetchLimits,
  ): Promise<Fetched[]> {
    const metadata = await this.#metadata([...new Set(positions.map(({ topic }) => topic))])
    const byId = new Map<string, Position[]>()
    for (const position of positions) {
      const { id } = metadata.topics.get(position.topic) as { id: string }
      const list = byId.get(id)
      if (list === undefined) byId.set(id, [position])
      else list.push(position)
    }
    const topics = [...byId].map(([topicId, list]) => ({
      topicId,
      partitions: list.map(({ partition, offset }) => ({
        partition,
        fetchOffset: BigInt(offset),
        partitionMaxBytes: maxBytes,
        currentLeaderEpoch: -1,
        lastFetchedEpoch: -1,
      })),
    }))
    const isolationLevel = isCommitted ? 1 : 0
    let response: Response
    try {
      response = await this.#client.fetch({
        node,
        topics,
        minBytes: 1,
        maxBytes,
        maxWaitTime: maxWaitMs,
        isolationLevel,
      })
    } catch (error) {
      throw outOfRange(error, byId) ?? toMillraceError(error, { topic: positions[0]?.topic ?? '' })
    }
    return response.responses.flatMap(({ topicId, partitions }) =>
      partitions.flatMap(partition => {
        const position = byId.get(topicId)?.find(asked => asked.partition === partition.partitionIndex)
        return position === undefined ? [] : [fetchedOf(position, partition)]
      }),
    )
  }

  /**
   * Offset and timestamp of the first record at or after a time, or of an end of the partition, in each of the partitions.
   * @throws UNKNOWN_TOPIC_OR_PARTITION
   */
  async offsets(
    topic: string,
    partitions: readonly number[],
    timestamp: bigint,
  ): Promise<Map<number, { offset: number; timestamp: number }>> {
    let known = await this.topic(topic)
    if (partitions.some(partition => known.partitions[partition] === undefined)) known = await this.topic(topic, true)
    for (const partition of partitions) {
      if (known.partitions[partition] === undefined)
        throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
    }
    const options = { topics: [topic], partitions: { [topic]: [...partitions] }, timestamp }
    const found = await remotely(this.#client.listOffsetsWithTimestamps(options), { topic })
    const entries = [...(found.get(topic) ?? [])]
    return new Map(
      entries.map(([partition, at]) => [partition, { offset: Number(at.offset), timestamp: Number(at.timestamp) }]),
    )
  }

  async close(): Promise<void> {
    await this.#client.close(true).catch(() => undefined)
  }
}

/** The error of a position that is not in the log, with where it is. */
function outOfRange(error: unknown, byId: ReadonlyMap<string, readonly Position[]>): MillraceError | undefined {
  if (kafkaCodeIn(error) !== OFFSET_OUT_OF_RANGE) return undefined
  for (const { topicId, partitions } of responseIn<Response>(error)?.responses ?? []) {
    for (const { partitionIndex, errorCode, logStartOffset, highWatermark } of partitions) {
      const position = byId.get(topicId)?.find(({ partition }) => partition === partitionIndex)
      if (errorCode !== OFFSET_OUT_OF_RANGE || position === undefined) continue
      const ends = { logStartOffset: Number(logStartOffset), highWatermark: Number(highWatermark) }
      return new MillraceError('OFFSET_OUT_OF_RANGE', { ...position, ...ends }, error)
    }
  }
  return undefined
}

function fetchedOf(position: Position, partition: ResponsePartition): Fetched {
  const records: ConsumedRecord[] = []
  const leaderEpochs: [number, number][] = []
  let nextOffset = position.offset
  for (const batch of partition.records ?? []) {
    const first = Number(batch.firstOffset)
    nextOffset = Math.max(nextOffset, first + batch.lastOffsetDelta + 1)
    leaderEpochs.push([Math.max(first, position.offset), batch.partitionLeaderEpoch])
    if ((batch.attributes & IS_CONTROL) !== 0) continue
    const isAppendTime = (batch.attributes & APPEND_TIME_BIT) !== 0
    for (const { offsetDelta, timestampDelta, key, value, headers } of batch.records) {
      const offset = first + offsetDelta
      if (offset < position.offset) continue
      const timestamp = Number(isAppendTime ? batch.maxTimestamp : batch.firstTimestamp + timestampDelta)
      const named = headers.map(([name, text]) => ({ key: name?.toString() ?? '', value: text }))
      records.push(new ConsumedRecord(position.topic, position.partition, offset, timestamp, key, value, named))
    }
  }
  const { highWatermark, logStartOffset } = partition
  return {
    ...position,
    records,
    nextOffset,
    leaderEpochs,
    highWatermark: Number(highWatermark),
    logStartOffset: Number(logStartOffset),
  }
}
