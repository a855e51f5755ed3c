/**
 * Pushes numbered jobs and works on them with three consumers until it is killed: acknowledges most, gives some back,
 * rejects some, and lets the locks of some end. What was promised is written outside the engine before the next step.
 */

import type { Job } from '../../../client/index.ts'
import { Millrace } from '../../../client/index.ts'
import { Random } from '../../../engine/base/random.ts'
import { AckLog } from '../support/ack-log.ts'

export interface QueueingPlan {
  readonly directory: string
  readonly ackPath: string
  readonly seed: number
}

export const QUEUE = 'jobs'
export const QUEUE_OPTIONS = {
  create: { partitions: 2, config: { 'segment.bytes': 16_384, 'retention.bytes': 1 } },
  lockDurationMs: 300,
  deliveryCountLimit: 50,
}

if (process.argv[2] !== undefined) await run(JSON.parse(process.argv[2]) as QueueingPlan)

async function run({ directory, ackPath, seed }: QueueingPlan): Promise<void> {
  const random = new Random(seed)
  const log = new AckLog(ackPath)
  const options = { writers: 1, jobThreads: 1, checkpointMs: 40, retentionCheckMs: 20 }
  const engine = await Millrace.open(directory, options, {
    warning: error => log.write(`event warning ${error.message}`),
  })
  const queue = engine.queue(QUEUE, QUEUE_OPTIONS)
  await queue.open()
  console.log('ready')

  const push = async (): Promise<void> => {
    for (;;) {
      const pushed = await Promise.all(
        Array.from({ length: random.between(1, 20) }, () => queue.push('x'.repeat(random.below(300)))),
      )
      for (const { partition, offset } of pushed) log.write(`pushed ${partition}/${offset}`)
      await new Promise(resolve => setTimeout(resolve, random.below(5)))
    }
  }
  const settle = async (job: Job): Promise<void> => {
    const name = `${job.partition}/${job.offset}`
    log.write(`delivered ${name}`)
    const fate = random.below(100)
    try {
      if (fate < 75) {
        await job.ack()
        log.write(`done ${name}`)
      } else if (fate < 80) {
        await job.reject('by chance')
        log.write(`rejected ${name}`)
      } else if (fate < 95) await job.retry({ delayMs: random.pick([0, 0, 20]) })
    } catch (error) {
      log.write(`event ${name} ${(error as Error).message}`)
    }
  }
  const work = async (): Promise<void> => {
    for await (const job of queue.jobs({ prefetch: 10 })) void settle(job)
  }
  const failed = (error: Error): never => {
    log.write(`event fatal ${error.stack?.replaceAll('\n', ' ')}`)
    process.exit(1)
  }
  for (const loop of [push(), work(), work(), work()]) loop.catch(failed)
}
