/**
 * A mapped stretch of a file or of anonymous memory, owned by the thread that made it.
 *
 * Two kinds of window look at it. The owner's `region` is freed by hand: `release()` while no window was lent unmaps at
 * once, and the owner must not touch its region afterwards (a store into unmapped memory ends the process). A lent
 * window (`lend`) is an `ArrayBuffer` of its own for readers; the mapping then lives until the last of them is collected,
 * so a file may be deleted under a reader. A window never reaches past the bytes that its caller says are published: a
 * page beyond the end of a file is an uncatchable SIGBUS.
 *
 * A `FinalizationRegistry` runs only when its thread returns to the event loop, and not at all for a thread that ended:
 * loops that park never lend, and what a thread still lends at its end stays mapped until the process ends.
 */
import { closeSync, fstatSync, ftruncateSync, openSync } from 'node:fs'
import { fileError, MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { Region } from '../format/region.ts'
import { allocate, mapAnonymous, mapFile, pageCeil, pageFloor, prefaultForWrite, unmap, viewOf } from './libc.ts'

interface Counts {
  lent: number
  released: boolean
  readonly writable: boolean
  readonly address: bigint
  readonly bytes: number
}

/** Bytes of this thread's mappings that are only kept by lent windows: what deleted or replaced files still hold. */
let pinnedBytes = 0
let mappedBytes = 0

const collected = new FinalizationRegistry<Counts>(counts => {
  counts.lent -= 1
  if (counts.released && counts.lent === 0) {
    pinnedBytes -= counts.bytes
    discard(counts)
  }
})

function discard(counts: Counts): void {
  mappedBytes -= counts.bytes
  unmap(counts.address, counts.bytes)
}

export class Mapping {
  readonly #counts: Counts
  #region: Region | undefined

  private constructor(address: bigint, bytes: number, writable: boolean) {
    this.#counts = { lent: 0, released: false, writable, address, bytes }
    mappedBytes += bytes
  }

  /** Maps the first `bytes` of an open file; the descriptor may be closed afterwards. */
  static ofFile(fd: number, bytes: number, writable: boolean): Mapping {
    invariant(bytes > 0, 'an empty file cannot be mapped')
    return new Mapping(mapFile(fd, bytes, writable), bytes, writable)
  }

  /**
   * Opens, maps and closes a file that is at least `bytes` long.
   * @throws IO_ERROR with the path: its cause is ENOENT when the file is gone, `fileBytes` says that it is too short
   */
  static ofPath(path: string, bytes: number, writable = false): Mapping {
    const fd = openFile(path, writable)
    try {
      const fileBytes = fstatSync(fd).size
      if (fileBytes < bytes) throw new MillraceError('IO_ERROR', { path, bytes, fileBytes })
      return Mapping.ofFile(fd, bytes, writable)
    } finally {
      closeSync(fd)
    }
  }

  /**
   * Opens, maps and closes a file as long as it is, undefined when it is empty. Whoever owns it may cut it in this moment or
   * later: bytes behind what is known to stay must not be touched.
   * @throws IO_ERROR with the path; its cause is ENOENT when the file is gone
   */
  static ofWhole(path: string): Mapping | undefined {
    const fd = openFile(path, false)
    try {
      const { size } = fstatSync(fd)
      return size === 0 ? undefined : Mapping.ofFile(fd, size, false)
    } finally {
      closeSync(fd)
    }
  }

  /** Opens a file for reading and writing, creating it if need be, makes it `bytes` long (sparse unless `reserve`), and maps it. */
  static create(path: string, bytes: number, reserve = false): Mapping {
    let fd: number | undefined
    try {
      fd = openSync(path, 'a+')
      ftruncateSync(fd, bytes)
      if (reserve) allocate(fd, 0, bytes)
      return Mapping.ofFile(fd, bytes, true)
    } catch (error) {
      throw fileError(error, { path })
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  static anonymous(bytes: number): Mapping {
    return new Mapping(mapAnonymous(bytes), bytes, true)
  }

  get bytes(): number {
    return this.#counts.bytes
  }

  /** For another thread of this process, which looks at the same memory through `foreignRegion`. */
  get address(): bigint {
    return this.#counts.address
  }

  /** The owner's window onto all of it. Only as long as the file: pages past its end must not be touched. */
  get region(): Region {
    invariant(!this.#counts.released, 'a released mapping is not touched')
    this.#region ??= new Region(viewOf(this.#counts.address, this.#counts.bytes))
    return this.#region
  }

  /**
   * A window of the owner onto `[at, at + length)`, gone with the mapping. V8 counts all of a window as memory that
   * garbage might hold, and collects the heap for some tens of MiB of it: so windows are about as large as what is done in them.
   */
  window(at: number, length: number): Region {
    const { released, address, bytes } = this.#counts
    invariant(!released && at >= 0 && at + length <= bytes, 'a window lies inside its mapping')
    return new Region(viewOf(address + BigInt(at), length))
  }

  /** A window onto `[at, at + length)` that keeps the mapping alive for as long as it is referenced. */
  lend(at: number, length: number): ArrayBuffer {
    const counts = this.#counts
    invariant(!counts.released && at >= 0 && at + length <= counts.bytes, 'a window lies inside its mapping')
    const buffer = viewOf(counts.address + BigInt(at), length)
    counts.lent += 1
    collected.register(buffer, counts)
    return buffer
  }

  /** Faults in the whole pages that hold `[from, to)`. */
  prefault(from: number, to: number): void {
    const counts = this.#counts
    invariant(!counts.released && counts.writable, 'only a writable mapping is faulted in for writing')
    const first = pageFloor(from)
    const end = Math.min(pageCeil(to), counts.bytes)
    if (end > first) prefaultForWrite(counts.address + BigInt(first), end - first)
  }

  /** The owner is done. Unmaps now, or when the last lent window has been collected. Doing it twice is harmless. */
  release(): void {
    const counts = this.#counts
    if (counts.released) return
    counts.released = true
    this.#region = undefined
    if (counts.lent === 0) discard(counts)
    else pinnedBytes += counts.bytes
  }
}

function openFile(path: string, writable: boolean): number {
  try {
    return openSync(path, writable ? 'r+' : 'r')
  } catch (error) {
    throw fileError(error, { path })
  }
}

/** A window of this thread onto memory that another thread of the process mapped and keeps mapped. */
export function foreignRegion(address: bigint, bytes: number): Region {
  return new Region(viewOf(address, bytes))
}

/** Bytes of address space that this thread has mapped, and those that only lent windows still hold. */
export function mappingStatistics(): { mappedBytes: number; pinnedBytes: number } {
  return { mappedBytes, pinnedBytes }
}
