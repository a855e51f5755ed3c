/**
 * Reads a whole topic, batches of the default size: record headers only, and keys, values and timestamps. The limits check
 * no checksums, so the cases beside them do not either; `checked` does, as readers do by default. Main thread.
 */
import type { ReadBatch } from '../../client/index.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, ROUND_BYTES } from '../limits/all.ts'
import { KEPT } from '../limits/walk.ts'
import { fillTopic, openEngine, TOPIC } from './engine.ts'

const VALUE_BYTES = 100
const RECORDS = Math.floor(ROUND_BYTES / (VALUE_BYTES + 10))

/**
 * Reads every batch with `readBatch`, which returns the bytes of the values that it saw.
 * @param checkCrc whether each round, which is a new reader, checks every batch; the limits do not
 */
async function readSide(
  context: BenchContext,
  readBatch: (batch: ReadBatch) => number,
  checkCrc: boolean,
): Promise<Side> {
  const engine = await openEngine(context, 'read')
  await fillTopic(engine, { valueBytes: VALUE_BYTES, records: RECORDS })
  return {
    work: RECORDS,
    async round() {
      let valueBytes = 0
      const start = performance.now()
      for await (const batch of engine.reader({ topic: TOPIC, partitions: [0], checkCrc })) {
        valueBytes += readBatch(batch)
      }
      const ms = performance.now() - start
      if (valueBytes !== RECORDS * VALUE_BYTES) throw new Error(`read ${valueBytes} bytes of ${RECORDS * VALUE_BYTES}`)
      return ms
    },
  }
}

/** What the record headers say, without an object. */
function scanBatch(batch: ReadBatch): number {
  const cursor = batch.cursor()
  let valueBytes = 0
  while (cursor.next()) valueBytes += cursor.valueBytes
  return valueBytes
}

/** Views that stay a while, as in the limit. */
const kept: (Uint8Array | null)[] = new Array(KEPT).fill(null)

function readRecords(batch: ReadBatch): number {
  let valueBytes = 0
  let timestamps = 0
  let keys = 0
  let i = 0
  for (const record of batch) {
    const { value, key } = record
    timestamps += record.timestamp
    if (key !== null) keys += 1
    if (value !== null) valueBytes += value.length
    kept[i++ & (KEPT - 1)] = value
  }
  if (keys > 0 || timestamps <= 0) throw new Error('keys or timestamps are not what was written')
  return valueBytes
}

function read(
  name: string,
  limit: 'walk' | 'views',
  readBatch: (batch: ReadBatch) => number,
  checked?: 'checked',
): BenchCase {
  return {
    name: checked === undefined ? name : `${name}/checked`,
    unit: 'records/s',
    ...(checked === undefined ? { bar: 0.6 } : {}),
    limitName: LIMITS[limit].name,
    async run(context) {
      const side = await readSide(context, readBatch, checked !== undefined)
      return context.compareRates(side, LIMITS[limit].side(context))
    },
  }
}

export const readCases: BenchCase[] = [
  read('read/scan', 'walk', scanBatch),
  read('read/scan', 'walk', scanBatch, 'checked'),
  read('read/records', 'views', readRecords),
  read('read/records', 'views', readRecords, 'checked'),
]
