/**
 * Limit of appending batches that are encoded already: chunks from a small ring in memory, copied one behind the other into
 * a prefaulted mapping by one thread. No checks, no stamps. Frozen: no engine code.
 */
import type { Side } from '../harness/side.ts'
import type { Scratch } from './scratch.ts'

/** Chunks of the source ring, a power of two: 1 MiB at 16 KiB each, so that the source stays in the second-level cache. */
const SOURCE_CHUNKS = 64

/** The ring that is copied from: `SOURCE_CHUNKS` different chunks. */
export function makeChunks(chunkBytes: number): Uint8Array[] {
  const memory = new Uint8Array(chunkBytes * SOURCE_CHUNKS)
  for (let i = 0; i < memory.length; i++) memory[i] = Math.imul(i + 1, 0x9e37_79b1) >>> 24
  return Array.from({ length: SOURCE_CHUNKS }, (_, i) => memory.subarray(i * chunkBytes, (i + 1) * chunkBytes))
}

/** Fills `[0, end)` with whole chunks; returns the position behind the last. */
export function copyChunks(scratch: Scratch, chunks: readonly Uint8Array[], end: number): number {
  const { bytes } = scratch
  const chunkBytes = (chunks[0] as Uint8Array).length
  let at = 0
  for (let i = 0; at + chunkBytes <= end; i++) {
    bytes.set(chunks[i & (SOURCE_CHUNKS - 1)] as Uint8Array, at)
    at += chunkBytes
  }
  return at
}

/** Rounds that copy `roundBytes` in chunks of `chunkBytes`; the work is bytes. */
export function copyLimit(scratch: Scratch, chunkBytes: number, roundBytes: number): Side {
  const chunks = makeChunks(chunkBytes)
  return {
    work: roundBytes - (roundBytes % chunkBytes),
    prepare: () => scratch.prefault(0, roundBytes),
    round() {
      const start = performance.now()
      copyChunks(scratch, chunks, roundBytes)
      return performance.now() - start
    },
  }
}
