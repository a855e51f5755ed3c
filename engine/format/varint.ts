/**
 * Protocol Buffers' zigzag varints, as record batches use them: `varint` is a signed 32-bit number in 1 to 5 bytes,
 * `varlong` a signed 64-bit number in 1 to 10 bytes, here restricted to safe integers. Seven bits a byte, lowest first;
 * the high bit says that another byte follows. Pure functions; any thread. Reading never touches a byte at or beyond
 * `end`, which must lie inside `bytes`. Longer encodings than needed are read as Kafka reads them.
 */
import { MillraceError } from '../base/errors.ts'

export const VARINT_BYTES_MAX = 5
export const VARLONG_BYTES_MAX = 10

const TWO_27 = 0x800_0000
const TWO_28 = 0x1000_0000

/** The zigzag form of a signed 32-bit number, unsigned: 0, -1, 1, -2 become 0, 1, 2, 3. */
export function zigzag(value: number): number {
  return ((value << 1) ^ (value >> 31)) >>> 0
}

/** Bytes that an unsigned 32-bit number (a zigzag form) takes. */
export function unsignedVarintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < TWO_28 ? 4 : 5
}

/** Writes an unsigned 32-bit number (a zigzag form) and returns the position behind it. */
export function writeUnsignedVarint(bytes: Uint8Array, at: number, value: number): number {
  while (value >= 0x80) {
    bytes[at++] = value | 0x80
    value >>>= 7
  }
  bytes[at++] = value
  return at
}

/** Bytes of `value` as a varint. */
export function varintBytes(value: number): number {
  return unsignedVarintBytes(zigzag(value))
}

/** Writes a signed 32-bit number and returns the position behind it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  return writeUnsignedVarint(bytes, at, zigzag(value))
}

/** Bytes of the safe integer `value` as a varlong. */
export function varlongBytes(value: number): number {
  // Zigzag doubles, so n bytes hold magnitudes below 2^(7n - 1); the magnitude of a negative number is -value - 1.
  let rest = value < 0 ? -value - 1 : value
  if (rest < 0x8000_0000) return varintBytes(rest)
  let bytes = 1
  for (rest /= 64; rest >= 1; rest /= 128) bytes++
  return bytes
}

/** Writes a safe integer and returns the position behind it. */
export function writeVarlong(bytes: Uint8Array, at: number, value: number): number {
  if ((value | 0) === value) return writeUnsignedVarint(bytes, at, zigzag(value))
  // The zigzag form takes 54 bits: the low 28 are exact in 32-bit arithmetic, the rest is below 2^26.
  const negative = value < 0
  const magnitude = negative ? -value - 1 : value
  const high = Math.floor(magnitude / TWO_27)
  let low = (magnitude - high * TWO_27) * 2 + (negative ? 1 : 0)
  for (let i = 0; i < 4; i++) {
    bytes[at++] = low | 0x80
    low >>>= 7
  }
  return writeUnsignedVarint(bytes, at, high)
}

/**
 * The position behind the varint or varlong at `at`.
 * @throws CORRUPT_RECORD when it does not end before `end` or within `bytesMax` bytes
 */
export function varintEnd(bytes: Uint8Array, at: number, end: number, bytesMax = VARINT_BYTES_MAX): number {
  const stop = Math.min(end, at + bytesMax)
  for (let i = at; i < stop; i++) if ((bytes[i] as number) < 0x80) return i + 1
  throw new MillraceError('CORRUPT_RECORD', { position: at, reason: 'varint' })
}

/** @throws CORRUPT_RECORD when it does not end before `end` or is more than 32 bits */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  const stop = varintEnd(bytes, at, end)
  let value = 0
  for (let i = stop - 1; i >= at; i--) value = (value << 7) | ((bytes[i] as number) & 0x7f)
  if (stop - at === VARINT_BYTES_MAX && (bytes[stop - 1] as number) > 0x0f) {
    throw new MillraceError('CORRUPT_RECORD', { position: at, reason: 'varint' })
  }
  return (value >>> 1) ^ -(value & 1)
}

/**
 * @throws CORRUPT_RECORD when it does not end before `end` or within ten bytes
 * @throws UNSUPPORTED_FORMAT when it is not a safe integer
 */
export function readVarlong(bytes: Uint8Array, at: number, end: number): number {
  const stop = varintEnd(bytes, at, end, VARLONG_BYTES_MAX)
  const lowStop = Math.min(stop, at + 4)
  let low = 0
  for (let i = lowStop - 1; i >= at; i--) low = (low << 7) | ((bytes[i] as number) & 0x7f)
  let high = 0
  for (let i = stop - 1; i >= lowStop; i--) high = high * 128 + ((bytes[i] as number) & 0x7f)
  const magnitude = (low >>> 1) + high * TWO_27
  const value = low & 1 ? -magnitude - 1 : magnitude
  if (!Number.isSafeInteger(value)) throw new MillraceError('UNSUPPORTED_FORMAT', { position: at, reason: 'varlong' })
  return value
}
