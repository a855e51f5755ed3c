/**
 * Repair after a failed flush: what is kept of a segment is written into a new file, synced there, and put in the place of
 * the old one. A synchronous function, run in a janitor job while the partition is stopped.
 *
 * After a failed flush the page cache shows bytes that the disk may not have, and the next flush of the same file "succeeds".
 * A new file has no such past: its own flush tells the truth. Readers that map the old file keep it. A crash leaves the
 * old file, or the new one; the half-written `.repair` file is deleted by the next recovery.
 */
import { closeSync, fdatasyncSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { failpoint } from '../base/failpoints.ts'
import { MIB } from '../base/limits.ts'
import { segmentFileName } from '../format/file-names.ts'
import { Mapping } from '../memory/mapping.ts'
import { REPAIR_SUFFIX, removeFile, renameFile, syncDirectory, withFile } from './recovery-files.ts'
import { type ScanFault, scanSegment } from './segment-scan.ts'

export interface RewriteRequest {
  /** Folder of the partition. */
  readonly directory: string
  /** Of the segment. */
  readonly baseOffset: number
  /** Bytes from the start that are kept: those below the flushed offset. The end of a batch. */
  readonly keepBytes: number
}

export interface RewriteResult {
  /** Length of the new file: `keepBytes`, less when the old one was shorter. */
  readonly bytes: number
  /** Up to here every batch was checked, CRC included. Equal to `bytes` unless there is a `fault`. */
  readonly validatedBytes: number
  /** Offset behind the last batch that was checked. */
  readonly nextOffset: number
  /** Damage in what was flushed. It was copied as it is, since what follows it is kept: the segment is to be quarantined. */
  readonly fault?: ScanFault
}

/**
 * Rewrites a segment's log file. The new file has exactly `bytes` bytes; the indexes are left alone.
 * @throws DISK_FULL, IO_ERROR; the old file is untouched then
 * Cost: one copy, one flush and one CRC over the kept bytes.
 */
export function rewriteSegment(request: RewriteRequest): RewriteResult {
  const { directory, baseOffset, keepBytes } = request
  const path = join(directory, segmentFileName(baseOffset, 'log'))
  const temporary = path + REPAIR_SUFFIX
  try {
    const bytes = copyDurably(path, temporary, keepBytes)
    const result = validate(temporary, baseOffset, bytes)
    failpoint('repair-before-rename')
    renameFile(temporary, path)
    syncDirectory(directory)
    return result
  } catch (error) {
    removeFile(temporary)
    throw error
  }
}

/** Reads with system calls and not through a mapping, where an error of the disk would end the process. */
function copyDurably(from: string, to: string, bytesMax: number): number {
  return withFile(from, 'r', source => {
    let target: number | undefined
    try {
      target = openSync(to, 'w')
      const chunk = Buffer.alloc(Math.min(MIB, Math.max(bytesMax, 1)))
      let at = 0
      while (at < bytesMax) {
        const found = readSync(source, chunk, 0, Math.min(chunk.length, bytesMax - at), at)
        if (found === 0) break
        for (let done = 0; done < found; ) done += writeSync(target, chunk, done, found - done, at + done)
        at += found
      }
      fdatasyncSync(target)
      return at
    } catch (error) {
      throw fileError(error, { path: to })
    } finally {
      if (target !== undefined) closeSync(target)
    }
  })
}

function validate(path: string, baseOffset: number, bytes: number): RewriteResult {
  if (bytes === 0) return { bytes, validatedBytes: 0, nextOffset: baseOffset }
  const mapping = Mapping.ofPath(path, bytes)
  try {
    const { end, nextOffset, fault } = scanSegment(mapping.region, 0, bytes, { baseOffset })
    const position = fault?.position ?? end
    const found = fault ?? (end < bytes ? ({ position, reason: 'length' } as const) : undefined)
    return { bytes, validatedBytes: end, nextOffset, ...(found === undefined ? {} : { fault: found }) }
  } finally {
    mapping.release()
  }
}
