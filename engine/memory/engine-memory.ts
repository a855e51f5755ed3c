/**
 * The memory that all threads of one engine share, in two parts.
 *
 * The control file, mapped by every thread for itself and by processes that read the directory beside its owner: control
 * block, segment table, and which partition lives in which slot. It describes a running engine and is made anew by each
 * owner (a new file, since a reader may still have the old one mapped); nothing in it matters after a crash.
 *
 *     0        4 KiB        identities              slots                    segment table
 *     ├ header ─┼ 32 bytes × PARTITIONS_MAX ─┼ 192 bytes × PARTITIONS_MAX ─┼ 64 bytes × SEGMENTS_MAX ─┤
 *     header: magic u64 │ version u64 │ state u64 (0 in use, 1 closed) │ metadata version u64
 *     identity: topic id, 16 bytes │ partition u32 │ 12 unused
 *
 * The words in a SharedArrayBuffer, for what only threads of this process do: waking, stopping, mail counts, the indexer's
 * dirty bits, and readers that wait at the tail. Threads are numbered: writers from 0, then the services.
 */
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, isMillraceError, MillraceError } from '../base/errors.ts'
import { PARTITIONS_MAX, SEGMENTS_MAX, WRITERS_MAX } from '../base/limits.ts'
import { ControlBlock, SLOT } from './control-block.ts'
import { Mapping } from './mapping.ts'
import { SEGMENT, SegmentTable } from './segment-table.ts'
import { WAKE_CELL_BYTES, WakeCell } from './wake-cell.ts'

export const CONTROL_FILE = 'control'

const MAGIC = 0x4d49_4c4c_5241_4345n // 'MILLRACE'
const VERSION = 1n
const HEADER_BYTES = 4096
const IDENTITY_BYTES = 32
const IDENTITY_WORDS = IDENTITY_BYTES / 4
/** Words of a topic id, at the head of an identity; the partition follows. */
const ID_WORDS = 4
const IDENTITIES_AT = HEADER_BYTES
const SLOTS_AT = IDENTITIES_AT + PARTITIONS_MAX * IDENTITY_BYTES
const TABLE_AT = SLOTS_AT + PARTITIONS_MAX * SLOT.words * 8
const FILE_BYTES = TABLE_AT + SEGMENTS_MAX * SEGMENT.words * 8
const HEADER = { magic: 0, version: 1, state: 2, metadataVersion: 3, leaseEnd: 4 } as const

/** Numbers of the service threads, after those of the writers. */
export const SERVICE = { flusher: WRITERS_MAX, janitor: WRITERS_MAX + 1, indexer: WRITERS_MAX + 2 } as const
const THREADS_MAX = WRITERS_MAX + 3

export const STOP_PHASE = { running: 0, writers: 1, services: 2 } as const

const STOP = 0
const CELLS = 16
const CELL_WORDS = WAKE_CELL_BYTES / 4
const MAIL = CELLS + THREADS_MAX * CELL_WORDS
const DIRTY = MAIL + THREADS_MAX
const DIRTY_WORDS = PARTITIONS_MAX / 32
const WAITERS = DIRTY + DIRTY_WORDS
const ARRIVALS = WAITERS + PARTITIONS_MAX
const INDEXER_WAITS = ARRIVALS + PARTITIONS_MAX
const WORDS = INDEXER_WAITS + 1

/** What is posted to another thread so that it can look at the same memory. */
export interface EngineMemoryHandle {
  readonly path: string
  readonly words: SharedArrayBuffer
}

/** Makes the control file of a directory anew, all zeros, with its disk blocks reserved. @throws DISK_FULL, IO_ERROR */
export function createEngineMemory(directory: string): EngineMemoryHandle {
  const path = join(directory, CONTROL_FILE)
  const temporary = `${path}.new`
  rmSync(temporary, { force: true })
  try {
    const mapping = reserve(temporary, path)
    const header = new BigInt64Array(mapping.region.bytes.buffer, 0, HEADER_BYTES / 8)
    header[HEADER.version] = VERSION
    Atomics.store(header, HEADER.magic, MAGIC)
    mapping.release()
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true }) // on a full disk its blocks are wanted
    throw fileError(error, { path })
  }
  return { path, words: new SharedArrayBuffer(WORDS * 4) }
}

/** A full disk may not have room for both files at once, and what would make room needs the engine to run. */
function reserve(temporary: string, replaced: string): Mapping {
  try {
    return Mapping.create(temporary, FILE_BYTES, true)
  } catch (error) {
    if (!isMillraceError(error, 'DISK_FULL') || !existsSync(replaced)) throw error
    rmSync(temporary, { force: true })
    rmSync(replaced)
    return Mapping.create(temporary, FILE_BYTES, true)
  }
}

