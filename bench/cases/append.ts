/**
 * Appends until acknowledged, one producer thread, one partition: records through the hot path, and batches that are
 * encoded already. Main thread.
 *
 * The limits write to memory that was brought in before. The engine brings memory in ahead of its tail, at most 64 MiB, so
 * a round is several timed pieces that fit what is there, with a pause before each in which the engine gets ahead
 * again. `sustained` is the same amount without a pause, from the first byte of a topic on.
 */
import type { Appender, Millrace, Producer } from '../../client/index.ts'
import { type EncodedBatch, encodeBatch } from '../../engine/format/record-batch.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, ROUND_BYTES } from '../limits/all.ts'
import { makeValues, VALUE_COUNT } from '../limits/values.ts'
import { appendRecords, KEEP, openEngine } from './engine.ts'

/** Less than what the engine has ahead of a tail that moved by 128 MiB: between 32 and 64 MiB. */
const PIECE_BYTES = 32 * 1024 * 1024
const PIECES = ROUND_BYTES / PIECE_BYTES
/** Pieces that are not timed: the engine's steps ahead double from 64 KiB to 64 MiB while they are appended. */
const RAMP_PIECES = 4
/** Several times what the engine needs to bring 64 MiB in, and to index a piece. */
const PAUSE_MS = 60

/** Different batches that are sent in turn, as many chunks as the copy limit cycles through. */
const BATCHES = 64

/** A piece of about `PIECE_BYTES` in the log. */
interface Piece {
  /** In the case's unit. */
  readonly work: number
  readonly records: number
  append(producer: Producer, appender: Appender): Promise<void>
}

/** Where a piece goes: a topic of its own for every round, which is deleted before the next is made. */
class RoundTopic {
  readonly #engine: Millrace
  readonly producer: Producer
  #topic = ''
  #rounds = 0
  #records = 0
  appender!: Appender

  constructor(engine: Millrace, producer: Producer) {
    this.#engine = engine
    this.producer = producer
  }

  async renew(): Promise<void> {
    if (this.#topic !== '') await this.#engine.admin.deleteTopic(this.#topic)
    this.#topic = `append-${this.#rounds++}`
    this.#records = 0
    await this.#engine.admin.createTopic({ topic: this.#topic, config: KEEP })
    this.appender = await this.producer.appender(this.#topic, 0)
  }

  /** @returns the milliseconds until all of it was acknowledged */
  async append(piece: Piece): Promise<number> {
    const start = performance.now()
    await piece.append(this.producer, this.appender)
    await this.producer.flush()
    const ms = performance.now() - start
    this.#records += piece.records
    return ms
  }

  /** @throws unless the log holds what was appended */
  async check(): Promise<void> {
    const { partitions } = await this.#engine.admin.describeTopic(this.#topic)
    const highWatermark = partitions[0]?.highWatermark
    if (highWatermark !== this.#records) throw new Error(`${highWatermark} of ${this.#records} records`)
  }
}

async function appendSide(context: BenchContext, piece: Piece, isSustained: boolean): Promise<Side> {
  const engine = await openEngine(context, 'append')
  const topic = new RoundTopic(engine, await engine.producer())
  return {
    work: piece.work * PIECES,
    async prepare() {
      await topic.renew()
      if (isSustained) return
      for (let i = 0; i < RAMP_PIECES; i++) await topic.append(piece)
    },
    async round() {
      let ms = 0
      for (let i = 0; i < PIECES; i++) {
        if (!isSustained) await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
        ms += await topic.append(piece)
      }
      await topic.check()
      return ms
    },
  }
}

function recordsOf(valueBytes: number, unit: 'records' | 'bytes'): Piece {
  const values = makeValues(valueBytes)
  const records = Math.floor(PIECE_BYTES / (valueBytes + 10)) // about what a record takes in its batch
  return {
    work: unit === 'records' ? records : records * valueBytes,
    records,
    append: (producer, appender) => appendRecords(producer, appender, values, records, 1024),
  }
}

function batchesOf(batchBytes: number): Piece {
  const values = makeValues(100)
  const batches = Array.from({ length: BATCHES }, (_, batch) => encodeUpTo(batchBytes, values, batch))
  const bytes = batches.reduce((sum, { bytes: { length } }) => sum + length, 0)
  const records = batches.reduce((sum, { recordCount }) => sum + recordCount, 0)
  const cycles = Math.floor(PIECE_BYTES / bytes)
  return {
    work: bytes * cycles,
    records: records * cycles,
    async append(producer, appender) {
      for (let i = 0; i < BATCHES * cycles; i++) {
        const batch = batches[i & (BATCHES - 1)] as EncodedBatch
        while (!appender.tryAppendBatch(batch)) await producer.ready()
      }
    },
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

interface AppendCase {
  readonly name: string
  readonly unit: BenchCase['unit']
  readonly limit: 'encode100' | 'encode1KiB' | 'copy16KiB'
  readonly bar?: number
  readonly makePiece: () => Piece
}

const append = ({ name, unit, limit, bar, makePiece }: AppendCase): BenchCase => ({
  name,
  unit,
  ...(bar === undefined ? {} : { bar }),
  limitName: LIMITS[limit].name,
  async run(context) {
    const side = await appendSide(context, makePiece(), name.endsWith('/sustained'))
    return context.compareRates(side, LIMITS[limit].side(context))
  },
})

const makeRecords100 = (): Piece => recordsOf(100, 'records')

export const appendCases: BenchCase[] = [
  append({ name: 'append/100B', unit: 'records/s', limit: 'encode100', bar: 0.5, makePiece: makeRecords100 }),
  append({ name: 'append/100B/sustained', unit: 'records/s', limit: 'encode100', makePiece: makeRecords100 }),
  append({
    name: 'append/1KiB',
    unit: 'bytes/s',
    limit: 'encode1KiB',
    bar: 0.5,
    makePiece: () => recordsOf(1024, 'bytes'),
  }),
  append({
    name: 'append-batches/16KiB',
    unit: 'bytes/s',
    limit: 'copy16KiB',
    bar: 0.4,
    makePiece: () => batchesOf(16 * 1024),
  }),
]
