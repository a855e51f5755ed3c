/** The indexer by itself: entries for what was published, whenever it comes to it, the lock that it holds, and its mail. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { segmentFileName } from '../../engine/format/file-names.ts'
import { batchBytes, encodeBatch, lastOffsetOf, stampBatch } from '../../engine/format/record-batch.ts'
import { Region } from '../../engine/format/region.ts'
import { INDEX_LOCK, SLOT, STATE } from '../../engine/memory/control-block.ts'
import { SEGMENT } from '../../engine/memory/segment-table.ts'
import { LoopFixture, SLOT_NUMBER } from './loop-fixture.ts'

let fixture: LoopFixture
beforeEach(() => {
  fixture = new LoopFixture('indexer')
  const { control } = fixture.memory
  control.set(SLOT_NUMBER, SLOT.state, STATE.online)
})
afterEach(() => fixture.close())

/** Bytes of `count` batches of one record from `baseOffset` on. */
function batches(baseOffset: number, count: number): Buffer {
  const parts = Array.from({ length: count }, (_, i) => {
    const { bytes } = encodeBatch([{ timestamp: 1_000 + baseOffset + i, value: Buffer.alloc(50, i) }])
    stampBatch(Region.of(bytes).view, 0, baseOffset + i, 0)
    return bytes
  })
  return Buffer.concat(parts)
}

/** Publishes a list of segments as the writer does: `sizes` are the published bytes of each. */
function publish(segments: readonly { baseOffset: number; bytes: Buffer; sizeBytes?: number }[]): void {
  const { control, segments: table } = fixture.memory
  control.beginChange(SLOT_NUMBER)
  for (const [entry, { baseOffset, bytes, sizeBytes = bytes.length }] of segments.entries()) {
    const path = join(fixture.partitionFolder, segmentFileName(baseOffset, 'log'))
    writeFileSync(path, entry === segments.length - 1 ? Buffer.concat([bytes, Buffer.alloc(4_096)]) : bytes)
    table.set(entry, SEGMENT.baseOffset, baseOffset)
    table.set(entry, SEGMENT.sizeBytes, sizeBytes)
    table.set(entry, SEGMENT.nextSegment, entry === segments.length - 1 ? -1 : entry + 1)
  }
  control.set(SLOT_NUMBER, SLOT.headSegment, 0)
  control.set(SLOT_NUMBER, SLOT.tailSegment, segments.length - 1)
  control.set(SLOT_NUMBER, SLOT.segmentCount, segments.length)
  control.endChange(SLOT_NUMBER)
  fixture.memory.markDirty(SLOT_NUMBER)
}

async function indexedTo(entry: number, position: number): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (fixture.memory.segments.get(entry, SEGMENT.indexedPosition) !== position) {
    if (performance.now() > deadlineMs) throw new Error(`not indexed to ${position}`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
}

test('follows what is published, and no further', async () => {
  fixture.serve()
  const bytes = batches(0, 100)
  const half = batches(0, 50).length
  publish([{ baseOffset: 0, bytes, sizeBytes: half }])
  await indexedTo(0, half)
  const entries = (): number => fixture.memory.segments.get(0, SEGMENT.offsetEntries)
  const before = entries()
  expect(before).toBeGreaterThan(10) // an entry about every 200 bytes
  fixture.memory.segments.set(0, SEGMENT.sizeBytes, bytes.length)
  fixture.memory.markDirty(SLOT_NUMBER)
  await indexedTo(0, bytes.length)
  expect(entries()).toBeGreaterThan(before * 1.8)
  expect(fixture.memory.control.get(SLOT_NUMBER, SLOT.indexLock)).toBe(INDEX_LOCK.free)
})

test('a closed segment gets its last time entry, and its files are cut to their entries', async () => {
  fixture.serve()
  const [first, second] = [batches(0, 40), batches(40, 3)]
  publish([
    { baseOffset: 0, bytes: first },
    { baseOffset: 40, bytes: second },
  ])
  await indexedTo(1, second.length)
  const { segments } = fixture.memory
  const path = (suffix: 'index' | 'timeindex'): string => join(fixture.partitionFolder, segmentFileName(0, suffix))
  expect(statSync(path('index')).size).toBe(8 * segments.get(0, SEGMENT.offsetEntries))
  expect(statSync(path('timeindex')).size).toBe(12 * segments.get(0, SEGMENT.timeEntries))
  const times = readFileSync(path('timeindex'))
  expect(times.readBigInt64BE(times.length - 12)).toBe(1_039n) // the largest timestamp
  expect(times.readUInt32BE(times.length - 4)).toBe(
    lastOffsetOf(Region.of(first).view, first.length - batchBytes(Region.of(first).view, 0)),
  )
})

test('while a writer holds the lock it waits, and comes back', async () => {
  fixture.serve()
  const { control, segments } = fixture.memory
  control.set(SLOT_NUMBER, SLOT.indexLock, INDEX_LOCK.writer)
  const bytes = batches(0, 20)
  publish([{ baseOffset: 0, bytes }])
  await new Promise(resolve => setTimeout(resolve, 60))
  expect(segments.get(0, SEGMENT.indexedPosition)).toBe(0)
  control.set(SLOT_NUMBER, SLOT.indexLock, INDEX_LOCK.free)
  await indexedTo(0, bytes.length)
})

test('a partition that it has not been told of, or that is another by now, is left alone', async () => {
  const bytes = batches(0, 20)
  publish([{ baseOffset: 0, bytes }])
  fixture.serve()
  fixture.memory.control.add(SLOT_NUMBER, SLOT.slotGeneration, 1) // the slot was given away
  fixture.memory.markDirty(SLOT_NUMBER)
  await fixture.ask({ kind: 'settle' })
  expect(fixture.memory.segments.get(0, SEGMENT.indexedPosition)).toBe(0)
  expect(existsSync(join(fixture.partitionFolder, segmentFileName(0, 'index')))).toBe(false)
})

test('damage is told once, however often there is something new', async () => {
  fixture.serve()
  const bytes = batches(0, 20)
  bytes.writeInt32BE(-5, bytes.length - batchBytes(Region.of(bytes).view, 0) + 8) // the length of the last batch
  publish([{ baseOffset: 0, bytes }])
  const warning = await fixture.event('warning')
  expect(warning).toMatchObject({ error: { code: 'CORRUPT_BATCH', details: { reason: 'length' } } })
  for (let i = 0; i < 5; i++) {
    fixture.memory.markDirty(SLOT_NUMBER)
    await new Promise(resolve => setTimeout(resolve, 15))
  }
  expect(fixture.events.filter(({ kind }) => kind === 'warning')).toHaveLength(1)
})

test('settle indexes everything at once and closes the files', async () => {
  fixture.serve()
  const bytes = batches(0, 300)
  publish([{ baseOffset: 0, bytes }])
  expect((await fixture.ask({ kind: 'settle' })).error).toBe(undefined)
  const { segments } = fixture.memory
  expect(segments.get(0, SEGMENT.indexedPosition)).toBe(bytes.length)
  const size = (suffix: 'index' | 'timeindex'): number =>
    statSync(join(fixture.partitionFolder, segmentFileName(0, suffix))).size
  expect(size('index')).toBe(8 * segments.get(0, SEGMENT.offsetEntries))
  expect(size('timeindex')).toBe(12 * segments.get(0, SEGMENT.timeEntries))
})
