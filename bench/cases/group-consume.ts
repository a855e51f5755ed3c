/**
 * Reads a whole topic as the one member of a group, keys, values and timestamps of every record, with auto-commit, beside
 * the same without a group. Main thread.
 */
import type { Millrace } from '../../client/index.ts'
import type { BenchCase } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { fillTopic, openEngine, TOPIC } from './engine.ts'
import { RECORDS, readRecords, timeRead, VALUE_BYTES, warmUp } from './read.ts'

let groups = 0

/** Milliseconds from the first batch that is asked for to the last commit; joining comes before. */
async function timeGroup(engine: Millrace): Promise<number> {
  const consumer = engine.consumer({ groupId: `bench-${groups++}`, autoOffsetReset: 'earliest' })
  const assigned = new Promise<unknown>(resolve => {
    void consumer.subscribe(TOPIC, { onAssigned: resolve })
  })
  await assigned
  let valueBytes = 0
  const start = performance.now()
  for await (const batch of consumer) {
    valueBytes += readRecords(batch)
    if (batch.nextOffset < RECORDS) continue
    await consumer.commit(batch)
    break
  }
  const ms = performance.now() - start
  await consumer.close()
  if (valueBytes !== RECORDS * VALUE_BYTES) throw new Error(`read ${valueBytes} bytes of ${RECORDS * VALUE_BYTES}`)
  return ms
}

export const groupConsumeCases: BenchCase[] = [
  {
    name: 'group/consume',
    unit: 'records/s',
    bar: 0.8,
    limitName: 'read/records',
    async run(context) {
      const engine = await openEngine(context, 'group')
      await fillTopic(engine, { valueBytes: VALUE_BYTES, records: RECORDS })
      const prepare = (): Promise<void> => warmUp(engine, readRecords)
      const group: Side = { work: RECORDS, prepare, round: () => timeGroup(engine) }
      const alone: Side = { work: RECORDS, prepare, round: () => timeRead(engine, RECORDS, readRecords) }
      return context.compareRates(group, alone)
    },
  },
]
