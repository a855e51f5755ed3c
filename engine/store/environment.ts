/**
 * The LMDB environment: `<directory>/store/data.mdb` with `lock.mdb` beside it, opened by one thread, the broker's.
 * Everything is written in plain durable commits (pages, `fdatasync`, then the meta page through a synchronous
 * descriptor), so a killed process or a lost machine leaves the last commit that was answered.
 *
 * lmdb's native code does not survive some conditions of the world, so they are met here before it is called: a data
 * file that is damaged or no LMDB file (data-file.ts), files that may not be written, a disk without room for those it
 * maps, a use after close.
 * lmdb shares one native environment among all openings of a file in a process; an environment that was opened
 * read-only first cannot be written to afterwards, which is refused as DIRECTORY_LOCKED until that reader is closed.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { type Database, openAsClass, type RootDatabase } from 'lmdb'
import { fileError, MillraceError } from '../base/errors.ts'
import { InvariantError, invariant } from '../base/invariant.ts'
import { KIB, MIB } from '../base/limits.ts'
import { checkDataFile } from './data-file.ts'
import { FileRoom, type PagesInUse } from './file-room.ts'
import type { TableHost } from './table.ts'
import { type Write, WriteQueue } from './write-queue.ts'

/** The folder of the environment inside a Millrace directory. */
export const STORE_FOLDER = 'store'

/** Room for the databases of today and some versions to come; each costs a few words. */
const DATABASES_MAX = 32

/** LMDB's reader table needs 8.3 KiB; written out ahead, because a hole in a mapped file on a full disk is a SIGBUS. */
const LOCK_FILE_BYTES = 16 * KIB

/** What a new environment needs for its first transactions. */
const NEW_STORE_BYTES = 256 * KIB

/** With less room than this a failed write is taken for a full disk: LMDB reports a short write as EIO. */
const DISK_FULL_BYTES = MIB

const ENOSPC = 28
const EDQUOT = 122
const EINVAL = 22

/** LMDB's codes for damage: PAGE_NOTFOUND, CORRUPTED, PANIC, VERSION_MISMATCH, INVALID, CURSOR_FULL, INCOMPATIBLE. */
const DAMAGE = new Set([-30797, -30796, -30795, -30794, -30793, -30787, -30784])

/** What lmdb opens first: the class of the root database, bound to the environment. */
interface OpenedRoot {
  new (name: null, options: object): RootDatabase<string, Buffer>
  readonly prototype: RootDatabase<string, Buffer>
}

interface Opening {
  count: number
  readonly writable: boolean
}

/** This thread's open environments by device and inode of the data file. */
const openings = new Map<string, Opening>()

export class Environment implements TableHost {
  readonly directory: string
  readonly readOnly: boolean
  /** Others write to it too, one at a time. */
  readonly #shared: boolean
  readonly #root: RootDatabase<string, Buffer>
  readonly #queue: WriteQueue
  readonly #room: FileRoom
  readonly #identity: string
  #inTransaction = false
  /** Writes of the transaction that is open, and their bytes. */
  #notedWrites = 0
  #notedBytes = 0
  #closed = false
  #closing: Promise<void> | undefined

  private constructor(
    directory: string,
    { readOnly, shared }: { readOnly: boolean; shared: boolean },
    root: RootDatabase<string, Buffer>,
    identity: string,
  ) {
    this.directory = directory
    this.readOnly = readOnly
    this.#shared = shared
    this.#root = root
    this.#room = new FileRoom(join(directory, STORE_FOLDER, 'data.mdb'), () => pagesInUse(root))
    this.#queue = new WriteQueue(root, this.#room, error => storeError(error, directory))
    this.#identity = identity
  }

