/**
 * Limit of recovery: CRC-32C over bytes that are in memory, in pieces as large as the batches are, by one thread.
 * Frozen: no engine code.
 */
import crc32 from '@node-rs/crc32'
import type { Side } from '../harness/side.ts'
import type { Scratch } from './scratch.ts'

/** The checksums of all pieces of `[0, end)`, xor-ed together so that none can be left out. */
export function checksumPieces(bytes: Buffer, end: number, pieceBytes: number): number {
  let sum = 0
  for (let at = 0; at < end; at += pieceBytes) {
    sum ^= crc32.crc32c(bytes.subarray(at, Math.min(at + pieceBytes, end)))
  }
  return sum >>> 0
}

/** Rounds over the first `roundBytes` of the mapping, whatever is in them; the work is bytes. */
export function crcLimit(scratch: Scratch, pieceBytes: number, roundBytes: number): Side {
  let expected: number | undefined
  return {
    work: roundBytes,
    round() {
      const start = performance.now()
      const sum = checksumPieces(scratch.bytes, roundBytes, pieceBytes)
      const ms = performance.now() - start
      expected ??= sum
      if (sum !== expected) throw new Error('the bytes changed between two rounds')
      return ms
    },
  }
}
