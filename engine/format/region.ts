/**
 * A stretch of memory with the two views that the format code needs on it, and 64-bit numbers in such views. Any thread;
 * a region owns nothing: it is valid for as long as the memory behind it is. Offsets, timestamps and producer ids are
 * 64-bit on disk and safe integers in JavaScript, so what does not fit is reported and never rounded.
 */
import { MillraceError } from '../base/errors.ts'

const TWO_32 = 0x1_0000_0000

export class Region {
  readonly bytes: Buffer
  readonly view: DataView
  readonly length: number

  /** @param length bytes, default: up to the end of `buffer` */
  constructor(buffer: ArrayBufferLike, byteOffset = 0, length = buffer.byteLength - byteOffset) {
    this.bytes = Buffer.from(buffer as ArrayBuffer, byteOffset, length)
    this.view = new DataView(buffer, byteOffset, length)
    this.length = length
  }

  /** The same memory as `bytes`, not a copy. */
  static of(bytes: Uint8Array): Region {
    return new Region(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
}

/**
 * A big-endian signed 64-bit number.
 * @throws UNSUPPORTED_FORMAT when it is not a safe integer
 */
export function readI64(view: DataView, at: number): number {
  const value = view.getInt32(at) * TWO_32 + view.getUint32(at + 4)
  if (!Number.isSafeInteger(value)) {
    throw new MillraceError('UNSUPPORTED_FORMAT', { position: at, value: view.getBigInt64(at).toString() })
  }
  return value
}

/** The same for values whose high bits may be damage: never throws, and is inexact beyond 2^53, where only order counts. */
export function readI64Rough(view: DataView, at: number): number {
  return view.getInt32(at) * TWO_32 + view.getUint32(at + 4)
}

/** @param value a safe integer */
export function writeI64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32)
  view.setInt32(at, high)
  view.setUint32(at + 4, value - high * TWO_32)
}