  /**
   * Opens the environment; with `readOnly` it has to exist, else it is created when there is none.
   * @param shared other openings write to it too, in this process or another: the caller holds a lock of its own that excludes
   *   them while it opens and during each `transact`, and writes in no other way. So LMDB's own lock, which would stop a thread, is
   *   always free.
   */
  static open(directory: string, readOnly: boolean, shared = false): Environment {
    const folder = join(directory, STORE_FOLDER)
    const path = join(folder, 'data.mdb')
    if (readOnly) {
      if (checkDataFile(path, true) === 'absent') throw new MillraceError('DIRECTORY_NOT_FOUND', { directory })
    } else {
      makeFolder(directory, folder)
      if (checkDataFile(path, shared) === 'absent') requireRoom(folder)
    }
    makeLockFile(folder, readOnly)
    if (!readOnly) for (const file of [path, join(folder, 'lock.mdb')]) requireWritable(file)
    const existing = existsSync(path) ? openings.get(identityOf(path)) : undefined
    if (!readOnly && existing !== undefined && !existing.writable) throw openedByReader(directory)
    const root = openRoot(directory, folder, readOnly)
    const identity = identityOf(path)
    const opening = openings.get(identity)
    if (opening === undefined) openings.set(identity, { count: 1, writable: !readOnly })
    else opening.count++
    return new Environment(directory, { readOnly, shared }, root, identity)
  }

  get inTransaction(): boolean {
    return this.#inTransaction
  }

  /** Writes handed to `submit` that are not on disk yet. */
  get pendingWrites(): number {
    return this.#queue.pendingWrites
  }

  /** A named database; undefined when it does not exist and may not be created. */
  database(name: string, create: boolean): Database<string, Buffer> | undefined {
    return this.#guard(() => {
      const options = { name, encoding: 'string', keyEncoding: 'binary', create } as const
      return this.#root.openDB<string, Buffer>(options) as Database<string, Buffer> | undefined
    })
  }

  read<T>(read: () => T): T {
    return this.#guard(() => {
      // A reader renews its snapshot once per turn of the event loop; beside a live owner that is too old.
      if (this.readOnly || (this.#shared && !this.#inTransaction)) this.#root.resetReadTxn()
      return read()
    })
  }

  /**
   * Runs `work` in one transaction, on disk when this returns. A throw undoes all of it.
   * Cost: a flush of the disk, with this thread waiting.
   * @throws READ_ONLY, CLOSED, DISK_FULL, IO_ERROR
   */
  transact<T>(work: () => T): T {
    this.#assertAccepting()
    return this.#transact(work)
  }

  /** Hands writes to the queue; resolves when they are on disk, all of them in one transaction. */
  submit(writes: readonly Write[]): Promise<void> {
    this.#assertAccepting()
    return this.#queue.submit(writes)
  }

  /** Runs a transaction behind everything that was submitted before. */
  async transactLater<T>(work: () => T): Promise<T> {
    this.#assertAccepting()
    let result: T | undefined
    await this.#queue.run(() => {
      result = this.#transact(work)
    })
    return result as T
  }

  /** Flushes what was submitted and closes. Later calls of this return the same promise; other calls throw CLOSED. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (!this.#queue.idle) await this.#queue.run(() => {})
    this.#closed = true
    const closed = this.#root.close()
    const opening = openings.get(this.#identity)
    if (opening !== undefined && --opening.count === 0) openings.delete(this.#identity)
    await closed
  }

  #assertAccepting(): void {
    if (this.readOnly) throw new MillraceError('READ_ONLY', { directory: this.directory })
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', { directory: this.directory })
  }

  #transact<T>(work: () => T): T {
    invariant(!this.#inTransaction, 'a transaction inside a transaction')
    return this.#guard(() => {
      this.#inTransaction = true
      this.#notedWrites = 0
      this.#notedBytes = 0
      let taken = 0
      if (this.#shared) this.#room.forget()
      try {
        return this.#root.transactionSync(() => {
          const result = work()
          taken = this.#room.take(this.#notedWrites, this.#notedBytes)
          return result
        })
      } finally {
        this.#room.committed(taken)
        this.#inTransaction = false
      }
    })
  }

  note(bytes: number): void {
    this.#notedWrites += 1
    this.#notedBytes += bytes
  }

  /** lmdb throws where nobody can catch it when a closed environment is used, so it is never asked then. */
  #guard<T>(work: () => T): T {
    if (this.#closed) throw new MillraceError('CLOSED', { directory: this.directory })
    try {
      return work()
    } catch (error) {
      throw storeError(error, this.directory)
    }
  }
}

