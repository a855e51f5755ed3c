/**
 * The way of batches that came over the network to the writers: what clients produce, and what a leader has. The bytes of a
 * request are copied once, from the chunks that the socket gave into slabs; each batch in it goes to its partition's writer from where it lies there, and the slabs
 * are free again when all of them are answered. Used by one thread, the broker's or a replicator's.
 *
 * Bounds: a request that found no slabs waits in its connection, which reads no further; a batch whose writer has no room for
 * a request waits here in its slabs.
 */

import { type ErrorCode, MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { KIB, MIB } from '../base/limits.ts'
import { ERROR_CODES, REQUEST_FLAG, statusOf } from '../memory/append-channel.ts'
import { type AppendHandler, type AppendLink, AppendPort } from './append-port.ts'
import type { ClientPartition } from './topic-metadata.ts'

const SLAB_BYTES = 16 * KIB
/** What is used at first; caches like it small. */
const USUAL_BYTES = 2 * MIB
const ID_MAX = 0x7fff_ffff
const PARK_MS = 1_000

/** Told what became of a batch: `status` is 0, or what `statusOf` gives for the error; `baseOffset` is -1 with one. */
export type Appended = (status: number, baseOffset: number) => void

/** What came over a connection, whose `release` is called once its bytes are copied. */
export interface ReceivedBytes {
  readonly chunks: readonly Uint8Array[]
  readonly bytes: number
  release(): void
}

/** What batches come to: `leaderOnly` and `replica` of REQUEST_FLAG. */
export type IngestFlags = number

/** A request with batches in the slabs. */
export interface PlacedRequest {
  /** The request's bytes, valid until `release`. */
  readonly bytes: Uint8Array
  /**
   * Sends a batch on its way.
   * @param batch lies in the bytes of the request
   * @param appended called once, later
   */
  append(partition: ClientPartition, batch: Uint8Array, flags: IngestFlags, appended: Appended): void
  /** Whoever placed it is done with the bytes; they stay until its batches are answered. */
  release(): void
}

class Run implements PlacedRequest {
  readonly bytes: Uint8Array
  readonly at: number
  readonly firstSlab: number
  readonly slabCount: number
  /** Batches under way, and one for whoever placed it. */
  users = 1
  readonly #ingest: Ingest

  constructor(ingest: Ingest, bytes: Uint8Array, at: number, firstSlab: number, slabCount: number) {
    this.#ingest = ingest
    this.bytes = bytes
    this.at = at
    this.firstSlab = firstSlab
    this.slabCount = slabCount
  }

  append(partition: ClientPartition, batch: Uint8Array, flags: IngestFlags, appended: Appended): void {
    this.#ingest.append(partition, this, batch, flags, appended)
  }

  release(): void {
    this.users -= 1
    if (this.users === 0) this.#ingest.free(this)
  }
}

interface WireBatch {
  readonly id: number
  readonly partition: ClientPartition
  readonly run: Run
  readonly firstSlab: number
  readonly slabCount: number
  readonly at: number
  readonly bytes: number
  readonly flags: number
  readonly appended: Appended
}

export class Ingest implements AppendHandler {
  /** Told of each batch that its partition did not take, and why. */
  onRefusal: ((partition: ClientPartition, code: ErrorCode) => void) | undefined
  readonly #port: AppendPort
  readonly #isEngineClosed: () => boolean
  readonly #underWay = new Map<number, WireBatch>()
  /** Batches for which a writer had no room, in order. */
  readonly #held: WireBatch[] = []
  readonly #waiting: (() => void)[] = []
  #nextId = 1
  #parked = false
  #closed = false

  private constructor(port: AppendPort, isEngineClosed: () => boolean) {
    this.#port = port
    this.#isEngineClosed = isEngineClosed
    port.arena.limit = Math.min(port.arena.slabCount, USUAL_BYTES / SLAB_BYTES)
  }

  /** @param bufferBytes most memory for produced batches that are on their way @throws TOO_MANY_PRODUCERS, CLOSED */
  static async attach(link: AppendLink, bufferBytes: number): Promise<Ingest> {
    const port = await AppendPort.attach(link, SLAB_BYTES, Math.ceil(bufferBytes / SLAB_BYTES))
    return new Ingest(port, () => link.memory.closed)
  }

  /** Larger requests never find room in so much memory. */
  static bytesMax(bufferBytes: number): number {
    return Math.ceil(bufferBytes / SLAB_BYTES) * SLAB_BYTES
  }

  /** Copies a request into slabs and releases it; undefined when there is no room: wait for `room`. */
  place(request: ReceivedBytes): PlacedRequest | undefined {
    const { chunks, bytes } = request
    const { arena } = this.#port
    const slabCount = arena.slabsFor(bytes)
    const id = this.#id()
    let firstSlab = arena.take(slabCount, id)
    if (firstSlab === -1) {
      this.#poll()
      firstSlab = arena.take(slabCount, id)
    }
    while (firstSlab === -1 && arena.limit < arena.slabCount) {
      arena.limit = Math.min(Math.max(2 * arena.limit, slabCount), arena.slabCount)
      firstSlab = arena.take(slabCount, id)
    }
    if (firstSlab === -1) return undefined
    const at = firstSlab * SLAB_BYTES
    let to = at
    for (const chunk of chunks) {
      arena.region.bytes.set(chunk, to)
      to += chunk.length
    }
    invariant(to - at === bytes, 'the chunks are the request')
    request.release()
    return new Run(this, arena.region.bytes.subarray(at, to), at, firstSlab, slabCount)
  }

  /** Copies chunks into slabs, waiting for room. @throws BACK_PRESSURE: there was none in time */
  async placeWithin(chunks: readonly Uint8Array[], timeoutMs: number): Promise<PlacedRequest> {
    const request = { chunks, bytes: chunks.reduce((sum, { length }) => sum + length, 0), release: () => {} }
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const placed = this.place(request)
      if (placed !== undefined) return placed
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw new MillraceError('BACK_PRESSURE', { timeoutMs })
      await this.room(leftMs)
    }
  }

  /** Sends all that was placed to one partition. Resolves with the base offset, of a replica with the log end offset. */
  send(partition: ClientPartition, placed: PlacedRequest, flags: IngestFlags): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    placed.append(partition, placed.bytes, flags, (status, offset) =>
      status === 0 ? resolve(offset) : reject(errorOfStatus(status)),
    )
    placed.release()
    return promise
  }

  /** Resolves when slabs became free, or the server closes, or the time is over. */
  async room(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    const timer = setTimeout(resolve, timeoutMs)
    await promise
    clearTimeout(timer)
  }

  #wakeWaiting(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** @internal For a request: nobody uses its slabs any more. */
  free({ firstSlab, slabCount }: Run): void {
    this.#port.arena.free(firstSlab, slabCount)
    this.#wakeWaiting()
  }

  /** @internal For a request. */
  append(partition: ClientPartition, run: Run, batch: Uint8Array, asked: IngestFlags, appended: Appended): void {
    const { firstSlab, slabCount } = run
    const at = run.at + batch.byteOffset - run.bytes.byteOffset
    invariant(at >= run.at && at + batch.length <= run.at + run.bytes.length, 'a batch lies in its request')
    run.users += 1
    const flags = asked | REQUEST_FLAG.checkCrc | REQUEST_FLAG.keepSlabs
    const id = this.#id()
    const sent: WireBatch = { id, partition, run, firstSlab, slabCount, at, bytes: batch.length, flags, appended }
    if (this.#held.length > 0 || !this.#push(sent)) this.#held.push(sent)
    this.#park()
  }

  #id(): number {
    const id = this.#nextId
    this.#nextId = id === ID_MAX ? 1 : id + 1
    return id
  }

  #push(batch: WireBatch): boolean {
    if (!this.#port.push(batch.partition, batch)) return false
    this.#underWay.set(batch.id, batch)
    return true
  }

  // ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal For the port. */
  completed(id: number, status: number, baseOffset: number): void {
    const batch = this.#underWay.get(id)
    if (batch === undefined) return // it was failed when the server closed
    this.#underWay.delete(id)
    this.#settle(batch, status, baseOffset)
  }

  /** @internal Whether what was under way there is in the log nobody knows. */
  writerDied(writer: number): void {
    for (const batch of [...this.#underWay.values()]) {
      if (batch.partition.writer !== writer) continue
      this.#underWay.delete(batch.id)
      this.#settle(batch, statusOf('WRITER_CRASHED'), -1)
    }
  }

  /** @internal */
  reattached(): void {
    this.#poll()
  }

  #settle(batch: WireBatch, status: number, baseOffset: number): void {
    batch.run.release()
    batch.appended(status, baseOffset)
    if (status !== 0) this.onRefusal?.(batch.partition, ERROR_CODES[status - 1] as ErrorCode)
  }

  #poll(): void {
    this.#port.wakeWriters()
    const isClosed = this.#closed || this.#isEngineClosed() // before the rings are looked at: afterwards nothing is answered
    this.#port.poll(this)
    if (isClosed) this.#failAll()
    let pushed = 0
    for (const batch of this.#held) {
      if (!this.#push(batch)) break
      pushed += 1
    }
    if (pushed > 0) this.#held.splice(0, pushed)
    this.#port.wakeWriters()
  }

  #failAll(): void {
    const batches = [...this.#underWay.values(), ...this.#held.splice(0)]
    this.#underWay.clear()
    for (const batch of batches) this.#settle(batch, statusOf('CLOSED'), -1)
    this.#wakeWaiting()
  }

  /** Waits for completions without blocking the event loop, as long as something is under way. */
  #park(): void {
    if (this.#parked) return
    const { cell } = this.#port
    cell.announce()
    this.#poll()
    if (this.#underWay.size === 0 && this.#held.length === 0) {
      cell.cancel()
      return
    }
    const wait = cell.waitAsync(PARK_MS)
    this.#parked = true
    const woken = (): void => {
      this.#parked = false
      this.#park()
    }
    if (wait === undefined) queueMicrotask(woken)
    else void wait.then(woken)
  }

  /** What is under way is answered with CLOSED. Nobody may look at the bytes of a request afterwards. */
  async close(): Promise<void> {
    this.#closed = true
    this.#poll()
    this.#port.cell.wake()
    await this.#port.detach()
  }
}

/** The error that a status stands for. */
export function errorOfStatus(status: number, details: Record<string, string | number> = {}): MillraceError {
  const code = ERROR_CODES[status - 1]
  invariant(code !== undefined, 'a status names an error')
  return new MillraceError(code, details)
}
