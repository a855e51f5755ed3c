/**
 * One address on which clients connect, over TCP or TLS, and the connections that came in there. Used by the broker's thread.
 *
 * Bounds: connections in all and from one address; bytes of requests that are not complete, over all connections of the server; idle
 * connections end. Whoever breaks a bound loses its own connection.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { fileError } from '../../base/errors.ts'

/** Connections that wait to be accepted: clients come back all at once after a restart. */
const BACKLOG = 1_024

export interface ListenerOptions {
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string
  /** 0 for a free one. Default 9092. */
  readonly port?: number
  /** What `node:tls` takes (key, cert, ca, requestCert, …). Default: no TLS. */
  readonly tls?: TlsOptions
  /** What clients are told to connect to. Default: the address they came to, and the port that is listened on. */
  readonly advertisedHost?: string
  readonly advertisedPort?: number
}

/** The address that clients are told. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

export class Listener {
  readonly #options: ListenerOptions
  readonly #server: Server
  #port = 0

  private constructor(options: ListenerOptions, accept: (socket: Socket, listener: Listener) => void) {
    this.#options = options
    const { tls } = options
    this.#server =
      tls === undefined
        ? createServer({ noDelay: true }, socket => accept(socket, this))
        : createTlsServer({ handshakeTimeout: 10_000, ...tls }, socket => accept(socket, this))
    this.#server.on('tlsClientError', (_, socket) => socket.destroy())
  }

  /** @throws IO_ERROR when the address cannot be listened on */
  static async open(options: ListenerOptions, accept: (socket: Socket, listener: Listener) => void): Promise<Listener> {
    const listener = new Listener(options, accept)
    const { host = '127.0.0.1', port = 9092 } = options
    await new Promise<void>((resolve, reject) => {
      const server = listener.#server
      server.once('error', error => reject(fileError(error, { host, port })))
      server.listen({ host, port, backlog: BACKLOG }, resolve)
    })
    listener.#server.on('error', () => undefined) // out of descriptors: those that are connected go on, others come later
    const address = listener.#server.address()
    listener.#port = typeof address === 'object' && address !== null ? address.port : port
    return listener
  }

  get host(): string {
    return this.#options.host ?? '127.0.0.1'
  }

  get port(): number {
    return this.#port
  }

  /** What a client that came over `socket` is told to connect to. */
  endpoint(socket: Socket): Endpoint {
    const { advertisedHost, advertisedPort } = this.#options
    return {
      host: advertisedHost ?? plainAddress(socket.localAddress) ?? this.host,
      port: advertisedPort ?? this.#port,
    }
  }

  /** Nobody connects any more. */
  async close(): Promise<void> {
    await new Promise<void>(resolve => {
      this.#server.close(() => resolve())
    })
  }
}

/** An IPv4 address that came in over an IPv6 socket, as itself. */
function plainAddress(address: string | undefined): string | undefined {
  return address?.startsWith('::ffff:') === true ? address.slice('::ffff:'.length) : address
}
