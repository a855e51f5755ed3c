/**
 * Avro's `long` as a number, exact over all safe integers. avsc computes a long's zigzag form in a double, where it is
 * twice as large as the long: below -2^52 the last bit, which is the sign, is lost, and the value comes back positive.
 * Here such values go through BigInt; all others take avsc's own path.
 */
import avsc from 'avsc'
import type { Tap } from './tap.ts'

/** Above this magnitude the zigzag form may not fit a double's 53 bits. */
const EXACT_MAX = 2 ** 52

type ErrorHook = (value: unknown, type: avsc.Type) => void

export class ExactLong extends avsc.types.LongType {
  _check(value: unknown, _flags: number, hook?: ErrorHook): boolean {
    const valid = Number.isSafeInteger(value)
    if (!valid && hook !== undefined) hook(value, this)
    return valid
  }

  _read(tap: Tap): number {
    const start = tap.pos
    const value = tap.readLong()
    return value > -EXACT_MAX && value < EXACT_MAX ? value : readExactly(tap.buf, start, tap.pos)
  }

  _write(tap: Tap, value: unknown): void {
    if (!Number.isSafeInteger(value)) throw new Error('not a safe integer')
    const long = value as number
    if (long > -EXACT_MAX && long < EXACT_MAX) tap.writeLong(long)
    else writeExactly(tap, long)
  }
}

function readExactly(bytes: Buffer, start: number, end: number): number {
  let zigzag = 0n
  for (let at = end - 1; at >= start; at--) zigzag = (zigzag << 7n) | BigInt((bytes[at] ?? 0) & 0x7f)
  const value = Number((zigzag >> 1n) ^ -(zigzag & 1n))
  if (!Number.isSafeInteger(value)) throw new Error('a long beyond 2^53')
  return value
}

function writeExactly(tap: Tap, value: number): void {
  let zigzag = value < 0 ? BigInt(value) * -2n - 1n : BigInt(value) * 2n
  for (; zigzag > 0x7fn; zigzag >>= 7n) tap.buf[tap.pos++] = Number(zigzag & 0x7fn) | 0x80
  tap.buf[tap.pos++] = Number(zigzag)
}
