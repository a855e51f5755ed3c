/**
 * File operations of recovery and repair: cutting, zeroing, replacing and deleting so that a crash at any step leaves either
 * the old state or the new one. Synchronous; run in janitor jobs and, for checkpoints, wherever one is written. Every
 * descriptor is closed on every path; errors of the file system become `DISK_FULL` or `IO_ERROR` with the path.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileError, MillraceError } from '../base/errors.ts'
import { failpoint } from '../base/failpoints.ts'
import { MIB } from '../base/limits.ts'
import { parseSegmentFileName } from '../format/file-names.ts'
import { punchHole, syncFileSystem } from '../memory/libc.ts'

/** Ends the name of a file that is to replace the one without it. Found by recovery, it is what a crash left half-done. */
export const REPAIR_SUFFIX = '.repair'

const ZEROS = Buffer.alloc(MIB)

/** Opens a file, hands the descriptor to `work` and closes it again. */
export function withFile<T>(path: string, flags: string | number, work: (fd: number) => T): T {
  let fd: number | undefined
  try {
    fd = openSync(path, flags)
    return work(fd)
  } catch (error) {
    throw fileError(error, { path })
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** Length in bytes, `undefined` when there is no such file. */
export function fileBytes(path: string): number | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })?.size
  } catch (error) {
    throw fileError(error, { path })
  }
}

/** Names in a directory. @throws DIRECTORY_NOT_FOUND when it is not there or not a directory */
export function listDirectory(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new MillraceError('DIRECTORY_NOT_FOUND', { path: directory }, error)
    throw fileError(error, { path: directory })
  }
}

/** Base offsets of the segments in a partition's folder, ascending. @throws DIRECTORY_NOT_FOUND */
export function listSegmentBases(directory: string): number[] {
  const parsed = listDirectory(directory).map(name => parseSegmentFileName(name))
  return parsed.flatMap(name => (name?.suffix === 'log' ? [name.baseOffset] : [])).sort((a, b) => a - b)
}

/** Makes created, renamed and deleted names durable. */
export function syncDirectory(directory: string): void {
  withFile(directory, 'r', fsyncSync)
}

/** Makes a file's bytes durable. */
export function syncFile(path: string): void {
  withFile(path, 'r+', fdatasyncSync)
}

/** An empty file; one that is there stays as it is. Its name is durable after `syncDirectory`. */
export function createFile(path: string): void {
  withFile(path, 'a', () => undefined)
}

export function removeFile(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch (error) {
    throw fileError(error, { path })
  }
}

export function renameFile(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    throw fileError(error, { path: from })
  }
}

export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
}

/** Replaces a file's content as a whole: after a crash it has the old content or the new one. */
export function replaceFile(path: string, bytes: Uint8Array): void {
  const temporary = path + REPAIR_SUFFIX
  withFile(temporary, 'w', fd => {
    writeAll(fd, bytes)
    fdatasyncSync(fd)
  })
  renameFile(temporary, path)
  syncDirectory(dirname(path))
}

/** Writes a file that is durable once somebody syncs it. */
export function writeFile(path: string, bytes: Uint8Array): void {
  withFile(path, 'w', fd => writeAll(fd, bytes))
}

/** Makes folders and the files in them durable, at one go where the system can. @throws DIRECTORY_NOT_FOUND, IO_ERROR */
export function syncFolders(folders: readonly string[]): void {
  const [first] = folders
  if (first === undefined || withFile(first, 'r', syncFileSystem)) return
  for (const folder of folders) {
    for (const name of listDirectory(folder)) withFile(join(folder, name), 'r', fsyncSync)
    syncDirectory(folder)
  }
}

/**
 * Zeroes a file from `position` to its end and makes that durable, and with it all that the file holds. The length stays:
 * a process that maps the file may touch every page of it. Without this, batches behind the end of a truncated log,
 * whose CRCs are valid and whose offsets fit, would come back to life behind a torn one.
 * @returns bytes zeroed
 */
export function zeroTail(path: string, position: number): number {
  return withFile(path, 'r+', fd => {
    const bytes = Math.max(0, fstatSync(fd).size - position)
    failpoint('truncate-before-zero')
    if (bytes > 0 && !punchHole(fd, position, bytes)) writeZeros(fd, position, bytes)
    fdatasyncSync(fd)
    failpoint('truncate-after-zero')
    return bytes
  })
}

/** From the new end upwards, so that the log ends there as soon as the first of them is written. */
function writeZeros(fd: number, position: number, bytes: number): void {
  const end = position + bytes
  for (let at = position; at < end; ) at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.length, end - at), at)
}

/** Cuts a file that nobody can have mapped beyond `bytes`, and makes that durable. */
export function cutFile(path: string, bytes: number): void {
  withFile(path, 'r+', fd => {
    ftruncateSync(fd, bytes)
    fdatasyncSync(fd)
  })
}
