/**
 * The indexes of a segment against its log, when a directory is opened: are they what the log says, and if not, building
 * them anew. Synchronous, run in janitor jobs; nobody else looks at the files meanwhile.
 *
 * An index is derived data, so any doubt is settled by building it again. After a loss of power its pages may be zeros, or it
 * may have stopped growing at some earlier point: both are seen here, entry by entry and in the log behind the last one.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { segmentFileName } from '../format/file-names.ts'
import {
  floorOffsetEntry,
  OFFSET_ENTRY,
  offsetEntryPosition,
  offsetEntryRelativeOffset,
} from '../format/offset-index.ts'
import { batchBytes, checkBatch, lastOffsetOf, maxTimestampOf } from '../format/record-batch.ts'
import { Region, readI64Rough } from '../format/region.ts'
import { TIME_ENTRY, timeEntryRelativeOffset } from '../format/time-index.ts'
import { type IndexCounts, SegmentIndexWriter } from './segment-index.ts'
import { type SegmentScan, scanSegment } from './segment-scan.ts'

/** The bytes of both index files, whole, whatever they hold. */
export interface IndexBytes {
  readonly offsets: Region
  readonly times: Region
}

/** Reads both files into memory, `undefined` when one is missing. Cost: their size, at most `segment.index.bytes` each. */
export function readIndexes(directory: string, baseOffset: number): IndexBytes | undefined {
  const offsets = readIndex(join(directory, segmentFileName(baseOffset, 'index')))
  const times = readIndex(join(directory, segmentFileName(baseOffset, 'timeindex')))
  return offsets === undefined || times === undefined ? undefined : { offsets, times }
}

