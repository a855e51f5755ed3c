/**
 * Puts the requests of one connection together from what its socket gives. Pure; owned by the connection.
 *
 *     ┌ length i32 ┬ api key i16 ┬ api version i16 ┬ correlation id i32 ┬ … ┐   length counts what follows it
 *
 * Nothing is allocated for a length that was only announced: a request is the list of the chunks that came, so a sender that promises
 * much and sends little costs what it sent. Bytes are copied only when a request has to lie in one piece.
 *
 * Whoever has copied a request out releases it; the memory of a chunk is given back with the last request in it. Left to the garbage
 * collector, the chunks of a busy producer make it collect all the time: a fifth of the processor time of its requests.
 */
import { MillraceError } from '../../base/errors.ts'

const LENGTH_BYTES = 4
/** API key, version and correlation id: what every request has. */
export const REQUEST_BYTES_MIN = 8

/** What a socket gave, and how many parts of requests in it are not released. */
class Chunk {
  readonly #bytes: Uint8Array
  #users = 1

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  use(): void {
    this.#users += 1
  }

  release(): void {
    this.#users -= 1
    if (this.#users > 0) return
    const { buffer, byteLength } = this.#bytes
    // Only memory of its own: small buffers may share theirs with others.
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
  }
}

/** A request as it came, without its length. */
export class ReceivedRequest {
  readonly chunks: readonly Uint8Array[]
  readonly bytes: number
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number

  readonly #origins: readonly Chunk[]

  constructor(chunks: readonly Uint8Array[], bytes: number, origins: readonly Chunk[] = []) {
    this.chunks = chunks
    this.#origins = origins
    this.bytes = bytes
    const head = Buffer.from(concat(chunks, REQUEST_BYTES_MIN))
    this.apiKey = head.readInt16BE(0)
    this.apiVersion = head.readInt16BE(2)
    this.correlationId = head.readInt32BE(4)
  }

  /** Nobody looks at its bytes any more. At most once; a request that is not released is left to the garbage collector. */
  release(): void {
    for (const origin of this.#origins) origin.release()
  }

  /** In one piece. Cost: a copy, unless it came in one chunk. */
  whole(): Uint8Array {
    return concat(this.chunks, this.bytes)
  }
}

/** The first `bytes` of chunks, without a copy when the first chunk has them all. */
function concat(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = chunks
  if (first !== undefined && first.length >= bytes) return first.subarray(0, bytes)
  return Buffer.concat(chunks, bytes)
}

export class FrameAssembler {
  readonly #bytesMax: number
  /** What has come of the request, or of its length. */
  #chunks: Uint8Array[] = []
  /** Where each of them is from. */
  #origins: Chunk[] = []
  #gathered = 0
  /** Of the request that is coming; -1 while its length is. */
  #bytes = -1

  /** @param bytesMax longest request, as Kafka's `socket.request.max.bytes` */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Bytes that are held of a request which is not complete. */
  get pendingBytes(): number {
    return this.#gathered
  }

  /** Takes what the socket gave, and returns the requests that are complete. @throws INVALID_REQUEST for an impossible length */
  push(chunk: Uint8Array): ReceivedRequest[] {
    const requests: ReceivedRequest[] = []
    const origin = new Chunk(chunk)
    let at = 0
    while (at < chunk.length) {
      const wanted = this.#bytes === -1 ? LENGTH_BYTES : this.#bytes
      const taken = Math.min(wanted - this.#gathered, chunk.length - at)
      this.#chunks.push(chunk.subarray(at, at + taken))
      this.#origins.push(origin)
      origin.use()
      this.#gathered += taken
      at += taken
      if (this.#gathered < wanted) break
      const [chunks, origins] = [this.#chunks, this.#origins]
      this.#chunks = []
      this.#origins = []
      this.#gathered = 0
      if (this.#bytes === -1) {
        this.#bytes = this.#checkLength(concat(chunks, LENGTH_BYTES))
        for (const each of origins) each.release()
      } else {
        requests.push(new ReceivedRequest(chunks, this.#bytes, origins))
        this.#bytes = -1
      }
    }
    origin.release()
    return requests
  }

  #checkLength(field: Uint8Array): number {
    const bytes = new DataView(field.buffer, field.byteOffset, LENGTH_BYTES).getInt32(0)
    if (bytes >= REQUEST_BYTES_MIN && bytes <= this.#bytesMax) return bytes
    throw new MillraceError('INVALID_REQUEST', {
      reason: 'length',
      bytes,
      minBytes: REQUEST_BYTES_MIN,
      maxBytes: this.#bytesMax,
    })
  }
}
