/**
 * Snappy in the stream format of xerial's snappy-java, which is what Kafka's clients write. Pure functions; any thread. Some
 * clients write one raw Snappy block instead; the Java client reads both, and so do we.
 *
 *     magic 82 53 4E 41 50 50 59 00 | version i32 BE | compatible version i32 BE | chunks: length i32 BE, raw Snappy block
 */
import { createRequire } from 'node:module'
import type * as Snappy from 'snappy'
import { MillraceError } from '../base/errors.ts'
import { KIB } from '../base/limits.ts'

const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const VERSION = 1
const HEADER_BYTES = 16
/** Snappy looks back at most this far, so larger blocks would not be smaller. */
const CHUNK_BYTES = 64 * KIB
/** A copy takes at least 2 bytes and makes at most 64. */
const EXPANSION_MAX = 32

/** Loaded by the first batch that needs it: native code and its memory are of no use to most threads. */
let loaded: typeof Snappy | undefined
function snappy(): typeof Snappy {
  loaded ??= createRequire(import.meta.url)('snappy') as typeof Snappy
  return loaded
}

export function compressSnappyStream(bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.set(MAGIC)
  header.writeInt32BE(VERSION, 8)
  header.writeInt32BE(VERSION, 12)
  const parts: Buffer[] = [header]
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES) {
    const block = snappy().compressSync(bytes.subarray(at, at + CHUNK_BYTES))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.byteLength)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

/** @throws CORRUPT_BATCH, DECOMPRESSED_TOO_LARGE, or whatever the library throws for a bad block */
export function decompressSnappyStream(input: Uint8Array, maxBytes: number): Buffer {
  const bytes = Buffer.from(input.buffer as ArrayBuffer, input.byteOffset, input.byteLength)
  if (bytes.byteLength < HEADER_BYTES || !bytes.subarray(0, MAGIC.byteLength).equals(MAGIC)) {
    return decompressBlock(bytes, maxBytes, maxBytes)
  }
  const chunks: Buffer[] = []
  let remaining = maxBytes
  let at = HEADER_BYTES
  while (at < bytes.byteLength) {
    const length = at + 4 <= bytes.byteLength ? bytes.readInt32BE(at) : -1
    at += 4
    if (length < 0 || length > bytes.byteLength - at) throw corrupt('chunk length')
    const chunk = decompressBlock(bytes.subarray(at, at + length), remaining, maxBytes)
    at += length
    remaining -= chunk.byteLength
    chunks.push(chunk)
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
}

function decompressBlock(block: Buffer, remaining: number, maxBytes: number): Buffer {
  const declaredBytes = declaredLength(block)
  if (declaredBytes > remaining) throw new MillraceError('DECOMPRESSED_TOO_LARGE', { codec: 'snappy', maxBytes })
  if (declaredBytes > block.byteLength * EXPANSION_MAX) throw corrupt('declared length')
  return snappy().uncompressSync(block) as Buffer
}

/** A raw block starts with the length of its content, an unsigned 32-bit varint. The library allocates it on trust. */
function declaredLength(block: Buffer): number {
  let length = 0
  for (let i = 0; i < Math.min(5, block.byteLength); i++) {
    const byte = block[i] as number
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return length
  }
  throw corrupt('declared length')
}

function corrupt(reason: string): MillraceError {
  return new MillraceError('CORRUPT_BATCH', { codec: 'snappy', reason })
}
