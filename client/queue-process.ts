/** Runs handlers over the jobs of a queue, so many at once, and settles the jobs by what becomes of them. */
import { whole } from '../engine/broker/options.ts'
import type { ShareGroupConfig } from '../engine/store/share-states.ts'
import type { Job } from './job.ts'
import type { JobsOptions, ProcessOptions } from './queue-types.ts'

const CONCURRENCY_MAX = 10_000
const RETRY_DELAY_MS = 1_000
const RETRY_DELAY_MS_MAX = 60_000
const DELAY_MS_MAX = 0x7fff_ffff
const RENEWALS_PER_LOCK = 3

interface JobSource {
  jobs(options: JobsOptions): AsyncIterable<Job>
}

export async function processJobs(
  queue: JobSource,
  handler: (job: Job) => unknown,
  options: ProcessOptions,
  configOf: () => Promise<ShareGroupConfig>,
): Promise<void> {
  const { signal, onError = () => undefined } = options
  const concurrency = whole('concurrency', options.concurrency ?? 1, 1, CONCURRENCY_MAX)
  const delayMs = whole('retryDelayMs', options.retryDelayMs ?? RETRY_DELAY_MS, 0, DELAY_MS_MAX)
  const delayMsMax = whole('retryDelayMsMax', options.retryDelayMsMax ?? RETRY_DELAY_MS_MAX, 0, DELAY_MS_MAX)
  const prefetch = options.prefetch ?? concurrency
  const { lockDurationMs, deliveryCountLimit } = await configOf()

  const run = async (job: Job): Promise<void> => {
    const renewing = setInterval(
      () => void job.renew().catch(() => undefined), // settled, or lost: acknowledging it will say so
      Math.max(1, lockDurationMs / RENEWALS_PER_LOCK),
    ).unref()
    try {
      await settle(job, handler, error => {
        onError(error, job)
        if (job.deliveryCount >= deliveryCountLimit) return job.reject(String(error))
        return job.retry({ delayMs: Math.min(delayMs * 2 ** (job.deliveryCount - 1), delayMsMax) })
      })
    } catch (error) {
      onError(error, job)
    } finally {
      clearInterval(renewing)
    }
  }

  const running = new Set<Promise<void>>()
  try {
    for await (const job of queue.jobs({ prefetch, ...(signal === undefined ? {} : { signal }) })) {
      const one = run(job).finally(() => running.delete(one))
      running.add(one)
      if (running.size >= concurrency) await Promise.race(running)
    }
  } finally {
    await Promise.all(running)
  }
}

/** A handler may settle its job itself; else what it returns acknowledges it, and what it throws is for `failed`. */
async function settle(
  job: Job,
  handler: (job: Job) => unknown,
  failed: (error: unknown) => Promise<void>,
): Promise<void> {
  try {
    await handler(job)
  } catch (error) {
    if (!job.isSettled) await failed(error)
    return
  }
  if (!job.isSettled) await job.ack()
}
