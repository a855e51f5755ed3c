/** Takes in a topic of which folders lie in the directory, unless that was done. The failpoints of the environment end it. */
import { writeSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'

const { directory, topic } = JSON.parse(process.argv[2] ?? '{}') as AdoptingPlan

export interface AdoptingPlan {
  readonly directory: string
  readonly topic: string
}

await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
const topics = await engine.admin.listTopics()
if (!topics.includes(topic)) await engine.admin.adoptTopic({ topic, config: { 'retention.ms': -1 } })
writeSync(1, `${topics.includes(topic) ? 'there' : 'adopted'}\n`)
