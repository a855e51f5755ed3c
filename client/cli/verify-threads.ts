/**
 * Verifies segments, several at a time in threads of their own when there is enough to read to pay for starting them. Progress is
 * counted in shared memory, so that the main thread stays free to draw and to be interrupted.
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { fromErrorData } from '../../engine/base/errors.ts'
import { isMissing, verifySegment } from '../../engine/log/verify-segment.ts'
import type { SegmentToVerify, SegmentVerification } from '../../engine/log/verify-types.ts'
import type { VerifyAnswer } from './verify-thread.ts'

const BYTES_PER_THREAD = 64 * 2 ** 20
const THREADS_MAX = 16
/** Between two looks at the counter. */
const LOOK_MS = 50

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

/** What became of a segment; undefined: its file is gone. */
export type Verified = SegmentVerification | undefined

export interface VerifyJobs {
  readonly segments: readonly SegmentToVerify[]
  /** Of all of them, more or less. */
  readonly totalBytes: number
  readonly signal: AbortSignal
  /** From so many bytes on a thread pays for itself; default 64 MiB. */
  readonly bytesPerThread?: number
  /** Bytes that were read so far. */
  readonly onProgress: (bytes: number) => void
}

/** @returns one for each segment, in their order; fewer are done when it was aborted @throws what a verification threw */
export async function verifySegments(jobs: VerifyJobs): Promise<Verified[]> {
  const threads = Math.min(
    availableParallelism(),
    THREADS_MAX,
    jobs.segments.length,
    Math.ceil(jobs.totalBytes / (jobs.bytesPerThread ?? BYTES_PER_THREAD)),
  )
  return threads > 1 ? verifyInThreads(jobs, threads) : verifyHere(jobs)
}

async function verifyHere({ segments, signal, onProgress }: VerifyJobs): Promise<Verified[]> {
  const verified: Verified[] = []
  let done = 0
  const count = (bytes: number): void => {
    done += bytes
    onProgress(done)
  }
  for (const segment of segments) {
    if (signal.aborted) break
    verified.push(verifyOne(segment, count))
    await new Promise(resolve => setImmediate(resolve)) // for signals
  }
  return verified
}

/** Undefined when the file is gone. */
export function verifyOne(segment: SegmentToVerify, onProgress?: (bytes: number) => void): Verified {
  try {
    return verifySegment(segment, onProgress)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function verifyInThreads({ segments, signal, onProgress }: VerifyJobs, threads: number): Promise<Verified[]> {
  const progress = new SharedArrayBuffer(8)
  const counter = new BigInt64Array(progress)
  const verified: Verified[] = new Array(segments.length).fill(undefined)
  const entry = new URL(`./verify-thread${extension}`, import.meta.url)
  const workers = Array.from({ length: threads }, () => new Worker(entry, { workerData: progress }))
  const timer = setInterval(() => onProgress(Number(Atomics.load(counter, 0))), LOOK_MS)
  let next = 0
  const work = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      const give = (): void => {
        if (next >= segments.length || signal.aborted) resolve()
        else worker.postMessage({ index: next, segment: segments[next++] })
      }
      worker.on('message', ({ index, verification, error }: VerifyAnswer) => {
        verified[index] = verification
        if (error === undefined) give()
        else reject(fromErrorData(error))
      })
      worker.on('error', reject)
      worker.on('exit', () => reject(new Error('a thread of the verification ended')))
      signal.addEventListener('abort', () => resolve(), { once: true })
      give()
    })
  try {
    await Promise.all(workers.map(work))
  } finally {
    clearInterval(timer)
    await Promise.all(workers.map(worker => worker.terminate()))
  }
  onProgress(Number(Atomics.load(counter, 0)))
  return verified
}
