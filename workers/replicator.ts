/**
 * The replicator thread: see engine/broker/replicator.ts. One loop for each partition that it follows; they wait in the event loop of this thread,
 * which does nothing else.
 *
 *     while the leader's log is longer:  view of whole batches ──copy──▶ slabs ──▶ still valid? ──▶ writer
 *
 * Several requests of a partition are under way at once, bounded by the slabs. Each says where the log has to end for it, so after one that
 * failed the later ones store nothing.
 */
import type { MessagePort } from 'node:worker_threads'
import { MillraceError, toErrorData } from '../engine/base/errors.ts'
import { failpoint } from '../engine/base/failpoints.ts'
import { KIB } from '../engine/base/limits.ts'
import { PortLink } from '../engine/broker/client-link.ts'
import { Ingest, type PlacedRequest } from '../engine/broker/ingest.ts'
import { replicaPrefix, stretchesOf } from '../engine/broker/replica-batches.ts'
import type { ReplicatorEvent, ReplicatorMail, ReplicatorStart } from '../engine/broker/replicator.ts'
import { newReadHint, PartitionReader } from '../engine/log/partition-reader.ts'
import { REPLICA_PREFIX_BYTES, REQUEST_FLAG } from '../engine/memory/append-channel.ts'
import { SLOT } from '../engine/memory/control-block.ts'
import { EngineMemory } from '../engine/memory/engine-memory.ts'

const CALL_TIMEOUT_MS = 30_000
/** Large enough that what a turn costs does not matter, and small enough to be in the processor's cache still when the writer comes to it. */
const PIECE_BYTES = 256 * KIB
const ROOM_WAIT_MS = 10_000
/** How long a wait at the leader's log end goes on before a stream looks whether it is still wanted. */
const WAIT_MS = 1_000

type Follow = Extract<ReplicatorMail, { kind: 'follow' }>

interface Shared {
  readonly memory: EngineMemory
  users: number
}

export default async function replicator({ handle, port, bufferBytes }: ReplicatorStart): Promise<void> {
  const link = new PortLink(handle, CALL_TIMEOUT_MS)
  const ingest = await Ingest.attach(link, bufferBytes)
  const thread = new ReplicatorThread(link.memory, ingest, port)
  await thread.run()
  await ingest.close()
  link.close()
  port.close()
}

class ReplicatorThread {
  readonly #own: EngineMemory
  readonly #ingest: Ingest
  readonly #port: MessagePort
  /** Of the leaders' engines. */
  readonly #memories = new Map<number, Shared>()
  readonly #streams = new Map<number, Stream>()
  readonly #running = new Set<Promise<void>>()

  constructor(own: EngineMemory, ingest: Ingest, port: MessagePort) {
    this.#own = own
    this.#ingest = ingest
    this.#port = port
  }

  /** Resolves when it was told to stop, and every stream has ended. */
  async run(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#port.on('message', (mail: ReplicatorMail) => {
      if (mail.kind === 'follow') this.#follow(mail)
      else if (mail.kind === 'unfollow') this.#streams.get(mail.stream)?.stop()
      else resolve()
    })
    await promise
    for (const stream of this.#streams.values()) stream.stop()
    await Promise.all(this.#running)
  }

  #follow(mail: Follow): void {
    const { stream, engine } = mail
    const shared = this.#memory(mail)
    const tell = (event: ReplicatorEvent): void => this.#port.postMessage(event)
    const started = new Stream(mail, shared.memory, this.#own, this.#ingest, tell)
    this.#streams.set(stream, started)
    const running = started.run().then(error => {
      this.#streams.delete(stream)
      this.#running.delete(running)
      shared.users -= 1
      if (shared.users === 0) {
        this.#memories.delete(engine)
        shared.memory.release()
      }
      tell({ kind: 'ended', stream, ...(error === undefined ? {} : { error: toErrorData(error, 'IO_ERROR') }) })
    })
    this.#running.add(running)
  }

  #memory({ engine, sourceMemory }: Follow): Shared {
    const shared = this.#memories.get(engine) ?? { memory: new EngineMemory(sourceMemory), users: 0 }
    this.#memories.set(engine, shared)
    shared.users += 1
    return shared
  }
}

