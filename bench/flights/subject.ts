/** A topic beside the columns that it was filled from, and the comparison of one record with its flight. */
import type { Lookup, Millrace } from '../../client/index.ts'
import type { Flight, FlightCodec } from './codec.ts'
import type { Flights } from './dataset.ts'
import type { Layout } from './expected.ts'

/** Everything that a look into the topic needs. */
export interface Subject {
  readonly engine: Millrace
  readonly lookup: Lookup
  readonly topic: string
  readonly codec: FlightCodec
  readonly flights: Flights
  readonly layout: Layout
}

/** The fields of a record that are compared, as `for (const record of batch)` gives them. */
export interface ReadRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
}

/** The decoded flight when it is the one that belongs at this offset. */
export function decodeAndCompare(
  { flights, layout, codec }: Subject,
  partition: number,
  record: ReadRecord,
): Flight | undefined {
  const row = layout[partition]?.[record.offset]
  if (row === undefined || record.value === null || record.key === null) return undefined
  const flight = codec.decode(record.value)
  const origin = flights.airports[flights.origins[row] as number] as string
  const same =
    flight.origin === origin &&
    flight.destination === flights.airports[flights.destinations[row] as number] &&
    flight.delay === flights.delays[row] &&
    flight.distance === flights.distances[row] &&
    record.timestamp === flights.timestamps[row] &&
    isText(record.key, origin)
  return same ? flight : undefined
}

/** True when the bytes are the ASCII text; without making a string per record. */
function isText(bytes: Uint8Array, text: string): boolean {
  if (bytes.length !== text.length) return false
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== text.charCodeAt(i)) return false
  return true
}
