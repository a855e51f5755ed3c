/** Sends numbered records with an idempotent producer, whatever happens to the writer; says how often that died, and when all are sent. */
import { writeSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'

export interface IdempotentPlan {
  readonly directory: string
  readonly topics: readonly string[]
  readonly records: number
}

const say = (line: string): void => void writeSync(1, `${line}\n`)

const { directory, topics, records } = JSON.parse(process.argv[2] ?? '{}') as IdempotentPlan
const engine = await Millrace.open(
  directory,
  { writers: 1, jobThreads: 1, checkpointMs: 30 },
  { writerRestarted: () => say('restarted'), partitionFailed: (_, error) => say(`failed ${error.message}`) },
)
const producer = await engine.producer({ idempotent: true, batchBytes: 1_024, bufferBytes: 65_536 })
const sent: Promise<unknown>[] = []
for (let number = 0; number < records; number++) {
  for (const topic of topics) {
    const message = { value: `${number}`.padEnd(100), partition: number % 2 }
    sent.push(producer.send({ topic, messages: [message] }))
  }
  if (number % 8 === 0) await new Promise(resolve => setImmediate(resolve))
}
await Promise.all(sent)
say('sent')
process.kill(process.pid, 'SIGKILL')
