/**
 * The `leader-epoch-checkpoint` file of a partition, in Kafka's format: where each leader epoch that has records begins.
 * Written by the partition's owner, its writer thread or the recovery before it; a file is replaced as a whole, so
 * readers find the old entries or the new ones.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { type EpochEntry, formatEpochCheckpoint, parseEpochCheckpoint } from '../format/leader-epoch-checkpoint.ts'
import { replaceFile, writeFile } from './recovery-files.ts'

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
