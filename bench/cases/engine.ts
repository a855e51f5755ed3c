/** What the engine's cases share: an engine in a folder of its own, topics filled with the limits' values. Main thread. */
import { type Appender, Millrace, type Producer } from '../../client/index.ts'
import type { BenchContext } from '../harness/case.ts'
import { FIRST_TIMESTAMP, makeValues, VALUE_COUNT } from '../limits/values.ts'

export const TOPIC = 'bench'

/** The values' timestamps are of 2001: their age must not remove them while they are measured. */
export const KEEP = { 'retention.ms': -1 }

/** An engine in a fresh folder, closed when the case is over. */
export async function openEngine(context: BenchContext, name: string): Promise<Millrace> {
  const engine = await Millrace.open(context.freshDirectory(name))
  context.defer(() => engine.close())
  return engine
}

/** Appends with the hot path: on back-pressure it waits and tries the same record again. */
export async function appendRecords(
  producer: Producer,
  appender: Appender,
  values: readonly Uint8Array[],
  records: number,
  recordsPerMs: number,
): Promise<void> {
  for (let i = 0; i < records; i++) {
    const timestamp = FIRST_TIMESTAMP + Math.floor(i / recordsPerMs)
    while (!appender.tryAppend(values[i & (VALUE_COUNT - 1)] as Uint8Array, null, timestamp)) await producer.ready()
  }
}

export interface Filling {
  readonly valueBytes: number
  readonly records: number
  /** Default: the producer's own. */
  readonly batchBytes?: number
  /** 1 gives every record a timestamp of its own; default 1024. */
  readonly recordsPerMs?: number
}

/** Creates `TOPIC` with one partition, fills it and waits until all is acknowledged. */
export async function fillTopic(engine: Millrace, filling: Filling): Promise<void> {
  const { valueBytes, records, batchBytes, recordsPerMs = 1024 } = filling
  await engine.admin.createTopic({ topic: TOPIC, config: KEEP })
  const producer = await engine.producer(batchBytes === undefined ? {} : { batchBytes })
  const appender = await producer.appender(TOPIC, 0)
  await appendRecords(producer, appender, makeValues(valueBytes), records, recordsPerMs)
  await producer.flush()
  await producer.close()
}