class Stream {
  readonly #mail: Follow
  readonly #source: EngineMemory
  readonly #ingest: Ingest
  readonly #tell: (event: ReplicatorEvent) => void
  readonly #reader: PartitionReader
  readonly #invalid: Int32Array
  /** Sent, and not answered yet. */
  readonly #underWay = new Set<Promise<unknown>>()
  #wake: (() => void) | undefined
  #isStopped = false
  #failure: unknown
  /** What to read next. */
  #position: number
  /** Where the follower's log ends behind what was sent: what was compacted away in between is read over. */
  #end: number
  #epoch: number

  constructor(
    mail: Follow,
    source: EngineMemory,
    own: EngineMemory,
    ingest: Ingest,
    tell: (event: ReplicatorEvent) => void,
  ) {
    this.#mail = mail
    this.#source = source
    this.#ingest = ingest
    this.#tell = tell
    // The follower's writer checks what it stores.
    this.#reader = new PartitionReader(mail.source, source.control, source.segments, false)
    this.#invalid = new Int32Array(mail.invalid)
    this.#end = own.control.get(mail.target.slot, SLOT.logEndOffset)
    this.#position = this.#end
    this.#epoch = own.control.get(mail.target.slot, SLOT.leaderEpoch)
  }

  stop(): void {
    this.#isStopped = true
    this.#wake?.()
  }

  /** Or until it is stopped. */
  async #pause(wait: Promise<unknown>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    await Promise.race([promise, wait])
    this.#wake = undefined
  }

  get #isOver(): boolean {
    return this.#isStopped || this.#failure !== undefined || Atomics.load(this.#invalid, 0) === 1
  }

  /** Resolves when nothing more comes to the writer: with the error that ended it, if one did. */
  async run(): Promise<unknown> {
    try {
      await this.#copyAll()
    } catch (error) {
      this.#failure ??= error
    }
    await Promise.all(this.#underWay)
    return this.#failure
  }

  async #copyAll(): Promise<void> {
    const { slot } = this.#mail.source
    const { control } = this.#source
    const hint = newReadHint()
    const hasMore = (): boolean => control.get(slot, SLOT.logEndOffset) > this.#position || this.#isOver
    while (!this.#isOver) {
      const generation = control.get(slot, SLOT.generation)
      const found = this.#reader.fetch(this.#position, PIECE_BYTES, hint, this.#reader.logEndOffset)
      if (found === undefined) {
        if (this.#source.closed) throw new MillraceError('CLOSED', { object: 'leader' })
        await this.#pause(this.#source.waitForReaders(slot, hasMore, WAIT_MS))
        continue
      }
      const { region, from, to, nextOffset } = found
      if (to - from < PIECE_BYTES / 2 && this.#underWay.size > 0) {
        // While something is on its way more may come: the busier the leader, the larger the pieces.
        await this.#pause(Promise.race(this.#underWay))
        if (control.get(slot, SLOT.logEndOffset) > nextOffset) continue
      }
      if (to > from) {
        const placed = await this.#ingest.placeWithin(
          [replicaPrefix(this.#end), region.bytes.subarray(from, to)],
          ROOM_WAIT_MS,
        )
        // Else the bytes may have been those of a log that was cut meanwhile.
        const isSound = generation % 2 === 0 && control.get(slot, SLOT.generation) === generation && !this.#isOver
        if (!isSound) {
          placed.release()
          continue
        }
        failpoint('replicate-before-send')
        this.#send(placed)
        this.#end = nextOffset
      }
      this.#position = nextOffset
    }
  }

  #send(placed: PlacedRequest): void {
    const { stream, target } = this.#mail
    for (const { epochs } of stretchesOf(placed.bytes.subarray(REPLICA_PREFIX_BYTES), placed.bytes.length)) {
      for (const { epoch, offset } of epochs) {
        if (epoch <= this.#epoch) continue
        this.#epoch = epoch
        this.#tell({ kind: 'epoch', stream, epoch, offset })
      }
    }
    const sent = this.#ingest.send(target, placed, REQUEST_FLAG.replica).catch((error: unknown) => {
      this.#failure ??= error
    })
    this.#underWay.add(sent)
    void sent.then(() => this.#underWay.delete(sent))
  }
}
