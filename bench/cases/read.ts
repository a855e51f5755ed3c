/**
 * Reads a whole topic, batches of the default size: record headers only, and keys, values and timestamps. The limits walk
 * memory that they have seen before, so these do as well: the first pass, which checks every batch once, is the warm-up.
 * `first` is that pass: an engine that was just opened maps the log, meets its pages and checks each CRC. Main thread.
 */
import { Millrace, type ReadBatch } from '../../client/index.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, ROUND_BYTES } from '../limits/all.ts'
import { KEPT } from '../limits/walk.ts'
import { fillTopic, openEngine, TOPIC } from './engine.ts'

export const VALUE_BYTES = 100
export const RECORDS = Math.floor(ROUND_BYTES / (VALUE_BYTES + 10))

/** Batches that are read before a round. A forced collection takes the shapes of objects that are not alive, and code for them. */
const WARM_BATCHES = 16

export async function warmUp(engine: Millrace, readBatch: (batch: ReadBatch) => number = scanBatch): Promise<void> {
  let batches = 0
  for await (const batch of engine.reader({ topic: TOPIC, partitions: [0] })) {
    readBatch(batch)
    if (++batches === WARM_BATCHES) break
  }
}

/** Milliseconds to read `records` with `readBatch`, which returns the bytes of the values that it saw. */
export async function timeRead(
  engine: Millrace,
  records = RECORDS,
  readBatch: (batch: ReadBatch) => number = scanBatch,
): Promise<number> {
  let valueBytes = 0
  const start = performance.now()
  const reader = engine.reader({ topic: TOPIC, partitions: [0], to: { offset: records } })
  for await (const batch of reader) valueBytes += readBatch(batch)
  const ms = performance.now() - start
  if (valueBytes !== records * VALUE_BYTES) throw new Error(`read ${valueBytes} bytes of ${records * VALUE_BYTES}`)
  return ms
}

async function readSide(context: BenchContext, readBatch: (batch: ReadBatch) => number): Promise<Side> {
  const engine = await openEngine(context, 'read')
  await fillTopic(engine, { valueBytes: VALUE_BYTES, records: RECORDS })
  return { work: RECORDS, prepare: () => warmUp(engine, readBatch), round: () => timeRead(engine, RECORDS, readBatch) }
}

async function firstReadSide(context: BenchContext, readBatch: (batch: ReadBatch) => number): Promise<Side> {
  let engine = await openEngine(context, 'read-first')
  context.defer(() => engine.close())
  await fillTopic(engine, { valueBytes: VALUE_BYTES, records: RECORDS })
  return {
    work: RECORDS,
    async prepare() {
      await engine.close()
      engine = await Millrace.open(engine.directory)
    },
    round: () => timeRead(engine, RECORDS, readBatch),
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

export function readRecords(batch: ReadBatch): number {
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

type MakeSide = (context: BenchContext, readBatch: (batch: ReadBatch) => number) => Promise<Side>

const read = (
  name: string,
  limit: 'walk' | 'views',
  readBatch: (batch: ReadBatch) => number,
  makeSide: MakeSide,
  bar?: number,
): BenchCase => ({
  name,
  unit: 'records/s',
  ...(bar === undefined ? {} : { bar }),
  limitName: LIMITS[limit].name,
  run: async context => context.compareRates(await makeSide(context, readBatch), LIMITS[limit].side(context)),
})

export const readCases: BenchCase[] = [
  read('read/scan', 'walk', scanBatch, readSide, 0.6),
  read('read/scan/first', 'walk', scanBatch, firstReadSide),
  read('read/records', 'views', readRecords, readSide, 0.6),
]
