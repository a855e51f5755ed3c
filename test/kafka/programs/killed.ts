/** Appends to a topic, which it creates the first time, until it is killed: says `ready` when some segments are full. */
import { writeSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'
import { message, SMALL } from '../support/kinds.ts'

const { directory, topic, from } = JSON.parse(process.argv[2] ?? '{}') as KilledPlan

export interface KilledPlan {
  readonly directory: string
  readonly topic: string
  /** Number of the first message. */
  readonly from: number
}

const ENOUGH = 300

const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1, checkpointMs: 20 })
if (!(await engine.admin.listTopics()).includes(topic))
  await engine.admin.createTopic({ topic, config: { ...SMALL, 'retention.ms': -1 } })
const producer = await engine.producer({ compression: 'lz4' })
for (let i = from; ; i++) {
  await producer.send({ topic, messages: [message(i)] })
  if (i === from + ENOUGH) writeSync(1, 'ready\n')
}
