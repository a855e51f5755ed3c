/** The main job's checks against engines that lie: a check that cannot fail proves nothing. */
import { describe, expect, it } from 'vitest'
import { Checks } from '../../bench/flights/checks.ts'
import type { Flight } from '../../bench/flights/codec.ts'
import { consumeAll } from '../../bench/flights/consume.ts'
import type { Flights } from '../../bench/flights/dataset.ts'
import { layoutOf } from '../../bench/flights/expected.ts'
import { lookUpByOffset, lookUpByTime } from '../../bench/flights/lookups.ts'
import type { ReadRecord, Subject } from '../../bench/flights/subject.ts'

const AIRPORTS = ['ATL', 'ORD', 'LAX', 'SEA', 'BOS', 'DEN', 'JFK']
const COUNT = 5000
const PARTITIONS = 3
const START = Date.parse('2001-01-01T00:00Z')

const flights: Flights = {
  count: COUNT,
  timestamps: Float64Array.from({ length: COUNT }, (_, i) => START + Math.floor(i / 3) * 60_000),
  delays: Int16Array.from({ length: COUNT }, (_, i) => (i % 90) - 20),
  distances: Int16Array.from({ length: COUNT }, (_, i) => 100 + (i % 2500)),
  origins: Uint16Array.from({ length: COUNT }, (_, i) => (i * i + i) % AIRPORTS.length),
  destinations: Uint16Array.from({ length: COUNT }, (_, i) => (i * 3 + 1) % AIRPORTS.length),
  airports: AIRPORTS,
}

const codec = {
  encode: (flight: Flight): Uint8Array => Buffer.from(JSON.stringify(flight)),
  decode: (bytes: Uint8Array): Flight => JSON.parse(Buffer.from(bytes).toString()) as Flight,
}

type Log = ReadRecord[][]

/** What a good engine holds. */
function goodLog(): Log {
  return layoutOf(flights, PARTITIONS).map(rows =>
    Array.from(rows, (row, offset) => ({
      offset,
      timestamp: flights.timestamps[row] as number,
      key: Buffer.from(AIRPORTS[flights.origins[row] as number] as string),
      value: codec.encode({
        origin: AIRPORTS[flights.origins[row] as number] as string,
        destination: AIRPORTS[flights.destinations[row] as number] as string,
        delay: flights.delays[row] as number,
        distance: flights.distances[row] as number,
      }),
    })),
  )
}

interface FakeReaderOptions {
  readonly partitions?: readonly number[]
  readonly from?: { offset?: number; timestamp?: number }
  readonly to?: { offset: number }
}

/** As much of an engine as the checks use, over arrays. */
function subjectOf(log: Log): Subject {
  const select = (partition: number, { from = {}, to }: FakeReaderOptions): ReadRecord[] =>
    (log[partition] as ReadRecord[]).filter(
      ({ offset, timestamp }) =>
        offset >= (from.offset ?? 0) && timestamp >= (from.timestamp ?? 0) && offset < (to?.offset ?? COUNT),
    )
  const engine = {
    async *reader(options: FakeReaderOptions) {
      for (const partition of options.partitions ?? log.keys()) {
        const records = select(partition, options)
        for (let i = 0; i < records.length; i += 100) {
          yield Object.assign(records.slice(i, i + 100), { partition })
        }
      }
    },
  }
  const lookup = {
    byOffset: (partition: number, offset: number) => log[partition]?.find(r => r.offset === offset),
    byTimestamp: (partition: number, time: number) => log[partition]?.find(r => r.timestamp >= time),
  }
  return {
    engine: engine as unknown as Subject['engine'],
    lookup: lookup as unknown as Subject['lookup'],
    topic: 'flights',
    codec,
    flights,
    layout: layoutOf(flights, PARTITIONS),
  }
}

async function failures(log: Log): Promise<string[]> {
  const lines: string[] = []
  const checks = new Checks(line => lines.push(line))
  const subject = subjectOf(log)
  const consumed = await consumeAll(subject, checks, { write: () => true })
  await lookUpByTime(subject, [0, START + 3_600_000, START + 3_600_001, Date.parse('2002-01-01T00:00Z')], checks)
  await lookUpByOffset(subject, checks)
  expect(consumed.records).toBe(log.flat().length)
  expect(checks.failed + checks.held).toBe(15)
  return lines.filter(line => line.startsWith('  FAILED'))
}

/** A copy of the record with some fields changed. */
const change = (log: Log, partition: number, at: number, fields: Partial<ReadRecord>): void => {
  const records = log[partition] as ReadRecord[]
  records[at] = { ...(records[at] as ReadRecord), ...fields }
}

describe('the checks of the main job', () => {
  it('hold for what was appended', async () => {
    expect(await failures(goodLog())).toEqual([])
  })

  it.each<[string, (log: Log) => void]>([
    ['a lost record', log => log[1]?.splice(700, 1)],
    ['a lost last record', log => log[2]?.pop()],
    ['a doubled record', log => log[1]?.splice(700, 0, log[1][700] as ReadRecord)],
    [
      'two records in the wrong order',
      log => log[0]?.splice(10, 2, log[0][11] as ReadRecord, log[0][10] as ReadRecord),
    ],
    ['another time', log => change(log, 0, 40, { timestamp: START + 1 })],
    ['another key', log => change(log, 0, 40, { key: Buffer.from('XXX') })],
    ['no key', log => change(log, 0, 40, { key: null })],
    ['no value', log => change(log, 0, 40, { value: null })],
    ['the value of another flight', log => change(log, 0, 40, { value: log[0]?.[41]?.value ?? null })],
    ['a record in another partition', log => log[0]?.push(log[1]?.pop() as ReadRecord)],
  ])('fail for %s', async (_, damage) => {
    const log = goodLog()
    damage(log)
    expect(await failures(log)).not.toEqual([])
  })

  it('fail for a lookup by time that is one off', async () => {
    const lines: string[] = []
    const subject = subjectOf(goodLog())
    const { byTimestamp } = subject.lookup
    subject.lookup.byTimestamp = (partition, time) => byTimestamp(partition, time + 60_000)
    await lookUpByTime(subject, [START + 3_600_000], new Checks(line => lines.push(line)))
    expect(lines[0]).toMatch(/^ {2}FAILED first flight at or after 2001-01-01 01:00/)
  })

  it('fail for a lookup by offset that finds the neighbour', async () => {
    const lines: string[] = []
    const subject = subjectOf(goodLog())
    const { byOffset } = subject.lookup
    subject.lookup.byOffset = (partition, offset) => byOffset(partition, offset + 1)
    await lookUpByOffset(subject, new Checks(line => lines.push(line)))
    expect(lines[0]).toMatch(/^ {2}FAILED records by offset/)
    expect(lines[1]).toMatch(/^ {2}ok/)
  })
})
