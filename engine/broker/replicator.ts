/**
 * The thread that brings records from leaders' logs in other engines of this process into followers' logs of this one, and the broker's end of
 * it. It reads the leader's mapped segments, copies whole batches into slabs of its own, and sends them to the follower's writer; a leader's
 * records go on without a turn of the broker's event loop.
 *
 *     leader's segments ──view──▶ replicator ──slabs──▶ follower's writer ──▶ log end offset, which the leader's broker watches
 *
 * Who leads and whether the logs agree up to here is decided before, in the broker's thread (`engine/cluster`): a stream begins at the follower's log
 * end, and ends when that may not hold any more. `invalidate` stops it at once and without a turn of its event loop: what was copied when
 * the leader ceased to lead is not sent. A thread that dies ends its streams; the next stream starts another.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { type ErrorData, fromErrorData, MillraceError } from '../base/errors.ts'
import type { EngineMemoryHandle } from '../memory/engine-memory.ts'
import { appendLinkOf } from './append-port.ts'
import type { Broker } from './broker.ts'
import { serveThread, type ThreadHandle } from './client-link.ts'
import type { ClientPartition } from './topic-metadata.ts'

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const ENTRY = new URL(`../../workers/replicator${extension}`, import.meta.url).href
const STOP_MS = 10_000

/** What the thread begins with. */
export interface ReplicatorStart {
  readonly handle: ThreadHandle
  readonly port: MessagePort
  readonly bufferBytes: number
}

export type ReplicatorMail =
  | {
      readonly kind: 'follow'
      readonly stream: number
      /** The same number for the same engine. */
      readonly engine: number
      readonly source: ClientPartition
      readonly sourceMemory: EngineMemoryHandle
      readonly target: ClientPartition
      /** One word: 1 once the leader does not lead any more. */
      readonly invalid: SharedArrayBuffer
    }
  | { readonly kind: 'unfollow'; readonly stream: number }
  | { readonly kind: 'stop' }

export type ReplicatorEvent =
  /** A leader epoch begins in the follower's log, told before its first batch is sent. */
  | { readonly kind: 'epoch'; readonly stream: number; readonly epoch: number; readonly offset: number }
  /** Nothing more of the stream comes to the writer. */
  | { readonly kind: 'ended'; readonly stream: number; readonly error?: ErrorData }

export interface StreamListener {
  epoch(epoch: number, offset: number): void
  /** Called once; with an error unless it was closed, or invalidated. */
  ended(error: MillraceError | undefined): void
}

/** Where a leader's log is, in another engine of this process. */
export interface StreamSource {
  readonly memory: EngineMemoryHandle
  readonly partition: ClientPartition
}

export class ReplicatorStream {
  readonly #invalid: Int32Array
  readonly #unfollow: () => void
  readonly #listener: StreamListener
  readonly #ended = Promise.withResolvers<void>()
  #isOver = false

  constructor(invalid: SharedArrayBuffer, unfollow: () => void, listener: StreamListener) {
    this.#invalid = new Int32Array(invalid)
    this.#unfollow = unfollow
    this.#listener = listener
  }

  /** The leader does not lead any more: what is copied from now on is not sent. */
  invalidate(): void {
    Atomics.store(this.#invalid, 0, 1)
  }

  /** When this resolves nothing more of the stream comes to the follower's writer. */
  async close(): Promise<void> {
    this.invalidate()
    if (!this.#isOver) this.#unfollow()
    await this.#ended.promise
  }

  /** @internal For the replicator. */
  noteEpoch(epoch: number, offset: number): void {
    this.#listener.epoch(epoch, offset)
  }

  /** @internal For the replicator. */
  end(error?: MillraceError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#ended.resolve()
    this.#listener.ended(error)
  }
}

export class Replicator {
  readonly #broker: Pick<Broker, 'memory' | 'producers'>
  readonly #bufferBytes: number
  readonly #streams = new Map<number, ReplicatorStream>()
  readonly #engines = new WeakMap<EngineMemoryHandle, number>()
  #thread: { readonly pool: Piscina; readonly port: MessagePort; readonly ended: Promise<void> } | undefined
  #nextStream = 1
  #nextEngine = 1
  #isClosed = false

  /** @param bufferBytes most memory for records on their way @throws nothing: the thread starts with the first stream */
  constructor(broker: Pick<Broker, 'memory' | 'producers'>, bufferBytes: number) {
    this.#broker = broker
    this.#bufferBytes = bufferBytes
  }

  /** From the follower's log end on. @throws CLOSED */
  stream({ memory, partition }: StreamSource, target: ClientPartition, listener: StreamListener): ReplicatorStream {
    if (this.#isClosed) throw new MillraceError('CLOSED', { object: 'replicator' })
    this.#thread ??= this.#start()
    const { port } = this.#thread
    const stream = this.#nextStream++
    const invalid = new SharedArrayBuffer(4)
    const post = (mail: ReplicatorMail): void => port.postMessage(mail)
    const started = new ReplicatorStream(invalid, () => post({ kind: 'unfollow', stream }), listener)
    this.#streams.set(stream, started)
    const engine = this.#engines.get(memory) ?? this.#nextEngine++
    this.#engines.set(memory, engine)
    post({ kind: 'follow', stream, engine, source: partition, sourceMemory: memory, target, invalid })
    return started
  }

  #start() {
    const pool = new Piscina({
      filename: ENTRY,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      atomics: 'async',
      trackUnmanagedFds: false,
    })
    const { port1, port2 } = new MessageChannel()
    port1.on('message', (event: ReplicatorEvent) => this.#told(event))
    port1.unref()
    const handle = serveThread(appendLinkOf(this.#broker), producerIds => {
      for (const producerId of producerIds) void this.#broker.producers.reclaim(producerId)
    })
    const start: ReplicatorStart = { handle, port: port2, bufferBytes: this.#bufferBytes }
    const run = pool.run(start, { transferList: [port2, handle.port] }) as Promise<void>
    const ended = run.then(
      () => this.#lost(pool, undefined),
      (error: unknown) => this.#lost(pool, new MillraceError('WRITER_CRASHED', { thread: 'replicator' }, error)),
    )
    return { pool, port: port1, ended }
  }

  #told(event: ReplicatorEvent): void {
    const stream = this.#streams.get(event.stream)
    if (event.kind === 'epoch') stream?.noteEpoch(event.epoch, event.offset)
    else {
      this.#streams.delete(event.stream)
      stream?.end(event.error && fromErrorData(event.error))
    }
  }

  /** The thread has ended: in order, or not. */
  async #lost(pool: Piscina, error: MillraceError | undefined): Promise<void> {
    const thread = this.#thread
    if (thread?.pool === pool) this.#thread = undefined
    thread?.port.close()
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    for (const stream of streams) stream.end(error)
    await pool.destroy()
  }

  /** Ends all streams, and the thread. */
  async close(): Promise<void> {
    this.#isClosed = true
    const thread = this.#thread
    if (thread === undefined) return
    for (const stream of this.#streams.values()) stream.invalidate()
    thread.port.postMessage({ kind: 'stop' } satisfies ReplicatorMail)
    const timer = setTimeout(() => void thread.pool.destroy(), STOP_MS) // it hangs: whatever it waits for is not coming
    await thread.ended
    clearTimeout(timer)
  }
}