function readIndex(path: string): Region | undefined {
  try {
    return Region.of(readFileSync(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fileError(error, { path })
  }
}

export interface IndexCheckInput {
  /** Bytes of the `.log` file. */
  readonly log: Region
  /** Where the log in it ends, as far as is known: the file may end with zeros. */
  readonly endPosition: number
  readonly baseOffset: number
  readonly indexIntervalBytes: number
  /** The largest timestamp in the log, when it was walked. Without it only the batches behind the last entry are asked. */
  readonly maxTimestamp?: number
}

export interface IndexCheck {
  /** What is wrong; `undefined` when the indexes are complete and right. */
  readonly fault: string | undefined
  /** The walk over the batches behind the last offset entry; there when the entries themselves are sound. */
  readonly tail: SegmentScan | undefined
}

/**
 * Checks the indexes of a closed segment: whole entries in order, positions inside the log, the first and the last entry of
 * each pointing at the batch that they describe, no entry missing at the end, and the largest timestamp there.
 * Cost: one pass over the entries, and a walk over one index interval.
 */
export function checkIndex(indexes: IndexBytes, input: IndexCheckInput): IndexCheck {
  const fault = offsetEntriesFault(indexes.offsets, input) ?? timeEntriesFault(indexes, input)
  if (fault !== undefined) return { fault, tail: undefined }
  const { log, endPosition, baseOffset } = input
  const count = indexes.offsets.length / OFFSET_ENTRY.sizeBytes
  const from = count === 0 ? 0 : offsetEntryPosition(indexes.offsets.view, count - 1)
  let lastBatchAt = from
  const tail = scanSegment(log, from, endPosition, {
    baseOffset,
    nextOffset: count === 0 ? baseOffset : readI64Rough(log.view, from),
    checkCrc: false,
    visit: position => {
      lastBatchAt = position
    },
  })
  if (tail.fault !== undefined) return { fault: 'the log behind the last entry is damaged', tail }
  if (lastBatchAt - from > input.indexIntervalBytes) return { fault: 'entries are missing at the end', tail }
  const isComplete = (input.maxTimestamp ?? tail.maxTimestamp) <= lastTimestamp(indexes.times)
  return { fault: isComplete ? undefined : 'no entry has the largest timestamp', tail }
}

const lastTimestamp = ({ view, length }: Region): number =>
  length === 0 ? -1 : readI64Rough(view, length - TIME_ENTRY.sizeBytes + TIME_ENTRY.timestampAt)

function offsetEntriesFault(offsets: Region, input: IndexCheckInput): string | undefined {
  const { view, length } = offsets
  if (length % OFFSET_ENTRY.sizeBytes !== 0) return 'not a whole number of offset entries'
  const count = length / OFFSET_ENTRY.sizeBytes
  // No entry points at the first batch, so zeros are out of order wherever they are.
  let offset = -1
  let position = 0
  for (let i = 0; i < count; i++) {
    const nextOffset = offsetEntryRelativeOffset(view, i)
    const nextPosition = offsetEntryPosition(view, i)
    if (nextOffset <= offset || nextPosition <= position) return 'offset entries are out of order'
    offset = nextOffset
    position = nextPosition
  }
  if (position >= input.endPosition && count > 0) return 'an offset entry points behind the log'
  for (const i of count === 0 ? [] : [0, count - 1]) {
    const at = offsetEntryPosition(view, i)
    const expected = input.baseOffset + offsetEntryRelativeOffset(view, i)
    if (checkBatch(input.log, at, input.endPosition, false) !== undefined) return 'an offset entry points at no batch'
    if (lastOffsetOf(input.log.view, at) !== expected) return 'an offset entry points at another batch'
  }
  return undefined
}

function timeEntriesFault({ offsets, times }: IndexBytes, input: IndexCheckInput): string | undefined {
  const { view, length } = times
  if (length % TIME_ENTRY.sizeBytes !== 0) return 'not a whole number of time entries'
  const count = length / TIME_ENTRY.sizeBytes
  let timestamp = -1
  let offset = 0
  for (let i = 0; i < count; i++) {
    const nextTimestamp = readI64Rough(view, i * TIME_ENTRY.sizeBytes)
    const nextOffset = timeEntryRelativeOffset(view, i)
    if (nextTimestamp <= timestamp || nextOffset < offset) return 'time entries are out of order'
    timestamp = nextTimestamp
    offset = nextOffset
  }
  for (const i of count === 0 ? [] : [0, count - 1]) {
    const at = findBatch(offsets, input, timeEntryRelativeOffset(view, i))
    if (at === -1) return 'a time entry points at no batch'
    if (maxTimestampOf(input.log.view, at) !== readI64Rough(view, i * TIME_ENTRY.sizeBytes)) {
      return 'a time entry has another timestamp than its batch'
    }
  }
  return undefined
}

/** Position of the batch whose last offset is given, -1 when there is none. */
function findBatch(offsets: Region, { log, endPosition, baseOffset }: IndexCheckInput, relativeOffset: number): number {
  const entry = floorOffsetEntry(offsets.view, offsets.length / OFFSET_ENTRY.sizeBytes, relativeOffset)
  let at = entry === -1 ? 0 : offsetEntryPosition(offsets.view, entry)
  while (at < endPosition && checkBatch(log, at, endPosition, false) === undefined) {
    const last = lastOffsetOf(log.view, at) - baseOffset
    if (last === relativeOffset) return at
    if (last > relativeOffset) return -1
    at += batchBytes(log.view, at)
  }
  return -1
}

export interface RebuildInput extends IndexCheckInput {
  readonly directory: string
  readonly indexBytesMax: number
  /** Stretches that hold no sound batch, in order. The last may reach `endPosition`. */
  readonly damages: readonly { readonly from: number; readonly to: number }[]
}

/** Builds both indexes from the log and replaces the files; readers that map the old ones keep them. @throws DISK_FULL, IO_ERROR */
export function rebuildIndex(input: RebuildInput): IndexCounts {
  const { directory, baseOffset, indexIntervalBytes, endPosition } = input
  // A limit that was lowered since must not leave a closed segment half indexed.
  const entriesMax = Math.ceil(endPosition / (indexIntervalBytes + 1)) + input.damages.length + 2
  const indexBytesMax = Math.max(input.indexBytesMax, entriesMax * TIME_ENTRY.sizeBytes)
  const writer = new SegmentIndexWriter({ directory, baseOffset, indexIntervalBytes, indexBytesMax, replace: true })
  try {
    for (const { from, to } of input.damages) {
      writer.extend(input.log, from)
      writer.skipTo(to)
    }
    writer.extend(input.log, endPosition)
    return writer.finish()
  } finally {
    writer.release()
  }
}
