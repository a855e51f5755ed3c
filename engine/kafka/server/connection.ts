/**
 * One client's connection: requests in, answers out, in the order of the requests. Used by the broker's thread.
 *
 * Requests are carried out one after another, as Kafka does, except that Produce requests which follow each other are under way
 * together: their batches reach each partition's writer in their order, and a producer's throughput is not bound by the time
 * of one acknowledgement. The socket is not read while many requests wait, and no request is begun while the
 * client has not taken the answers before: a client that never reads holds one answer and a few requests.
 */
import type { Socket } from 'node:net'
import { KIB, MIB } from '../../base/limits.ts'
import { FrameAssembler, type ReceivedRequest } from './frame-assembler.ts'

/** Requests of one connection that wait or are under way, before its socket is not read any more. */
const REQUESTS_MAX = 64
/** Their bytes, for the same. One request may be larger. */
const REQUEST_BYTES_WAITING_MAX = 4 * MIB
/** Bytes of answers that the client has not taken, before the next request has to wait. */
const ANSWER_BYTES_WAITING_MAX = 256 * KIB

/** The pieces of an answer; nothing to be sent for `undefined`. */
export type Answer = readonly Uint8Array[] | undefined

export interface ConnectionOptions {
  readonly requestBytesMax: number
}

export interface ConnectionHandler {
  /**
   * Carries a request out. What it throws ends the connection.
   * @returns at once where it can, else a promise
   */
  handle(request: ReceivedRequest, connection: Connection): Answer | Promise<Answer>
  /** True for a request that may be under way beside those of its kind before it. */
  isPipelined(request: ReceivedRequest): boolean
  /** More bytes of a request that is not complete are held, or fewer. May end connections. */
  holds(connection: Connection, bytes: number): void
  /** The connection ended; with the reason when it was the client's doing or a bug. */
  ended(connection: Connection, reason: unknown): void
}

/** A place in the order of answers. */
interface Place {
  readonly isPipelined: boolean
  readonly bytes: number
  answer: Answer
  isDone: boolean
}

export class Connection {
  readonly socket: Socket
  /** Aborted when the connection ends or is about to: what waits for its sake need not any more. */
  readonly signal: AbortSignal
  readonly address: string
  /** `/address`, as Kafka shows clients. */
  readonly clientHost: string
  /** Monotonic time of the last byte that came or went. */
  activeMs = performance.now()
  readonly #handler: ConnectionHandler
  readonly #assembler: FrameAssembler
  readonly #abort = new AbortController()
  readonly #waiting: ReceivedRequest[] = []
  readonly #places: Place[] = []
  #bytes = 0
  #isReading = true
  #isDraining = false
  #hasEnded = false
  #onIdle: (() => void) | undefined

  constructor(socket: Socket, handler: ConnectionHandler, options: ConnectionOptions) {
    this.socket = socket
    this.signal = this.#abort.signal
    this.address = socket.remoteAddress ?? ''
    this.clientHost = `/${this.address}`
    this.#handler = handler
    this.#assembler = new FrameAssembler(options.requestBytesMax)
    socket.setNoDelay(true)
    socket.on('data', chunk => this.#received(chunk))
    socket.on('drain', () => this.#go())
    socket.on('error', () => this.end()) // the peer is gone, and so is whom to tell
    socket.on('close', () => this.end())
    socket.on('end', () => this.end())
  }

  /** Requests that wait or are under way. */
  get requests(): number {
    return this.#waiting.length + this.#places.length
  }

  /** Bytes that are held of a request which is not complete. */
  get pendingBytes(): number {
    return this.#assembler.pendingBytes
  }

  /** True when nobody waits for this side. */
  get isIdle(): boolean {
    return this.requests === 0 || this.socket.writableLength > 0
  }

  #received(chunk: Uint8Array): void {
    if (this.#hasEnded) return
    this.activeMs = performance.now()
    const before = this.#assembler.pendingBytes
    try {
      for (const request of this.#assembler.push(chunk)) {
        this.#waiting.push(request)
        this.#bytes += request.bytes
      }
    } catch (error) {
      this.end(error)
      return
    }
    this.#handler.holds(this, this.#assembler.pendingBytes - before)
    this.#go()
  }

  /** Begins what may begin, and reads on or does not. */
  #go(): void {
    while (this.#mayBegin()) this.#begin(this.#waiting.shift() as ReceivedRequest)
    if (this.#hasEnded) return
    const isFull = this.requests >= REQUESTS_MAX || this.#bytes >= REQUEST_BYTES_WAITING_MAX
    if (isFull === this.#isReading) {
      this.#isReading = !isFull
      if (isFull) this.socket.pause()
      else this.socket.resume()
    }
  }

  #mayBegin(): boolean {
    const [next] = this.#waiting
    if (next === undefined || this.#hasEnded || this.#isDraining) return false
    if (this.socket.writableLength > ANSWER_BYTES_WAITING_MAX) return false
    return this.#places.length === 0 || (this.#handler.isPipelined(next) && this.#places.every(isPipelined))
  }

  #begin(request: ReceivedRequest): void {
    const isPipelined = this.#handler.isPipelined(request)
    const place: Place = { isPipelined, bytes: request.bytes, answer: undefined, isDone: false }
    this.#places.push(place)
    try {
      const answer = this.#handler.handle(request, this)
      if (answer instanceof Promise) {
        answer.then(
          later => {
            this.#done(place, later)
            this.#go()
          },
          (error: unknown) => this.end(error),
        )
      } else this.#done(place, answer)
    } catch (error) {
      this.end(error)
    }
  }

  #done(place: Place, answer: Answer): void {
    place.answer = answer
    place.isDone = true
    if (this.#hasEnded) return
    let isCorked = false
    for (let first = this.#places[0]; first?.isDone === true; first = this.#places[0]) {
      this.#places.shift()
      this.#bytes -= first.bytes
      if (first.answer === undefined) continue
      if (!isCorked) this.socket.cork()
      isCorked = true
      for (const piece of first.answer) this.socket.write(piece)
    }
    if (isCorked) {
      this.socket.uncork()
      this.activeMs = performance.now()
    }
    if (this.#places.length === 0) this.#onIdle?.()
  }

  /** Begins nothing more, answers what is under way, and ends. Resolves then, or after `timeoutMs`. */
  async drain(timeoutMs: number): Promise<void> {
    this.#isDraining = true
    this.#abort.abort() // a fetch that waits for records answers with what there is
    if (this.#places.length > 0 && !this.#hasEnded) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, timeoutMs)
      this.#onIdle = resolve
      await promise
      clearTimeout(timer)
    }
    if (this.#hasEnded) return
    const untilMs = performance.now() + timeoutMs
    this.socket.end()
    while (this.socket.writableLength > 0 && !this.socket.destroyed && performance.now() < untilMs) await turn()
    this.end()
  }

  /** @param reason why, when it is not the client that went */
  end(reason?: unknown): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#waiting.length = 0
    this.#places.length = 0
    this.#onIdle?.()
    this.#abort.abort()
    this.socket.destroy()
    this.#handler.holds(this, -this.#assembler.pendingBytes)
    this.#handler.ended(this, reason)
  }
}

const isPipelined = (place: Place): boolean => place.isPipelined

const turn = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 5))
