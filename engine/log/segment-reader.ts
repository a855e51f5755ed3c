/**
 * One segment as one reading thread sees it: windows onto its mapped files, made when they are needed. Used by one thread;
 * the writer goes on appending meanwhile, in its own.
 *
 * The `.log` file is mapped once, as long as it is; what readers get are windows that end at the published length. One
 * large window from the start serves all that was published when it was made, and a small one near the tail serves what
 * came since, so that following the tail does not make a window of a gigabyte for each batch. Views of records keep
 * their window, and it the mapping, for as long as they are referenced.
 *
 * The CRC of a batch is checked the first time that this thread reads the batch, and then remembered: memory that was
 * right once is not checked again.
 */
import { join } from 'node:path'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { MIB } from '../base/limits.ts'
import { segmentFileName } from '../format/file-names.ts'
import { floorOffsetEntry, OFFSET_ENTRY, offsetEntryPosition } from '../format/offset-index.ts'
import { BATCH, batchBytes, checkBatch } from '../format/record-batch.ts'
import { Region, readI64Rough } from '../format/region.ts'
import { floorTimeEntry, TIME_ENTRY, timeEntryRelativeOffset } from '../format/time-index.ts'
import { Mapping } from '../memory/mapping.ts'
import { SEGMENT, type SegmentTable } from '../memory/segment-table.ts'
import { type Damage, findDamages } from './segment-damage.ts'

/** The tail window may cover this much before the large one is made anew; a window costs time with its size. */
const TAIL_BYTES_MAX = 64 * MIB
/** One bit per this many bytes says that the batch which starts there was checked; no batch is shorter. */
const CHECKED_GRANULE = 61

/** Bytes of a segment: `region` begins at `position` of the file. */
export interface Window {
  readonly region: Region
  readonly position: number
}

interface IndexFile {
  readonly mapping: Mapping
  region: Region
}

export class SegmentReader {
  readonly baseOffset: number
  readonly path: string
  readonly #directory: string
  readonly #table: SegmentTable
  /** Entry of the segment table; valid only while the partition's generation is the one it was listed under. */
  readonly entry: number
  readonly #checkCrc: boolean
  readonly #endOffset: () => number
  /** It was compacted: batches need not go on where the one before ended. */
  readonly hasGaps: boolean
  #mapping: Mapping | undefined
  #base: Window | undefined
  #tail: Window | undefined
  #offsets: IndexFile | undefined
  #times: IndexFile | undefined
  #checked: Uint8Array | undefined
  /** What of the first `bytes` is damaged. */
  #damages: { readonly bytes: number; readonly list: readonly Damage[] } | undefined

  /** @param endOffset offset at which the log goes on behind this segment, as it is when it is asked */
  constructor(
    directory: string,
    baseOffset: number,
    entry: number,
    table: SegmentTable,
    checkCrc: boolean,
    endOffset: () => number,
    hasGaps: boolean,
  ) {
    this.baseOffset = baseOffset
    this.path = join(directory, segmentFileName(baseOffset, 'log'))
    this.#directory = directory
    this.entry = entry
    this.#table = table
    this.#checkCrc = checkCrc
    this.#endOffset = endOffset
    this.hasGaps = hasGaps
  }

  /** True when a batch at `offset` may follow one that ends in front of `expected`. */
  continues(expected: number, offset: number): boolean {
    return offset === expected || (this.hasGaps && offset > expected)
  }

  /** Published bytes. */
  get sizeBytes(): number {
    return this.#table.get(this.entry, SEGMENT.sizeBytes)
  }

  /** Offset at which the log goes on behind this segment. */
  get endOffset(): number {
    return this.#endOffset()
  }

  get maxTimestamp(): number {
    return this.#table.get(this.entry, SEGMENT.maxTimestamp)
  }

  get maxTimestampOffset(): number {
    return this.#table.get(this.entry, SEGMENT.maxTimestampOffset)
  }

