/** The first flight at or after a time and those that follow it; single records by offset. Main thread. */
import type { ReadBatch } from '../../client/index.ts'
import type { Checks } from './checks.ts'
import { offsetAtOrAfter } from './expected.ts'
import { decodeAndCompare, type Subject } from './subject.ts'

/** Flights that are read on after a lookup. */
const FOLLOWING = 500

/** The first flight at or after a time, in every partition, and the flights from there on. */
export async function lookUpByTime(subject: Subject, times: readonly number[], checks: Checks): Promise<void> {
  const { lookup, flights, layout } = subject
  for (const time of times) {
    const when = new Date(time).toISOString().slice(0, 16).replace('T', ' ')
    const expected = layout.map(rows => offsetAtOrAfter(flights, rows, time))
    const found = layout.map((_, partition) => lookup.byTimestamp(partition, time))
    const right = found.every((record, partition) => {
      const offset = expected[partition] as number
      const none = offset === (layout[partition] as Uint32Array).length
      if (record === undefined) return none
      return record.offset === offset && decodeAndCompare(subject, partition, record) !== undefined
    })
    checks.check(`first flight at or after ${when}`, right, describeFirst(subject, expected))
    const read = await readOn(subject, { timestamp: time }, expected)
    checks.check(`reading on from ${when}`, read.wrong === 0 && read.complete, `${read.records} flights`)
  }
}

/** The earliest of the flights at the given offsets, in words. */
function describeFirst({ flights, layout }: Subject, offsets: readonly number[]): string {
  const rows = layout.flatMap((rows, partition) => rows[offsets[partition] as number] ?? [])
  if (rows.length === 0) return 'none'
  const row = Math.min(...rows)
  const [origin, destination] = [flights.origins[row], flights.destinations[row]].map(
    code => flights.airports[code as number],
  )
  return `${origin} to ${destination}, ${flights.delays[row]} min late`
}

/** Single records at the ends of each partition and in between, and reading on from the last of them. */
export async function lookUpByOffset(subject: Subject, checks: Checks): Promise<void> {
  const { lookup, layout } = subject
  let looked = 0
  let wrong = 0
  for (const [partition, rows] of layout.entries()) {
    for (const fraction of [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1]) {
      const offset = Math.floor((rows.length - 1) * fraction)
      const record = lookup.byOffset(partition, offset)
      if (record?.offset !== offset || decodeAndCompare(subject, partition, record) === undefined) wrong += 1
      looked += 1
    }
  }
  checks.check('records by offset', wrong === 0, `${looked - wrong} of ${looked} lookups`)
  let readWrong = 0
  for (const [partition, rows] of layout.entries()) {
    const offset = Math.floor(rows.length / 2)
    const read = await readOn(
      subject,
      { offset },
      layout.map(() => offset),
      [partition],
    )
    if (read.wrong > 0 || !read.complete) readWrong += 1
  }
  checks.check('reading on from an offset', readWrong === 0, `in ${layout.length} partitions`)
}

/** Reads the next `FOLLOWING` flights of each partition, which must begin at the expected offset and go on in order. */
async function readOn(
  subject: Subject,
  from: { timestamp: number } | { offset: number },
  expected: readonly number[],
  partitions: readonly number[] = expected.map((_, partition) => partition),
): Promise<{ records: number; wrong: number; complete: boolean }> {
  const { engine, topic, layout } = subject
  let records = 0
  let wrong = 0
  let complete = true
  for (const partition of partitions) {
    const start = expected[partition] as number
    const end = Math.min(start + FOLLOWING, (layout[partition] as Uint32Array).length)
    let next = start
    for await (const batch of engine.reader({ topic, partitions: [partition], from, to: { offset: end } })) {
      const read = checkFollowing(subject, batch, next, end)
      next += read.records
      records += read.records
      wrong += read.wrong
    }
    if (next !== end) complete = false
  }
  return { records, wrong, complete }
}

function checkFollowing(
  subject: Subject,
  batch: ReadBatch,
  from: number,
  end: number,
): { records: number; wrong: number } {
  let records = 0
  let wrong = 0
  for (const record of batch) {
    const right = record.offset === from + records && record.offset < end
    if (!right || decodeAndCompare(subject, batch.partition, record) === undefined) wrong += 1
    records += 1
  }
  return { records, wrong }
}
