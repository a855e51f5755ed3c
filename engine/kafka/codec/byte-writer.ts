/**
 * Writes the primitive types of the Kafka protocol, big-endian, as a list of pieces. Small fields are gathered in buffers; records are
 * pieces of their own, passed on without a copy. Pure.
 */
import { invariant } from '../../base/invariant.ts'

const FIRST_BYTES = 512
const UVARINT_BYTES_MAX = 5

export class ByteWriter {
  readonly #pieces: Uint8Array[] = []
  #buffer: Buffer
  /** What is in the buffer from here on is no piece yet. */
  #from = 0
  #at = 0
  #flushed = 0

  constructor(bytes = FIRST_BYTES) {
    this.#buffer = Buffer.allocUnsafe(bytes)
  }

  /** Bytes so far. */
  get length(): number {
    return this.#flushed + this.#at - this.#from
  }

  /** Makes room for `count` bytes and returns where they go. */
  #room(count: number): number {
    const at = this.#at
    if (at + count > this.#buffer.length) return this.#grow(count)
    this.#at = at + count
    return at
  }

  #grow(count: number): number {
    const held = this.#at - this.#from
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, held + count))
    this.#buffer.copy(larger, 0, this.#from, this.#at)
    this.#buffer = larger
    this.#from = 0
    this.#at = held + count
    return held
  }

  int8(value: number): void {
    const at = this.#room(1)
    this.#buffer[at] = value
  }

  int16(value: number): void {
    const at = this.#room(2)
    this.#buffer.writeInt16BE(value, at)
  }

  uint16(value: number): void {
    const at = this.#room(2)
    this.#buffer.writeUInt16BE(value, at)
  }

  int32(value: number): void {
    const at = this.#room(4)
    this.#buffer.writeInt32BE(value, at)
  }

  uint32(value: number): void {
    const at = this.#room(4)
    this.#buffer.writeUInt32BE(value, at)
  }

  int64(value: number): void {
    const at = this.#room(8)
    const high = Math.floor(value / 0x1_0000_0000)
    this.#buffer.writeInt32BE(high, at)
    this.#buffer.writeUInt32BE(value - high * 0x1_0000_0000, at + 4)
  }

  float64(value: number): void {
    const at = this.#room(8)
    this.#buffer.writeDoubleBE(value, at)
  }

  bool(value: boolean): void {
    this.int8(value ? 1 : 0)
  }

  uuid(text: string): void {
    const hex = text.replaceAll('-', '')
    invariant(hex.length === 32, 'a UUID has 16 bytes')
    const at = this.#room(16)
    this.#buffer.write(hex, at, 'hex')
  }

  uvarint(value: number): void {
    const at = this.#room(UVARINT_BYTES_MAX)
    let end = at
    let left = value
    while (left > 0x7f) {
      this.#buffer[end++] = (left & 0x7f) | 0x80
      left = Math.floor(left / 128)
    }
    this.#buffer[end++] = left
    this.#at = end
  }

  /** Copied. */
  bytes(value: Uint8Array): void {
    const at = this.#room(value.length)
    this.#buffer.set(value, at)
  }

  /** UTF-8, whose length `byteLength` tells. */
  text(value: string, byteLength: number): void {
    const at = this.#room(byteLength)
    this.#buffer.write(value, at, byteLength, 'utf8')
  }

  /** Passed on as they are. */
  pieces(pieces: readonly Uint8Array[]): void {
    this.#flush()
    for (const piece of pieces) {
      if (piece.length === 0) continue
      this.#pieces.push(piece)
      this.#flushed += piece.length
    }
  }

  #flush(): void {
    if (this.#at === this.#from) return
    this.#pieces.push(this.#buffer.subarray(this.#from, this.#at))
    this.#flushed += this.#at - this.#from
    this.#from = this.#at
  }

  /** All that was written. Nothing is written afterwards. */
  finish(): Uint8Array[] {
    this.#flush()
    return this.#pieces
  }
}
