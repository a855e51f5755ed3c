/**
 * A partition log in the test's own thread: with the services as orders that the test carries out when it likes (or at
 * once), a clock that it holds, and a plain list of the batches that were appended, to compare the files with.
 */
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { ManualClock } from '../../../engine/base/clock.ts'
import { segmentFileName } from '../../../engine/format/file-names.ts'
import type { ProducerSnapshotEntry } from '../../../engine/format/producer-snapshot.ts'
import { batchBytes, encodeBatch, type RecordInput } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { OpenFiles } from '../../../engine/log/open-files.ts'
import { type AppendOutcome, PartitionLog } from '../../../engine/log/partition-log.ts'
import { PartitionReader } from '../../../engine/log/partition-reader.ts'
import type { PartitionState } from '../../../engine/log/partition-state.ts'
import { emptySegmentInfo } from '../../../engine/log/recovery-types.ts'
import type { LogServices, SealOrder } from '../../../engine/log/services.ts'
import { parseTopicConfig, type TopicConfig } from '../../../engine/log/topic-config.ts'
import { SLOT } from '../../../engine/memory/control-block.ts'
import { createEngineMemory, EngineMemory } from '../../../engine/memory/engine-memory.ts'
import { unmap } from '../../../engine/memory/libc.ts'
import { SEGMENT, SegmentEntries } from '../../../engine/memory/segment-table.ts'

export const START_MS = 1_700_000_000_000
/** `producer.id.expiration.ms`. */
export const EXPIRATION_MS = 60_000

type Order =
  | { readonly kind: 'allocate'; readonly from: number; readonly to: number; readonly sync: boolean }
  | { readonly kind: 'flush'; readonly offset: number; readonly baseOffset: number }
  | { readonly kind: 'seal'; readonly order: SealOrder }
  | { readonly kind: 'remove'; readonly baseOffset: number }

/** Janitor and flusher are two threads: each answers in the order of its orders. */
const JANITOR = new Set(['allocate', 'remove'])

export class TestServices implements LogServices {
  log: PartitionLog | undefined
  readonly orders: Order[] = []
  /** By offset. */
  readonly snapshots = new Map<number, readonly ProducerSnapshotEntry[]>()
  /** Orders are carried out as they are given. */
  inline: boolean
  failFlushes = false
  readonly #directory: string

  constructor(directory: string, inline: boolean) {
    this.#directory = directory
    this.inline = inline
  }

  allocate(_slot: number, _fd: number, from: number, to: number, _address: number, sync: boolean): void {
    this.#order({ kind: 'allocate', from, to, sync })
  }

  flush(_slot: number, _fd: number, offset: number, baseOffset: number): void {
    this.#order({ kind: 'flush', offset, baseOffset })
  }

  seal(_slot: number, order: SealOrder): void {
    this.#order({ kind: 'seal', order })
  }

  remove(_slot: number, baseOffset: number): void {
    this.#order({ kind: 'remove', baseOffset })
  }

  snapshot(_slot: number, _directory: string, offset: number, entries: readonly ProducerSnapshotEntry[]): void {
    this.snapshots.set(offset, entries)
  }

  dirty(): void {}

  moved(): void {}

  #order(order: Order): void {
    this.orders.push(order)
    if (this.inline) this.answer()
  }

  /** Carries out the oldest order of one of the two services; false when it has none. */
  answer(service?: 'janitor' | 'flusher'): boolean {
    const at = this.orders.findIndex(
      ({ kind }) => service === undefined || JANITOR.has(kind) === (service === 'janitor'),
    )
    const order = this.orders[at]
    if (order === undefined) return false
    this.orders.splice(at, 1)
    this.#carryOut(order)
    return true
  }

  answerAll(): void {
    while (this.answer()) {
      // until nothing is left
    }
  }

  #carryOut(order: Order): void {
    const log = this.log as PartitionLog
    if (order.kind === 'allocate') {
      const half = order.from + Math.floor((order.to - order.from) / 2)
      log.allocated(half, false) // a large allocation is answered in pieces
      log.allocated(order.to, true)
    } else if (order.kind === 'flush') {
      log.flushed(this.failFlushes ? log.flushedOffset : order.offset, !this.failFlushes)
    } else if (order.kind === 'seal') {
      const { fd, finalBytes, address, mappedBytes } = order.order
      ftruncateSync(fd, finalBytes)
      unmap(BigInt(address), mappedBytes)
      closeSync(fd)
      log.sealed(!this.failFlushes)
    } else {
      for (const suffix of ['log', 'index', 'timeindex'] as const)
        rmSync(join(this.#directory, segmentFileName(order.baseOffset, suffix)), { force: true })
    }
  }
}

