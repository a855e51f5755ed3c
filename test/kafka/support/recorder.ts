/** Stands between a client and a broker and keeps the first request and answer of each API and version. */
import { connect, createServer, type Server, type Socket } from 'node:net'

export interface Exchange {
  readonly client: string
  readonly apiKey: number
  readonly version: number
  /** Frames without their lengths, in base64. */
  readonly request: string
  response: string
}

/** Longer frames say no more than short ones. */
const FRAME_BYTES_MAX = 4_096

export class Recorder {
  readonly exchanges: Exchange[] = []
  /** Whose frames come now. */
  client = ''
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
  }

  /** @param upstreamPort port on the loopback address; asked for with each connection */
  static async open(upstreamPort: () => number): Promise<Recorder> {
    const server = createServer()
    const recorder = new Recorder(server)
    server.on('connection', socket => recorder.#relay(socket, connect(upstreamPort(), '127.0.0.1')))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return recorder
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  #relay(client: Socket, broker: Socket): void {
    const waiting = new Map<number, Exchange>()
    const requests = new Frames(frame => this.#request(frame, waiting))
    const answers = new Frames(frame => this.#answer(frame, waiting))
    client.on('data', data => requests.take(data)).pipe(broker)
    broker.on('data', data => answers.take(data)).pipe(client)
    for (const socket of [client, broker]) {
      this.#sockets.add(socket)
      socket
        .on('error', () => undefined)
        .on('close', () => {
          this.#sockets.delete(socket)
          client.destroy()
          broker.destroy()
        })
    }
  }

  #request(frame: Buffer, waiting: Map<number, Exchange>): void {
    const [apiKey, version] = [frame.readInt16BE(0), frame.readInt16BE(2)]
    const request = frame.toString('base64')
    waiting.set(frame.readInt32BE(4), { client: this.client, apiKey, version, request, response: '' })
  }

  #answer(frame: Buffer, waiting: Map<number, Exchange>): void {
    const exchange = waiting.get(frame.readInt32BE(0))
    if (exchange === undefined) return
    waiting.delete(frame.readInt32BE(0))
    exchange.response = frame.toString('base64')
    if (Math.max(exchange.request.length, exchange.response.length) > (FRAME_BYTES_MAX * 4) / 3) return
    const isKnown = this.exchanges.some(
      ({ client, apiKey, version }) =>
        client === exchange.client && apiKey === exchange.apiKey && version === exchange.version,
    )
    if (!isKnown) this.exchanges.push(exchange)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise(resolve => this.#server.close(resolve))
  }
}

class Frames {
  readonly #found: (frame: Buffer) => void
  #bytes = Buffer.alloc(0)

  constructor(found: (frame: Buffer) => void) {
    this.#found = found
  }

  take(data: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, data])
    while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readInt32BE(0)) {
      const end = 4 + this.#bytes.readInt32BE(0)
      this.#found(this.#bytes.subarray(4, end))
      this.#bytes = this.#bytes.subarray(end)
    }
  }
}
