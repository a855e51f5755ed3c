/**
 * What the log must hold, worked out from the columns alone: which flight lies at which offset of which partition. The
 * partition of a key is computed here once more, so that the engine's own choice is checked as well. Pure functions.
 */
import type { Flights } from './dataset.ts'

/** Per partition, the flights in offset order. */
export type Layout = readonly Uint32Array[]

/** Kafka's default partition of a key: murmur2 (Appleby) with its sign bit cleared, modulo the partitions. */
export function partitionOf(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitions
}

const MIX = 0x5bd1_e995
const SEED = 0x9747_b28c

function murmur2(key: Uint8Array): number {
  const view = new DataView(key.buffer, key.byteOffset, key.length)
  const words = key.length >> 2
  let hash = SEED ^ key.length
  for (let word = 0; word < words; word++) {
    let k = Math.imul(view.getInt32(word * 4, true), MIX)
    k = Math.imul(k ^ (k >>> 24), MIX)
    hash = Math.imul(hash, MIX) ^ k
  }
  const tail = words * 4
  if (tail < key.length) {
    for (let i = key.length - 1; i >= tail; i--) hash ^= (key[i] as number) << ((i - tail) * 8)
    hash = Math.imul(hash, MIX)
  }
  hash = Math.imul(hash ^ (hash >>> 13), MIX)
  return hash ^ (hash >>> 15)
}

/** The flights that each partition holds when they are appended in order, keyed by origin. */
export function layoutOf(flights: Flights, partitions: number): Layout {
  const partitionOfAirport = flights.airports.map(airport => partitionOf(Buffer.from(airport), partitions))
  const counts = new Array<number>(partitions).fill(0)
  for (const origin of flights.origins) addTo(counts, partitionOfAirport[origin] as number)
  const layout = counts.map(count => new Uint32Array(count))
  const ends = new Array<number>(partitions).fill(0)
  for (let flight = 0; flight < flights.count; flight++) {
    const partition = partitionOfAirport[flights.origins[flight] as number] as number
    const rows = layout[partition] as Uint32Array
    rows[addTo(ends, partition) - 1] = flight
  }
  return layout
}

function addTo(counts: number[], index: number): number {
  const count = (counts[index] as number) + 1
  counts[index] = count
  return count
}

/** Offset of the first flight of a partition at or after `timestamp`; the partition's length when there is none. */
export function offsetAtOrAfter(flights: Flights, rows: Uint32Array, timestamp: number): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((flights.timestamps[rows[middle] as number] as number) < timestamp) low = middle + 1
    else high = middle
  }
  return low
}

/** Flights and minutes of delay per airport. */
export interface Totals {
  readonly flights: Float64Array
  readonly delays: Float64Array
}

export const emptyTotals = (airports: number): Totals => ({
  flights: new Float64Array(airports),
  delays: new Float64Array(airports),
})

export function addFlight(totals: Totals, airport: number, delay: number): void {
  totals.flights[airport] = (totals.flights[airport] as number) + 1
  totals.delays[airport] = (totals.delays[airport] as number) + delay
}

export function totalsOf(flights: Flights): Totals {
  const totals = emptyTotals(flights.airports.length)
  for (let i = 0; i < flights.count; i++) addFlight(totals, flights.origins[i] as number, flights.delays[i] as number)
  return totals
}

export function sameTotals(a: Totals, b: Totals): boolean {
  return a.flights.every((n, i) => n === b.flights[i]) && a.delays.every((n, i) => n === b.delays[i])
}
