/**
 * Verifies one segment against its files: every batch with its CRC, every record, that offsets go on and leader epochs never decrease,
 * and every entry of both indexes. Changes nothing. Synchronous, any thread; the segment may be the active one of a live owner, of
 * which only what is published is looked at.
 *
 * Memory: the file is mapped, so its pages are the system's to take back; beside that a batch, uncompressed, the index files, and
 * the findings. A sector that the disk cannot read ends the process with SIGBUS, as for every reader of mapped files.
 */
import { fstatSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { isMillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { MIB } from '../base/limits.ts'
import { segmentFileName } from '../format/file-names.ts'
import { OFFSET_ENTRY } from '../format/offset-index.ts'
import { RecordCursor } from '../format/record.ts'
import {
  ATTRIBUTE,
  attributesOf,
  BATCH,
  baseOffsetOf,
  batchBytes,
  leaderEpochOf,
  recordCountOf,
} from '../format/record-batch.ts'
import { Region, readI64Rough } from '../format/region.ts'
import { TIME_ENTRY } from '../format/time-index.ts'
import { Mapping } from '../memory/mapping.ts'
import { withFile } from './recovery-files.ts'
import { contentEnd, isTrueGap } from './recovery-salvage.ts'
import { type Damage, findDamages } from './segment-damage.ts'
import { type ScanFault, SegmentScan } from './segment-scan.ts'
import { IndexComparison } from './verify-index.ts'
import { usualRecords } from './verify-records.ts'
import { FINDINGS_MAX, type Finding, type SegmentToVerify, type SegmentVerification } from './verify-types.ts'

/** Bytes between two calls of `onProgress`. */
const PROGRESS_BYTES = MIB

const EMPTY = Region.of(Buffer.alloc(0))

/** What each fault of a batch means, in a few words. */
const FAULTS: Readonly<Record<string, string>> = {
  short: 'a batch does not end before the end of the file',
  magic: 'not a record batch of version 2',
  length: 'a batch is shorter than its header',
  crc: 'the CRC-32C of a batch does not fit its bytes',
  attributes: 'a batch has attributes that do not exist',
  offset: 'a batch has an offset that is not one',
  count: 'a batch has a record count that its offsets or bytes contradict',
  timestamp: 'a batch has a timestamp that is not one',
  producer: 'a batch has producer fields that contradict each other',
  order: 'a batch has an offset that came before',
  gap: 'a batch has an offset that does not continue the log',
  range: 'a batch has an offset that is too far from the base offset of its segment',
  epoch: 'the leader epoch goes back',
}

/**
 * @param onProgress is told how many bytes were read since it was told last; what it throws ends the verification
 * @throws IO_ERROR, with ENOENT in its cause when the segment is gone
 * Cost: one CRC over the bytes and about 10 ns a record; decompression where there is a codec.
 */
export function verifySegment(segment: SegmentToVerify, onProgress?: (bytes: number) => void): SegmentVerification {
  const path = join(segment.directory, segmentFileName(segment.baseOffset, 'log'))
  const fileBytes = sizeOf(path)
  const bytes = Math.min(segment.sizeBytes ?? fileBytes, fileBytes)
  const mapping = bytes === 0 ? undefined : Mapping.ofPath(path, bytes)
  try {
    return new SegmentVerifier(segment, path, mapping?.region ?? EMPTY, onProgress).run()
  } finally {
    mapping?.release()
  }
}

class SegmentVerifier {
  readonly #segment: SegmentToVerify
  readonly #path: string
  readonly #log: Region
  readonly #onProgress: ((bytes: number) => void) | undefined
  readonly #findings: Finding[] = []
  readonly #cursor = new RecordCursor()
  readonly #scan: SegmentScan
  readonly #indexes: IndexComparison | undefined
  #records = 0
  #damages: readonly Damage[] | undefined
  #reportedPosition = 0
  #lastPosition = -1
  #largestTimestamp = -1
  #isTorn = false
  /** The largest timestamp must be among the time entries. */
  #hasAllTimes = false
  #isCutShort = false

  constructor(segment: SegmentToVerify, path: string, log: Region, onProgress: ((bytes: number) => void) | undefined) {
    this.#segment = segment
    this.#path = path
    this.#log = log
    this.#onProgress = onProgress
    const { baseOffset, hasGaps } = segment
    this.#indexes = this.#openIndexes()
    this.#scan = new SegmentScan(0, { baseOffset, gapless: !hasGaps, visit: position => this.#batch(position) })
  }

  run(): SegmentVerification {
    const scan = this.#scan
    let passed = -1
    for (;;) {
      const { fault } = scan.run(this.#log, this.#log.length)
      if (fault === undefined) break
      // Each fault lies behind the one before, so the walk ends.
      invariant(fault.position > passed, 'the walk was led behind a fault, and stops there again')
      passed = fault.position
      if (!this.#passFault(fault)) break
    }
    if (scan.fault === undefined) this.#checkEnd()
    this.#progress(this.#log.length)
    const isRead = !this.#isTorn && !this.#isCutShort
    if (isRead) this.#indexes?.end(this.#hasAllTimes ? scan.maxTimestamp : -1)
    return {
      baseOffset: this.#segment.baseOffset,
      logBytes: scan.end,
      nextOffset: scan.nextOffset,
      batches: scan.batches,
      records: this.#records,
      indexEntries: this.#indexes?.entries ?? 0,
      epochs: scan.epochs,
      lastEpoch: scan.lastEpoch,
      isTorn: this.#isTorn,
      isCutShort: this.#isCutShort,
      findings: this.#findings,
    }
  }

  #report(finding: Omit<Finding, 'path' | 'severity'> & { readonly path?: string }, severity: 'damage' | 'torn'): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push({ path: this.#path, severity, ...finding })
  }

  #progress(position: number): void {
    this.#onProgress?.(position - this.#reportedPosition)
    this.#reportedPosition = position
  }

  // ── batches that continue the log ─────────────────────────────────────────────────────────────────────────────────

  #batch(position: number): void {
    const { view } = this.#log
    const first = readI64Rough(view, position)
    const last = first + view.getInt32(position + BATCH.lastOffsetDeltaAt)
    const maxTimestamp = readI64Rough(view, position + BATCH.maxTimestampAt)
    this.#lastPosition = position
    this.#records += recordCountOf(view, position)
    this.#checkRecords(position, first, last, maxTimestamp)
    this.#indexes?.batch(position, last - this.#segment.baseOffset, maxTimestamp, this.#largestTimestamp)
    if (maxTimestamp > this.#largestTimestamp) this.#largestTimestamp = maxTimestamp
    if (position - this.#reportedPosition >= PROGRESS_BYTES) this.#progress(position)
  }

  #checkRecords(position: number, baseOffset: number, lastOffset: number, maxTimestamp: number): void {
    if (this.#areUsual(position, maxTimestamp)) return
    const cursor = this.#cursor
    let largest = -1
    try {
      cursor.reset(this.#log, position)
      while (cursor.next()) {
        if (cursor.headerCount > 0) cursor.headers()
        if (cursor.timestamp > largest) largest = cursor.timestamp
      }
      if (largest <= maxTimestamp) return
      this.#report({ kind: 'record', position, reason: 'a record is younger than its batch says' }, 'damage')
    } catch (error) {
      if (!isMillraceError(error)) throw error
      const why = error.details['reason'] ?? error.code
      const lost = { baseOffset, nextOffset: lastOffset + 1 }
      this.#report({ kind: 'record', position, reason: `a record is damaged: ${why}`, ...lost }, 'damage')
    }
  }

  /** True when the records are sound; false when it takes a closer look to tell. */
  #areUsual(position: number, maxTimestamp: number): boolean {
    const { bytes, view } = this.#log
    if ((attributesOf(view, position) & (ATTRIBUTE.codecMask | ATTRIBUTE.logAppendTime)) !== 0) return false
    const from = position + BATCH.headerBytes
    const end = position + batchBytes(view, position)
    const offsetDeltaMax = view.getInt32(position + BATCH.lastOffsetDeltaAt)
    const largest = usualRecords(bytes, from, end, recordCountOf(view, position), offsetDeltaMax)
    return largest !== undefined && readI64Rough(view, position + BATCH.baseTimestampAt) + largest <= maxTimestamp
  }

  // ── batches that do not ───────────────────────────────────────────────────────────────────────────────────────────

  /** Reports what the scan stopped at and leads it behind; false when nothing sound follows. */
  #passFault({ position, reason }: ScanFault): boolean {
    const { baseOffset, tornFromOffset } = this.#segment
    const scan = this.#scan
    const { view, length } = this.#log
    if (this.#findings.length >= FINDINGS_MAX) return this.#cutShort()
    if (scan.nextOffset >= tornFromOffset) {
      this.#isTorn = true
      this.#report({ kind: 'batch', position, reason: FAULTS[reason] ?? reason }, 'torn')
      return false
    }
    const isEpoch = reason === 'epoch'
    if (isEpoch || (reason === 'gap' && isTrueGap(this.#log, position, length, baseOffset, this.#endOffset))) {
      const first = baseOffsetOf(view, position)
      const text = isEpoch ? (FAULTS['epoch'] as string) : 'records are missing in front of a batch'
      const lost = isEpoch ? {} : { baseOffset: scan.nextOffset, nextOffset: first }
      this.#report({ kind: isEpoch ? 'epoch' : 'gap', position, reason: text, ...lost }, 'damage')
      scan.skipTo(position, first, leaderEpochOf(view, position))
      return true
    }
    return this.#passDamage(position, reason)
  }

  #passDamage(position: number, reason: string): boolean {
    const scan = this.#scan
    const damage = this.#damageAt(position)
    if (damage?.endPosition === position) {
      this.#records -= recordCountOf(this.#log.view, this.#lastPosition) // the batch before lied about its offset
      scan.takeLastBack()
    }
    const isLast = damage === undefined || damage.endPosition >= this.#log.length
    const lost = lostOffsets(scan.nextOffset, isLast ? this.#segment.endOffset : damage.nextOffset)
    const at = damage?.position ?? position
    this.#report({ kind: 'batch', position: at, reason: FAULTS[damage?.reason ?? reason] ?? reason, ...lost }, 'damage')
    if (isLast) return this.#cutShort()
    const { endPosition, nextOffset } = damage
    scan.skipTo(endPosition, nextOffset, leaderEpochOf(this.#log.view, endPosition))
    this.#indexes?.skipTo(endPosition, nextOffset - this.#segment.baseOffset)
    return true
  }

  /** The stretch that takes in `position`, or ends there because of the batch that was taken last. */
  #damageAt(position: number): Damage | undefined {
    this.#damages ??= findDamages(this.#log, this.#segment.baseOffset, this.#endOffset)
    const over = this.#damages.find(damage => damage.position <= position && position < damage.endPosition)
    return (
      over ?? this.#damages.find(damage => damage.endPosition === position && damage.position === this.#lastPosition)
    )
  }

  get #endOffset(): number {
    return this.#segment.endOffset ?? Number.MAX_SAFE_INTEGER
  }

  #cutShort(): false {
    this.#isCutShort = true
    return false
  }

  /** The scan came to the end of the log: is it where it should be? */
  #checkEnd(): void {
    const { end, nextOffset } = this.#scan
    const { endPosition, endOffset, tornFromOffset } = this.#segment
    if (endPosition !== undefined && end < endPosition) {
      const reason = `the log ends here, and not at ${endPosition}`
      this.#report({ kind: 'batch', position: end, reason, ...lostOffsets(nextOffset, endOffset) }, 'damage')
      this.#isCutShort = true
    } else if (contentEnd(this.#log, end, this.#log.length) > end) {
      const severity = nextOffset >= tornFromOffset ? 'torn' : 'damage'
      this.#isTorn = severity === 'torn'
      this.#report({ kind: 'batch', position: end, reason: 'there are bytes behind the end of the log' }, severity)
    }
  }

  // ── indexes ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #openIndexes(): IndexComparison | undefined {
    const { indexes } = this.#segment
    if (indexes === undefined || this.#log.length === 0) return undefined
    this.#hasAllTimes = indexes.isComplete
    const offsets = this.#readEntries('index', indexes.offsetEntries, OFFSET_ENTRY.sizeBytes)
    const times = this.#readEntries('timeindex', indexes.timeEntries, TIME_ENTRY.sizeBytes)
    return new IndexComparison(offsets, times, (index, position, reason) => {
      this.#report({ kind: 'index', path: this.#indexPath(index), position, reason }, 'damage')
    })
  }

  #indexPath(index: 'index' | 'timeindex'): string {
    return join(this.#segment.directory, segmentFileName(this.#segment.baseOffset, index))
  }

  #readEntries(index: 'index' | 'timeindex', count: number | undefined, entryBytes: number): Region {
    if (count === 0) return EMPTY
    const path = this.#indexPath(index)
    const bytes = readStart(path, count === undefined ? undefined : count * entryBytes)
    if (bytes === undefined) {
      this.#hasAllTimes = false
      this.#report({ kind: 'index', path, position: 0, reason: 'the file is missing' }, 'damage')
      return EMPTY
    }
    const whole = bytes.length - (bytes.length % entryBytes)
    if (count !== undefined && bytes.length < count * entryBytes) {
      this.#hasAllTimes = false
      const reason = `${count} entries were written, the file has ${whole / entryBytes}`
      this.#report({ kind: 'index', path, position: whole, reason }, 'damage')
    } else if (whole < bytes.length) {
      this.#report({ kind: 'index', path, position: whole, reason: 'not a whole number of entries' }, 'damage')
    }
    return Region.of(bytes.subarray(0, whole))
  }
}

function lostOffsets(baseOffset: number, nextOffset: number | undefined): Pick<Finding, 'baseOffset' | 'nextOffset'> {
  return nextOffset !== undefined && nextOffset > baseOffset ? { baseOffset, nextOffset } : {}
}

function sizeOf(path: string): number {
  return withFile(path, 'r', fd => fstatSync(fd).size)
}

/** The first bytes of a file, or all of it; undefined when it is not there. */
function readStart(path: string, bytes: number | undefined): Buffer | undefined {
  try {
    return withFile(path, 'r', fd => {
      const wanted = Math.min(bytes ?? Number.POSITIVE_INFINITY, fstatSync(fd).size)
      const buffer = Buffer.alloc(wanted)
      let read = 0
      for (let step = -1; step !== 0 && read < wanted; read += step)
        step = readSync(fd, buffer, read, wanted - read, read)
      return buffer.subarray(0, read)
    })
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** True for the error of a file that is not there. */
export function isMissing(error: unknown): boolean {
  return isMillraceError(error, 'IO_ERROR') && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
}

/** Of a segment whose file is gone. */
export function missingSegment({ directory, baseOffset, endOffset }: SegmentToVerify): SegmentVerification {
  const path = join(directory, segmentFileName(baseOffset, 'log'))
  const lost = lostOffsets(baseOffset, endOffset)
  return {
    baseOffset,
    logBytes: 0,
    nextOffset: baseOffset,
    batches: 0,
    records: 0,
    indexEntries: 0,
    epochs: [],
    lastEpoch: -1,
    isTorn: false,
    isCutShort: true,
    findings: [{ kind: 'file', severity: 'damage', path, position: 0, reason: 'the file is missing', ...lost }],
  }
}