  get offsetEntries(): number {
    return this.#table.get(this.entry, SEGMENT.offsetEntries)
  }

  get timeEntries(): number {
    return this.#table.get(this.entry, SEGMENT.timeEntries)
  }

  /** A window that holds at least `[position, position + 1)` and ends at a published length. */
  window(position: number): Window {
    const base = this.#base
    if (base !== undefined && position < base.region.length) return base
    const tail = this.#tail
    if (tail !== undefined && position >= tail.position && position < tail.position + tail.region.length) return tail
    return this.#newWindow(position)
  }

  #newWindow(position: number): Window {
    const size = this.sizeBytes
    if (position >= size) {
      throw new MillraceError('CORRUPT_BATCH', { path: this.path, position, reason: 'beyond the published length' })
    }
    const known = this.#base?.region.length ?? 0
    const from = known > 0 && size - position <= TAIL_BYTES_MAX && size - known <= TAIL_BYTES_MAX ? position : 0
    const window = { region: new Region(this.#mapped(size).lend(from, size - from)), position: from }
    if (from === 0) this.#base = window
    else this.#tail = window
    return window
  }

  #mapped(bytes: number): Mapping {
    if (this.#mapping !== undefined && this.#mapping.bytes >= bytes) return this.#mapping
    const mapping = Mapping.ofWhole(this.path)
    if (mapping === undefined || mapping.bytes < bytes) {
      mapping?.release()
      const position = mapping?.bytes ?? 0
      throw new MillraceError('CORRUPT_BATCH', { path: this.path, position, reason: 'file is shorter than published' })
    }
    this.#mapping?.release()
    this.#mapping = mapping
    return mapping
  }

  /**
   * The batch at `position`: its window and where it begins in there.
   * @throws CORRUPT_BATCH with path and position, and the offset behind it where that can be told
   */
  batchAt(position: number): { region: Region; at: number } {
    const found = this.soundAt(position)
    if (found !== undefined) return found
    this.demandReadable(position)
    throw new MillraceError('CORRUPT_BATCH', { path: this.path, position, reason: 'changed' })
  }

  /** The same, undefined when the batch is damaged. */
  soundAt(position: number): { region: Region; at: number } | undefined {
    let window = this.window(position)
    let at = position - window.position
    // A window that was made before the batch was published may end inside it.
    if (
      at + BATCH.headerBytes > window.region.length ||
      at + batchBytes(window.region.view, at) > window.region.length
    ) {
      window = this.#newWindow(position)
      at = position - window.position
    }
    return this.sound(window.region, at, position) ? { region: window.region, at } : undefined
  }

  /** True when the batch at `at` is sound; its checksum is looked at once. */
  sound(region: Region, at: number, position: number): boolean {
    const granule = Math.floor(position / CHECKED_GRANULE)
    const checked = this.#checkedBits(position)
    const bit = 1 << (granule & 7)
    // A walk that lost its way may be within a granule of a batch that was checked: then the bit says nothing about these bytes.
    const known = ((checked[granule >>> 3] as number) & bit) !== 0
    if (checkBatch(region, at, region.length, this.#checkCrc && !known) !== undefined) return false
    if (!known) checked[granule >>> 3] = (checked[granule >>> 3] as number) | bit
    return true
  }

  #checkedBits(position: number): Uint8Array {
    const needed = Math.floor(position / CHECKED_GRANULE / 8) + 1
    const bits = this.#checked
    if (bits !== undefined && bits.length >= needed) return bits
    const grown = new Uint8Array(Math.max(needed * 2, 1024))
    if (bits !== undefined) grown.set(bits)
    this.#checked = grown
    return grown
  }

  // ── damage ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All that is published, from the start. */
  published(): Region {
    const size = this.sizeBytes
    return new Region(this.#mapped(size).lend(0, size))
  }

  /** What of the segment cannot be read. Cost: the first time a walk over it with its checksums. */
  damages(): readonly Damage[] {
    const known = this.#damages
    if (known !== undefined && known.bytes >= this.sizeBytes) return known.list
    const region = this.published()
    const list = findDamages(region, this.baseOffset, this.endOffset)
    this.#damages = { bytes: region.length, list }
    return list
  }

  isDamaged(position: number): boolean {
    return this.#damageAt(position) !== undefined
  }

  /** @throws CORRUPT_BATCH when `position` lies in a damaged stretch */
  demandReadable(position: number): void {
    const damage = this.#damageAt(position)
    if (damage !== undefined) throw this.corrupt(damage)
  }

  #damageAt(at: number): Damage | undefined {
    return this.damages().find(({ position, endPosition }) => position <= at && at < endPosition)
  }

  /** The error for a damaged stretch: where it begins, which offsets it takes, and at which offset one reads on. */
  corrupt({ position, reason, offset, nextOffset }: Damage): MillraceError {
    return new MillraceError('CORRUPT_BATCH', { path: this.path, position, reason, baseOffset: offset, nextOffset })
  }

  // ── indexes ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Position of a batch at or before the one that holds `offset`: from here a forward scan finds it. Where every batch has an
   * entry it is that batch.
   */
  floorPosition(offset: number): number {
    const count = this.offsetEntries
    if (count === 0) return 0
    this.#offsets = this.#indexFile(this.#offsets, 'index', count * OFFSET_ENTRY.sizeBytes)
    if (this.#offsets === undefined) return 0
    const { view } = this.#offsets.region
    const entry = floorOffsetEntry(view, count, offset - this.baseOffset)
    // Entries hold last offsets, so the batch that is wanted lies behind the floor, often with the next entry.
    if (entry + 1 < count && this.#beginsAtOrBefore(offsetEntryPosition(view, entry + 1), offset)) {
      return offsetEntryPosition(view, entry + 1)
    }
    return entry === -1 ? 0 : offsetEntryPosition(view, entry)
  }

  #beginsAtOrBefore(position: number, offset: number): boolean {
    const { region, position: start } = this.window(position)
    return readI64Rough(region.view, position - start) <= offset // what it says is checked by whoever goes there
  }

  /** An offset at or before the first record of this segment with a timestamp at or after the given one. */
  floorOffsetByTime(timestamp: number): number {
    const count = this.timeEntries
    if (count === 0) return this.baseOffset
    this.#times = this.#indexFile(this.#times, 'timeindex', count * TIME_ENTRY.sizeBytes)
    if (this.#times === undefined) return this.baseOffset
    const { view } = this.#times.region
    const entry = floorTimeEntry(view, count, timestamp)
    return entry === -1 ? this.baseOffset : this.baseOffset + timeEntryRelativeOffset(view, entry)
  }

  /**
   * Index windows are looked at only in here, so they are unmapped by hand. Undefined when the file lacks entries that it should
   * have, as while a recovery builds it anew: then the log is walked from its start.
   */
  #indexFile(file: IndexFile | undefined, suffix: 'index' | 'timeindex', bytes: number): IndexFile | undefined {
    if (file !== undefined && file.region.length >= bytes) return file
    file?.mapping.release()
    const mapping = this.#mapIndex(join(this.#directory, segmentFileName(this.baseOffset, suffix)))
    if (mapping !== undefined && mapping.bytes >= bytes) return { mapping, region: mapping.region }
    mapping?.release()
    return undefined
  }

  #mapIndex(path: string): Mapping | undefined {
    try {
      return Mapping.ofWhole(path)
    } catch (error) {
      if (!isMillraceError(error, 'IO_ERROR')) throw error
      return undefined
    }
  }

  /** Done with this segment; views that were handed out stay valid. */
  release(): void {
    this.#mapping?.release()
    this.#offsets?.mapping.release()
    this.#times?.mapping.release()
    this.#mapping = undefined
    this.#base = undefined
    this.#tail = undefined
    this.#offsets = undefined
    this.#times = undefined
  }
}
