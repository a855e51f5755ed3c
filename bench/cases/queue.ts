/**
 * Jobs of one partition taken and acknowledged in batches, records read and one promise for each job. An acknowledgement is
 * answered after its transaction; beside it stands what as many transactions take that do nothing else. Main thread.
 */
import type { Millrace } from '../../client/index.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { transactionLimit } from '../limits/transactions.ts'
import { fillTopic, openEngine, TOPIC } from './engine.ts'

const VALUE_BYTES = 100
const BATCH = 1_000
const RECORDS = 200_000
/** Batches whose acknowledgement is waited for while the next is taken. */
const UNDER_WAY = 4

async function queueSide(context: BenchContext): Promise<Side> {
  const engine: Millrace = await openEngine(context, 'queue')
  await fillTopic(engine, { valueBytes: VALUE_BYTES, records: RECORDS })
  let groups = 0
  return {
    work: RECORDS,
    /** Every round is that of another share group, which has everything still to do. */
    async round() {
      const queue = engine.queue(TOPIC, { group: `round ${groups++}`, recordLocksMax: BATCH * (UNDER_WAY + 1) })
      await queue.open()
      const start = performance.now()
      let done = 0
      const underWay: Promise<unknown>[] = []
      for (let jobs = await queue.take(BATCH); jobs.length > 0; jobs = await queue.take(BATCH)) {
        underWay.push(Promise.all(jobs.map(job => job.ack())))
        done += jobs.length
        if (underWay.length === UNDER_WAY) await underWay.shift()
      }
      await Promise.all(underWay)
      const ms = performance.now() - start
      if (done !== RECORDS) throw new Error(`${done} of ${RECORDS} jobs`)
      await queue.close()
      return ms
    },
  }
}

export const queueCases: BenchCase[] = [
  {
    name: 'queue/ack',
    unit: 'records/s',
    bar: 0.3,
    limitName: `a transaction for each ${BATCH.toLocaleString('en-US')}`,
    async run(context) {
      const limit = transactionLimit(context, RECORDS / BATCH, BATCH)
      return context.compareRates(await queueSide(context), limit)
    },
  },
]
