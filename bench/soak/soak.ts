/**
 * A long run of one engine: appends, readers at head and tail, retention, compaction and look-ups at the same time, every record
 * checked against a model, memory and descriptors watched. At the end the engine is closed, opened again and read once more.
 * Main thread.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Millrace } from '../../client/index.ts'
import { Model } from './model.ts'
import { type Counts, FLOW, followTail, lookUp, type Run, readHead, readTable, TABLE, write } from './tasks.ts'
import { type Flatness, flatness, readVitals, type Vitals } from './vitals.ts'

export interface SoakOptions {
  readonly directory: string
  readonly seconds: number
  readonly seed: number
  /** Models to check against; default those that are appended. */
  readonly expected?: { readonly flow: Model; readonly table: Model }
  /** Told every now and then. */
  readonly progress?: (seconds: number, counts: Counts, vitals: Vitals) => void
}

export interface SoakReport {
  readonly seconds: number
  readonly counts: Counts
  readonly flatness: Flatness
  /** Warnings, stopped partitions, restarted threads, and what a start found that was not sound. */
  readonly events: readonly string[]
  /** The first thing that did not agree or failed; undefined when all is well. */
  readonly fault: string | undefined
}

const MIB = 1024 * 1024
const FLOW_CONFIG = { 'segment.bytes': MIB / 8, 'retention.bytes': MIB / 2, 'retention.ms': -1 }
const TABLE_CONFIG = { 'segment.bytes': MIB / 8, 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': 0.3 }
/** So often that a run of seconds meets them as well. */
const ENGINE = { retentionCheckMs: 500, cleanerBackoffMs: 500 }
const APPENDED_MIN = 24_000
const EXTRA_SECONDS = 30
const SAMPLES = 400
const SAMPLE_MS_MIN = 250

export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { directory, seed } = options
  const counts: Counts = {
    appended: 0,
    tail: 0,
    head: 0,
    passes: 0,
    table: 0,
    tablePasses: 0,
    lookups: 0,
    overtaken: 0,
    removed: 0,
    compacted: 0,
  }
  const events: string[] = []
  const samples: Vitals[] = []
  const startMs = performance.now()
  let fault: string | undefined
  try {
    const engine = await openEngine(directory, events)
    try {
      await engine.admin.createTopic({ ...FLOW, config: FLOW_CONFIG })
      await engine.admin.createTopic({ ...TABLE, config: TABLE_CONFIG })
      await run(engine, options, counts, samples)
    } finally {
      await engine.close()
    }
    await readAgain(directory, seed, options, counts, events)
    fault = demandWork(counts)
  } catch (error) {
    fault = error instanceof Error ? error.message : String(error)
  }
  const flat = flatness(samples)
  fault ??= flat.fault ?? events[0]
  return { seconds: (performance.now() - startMs) / 1000, counts, flatness: flat, events, fault }
}

function openEngine(directory: string, events: string[]): Promise<Millrace> {
  return Millrace.open(directory, ENGINE, {
    warning: error => void events.push(`warning: ${error.message}`),
    partitionFailed: (_, error) => void events.push(`partition failed: ${error.message}`),
    writerRestarted: (_, error) => void events.push(`writer restarted: ${error.message}`),
    recovered: (_, reports) => void events.push(`recovered: ${JSON.stringify(reports)}`),
  })
}

/** All at once, until the time is over or one of them fails. */
async function run(engine: Millrace, options: SoakOptions, counts: Counts, samples: Vitals[]): Promise<void> {
  const stop = new AbortController()
  const { seconds } = options
  const lastOfKey = Array.from({ length: TABLE.partitions }, () => new Map<number, number>())
  const run = runOf(engine, options, counts, stop.signal, lastOfKey)
  const written = { ...run, flow: new Model(options.seed, false), table: new Model(options.seed, true) }
  const tasks = [write(written), followTail(run), readHead(run), readTable(run), lookUp(run)]
  const watch = watchVitals(options, counts, samples, stop.signal)
  try {
    // A task that ends before it is told to has failed: it throws.
    await Promise.race([timeIsOver(seconds, counts), Promise.all(tasks)])
  } finally {
    stop.abort()
    await Promise.allSettled([...tasks, watch])
  }
  await Promise.all(tasks) // what failed while they ended
}

/** After the time, and once enough was appended that retention and compaction have met some of it. */
async function timeIsOver(seconds: number, counts: Counts): Promise<void> {
  await sleep(seconds * 1000)
  for (let extra = 0; extra < EXTRA_SECONDS && counts.appended < APPENDED_MIN; extra++) await sleep(1000)
}

function runOf(
  engine: Millrace,
  { seed, expected }: SoakOptions,
  counts: Counts,
  signal: AbortSignal,
  lastOfKey: Map<number, number>[],
): Run {
  const models = expected ?? { flow: new Model(seed, false), table: new Model(seed, true) }
  const disagree = (what: string): never => {
    throw new Error(what)
  }
  return { engine, ...models, counts, signal, seed, lastOfKey, disagree }
}

async function watchVitals(
  { seconds, progress }: SoakOptions,
  counts: Counts,
  samples: Vitals[],
  signal: AbortSignal,
): Promise<void> {
  const everyMs = Math.max(SAMPLE_MS_MIN, (seconds * 1000) / SAMPLES)
  const startMs = performance.now()
  while (!signal.aborted) {
    const vitals = readVitals()
    samples.push(vitals)
    progress?.((performance.now() - startMs) / 1000, counts, vitals)
    await sleep(everyMs, undefined, { signal }).catch(() => undefined)
  }
}

/** After a clean close all that was kept is there, and as it was. */
async function readAgain(
  directory: string,
  seed: number,
  options: SoakOptions,
  counts: Counts,
  events: string[],
): Promise<void> {
  await using engine = await openEngine(directory, events)
  const { flow } = runOf(engine, options, counts, new AbortController().signal, [])
  const before = await engine.admin.describeTopic(FLOW.topic)
  const left = before.partitions.reduce(
    (sum, { logStartOffset, highWatermark }) => sum + highWatermark - logStartOffset,
    0,
  )
  counts.removed = before.partitions.reduce((sum, { logStartOffset }) => sum + logStartOffset, 0)
  counts.compacted = await countCompacted(engine)
  let read = 0
  for await (const record of engine.reader({ topic: FLOW.topic }).records()) {
    const fault = flow.fault(record)
    if (fault !== undefined)
      throw new Error(`after the close: record ${record.offset} of ${record.partition}: ${fault}`)
    read += 1
  }
  if (read !== left || left === 0) throw new Error(`after the close: ${read} of ${left} records, seed ${seed}`)
}

async function countCompacted(engine: Millrace): Promise<number> {
  const { partitions } = await engine.admin.describeTopic(TABLE.topic)
  let left = partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0)
  for await (const _ of engine.reader({ topic: TABLE.topic }).records()) left -= 1
  return left
}

/** A run in which one of its parts did nothing proves nothing. */
function demandWork(counts: Counts): string | undefined {
  const parts = ['appended', 'tail', 'passes', 'tablePasses', 'lookups', 'removed', 'compacted'] as const
  const idle = parts.filter(name => counts[name] === 0)
  return idle.length === 0 ? undefined : `nothing was done of: ${idle.join(', ')}`
}
