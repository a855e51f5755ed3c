/**
 * A broker's process of a simulation: the engine's cluster node, its replicas and its writer's rules, over logs that are lists. Writers take mails and
 * requests some time later, each kind in order; truncation takes its time, and a crash may come in the middle.
 */
import type { TopicId } from '../../../../engine/base/brands.ts'
import { MillraceError } from '../../../../engine/base/errors.ts'
import type { Random } from '../../../../engine/base/random.ts'
import type { Broker } from '../../../../engine/broker/broker.ts'
import type { HostedPartition } from '../../../../engine/broker/hosted-partition.ts'
import { errorOfStatus, type Ingest } from '../../../../engine/broker/ingest.ts'
import { Replicas } from '../../../../engine/broker/replicas.ts'
import type { Threads } from '../../../../engine/broker/threads.ts'
import { clientTopicOf } from '../../../../engine/broker/topic-metadata.ts'
import { epochEnd } from '../../../../engine/broker/truncation-target.ts'
import { Region } from '../../../../engine/format/region.ts'
import type { Mail } from '../../../../engine/log/mail.ts'
import { type AttachedProducer, PartitionHost } from '../../../../engine/log/partition-host.ts'
import type { PartitionLog } from '../../../../engine/log/partition-log.ts'
import type { LogServices } from '../../../../engine/log/services.ts'
import type { TopicConfig } from '../../../../engine/log/topic-config.ts'
import { COMPLETION, REQUEST_FLAG } from '../../../../engine/memory/append-channel.ts'
import { ControlBlock, SLOT } from '../../../../engine/memory/control-block.ts'
import type { EngineMemory } from '../../../../engine/memory/engine-memory.ts'
import { type Disk, emptyDisk, epochsOf, type LogListener, ModelLog, recordOf, type StoredRecord } from './model-log.ts'
import type { Process, VirtualTime } from './virtual-time.ts'

const PARTITIONS_MAX = 4

/** What a broker has on its disk. */
export interface Directory {
  readonly directoryId: string
  readonly disks: Map<number, Disk>
  topic: { readonly topic: string; readonly topicId: TopicId; readonly config: Record<string, string> } | undefined
}

export interface BrokerMistakes {
  /** Where a log parts from its leader's it is left as it is. */
  readonly keepsDivergence?: boolean
  /** The writer does not look at the lease. */
  readonly ignoresLease?: boolean
}

export interface BrokerListener extends LogListener {
  cut(slot: number, from: number, to: number): void
  /** The writer answers a producer. */
  acknowledged(slot: number, offset: number, record: StoredRecord, leaderEpoch: number): void
}

export class ModelBroker {
  readonly control = new ControlBlock(new BigInt64Array(PARTITIONS_MAX * SLOT.words))
  readonly replicas: Replicas
  readonly directory = '/simulated'
  readonly store: { readonly directoryId: string; readonly topics: { get(topic: string): unknown } }
  readonly logEndListeners = new Set<(partition: HostedPartition, logEndOffset: number) => void>()
  readonly memory: EngineMemory
  readonly data: Directory
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #process: Process
  readonly #listener: BrokerListener
  readonly #mistakes: BrokerMistakes
  readonly #hosted: HostedPartition[] = []
  readonly #hosts = new Map<number, PartitionHost>()
  readonly #readers = new Map<number, Set<() => void>>()
  readonly #services: LogServices
  #leaseEndMs = 0
  #mailAtMs = 0
  #requestAtMs = 0

