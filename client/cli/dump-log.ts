/**
 * `millrace dump-log`: the batches of a segment file, and the records in them, or the entries of an index file, as they lie on the
 * disk. It needs no directory and no store, only the file, which may be Kafka's.
 */
import { readFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { isMillraceError, MillraceError } from '../../engine/base/errors.ts'
import {
  BATCH,
  baseOffsetOf,
  baseSequenceOf,
  batchBytes,
  checkBatch,
  codecOf,
  hasDeleteHorizon,
  isControlBatch,
  isLogAppendTime,
  isTransactional,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  OFFSET_ENTRY,
  parseSegmentFileName,
  producerEpochOf,
  producerIdOf,
  RecordCursor,
  Region,
  readOffsetEntry,
  readTimeEntry,
  recordCountOf,
  TIME_ENTRY,
} from '../../engine/format/index.ts'
import { contentEnd, findSoundBatch } from '../../engine/log/recovery-salvage.ts'
import { Mapping } from '../../engine/memory/mapping.ts'
import type { Context } from './context.ts'
import { CommandError, EXIT } from './failure.ts'
import { bytesToJson } from './record-json.ts'

export interface DumpOptions {
  readonly records?: boolean
  readonly json?: boolean
}

type Facts = Readonly<Record<string, unknown>>

export async function dumpLog(context: Context, files: readonly string[], options: DumpOptions): Promise<void> {
  for (const file of files) {
    const parsed = parseSegmentFileName(basename(file))
    if (parsed === undefined || !['log', 'index', 'timeindex'].includes(parsed.suffix)) {
      const advice =
        'Its name must be as 00000000000000000000.log, .index or .timeindex; the digits are its base offset.'
      throw new CommandError(`${file} is no file of a segment`, advice)
    }
    if (parsed.suffix === 'log') await dumpSegment(context, file, parsed.baseOffset, options)
    else await dumpIndex(context, file, parsed.baseOffset, parsed.suffix === 'index', options)
    if (context.signal.aborted) break
  }
}

/** One line: JSON, or `name: value` one after another. */
function print({ out }: Context, facts: Facts, json: boolean | undefined, indent = ''): void {
  if (json === true) {
    out.json(facts)
    return
  }
  const fields = Object.entries(facts).map(
    ([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`,
  )
  out.line(`${indent}${fields.join('  ')}`)
}

// ── batches ───────────────────────────────────────────────────────────────────────────────────────────────────────────

async function dumpSegment(context: Context, file: string, baseOffset: number, options: DumpOptions): Promise<void> {
  const mapping = Mapping.ofWhole(resolve(file))
  if (mapping === undefined) return
  try {
    const { region } = mapping
    const end = contentEnd(region, 0, region.length)
    let nextOffset = baseOffset
    for (let at = 0; at < end && !context.signal.aborted; ) {
      const fault = checkBatch(region, at, region.length)
      if (fault !== undefined) {
        context.exitCode = EXIT.failed
        const next = soundBehind(region, at, baseOffset, nextOffset)
        const goesOn = next === -1 ? 'nothing sound follows' : `it goes on at ${next}`
        context.note(`${file}: no sound batch at position ${at}: ${fault}; ${goesOn}`)
        if (next === -1) break
        at = next
        continue
      }
      print(context, describeBatch(region, at), options.json)
      if (options.records === true) await dumpRecords(context, file, region, at, options)
      if (context.out.isFull) await context.out.flush()
      nextOffset = lastOffsetOf(region.view, at) + 1
      at += batchBytes(region.view, at)
    }
  } finally {
    mapping.release()
  }
}

function soundBehind(region: Region, at: number, baseOffset: number, minOffset: number): number {
  const bounds = { minOffset, maxOffset: Number.MAX_SAFE_INTEGER, baseOffset, knownEnd: 0, gapless: false }
  return findSoundBatch(region, at, region.length, bounds)
}

function describeBatch({ view }: Region, at: number): Facts {
  return {
    position: at,
    baseOffset: baseOffsetOf(view, at),
    lastOffset: lastOffsetOf(view, at),
    count: recordCountOf(view, at),
    sizeBytes: batchBytes(view, at),
    partitionLeaderEpoch: leaderEpochOf(view, at),
    compression: codecOf(view, at),
    maxTimestamp: maxTimestampOf(view, at),
    timestampType: isLogAppendTime(view, at) ? 'LogAppendTime' : 'CreateTime',
    producerId: producerIdOf(view, at),
    producerEpoch: producerEpochOf(view, at),
    baseSequence: baseSequenceOf(view, at),
    isTransactional: isTransactional(view, at),
    isControl: isControlBatch(view, at),
    hasDeleteHorizon: hasDeleteHorizon(view, at),
    crc: view.getUint32(at + BATCH.crcAt),
  }
}

async function dumpRecords(
  context: Context,
  file: string,
  region: Region,
  at: number,
  { json }: DumpOptions,
): Promise<void> {
  const cursor = new RecordCursor()
  try {
    cursor.reset(region, at)
    while (cursor.next()) {
      const facts = {
        offset: cursor.offset,
        timestamp: cursor.timestamp,
        key: bytesToJson(cursor.key()),
        value: bytesToJson(cursor.value()),
        headers: cursor.headers().map(({ key, value }) => ({ key, value: bytesToJson(value) })),
      }
      print(context, json === true ? facts : quoted(facts), json, '  ')
      if (context.out.isFull) await context.out.flush()
    }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    context.exitCode = EXIT.failed
    context.note(`${file}: a record of the batch at position ${at} is damaged: ${error.message}`)
  }
}

/** Text as JSON has it, so that a line stays a line. */
function quoted(facts: Facts): Facts {
  return Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [name, typeof value === 'string' ? JSON.stringify(value) : value]),
  )
}

// ── indexes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

async function dumpIndex(
  context: Context,
  file: string,
  baseOffset: number,
  isOffsets: boolean,
  options: DumpOptions,
): Promise<void> {
  const region = readIndex(file)
  const { sizeBytes } = isOffsets ? OFFSET_ENTRY : TIME_ENTRY
  // The index of a segment that is appended to has room behind its entries.
  const count = Math.ceil(contentEnd(region, 0, region.length) / sizeBytes)
  for (let index = 0; index < count && (index + 1) * sizeBytes <= region.length && !context.signal.aborted; index++) {
    if (isOffsets) {
      const { relativeOffset, position } = readOffsetEntry(region.view, index)
      print(context, { offset: baseOffset + relativeOffset, position }, options.json)
    } else {
      const { timestamp, relativeOffset } = readTimeEntry(region.view, index)
      print(context, { timestamp, offset: baseOffset + relativeOffset }, options.json)
    }
    if (context.out.isFull) await context.out.flush()
  }
}

function readIndex(file: string): Region {
  try {
    return Region.of(readFileSync(file))
  } catch (error) {
    throw new MillraceError('IO_ERROR', { path: file }, error)
  }
}
