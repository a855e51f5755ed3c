/** A connection of one broker to another, or of a tool to a broker: one request at a time, each with a time limit. */
import { connect, type Socket } from 'node:net'
import { MillraceError } from '../base/errors.ts'
import { MIB } from '../base/limits.ts'

const CONNECT_MS = 3_000
const FRAME_BYTES_MAX = 512 * MIB
const LENGTH_BYTES = 4

export interface PeerAddress {
  readonly brokerId: number
  readonly host: string
  readonly port: number
}

interface Asked {
  resolve(frame: Buffer): void
  reject(error: unknown): void
}

export class PeerConnection {
  readonly opened: Promise<void>
  readonly #socket: Socket
  readonly #leader: PeerAddress
  #asked: Asked | undefined
  #correlationId = 0
  #chunks: Buffer[] = []
  #bytes = 0
  #ended: unknown

  constructor(leader: PeerAddress) {
    this.#leader = leader
    const { host, port } = leader
    this.#socket = connect({ host, port, noDelay: true })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.opened = promise
    const timer = setTimeout(() => this.end(this.#failed('no connection in time')), CONNECT_MS)
    this.#socket.once('connect', () => {
      clearTimeout(timer)
      resolve()
    })
    this.#socket.on('data', chunk => this.#take(chunk))
    this.#socket.on('error', error => this.end(this.#failed('connection', error)))
    this.#socket.on('close', () => {
      clearTimeout(timer)
      this.end(this.#failed('it was closed'))
      reject(this.#ended)
    })
    promise.catch(() => {}) // whoever waits is told
  }

  get isOpen(): boolean {
    return this.#ended === undefined
  }

  /** Sends a request and resolves with its answer. */
  async ask<T extends { readonly correlationId: number }>(
    write: (correlationId: number) => readonly Uint8Array[],
    read: (frame: Uint8Array) => T,
    timeoutMs: number,
  ): Promise<T> {
    if (this.#ended !== undefined) throw this.#ended
    const correlationId = ++this.#correlationId
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    this.#asked = { resolve, reject }
    for (const piece of write(correlationId)) this.#socket.write(piece)
    const timer = setTimeout(() => this.end(this.#failed('no answer in time')), timeoutMs)
    try {
      const answer = read(await promise)
      if (answer.correlationId !== correlationId) throw this.#failed('an answer to something else')
      return answer
    } catch (error) {
      this.end(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  end(error: unknown): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#socket.destroy()
    this.#asked?.reject(error)
    this.#asked = undefined
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes < LENGTH_BYTES) return
    if ((this.#chunks[0] as Buffer).length < LENGTH_BYTES) this.#chunks = [Buffer.concat(this.#chunks)]
    const length = (this.#chunks[0] as Buffer).readInt32BE(0)
    if (length < 0 || length > FRAME_BYTES_MAX) {
      this.end(this.#failed(`a frame of ${length} bytes`))
      return
    }
    if (this.#bytes < LENGTH_BYTES + length) return
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)
    const left = all.subarray(LENGTH_BYTES + length)
    this.#chunks = left.length > 0 ? [left] : []
    this.#bytes = left.length
    const asked = this.#asked
    this.#asked = undefined
    if (asked === undefined) this.end(this.#failed('an answer to nothing'))
    else asked.resolve(all.subarray(LENGTH_BYTES, LENGTH_BYTES + length))
  }

  #failed(reason: string, cause?: unknown): MillraceError {
    const { brokerId, host, port } = this.#leader
    return new MillraceError('CONNECTION_FAILED', { broker: brokerId, address: `${host}:${port}`, reason }, cause)
  }
}
