/**
 * Records of five fields with a registered schema: encoded and appended through the hot path until acknowledged, and read
 * and decoded. The limit is avsc alone on the same values. Appends are timed in pieces as those of append.ts are, reads go
 * over a log that was checked before as those of read.ts do. Main thread.
 */
import { type AvroSerde, avro, type Millrace } from '../../client/index.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { AVRO_RECORDS, LIMITS } from '../limits/all.ts'
import { makeTrades, TRADE_SCHEMA, type Trade } from '../limits/avro.ts'
import { FIRST_TIMESTAMP, VALUE_COUNT } from '../limits/values.ts'
import { KEEP, openEngine, TOPIC } from './engine.ts'
import { PIECE_BYTES, type Piece, RoundTopic } from './round-topic.ts'

/** About what a record takes in its batch: its value, the wire format's five bytes, and ten around them. */
const RECORD_BYTES = 44
const PIECE_RECORDS = Math.floor(PIECE_BYTES / RECORD_BYTES)
const PIECES = Math.ceil(AVRO_RECORDS / PIECE_RECORDS)
const NUDGE_RECORDS = Math.floor((1024 * 1024) / RECORD_BYTES)
const RECORDS_PER_MS = 1024

const DEFINITION = avro(TRADE_SCHEMA)

async function tradeSerde(engine: Millrace): Promise<AvroSerde<Trade>> {
  const { id } = await engine.schemas.register('trades-value', DEFINITION)
  return DEFINITION.serde(id) as AvroSerde<Trade>
}

function piece(serde: AvroSerde<Trade>, records: number): Piece {
  const trades = makeTrades()
  return {
    records,
    async append(producer, appender) {
      for (let i = 0; i < records; i++) {
        const value = serde.encode(trades[i & (VALUE_COUNT - 1)] as Trade)
        const timestamp = FIRST_TIMESTAMP + Math.floor(i / RECORDS_PER_MS)
        while (!appender.tryAppend(value, null, timestamp)) await producer.ready()
      }
    },
  }
}

async function appendSide(context: BenchContext): Promise<Side> {
  const engine = await openEngine(context, 'avro-append')
  const topic = new RoundTopic(engine, await engine.producer())
  const serde = await tradeSerde(engine)
  const whole = piece(serde, PIECE_RECORDS)
  const nudge = piece(serde, NUDGE_RECORDS)
  return {
    work: PIECE_RECORDS * PIECES,
    async prepare() {
      await topic.renew()
      await topic.ramp(whole)
    },
    async round() {
      let ms = 0
      for (let i = 0; i < PIECES; i++) {
        await topic.getAhead(nudge)
        ms += await topic.append(whole)
      }
      await topic.check()
      return ms
    },
  }
}

/** Objects that stay a while, as in the limit. */
const KEPT = 1024
const kept: Trade[] = new Array(KEPT).fill(makeTrades()[0])

async function readSide(context: BenchContext): Promise<Side> {
  const engine = await openEngine(context, 'avro-read')
  const serde = await tradeSerde(engine)
  await engine.admin.createTopic({ topic: TOPIC, config: KEEP })
  const producer = await engine.producer()
  await piece(serde, AVRO_RECORDS).append(producer, await producer.appender(TOPIC, 0))
  await producer.close()
  const read = async (records: number): Promise<number> => {
    let quantities = 0
    let count = 0
    const start = performance.now()
    for await (const batch of engine.reader({ topic: TOPIC, partitions: [0], to: { offset: records } })) {
      for (const { value } of batch) {
        const trade = serde.decode(value as Uint8Array)
        quantities += trade.quantity
        kept[count++ & (KEPT - 1)] = trade
      }
    }
    const ms = performance.now() - start
    if (count !== records || quantities <= 0) throw new Error(`read ${count} records of ${records}`)
    return ms
  }
  return {
    work: AVRO_RECORDS,
    prepare: async () => {
      await read(VALUE_COUNT * 100)
    },
    round: () => read(AVRO_RECORDS),
  }
}

export const avroCases: BenchCase[] = [
  {
    name: 'avro/append',
    unit: 'records/s',
    bar: 0.5,
    limitName: LIMITS.avroEncode.name,
    run: async context => context.compareRates(await appendSide(context), LIMITS.avroEncode.side(context)),
  },
  {
    name: 'avro/read',
    unit: 'records/s',
    bar: 0.5,
    limitName: LIMITS.avroDecode.name,
    run: async context => context.compareRates(await readSide(context), LIMITS.avroDecode.side(context)),
  },
]
