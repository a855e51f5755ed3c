/** Appends batches that carry a producer's numbers, from a given one on; says how far they are acknowledged. Failpoints end it. */
import { writeSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'
import { encodeBatch } from '../../../engine/format/index.ts'

export interface NumberingPlan {
  readonly directory: string
  readonly topic: string
  /** Sequence of the first record. */
  readonly from: number
  readonly to: number
}

const { directory, topic, from, to } = JSON.parse(process.argv[2] ?? '{}') as NumberingPlan
/** Records of a batch, and batches that are under way at once. */
const RECORDS = 3
const UNDER_WAY = 5

const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1, checkpointMs: 30 })
const producer = await engine.producer()
const appender = await producer.appender(topic, 0)
for (let sequence = from; sequence < to; ) {
  for (let count = 0; count < UNDER_WAY && sequence < to; count++, sequence += RECORDS) {
    const records = Array.from({ length: RECORDS }, (_, i) => ({
      timestamp: 1,
      value: Buffer.from(`${sequence + i}`.padEnd(400)),
    }))
    const batch = encodeBatch(records, { producerId: 77, producerEpoch: 2, baseSequence: sequence })
    while (!appender.tryAppendBatch(batch)) await producer.ready()
  }
  await producer.flush()
  writeSync(1, `acked ${sequence}\n`)
}
await engine.close()
writeSync(1, 'closed\n')
