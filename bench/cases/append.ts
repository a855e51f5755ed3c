/**
 * Appends until acknowledged, one producer thread, one partition: records through the hot path, and batches that are
 * encoded already. A round is several timed pieces that fit the memory which the engine has brought in ahead of its tail;
 * `sustained` is as much in one go, from the first byte of a topic on, and what the engine does for it. Main thread.
 */
import { type EncodedBatch, encodeBatch } from '../../engine/format/record-batch.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, ROUND_BYTES } from '../limits/all.ts'
import { makeValues, VALUE_COUNT } from '../limits/values.ts'
import { appendRecords, openEngine } from './engine.ts'
import { PIECE_BYTES, type Piece, RoundTopic } from './round-topic.ts'

const PIECES = Math.floor(ROUND_BYTES / PIECE_BYTES)
const NUDGE_BYTES = 1024 * 1024

/** Different batches that are sent in turn, as many chunks as the copy limit cycles through. */
const BATCHES = 64

/** A piece, and what it counts in the case's unit. */
interface Work extends Piece {
  readonly work: number
}

/** Makes a piece of about `bytes` in the log. */
type MakeWork = (bytes: number) => Work

async function pieceSide(context: BenchContext, makeWork: MakeWork): Promise<Side> {
  const engine = await openEngine(context, 'append')
  const topic = new RoundTopic(engine, await engine.producer())
  const piece = makeWork(PIECE_BYTES)
  const nudge = makeWork(NUDGE_BYTES)
  return {
    work: piece.work * PIECES,
    async prepare() {
      await topic.renew()
      await topic.ramp(piece)
    },
    async round() {
      let ms = 0
      for (let i = 0; i < PIECES; i++) {
        await topic.getAhead(nudge)
        ms += await topic.append(piece)
      }
      await topic.check()
      return ms
    },
  }
}

async function sustainedSide(context: BenchContext, makeWork: MakeWork): Promise<Side> {
  const engine = await openEngine(context, 'append-sustained')
  const topic = new RoundTopic(engine, await engine.producer())
  const all = makeWork(ROUND_BYTES)
  return {
    work: all.work,
    prepare: () => topic.renew(),
    async round() {
      const ms = await topic.append(all)
      await topic.check()
      return ms
    },
  }
}

function recordsOf(valueBytes: number, unit: 'records' | 'bytes'): MakeWork {
  const values = makeValues(valueBytes)
  return bytes => {
    const records = Math.floor(bytes / (valueBytes + 10)) // about what a record takes in its batch
    return {
      work: unit === 'records' ? records : records * valueBytes,
      records,
      append: (producer, appender) => appendRecords(producer, appender, values, records, 1024),
    }
  }
}

function batchesOf(batchBytes: number): MakeWork {
  const values = makeValues(100)
  const batches = Array.from({ length: BATCHES }, (_, batch) => encodeUpTo(batchBytes, values, batch))
  const cycleBytes = batches.reduce((sum, { bytes: { length } }) => sum + length, 0)
  const cycleRecords = batches.reduce((sum, { recordCount }) => sum + recordCount, 0)
  return bytes => {
    const cycles = Math.floor(bytes / cycleBytes)
    return {
      work: cycleBytes * cycles,
      records: cycleRecords * cycles,
      async append(producer, appender) {
        for (let i = 0; i < BATCHES * cycles; i++) {
          const batch = batches[i & (BATCHES - 1)] as EncodedBatch
          while (!appender.tryAppendBatch(batch)) await producer.ready()
        }
      },
    }
  }
}

/** As many records as a batch of `batchBytes` holds. */
function encodeUpTo(batchBytes: number, values: readonly Uint8Array[], batch: number): EncodedBatch {
  const count = Math.floor((batchBytes - 61) / 110)
  const records = Array.from({ length: count }, (_, i) => ({
    timestamp: batch,
    value: values[(batch * count + i) & (VALUE_COUNT - 1)] as Uint8Array,
  }))
  return encodeBatch(records)
}

type Limit = 'encode100' | 'encode1KiB' | 'copy16KiB'

function append(
  name: string,
  unit: BenchCase['unit'],
  bar: number,
  limit: Limit,
  makeWork: () => MakeWork,
): BenchCase[] {
  const { name: limitName, side: limitSide } = LIMITS[limit]
  return [
    {
      name,
      unit,
      bar,
      limitName,
      run: async context => context.compareRates(await pieceSide(context, makeWork()), limitSide(context)),
    },
    {
      name: `${name}/sustained`,
      unit,
      limitName,
      run: async context => context.compareRates(await sustainedSide(context, makeWork()), limitSide(context)),
    },
  ]
}

export const appendCases: BenchCase[] = [
  ...append('append/100B', 'records/s', 0.5, 'encode100', () => recordsOf(100, 'records')),
  ...append('append/1KiB', 'bytes/s', 0.5, 'encode1KiB', () => recordsOf(1024, 'bytes')),
  ...append('append-batches/16KiB', 'bytes/s', 0.4, 'copy16KiB', () => batchesOf(16 * 1024)),
]