  constructor(
    { time, random, process }: { time: VirtualTime; random: Random; process: Process },
    data: Directory,
    listener: BrokerListener,
    mistakes: BrokerMistakes,
  ) {
    this.#time = time
    this.#random = random
    this.#process = process
    this.#listener = listener
    this.#mistakes = mistakes
    this.data = data
    this.store = { directoryId: data.directoryId, topics: { get: topic => this.#stored(topic) } }
    this.memory = this.#memory()
    this.#services = { moved: (slot: number) => this.#wakeReaders(slot) } as unknown as LogServices
    const writer = { request: (mail: Mail) => this.#request(mail), post: (mail: Mail) => void this.#request(mail) }
    this.replicas = new Replicas(this.memory, { writer: () => writer } as unknown as Threads)
    for (const slot of data.disks.keys()) this.#host(slot)
  }

  // ── what the cluster's code asks of a broker ──────────────────────────────────────────────────────────────────────

  /** The same, for whom asks for the real one. */
  get asBroker(): Broker {
    return this as unknown as Broker
  }

  on(): void {}
  off(): void {}

  topicNames(): string[] {
    return this.data.topic === undefined ? [] : [this.data.topic.topic]
  }

  topicIdOf(topic: string): TopicId | undefined {
    return this.data.topic?.topic === topic ? this.data.topic.topicId : undefined
  }

  clientTopic(topic: string) {
    return clientTopicOf(topic, this.#hosted, 1)
  }

  hosted(_topic: string, partition: number): HostedPartition {
    return this.#hosted[partition] as HostedPartition
  }

  async createTopic(topic: string, partitions: number, config: Record<string, string>, topicId: TopicId) {
    this.data.topic = { topic, topicId, config }
    for (let slot = 0; slot < partitions; slot++) {
      this.data.disks.set(slot, emptyDisk())
      this.#host(slot)
    }
  }

  offsetForLeaderEpoch(topic: string, partition: number, leaderEpoch: number) {
    return epochEnd(this.control, this.hosted(topic, partition), leaderEpoch)
  }

  /** As `Partitions.truncate`: nobody has the log meanwhile. */
  async truncate(topic: string, partition: number, { offset }: { offset: number }): Promise<void> {
    const hosted = this.hosted(topic, partition)
    const { slot } = hosted
    if (this.#mistakes.keepsDivergence === true) return
    this.control.set(slot, SLOT.failure, 1)
    await this.#time.sleep(this.#random.below(4))
    const host = this.#hosts.get(slot)
    if (host === undefined) throw new MillraceError('LEADER_NOT_AVAILABLE', { partition })
    host.refuseUnacknowledged('NOT_LEADER_OR_FOLLOWER')
    this.#hosts.delete(slot)
    const disk = this.data.disks.get(slot) as Disk
    disk.truncateTo = offset
    await this.#time.sleep(this.#random.below(this.#random.chance(0.1) ? 150 : 6))
    this.#cut(slot, disk)
    const committedOffset = Math.min(this.control.get(slot, SLOT.committedOffset), offset)
    this.control.set(slot, SLOT.flushedOffset, offset)
    this.control.set(slot, SLOT.committedOffset, committedOffset)
    this.control.set(slot, SLOT.highWatermark, committedOffset)
    Replicas.demote(this.control, slot)
    this.#adopt(slot, disk)
    hosted.epochs = epochsOf(disk)
    for (const listener of this.logEndListeners) listener(hosted, offset)
  }

  /** For the fetchers: what a leader has goes to the writer. */
  get ingest(): Ingest {
    const placeWithin = async (chunks: readonly Uint8Array[]): Promise<Uint8Array> => Buffer.concat(chunks)
    const send = (partition: { slot: number }, placed: Uint8Array, flags: number): Promise<number> =>
      this.append(partition.slot, placed, flags)
    return { placeWithin, send } as unknown as Ingest
  }

  /** Sends batches to the writer. Resolves with its answer, when it gives one. */
  append(slot: number, bytes: Uint8Array, flags: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#requestAtMs = Math.max(this.#requestAtMs, this.#time.nowMs + this.#delayMs())
    this.#time.after(this.#requestAtMs - this.#time.nowMs, this.#process, () => {
      const host = this.#hosts.get(slot)
      const region = Region.of(new Uint8Array(bytes))
      const answered = (status: number, offset: number): void => {
        const isTaken = status === 0 && (flags & REQUEST_FLAG.replica) === 0
        if (isTaken) {
          const leaderEpoch = this.control.get(slot, SLOT.leaderEpoch)
          this.#listener.acknowledged(slot, offset, recordOf(region.bytes), leaderEpoch)
        }
        // The broker's thread hears of it later.
        this.#time.after(this.#delayMs(), this.#process, () =>
          status === 0 ? resolve(offset) : reject(errorOfStatus(status)),
        )
      }
      if (host === undefined) return reject(new MillraceError('LEADER_NOT_AVAILABLE', { slot }))
      const broken = host.request(requester(region, answered), 0, 0, 0, 0, bytes.length, flags)
      if (broken !== undefined) this.#time.failure ??= broken
    })
    return promise
  }

  // ── what is on the disk ───────────────────────────────────────────────────────────────────────────────────────────

  /** Everything there is is flushed. */
  flush(): void {
    for (const [slot, disk] of this.data.disks) {
      disk.flushedOffset = disk.records.length
      this.control.set(slot, SLOT.flushedOffset, disk.flushedOffset)
    }
  }

  /** The high watermarks are stored, for the next start. */
  checkpoint(): void {
    for (const [slot, disk] of this.data.disks) disk.highWatermark = this.control.get(slot, SLOT.highWatermark)
  }

  #stored(topic: string): unknown {
    const { topic: mine, disks } = this.data
    return mine?.topic === topic ? { topicId: mine.topicId, config: mine.config, partitions: disks.size } : undefined
  }

  /** Brings a partition up, as after a start. */
  #host(slot: number): void {
    const disk = this.data.disks.get(slot) as Disk
    if (disk.truncateTo !== undefined) this.#cut(slot, disk)
    disk.flushedOffset = disk.records.length
    this.control.clear(slot)
    Replicas.prepare(this.control, slot, disk.highWatermark)
    this.#adopt(slot, disk)
    const { topic, topicId } = this.data.topic as { topic: string; topicId: TopicId }
    this.#hosted[slot] = {
      topic,
      topicId,
      partition: slot,
      slot,
      slotGeneration: -1, // so that its epochs are not written to files
      directory: `${this.directory}/${slot}`,
      writer: 0,
      config: { maxMessageBytes: 1_000_000, segmentBytes: 1_000_000 } as unknown as TopicConfig,
      cleanedOffset: 0,
      epochs: epochsOf(disk),
      isReplica: true,
      truncateTo: undefined,
      failure: undefined,
    }
  }

  #cut(slot: number, disk: Disk): void {
    const offset = disk.truncateTo as number
    disk.truncateTo = undefined
    disk.highWatermark = Math.min(disk.highWatermark, offset)
    if (offset < disk.records.length) {
      this.#listener.cut(slot, disk.records.length, offset)
      disk.records.length = offset
    }
    disk.flushedOffset = disk.records.length
  }

  #adopt(slot: number, disk: Disk): void {
    const log = new ModelLog(slot, disk, this.control, this.#services, this.#listener)
    const leaseEndMs = (): number => (this.#mistakes.ignoresLease === true ? Number.MAX_SAFE_INTEGER : this.#leaseEndMs)
    const memory = {
      control: this.control,
      get leaseEndMs() {
        return leaseEndMs()
      },
    }
    this.#hosts.set(slot, new PartitionHost(log as unknown as PartitionLog, memory))
  }

  // ── threads ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #delayMs(): number {
    return this.#random.chance(0.02) ? this.#random.below(60) : this.#random.below(2)
  }

  #request(mail: Mail): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    promise.catch(() => {}) // posted ones have no listener
    this.#mailAtMs = Math.max(this.#mailAtMs, this.#time.nowMs + this.#delayMs())
    this.#time.after(this.#mailAtMs - this.#time.nowMs, this.#process, () => {
      try {
        const answer = this.#handle(mail)
        this.#time.after(this.#delayMs(), this.#process, () => resolve(answer))
      } catch (error) {
        this.#time.after(this.#delayMs(), this.#process, () => reject(error))
      }
    })
    return promise
  }

  /** As `workers/writer.ts`. */
  #handle(mail: Mail): unknown {
    if (mail.kind === 'replicate') {
      for (const slot of mail.slots) this.#hosts.get(slot)?.replicate()
      return undefined
    }
    if (mail.kind !== 'begin-epoch' && mail.kind !== 'last-epoch') throw new Error(`no mail of kind ${mail.kind}`)
    const host = this.#hosts.get(mail.slot)
    if (host === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { slot: mail.slot })
    if (mail.kind === 'begin-epoch') return host.log.beginEpoch(mail.leaderEpoch)
    return host.log.resumeAfter(mail.leaderEpoch)
  }

  #memory(): EngineMemory {
    const broker = this
    const memory = {
      control: this.control,
      closed: false,
      get leaseEndMs() {
        return broker.#leaseEndMs
      },
      set leaseEndMs(ms: number) {
        broker.#leaseEndMs = Math.floor(ms)
      },
      waitForReaders: (slot: number, arrived: () => boolean, timeoutMs: number) =>
        arrived() ? Promise.resolve() : this.#waitForReaders(slot, timeoutMs),
    }
    return memory as unknown as EngineMemory
  }

  #waitForReaders(slot: number, timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting = this.#readers.get(slot) ?? new Set()
    this.#readers.set(slot, waiting)
    const end = (): void => {
      waiting.delete(end)
      timer.isCancelled = true
      resolve()
    }
    const timer = this.#time.after(timeoutMs, this.#process, end)
    waiting.add(end)
    return promise
  }

  #wakeReaders(slot: number): void {
    const waiting = [...(this.#readers.get(slot) ?? [])]
    if (waiting.length === 0) return
    this.#readers.get(slot)?.clear()
    this.#time.after(0, this.#process, () => {
      for (const end of waiting) end()
    })
  }
}

/** Whoever sends one request, and is told its end. */
function requester(region: Region, answered: (status: number, offset: number) => void): AttachedProducer {
  const words = new Int32Array(COMPLETION.words)
  const publish = (): void => answered(words[COMPLETION.status] as number, words[COMPLETION.baseOffsetLow] as number)
  const completions = { words, reserve: () => 0, publish }
  return {
    id: 0,
    arena: { region, free: () => {} },
    channel: { completions },
    answered: false,
  } as unknown as AttachedProducer
}
