/**
 * Limits of Avro: avsc alone, on the same values as the engine's cases, by one thread. `toBuffer` gives each value bytes of
 * its own; `fromBuffer` makes an object of bytes that lie in cache. No record, no batch, no log. Frozen: no engine code.
 */
import avsc from 'avsc'
import type { Side } from '../harness/side.ts'
import { VALUE_COUNT } from './values.ts'

/** A trade: the five kinds of field that most records are made of. */
export const TRADE_SCHEMA = {
  type: 'record',
  name: 'Trade',
  fields: [
    { name: 'id', type: 'long' },
    { name: 'symbol', type: 'string' },
    { name: 'price', type: 'double' },
    { name: 'quantity', type: 'int' },
    { name: 'isBuy', type: 'boolean' },
  ],
} as const

export interface Trade {
  readonly id: number
  readonly symbol: string
  readonly price: number
  readonly quantity: number
  readonly isBuy: boolean
}

/** `VALUE_COUNT` different trades, about 28 bytes each in Avro. */
export function makeTrades(): Trade[] {
  return Array.from({ length: VALUE_COUNT }, (_, i) => ({
    id: 1_000_000_000_000 + i * 977,
    symbol: `SYM${String((i * 37) % 1000).padStart(3, '0')}`,
    price: 100 + i / 8,
    quantity: (i * 131) % 5000,
    isBuy: i % 2 === 0,
  }))
}

const type = avsc.Type.forSchema(TRADE_SCHEMA as unknown as avsc.Schema)

/** What a round keeps of its results: without that the compiler need not make them. A power of two. */
const KEPT = 1024

/** Rounds that encode `records` trades. */
export function avroEncodeLimit(records: number): Side {
  const trades = makeTrades()
  const kept: Buffer[] = new Array(KEPT).fill(Buffer.alloc(0))
  return {
    work: records,
    round() {
      const start = performance.now()
      for (let i = 0; i < records; i++) kept[i & (KEPT - 1)] = type.toBuffer(trades[i & (VALUE_COUNT - 1)])
      return performance.now() - start
    },
  }
}

/** Rounds that decode `records` trades, and add up what is in them. */
export function avroDecodeLimit(records: number): Side {
  const encoded = makeTrades().map(trade => type.toBuffer(trade))
  const kept: Trade[] = new Array(KEPT).fill(makeTrades()[0])
  return {
    work: records,
    round() {
      let quantities = 0
      const start = performance.now()
      for (let i = 0; i < records; i++) {
        const trade = type.fromBuffer(encoded[i & (VALUE_COUNT - 1)] as Buffer) as Trade
        quantities += trade.quantity
        kept[i & (KEPT - 1)] = trade
      }
      const ms = performance.now() - start
      if (quantities <= 0) throw new Error('the trades are not what was encoded')
      return ms
    },
  }
}
