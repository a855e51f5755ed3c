/**
 * The short jobs of the second pool: recovery of partitions, repair after a failed flush, removal of folders. Each works on
 * folders that no other thread of this process has open.
 */
import { rmSync } from 'node:fs'
import { fileError, toErrorData } from '../engine/base/errors.ts'
import { failpoint } from '../engine/base/failpoints.ts'
import { writeEpochCheckpoint } from '../engine/log/epoch-checkpoint-file.ts'
import type { JobRequest, JobResult, RecoverItem } from '../engine/log/jobs.ts'
import { type RecoveryResult, recoverPartition } from '../engine/log/recovery.ts'

function recover(item: RecoverItem): RecoveryResult {
  const result = recoverPartition(item.request)
  return item.newEpoch ? beginEpoch(item.request.directory, result) : result
}

/**
 * A log that may have been cut goes on under a new leader epoch, from its end on, so that whoever read what was cut can tell.
 */
function beginEpoch(directory: string, result: RecoveryResult): RecoveryResult {
  const leaderEpoch = result.leaderEpoch + 1
  const kept = result.epochs.filter(({ startOffset }) => startOffset < result.logEndOffset)
  const epochs = [...kept, { epoch: leaderEpoch, startOffset: result.logEndOffset }]
  writeEpochCheckpoint(directory, epochs)
  return { ...result, leaderEpoch, epochs }
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
      return beginEpoch(job.item.directory, recoverPartition(job.item.request))
    case 'remove-folders':
      return removeFolders(job.paths) as undefined
  }
}
