/**
 * The segment at the end of a partition's log, open for appending. Owned by the partition's writer thread. Its descriptor
 * is opened before the first store and kept until the segment is sealed, so that no error of the disk can be missed.
 *
 * The file is made as long as a segment may become (sparse) and mapped whole; only `[0, allocatedBytes)` has disk blocks
 * behind it, and only there may be stored: a store into a hole on a full disk is a SIGBUS. The janitor moves
 * `allocatedBytes` ahead of the tail in steps that double from 64 KiB to 64 MiB, so that a quiet partition holds little.
 *
 *     0              sizeBytes         allocatedBytes                    capacityBytes
 *     ├── batches ──────┼── zeros, in memory ──┼── hole, reads as zeros ───────┤
 */
import { closeSync, ftruncateSync, openSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { KIB, MIB } from '../base/limits.ts'
import { segmentFileName } from '../format/file-names.ts'
import type { Region } from '../format/region.ts'
import { pageCeil, punchHole } from '../memory/libc.ts'
import { Mapping } from '../memory/mapping.ts'
import type { SegmentInfo } from './recovery-types.ts'

const STEP_BYTES_MIN = 64 * KIB
const STEP_BYTES_MAX = 64 * MIB

export class ActiveSegment {
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
  #mapping: Mapping | undefined
  #stepBytes = STEP_BYTES_MIN

  /**
   * @param directory folder of the partition
   * @param entry of the segment table
   * @param segmentBytes how long the file may become, unless it is longer already
   */
  constructor(directory: string, info: SegmentInfo, entry: number, segmentBytes: number, nowMs: number) {
    this.baseOffset = info.baseOffset
    this.path = join(directory, segmentFileName(info.baseOffset, 'log'))
    this.entry = entry
    this.capacityBytes = Math.max(segmentBytes, info.sizeBytes)
    this.sizeBytes = info.sizeBytes
    this.firstTimestamp = info.firstTimestamp
    this.maxTimestamp = info.maxTimestamp
    this.maxTimestampOffset = info.maxTimestampOffset
    this.createdMs = nowMs
    this.lastAppendMs = nowMs
    this.allocatedBytes = info.sizeBytes
    this.requestedBytes = info.sizeBytes
  }

  get isOpen(): boolean {
    return this.fd !== -1
  }

  get region(): Region {
    return (this.#mapping as Mapping).region
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

  /** Where the next allocation should end so that `bytes` more fit and the window keeps its size; grows the window. */
  nextAllocation(bytes: number): number {
    const end = pageCeil(this.sizeBytes + bytes) + this.#stepBytes
    if (this.#stepBytes < STEP_BYTES_MAX) this.#stepBytes *= 2
    return Math.min(end, this.capacityBytes)
  }

  /** The disk had no room for that much: what is asked for next is as little as possible. */
  askForLess(): void {
    this.#stepBytes = STEP_BYTES_MIN
  }

  /** True when so little of the window is left that the janitor should go ahead. */
  get wantsMore(): boolean {
    return this.allocatedBytes - this.sizeBytes < this.#stepBytes / 2 && this.allocatedBytes < this.capacityBytes
  }

  /** Gives back what was allocated ahead of the tail. Not while an allocation is under way. */
  releaseAhead(): void {
    const end = pageCeil(this.sizeBytes)
    if (this.isOpen && this.allocatedBytes > end) punchHole(this.fd, end, this.allocatedBytes - end)
    this.allocatedBytes = Math.min(this.allocatedBytes, end)
    this.requestedBytes = this.allocatedBytes
    this.#stepBytes = STEP_BYTES_MIN
  }

  /** Hands file and mapping over to whoever seals the segment; this object must not be appended to afterwards. */
  handOver(): { fd: number; address: number; mappedBytes: number } {
    const parts = { fd: this.fd, address: this.address, mappedBytes: this.mappedBytes }
    this.#mapping = undefined
    this.fd = -1
    return parts
  }

  /** Unmaps and closes; cuts the file to its content when `cut`. Only when flushed or given up. */
  close(cut: boolean): void {
    this.#mapping?.release()
    this.#mapping = undefined
    if (this.fd === -1) {
      // Never opened since the start; a crash before may have left it longer than its content.
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