/** Before the rest is mapped: a control file of another format may have another length. */
function checkHeader(path: string): void {
  const mapping = Mapping.ofPath(path, HEADER_BYTES)
  const header = new BigInt64Array(mapping.region.bytes.buffer, 0, HEADER_BYTES / 8)
  const magic = header[HEADER.magic]
  const version = header[HEADER.version]
  mapping.release()
  if (magic !== MAGIC || version !== VERSION) throw new MillraceError('NEWER_FORMAT', { path, found: String(version) })
}

function idWords(topicId: string): number[] {
  const hex = topicId.replaceAll('-', '')
  return Array.from({ length: ID_WORDS }, (_, word) => Number.parseInt(hex.slice(word * 8, word * 8 + 8), 16))
}

/** A handle on the control file of a directory that another process has open. */
export function openEngineMemory(directory: string): EngineMemoryHandle {
  return { path: join(directory, CONTROL_FILE), words: new SharedArrayBuffer(WORDS * 4) }
}

export class EngineMemory {
  readonly handle: EngineMemoryHandle
  readonly control: ControlBlock
  readonly segments: SegmentTable
  /** Called in the thread that bumps the metadata version, behind that. */
  readonly metadataListeners = new Set<() => void>()
  readonly #header: BigInt64Array
  readonly #identities: Uint32Array
  readonly #words: Int32Array
  readonly #mapping: Mapping
  readonly #indexerCell: WakeCell

  /** @throws NEWER_FORMAT for a control file that is not ours to read, IO_ERROR for one that is gone or cut short */
  constructor(handle: EngineMemoryHandle, readOnly = false, unmap: 'when collected' | 'on release' = 'when collected') {
    checkHeader(handle.path)
    this.handle = handle
    this.#mapping = Mapping.ofPath(handle.path, FILE_BYTES, !readOnly)
    // Lent, so that it stays mapped for as long as anything of this thread looks at it. A worker loop knows when that ends, and
    // its thread ends before anything of it would be collected.
    const lent = unmap === 'when collected'
    const buffer = lent ? this.#mapping.lend(0, FILE_BYTES) : (this.#mapping.region.bytes.buffer as ArrayBuffer)
    this.#header = new BigInt64Array(buffer, 0, HEADER_BYTES / 8)
    this.#identities = new Uint32Array(buffer, IDENTITIES_AT, (PARTITIONS_MAX * IDENTITY_BYTES) / 4)
    this.control = new ControlBlock(new BigInt64Array(buffer, SLOTS_AT, PARTITIONS_MAX * SLOT.words))
    this.segments = new SegmentTable(new BigInt64Array(buffer, TABLE_AT, SEGMENTS_MAX * SEGMENT.words))
    this.#words = new Int32Array(handle.words)
    this.#indexerCell = this.cell(SERVICE.indexer)
  }

  /** This thread is done; the mapping goes when the last object that looks at it is collected. */
  release(): void {
    this.#mapping.release()
  }

