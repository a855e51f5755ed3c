/**
 * A producer over a cluster. What is sent in one turn of the event loop, or within `lingerMs`, goes in one request to each leader; keys choose
 * the partitions that the embedded producer and Kafka's own clients choose.
 */
import { Producer as KafkaProducer } from '@platformatic/kafka'
import { MillraceError } from '../../engine/base/errors.ts'
import type { PortableProducer } from '../connection-types.ts'
import { toBytes, toHeaders } from '../messages.ts'
import { partitionForKey } from '../partitioner.ts'
import { checkAcks, resolveProducerOptions } from '../producer-options.ts'
import { SendTracker } from '../send-tracker.ts'
import type { Acks, Message, ProducerOptions, RecordMetadata, SendRequest } from '../types.ts'
import type { Cluster } from './cluster.ts'
import { remotely, toMillraceError } from './errors.ts'
import { clientOptions } from './options.ts'

/** What a record takes beside key and value, roughly. */
const OVERHEAD_BYTES = 70

interface Pending {
  readonly topic: string
  readonly partition: number
  readonly key: Buffer | undefined
  readonly value: Buffer | undefined
  readonly timestamp: bigint
  readonly headers: Map<Buffer, Buffer>
  readonly tracker: SendTracker
}

interface Group {
  readonly acks: Acks
  readonly messages: Pending[]
}

export class RemoteProducer implements PortableProducer {
  readonly #cluster: Cluster
  readonly #client: KafkaProducer
  readonly #options: ReturnType<typeof resolveProducerOptions>
  readonly #onClose: () => void
  /** What waits for the end of the turn, by its acks. */
  #groups = new Map<Acks, Group>()
  #isScheduled = false
  readonly #underWay = new Set<Promise<unknown>>()
  /** Of messages that were taken and are not answered. */
  #bytes = 0
  #roomWaiters: (() => void)[] = []
  /** Where records without a key go: changes with each request. */
  #sticky = 0
  #closing: Promise<void> | undefined

  /** @throws INVALID_ARGUMENT */
  constructor(cluster: Cluster, options: ProducerOptions, onClose: () => void) {
    this.#cluster = cluster
    this.#options = resolveProducerOptions(options)
    this.#onClose = onClose
    const { codec, idempotent } = this.#options.core
    try {
      this.#client = new KafkaProducer({
        ...clientOptions(cluster.brokers, cluster.options),
        compression: codec,
        idempotent,
        maxInflights: idempotent ? 1 : 5,
      })
    } catch (error) {
      throw toMillraceError(error)
    }
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION, RECORD_TOO_LARGE, CONNECTION_FAILED, TIMED_OUT, INVALID_ARGUMENT, CLOSED */
  send(request: SendRequest): Promise<RecordMetadata[]> {
    const { topic, messages, acks = this.#options.acks } = request
    if (!Array.isArray(messages)) {
      return Promise.reject(new MillraceError('INVALID_ARGUMENT', { argument: 'messages', accepted: 'an array' }))
    }
    const tracker = new SendTracker(messages.length)
    const sending = this.#append(topic, messages, acks, tracker).catch((error: unknown) => tracker.failed(error))
    this.#track(sending)
    return tracker.promise
  }

  async #append(topic: string, messages: readonly Message[], acks: Acks, tracker: SendTracker): Promise<void> {
    checkAcks(acks)
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', { object: 'producer' })
    // Bytes are taken before anything is awaited: the caller may go on to change them.
    const copied = messages.map(({ key, value, partition, timestamp, headers }) => ({
      key: toBuffer(toBytes(key ?? null)),
      value: toBuffer(toBytes(value)),
      given: partition,
      timestamp: BigInt(timestamp ?? Date.now()),
      headers: new Map(
        toHeaders(headers ?? []).map(header => [Buffer.from(header.key), toBuffer(toBytes(header.value)) ?? NOTHING]),
      ),
    }))
    const bytes = copied.reduce(
      (sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0) + OVERHEAD_BYTES,
      0,
    )
    while (this.#bytes > 0 && this.#bytes + bytes > this.#options.core.bufferBytes) {
      await new Promise<void>(resolve => this.#roomWaiters.push(resolve))
    }
    this.#bytes += bytes
    void tracker.promise.then(
      () => this.#free(bytes),
      () => this.#free(bytes),
    )
    const { partitions } = await this.#cluster.topic(topic)
    const group = this.#groups.get(acks) ?? { acks, messages: [] }
    this.#groups.set(acks, group)
    for (const { key, value, given, timestamp, headers } of copied) {
      const partition =
        given ?? (key === undefined ? this.#sticky % partitions.length : partitionForKey(key, partitions.length))
      if (partitions[partition] === undefined)
        throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
      group.messages.push({ topic, partition, key, value, timestamp, headers, tracker })
    }
    this.#schedule()
  }

  #free(bytes: number): void {
    this.#bytes -= bytes
    const waiters = this.#roomWaiters
    this.#roomWaiters = []
    for (const wake of waiters) wake()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    const { lingerMs } = this.#options
    if (lingerMs > 0) setTimeout(() => this.#sendAll(), lingerMs)
    else setImmediate(() => this.#sendAll())
  }

  #sendAll(): void {
    this.#isScheduled = false
    const groups = [...this.#groups.values()].filter(({ messages }) => messages.length > 0)
    this.#groups = new Map()
    this.#sticky += 1
    for (const group of groups) this.#track(this.#sendGroup(group))
  }

  async #sendGroup({ acks, messages }: Group): Promise<void> {
    const toSend = messages.map(({ topic, partition, key, value, timestamp, headers }) => ({
      topic,
      partition,
      timestamp,
      headers,
      ...(key === undefined ? {} : { key }),
      ...(value === undefined ? {} : { value }),
    }))
    try {
      const { offsets = [] } = await this.#client.send({ messages: toSend, acks: acks === 'all' ? -1 : acks })
      const next = new Map(offsets.map(({ topic, partition, offset }) => [`${topic}/${partition}`, Number(offset)]))
      for (const { topic, partition, tracker } of messages) {
        const at = `${topic}/${partition}`
        const offset = acks === 0 ? -1 : (next.get(at) ?? -1)
        tracker.delivered({ topic, partition }, offset, 1)
        if (offset >= 0) next.set(at, offset + 1)
      }
    } catch (error) {
      const failure = toMillraceError(error, { topic: messages[0]?.topic ?? '' })
      for (const { tracker } of messages) tracker.failed(failure)
    }
  }

  #track(work: Promise<unknown>): void {
    this.#underWay.add(work)
    void work.finally(() => this.#underWay.delete(work))
  }

  /** Sends what waits and resolves when everything sent so far is answered; what failed was told by its `send`. */
  async flush(): Promise<void> {
    while (this.#underWay.size > 0 || this.#isScheduled) {
      await Promise.all(this.#underWay)
      if (this.#isScheduled) this.#sendAll()
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#shutDown()
    return this.#closing
  }

  async #shutDown(): Promise<void> {
    await this.flush()
    this.#onClose()
    await remotely(this.#client.close(true))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

const NOTHING = Buffer.alloc(0)

function toBuffer(bytes: Uint8Array | null): Buffer | undefined {
  return bytes === null ? undefined : Buffer.from(bytes)
}
