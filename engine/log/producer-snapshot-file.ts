/**
 * The `<offset>.snapshot` files of a partition's folder: what is known of its idempotent producers below that offset. One is
 * written whenever a segment begins, by the writer into a file that the flusher syncs and gives its name, and at a clean
 * close; a crash leaves it whole or not at all. Kept are those at the base offset of a segment, and the newest.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { failpoint } from '../base/failpoints.ts'
import { parseSegmentFileName, segmentFileName } from '../format/file-names.ts'
import {
  decodeProducerSnapshot,
  encodeProducerSnapshot,
  type ProducerSnapshotEntry,
} from '../format/producer-snapshot.ts'
import {
  fileBytes,
  listDirectory,
  REPAIR_SUFFIX,
  removeFile,
  renameFile,
  replaceFile,
  syncFile,
  withFile,
  writeAll,
} from './recovery-files.ts'

export function snapshotPath(directory: string, offset: number): string {
  return join(directory, segmentFileName(offset, 'snapshot'))
}

/** Offsets of the snapshots that are there, ascending. @throws DIRECTORY_NOT_FOUND */
export function listProducerSnapshots(directory: string): number[] {
  const offsets: number[] = []
  for (const name of listDirectory(directory)) {
    const parsed = parseSegmentFileName(name)
    if (parsed?.suffix === 'snapshot') offsets.push(parsed.baseOffset)
  }
  return offsets.sort((a, b) => a - b)
}

/** `undefined` when it is not there or damaged. @throws IO_ERROR */
export function readProducerSnapshot(directory: string, offset: number): ProducerSnapshotEntry[] | undefined {
  const path = snapshotPath(directory, offset)
  try {
    return decodeProducerSnapshot(readFileSync(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fileError(error, { path })
  }
}

/** Writes a snapshot, durably. @throws DISK_FULL, IO_ERROR. Cost: two synchronous flushes. */
export function writeProducerSnapshot(
  directory: string,
  offset: number,
  entries: readonly ProducerSnapshotEntry[],
): void {
  failpoint('snapshot-before-write')
  replaceFile(snapshotPath(directory, offset), encodeProducerSnapshot(entries))
}

/** First half of it: the bytes, not yet synced, in a file that is none yet. Cost: some 50 µs. @throws DISK_FULL, IO_ERROR */
export function stageProducerSnapshot(
  directory: string,
  offset: number,
  entries: readonly ProducerSnapshotEntry[],
): void {
  failpoint('snapshot-before-write')
  withFile(snapshotPath(directory, offset) + REPAIR_SUFFIX, 'w', fd => writeAll(fd, encodeProducerSnapshot(entries)))
}

/** Second half: syncs the file and gives it its name, which is durable when the folder is synced the next time. */
export function finishProducerSnapshot(directory: string, offset: number): void {
  const path = snapshotPath(directory, offset)
  if (fileBytes(path + REPAIR_SUFFIX) === undefined) return
  syncFile(path + REPAIR_SUFFIX)
  failpoint('snapshot-before-rename')
  renameFile(path + REPAIR_SUFFIX, path)
  failpoint('snapshot-after-rename')
}

/** Deletes the snapshots of which a later one, or a log that is gone, makes nothing of use. @param bases of the segments */
export function removeStraySnapshots(directory: string, bases: readonly number[]): void {
  const offsets = listProducerSnapshots(directory)
  const kept = new Set([...bases, offsets.at(-1)])
  for (const offset of offsets) if (!kept.has(offset)) removeFile(snapshotPath(directory, offset))
}