function openRoot(directory: string, folder: string, readOnly: boolean): RootDatabase<string, Buffer> {
  const options = {
    path: folder,
    readOnly,
    isRoot: true,
    encoding: 'string',
    keyEncoding: 'binary',
    maxDbs: DATABASES_MAX,
    overlappingSync: false, // commits would be answered from a snapshot that only lmdb's own open knows to choose
    eventTurnBatching: false, // see write-queue.ts
  } as const
  let Root: OpenedRoot | undefined
  try {
    Root = openAsClass(options) as unknown as OpenedRoot
    return new Root(null, options)
  } catch (error) {
    // The native environment is open by now; its share in a reader's one has to be given back.
    if (Root !== undefined)
      void Root.prototype.close.call(Object.assign(Object.create(Root.prototype), { isRoot: true }))
    if (!readOnly && (error as { code?: unknown }).code === EINVAL) throw openedByReader(directory)
    throw storeError(error, directory)
  }
}

/** What lmdb's statistics say; their type says nothing. */
function pagesInUse(root: RootDatabase<string, Buffer>): PagesInUse {
  const { lastPageNumber, pageSize } = root.getStats() as { lastPageNumber: number; pageSize: number }
  return { lastPage: lastPageNumber, pageBytes: pageSize }
}

function openedByReader(directory: string): MillraceError {
  return new MillraceError('DIRECTORY_LOCKED', { directory, reason: 'open read-only in this process' })
}

/** Device and inode: the same file under two paths is one environment to lmdb. */
function identityOf(path: string): string {
  const { dev, ino } = statSync(path)
  return `${dev}:${ino}`
}

function makeFolder(directory: string, folder: string): void {
  if (existsSync(folder)) return
  try {
    mkdirSync(folder, { recursive: true })
    syncFolder(directory)
  } catch (error) {
    throw fileError(error, { path: folder })
  }
}

/** Makes the entries of a folder durable. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** lmdb dies when it cannot write the first pages of a new file, so the room is taken and given back first. */
function requireRoom(folder: string): void {
  const path = join(folder, 'room')
  try {
    writeFile(path, NEW_STORE_BYTES)
  } catch (error) {
    throw fileError(error, { path: folder })
  } finally {
    if (existsSync(path)) unlinkSync(path)
  }
}

/**
 * Creates lock.mdb with all its blocks. It appears whole, by a link, because another process may open it at once; an
 * existing one is left alone. Where no link can be made LMDB creates the file itself.
 */
function makeLockFile(folder: string, readOnly: boolean): void {
  const path = join(folder, 'lock.mdb')
  if (existsSync(path)) return
  const draft = join(folder, `lock.${process.pid}.${threadId}`)
  try {
    writeFile(draft, LOCK_FILE_BYTES)
    linkSync(draft, path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // LMDB goes without the lock file where a reader may not write.
    if (readOnly && (code === 'EROFS' || code === 'EACCES')) return
    if (code !== 'EEXIST' && code !== 'EPERM') throw fileError(error, { path })
  } finally {
    if (existsSync(draft)) unlinkSync(draft)
  }
}

/** A file of zeros with its blocks allocated, on disk. */
function writeFile(path: string, bytes: number): void {
  const fd = openSync(path, 'w')
  try {
    const zeros = Buffer.alloc(bytes)
    for (let at = 0; at < bytes; ) at += writeSync(fd, zeros, at)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function requireWritable(path: string): void {
  if (!existsSync(path)) return
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
  } catch (error) {
    throw fileError(error, { path })
  }
}

/** An error of lmdb as one of ours. What is ours already, or a bug without any code, passes through. */
function storeError(error: unknown, directory: string): unknown {
  if (error instanceof MillraceError || error instanceof InvariantError) return error
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code === 'string') return fileError(error, { directory })
  if (typeof code !== 'number') return error
  if (DAMAGE.has(code)) return new MillraceError('CORRUPT_STORE', { directory, lmdbCode: code }, error)
  const full = code === ENOSPC || code === EDQUOT || (code > 0 && freeBytes(directory) < DISK_FULL_BYTES)
  return new MillraceError(full ? 'DISK_FULL' : 'IO_ERROR', { directory, lmdbCode: code }, error)
}

function freeBytes(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory)
    return bavail * bsize
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