/** A batch as it should be in the log. */
export interface ModelBatch {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly records: readonly RecordInput[]
  readonly maxTimestamp: number
  readonly bytes: Buffer
}

export interface FixtureOptions {
  readonly config?: Readonly<Record<string, string>>
  readonly inline?: boolean
  readonly leaderEpoch?: number
  readonly baseOffset?: number
  /** Default: one descriptor, for this partition alone. */
  readonly files?: OpenFiles
}

/** A view of a gigabyte takes a garbage collection. */
const DEFAULTS = { 'segment.bytes': '8388608' }

/** Fixtures of one file share a control block, which takes megabytes; each has a slot and a share of the segments. */
const FIXTURES_MAX = 128
let shared: EngineMemory | undefined
let fixtures = 0

function sharedMemory(): EngineMemory {
  if (shared !== undefined) return shared
  const directory = mkdtempSync(join(tmpdir(), 'millrace-memory-'))
  shared = new EngineMemory(createEngineMemory(directory))
  rmSync(directory, { recursive: true }) // it stays mapped
  return shared
}

export class PartitionFixture {
  readonly directory: string
  readonly memory = sharedMemory()
  readonly slot = fixtures++ % FIXTURES_MAX
  readonly clock = new ManualClock(START_MS)
  readonly services: TestServices
  readonly entries: SegmentEntries
  readonly batches: ModelBatch[] = []
  readonly files: OpenFiles
  log: PartitionLog

  constructor(directory: string, options: FixtureOptions = {}) {
    const { config = {}, inline = true, leaderEpoch = 0, baseOffset = 0 } = options
    this.directory = join(directory, 't-0')
    this.files = options.files ?? new OpenFiles(1)
    mkdirSync(this.directory)
    this.memory.control.clear(this.slot)
    this.services = new TestServices(this.directory, inline)
    this.entries = new SegmentEntries(this.memory.segments, this.slot, FIXTURES_MAX)
    this.log = this.adopt(parseTopicConfig({ ...DEFAULTS, ...config }), {
      segments: [emptySegmentInfo(baseOffset)],
      logStartOffset: baseOffset,
      logEndOffset: baseOffset,
      leaderEpoch,
    })
  }

  /** Takes the partition over, as a writer does at the start and after recovery. */
  adopt(
    config: TopicConfig,
    state: Pick<PartitionState, 'segments' | 'logStartOffset' | 'logEndOffset' | 'leaderEpoch'> &
      Partial<Pick<PartitionState, 'producers'>>,
  ): PartitionLog {
    const slotGeneration = this.word('slotGeneration')
    const { directory, memory, services, entries, files, clock, slot } = this
    const identity = { slot, slotGeneration, topic: 't', partition: 0, directory, config }
    // Recovery leaves a file for every segment.
    for (const { baseOffset } of state.segments) writeFileSync(this.logPath(baseOffset), '', { flag: 'a' })
    const shared = {
      control: memory.control,
      table: memory.segments,
      entries,
      services,
      files,
      clock,
      producerIdExpirationMs: EXPIRATION_MS,
    }
    this.log = new PartitionLog({ ...identity, cleanedOffset: 0, producers: [], ...state }, shared)
    services.log = this.log
    return this.log
  }

  /** Closes the log cleanly and takes it over again under the next leader epoch. */
  reopen(config = this.log.config): void {
    this.log.flush()
    this.services.answerAll()
    const { logStartOffset, logEndOffset, leaderEpoch } = this.log
    const producers = this.log.producers.entries()
    const segments = this.log.describe()
    this.log.close(true)
    this.adopt(config, { segments, logStartOffset, logEndOffset, leaderEpoch: leaderEpoch + 1, producers })
  }

  logPath(baseOffset: number): string {
    return join(this.directory, segmentFileName(baseOffset, 'log'))
  }

  /** Hands one batch to the log, as a producer's slab has it. */
  tryAppend(records: readonly RecordInput[]): AppendOutcome {
    const { bytes } = encodeBatch(records)
    const baseOffset = this.log.logEndOffset
    const region = Region.of(bytes)
    const outcome = this.log.append(region, 0, bytes.length)
    if (outcome === 'appended') {
      expect(this.log.lastBaseOffset).toBe(baseOffset)
      const nextOffset = baseOffset + records.length
      const newest = Math.max(...records.map(({ timestamp }) => timestamp))
      const maxTimestamp = this.log.config.logAppendTime ? this.clock.nowMs() : newest
      this.batches.push({ baseOffset, nextOffset, records, maxTimestamp, bytes: region.bytes })
    }
    return outcome
  }

