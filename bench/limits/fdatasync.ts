/**
 * Limit of durable appends: a 4 KiB write over bytes that are allocated and written already, then `fdatasync`, by one
 * thread that calls both synchronously. What a group commit adds is that one sync serves many senders. Frozen: no engine code.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Side } from '../harness/side.ts'

const WRITE_BYTES = 4096
const FILE_BYTES = 4 * 1024 * 1024

/** A file whose blocks are all on disk, so that a later write changes data only. */
export function writtenFile(path: string): number {
  const fd = openSync(path, 'w+')
  writeSync(fd, Buffer.alloc(FILE_BYTES, 1), 0, FILE_BYTES, 0)
  fsyncSync(fd)
  return fd
}

/** Writes and syncs `count` times, moving through the file; returns the position of the next write. */
export function syncWrites(fd: number, count: number, from = 0): number {
  const block = Buffer.alloc(WRITE_BYTES, 2)
  let at = from
  for (let i = 0; i < count; i++) {
    block.writeInt32LE(i)
    writeSync(fd, block, 0, WRITE_BYTES, at)
    fdatasyncSync(fd)
    at = (at + WRITE_BYTES) % FILE_BYTES
  }
  return at
}

/**
 * Rounds of `syncs` writes.
 * @param acksPerSync senders that one sync can serve; the work is `syncs` times that
 */
export function fdatasyncLimit(directory: string, syncs: number, acksPerSync: number): Side {
  const fd = writtenFile(join(directory, 'fdatasync'))
  let at = 0
  return {
    work: syncs * acksPerSync,
    round() {
      const start = performance.now()
      at = syncWrites(fd, syncs, at)
      return performance.now() - start
    },
    close: () => closeSync(fd),
  }
}
