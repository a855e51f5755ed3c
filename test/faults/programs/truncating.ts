/** Cuts a log, or deletes its oldest records; says when it is done. The failpoints of the environment end it before. */
import { writeSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'

export interface TruncatingPlan {
  readonly directory: string
  readonly topic: string
  readonly what: 'truncate' | 'delete-records'
  readonly offset: number
}

const { directory, topic, what, offset } = JSON.parse(process.argv[2] ?? '{}') as TruncatingPlan
const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1, checkpointMs: 20 })
if (what === 'truncate') await engine.admin.truncate(topic, 0, { offset })
else await engine.admin.deleteRecords(topic, 0, offset)
writeSync(1, 'done\n')
// An acknowledged record behind the cut must survive what comes next.
const producer = await engine.producer()
await producer.send({ topic, messages: [{ value: 'behind' }] })
writeSync(1, 'sent\n')
process.kill(process.pid, 'SIGKILL')
