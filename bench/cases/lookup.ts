/** Single records by offset and by timestamp out of a log of 1 GiB, random targets, to the record. Main thread. */
import type { Lookup, Millrace } from '../../client/index.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, LOOKUP } from '../limits/all.ts'
import { randomTargets } from '../limits/lookup.ts'
import { FIRST_TIMESTAMP } from '../limits/values.ts'
import { fillTopic, openEngine, TOPIC } from './engine.ts'

const RECORDS = Math.floor(LOOKUP.logBytes / (LOOKUP.valueBytes + 11))

/** The indexer lags behind the writer; it has this long to catch up with the log before the first round. */
const INDEX_WAIT_MS = 30_000
const INDEX_POLL_MS = 100

/** Finds the record number `record`; returns the offset of what it found. */
type Find = (lookup: Lookup, record: number) => number | undefined

async function lookupSide(context: BenchContext, find: Find): Promise<Side> {
  const engine = await openEngine(context, 'lookup')
  // A timestamp for every record, so that a timestamp leads to one record as an offset does.
  const { valueBytes, batchBytes } = LOOKUP
  await fillTopic(engine, { valueBytes, batchBytes, records: RECORDS, recordsPerMs: 1 })
  await indexed(engine)
  const lookup = await engine.lookup(TOPIC)
  const targets = randomTargets(RECORDS, LOOKUP.perRound)
  return {
    work: targets.length,
    round() {
      let found = 0
      const start = performance.now()
      for (let i = 0; i < targets.length; i++) {
        const target = targets[i] as number
        if (find(lookup, target) === target) found += 1
      }
      const ms = performance.now() - start
      if (found !== targets.length) throw new Error(`found ${found} of ${targets.length} records`)
      return ms
    },
  }
}

/** Waits until no entry is added any more. */
async function indexed(engine: Millrace): Promise<void> {
  let before = -1
  for (const end = performance.now() + INDEX_WAIT_MS; performance.now() < end; ) {
    const entries = (await engine.admin.describeTopic(TOPIC)).partitions[0]?.indexEntries ?? 0
    if (entries > 0 && entries === before) return
    before = entries
    await new Promise(resolve => setTimeout(resolve, INDEX_POLL_MS))
  }
  throw new Error(`the index still grows after ${INDEX_WAIT_MS} ms`)
}

const lookup = (name: string, find: Find): BenchCase => ({
  name,
  unit: 'lookups/s',
  bar: 0.4,
  limitName: LIMITS.lookup.name,
  run: async context => context.compareRates(await lookupSide(context, find), LIMITS.lookup.side(context)),
})

export const lookupCases: BenchCase[] = [
  lookup('lookup/offset', (api, record) => api.byOffset(0, record)?.offset),
  lookup('lookup/timestamp', (api, record) => api.byTimestamp(0, FIRST_TIMESTAMP + record)?.offset),
]
