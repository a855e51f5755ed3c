/**
 * Sends to one topic while its disk fails, and goes on: what is answered with an error is logged, and the next numbers are sent.
 * Ends when so many sends succeeded behind the last failure, when it was told `stop`, or when the time is over; then it closes
 * the engine. Nothing of it may hang, and no error may be without its type.
 */
import { createInterface } from 'node:readline'
import type { Worker } from 'node:worker_threads'
import { isMillraceError, Millrace } from '../../../client/index.ts'
import { Random } from '../../../engine/base/random.ts'
import { AckLog } from '../support/ack-log.ts'
import { streamOf } from '../support/records.ts'
import { pause, Streams } from './streams.ts'

export interface SendPlan {
  readonly directory: string
  readonly ackPath: string
  readonly run: number
  readonly seed: number
  readonly topic: string
  readonly partitions: number
  readonly config: Readonly<Record<string, string | number>>
  /** Ends after so many successes in a row since the last failure, of which there must have been `failures`. */
  readonly successes: number
  readonly failures: number
  /** Ends anyway after so long; default 10 s. */
  readonly longestMs?: number
  /** Senders side by side; default 4. */
  readonly senders?: number
  /** So many threads of the engine, drawn by chance, are terminated at random moments; failures may follow or not. */
  readonly terminations?: number
  /** Failpoints act in threads that start later as well, as that of a repair does. */
  readonly keepFailpoints?: boolean
}

/** Every thread of the engine that has begun to work: its pools do not survive one that dies while it starts. */
const threads = new Set<Worker>()
process.on('worker', worker => {
  worker.once('message', () => threads.add(worker))
  worker.once('exit', () => threads.delete(worker))
})

const plan = JSON.parse(process.argv[2] as string) as SendPlan
const log = new AckLog(plan.ackPath)
const random = new Random(plan.seed)
const endMs = performance.now() + (plan.longestMs ?? 10_000)
let failures = 0
let inARow = 0
let told = false
let terminations = 0
const done = (): boolean =>
  told ||
  performance.now() > endMs ||
  (failures >= plan.failures && inARow >= plan.successes && terminations >= (plan.terminations ?? 0))

createInterface({ input: process.stdin }).on('line', line => {
  if (line === 'stop') told = true
})

const engine = await Millrace.open(
  plan.directory,
  { writers: 1, jobThreads: 1, checkpointMs: 50 },
  {
    partitionFailed: ({ topic, partition }, error) =>
      log.write(`event partition-failed ${topic}/${partition} ${error.message}`),
    recovered: ({ topic, partition }, reports) =>
      log.write(`event recovered ${topic}/${partition} ${JSON.stringify(reports)}`),
    writerRestarted: (writer, error) => log.write(`event writer-restarted ${writer} ${error.code}`),
    warning: error => log.write(`event warning ${error.message}`),
  },
)
// Threads that take the place of others copy this process's environment: what dies at a failpoint does so once.
if (plan.keepFailpoints !== true) delete process.env['MILLRACE_FAILPOINTS']
if (!(await engine.admin.listTopics()).includes(plan.topic)) {
  await engine.admin.createTopic({ topic: plan.topic, partitions: plan.partitions, config: plan.config })
  log.write(`created ${plan.topic}`)
}
for (const { partition, highWatermark } of (await engine.admin.describeTopic(plan.topic)).partitions) {
  log.write(`recovered ${plan.topic} ${partition} ${highWatermark}`)
}
console.log('ready')

const streams = new Streams(log, plan.run)
const senders = Array.from({ length: plan.senders ?? 4 }, (_, index) => send(`send-${index}`, new Random(random.u32())))
const terminating = terminate()
const abort = new AbortController()
const following = follow()
await Promise.all(senders)
await terminating
abort.abort()
await following
try {
  await engine.close()
  console.log('closed')
} catch (error) {
  if (!isMillraceError(error)) throw error
  console.log(`close failed: ${error.message}`)
}
process.stdin.destroy()

async function send(name: string, own: Random): Promise<void> {
  const producer = await engine.producer({ batchBytes: 8_192, bufferBytes: 65_536, deliveryTimeoutMs: 8_000 })
  while (!done()) {
    const partition = own.below(plan.partitions)
    const stream = streamOf({ run: plan.run, producer: name, topic: plan.topic, partition })
    const code = await streams.send(producer, stream, plan.topic, partition, own.between(1, 12))
    if (code === undefined) inARow += 1
    else {
      failures += 1
      inARow = 0
      await pause(5)
    }
  }
  await producer.close()
}

async function terminate(): Promise<void> {
  while (terminations < (plan.terminations ?? 0) && performance.now() < endMs) {
    await pause(random.between(1, 250))
    const victim = [...threads][random.below(threads.size)]
    if (victim === undefined) continue
    inARow = 0
    await victim.terminate()
    terminations += 1
    log.write(`event terminated ${victim.threadId}`)
  }
  inARow = 0
}

/** A reader at the tail must not be shown what could still be lost; that it finds the partition down is no fault. */
async function follow(): Promise<void> {
  while (!abort.signal.aborted) {
    try {
      const reader = engine.reader({ topic: plan.topic, from: 'latest', to: 'never', signal: abort.signal })
      for await (const batch of reader) log.write(`end ${plan.topic} ${batch.partition} ${batch.nextOffset}`)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      log.write(`event reader ${error.message}`)
      await pause(10)
    }
  }
}
