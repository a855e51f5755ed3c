/**
 * The jobs of the second pool: recovery of partitions, repair after a failed flush, removal of folders, compaction. Each works
 * on folders that no other thread of this process has open; compaction reads closed segments beside the writer.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, toErrorData } from '../engine/base/errors.ts'
import { failpoint } from '../engine/base/failpoints.ts'
import { segmentFileName } from '../engine/format/file-names.ts'
import { type CompactionRequest, compactPartition } from '../engine/log/compaction.ts'
import { writeEpochCheckpoint, writeEpochCheckpoints, writeFirstEpoch } from '../engine/log/epoch-checkpoint-file.ts'
import { inspectForeignLog } from '../engine/log/foreign-log.ts'
import type { JobRequest, JobResult, RecoverItem, RepairItem } from '../engine/log/jobs.ts'
import { withEpoch } from '../engine/log/leader-epochs.ts'
import { type RecoveryResult, recoverPartition, type SegmentInfo } from '../engine/log/recovery.ts'
import { removeSegmentFiles } from '../engine/log/recovery-directory.ts'
import { fileBytes, syncFolders } from '../engine/log/recovery-files.ts'
import { rewriteSegment } from '../engine/log/segment-rewrite.ts'
import { scanSegment } from '../engine/log/segment-scan.ts'
import { sweepSwap } from '../engine/log/segment-swap.ts'
import { truncateFiles } from '../engine/log/truncation.ts'
import { Mapping } from '../engine/memory/mapping.ts'
import { stepBack } from './service-loop.ts'

function recover(item: RecoverItem): RecoveryResult {
  const { request, newEpoch, truncation, lastEpoch } = item
  if (truncation !== undefined) truncateFiles(request.directory, truncation)
  const result = recoverPartition(request)
  if (!newEpoch) return result
  const isNew = result.logEndOffset === 0 && result.leaderEpoch === -1
  const write = isNew && request.syncLater === true ? writeFirstEpoch : writeEpochCheckpoint
  return beginEpoch(request.directory, result, lastEpoch, write)
}

/**
 * A log that may have been cut goes on under a new leader epoch, from its end on, so that whoever read what was cut can tell.
 */
function beginEpoch(
  directory: string,
  result: RecoveryResult,
  lastEpoch = -1,
  write = writeEpochCheckpoint,
): RecoveryResult {
  const leaderEpoch = Math.max(result.leaderEpoch, lastEpoch) + 1
  const epochs = withEpoch(result.epochs, leaderEpoch, result.logEndOffset)
  write(directory, epochs)
  return { ...result, leaderEpoch, epochs }
}

/**
 * After a failed flush: every segment that was not flushed is written into a new file, as far as it is kept. What lies
 * above is gone: it was never acknowledged as durable.
 */
function repair({ directory, keepOffset, flushedOffset, segments, request, newEpoch }: RepairItem): RecoveryResult {
  for (const segment of segments) {
    if (segment.nextOffset <= flushedOffset && segment !== segments.at(-1)) continue
    const { baseOffset } = segment
    if (baseOffset > keepOffset) removeSegmentFiles(directory, baseOffset)
    else rewriteSegment({ directory, baseOffset, keepBytes: positionOf(directory, segment, keepOffset) })
  }
  const result = recoverPartition(request)
  return newEpoch ? beginEpoch(directory, result) : result
}

/** Where the batches below `offset` end. Only bytes that were flushed are touched, and the header behind them. */
function positionOf(directory: string, segment: SegmentInfo, offset: number): number {
  const { baseOffset, sizeBytes, nextOffset } = segment
  const path = join(directory, segmentFileName(baseOffset, 'log'))
  // A repair that failed half-way has cut it already.
  const bytes = Math.min(sizeBytes, fileBytes(path) ?? 0)
  if (nextOffset <= offset || bytes === 0) return bytes
  const mapping = Mapping.ofPath(path, bytes)
  try {
    const scan = scanSegment(mapping.region, 0, bytes, { baseOffset, checkCrc: false, untilOffset: offset })
    // Damage at rest below: what was flushed behind it is kept, so everything is, and recovery says where it is damaged.
    return scan.fault === undefined ? scan.end : bytes
  } finally {
    mapping.release()
  }
}

function removeFolders(paths: readonly string[]): void {
  failpoint('delete-before-unlink')
  for (const path of paths) {
    try {
      rmSync(path, { recursive: true, force: true })
    } catch (error) {
      throw fileError(error, { path })
    }
  }
}

function inspect(directories: readonly string[]): JobResult['inspect'] {
  try {
    return { result: directories.map(inspectForeignLog) }
  } catch (error) {
    return { error: toErrorData(error, 'IO_ERROR') }
  }
}

function compact(request: CompactionRequest): JobResult['compact'] {
  stepBack() // for good: a job's thread ends when there are no jobs
  try {
    return { result: compactPartition(request) }
  } catch (error) {
    return { error: toErrorData(error, 'IO_ERROR') }
  }
}

/** Piscina's entry point. */
export default function runJob(job: JobRequest): JobResult[JobRequest['kind']] {
  switch (job.kind) {
    case 'recover':
      return job.items.map(item => {
        try {
          return { result: recover(item) }
        } catch (error) {
          return { error: toErrorData(error, 'IO_ERROR') }
        }
      })
    case 'repair':
      return repair(job.item)
    case 'remove-folders':
      return removeFolders(job.paths) as undefined
    case 'inspect':
      return inspect(job.directories)
    case 'sync-folders':
      return syncFolders(job.paths) as undefined
    case 'write-epochs':
      return writeEpochCheckpoints(job.files) as undefined
    case 'compact':
      return compact(job.request)
    case 'sweep':
      return sweepSwap(job.directory, job.refused) as undefined
  }
}
