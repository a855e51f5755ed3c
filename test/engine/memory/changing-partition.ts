/**
 * A partition that never rests, for readers in other threads: appends, rolls, truncations, removal of old segments, and
 * now and then another partition in the same slot. What must be seen together follows from the generation: the leader
 * epoch is half of it, and base offsets rise along the list from the log start offset.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { Random } from '../../../engine/base/random.ts'
import { ControlBlock, SLOT } from '../../../engine/memory/control-block.ts'
import { SEGMENT, SegmentEntries, SegmentTable } from '../../../engine/memory/segment-table.ts'
import { spin } from './threads.ts'

export interface ChangingPartition {
  readonly control: SharedArrayBuffer
  readonly table: SharedArrayBuffer
  /** Word 0 becomes 1 when the test has seen enough, word 1 when the partition is there. */
  readonly signals: SharedArrayBuffer
  readonly slot: number
  readonly seed: number
}

export interface ChangeReport {
  readonly changes: number
  readonly partitions: number
}

const SEGMENTS_MAX = 12

const { control: controlWords, table: tableWords, signals, slot, seed } = workerData as ChangingPartition
const stop = new Int32Array(signals)
const random = new Random(seed)
const control = new ControlBlock(new BigInt64Array(controlWords))
const table = new SegmentTable(new BigInt64Array(tableWords))
const entries = new SegmentEntries(table, 1, 2)

let list: { entry: number; baseOffset: number }[] = []
let logEndOffset = 0
let changes = 0

function change(what: () => void): void {
  control.beginChange(slot)
  what()
  spin(random.below(300)) // caught in the middle
  // The generation that `endChange` makes.
  control.set(slot, SLOT.leaderEpoch, (control.get(slot, SLOT.generation) + 1) / 2)
  control.endChange(slot)
  changes += 1
}

/** As an append does: each offset is stored after the one that bounds it. */
function publishOffsets(): void {
  const tail = list.at(-1) as { entry: number; baseOffset: number }
  table.set(tail.entry, SEGMENT.sizeBytes, logEndOffset - tail.baseOffset)
  control.set(slot, SLOT.logEndOffset, logEndOffset)
  control.set(slot, SLOT.flushedOffset, logEndOffset)
  control.set(slot, SLOT.highWatermark, logEndOffset)
  control.set(slot, SLOT.lastStableOffset, logEndOffset)
}

function link(baseOffset: number): void {
  const entry = entries.take()
  table.set(entry, SEGMENT.baseOffset, baseOffset)
  table.set(entry, SEGMENT.sizeBytes, 0)
  const tail = list.at(-1)
  if (tail === undefined) control.set(slot, SLOT.headSegment, entry)
  else table.set(tail.entry, SEGMENT.nextSegment, entry)
  list.push({ entry, baseOffset })
  publishList()
}

function publishList(): void {
  const head = list[0] as { entry: number; baseOffset: number }
  control.set(slot, SLOT.headSegment, head.entry)
  control.set(slot, SLOT.logStartOffset, head.baseOffset)
  control.set(slot, SLOT.segmentCount, list.length)
}

function drop(count: number, from: 'head' | 'tail'): void {
  const dropped = from === 'head' ? list.splice(0, count) : list.splice(list.length - count, count)
  const tail = list.at(-1)
  if (from === 'tail' && tail !== undefined) table.set(tail.entry, SEGMENT.nextSegment, -1)
  publishList()
  for (const segment of dropped) entries.give(segment.entry)
}

function start(): void {
  change(() => {
    logEndOffset = random.below(1_000_000) + 1
    link(logEndOffset)
    publishOffsets()
  })
}

let partitions = 1
control.clear(slot)
start()
Atomics.store(stop, 1, 1)
Atomics.notify(stop, 1)
while (Atomics.load(stop, 0) === 0) {
  for (let append = random.below(20); append > 0; append--) {
    logEndOffset += random.between(1, 50)
    publishOffsets()
  }
  spin(random.below(2_000))
  if (random.chance(0.01)) {
    control.clear(slot)
    for (const segment of list) entries.give(segment.entry)
    list = []
    partitions += 1
    spin(random.below(1_000))
    start()
  } else if (list.length < 2 || (list.length < SEGMENTS_MAX && random.chance(0.5))) {
    const at = logEndOffset
    if (at > (list.at(-1)?.baseOffset ?? -1)) change(() => link(at))
  } else if (random.chance(0.5)) {
    change(() => drop(random.between(1, list.length - 1), 'head'))
  } else {
    change(() => {
      drop(random.between(1, list.length - 1), 'tail')
      logEndOffset = (list.at(-1)?.baseOffset ?? 0) + 1
      publishOffsets()
    })
  }
}
const report: ChangeReport = { changes, partitions }
parentPort?.postMessage(report)
