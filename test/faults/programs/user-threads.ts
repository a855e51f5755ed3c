/**
 * Threads of a service that die while they append: terminated in the middle of it, or gone without a word. What they held is taken back
 * (their place, their channels, their slabs), others go on, and the engine closes as if nothing had been.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { Millrace } from '../../../client/index.ts'
import { Random } from '../../../engine/base/random.ts'
import { AckLog } from '../support/ack-log.ts'
import { pause, Streams, sendStream } from './streams.ts'
import type { ThreadStart } from './thread-producer.ts'
import { TOPICS } from './topics.ts'

export interface UserThreadsPlan {
  readonly directory: string
  readonly ackPath: string
  readonly seed: number
  readonly threads: number
}

const RECLAIM_MS = 5_000

const plan = JSON.parse(process.argv[2] as string) as UserThreadsPlan
const random = new Random(plan.seed)
const log = new AckLog(plan.ackPath)
const names = ['plain', 'durable']
const targets = TOPICS.filter(({ topic }) => names.includes(topic))
let stopping = false

/** Anonymous shared mappings of this process: the slabs of all producers. */
const slabMappings = (): number =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter(line => line.includes('/dev/zero')).length

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const endMs = performance.now() + RECLAIM_MS; !condition(); ) {
    assert.ok(performance.now() < endMs, what)
    await pause(5)
  }
}

const engine = await Millrace.open(plan.directory, { writers: 2, jobThreads: 1 })
for (const { topic, partitions, config } of targets) {
  await engine.admin.createTopic({ topic, partitions, config })
  log.write(`created ${topic}`)
}
const steady = sendStream(
  await engine.producer({ batchBytes: 16_384 }),
  new Streams(log, 0),
  'steady',
  targets,
  new Random(random.u32()),
  () => stopping,
)
const before = { producers: engine.statistics().producers, mappings: slabMappings() }

for (let number = 1; number <= plan.threads; number++) {
  const mode = random.pick(['send', 'hot', 'hot', 'quit'] as const)
  const worker = new Worker(new URL('./thread-producer.ts', import.meta.url))
  const exited = once(worker, 'exit')
  const handle = engine.threadHandle()
  const start: ThreadStart = { handle, ackPath: plan.ackPath, run: number, seed: random.u32(), names, mode }
  worker.postMessage(start, [handle.port])
  if (random.chance(0.85)) await Promise.race([once(worker, 'message'), exited])
  await pause(random.below(60))
  if (mode !== 'quit') await worker.terminate()
  await exited
  await until(
    () => engine.statistics().producers === before.producers,
    `${engine.statistics().producers} producers after a thread died (${mode})`,
  )
  await until(
    () => slabMappings() === before.mappings,
    `${slabMappings()} slab mappings, ${before.mappings} before (${mode})`,
  )
}
stopping = true
await steady
await engine.close()
assert.equal(slabMappings(), 0)
console.log('closed')
