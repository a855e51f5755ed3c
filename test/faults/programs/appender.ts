/**
 * Appends until it is killed: several producers in two threads, with `send` and with the synchronous hot path, to plain and
 * durable topics of small segments, while records are deleted, topics come and go, and a reader follows the tail. Every
 * acknowledgement is logged outside the engine before the next step is taken.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Millrace } from '../../../client/index.ts'
import { Random } from '../../../engine/base/random.ts'
import { AckLog } from '../support/ack-log.ts'
import { streamOf } from '../support/records.ts'
import { appendHot, pause, Streams, sendStream } from './streams.ts'
import { TOPICS } from './topics.ts'

export interface AppendPlan {
  readonly directory: string
  readonly ackPath: string
  readonly run: number
  readonly seed: number
  /** Close the engine after so many milliseconds; default: append until killed. */
  readonly closeAfterMs?: number
  /** Only these topics, default all. */
  readonly topics?: readonly string[]
  /** Without the loops that delete. */
  readonly keepAll?: boolean
}

const plan = JSON.parse(process.argv[2] as string) as AppendPlan
const random = new Random(plan.seed)
const log = new AckLog(plan.ackPath)
const names = plan.topics ?? TOPICS.map(({ topic }) => topic)
let stopping = false

const engine = await Millrace.open(
  plan.directory,
  { writers: 2, jobThreads: 1, checkpointMs: 40, retentionCheckMs: 60_000 },
  {
    partitionFailed: ({ topic, partition }, error) =>
      log.write(`event partition-failed ${topic}/${partition} ${error.message}`),
    writerRestarted: (writer, error) => log.write(`event writer-restarted ${writer} ${error.message}`),
    warning: error => log.write(`event warning ${error.message}`),
  },
)
const there = await engine.admin.listTopics()
for (const { topic, partitions, config } of TOPICS) {
  if (!names.includes(topic)) continue
  if (!there.includes(topic)) {
    await engine.admin.createTopic({ topic, partitions, config })
    log.write(`created ${topic}`)
  }
  for (const { partition, highWatermark } of (await engine.admin.describeTopic(topic)).partitions) {
    log.write(`recovered ${topic} ${partition} ${highWatermark}`)
  }
}
console.log('ready')

const loops: Promise<unknown>[] = []
const targets = TOPICS.filter(({ topic }) => names.includes(topic))
const streams = new Streams(log, plan.run)
for (const [index, compression] of (['none', 'lz4', 'gzip'] as const).entries()) {
  const producer = await engine.producer({ batchBytes: 16_384, compression })
  const own = new Random(random.u32())
  loops.push(sendStream(producer, streams, `send-${index}`, targets, own, () => stopping))
}
const hot = await engine.producer({ batchBytes: 8_192, bufferBytes: 262_144 })
loops.push(appendHot(hot, streams, 'hot', targets, new Random(random.u32()), () => stopping))
// Deletion may overtake a reader, so the topic whose records are deleted is not followed.
for (const { topic } of targets) if (topic !== 'trimmed') loops.push(follow(topic))
if (plan.keepAll !== true) loops.push(trim(), comeAndGo())
const thread = new Worker(new URL('./thread-producer.ts', import.meta.url))
const handle = engine.threadHandle()
thread.postMessage({ handle, ackPath: plan.ackPath, run: plan.run, seed: random.u32(), names, mode: 'send' }, [
  handle.port,
])
thread.once('error', error => fail(error))
for (const loop of loops) loop.catch(fail)

if (plan.closeAfterMs !== undefined) {
  await pause(plan.closeAfterMs)
  stopping = true
  thread.postMessage('stop')
  await once(thread, 'exit')
  await Promise.all(loops)
  await engine.close()
  console.log('closed')
}

function fail(error: unknown): void {
  log.write(
    `event fatal ${error instanceof Error ? (error.stack ?? error.message).replaceAll('\n', ' ') : String(error)}`,
  )
  process.exit(1)
}

/** Logs what a reader at the tail was shown: a crash must not take it away. */
async function follow(topic: string): Promise<void> {
  const abort = new AbortController()
  const reader = engine.reader({ topic, from: 'latest', to: 'never', signal: abort.signal })
  const timer = setInterval(() => stopping && abort.abort(), 20)
  for await (const batch of reader) log.write(`end ${topic} ${batch.partition} ${batch.nextOffset}`)
  clearInterval(timer)
}

/** Deletes the older half of a topic again and again. */
async function trim(): Promise<void> {
  const topic = 'trimmed'
  if (!names.includes(topic)) return
  while (!stopping) {
    await pause(random.between(5, 40))
    const { logStartOffset, highWatermark } = (await engine.admin.describeTopic(topic)).partitions[0] as {
      logStartOffset: number
      highWatermark: number
    }
    const before = Math.floor((logStartOffset + highWatermark) / 2)
    if (before <= logStartOffset) continue
    log.write(`trim ${topic} 0 ${before}`)
    await engine.admin.deleteRecords(topic, 0, before)
    log.write(`trimmed ${topic} 0 ${before}`)
  }
}

/** Creates topics and deletes some of them, with records in them. */
async function comeAndGo(): Promise<void> {
  const producer = await engine.producer({ batchBytes: 4_096, bufferBytes: 65_536 })
  for (let count = 0; !stopping; count++) {
    const topic = `temp-${plan.run}-${count}`
    await engine.admin.createTopic({ topic, partitions: 2, config: { 'segment.bytes': 16_384 } })
    log.write(`created ${topic}`)
    const stream = streamOf({ run: plan.run, producer: 'temp', topic, partition: count % 2 })
    await streams.send(producer, stream, topic, count % 2, 20)
    await pause(random.between(5, 60))
    log.write(`dropping ${topic}`)
    await engine.admin.deleteTopic(topic)
    log.write(`dropped ${topic}`)
  }
  await producer.close()
}
