/**
 * The `leader-epoch-checkpoint` file of a partition, in Kafka's format: where each leader epoch that has records begins.
 * Written by a job of the partition's owner, or the recovery before it; a file is replaced as a whole, so
 * readers find the old entries or the new ones.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { type EpochEntry, formatEpochCheckpoint, parseEpochCheckpoint } from '../format/leader-epoch-checkpoint.ts'
import { syncFileSystem } from '../memory/libc.ts'
import { REPAIR_SUFFIX, renameFile, replaceFile, withFile, writeFile } from './recovery-files.ts'
import { SYNC_TOGETHER_MIN } from './sync-files.ts'

export type { EpochEntry } from '../format/leader-epoch-checkpoint.ts'

export const EPOCH_CHECKPOINT_NAME = 'leader-epoch-checkpoint'

/** What the file says; nothing is assumed about a file that is not there or cannot be read. */
export type EpochCheckpoint =
  | { readonly state: 'sound'; readonly entries: readonly EpochEntry[] }
  | { readonly state: 'missing' | 'damaged' }

/** @throws IO_ERROR when the operating system fails the read */
export function readEpochCheckpoint(directory: string): EpochCheckpoint {
  const path = join(directory, EPOCH_CHECKPOINT_NAME)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { state: 'missing' }
    throw fileError(error, { path })
  }
  const entries = parseEpochCheckpoint(text)
  return entries === undefined ? { state: 'damaged' } : { state: 'sound', entries }
}

/**
 * Replaces the entries, durably.
 * @param entries epochs and start offsets increase strictly
 * @throws DISK_FULL, IO_ERROR; the old entries are still there then
 * Cost: two synchronous flushes, so not on the append path.
 */
export function writeEpochCheckpoint(directory: string, entries: readonly EpochEntry[]): void {
  replaceFile(join(directory, EPOCH_CHECKPOINT_NAME), Buffer.from(formatEpochCheckpoint(entries)))
}

/** Writes the entries of a log that is new, for the caller to make durable. @throws DISK_FULL, IO_ERROR */
export function writeFirstEpoch(directory: string, entries: readonly EpochEntry[]): void {
  writeFile(join(directory, EPOCH_CHECKPOINT_NAME), Buffer.from(formatEpochCheckpoint(entries)))
}

/** What the file of one partition is to say. */
export interface EpochFile {
  /** Of the partition. */
  readonly directory: string
  readonly entries: readonly EpochEntry[]
}

/** Replaces the entries of several partitions. Durable when this returns, but for those that cannot be written: their old entries stay. */
export function writeEpochCheckpoints(files: readonly EpochFile[]): void {
  if (files.length >= SYNC_TOGETHER_MIN && writtenTogether(files)) return
  for (const { directory, entries } of files) succeeds(() => writeEpochCheckpoint(directory, entries))
}

/** With two syncs of the whole file system in place of two flushes each; false where it cannot, with nothing replaced. */
function writtenTogether(files: readonly EpochFile[]): boolean {
  const pathOf = ({ directory }: EpochFile): string => join(directory, EPOCH_CHECKPOINT_NAME)
  const written = files.filter(file =>
    succeeds(() => writeFile(pathOf(file) + REPAIR_SUFFIX, Buffer.from(formatEpochCheckpoint(file.entries)))),
  )
  const [first] = written
  if (first === undefined) return true
  const parent = dirname(first.directory)
  const isSynced = (): boolean => succeeds(() => withFile(parent, 'r', syncFileSystem))
  if (!isSynced()) return false
  for (const file of written) succeeds(() => renameFile(pathOf(file) + REPAIR_SUFFIX, pathOf(file)))
  isSynced()
  return true
}

function succeeds(work: () => unknown): boolean {
  try {
    return work() !== false
  } catch {
    return false
  }
}
