/**
 * Random records that can be told apart, the plain log model that they are held against, and the checks of a topic against that
 * model: by scan, by offset, by time, and its ends.
 */
import { expect } from 'vitest'
import type { ConsumedRecord, Message, Millrace } from '../../../client/index.ts'
import type { Random } from '../../../engine/base/random.ts'

export interface TestRecord {
  readonly id: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly { readonly key: string; readonly value: Buffer | null }[]
}

/** By partition, in the order of offsets from 0 on. */
export type ModelLog = TestRecord[][]

const BASE_MS = 1_750_000_000_000

export class RecordMaker {
  readonly made = new Map<number, TestRecord>()
  readonly #random: Random
  readonly #bytesMax: number
  #nextId = 1

  /** @param bytesMax of the largest values */
  constructor(random: Random, bytesMax: number) {
    this.#random = random
    this.#bytesMax = bytesMax
  }

  /** A record whose id is in its key, its value or a header; all else is random, null and empty included. */
  next(plain = false): TestRecord {
    const random = this.#random
    const id = this.#nextId++
    const place = plain ? 'value' : random.pick(['key', 'value', 'header'])
    const bytes = (): Buffer | null => (random.chance(0.2) ? null : Buffer.from(random.bytes(this.#length())))
    const mark = (): Buffer => Buffer.concat([Buffer.from(`#${id};`), random.bytes(this.#length())])
    const headers: { key: string; value: Buffer | null }[] = []
    if (place === 'header') headers.push({ key: 'id', value: Buffer.from(`#${id};`) })
    if (!plain && random.chance(0.2)) headers.push({ key: random.pick(['h', 'ü', '']), value: bytes() })
    const record: TestRecord = {
      id,
      timestamp: random.chance(0.02) ? -1 : BASE_MS + id * 2 + random.pick([0, 0, random.between(-80, 80)]),
      key: place === 'key' ? mark() : plain ? null : bytes(),
      value: place === 'value' ? mark() : bytes(),
      headers,
    }
    this.made.set(id, record)
    return record
  }

  #length(): number {
    const random = this.#random
    if (random.chance(0.01)) return random.below(this.#bytesMax)
    return random.chance(0.1) ? random.below(1_000) : random.below(60)
  }
}

export function messageOf({ timestamp, key, value, headers }: TestRecord, partition?: number): Message {
  const given = partition === undefined ? {} : { partition }
  return { timestamp, key, value, ...(headers.length > 0 ? { headers } : {}), ...given }
}

function idOf(record: ConsumedRecord): number {
  for (const bytes of [record.key, record.value, ...record.headers.map(({ value }) => value)]) {
    const match = /^#(\d+);/.exec(Buffer.from(bytes ?? []).toString('latin1', 0, 12))
    if (match !== null) return Number(match[1])
  }
  return -1
}

function same(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0
}

/** Says how a record that was read differs from the one that was made; undefined when it does not. */
export function difference(read: ConsumedRecord, made: TestRecord): string | undefined {
  if (read.timestamp !== made.timestamp) return `timestamp ${read.timestamp}, not ${made.timestamp}`
  if (!same(read.key, made.key)) return 'another key'
  if (!same(read.value, made.value)) return 'another value'
  if (read.headers.length !== made.headers.length) return `${read.headers.length} headers`
  for (const [i, { key, value }] of made.headers.entries()) {
    if (read.headers[i]?.key !== key || !same(read.headers[i]?.value ?? null, value)) return `another header ${i}`
  }
  return undefined
}

/** Reads a topic from its start: every record must be one that was made, as it was made. */
export async function scanModel(
  engine: Millrace,
  topic: string,
  made: ReadonlyMap<number, TestRecord>,
): Promise<ModelLog> {
  const { partitions } = await engine.admin.describeTopic(topic)
  const log: ModelLog = partitions.map(() => [])
  for await (const record of engine.reader({ topic }).records()) {
    const records = log[record.partition] as TestRecord[]
    const expected = made.get(idOf(record))
    const where = `${topic}-${record.partition}@${record.offset}`
    if (expected === undefined) expect.unreachable(`${where} was never sent`)
    expect(record.offset, where).toBe(records.length)
    expect(difference(record, expected), `${where} #${expected.id}`).toBe(undefined)
    records.push(expected)
  }
  return log
}

/** Every record once; nothing that was not sent, nothing missing. */
export function expectOnce(log: ModelLog, ids: Iterable<number>): void {
  const found = log.flat().map(({ id }) => id)
  const sorted = (list: Iterable<number>): number[] => [...list].sort((a, b) => a - b)
  expect(found.length).toBe(new Set(found).size)
  expect(sorted(found)).toEqual(sorted(ids))
}

/** Look-ups of a topic against the model: offsets, times and ends. */
export async function checkLookups(
  engine: Millrace,
  topic: string,
  log: ModelLog,
  random: Random,
  count = 60,
): Promise<void> {
  using lookup = await engine.lookup(topic)
  expect(lookup.partitions).toBe(log.length)
  for (const [partition, records] of log.entries()) {
    expect([lookup.earliest(partition), lookup.latest(partition)]).toEqual([0, records.length])
    expect(lookup.byOffset(partition, records.length)).toBe(undefined)
    expect(lookup.byTimestamp(partition, BASE_MS * 2)).toBe(undefined)
    if (records.length === 0) {
      expect(lookup.maxTimestamp(partition)).toBe(undefined)
      continue
    }
    const largest = Math.max(...records.map(({ timestamp }) => timestamp))
    const offset = records.findIndex(({ timestamp }) => timestamp === largest)
    expect(lookup.maxTimestamp(partition)).toEqual({ offset, timestamp: largest })
    for (let i = 0; i < count; i++) {
      const target = random.below(records.length)
      const found = lookup.byOffset(partition, target)
      expect(found?.offset).toBe(target)
      if (found !== undefined) expect(difference(found, records[target] as TestRecord)).toBe(undefined)
      const time = random.pick(records).timestamp + random.between(-3, 3)
      const first = records.findIndex(({ timestamp }) => timestamp >= time)
      expect(lookup.byTimestamp(partition, time)?.offset, `time ${time}`).toBe(first === -1 ? undefined : first)
    }
  }
}
