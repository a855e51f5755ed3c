/**
 * How each scalar type is read and written, in the old encoding and in the flexible one (KIP-482), where lengths are unsigned
 * varints of length + 1 and 0 is null. Pure.
 */
import type { ByteReader } from './byte-reader.ts'
import type { ByteWriter } from './byte-writer.ts'
import type { ScalarKind } from './notation.ts'

export interface ScalarCodec {
  /** Null where it is null on the wire. */
  read(from: ByteReader): unknown
  write(to: ByteWriter, value: unknown): void
  /** Fewest bytes that a value takes. */
  readonly bytesMin: number
  /** Without a default in the notation. */
  readonly zero: unknown
}

const number = (kind: NumberKind, bytesMin: number): ScalarCodec => ({
  read: from => from[kind](),
  write: (to, value) => to[kind](value as number),
  bytesMin,
  zero: 0,
})

type NumberKind = 'int8' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'float64'

const EMPTY = Buffer.alloc(0)
const INT16_MAX = 0x7fff

/** Length of what follows, -1 for null. */
interface LengthCodec {
  read(from: ByteReader): number
  write(to: ByteWriter, length: number): void
  readonly bytesMin: number
}

export const COMPACT_LENGTH: LengthCodec = {
  read: from => from.uvarint() - 1,
  write: (to, length) => to.uvarint(length + 1),
  bytesMin: 1,
}
export const INT32_LENGTH: LengthCodec = {
  read: from => checked(from, from.int32()),
  write: (to, length) => to.int32(length),
  bytesMin: 4,
}
const INT16_LENGTH: LengthCodec = {
  read: from => checked(from, from.int16()),
  write: (to, length) => {
    if (length > INT16_MAX) throw new RangeError('a string of the old encoding has 32,767 bytes at most')
    to.int16(length)
  },
  bytesMin: 2,
}

function checked(from: ByteReader, length: number): number {
  return length < -1 ? from.fail('length below zero') : length
}

const text = (length: LengthCodec): ScalarCodec => ({
  read: from => {
    const bytes = length.read(from)
    return bytes === -1 ? null : from.text(bytes)
  },
  write: (to, value) => {
    if (value === null) {
      length.write(to, -1)
      return
    }
    const bytes = Buffer.byteLength(value as string)
    length.write(to, bytes)
    to.text(value as string, bytes)
  },
  bytesMin: length.bytesMin,
  zero: '',
})

const blob = (length: LengthCodec): ScalarCodec => ({
  read: from => {
    const bytes = length.read(from)
    return bytes === -1 ? null : from.view(bytes)
  },
  write: (to, value) => {
    length.write(to, value === null ? -1 : (value as Uint8Array).length)
    if (value !== null) to.bytes(value as Uint8Array)
  },
  bytesMin: length.bytesMin,
  zero: EMPTY,
})

/** As `blob`, but what is written is passed on. */
const recordSet = (length: LengthCodec): ScalarCodec => ({
  ...blob(length),
  write: (to, value) => {
    if (value === null) {
      length.write(to, -1)
      return
    }
    const pieces = value instanceof Uint8Array ? [value] : (value as readonly Uint8Array[])
    let bytes = 0
    for (const piece of pieces) bytes += piece.length
    length.write(to, bytes)
    to.pieces(pieces)
  },
})

const ALIKE: Omit<Record<ScalarKind, ScalarCodec>, 'string' | 'bytes' | 'records'> = {
  bool: { read: from => from.bool(), write: (to, value) => to.bool(value as boolean), bytesMin: 1, zero: false },
  int8: number('int8', 1),
  int16: number('int16', 2),
  uint16: number('uint16', 2),
  int32: number('int32', 4),
  uint32: number('uint32', 4),
  int64: number('int64', 8),
  float64: number('float64', 8),
  uuid: {
    read: from => from.uuid(),
    write: (to, value) => to.uuid(value as string),
    bytesMin: 16,
    zero: '00000000-0000-0000-0000-000000000000',
  },
}

export const OLD_SCALARS: Record<ScalarKind, ScalarCodec> = {
  ...ALIKE,
  string: text(INT16_LENGTH),
  bytes: blob(INT32_LENGTH),
  records: recordSet(INT32_LENGTH),
}

export const FLEXIBLE_SCALARS: Record<ScalarKind, ScalarCodec> = {
  ...ALIKE,
  string: text(COMPACT_LENGTH),
  bytes: blob(COMPACT_LENGTH),
  records: recordSet(COMPACT_LENGTH),
}
