/**
 * Checks the files of a closed data directory by themselves: batches whole and joined, nothing behind the last one, leader epochs
 * that never decrease, index entries that are true and as dense as they should be. It reads the formats, not the engine.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  baseOffsetOf,
  batchBytes,
  checkBatch,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  parsePartitionDirectory,
  parseSegmentFileName,
  Region,
  readOffsetEntry,
  readTimeEntry,
  segmentFileName,
} from '../../../engine/format/index.ts'

/** What lies behind the last batch of each partition while the directory is open and was just recovered: zeros, and nothing else. */
export function tailFaults(directory: string): string[] {
  const faults: string[] = []
  for (const folder of partitionFolders(directory)) {
    const last = basesIn(folder).at(-1)
    if (last === undefined) continue
    const region = Region.of(readFileSync(join(folder, segmentFileName(last, 'log'))))
    let at = 0
    while (checkBatch(region, at, region.length) === undefined) at += batchBytes(region.view, at)
    const stale = region.bytes.subarray(at).findIndex(byte => byte !== 0)
    if (stale !== -1) faults.push(`${folder}: ${last}.log ends at ${at} and has bytes at ${at + stale}`)
  }
  return faults
}

function partitionFolders(directory: string): string[] {
  return readdirSync(directory)
    .filter(name => parsePartitionDirectory(name) !== undefined && statSync(join(directory, name)).isDirectory())
    .map(name => join(directory, name))
}

function basesIn(folder: string): number[] {
  return readdirSync(folder)
    .filter(name => name.endsWith('.log'))
    .map(name => parseSegmentFileName(name)?.baseOffset ?? -1)
    .sort((a, b) => a - b)
}

interface WalkedBatch {
  readonly position: number
  readonly bytes: number
  readonly lastOffset: number
  readonly maxTimestamp: number
}

/** Everything that is wrong in the partition folders of a directory that was closed cleanly. */
export function folderFaults(directory: string, indexIntervalBytes: number): string[] {
  const faults: string[] = []
  for (const folder of partitionFolders(directory)) {
    checkFolder(folder, indexIntervalBytes, fault => faults.push(`${folder}: ${fault}`))
  }
  return faults
}

function checkFolder(folder: string, indexIntervalBytes: number, report: (fault: string) => void): void {
  let next: number | undefined
  let epoch = -1
  for (const base of basesIn(folder)) {
    const name = segmentFileName(base, 'log')
    if (next !== undefined && base !== next) report(`${name} begins at ${base}, not ${next}`)
    const region = Region.of(readFileSync(join(folder, name)))
    const batches: WalkedBatch[] = []
    next = base
    let at = 0
    for (; at < region.length; ) {
      const fault = checkBatch(region, at, region.length)
      if (fault !== undefined) {
        report(`${name} has ${fault} at ${at} of ${region.length}`)
        break
      }
      const { view } = region
      if (baseOffsetOf(view, at) !== next) report(`${name} has offset ${baseOffsetOf(view, at)} at ${at}, not ${next}`)
      if (leaderEpochOf(view, at) < epoch) report(`${name} goes back to epoch ${leaderEpochOf(view, at)} at ${at}`)
      epoch = leaderEpochOf(view, at)
      const bytes = batchBytes(view, at)
      batches.push({ position: at, bytes, lastOffset: lastOffsetOf(view, at), maxTimestamp: maxTimestampOf(view, at) })
      next = lastOffsetOf(view, at) + 1
      at += bytes
    }
    checkIndexes(folder, base, batches, indexIntervalBytes, report)
  }
}

function checkIndexes(
  folder: string,
  base: number,
  batches: readonly WalkedBatch[],
  indexIntervalBytes: number,
  report: (fault: string) => void,
): void {
  const offsets = entriesOf(join(folder, segmentFileName(base, 'index')), 8, readOffsetEntry)
  const positions = new Map(batches.map(batch => [batch.position, batch]))
  let before = 0
  for (const { relativeOffset, position } of offsets) {
    const batch = positions.get(position)
    if (batch?.lastOffset !== base + relativeOffset)
      report(`${base}.index says ${base + relativeOffset} is at ${position}`)
    if (position <= before) report(`${base}.index goes from ${before} to ${position}`)
    before = position
  }
  const unindexed = batches.filter(
    ({ position }) => position > before && before + indexIntervalBytes < position - 40_000,
  )
  if (unindexed.length > 0) report(`${base}.index ends at ${before}, the log at ${batches.at(-1)?.position}`)
  const times = entriesOf(join(folder, segmentFileName(base, 'timeindex')), 12, readTimeEntry)
  let largest = -1
  for (const { timestamp, relativeOffset } of times) {
    if (timestamp <= largest) report(`${base}.timeindex goes from ${largest} to ${timestamp}`)
    largest = timestamp
    const batch = batches.find(({ lastOffset }) => lastOffset === base + relativeOffset)
    const isFirst = batches.every(b => b.lastOffset >= base + relativeOffset || b.maxTimestamp < timestamp)
    if (batch?.maxTimestamp !== timestamp || !isFirst)
      report(`${base}.timeindex says ${timestamp} is at ${base + relativeOffset}`)
  }
  const max = batches.reduce((sum, { maxTimestamp }) => Math.max(sum, maxTimestamp), -1)
  if (largest !== max) report(`${base}.timeindex ends with ${largest}, the log has ${max}`)
}

function entriesOf<T>(path: string, bytes: number, read: (view: DataView, index: number) => T): T[] {
  let content: Buffer
  try {
    content = readFileSync(path)
  } catch {
    return [] // an empty segment has none
  }
  const { view, length } = Region.of(content)
  return Array.from({ length: Math.floor(length / bytes) }, (_, index) => read(view, index))
}
