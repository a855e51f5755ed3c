/**
 * The main job: real flights into a topic and out of it again, everything checked against the columns they came from, then
 * once more after the directory was closed and opened. Main thread.
 */
import { Millrace } from '../../client/index.ts'
import type { TopicDescription } from '../../client/types.ts'
import type { Checks } from './checks.ts'
import { flightCodec } from './codec.ts'
import { type Consumed, consumeAll } from './consume.ts'
import type { Flights } from './dataset.ts'
import { type Layout, layoutOf } from './expected.ts'
import { consumeAsGroup, type Grouped } from './group.ts'
import { type Loaded, loadFlights } from './load.ts'
import { lookUpByOffset, lookUpByTime } from './lookups.ts'

export const TOPIC = 'flights'
export const PARTITIONS = 6

const DAY_MS = 24 * 3_600_000

/** The flights are of 2001: with the defaults a segment would hold a week of them, and be removed for its age at once. */
const TOPIC_CONFIG = { 'retention.ms': -1, 'segment.ms': 30 * DAY_MS }

/** Before the first flight, in quiet and busy hours, and after the last flight. */
const LOOKUP_TIMES = [
  '2000-12-31T00:00Z',
  '2001-01-01T06:00Z',
  '2001-02-14T12:34Z',
  '2001-03-25T03:15Z',
  '2001-05-13T23:59Z',
  '2001-06-30T23:45Z',
  '2001-08-01T00:00Z',
].map(text => Date.parse(text))

export interface JobResult {
  readonly loaded: Loaded
  readonly consumed: Consumed
  readonly grouped: Grouped
  readonly description: TopicDescription
  readonly reopenMs: number
}

export async function runJob(directory: string, flights: Flights, checks: Checks): Promise<JobResult> {
  const layout = layoutOf(flights, PARTITIONS)
  console.log('\nappend and read')
  const first = await firstLife(directory, flights, layout, checks)
  console.log('\nclose and open again')
  const reopenMs = await secondLife(directory, flights, layout, checks)
  return { ...first, reopenMs }
}

async function firstLife(
  directory: string,
  flights: Flights,
  layout: Layout,
  checks: Checks,
): Promise<Omit<JobResult, 'reopenMs'>> {
  await using engine = await Millrace.open(directory)
  await engine.admin.createTopic({ topic: TOPIC, partitions: PARTITIONS, config: TOPIC_CONFIG })
  const codec = await flightCodec(engine, TOPIC)
  const loaded = await loadFlights(engine, TOPIC, codec, flights)
  const subject = { engine, lookup: await engine.lookup(TOPIC), topic: TOPIC, codec, flights, layout }
  await lookUpByTime(subject, LOOKUP_TIMES, checks)
  await lookUpByOffset(subject, checks)
  const consumed = await consumeAll(subject, checks)
  const grouped = await consumeAsGroup(subject, checks)
  return { loaded, consumed, grouped, description: await engine.admin.describeTopic(TOPIC) }
}

/** @returns how long opening took, in milliseconds */
async function secondLife(directory: string, flights: Flights, layout: Layout, checks: Checks): Promise<number> {
  const start = performance.now()
  await using engine = await Millrace.open(directory)
  const reopenMs = performance.now() - start
  const codec = await flightCodec(engine, TOPIC)
  const subject = { engine, lookup: await engine.lookup(TOPIC), topic: TOPIC, codec, flights, layout }
  await consumeAll(subject, checks)
  await lookUpByTime(subject, LOOKUP_TIMES.slice(1, 3), checks)
  await lookUpByOffset(subject, checks)
  return reopenMs
}
