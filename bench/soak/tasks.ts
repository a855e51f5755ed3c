/**
 * What goes on at the same time in a soak: one writer, readers at the head and at the tail, look-ups. Each checks what it sees
 * against the model and ends when the run's signal says so. Main thread.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConsumedRecord, isMillraceError, type Millrace } from '../../client/index.ts'
import { Random } from '../../engine/base/random.ts'
import { FIRST_TIMESTAMP, type Model } from './model.ts'

export const FLOW = { topic: 'flow', partitions: 4 } as const
export const TABLE = { topic: 'table', partitions: 2 } as const

export interface Counts {
  appended: number
  tail: number
  head: number
  passes: number
  table: number
  tablePasses: number
  lookups: number
  /** Readers that retention overtook, and began anew. */
  overtaken: number
  /** Records that retention and compaction had taken away at the end. */
  removed: number
  compacted: number
}

export interface Run {
  readonly engine: Millrace
  readonly flow: Model
  readonly table: Model
  readonly counts: Counts
  readonly signal: AbortSignal
  readonly seed: number
  /** Offset of the last record of each key, by partition. */
  readonly lastOfKey: Map<number, number>[]
  /** @throws always: what did not agree with the model */
  disagree(what: string): never
}

/** A burst, and how long the writer rests after it: a few MB/s, so that an hour turns the log over hundreds of times. */
const BURST_RECORDS = 1_000
const REST_MS = 10
/** Between two passes of a reader, else reading would be all that is done. */
const PAUSE_MS = 250
const LOOKUP_PAUSE_MS = 20
const LOOKUPS_AT_ONCE = 20

export async function write({ engine, flow, table, counts, signal, lastOfKey }: Run): Promise<void> {
  await using producer = await engine.producer()
  const ends = { flow: new Array<number>(FLOW.partitions).fill(0), table: new Array<number>(TABLE.partitions).fill(0) }
  const appenders = { flow: [] as Appender[], table: [] as Appender[] }
  for (let i = 0; i < FLOW.partitions; i++) appenders.flow.push(await producer.appender(FLOW.topic, i))
  for (let i = 0; i < TABLE.partitions; i++) appenders.table.push(await producer.appender(TABLE.topic, i))
  const append = async (name: 'flow' | 'table', model: Model, partition: number): Promise<number> => {
    const offset = ends[name][partition] as number
    const { value, key, timestamp } = model.recordAt(partition, offset)
    while (!(appenders[name][partition] as Appender).tryAppend(value, key, timestamp)) await producer.ready()
    ends[name][partition] = offset + 1
    counts.appended += 1
    return offset
  }
  for (let burst = 0; !signal.aborted; burst++) {
    const keyed: [partition: number, offset: number][] = []
    for (let i = 0; i < BURST_RECORDS; i++) {
      await append('flow', flow, i % FLOW.partitions)
      if (i % 4 === 0) keyed.push([burst % TABLE.partitions, await append('table', table, burst % TABLE.partitions)])
    }
    await producer.flush()
    // Once they are acknowledged a reader that begins must find them, or later ones of the same key.
    for (const [partition, offset] of keyed) lastOfKey[partition]?.set(table.keyAt(partition, offset), offset)
    await sleep(REST_MS)
  }
}

type Appender = Awaited<ReturnType<Awaited<ReturnType<Millrace['producer']>>['appender']>>

/** Follows the tail from the first record on: every offset once, in order. */
export async function followTail(run: Run): Promise<void> {
  const next = new Array<number>(FLOW.partitions).fill(0)
  const reader = run.engine.reader({ topic: FLOW.topic, to: 'never', signal: run.signal })
  for await (const record of reader.records()) {
    run.counts.tail += 1
    checkNext(run, 'tail', next, record)
  }
}

