/** `millrace consume`, `millrace export` and `millrace lookup`: records on stdout, as text, in a format, or as JSON. */
import type { Lookup } from '../lookup.ts'
import type { Millrace } from '../millrace.ts'
import type { ConsumedRecord } from '../record.ts'
import { AvroReader } from './avro-json.ts'
import type { Context } from './context.ts'
import { CommandError, UsageError } from './failure.ts'
import { formatTable, type Output } from './output.ts'
import { parseTime } from './positions.ts'
import { type RangeOptions, readRanges } from './ranges.ts'
import { formatDate, parseFormat } from './record-format.ts'
import { recordToJson } from './record-json.ts'
import { looking } from './session.ts'

interface PrintOptions {
  readonly format?: string
  readonly json?: boolean
  readonly avro?: boolean
}

export interface ConsumeOptions extends RangeOptions, PrintOptions {
  readonly number?: number
}

export async function consume(context: Context, topic: string, options: ConsumeOptions): Promise<void> {
  const { number = Number.POSITIVE_INFINITY, follow } = options
  context.isFollowing = follow === true
  await looking(context, async engine => {
    const print = printer(engine, context.out, options)
    let left = number
    if (left > 0) {
      for await (const batch of readRanges(engine, topic, options, context.signal)) {
        for (const record of batch) {
          await print(record)
          left -= 1
          if (context.out.isFull) await context.out.flush()
          if (left === 0 || context.out.isClosed) break
        }
        await context.out.flush()
        if (left === 0 || context.out.isClosed) break
      }
    }
  })
}

export async function exportRecords(context: Context, topic: string, options: RangeOptions): Promise<void> {
  await consume(context, topic, { ...options, json: true })
}

function printer(
  engine: Millrace,
  out: Output,
  { format, json, avro }: PrintOptions,
): (record: ConsumedRecord) => Promise<void> | void {
  if (format !== undefined && json === true) {
    throw new UsageError('--format and --json exclude each other', 'Choose one of them.')
  }
  const parts = parseFormat(format ?? '%v\\n')
  const print = (record: ConsumedRecord, value: Uint8Array | null): void => {
    for (const part of parts) out.write(part(record, value))
  }
  if (avro === true) {
    const reader = new AvroReader(engine)
    return async record => {
      const value = await reader.decode(record.value)
      if (json === true) out.json(recordToJson(record, value))
      else print(record, value === null ? null : Buffer.from(JSON.stringify(value)))
    }
  }
  if (json === true) return record => out.json(recordToJson(record))
  return record => print(record, record.value)
}

// ── look-ups ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface LookupOptions extends PrintOptions {
  readonly partition?: number
  readonly offset?: number
  readonly time?: string
}

export async function lookUp(context: Context, topic: string, options: LookupOptions): Promise<void> {
  const { offset, time, partition } = options
  if (offset !== undefined && time !== undefined) {
    throw new UsageError('--offset and --time exclude each other', 'Choose one of them.')
  }
  const timestamp = time === undefined ? undefined : parseTime(time)
  await looking(context, async engine => {
    using lookup = await engine.lookup(topic)
    const all = Array.from({ length: lookup.partitions }, (_, index) => index)
    const partitions = partition === undefined ? all : [partition]
    if (offset === undefined && timestamp === undefined) return printEnds(context.out, lookup, partitions, options)
    if (offset !== undefined && partitions.length > 1) {
      throw new UsageError(`${topic} has ${partitions.length} partitions`, 'Say which with --partition.')
    }
    const found = partitions.flatMap(index => {
      const record =
        offset === undefined ? lookup.byTimestamp(index, timestamp as number) : lookup.byOffset(index, offset)
      return record === undefined ? [] : [record]
    })
    if (found.length === 0) throw nothingThere(topic, lookup, partitions, offset)
    const print = printer(engine, context.out, options.json === true ? options : { format: DEFAULT_FORMAT, ...options })
    for (const record of found) await print(record)
  })
}

const DEFAULT_FORMAT = '%p %o %T %v\\n'

function nothingThere(
  topic: string,
  lookup: Lookup,
  partitions: readonly number[],
  offset: number | undefined,
): CommandError {
  if (offset !== undefined) {
    return new CommandError(
      `${topic} has no record at offset ${offset} yet`,
      'It is the one that the next record gets.',
    )
  }
  const newest = Math.max(...partitions.map(index => lookup.maxTimestamp(index)?.timestamp ?? -1))
  const advice =
    newest < 0 ? 'It has no records with timestamps.' : `The newest is of ${newest}, ${formatDate(newest)}.`
  return new CommandError(`${topic} has no record of that time or later`, advice)
}

function printEnds(out: Output, lookup: Lookup, partitions: readonly number[], { json }: PrintOptions): void {
  const ends = partitions.map(partition => ({
    topic: lookup.topic,
    partition,
    earliest: lookup.earliest(partition),
    latest: lookup.latest(partition),
    maxTimestamp: lookup.maxTimestamp(partition) ?? null,
  }))
  if (json === true) {
    out.json(ends)
    return
  }
  const rows = ends.map(({ partition, earliest, latest, maxTimestamp }) => [
    partition,
    earliest,
    latest,
    maxTimestamp?.offset ?? '',
    maxTimestamp === null ? '' : formatDate(maxTimestamp.timestamp),
  ])
  out.line(formatTable(['partition', 'earliest', 'latest', 'newestOffset', 'newestTimestamp'], rows))
}
