/** Partition folders made batch by batch for the recovery tests, and the plain model of what is in them. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Random } from '../../../engine/base/random.ts'
import { segmentFileName } from '../../../engine/format/file-names.ts'
import { formatEpochCheckpoint } from '../../../engine/format/leader-epoch-checkpoint.ts'
import { readOffsetEntry } from '../../../engine/format/offset-index.ts'
import { encodeBatch, stampBatch } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { readTimeEntry } from '../../../engine/format/time-index.ts'
import { EPOCH_CHECKPOINT_NAME } from '../../../engine/log/epoch-checkpoint-file.ts'
import type { RecoveryRequest } from '../../../engine/log/recovery.ts'

export const INTERVAL_BYTES = 300
export const INDEX_BYTES_MAX = 16_384

export interface ModelBatch {
  readonly position: number
  readonly bytes: Buffer
  readonly baseOffset: number
  readonly lastOffset: number
  readonly epoch: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
}

export interface ModelSegment {
  readonly baseOffset: number
  readonly batches: ModelBatch[]
}

/** One batch with its place in the log; timestamps wander, so that they are out of order. */
export function makeBatch(
  random: Random,
  at: { position: number; baseOffset: number; epoch: number; records?: number },
): ModelBatch {
  const count = at.records ?? random.between(1, 6)
  const start = 1_000_000 + at.baseOffset * 10
  const timestamps = Array.from({ length: count }, () => start + random.between(-200, 200))
  const records = timestamps.map(timestamp => ({ timestamp, value: random.bytes(random.between(0, 60)) }))
  const { bytes } = encodeBatch(records)
  stampBatch(Region.of(bytes).view, 0, at.baseOffset, at.epoch)
  return {
    position: at.position,
    bytes,
    baseOffset: at.baseOffset,
    lastOffset: at.baseOffset + count - 1,
    epoch: at.epoch,
    baseTimestamp: timestamps[0] as number,
    maxTimestamp: Math.max(...timestamps),
  }
}

/** A log of a few segments whose leader epoch rises now and then. */
export function makeLog(random: Random, segmentCount: number, batchesMax = 30): ModelSegment[] {
  const segments: ModelSegment[] = []
  let baseOffset = random.chance(0.5) ? 0 : random.below(1_000)
  let epoch = 0
  for (let i = 0; i < segmentCount; i++) {
    const segment: ModelSegment = { baseOffset, batches: [] }
    let position = 0
    const count = random.between(2, batchesMax)
    for (let j = 0; j < count; j++) {
      if (random.chance(0.1)) epoch += random.between(1, 3)
      const batch = makeBatch(random, { position, baseOffset, epoch })
      segment.batches.push(batch)
      position += batch.bytes.length
      baseOffset = batch.lastOffset + 1
    }
    segments.push(segment)
  }
  return segments
}

export const endOffset = (segments: readonly ModelSegment[]): number =>
  (segments.at(-1)?.batches.at(-1)?.lastOffset ?? -1) + 1

export const sizeOf = (batches: readonly ModelBatch[]): number =>
  batches.reduce((sum, { bytes }) => sum + bytes.length, 0)

export const logPath = (directory: string, baseOffset: number): string =>
  join(directory, segmentFileName(baseOffset, 'log'))

export interface ModelIndex {
  readonly offsets: { relativeOffset: number; position: number }[]
  readonly times: { timestamp: number; relativeOffset: number }[]
}

/** Kafka's rule, written down once more; `closed` adds the last time entry. */
export function modelIndex(baseOffset: number, batches: readonly ModelBatch[], closed = true): ModelIndex {
  const index: ModelIndex = { offsets: [], times: [] }
  let since = 0
  let best: ModelBatch | undefined
  const addTime = (): void => {
    if (best === undefined || best.maxTimestamp <= (index.times.at(-1)?.timestamp ?? -1)) return
    index.times.push({ timestamp: best.maxTimestamp, relativeOffset: best.lastOffset - baseOffset })
  }
  for (const batch of batches) {
    if (best === undefined || batch.maxTimestamp > best.maxTimestamp) best = batch
    if (since > INTERVAL_BYTES) {
      index.offsets.push({ relativeOffset: batch.lastOffset - baseOffset, position: batch.position })
      addTime()
      since = 0
    }
    since += batch.bytes.length
  }
  if (closed) addTime()
  return index
}

