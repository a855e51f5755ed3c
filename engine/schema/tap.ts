/** What avsc reads from and writes to, and the parts of its types that do so. They are not in its published types; tests hold them. */
import avsc from 'avsc'
import { invariant } from '../base/invariant.ts'

/** A buffer and a position, which may run past the end. */
export interface Tap {
  buf: Buffer
  pos: number
  readLong(): number
  writeLong(value: number): void
  skipLong(): void
  readString(): string
  readFixed(bytes: number): Buffer
}

/** Reads one value. */
export type Read = (tap: Tap) => unknown

/** Every avsc type. */
export interface TapType {
  _read(tap: Tap): unknown
  _skip(tap: Tap): void
}

export const tapType = (type: avsc.Type): TapType => type as unknown as TapType

/** A tap that is moved from value to value; avsc makes one for each. */
export function makeTap(): Tap {
  let tap: Tap | undefined
  const type = avsc.Type.forSchema('null')
  const resolver = {
    _readerType: type,
    _read: (made: Tap): void => {
      tap = made
    },
  }
  type.decode(Buffer.alloc(0), 0, resolver as unknown as ReturnType<avsc.Type['createResolver']>)
  invariant(tap !== undefined, 'avsc handed no tap to a resolver')
  return tap
}
