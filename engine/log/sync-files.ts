/**
 * Makes several open files durable. Few of them are flushed one by one. For many the whole file system is synced, once, and then
 * each file is asked whether writing it failed: a fifth of the time or less, but it also waits for what other programs have
 * written, so it is not for every day. Used where thousands of partitions may have something left: at the close of an engine,
 * when topics are created, and when descriptors run out.
 */
import { fdatasyncSync } from 'node:fs'
import { demandWritten, syncFileSystem } from '../memory/libc.ts'

/** Files from which on a sync of the whole file system is used. */
export const SYNC_TOGETHER_MIN = 64

/** Returns what went wrong with each, undefined where it is durable. A failure is told once: the next call would succeed. */
export function syncFiles(fds: readonly number[]): unknown[] {
  const check = fds.length >= SYNC_TOGETHER_MIN && syncedTogether(fds[0] as number) ? demandWritten : fdatasyncSync
  return fds.map(fd => errorOf(() => check(fd)))
}

/** False when the system cannot, or a write failed, of whichever file: then each is flushed by itself, and says so. */
function syncedTogether(fd: number): boolean {
  return (
    errorOf(() => {
      if (!syncFileSystem(fd)) throw new RangeError('no such call')
    }) === undefined
  )
}

function errorOf(action: () => void): unknown {
  try {
    action()
    return undefined
  } catch (error) {
    return error
  }
}
