/**
 * The LZ4 frame format around the native block codec. Pure functions; any thread. The library's own frame decoder has no
 * limit on its output, so frames are taken apart here and each block is decoded with the room that is left.
 *
 *     magic 04 22 4D 18 | FLG | BD | content size u64? | dictionary id u32? | HC | blocks | 00 00 00 00 | content checksum u32?
 *     block: size u32 LE (high bit: stored as it is) | data | block checksum u32?
 *
 * Format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */
import { createRequire } from 'node:module'
import type * as Lz4 from 'lz4-napi'
import { MillraceError } from '../base/errors.ts'

const MAGIC = 0x184d_2204
const FLAG = {
  version: 0xc0,
  independent: 0x20,
  blockChecksum: 0x10,
  contentSize: 0x08,
  contentChecksum: 0x04,
  dictionary: 0x01,
}
const VERSION_1 = 0x40
const STORED = 0x8000_0000
/** The library's block format: the room for the output (u32 LE), then the block. */
const PREFIX_BYTES = 4
/** A byte of a block makes at most 255 bytes, so a small block gets little room. */
const EXPANSION_MAX = 255
/** Linked blocks refer back at most this far. */
const WINDOW_BYTES = 0x1_0000

/** Loaded by the first batch that needs it: native code and its memory are of no use to most threads. */
let loaded: typeof Lz4 | undefined
function lz4(): typeof Lz4 {
  loaded ??= createRequire(import.meta.url)('lz4-napi') as typeof Lz4
  return loaded
}

/** One frame of independent blocks without checksums, which is what Kafka's reader wants. */
export function compressLz4Frame(bytes: Uint8Array): Buffer {
  return lz4().compressFrameSync(asBuffer(bytes))
}

/** @throws CORRUPT_BATCH, DECOMPRESSED_TOO_LARGE, or whatever the library throws for a bad block */
export function decompressLz4Frame(input: Uint8Array, maxBytes: number): Buffer {
  const bytes = asBuffer(input)
  const { flags, blockBytesMax, headerBytes } = readFrameHeader(bytes)
  const trailerBytes = flags & FLAG.blockChecksum ? 4 : 0
  const linked = (flags & FLAG.independent) === 0
  const chunks: Buffer[] = []
  let window = Buffer.alloc(0)
  let remaining = maxBytes
  let at = headerBytes
  for (;;) {
    if (at + 4 > bytes.byteLength) throw corrupt('end of frame')
    const size = bytes.readUInt32LE(at)
    at += 4
    if (size === 0) break // what may follow is the content checksum
    const dataBytes = size & ~STORED
    if (dataBytes > blockBytesMax || dataBytes + trailerBytes > bytes.byteLength - at) throw corrupt('block size')
    const data = bytes.subarray(at, at + dataBytes)
    at += dataBytes + trailerBytes
    const chunk = size >= STORED ? data : decompressBlock(data, blockBytesMax, remaining, window)
    if (chunk === undefined || chunk.byteLength > remaining) {
      throw new MillraceError('DECOMPRESSED_TOO_LARGE', { codec: 'lz4', maxBytes })
    }
    remaining -= chunk.byteLength
    chunks.push(chunk)
    if (linked) window = Buffer.concat([window, chunk]).subarray(-WINDOW_BYTES)
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
}

/** The block's content, `undefined` when it is more than `remaining` bytes. */
function decompressBlock(data: Buffer, blockBytesMax: number, remaining: number, window: Buffer): Buffer | undefined {
  const roomBytes = Math.min(blockBytesMax, data.byteLength * EXPANSION_MAX)
  const prefixed = Buffer.allocUnsafe(PREFIX_BYTES + data.byteLength)
  prefixed.writeUInt32LE(Math.min(roomBytes, remaining))
  prefixed.set(data, PREFIX_BYTES)
  try {
    return lz4().uncompressSync(prefixed, window.byteLength === 0 ? undefined : window)
  } catch (error) {
    if (remaining < roomBytes && String(error).includes('too small')) return undefined
    throw error
  }
}

/** The header's checksum is not checked: the batch's CRC covers it, and early Kafka clients computed it wrongly. */
function readFrameHeader(bytes: Buffer): { flags: number; blockBytesMax: number; headerBytes: number } {
  if (bytes.byteLength < 7 || bytes.readUInt32LE(0) !== MAGIC) throw corrupt('magic')
  const flags = bytes.readUInt8(4)
  if ((flags & FLAG.version) !== VERSION_1 || flags & FLAG.dictionary) throw corrupt('flags')
  const blockSizeCode = (bytes.readUInt8(5) >>> 4) & 0x07
  if (blockSizeCode < 4) throw corrupt('block size code')
  // Codes 4 to 7 are 64 KiB, 256 KiB, 1 MiB and 4 MiB.
  return { flags, blockBytesMax: 1 << (8 + 2 * blockSizeCode), headerBytes: flags & FLAG.contentSize ? 15 : 7 }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength)
}

function corrupt(reason: string): MillraceError {
  return new MillraceError('CORRUPT_BATCH', { codec: 'lz4', reason })
}