/** Reads everything that is there, from the log start on, again and again. Retention may overtake it. */
export async function readHead(run: Run): Promise<void> {
  while (!run.signal.aborted) {
    const next: (number | undefined)[] = []
    try {
      for await (const record of run.engine.reader({ topic: FLOW.topic, signal: run.signal }).records()) {
        run.counts.head += 1
        checkNext(run, 'head', next, record)
      }
      run.counts.passes += 1
    } catch (error) {
      if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
      run.counts.overtaken += 1
    }
    await sleep(PAUSE_MS)
  }
}

function checkNext(run: Run, who: string, next: (number | undefined)[], record: ConsumedRecord): void {
  const { partition, offset } = record
  const expected = next[partition]
  if (expected !== undefined && offset !== expected) {
    run.disagree(`${who}: partition ${partition} goes on at ${offset} instead of ${expected}`)
  }
  next[partition] = offset + 1
  const fault = run.flow.fault(record)
  if (fault !== undefined) run.disagree(`${who}: record ${offset} of partition ${partition}: ${fault}`)
}

/** Reads the compacted topic: no record is another than was appended, and the latest of each key is there. */
export async function readTable(run: Run): Promise<void> {
  while (!run.signal.aborted) {
    const wanted = run.lastOfKey.map(keys => new Map(keys)) // as of before the pass
    const seen = wanted.map(() => new Map<number, number>())
    const next = new Array<number>(TABLE.partitions).fill(0)
    for await (const record of run.engine.reader({ topic: TABLE.topic, signal: run.signal }).records()) {
      const { partition, offset } = record
      run.counts.table += 1
      const fault = offset < (next[partition] as number) ? 'out of order' : run.table.fault(record)
      if (fault !== undefined) run.disagree(`table: record ${offset} of partition ${partition}: ${fault}`)
      next[partition] = offset + 1
      seen[partition]?.set(run.table.keyAt(partition, offset), offset)
    }
    if (run.signal.aborted) return // the pass was cut short
    checkKeys(run, wanted, seen)
    run.counts.tablePasses += 1
    await sleep(PAUSE_MS)
  }
}

function checkKeys(run: Run, wanted: readonly Map<number, number>[], seen: readonly Map<number, number>[]): void {
  for (const [partition, keys] of wanted.entries()) {
    for (const [key, offset] of keys) {
      const last = seen[partition]?.get(key) ?? -1
      if (last < offset) run.disagree(`table: key ${key} of partition ${partition} ends at ${last}, not at ${offset}`)
    }
  }
}

/** By offset and by timestamp, anywhere in what is there. */
export async function lookUp(run: Run): Promise<void> {
  const random = new Random(run.seed)
  using lookup = await run.engine.lookup(FLOW.topic)
  while (!run.signal.aborted) {
    for (let i = 0; i < LOOKUPS_AT_ONCE; i++) {
      const partition = random.below(FLOW.partitions)
      const start = lookup.earliest(partition)
      const end = lookup.latest(partition)
      if (end === start) continue
      const offset = random.between(start, end - 1)
      // Timestamps are offsets, so both look-ups name one record.
      const record =
        i % 2 === 0 ? byOffset(run, lookup, partition, offset) : lookup.byTimestamp(partition, FIRST_TIMESTAMP + offset)
      if (record === undefined) continue
      run.counts.lookups += 1
      const isThere = record.offset === offset || lookup.earliest(partition) > offset // it was removed meanwhile
      const fault = isThere ? run.flow.fault(record) : `found at ${record.offset}`
      if (fault !== undefined) run.disagree(`look-up of ${offset} in partition ${partition}: ${fault}`)
    }
    await sleep(LOOKUP_PAUSE_MS)
  }
}

function byOffset(run: Run, lookup: Lookup, partition: number, offset: number): ConsumedRecord | undefined {
  try {
    const record = lookup.byOffset(partition, offset)
    return record ?? run.disagree(`look-up of ${offset} in partition ${partition}: nothing below the high watermark`)
  } catch (error) {
    if (isMillraceError(error, 'OFFSET_OUT_OF_RANGE') && lookup.earliest(partition) > offset) return undefined
    throw error
  }
}

type Lookup = Awaited<ReturnType<Millrace['lookup']>>
