/** What a command reads: from where to where in each partition, and the records in there one after another. */

import { MillraceError } from '../../engine/base/errors.ts'
import type { Lookup } from '../lookup.ts'
import type { Millrace } from '../millrace.ts'
import type { ReadBatch } from '../read-batch.ts'
import type { Reader } from '../reader.ts'
import { parsePosition, resolvePosition } from './positions.ts'

export interface RangeOptions {
  readonly from: string
  readonly to?: string
  readonly partitions?: readonly number[]
  /** Go on at the end, waiting for more. */
  readonly follow?: boolean
}

interface Range {
  readonly partition: number
  readonly from: number
  /** Infinite when it has no end. */
  readonly to: number
}

/**
 * Batches of a topic: one partition after another, or, when they are followed, as they come.
 * @throws UsageError, UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE, CORRUPT_BATCH
 */
export async function* readRanges(
  engine: Millrace,
  topic: string,
  options: RangeOptions,
  signal: AbortSignal,
): AsyncGenerator<ReadBatch, undefined> {
  const ranges = await resolveRanges(engine, topic, options)
  const readers = ranges.map(({ partition, from, to }) =>
    engine.reader({
      topic,
      partitions: [partition],
      from: { offset: from },
      to: Number.isFinite(to) ? { offset: to } : 'never',
      signal,
    }),
  )
  if (options.follow === true && readers.length > 1) yield* asTheyCome(readers)
  else for (const reader of readers) yield* reader
  return undefined
}

async function resolveRanges(engine: Millrace, topic: string, options: RangeOptions): Promise<Range[]> {
  const from = parsePosition(options.from, '--from')
  const to = options.to === undefined ? undefined : parsePosition(options.to, '--to')
  using lookup = await engine.lookup(topic)
  const partitions = options.partitions ?? Array.from({ length: lookup.partitions }, (_, partition) => partition)
  const isOnly = partitions.length === 1
  const ranges = partitions.map((partition): Range => {
    const first = resolvePosition(from, lookup, partition, isOnly)
    demandInside(lookup, topic, partition, first)
    const end = lookup.latest(partition)
    if (to === undefined) return { partition, from: first, to: options.follow === true ? Infinity : end }
    const last = resolvePosition(to, lookup, partition, true)
    return { partition, from: first, to: options.follow === true ? last : Math.min(last, end) }
  })
  return ranges.filter(range => range.from < range.to)
}

function demandInside(lookup: Lookup, topic: string, partition: number, offset: number): void {
  const logStartOffset = lookup.earliest(partition)
  const highWatermark = lookup.latest(partition)
  if (offset >= logStartOffset && offset <= highWatermark) return
  throw new MillraceError('OFFSET_OUT_OF_RANGE', { topic, partition, offset, logStartOffset, highWatermark })
}

/** Of all readers whichever has something. */
async function* asTheyCome(readers: readonly Reader[]): AsyncGenerator<ReadBatch, undefined> {
  const iterators = readers.map(reader => reader[Symbol.asyncIterator]())
  const next = (index: number) =>
    (iterators[index] as AsyncGenerator<ReadBatch, undefined>).next().then(result => ({ index, result }))
  const waiting = new Map(iterators.map((_, index) => [index, next(index)]))
  try {
    while (waiting.size > 0) {
      const { index, result } = await Promise.race(waiting.values())
      if (result.done === true) {
        waiting.delete(index)
        continue
      }
      waiting.set(index, next(index))
      yield result.value
    }
  } finally {
    for (const reader of readers) reader.close()
    await Promise.allSettled(waiting.values())
  }
  return undefined
}
