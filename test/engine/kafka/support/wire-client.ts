/** A client that speaks the protocol by hand: whole requests, or any bytes. */
import { connect, type Socket } from 'node:net'
import { type Api, readResponse, writeRequest } from '../../../../engine/kafka/codec/frames.ts'
import type { MessageOf, WrittenMessage } from '../../../../engine/kafka/codec/notation.ts'

const TIMEOUT_MS = 10_000

export class WireClient implements Disposable {
  readonly socket: Socket
  readonly #frames: Buffer[] = []
  #bytes = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #nextId = 1
  ended = false
  /** Answers that came. */
  received = 0

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', data => {
      this.#bytes = Buffer.concat([this.#bytes, data])
      while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readInt32BE(0)) {
        const end = 4 + this.#bytes.readInt32BE(0)
        this.#frames.push(this.#bytes.subarray(4, end))
        this.received += 1
        this.#bytes = this.#bytes.subarray(end)
      }
      this.#wake?.()
    })
    const ended = (): void => {
      this.ended = true
      this.#wake?.()
    }
    socket.on('error', ended)
    socket.on('close', ended)
  }

  static async open(port: number): Promise<WireClient> {
    const socket = connect(port, '127.0.0.1')
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new WireClient(socket)
  }

  /** The next answer, undefined when the connection ended. */
  async frame(): Promise<Buffer | undefined> {
    const untilMs = performance.now() + TIMEOUT_MS
    while (this.#frames.length === 0) {
      if (this.ended) return undefined
      if (performance.now() > untilMs) throw new Error('no answer in time')
      await new Promise<void>(resolve => {
        this.#wake = resolve
        setTimeout(resolve, 100)
      })
    }
    return this.#frames.shift()
  }

  async hasEnded(): Promise<boolean> {
    return (await this.frame()) === undefined
  }

  /** Sends a request and does not wait. @returns its correlation id */
  send<A extends Api>(api: A, version: number, body: WrittenMessage<A['request']>): number {
    const id = this.#nextId++
    this.socket.write(Buffer.concat(writeRequest(api, version, id, 'wire', body as never)))
    return id
  }

  async answer<A extends Api>(
    api: A,
    version: number,
  ): Promise<{ correlationId: number; body: MessageOf<A['response']> }> {
    const frame = await this.frame()
    if (frame === undefined) throw new Error(`the connection ended instead of an answer to ${api.name}`)
    return readResponse(api, version, frame) as never
  }

  async request<A extends Api>(
    api: A,
    version: number,
    body: WrittenMessage<A['request']>,
  ): Promise<MessageOf<A['response']>> {
    this.send(api, version, body)
    return (await this.answer(api, version)).body
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

/** Bytes with their length in front. */
export function framed(body: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + body.length)
  frame.writeInt32BE(body.length)
  frame.set(body, 4)
  return frame
}
