/**
 * The segment at the end of a partition's log, open for appending. Owned by the partition's writer thread. It is mapped before
 * the first store and stays mapped until it is sealed. While anything in it is not flushed one descriptor stays open, from before
 * the first store on, so that no error of the disk can be missed; one that has nothing to miss may rest (`open-files.ts`).
 *
 * The file is made as long as a segment may become (sparse) and mapped whole; only `[0, allocatedBytes)` has disk blocks
 * behind it, and only there may be stored: a store into a hole on a full disk is a SIGBUS. The janitor moves
 * `allocatedBytes` ahead of the tail in steps that double from 16 KiB to 64 MiB while they last for less than a quarter of a
 * second, so that a quiet partition holds little, and thousands of partitions together what they write in a moment.
 *
 *     0              sizeBytes         allocatedBytes                    capacityBytes
 *     ├── batches ──────┼── zeros, in memory ──┼── hole, reads as zeros ───────┤
 */
import { closeSync, ftruncateSync, openSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { KIB, MIB } from '../base/limits.ts'
import { segmentFileName } from '../format/file-names.ts'
import { type ControlBlock, SLOT } from '../memory/control-block.ts'
import { copyTo, pageCeil, punchHole } from '../memory/libc.ts'
import { Mapping } from '../memory/mapping.ts'
import { SEGMENT, type SegmentTable } from '../memory/segment-table.ts'
import type { FileUser, OpenFiles } from './open-files.ts'
import type { SegmentInfo } from './recovery-types.ts'

const STEP_BYTES_MIN = 16 * KIB
const STEP_BYTES_MAX = 64 * MIB
/**
 * From steps of this size on the segment is looked at through a buffer, which is quicker. V8 counts the buffer as memory that
 * garbage might hold, a gigabyte of it, and collects the heap: for thousands of quiet partitions that is all it would do.
 */
const VIEW_STEP_BYTES = MIB
/** A window that lasts less than this was too small, one that lasts longer than that was too large. */
const STEP_MS_MIN = 250
const STEP_MS_MAX = 4_000

/** Where a segment belongs. */
export interface SegmentPlace {
  readonly slot: number
  /** Folder of the partition. */
  readonly directory: string
  /** Of the segment table. */
  readonly entry: number
  readonly control: ControlBlock
  readonly files: OpenFiles
}

export class ActiveSegment implements FileUser {
  readonly baseOffset: number
  readonly path: string
  /** Entry of the segment table. */
  readonly entry: number
  readonly capacityBytes: number
  sizeBytes: number
  /** Timestamp of the first batch, -1 when empty; `segment.ms` counts from it. */
  firstTimestamp: number
  maxTimestamp: number
  maxTimestampOffset: number
  readonly createdMs: number
  /** Stores below this position are safe. */
  allocatedBytes: number
  /** Position up to which allocation was asked for; more than `allocatedBytes` while an order is under way. */
  requestedBytes: number
  fd = -1
  lastAppendMs: number
  readonly #place: SegmentPlace
  #mapping: Mapping | undefined
  #stepBytes = STEP_BYTES_MIN
  #steppedAtMs = Number.NEGATIVE_INFINITY
  /** A flush of it was ordered and is not answered. */
  #isFlushing = false
  /** Size when that was ordered. */
  #flushingBytes = 0
  /** What was stored since the segment was opened is durable up to here. */
  #syncedBytes: number
  /** Its descriptor was told of an error, and is closed. */
  #error: unknown

  /** @param segmentBytes how long the file may become, unless it is longer already */
  constructor(place: SegmentPlace, info: SegmentInfo, segmentBytes: number, nowMs: number) {
    this.#place = place
    this.baseOffset = info.baseOffset
    this.path = join(place.directory, segmentFileName(info.baseOffset, 'log'))
    this.entry = place.entry
    this.capacityBytes = Math.max(segmentBytes, info.sizeBytes)
    this.sizeBytes = info.sizeBytes
    this.firstTimestamp = info.firstTimestamp
    this.maxTimestamp = info.maxTimestamp
    this.maxTimestampOffset = info.maxTimestampOffset
    this.createdMs = nowMs
    this.lastAppendMs = nowMs
    this.allocatedBytes = info.sizeBytes
    this.requestedBytes = info.sizeBytes
    this.#syncedBytes = info.sizeBytes
  }

  /** Mapped; it may be without a descriptor. */
  get isOpen(): boolean {
    return this.#mapping !== undefined
  }

  /** Copies bytes behind the tail, where they have room; they count once `sizeBytes` says so. */
  copyIn(bytes: Uint8Array): void {
    const mapping = this.#mapping as Mapping
    if (this.#stepBytes >= VIEW_STEP_BYTES) mapping.region.bytes.set(bytes, this.sizeBytes)
    else copyTo(mapping.address + BigInt(this.sizeBytes), bytes)
  }

  get address(): number {
    return Number((this.#mapping as Mapping).address)
  }

  get mappedBytes(): number {
    return (this.#mapping as Mapping).bytes
  }

  get allocationPending(): boolean {
    return this.requestedBytes > this.allocatedBytes
  }

  /** Opens and maps the file; `create` demands that it is new. @throws DISK_FULL, IO_ERROR; nothing stays open then */
  open(create: boolean): void {
    try {
      this.fd = openSync(this.path, create ? 'wx+' : 'r+')
      ftruncateSync(this.fd, this.capacityBytes)
      this.#mapping = Mapping.ofFile(this.fd, this.capacityBytes, true)
    } catch (error) {
      if (this.fd !== -1) closeSync(this.fd)
      this.fd = -1
      throw fileError(error, { path: this.path })
    }
  }

  /** The batch that was appended last ends with `offset`, and this is its largest timestamp. */
  noteTimestamp(timestamp: number, offset: number, table: SegmentTable): void {
    if (timestamp <= this.maxTimestamp) return
    this.maxTimestamp = timestamp
    this.maxTimestampOffset = offset
    table.set(this.entry, SEGMENT.maxTimestampOffset, offset)
    table.set(this.entry, SEGMENT.maxTimestamp, timestamp)
  }

  /** Says what the broker closes and unmaps when this thread dies. */
  publish(): void {
    const { control, slot, files } = this.#place
    control.set(slot, SLOT.activeFd, this.fd + 1)
    control.set(slot, SLOT.activeMappedBytes, this.mappedBytes)
    control.set(slot, SLOT.activeAddress, this.address)
    files.use(this)
  }

  /** Nobody else needs to clean up any more. */
  forget(): void {
    const { control, slot, files } = this.#place
    control.set(slot, SLOT.activeFd, 0)
    control.set(slot, SLOT.activeAddress, 0)
    files.forget(this)
  }

  /** Opens the file again if it rests. Before each store, and for what needs a descriptor. @throws IO_ERROR */
  demandFile(): void {
    if (this.fd === -1) {
      if (this.isLost) throw fileError(this.#error, { path: this.path })
      try {
        this.fd = openSync(this.path, 'r+')
      } catch (error) {
        throw fileError(error, { path: this.path })
      }
      this.publish()
    } else this.#place.files.use(this)
  }

  /** Keeps the file open, opening it again if it rests, for whoever seals the segment; a lost one fails there. @throws IO_ERROR */
  keepFile(): void {
    if (!this.isLost) this.demandFile()
    this.#place.files.forget(this)
  }

  get mayRest(): boolean {
    return !this.allocationPending && !this.#isFlushing
  }

  get isDirty(): boolean {
    return this.sizeBytes > this.#syncedBytes
  }

  restFile(error: unknown): void {
    const { control, slot } = this.#place
    control.set(slot, SLOT.activeFd, 0)
    closeSync(this.fd)
    this.fd = -1
    this.#error = error
    if (error === undefined) this.#syncedBytes = this.sizeBytes
  }

  /** What was stored may not be on the disk and no flush will tell: the next one has to fail. */
  get isLost(): boolean {
    return this.#error !== undefined
  }

  /** A flush is about to be ordered. Without a descriptor it fails, for what it promises has to be flushed. */
  beginFlush(): void {
    try {
      this.demandFile()
    } catch {
      // The flusher says so.
    }
    this.#isFlushing = true
    this.#flushingBytes = this.sizeBytes
  }

  /** That flush was answered. */
  endFlush(ok: boolean): void {
    this.#isFlushing = false
    if (ok) this.#syncedBytes = Math.max(this.#syncedBytes, this.#flushingBytes)
  }

  /** Where the next allocation should end so that `bytes` more fit; the window follows the pace of the appends. */
  nextAllocation(bytes: number, nowMs: number): number {
    const lastedMs = nowMs - this.#steppedAtMs
    this.#steppedAtMs = nowMs
    if (lastedMs < STEP_MS_MIN) this.#stepBytes = Math.min(this.#stepBytes * 2, STEP_BYTES_MAX)
    else if (lastedMs > STEP_MS_MAX) this.#stepBytes = Math.max(this.#stepBytes / 2, STEP_BYTES_MIN)
    return Math.min(pageCeil(this.sizeBytes + bytes) + this.#stepBytes, this.capacityBytes)
  }

  /** The disk had no room for that much: what is asked for next is as little as possible. */
  askForLess(): void {
    this.#stepBytes = STEP_BYTES_MIN
  }

  /** True when so little of the window is left behind the next `bytes` that the janitor should go ahead. */
  wantsMore(bytes: number): boolean {
    return (
      this.allocatedBytes - this.sizeBytes - bytes < this.#stepBytes / 2 && this.allocatedBytes < this.capacityBytes
    )
  }

  get holdsAhead(): boolean {
    return this.isOpen && this.allocatedBytes > pageCeil(this.sizeBytes)
  }

  /** Gives back what was allocated ahead of the tail. Not while an allocation is under way. @throws IO_ERROR */
  releaseAhead(): void {
    this.demandFile()
    const end = pageCeil(this.sizeBytes)
    punchHole(this.fd, end, this.allocatedBytes - end)
    this.allocatedBytes = end
    this.requestedBytes = this.allocatedBytes
    this.#stepBytes = STEP_BYTES_MIN
  }

  /** Hands file and mapping over to whoever seals the segment; this object must not be appended to afterwards. */
  handOver(): { fd: number; address: number; mappedBytes: number } {
    this.#place.files.forget(this)
    const parts = { fd: this.fd, address: this.address, mappedBytes: this.mappedBytes }
    this.#mapping = undefined
    this.fd = -1
    return parts
  }

  /** Unmaps and closes; cuts the file to its content when `cut`. Only when flushed or given up. */
  close(cut: boolean): void {
    this.forget()
    this.#mapping?.release()
    this.#mapping = undefined
    if (this.fd === -1) {
      // Resting, or never opened since the start; a crash before may have left it longer than its content.
      if (cut && statSync(this.path).size > this.sizeBytes) truncateSync(this.path, this.sizeBytes)
      return
    }
    try {
      if (cut) ftruncateSync(this.fd, this.sizeBytes)
    } finally {
      closeSync(this.fd)
      this.fd = -1
    }
  }
}
