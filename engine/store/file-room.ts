/**
 * Room ahead of what LMDB writes: the data file always has blocks on the disk for the worst that the next commit can take,
 * so that a full disk is an error here and never one inside lmdb. There a page that cannot be written overruns the buffer of
 * the message about it (mdb.c prints into 100 bytes), and the process dies of a damaged heap, soon or when it ends.
 *
 *     0        LMDB's last page        end of the file
 *     ├── pages ───────┼── zeros, for the pages to come ──┤      LMDB overwrites them and never looks at them
 *
 * Owned by the thread that commits. Zeros are only ever written behind the end of the file, where no commit that is under
 * way writes, because its room was taken before it began.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { fileError, isMillraceError } from '../base/errors.ts'
import { KIB } from '../base/limits.ts'

/** Pages that one write can touch: a leaf, the branches above it, and their share of the free list. */
const PAGES_OF_A_WRITE = 5
/** And those that every commit touches. */
const PAGES_OF_A_COMMIT = 8
/** LMDB's own bytes around a key and its value. */
const NODE_BYTES = 16
/** Found at once, so that small commits rarely have to look. */
const STEP_BYTES = 128 * KIB

const ZEROS = Buffer.alloc(64 * KIB)

/** How far LMDB's pages reach. */
export interface PagesInUse {
  readonly lastPage: number
  readonly pageBytes: number
}

export class FileRoom {
  readonly #path: string
  readonly #pagesInUse: () => PagesInUse
  #pageBytes = 0
  /** When it was last looked. Since then no more came to it than was taken of what was found. */
  #usedPages = 0
  #foundBytes = 0
  /** What commits may still take of the room that was found last. */
  #leftBytes = 0
  /** Taken by commits under way, whose pages do not count as used yet. */
  #underWayBytes = 0

  constructor(path: string, pagesInUse: () => PagesInUse) {
    this.#path = path
    this.#pagesInUse = pagesInUse
  }

  /**
   * Takes room for a commit, which says `committed` when it is over.
   * @param bytes keys and values together
   * @returns what was taken
   * @throws DISK_FULL, IO_ERROR; nothing was taken then
   */
  take(writes: number, bytes: number): number {
    if (this.#pageBytes === 0) this.#look()
    const payloadBytes = bytes + writes * NODE_BYTES
    // A commit copies each page that it changes once, and splits pages no more often than what it adds fills halves of them.
    const usedBytes = this.#usedPages * this.#pageBytes + this.#foundBytes - this.#leftBytes
    const changed = Math.min(writes * PAGES_OF_A_WRITE, Math.ceil((usedBytes + 2 * payloadBytes) / this.#pageBytes))
    // A value that does not fit a page takes pages of its own, the last of them half empty.
    const neededBytes = (changed + PAGES_OF_A_COMMIT) * this.#pageBytes + 2 * payloadBytes
    if (this.#leftBytes < neededBytes) this.#find(neededBytes)
    this.#leftBytes -= neededBytes
    this.#underWayBytes += neededBytes
    return neededBytes
  }

  /** The commit that took so much is done, or failed. */
  committed(takenBytes: number): void {
    this.#underWayBytes -= takenBytes
  }

  /** What was found may have been used by somebody else. */
  forget(): void {
    this.#leftBytes = 0
  }

  #look(): void {
    const { lastPage, pageBytes } = this.#pagesInUse()
    this.#usedPages = lastPage + 1
    this.#pageBytes = pageBytes
  }

  #find(neededBytes: number): void {
    this.#look()
    const spokenForBytes = this.#usedPages * this.#pageBytes + this.#underWayBytes
    const endBytes = spokenForBytes + neededBytes
    let fileBytes: number
    try {
      fileBytes = this.#extend(endBytes + STEP_BYTES)
    } catch (error) {
      if (!isMillraceError(error, 'DISK_FULL')) throw error
      fileBytes = this.#extend(endBytes)
    }
    this.#foundBytes = fileBytes - spokenForBytes
    this.#leftBytes = this.#foundBytes
  }

  /** Makes the file at least so long, with blocks behind every byte. Returns its length. */
  #extend(bytes: number): number {
    let fd: number | undefined
    try {
      fd = openSync(this.#path, 'r+')
      const before = fstatSync(fd).size
      try {
        for (let at = before; at < bytes; ) at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.length, bytes - at), at)
      } catch (error) {
        ftruncateSync(fd, before) // what little there was is of more use to others
        throw error
      }
      return Math.max(before, bytes)
    } catch (error) {
      throw fileError(error, { path: this.#path })
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }
}
