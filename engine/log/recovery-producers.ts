/**
 * What a recovered log knows of its idempotent producers: the newest sound snapshot, and the batches behind it. Runs in janitor
 * jobs, after everything else of the log was settled.
 *
 * After a clean close there is a snapshot at the end of the log, or there were no producers; nothing is read then. After a crash
 * the newest snapshot is normally that of the active segment, so one header a batch is read there. Without a sound one it is the
 * whole log, and a snapshot is written so that this happens once.
 */
import { join } from 'node:path'
import { segmentFileName } from '../format/file-names.ts'
import type { ProducerSnapshotEntry } from '../format/producer-snapshot.ts'
import { RecordCursor } from '../format/record.ts'
import {
  baseOffsetOf,
  baseSequenceOf,
  batchBytes,
  checkBatch,
  isControlBatch,
  lastOffsetOf,
  producerEpochOf,
  producerIdOf,
} from '../format/record-batch.ts'
import type { Region } from '../format/region.ts'
import { Mapping } from '../memory/mapping.ts'
import {
  listProducerSnapshots,
  readProducerSnapshot,
  removeStraySnapshots,
  snapshotPath,
  writeProducerSnapshot,
} from './producer-snapshot-file.ts'
import { hasProducer, ProducerStates } from './producer-state.ts'
import { removeFile } from './recovery-files.ts'
import { findSoundBatch } from './recovery-salvage.ts'
import type { RecoveryReport, SegmentInfo } from './recovery-types.ts'

export interface ProducerRecovery {
  readonly entries: readonly ProducerSnapshotEntry[]
  /** Bytes of log that were walked for it. */
  readonly scannedBytes: number
}

/** Kinds of control records. */
const MARKER = { abort: 0, commit: 1 } as const
/** Version and kind. */
const MARKER_KEY_BYTES = 4
/** Version and coordinator epoch. */
const MARKER_VALUE_BYTES = 6

/**
 * @param segments what the log consists of, ascending
 * @param known how many producers the owner knew when it closed the log cleanly; `undefined` when it did not
 * @throws CORRUPT_RECORD, DISK_FULL, IO_ERROR
 */
export function recoverProducers(
  directory: string,
  segments: readonly SegmentInfo[],
  known: number | undefined,
  reports: RecoveryReport[],
): ProducerRecovery {
  const { nextOffset: logEndOffset, baseOffset: activeBase } = segments.at(-1) as SegmentInfo
  if (known === 0) return { entries: [], scannedBytes: 0 }
  const report = (path: string, reason: string): void =>
    void reports.push({ path, position: 0, reason, decision: 'rebuild-producers', bytes: 0 })
  const found = newestSound(directory, logEndOffset, report)
  if (known !== undefined && found?.offset !== logEndOffset) {
    report(snapshotPath(directory, logEndOffset), 'the snapshot of a clean close is missing')
  }
  const producers = new ProducerStates(Number.POSITIVE_INFINITY)
  producers.load(found?.entries ?? [], 0)
  const from = found?.offset ?? 0
  let scannedBytes = 0
  for (const segment of segments) {
    if (segment.nextOffset > from && segment.sizeBytes > 0) scannedBytes += replay(directory, segment, from, producers)
  }
  const entries = producers.entries()
  const isLate = Math.max(from, (segments[0] as SegmentInfo).baseOffset) < activeBase
  if (isLate || (known !== undefined && found?.offset !== logEndOffset))
    writeProducerSnapshot(directory, logEndOffset, entries)
  removeStraySnapshots(
    directory,
    segments.map(({ baseOffset }) => baseOffset),
  )
  return { entries, scannedBytes }
}

function newestSound(
  directory: string,
  logEndOffset: number,
  report: (path: string, reason: string) => void,
): { readonly offset: number; readonly entries: readonly ProducerSnapshotEntry[] } | undefined {
  for (const offset of listProducerSnapshots(directory).reverse()) {
    if (offset > logEndOffset) continue
    const entries = readProducerSnapshot(directory, offset)
    if (entries !== undefined) return { offset, entries }
    report(snapshotPath(directory, offset), 'damaged')
    removeFile(snapshotPath(directory, offset))
  }
  return undefined
}

/** Feeds the batches of a segment from an offset on to the states; returns the bytes that were walked. */
function replay(directory: string, segment: SegmentInfo, from: number, producers: ProducerStates): number {
  const { baseOffset, sizeBytes, nextOffset } = segment
  const mapping = Mapping.ofPath(join(directory, segmentFileName(baseOffset, 'log')), sizeBytes)
  try {
    const { region } = mapping
    let offset = baseOffset
    for (let at = 0; at < sizeBytes; ) {
      if (checkBatch(region, at, sizeBytes, false) !== undefined) {
        // Damage at rest, which was reported; what is behind it counts.
        const bounds = { minOffset: offset, maxOffset: nextOffset, baseOffset, knownEnd: nextOffset, gapless: false }
        at = findSoundBatch(region, at, sizeBytes, bounds)
        if (at === -1) break
        continue
      }
      if (baseOffsetOf(region.view, at) >= from && hasProducer(region.view, at)) take(region, at, producers)
      offset = lastOffsetOf(region.view, at) + 1
      at += batchBytes(region.view, at)
    }
    return sizeBytes
  } finally {
    mapping.release()
  }
}

function take(region: Region, at: number, producers: ProducerStates): void {
  const { view } = region
  if (isControlBatch(view, at)) takeMarker(region, at, producers)
  // Without a sequence it is no batch of an idempotent producer, whatever id it has.
  else if (baseSequenceOf(view, at) >= 0 && producerEpochOf(view, at) >= 0) producers.appended(view, at, 0)
}

/** A control record: key = version i16, kind i16; value of a transaction's end = version i16, coordinator epoch i32. */
function takeMarker(region: Region, at: number, producers: ProducerStates): void {
  const cursor = new RecordCursor()
  cursor.reset(region, at)
  if (!cursor.next() || cursor.keyBytes < MARKER_KEY_BYTES || cursor.valueBytes < MARKER_VALUE_BYTES) return
  const kind = cursor.source.readInt16BE(cursor.keyAt + 2)
  if (kind !== MARKER.abort && kind !== MARKER.commit) return
  const coordinatorEpoch = cursor.source.readInt32BE(cursor.valueAt + 2)
  const { view } = region
  producers.transactionEnded(producerIdOf(view, at), producerEpochOf(view, at), coordinatorEpoch, cursor.timestamp, 0)
}
