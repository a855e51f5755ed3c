/** Appends records with keys and compacts in between; says how many are acknowledged. The failpoints of the environment end it. */
import { writeSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'

const { directory, topic, from } = JSON.parse(process.argv[2] ?? '{}') as CompactingPlan
const STRIDE = 300
const ROUNDS = 8

export interface CompactingPlan {
  readonly directory: string
  readonly topic: string
  /** Number of the first record; record `i` has the key `i % 50`. */
  readonly from: number
}

const say = (line: string): void => void writeSync(1, `${line}\n`)

const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1, checkpointMs: 30 })
const producer = await engine.producer({ batchBytes: 2_048 })
let number = from
for (let round = 0; round < ROUNDS; round++) {
  for (let i = 0; i < STRIDE; i++) {
    const message = { key: `${number % 50}`, value: `${number}`.padEnd(60), partition: 0 }
    number += 1
    const sent = producer.send({ topic, messages: [message] })
    if (i % 10 !== 9) continue
    await sent
    say(`acked ${number}`)
  }
  const { removedRecords } = await engine.admin.applyCompaction({ force: true })
  say(`removed ${removedRecords}`)
}
await producer.close()
await engine.close()
say('closed')