  /** As `tryAppend`, answering orders while the log has no room. */
  append(records: readonly RecordInput[]): void {
    for (let tried = 0; this.tryAppend(records) === 'parked'; tried++) {
      this.services.answerAll()
      expect(tried, 'room comes once the orders are carried out').toBeLessThan(5)
    }
  }

  /** `count` batches of one record of `valueBytes` each. */
  appendMany(count: number, valueBytes: number, timestamp = START_MS): void {
    for (let i = 0; i < count; i++) this.append([{ timestamp, value: Buffer.alloc(valueBytes, i) }])
  }

  word(name: keyof typeof SLOT): number {
    return this.memory.control.get(this.slot, SLOT[name])
  }

  reader(): PartitionReader {
    const location = { topic: 't', partition: 0, directory: this.directory, slot: this.slot }
    const slotGeneration = this.word('slotGeneration')
    return new PartitionReader({ ...location, slotGeneration }, this.memory.control, this.memory.segments)
  }

  /** The shared segment list, head to tail. */
  listed(): { entry: number; baseOffset: number; sizeBytes: number; maxTimestamp: number }[] {
    const { segments } = this.memory
    const list: ReturnType<PartitionFixture['listed']> = []
    for (let entry = this.word('headSegment'); entry >= 0; entry = segments.get(entry, SEGMENT.nextSegment)) {
      list.push({
        entry,
        baseOffset: segments.get(entry, SEGMENT.baseOffset),
        sizeBytes: segments.get(entry, SEGMENT.sizeBytes),
        maxTimestamp: segments.get(entry, SEGMENT.maxTimestamp),
      })
    }
    return list
  }

  /** Holds everything that is shared and everything in the files against the list of batches. */
  check(): void {
    const list = this.listed()
    const { log } = this
    expect(this.word('generation') % 2).toBe(0)
    expect(this.word('segmentCount')).toBe(list.length)
    expect(this.word('tailSegment')).toBe(list.at(-1)?.entry)
    expect([this.word('logStartOffset'), this.word('logEndOffset')]).toEqual([log.logStartOffset, log.logEndOffset])
    expect([this.word('highWatermark'), this.word('lastStableOffset')]).toEqual([log.highWatermark, log.highWatermark])
    expect(log.flushedOffset).toBe(this.word('flushedOffset'))
    expect(log.logStartOffset).toBeLessThanOrEqual(log.highWatermark)
    expect(log.highWatermark).toBeLessThanOrEqual(log.logEndOffset)
    expect(log.flushedOffset).toBeLessThanOrEqual(log.logEndOffset)
    expect(list[0]?.baseOffset).toBeLessThanOrEqual(log.logStartOffset)
    for (const [index, { baseOffset, sizeBytes, maxTimestamp }] of list.entries()) {
      const end = list[index + 1]?.baseOffset ?? log.logEndOffset
      const expected = this.batches.filter(batch => batch.baseOffset >= baseOffset && batch.baseOffset < end)
      const inFile = readFileSync(this.logPath(baseOffset)).subarray(0, sizeBytes)
      expect(inFile.equals(Buffer.concat(expected.map(({ bytes }) => bytes))), `segment ${baseOffset}`).toBe(true)
      expect(maxTimestamp).toBe(Math.max(-1, ...expected.map(batch => batch.maxTimestamp)))
    }
  }

  /** Batches of the segment that begins at `baseOffset`, as they are in its file. */
  batchCount(baseOffset: number): number {
    const sizeBytes = this.listed().find(segment => segment.baseOffset === baseOffset)?.sizeBytes ?? 0
    const { view } = Region.of(readFileSync(this.logPath(baseOffset)))
    let count = 0
    for (let at = 0; at < sizeBytes; at += batchBytes(view, at)) count += 1
    return count
  }

  /** As the broker asks for it, which stores the log start in between. */
  deleteRecords(offset: number): void {
    this.log.deleteRecordsBefore(offset)
    this.log.removeBelowStart()
  }

  close(): void {
    if (!this.services.inline) this.services.answerAll()
    this.log.close(true)
  }
}
