/**
 * A producer over a cluster. One request is under way at a time, to each leader that it concerns; what is sent meanwhile goes with the next. So
 * batches grow with the load, and order holds whatever is tried again. Keys choose the partitions that the embedded producer and Kafka's
 * own clients choose.
 */
import { setImmediate, setTimeout } from 'node:timers/promises'
import { Producer as KafkaProducer } from '@platformatic/kafka'
import { MillraceError } from '../../engine/base/errors.ts'
import type { PortableProducer } from '../connection-types.ts'
import { toBytes, toHeaders } from '../messages.ts'
import { partitionForKey } from '../partitioner.ts'
import { checkAcks, resolveProducerOptions } from '../producer-options.ts'
import { SendTracker } from '../send-tracker.ts'
import type { Acks, Message, ProducerOptions, RecordMetadata, SendRequest } from '../types.ts'
import type { Cluster } from './cluster.ts'
import { errorOfKafka, remotely, responseIn, toMillraceError } from './errors.ts'
import { clientOptions } from './options.ts'

/** What a record takes beside key and value, roughly. */
const OVERHEAD_BYTES = 70

interface Pending {
  readonly topic: string
  readonly partition: number
  /** Of the partition when it was sent. */
  readonly leader: number
  readonly key: Buffer | undefined
  readonly value: Buffer | undefined
  readonly timestamp: bigint
  readonly headers: Map<Buffer, Buffer | null>
  readonly acks: Acks
  readonly bytes: number
  readonly tracker: SendTracker
}

/** Of a Produce answer, what is looked at here. */
interface ProduceResponse {
  readonly responses: readonly {
    readonly name: string
    readonly partitionResponses: readonly {
      readonly index: number
      readonly errorCode: number
      readonly baseOffset: bigint
    }[]
  }[]
}

/** A message as it was given, its bytes copied. */
type Copied = Pick<Pending, 'key' | 'value' | 'timestamp' | 'headers' | 'bytes'> & {
  readonly given: number | undefined
}

export class RemoteProducer implements PortableProducer {
  readonly #cluster: Cluster
  readonly #client: KafkaProducer
  readonly #options: ReturnType<typeof resolveProducerOptions>
  readonly #onClose: () => void
  readonly #queue: Pending[] = []
  /** The last send of each topic that has no place in the queue yet: later ones go behind it. */
  readonly #turns = new Map<string, Promise<void>>()
  /** Of messages that were taken and are not answered. */
  #bytes = 0
  #roomWaiters: (() => void)[] = []
  #pumping: Promise<void> | undefined
  /** Where records without a key go: changes with each request. */
  #sticky = 0
  #closing: Promise<void> | undefined

