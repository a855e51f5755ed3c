/**
 * Reads the primitive types of the Kafka protocol, big-endian, from the bytes of one message. Nothing behind its end is ever read;
 * what does not fit is INVALID_REQUEST. Pure; no allocation depends on a number in the input but through bytes that are there.
 */
import { MillraceError } from '../../base/errors.ts'
import { readI64Rough } from '../../format/region.ts'

const UVARINT_BYTES_MAX = 5
const SAFE = Number.MAX_SAFE_INTEGER
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export class ByteReader {
  readonly bytes: Buffer
  readonly #view: DataView
  at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  /** @throws INVALID_REQUEST */
  fail(reason: string): never {
    throw new MillraceError('INVALID_REQUEST', { reason, position: this.at, bytes: this.bytes.length })
  }

  /** Moves on by `count`, which has to be there; returns where it was. */
  #take(count: number): number {
    const { at } = this
    if (count < 0 || count > this.bytes.length - at) this.fail('ends early')
    this.at = at + count
    return at
  }

  int8(): number {
    return this.#view.getInt8(this.#take(1))
  }

  int16(): number {
    return this.#view.getInt16(this.#take(2))
  }

  uint16(): number {
    return this.#view.getUint16(this.#take(2))
  }

  int32(): number {
    return this.#view.getInt32(this.#take(4))
  }

  uint32(): number {
    return this.#view.getUint32(this.#take(4))
  }

  /** Beyond ±(2^53 - 1) it is that. */
  int64(): number {
    const value = readI64Rough(this.#view, this.#take(8))
    return Math.min(Math.max(value, -SAFE), SAFE)
  }

  float64(): number {
    return this.#view.getFloat64(this.#take(8))
  }

  bool(): boolean {
    return this.int8() !== 0
  }

  uuid(): string {
    let at = this.#take(16)
    const part = (count: number): string => {
      let text = ''
      for (let i = 0; i < count; i++) text += HEX[this.bytes[at++] as number]
      return text
    }
    return `${part(4)}-${part(2)}-${part(2)}-${part(2)}-${part(6)}`
  }

  /** 32 bits in up to five bytes, seven bits each, the low ones first. */
  uvarint(): number {
    let value = 0
    for (let i = 0; i < UVARINT_BYTES_MAX; i++) {
      const byte = this.bytes[this.#take(1)] as number
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) {
        if (value > 0xffff_ffff) this.fail('number too large')
        return value
      }
    }
    return this.fail('number too long')
  }

  view(count: number): Uint8Array {
    const at = this.#take(count)
    return this.bytes.subarray(at, at + count)
  }

  text(count: number): string {
    const at = this.#take(count)
    return this.bytes.toString('utf8', at, at + count)
  }
}
