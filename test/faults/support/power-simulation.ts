/**
 * Loss of power where no loop device can be had: the process is stopped, its directory copied as it is in memory, and in the copy
 * everything that was not flushed is torn by chance. What is flushed is known from what the engine promised: records that
 * were acknowledged as durable, and the stored recovery points.
 */
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../../../engine/base/random.ts'
import {
  batchBytes,
  checkBatch,
  lastOffsetOf,
  parsePartitionDirectory,
  parseSegmentFileName,
  RecordCursor,
  Region,
} from '../../../engine/format/index.ts'
import { Store } from '../../../engine/store/store.ts'
import type { AckBook } from './ack-log.ts'
import { keyOf } from './records.ts'

const SECTOR_BYTES = 512
const ZEROS = Buffer.alloc(SECTOR_BYTES)
/** Longer index files are not closed yet: those are cut to their entries and synced. */
const CLOSED_INDEX_BYTES_MAX = 32_768

/** Tears what a loss of power could have torn in a copied directory. */
export async function loseUnflushed(
  directory: string,
  book: AckBook,
  durable: ReadonlySet<string>,
  random: Random,
): Promise<void> {
  const flushed = await flushedOffsets(directory, book, durable)
  for (const name of readdirSync(directory)) {
    const parsed = statSync(join(directory, name)).isDirectory() ? parsePartitionDirectory(name) : undefined
    if (parsed === undefined) continue
    tearPartition(join(directory, name), flushed.get(`${parsed.topic}/${parsed.partition}`) ?? 0, random)
  }
}

/** Offsets below which everything is known to be flushed, by `topic/partition`. */
async function flushedOffsets(
  directory: string,
  book: AckBook,
  durable: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const flushed = new Map(book.recovered)
  const raise = (name: string, offset: number): unknown => flushed.set(name, Math.max(offset, flushed.get(name) ?? 0))
  const store = Store.open(directory, { readOnly: true })
  for (const { topic, topicId } of store.topics.list()) {
    for (const [partition, { recoveryPoint }] of store.checkpoints.ofTopic(topicId)) {
      raise(`${topic}/${partition}`, recoveryPoint)
    }
  }
  await store.close()
  for (const { stream, first, end, baseOffset } of book.acks) {
    const [, , topic, partition] = stream.split('/')
    const name = `${topic}/${partition}`
    if (!durable.has(topic as string)) continue
    if (baseOffset >= 0) raise(name, baseOffset + end - first)
    else raise(name, (offsetsIn(directory, name).get(keyOf(stream, end - 1)) ?? -1) + 1)
  }
  for (const [name, offset] of book.ends) if (durable.has(name.split('/')[0] as string)) raise(name, offset)
  return flushed
}

const known = new Map<string, Map<string, number>>()

/** Where the records of a partition lie, by their keys: who was told that all of them are safe knows no offsets. */
function offsetsIn(directory: string, name: string): Map<string, number> {
  const folder = join(directory, name.replace('/', '-'))
  const found = known.get(folder) ?? new Map<string, number>()
  if (known.has(folder)) return found
  known.set(folder, found)
  const cursor = new RecordCursor()
  for (const file of readdirSync(folder).filter(each => each.endsWith('.log'))) {
    const region = Region.of(readFileSync(join(folder, file)))
    for (let at = 0; checkBatch(region, at, region.length) === undefined; at += batchBytes(region.view, at)) {
      cursor.reset(region, at)
      while (cursor.next()) found.set(Buffer.from(cursor.key() ?? []).toString('latin1'), cursor.offset)
    }
  }
  return found
}

function tearPartition(folder: string, flushedOffset: number, random: Random): void {
  const mode = random.pick(['zero', 'sectors', 'sectors', 'keep', 'prefix'] as const)
  for (const name of readdirSync(folder).sort()) {
    const parsed = parseSegmentFileName(name)
    const path = join(folder, name)
    if (parsed === undefined) continue
    if (parsed.suffix === 'log') tearLog(path, parsed.baseOffset, flushedOffset, mode, random)
    else if (statSync(path).size > CLOSED_INDEX_BYTES_MAX)
      tear(path, 0, random.chance(0.5) ? 'zero' : 'sectors', random)
  }
}

type Mode = 'zero' | 'sectors' | 'keep' | 'prefix'

function tearLog(path: string, baseOffset: number, flushedOffset: number, mode: Mode, random: Random): void {
  // A file whose folder was not synced since may not be there at all.
  if (baseOffset > flushedOffset && random.chance(0.2)) {
    rmSync(path)
    return
  }
  const region = Region.of(readFileSync(path))
  let at = 0
  while (checkBatch(region, at, region.length, false) === undefined && lastOffsetOf(region.view, at) < flushedOffset) {
    at += batchBytes(region.view, at)
  }
  tear(path, at, mode, random)
}

/** Tears a file from a position on. The sector that holds the position keeps what was before it. */
function tear(path: string, from: number, mode: Mode, random: Random): void {
  if (mode === 'keep') return
  const bytes = statSync(path).size
  const fd = openSync(path, 'r+')
  const end = mode === 'prefix' ? random.between(from, bytes) : from
  for (let at = end; at < bytes; ) {
    const next = Math.min(at - (at % SECTOR_BYTES) + SECTOR_BYTES, bytes)
    if (mode !== 'sectors' || random.chance(0.4)) writeSync(fd, ZEROS, 0, next - at, at)
    at = next
  }
  // Its new length may not have been written either.
  if (random.chance(0.1)) ftruncateSync(fd, random.between(from, bytes))
  closeSync(fd)
}
