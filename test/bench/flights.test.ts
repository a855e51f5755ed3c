import { beforeAll, describe, expect, it } from 'vitest'
import { Checks } from '../../bench/flights/checks.ts'
import { type Flights, findDataset, readFlights } from '../../bench/flights/dataset.ts'
import { layoutOf, offsetAtOrAfter, partitionOf, sameTotals, totalsOf } from '../../bench/flights/expected.ts'
import { busiestAirports } from '../../bench/flights/table.ts'
import { Progress } from '../../client/cli/progress.ts'

describe('the flights', () => {
  let flights: Flights
  const progress: number[] = []

  beforeAll(async () => {
    flights = await readFlights(findDataset(), count => progress.push(count))
  })

  it('are three million, in order of time, none left out', () => {
    expect(flights.count).toBe(3_000_000)
    expect(flights.airports).toHaveLength(229)
    expect(new Date(flights.timestamps[0] as number).toISOString()).toBe('2001-01-01T00:01:00.000Z')
    expect(new Date(flights.timestamps.at(-1) as number).toISOString()).toBe('2001-07-01T00:00:00.000Z')
    expect(flights.timestamps.every((t, i) => i === 0 || t >= (flights.timestamps[i - 1] as number))).toBe(true)
    expect(progress.at(-1)).toBe(3_000_000)
  })

  it('are what the file says', () => {
    const flight = (i: number): unknown[] => [
      flights.airports[flights.origins[i] as number],
      flights.airports[flights.destinations[i] as number],
      flights.delays[i],
      flights.distances[i],
    ]
    expect(flight(0)).toEqual(['LAS', 'PHL', 33, 2176])
    expect(flight(3)).toEqual(['ANC', 'LAX', -13, 2345])
    expect(flight(2_181_816)).toEqual(['EUG', 'SFO', -13, 451])
    expect(Math.min(...new Set(flights.delays))).toBe(-1116)
    expect(Math.max(...new Set(flights.distances))).toBe(4962)
  })

  it('are laid out by origin, each once and in order', () => {
    const layout = layoutOf(flights, 6)
    const seen = new Uint8Array(flights.count)
    layout.forEach((rows, partition) => {
      const airports = new Set<number>()
      rows.forEach((flight, offset) => {
        seen[flight] = 1
        airports.add(flights.origins[flight] as number)
        if (offset > 0 && (rows[offset - 1] as number) >= flight) throw new Error(`order in partition ${partition}`)
      })
      for (const airport of airports) {
        expect(partitionOf(Buffer.from(flights.airports[airport] as string), 6)).toBe(partition)
      }
    })
    expect(layout.reduce((sum, rows) => sum + rows.length, 0)).toBe(flights.count)
    expect(seen.every(one => one === 1)).toBe(true)
  })

  it('can be looked up by time', () => {
    const rows = layoutOf(flights, 6)[2] as Uint32Array
    const time = (offset: number): number => flights.timestamps[rows[offset] as number] as number
    for (const target of [0, time(0), time(5000), time(5000) + 1, time(rows.length - 1), time(rows.length - 1) + 1]) {
      const scanned = rows.findIndex((_, offset) => time(offset) >= target)
      expect(offsetAtOrAfter(flights, rows, target)).toBe(scanned === -1 ? rows.length : scanned)
    }
  })

  it('add up', () => {
    const totals = totalsOf(flights)
    const ord = flights.airports.indexOf('ORD')
    expect(totals.flights.reduce((sum, n) => sum + n)).toBe(flights.count)
    expect(totals.flights[ord]).toBe(166_341)
    expect(busiestAirports(flights.airports, totals)[2]).toMatch(/^ORD +166,341 +9\.27$/)
    const other = totalsOf(flights)
    expect(sameTotals(totals, other)).toBe(true)
    other.delays[ord] = 0
    expect(sameTotals(totals, other)).toBe(false)
  })
})

describe("the partition of a key, beside Kafka's own test vectors", () => {
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('%s', (key, hash) => {
    expect(partitionOf(Buffer.from(key), 2 ** 31)).toBe(hash & 0x7fff_ffff)
  })
})

describe('progress', () => {
  const record = (isTTY: boolean): { written: string[]; progress: Progress } => {
    const written: string[] = []
    const stream = { isTTY, columns: 80, write: (text: string) => written.push(text) }
    return { written, progress: new Progress('load', 1000, stream) }
  }

  it('is a line at every quarter where there is no terminal', () => {
    const { written, progress } = record(false)
    for (let done = 0; done <= 1000; done++) progress.update(done)
    progress.finish()
    expect(written.map(line => /^load (\d+) %, ([\d,]+) in .* s\n$/.exec(line)?.slice(1))).toEqual([
      ['25', '250'],
      ['50', '500'],
      ['75', '750'],
      ['100', '1,000'],
    ])
  })

  it('is a bar that fits the line on a terminal', () => {
    const { written, progress } = record(true)
    progress.update(500)
    progress.finish()
    expect(written[0]).toMatch(/^\r.\[2K█{16}░{16} {2}load 50 %, 500 in/)
    expect(written.at(-2)).toContain('100 %')
    expect(written.at(-1)).toBe('\n')
    for (const text of written) expect(text.length).toBeLessThan(80 + 6)
  })
})

describe('checks', () => {
  it('are counted and printed, a line each', () => {
    const lines: string[] = []
    const checks = new Checks(line => lines.push(line))
    checks.check('one', true)
    checks.check('two', false, 'found 3')
    expect(lines).toEqual(['  ok     one', '  FAILED two: found 3'])
    expect([checks.held, checks.failed]).toEqual([1, 1])
  })
})
