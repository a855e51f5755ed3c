/**
 * The codecs of record batches in the framings that Kafka's clients use: gzip (RFC 1952), zstd (RFC 8878), LZ4 in its
 * frame format, Snappy in xerial's stream format. Pure functions; any thread. What is decompressed comes from outside,
 * so every step knows how much it may still produce before it produces it: a bomb costs at most a small multiple of
 * `maxBytes`. Checksums inside the frames are not checked again: the batch's CRC covers the compressed bytes.
 */
import { constants, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { KIB } from '../base/limits.ts'
import { compressLz4Frame, decompressLz4Frame } from './lz4-frame.ts'
import { compressSnappyStream, decompressSnappyStream } from './snappy-stream.ts'

export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** zlib collects its output in pieces, by default of 16 KiB, which is slow for batches. */
const CHUNK_BYTES_MAX = 128 * KIB

/** A window beyond this is refused: the decoder allocates it whatever the content. Kafka's highest level needs 2^27. */
const ZSTD_WINDOW_LOG_MAX = 27

/** Compresses with the codec's default level. The result may be larger than `bytes`. */
export function compress(codec: Codec, bytes: Uint8Array): Buffer {
  switch (codec) {
    case 'none':
      return Buffer.from(bytes)
    case 'gzip':
      return gzipSync(bytes)
    case 'snappy':
      return compressSnappyStream(bytes)
    case 'lz4':
      return compressLz4Frame(bytes)
    case 'zstd':
      return zstdCompressSync(bytes)
    default:
      throw new MillraceError('UNSUPPORTED_COMPRESSION', { codec: String(codec) })
  }
}

/**
 * Decompresses the records of one batch.
 * @param maxBytes the most that may come out
 * @returns new memory, or a view onto `bytes` where they are stored as they are
 * @throws CORRUPT_BATCH, DECOMPRESSED_TOO_LARGE
 */
export function decompress(codec: Codec, bytes: Uint8Array, maxBytes: number): Buffer {
  try {
    switch (codec) {
      case 'none':
        if (bytes.byteLength > maxBytes) throw tooLarge(codec, maxBytes)
        return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength)
      case 'gzip':
        return gunzipSync(bytes, boundedOptions(bytes.byteLength, maxBytes))
      case 'snappy':
        return decompressSnappyStream(bytes, maxBytes)
      case 'lz4':
        return decompressLz4Frame(bytes, maxBytes)
      case 'zstd':
        return decompressZstd(bytes, maxBytes)
      default:
        throw new MillraceError('UNSUPPORTED_COMPRESSION', { codec: String(codec) })
    }
  } catch (error) {
    if (isMillraceError(error)) throw error
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(codec, maxBytes)
    throw new MillraceError('CORRUPT_BATCH', { codec, reason: 'compression' }, error)
  }
}

/** `node:zlib` stops after one zstd frame, while the format (and Kafka's reader) takes several as one content. */
function decompressZstd(bytes: Uint8Array, maxBytes: number): Buffer {
  const chunks: Buffer[] = []
  let remaining = maxBytes
  let at = 0
  do {
    const options = {
      ...boundedOptions(bytes.byteLength - at, remaining),
      params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
      info: true, // also answer with the engine, which counts the bytes that it took
    }
    const result: unknown = zstdDecompressSync(bytes.subarray(at), options)
    const { buffer, engine } = result as { buffer: Buffer; engine: { bytesWritten: number } }
    if (engine.bytesWritten <= 0) throw new MillraceError('CORRUPT_BATCH', { codec: 'zstd', reason: 'compression' })
    at += engine.bytesWritten
    remaining -= buffer.byteLength
    chunks.push(buffer)
  } while (at < bytes.byteLength)
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
}

function boundedOptions(compressedBytes: number, maxBytes: number): { maxOutputLength: number; chunkSize: number } {
  // zlib wants a limit of at least 1; whoever decodes what came out then finds the byte too many.
  return { maxOutputLength: Math.max(1, maxBytes), chunkSize: Math.min(CHUNK_BYTES_MAX, 1024 + compressedBytes * 4) }
}

function tooLarge(codec: Codec, maxBytes: number): MillraceError {
  return new MillraceError('DECOMPRESSED_TOO_LARGE', { codec, maxBytes })
}
