/**
 * A service with members of one group: handles what is there record by record and says when a commit was acknowledged,
 * while members come and go. Runs until it is killed.
 */
import { writeSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'

export interface ConsumingPlan {
  readonly directory: string
  readonly topic: string
  readonly groupId: string
}

const COMMIT_EVERY = 5
/** So long a member stays. */
const STAY_MS = 40

const { directory, topic, groupId } = JSON.parse(process.argv[2] ?? '{}') as ConsumingPlan
const say = (line: string): void => void writeSync(1, `${line}\n`)

const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
say('open')

async function stay(stayMs: number): Promise<void> {
  const consumer = engine.consumer({ groupId, autoOffsetReset: 'earliest', autoCommit: false, maxBytes: 2_048 })
  await consumer.subscribe(topic, {
    onAssigned: partitions => say(`assigned ${partitions.length}`),
    onRevoked: () => say('revoked'),
  })
  const timer = setTimeout(() => consumer.stop(), stayMs)
  for await (const { partition, offset } of consumer.records()) {
    say(`handled ${partition} ${offset}`)
    if (offset % COMMIT_EVERY !== 0) continue
    await consumer.commit({ topic, partition, offset: offset + 1 })
    say(`committed ${partition} ${offset + 1}`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  clearTimeout(timer)
  await consumer.close()
}

const comeAndGo = async (): Promise<never> => {
  for (;;) await stay(STAY_MS)
}
await Promise.all([stay(1_000_000), comeAndGo(), comeAndGo()])
