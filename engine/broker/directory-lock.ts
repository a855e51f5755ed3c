/**
 * The lock of a data directory: an advisory lock on the file `.lock`, held by the process that may write. The kernel gives
 * it back when the process ends, however it ends; the file stays.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MillraceError } from '../base/errors.ts'
import { tryLock } from '../memory/libc.ts'

const ATTEMPTS = 10
const ATTEMPT_MS = 5

export class DirectoryLock {
  #fd: number

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** Creates the directory if need be and takes its lock. @throws DIRECTORY_LOCKED, IO_ERROR */
  static take(directory: string): DirectoryLock {
    const fd = openLockFile(directory, true) as number
    // A process that asks who owns the directory holds the lock for some microseconds.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (tryLock(fd, 'exclusive')) return new DirectoryLock(fd)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ATTEMPT_MS)
    }
    closeSync(fd)
    throw new MillraceError('DIRECTORY_LOCKED', { directory })
  }

  /** True when a process, this one included, owns a directory. */
  static isHeld(directory: string): boolean {
    const fd = openLockFile(directory, false)
    if (fd === undefined) return false
    try {
      return !tryLock(fd, 'shared')
    } finally {
      closeSync(fd)
    }
  }

  release(): void {
    if (this.#fd !== -1) closeSync(this.#fd)
    this.#fd = -1
  }
}

function openLockFile(directory: string, create: boolean): number | undefined {
  try {
    if (create) mkdirSync(directory, { recursive: true })
    return openSync(join(directory, '.lock'), create ? 'a+' : 'r')
  } catch (error) {
    if (!create && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fileError(error, { directory })
  }
}
