/**
 * One index file of a segment that is being built: entries of a fixed size, appended through a mapping. Owned by its
 * `SegmentIndexWriter`. The file is made as long as it may become and allocated a step ahead of its entries, so that no store
 * meets a full disk; `seal` cuts it to its entries.
 *
 *     0        count          allocated                              capacity
 *     ├── entries ──┼── zeros ─────┼── hole, never stored to ────────────┤
 *
 * Readers map the file too and touch only entries whose count was published. So it may be cut to the most entries that
 * were ever published; when a truncation of the log left fewer, a shorter file takes its place instead.
 */
import { constants, fdatasyncSync, ftruncateSync, readSync, writeSync } from 'node:fs'
import { MillraceError } from '../base/errors.ts'
import { KIB } from '../base/limits.ts'
import { Region } from '../format/region.ts'
import { allocate, PAGE_BYTES, pageCeil } from '../memory/libc.ts'
import { Mapping } from '../memory/mapping.ts'
import { fileBytes, REPAIR_SUFFIX, removeFile, renameFile, replaceFile, withFile } from './recovery-files.ts'

/** Allocation steps double from a page to this, so that the many small indexes stay small. */
const STEP_BYTES_MAX = 64 * KIB

const WRITE_OR_CREATE = constants.O_RDWR | constants.O_CREAT

export class SegmentIndexFile {
  readonly #path: string
  /** Where the entries go: the file itself, or one beside it that will take its place. */
  readonly #target: string
  readonly #entryBytes: number
  readonly #entriesMax: number
  #count = 0
  /** The most entries that may have been published. */
  #peakCount = 0
  #mapping: Mapping | undefined
  /** What of the mapping is in view: all of it for large indexes only, since a window counts as so much garbage. */
  #window: Region | undefined
  #allocatedBytes = 0
  #changed = false

  constructor(path: string, entryBytes: number, bytesMax: number, replace: boolean) {
    this.#path = path
    this.#target = replace ? path + REPAIR_SUFFIX : path
    this.#entryBytes = entryBytes
    this.#entriesMax = Math.floor(bytesMax / entryBytes)
    if (replace) removeFile(this.#target)
  }

  get count(): number {
    return this.#count
  }

  set count(count: number) {
    this.#count = count
    this.#peakCount = Math.max(this.#peakCount, count)
  }

  /** A file that was filled under a larger limit is full, not too long. */
  get entriesMax(): number {
    return Math.max(this.#entriesMax, this.#count)
  }

  /** The mapped file, in which the entry with number `count` may be stored. @throws DISK_FULL, IO_ERROR */
  roomForOne(): Region {
    const neededBytes = (this.#count + 1) * this.#entryBytes
    if (this.#mapping === undefined || this.#mapping.bytes < neededBytes) this.#map(neededBytes)
    const mapping = this.#mapping as Mapping
    const { bytes } = mapping
    if (this.#allocatedBytes < neededBytes) {
      const stepBytes = Math.min(Math.max(this.#allocatedBytes, PAGE_BYTES), STEP_BYTES_MAX)
      const end = Math.min(Math.max(neededBytes, this.#allocatedBytes + stepBytes), bytes)
      withFile(this.#target, 'r+', fd => allocate(fd, this.#allocatedBytes, end - this.#allocatedBytes))
      this.#allocatedBytes = end
    }
    if (this.#window === undefined || this.#window.length < neededBytes)
      this.#window = mapping.window(0, this.#allocatedBytes > STEP_BYTES_MAX ? bytes : this.#allocatedBytes)
    this.#changed = true
    return this.#window
  }

  /**
   * Adds the last entry: by a write where nothing is mapped. The first store into a new mapping takes a millisecond on ext4, which
   * thousands of quiet partitions would each pay when they are closed. @throws DISK_FULL, IO_ERROR
   */
  addLast(entry: Uint8Array): void {
    const at = this.#count * this.#entryBytes
    if (this.#mapping !== undefined) this.roomForOne().bytes.set(entry, at)
    else
      withFile(this.#target, WRITE_OR_CREATE, fd => {
        for (let done = 0; done < entry.length; ) done += writeSync(fd, entry, done, entry.length - done, at + done)
      })
    this.#changed = true
    this.count += 1
  }

  #map(neededBytes: number): void {
    this.release()
    this.#mapping = Mapping.create(this.#target, Math.max(this.entriesMax * this.#entryBytes, neededBytes))
    this.#allocatedBytes = this.#count * this.#entryBytes
  }

  /** A copy of all entries. @throws CORRUPT_INDEX when the file is shorter */
  read(): Region {
    return this.#readEntries(0, this.#count)
  }

  /** A copy of the last entry. There must be one. */
  readLast(): Region {
    return this.#readEntries(this.#count - 1, this.#count)
  }

  #readEntries(first: number, end: number): Region {
    const bytes = Buffer.alloc((end - first) * this.#entryBytes)
    if (bytes.length === 0) return Region.of(bytes)
    const found = withFile(this.#target, 'r', fd => readSync(fd, bytes, 0, bytes.length, first * this.#entryBytes))
    if (found === bytes.length) return Region.of(bytes)
    throw new MillraceError('CORRUPT_INDEX', { path: this.#target, entries: end, missingBytes: bytes.length - found })
  }

  /** Cuts the file to its entries, makes it durable unless the caller does, and unmaps it. @throws DISK_FULL, IO_ERROR */
  seal(sync: boolean): void {
    const bytes = this.#count * this.#entryBytes
    const peakBytes = this.#peakCount * this.#entryBytes
    if (this.#target !== this.#path) {
      withFile(this.#target, 'a', fd => cut(fd, bytes, true))
      renameFile(this.#target, this.#path)
    } else if (pageCeil(peakBytes) > pageCeil(bytes)) {
      replaceFile(this.#path, this.read().bytes)
      this.#peakCount = this.#count
    } else if (this.#changed || fileBytes(this.#path) !== bytes) {
      withFile(this.#target, 'a', fd => cut(fd, bytes, sync))
    }
    this.#changed = false
    this.release()
  }

  release(): void {
    this.#mapping?.release()
    this.#mapping = undefined
    this.#window = undefined
  }
}

function cut(fd: number, bytes: number, sync: boolean): void {
  ftruncateSync(fd, bytes)
  if (sync) fdatasyncSync(fd)
}