  cell(thread: number): WakeCell {
    return new WakeCell(this.#words, CELLS + thread * CELL_WORDS)
  }

  // ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** How far the engine's close has come: loops of a phase that is reached finish what they hold and return. */
  get stopPhase(): number {
    return Atomics.load(this.#words, STOP)
  }

  /** Writers stop first: while they flush they still need the services. */
  stop(phase: number): void {
    Atomics.store(this.#words, STOP, phase)
    for (let thread = 0; thread < THREADS_MAX; thread++) this.cell(thread).wake()
  }

  /** The owner closed the directory: what the file says stays as it is. */
  get closed(): boolean {
    return Atomics.load(this.#header, HEADER.state) === 1n
  }

  /** Readers at the tail are woken to see it. */
  markClosed(): void {
    Atomics.store(this.#header, HEADER.state, 1n)
    for (let slot = 0; slot < PARTITIONS_MAX; slot++) this.notifyReaders(slot)
  }

  /**
   * Until when this broker may answer as the leader of a replicated partition, milliseconds on CLOCK_BOOTTIME. Writers look at it
   * before each acknowledgement.
   */
  get leaseEndMs(): number {
    return Number(Atomics.load(this.#header, HEADER.leaseEnd))
  }

  set leaseEndMs(ms: number) {
    Atomics.store(this.#header, HEADER.leaseEnd, BigInt(Math.floor(ms)))
  }

  // ── partitions ────────────────────────────────────────────────────────────────────────────────────────────────────

  get metadataVersion(): number {
    return Number(Atomics.load(this.#header, HEADER.metadataVersion))
  }

  /** Topics or partitions changed: clients ask again. */
  bumpMetadataVersion(): void {
    Atomics.add(this.#header, HEADER.metadataVersion, 1n)
    for (const listener of this.metadataListeners) listener()
  }

  /**
   * Says which partition lives in `slot`, which has no identity before.
   * @param topicId UUID as text
   */
  setIdentity(slot: number, topicId: string, partition: number): void {
    const at = slot * IDENTITY_WORDS
    // The partition first: whoever sees the whole topic id sees it too.
    Atomics.store(this.#identities, at + ID_WORDS, partition)
    for (const [word, value] of idWords(topicId).entries()) Atomics.store(this.#identities, at + word, value)
  }

  /** Slot of each partition of a topic, by partition number, as the owner published them. */
  slotsOf(topicId: string): Map<number, number> {
    const wanted = idWords(topicId)
    const slots = new Map<number, number>()
    for (let slot = 0; slot < PARTITIONS_MAX; slot++) {
      if (!this.#hasTopic(slot, wanted)) continue
      const partition = Atomics.load(this.#identities, slot * IDENTITY_WORDS + ID_WORDS)
      if (this.#hasTopic(slot, wanted)) slots.set(partition, slot) // else the slot changed hands meanwhile
    }
    return slots
  }

  #hasTopic(slot: number, wanted: readonly number[]): boolean {
    const at = slot * IDENTITY_WORDS
    for (let word = 0; word < ID_WORDS; word++) {
      if (Atomics.load(this.#identities, at + word) !== wanted[word]) return false
    }
    return true
  }

  /** The partition's number stays behind: a reader that still saw the topic id must not take it for partition 0. */
  clearIdentity(slot: number): void {
    for (let word = 0; word < ID_WORDS; word++) Atomics.store(this.#identities, slot * IDENTITY_WORDS + word, 0)
  }

  // ── mail ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A message lies in the port of `thread`. */
  postedTo(thread: number): void {
    Atomics.add(this.#words, MAIL + thread, 1)
    this.cell(thread).wake()
  }

  /** Number of messages posted so far to `thread`; asking a port costs more than a pass of a loop. */
  mailCount(thread: number): number {
    return Atomics.load(this.#words, MAIL + thread)
  }

  // ── the indexer's bits ────────────────────────────────────────────────────────────────────────────────────────────

  /** The partition in `slot` has bytes that its indexes do not cover yet: the indexer comes, if it was not called already. */
  markDirty(slot: number): void {
    const bit = 1 << (slot & 31)
    const word = DIRTY + (slot >>> 5)
    if ((Atomics.load(this.#words, word) & bit) !== 0) return
    if ((Atomics.or(this.#words, word, bit) & bit) === 0 && Atomics.load(this.#words, INDEXER_WAITS) === 0)
      this.#indexerCell.wake()
  }

  /**
   * The indexer has bits to see to and waits for its next turn: further ones do not wake it, for nothing, thousands of times. It
   * says that it does not wait any more before it looks for bits.
   */
  set indexerWaits(isWaiting: boolean) {
    Atomics.store(this.#words, INDEXER_WAITS, isWaiting ? 1 : 0)
  }

  /** Takes the set bits of one word of 32 slots; `group` runs from 0 to `dirtyGroups - 1`. */
  takeDirty(group: number): number {
    const word = DIRTY + group
    return Atomics.load(this.#words, word) === 0 ? 0 : Atomics.exchange(this.#words, word, 0)
  }

  get anyDirty(): boolean {
    for (let word = DIRTY; word < WAITERS; word++) if (Atomics.load(this.#words, word) !== 0) return true
    return false
  }

  static readonly dirtyGroups = DIRTY_WORDS

  // ── readers at the tail ───────────────────────────────────────────────────────────────────────────────────────────

  /** The high watermark of `slot` moved, or its partition changed: wakes the readers that wait there. */
  notifyReaders(slot: number): void {
    if (Atomics.load(this.#words, WAITERS + slot) === 0) return
    Atomics.add(this.#words, ARRIVALS + slot, 1)
    Atomics.notify(this.#words, ARRIVALS + slot)
  }

  /**
   * Waits until `arrived` holds or a notification or the time-out comes, without blocking the event loop. The reader
   * counts itself first and looks afterwards; the writer publishes first and looks for readers afterwards.
   * @returns false after the time-out
   */
  async waitForReaders(slot: number, arrived: () => boolean, timeoutMs: number): Promise<boolean> {
    Atomics.add(this.#words, WAITERS + slot, 1)
    try {
      const seen = Atomics.load(this.#words, ARRIVALS + slot)
      if (arrived()) return true
      const result = Atomics.waitAsync(this.#words, ARRIVALS + slot, seen, timeoutMs)
      return !result.async || (await result.value) !== 'timed-out'
    } finally {
      Atomics.sub(this.#words, WAITERS + slot, 1)
    }
  }
}
