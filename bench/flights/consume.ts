/** Reads the whole topic and checks every record against the flight that it was made from. Main thread. */

import { Progress, type ProgressStream } from '../../client/cli/progress.ts'
import type { Checks } from './checks.ts'
import { addFlight, emptyTotals, sameTotals, type Totals, totalsOf } from './expected.ts'
import { decodeAndCompare, type Subject } from './subject.ts'

export interface Consumed {
  readonly ms: number
  readonly records: number
  /** Per airport of origin, from the decoded records. */
  readonly totals: Totals
}

/** Reads the whole topic and checks every record. */
export async function consumeAll(
  subject: Subject,
  checks: Checks,
  stream: ProgressStream = process.stderr,
): Promise<Consumed> {
  const { engine, topic, flights, layout } = subject
  const totals = emptyTotals(flights.airports.length)
  const next = layout.map(() => 0)
  const airportOf = new Map(flights.airports.map((airport, code) => [airport, code]))
  let records = 0
  let outOfOrder = 0
  let different = 0
  const progress = new Progress('consuming', flights.count, stream)
  const start = performance.now()
  for await (const batch of engine.reader({ topic })) {
    for (const record of batch) {
      if (record.offset !== next[batch.partition]) outOfOrder += 1
      next[batch.partition] = record.offset + 1
      const flight = decodeAndCompare(subject, batch.partition, record)
      if (flight === undefined) different += 1
      else addFlight(totals, airportOf.get(flight.origin) as number, flight.delay)
      records += 1
    }
    progress.update(records)
  }
  const ms = performance.now() - start
  progress.finish()
  checks.check('every flight was read exactly once', records === flights.count, `${records} of ${flights.count}`)
  checks.check('offsets of each partition are in order without a gap', outOfOrder === 0, `${outOfOrder} are not`)
  checks.check('key, time and fields of every record are those of its flight', different === 0, `${different} differ`)
  const lengths = layout.every((rows, partition) => rows.length === next[partition])
  checks.check('every partition has as many records as keys were hashed to it', lengths, next.join(', '))
  const same = sameTotals(totals, totalsOf(flights))
  checks.check('flights and delays of every airport add up', same, `${flights.airports.length} airports`)
  return { ms, records, totals }
}