  /** @throws INVALID_ARGUMENT, UNSUPPORTED_COMPRESSION */
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
      })
    } catch (error) {
      throw toMillraceError(error)
    }
  }

  /**
   * Sends messages and resolves when they are acknowledged as `acks` demands. Waits while `bufferBytes` are not answered.
   * @returns one entry for each run of consecutive offsets in a partition
   * @throws UNKNOWN_TOPIC_OR_PARTITION, RECORD_TOO_LARGE, CONNECTION_FAILED, TIMED_OUT, INVALID_ARGUMENT, CLOSED. Messages of one call
   *   are not a unit: with an error some of them may have been appended
   */
  send(request: SendRequest): Promise<RecordMetadata[]> {
    const { topic, messages, acks = this.#options.acks } = request
    if (!Array.isArray(messages)) {
      return Promise.reject(new MillraceError('INVALID_ARGUMENT', { argument: 'messages', accepted: 'an array' }))
    }
    const tracker = new SendTracker(messages.length)
    try {
      checkAcks(acks)
      if (this.#closing !== undefined) throw new MillraceError('CLOSED', { object: 'producer' })
      const copied = messages.map(copy) // before anything is awaited: the caller may go on to change the bytes
      const before = this.#turns.get(topic) ?? Promise.resolve()
      const turn = before
        .then(() => this.#append(topic, copied, acks, tracker))
        .catch((error: unknown) => tracker.failed(error))
        .finally(() => {
          if (this.#turns.get(topic) === turn) this.#turns.delete(topic)
        })
      this.#turns.set(topic, turn)
    } catch (error) {
      tracker.failed(error)
    }
    return tracker.promise
  }

  async #append(topic: string, messages: readonly Copied[], acks: Acks, tracker: SendTracker): Promise<void> {
    const bytes = messages.reduce((sum, message) => sum + message.bytes, 0)
    while (this.#bytes > 0 && this.#bytes + bytes > this.#options.core.bufferBytes) {
      await new Promise<void>(resolve => this.#roomWaiters.push(resolve))
    }
    this.#bytes += bytes
    const free = (): void => this.#free(bytes)
    void tracker.promise.then(free, free)
    const { partitions } = await this.#cluster.topic(topic)
    for (const { given, ...message } of messages) {
      const { key } = message
      const partition =
        given ?? (key === undefined ? this.#sticky % partitions.length : partitionForKey(key, partitions.length))
      const leader = partitions[partition]?.leader
      if (leader === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition })
      this.#queue.push({ ...message, topic, partition, leader, acks, tracker })
    }
    this.#pumping ??= this.#pump()
  }

  #free(bytes: number): void {
    this.#bytes -= bytes
    for (const wake of this.#roomWaiters.splice(0)) wake()
  }

  /** Sends as long as there is something, with what was sent in the same turn or within `lingerMs`. */
  async #pump(): Promise<void> {
    const { lingerMs } = this.#options
    await (lingerMs > 0 ? setTimeout(lingerMs) : setImmediate())
    while (this.#queue.length > 0) {
      this.#sticky += 1
      await this.#sendSome(this.#takeSome())
    }
    this.#pumping = undefined
  }

  /** From the front of the queue: of one kind of acks, and for each partition no more than a batch, or one record. */
  #takeSome(): Pending[] {
    const { batchBytes } = this.#options.core
    const bytes = new Map<string, number>()
    const acks = this.#queue[0]?.acks
    const end = this.#queue.findIndex(message => {
      const at = placeOf(message)
      const before = bytes.get(at) ?? 0
      bytes.set(at, before + message.bytes)
      return message.acks !== acks || (before > 0 && before + message.bytes > batchBytes)
    })
    return this.#queue.splice(0, end === -1 ? this.#queue.length : end)
  }

  /** To each leader by itself, so that every answer is of one. */
  async #sendSome(messages: readonly Pending[]): Promise<void> {
    const byLeader = Map.groupBy(messages, ({ leader }) => leader)
    await Promise.all([...byLeader.values()].map(group => this.#sendGroup(group)))
  }

  async #sendGroup(messages: readonly Pending[]): Promise<void> {
    const acks = messages[0]?.acks ?? 'all'
    const toSend = messages.map(({ topic, partition, key, value, timestamp, headers }) => ({
      topic,
      partition,
      timestamp,
      headers: headers as Map<Buffer, Buffer>, // what writes them takes null too, and its type does not say so
      ...(key === undefined ? {} : { key }),
      ...(value === undefined ? {} : { value }),
    }))
    const byPartition = Map.groupBy(messages, placeOf)
    try {
      const { offsets = [] } = await this.#client.send({ messages: toSend, acks: acks === 'all' ? -1 : acks })
      const found = new Map(
        offsets.map(({ topic, partition, offset }) => [placeOf({ topic, partition }), Number(offset)]),
      )
      for (const [place, list] of byPartition) delivered(list, acks === 0 ? -1 : (found.get(place) ?? -1))
    } catch (error) {
      await this.#failed(byPartition, error)
    }
  }

  /** Each partition is told what became of its own. */
  async #failed(byPartition: ReadonlyMap<string, readonly Pending[]>, error: unknown): Promise<void> {
    const answers = new Map(
      (responseIn<ProduceResponse>(error)?.responses ?? []).flatMap(({ name, partitionResponses }) =>
        partitionResponses.map(answer => [placeOf({ topic: name, partition: answer.index }), answer] as const),
      ),
    )
    for (const [place, list] of byPartition) {
      const answer = answers.get(place)
      const { topic = '', partition = -1 } = list[0] ?? {}
      if (answer?.errorCode === 0) {
        delivered(list, Number(answer.baseOffset))
        continue
      }
      const details = { topic, partition }
      const failure =
        answer === undefined ? toMillraceError(error, details) : errorOfKafka(answer.errorCode, details, error)
      // A batch that was refused for one of its records: the others are not to blame, and none was appended.
      if (failure.code === 'RECORD_TOO_LARGE' && list.length > 1) {
        for (const message of list) await this.#sendGroup([message])
      } else for (const { tracker } of list) tracker.failed(failure)
    }
  }

  /** Sends what waits and resolves when everything sent so far is answered; what failed was told by its `send`. */
  async flush(): Promise<void> {
    await Promise.all(this.#turns.values())
    await this.#pumping
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

const placeOf = ({ topic, partition }: { readonly topic: string; readonly partition: number }): string =>
  `${topic}/${partition}`

/** Neighbours in one partition. */
function delivered(messages: readonly Pending[], baseOffset: number): void {
  for (const [index, { topic, partition, tracker }] of messages.entries()) {
    tracker.delivered({ topic, partition }, baseOffset < 0 ? -1 : baseOffset + index, 1)
  }
}

/** @throws INVALID_ARGUMENT */
function copy({ key, value, partition, timestamp, headers }: Message): Copied {
  const [keyBytes, valueBytes] = [toBuffer(toBytes(key ?? null)), toBuffer(toBytes(value))]
  const named = toHeaders(headers ?? []).map(
    header => [Buffer.from(header.key), toBuffer(toBytes(header.value)) ?? null] as const,
  )
  return {
    given: partition,
    key: keyBytes,
    value: valueBytes,
    timestamp: BigInt(timestamp ?? Date.now()),
    headers: new Map(named),
    bytes: (keyBytes?.length ?? 0) + (valueBytes?.length ?? 0) + OVERHEAD_BYTES,
  }
}

function toBuffer(bytes: Uint8Array | null): Buffer | undefined {
  return bytes === null ? undefined : Buffer.from(bytes)
}