export function encodeIndex(index: ModelIndex): { offsets: Buffer; times: Buffer } {
  const offsets = Buffer.alloc(index.offsets.length * 8)
  index.offsets.forEach(({ relativeOffset, position }, i) => {
    offsets.writeUInt32BE(relativeOffset, i * 8)
    offsets.writeUInt32BE(position, i * 8 + 4)
  })
  const times = Buffer.alloc(index.times.length * 12)
  index.times.forEach(({ timestamp, relativeOffset }, i) => {
    times.writeBigInt64BE(BigInt(timestamp), i * 12)
    times.writeUInt32BE(relativeOffset, i * 12 + 8)
  })
  return { offsets, times }
}

/** The index files as they are on disk. */
export function readIndexFiles(directory: string, baseOffset: number): ModelIndex {
  const offsets = Region.of(readFileSync(join(directory, segmentFileName(baseOffset, 'index'))))
  const times = Region.of(readFileSync(join(directory, segmentFileName(baseOffset, 'timeindex'))))
  return {
    offsets: Array.from({ length: offsets.length / 8 }, (_, i) => readOffsetEntry(offsets.view, i)),
    times: Array.from({ length: times.length / 12 }, (_, i) => readTimeEntry(times.view, i)),
  }
}

export function writeIndexFiles(directory: string, { baseOffset, batches }: ModelSegment): void {
  const { offsets, times } = encodeIndex(modelIndex(baseOffset, batches))
  writeFileSync(join(directory, segmentFileName(baseOffset, 'index')), offsets)
  writeFileSync(join(directory, segmentFileName(baseOffset, 'timeindex')), times)
}

export function modelEpochs(segments: readonly ModelSegment[]): { epoch: number; startOffset: number }[] {
  const entries: { epoch: number; startOffset: number }[] = []
  for (const { batches } of segments) {
    for (const { epoch, baseOffset } of batches) {
      if (epoch > (entries.at(-1)?.epoch ?? -1)) entries.push({ epoch, startOffset: baseOffset })
    }
  }
  return entries
}

/** Writes the folder: closed segments are exact, the last one has `tailBytes` of zeros behind it. */
export function writeLog(directory: string, segments: readonly ModelSegment[], tailBytes = 0): void {
  mkdirSync(directory, { recursive: true })
  segments.forEach((segment, i) => {
    const tail = i === segments.length - 1 ? [Buffer.alloc(tailBytes)] : []
    writeFileSync(
      logPath(directory, segment.baseOffset),
      Buffer.concat([...segment.batches.map(b => b.bytes), ...tail]),
    )
    writeIndexFiles(directory, segment)
  })
  writeFileSync(join(directory, EPOCH_CHECKPOINT_NAME), formatEpochCheckpoint(modelEpochs(segments)))
}

export function request(directory: string, more: Partial<RecoveryRequest> = {}): RecoveryRequest {
  return {
    directory,
    clean: false,
    recoveryPoint: 0,
    logStartOffset: 0,
    indexIntervalBytes: INTERVAL_BYTES,
    indexBytesMax: INDEX_BYTES_MAX,
    ...more,
  }
}

/** Every file with its content, to compare two folders. */
export function contentOf(directory: string): Record<string, string> {
  const entries = readdirSync(directory)
    .sort()
    .map(name => [name, readFileSync(join(directory, name)).toString('base64')])
  return Object.fromEntries(entries) as Record<string, string>
}

export function patch(path: string, at: number, bytes: Uint8Array): void {
  const content = readFileSync(path)
  content.set(bytes, at)
  writeFileSync(path, content)
}

/** Folders that are gone when the test file is done. */
export function temporaryDirectories(prefix: string): { next(): string; removeAll(): void } {
  const root = mkdtempSync(join(tmpdir(), `millrace-${prefix}-`))
  let count = 0
  return {
    next: () => {
      const directory = join(root, `p-${count++}`)
      mkdirSync(directory)
      return directory
    },
    removeAll: () => rmSync(root, { recursive: true, force: true }),
  }
}
