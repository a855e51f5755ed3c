/** Appends every flight through the hot path: key = origin, timestamp = the flight's own time, value = Avro. Main thread. */

import { Progress } from '../../client/cli/progress.ts'
import type { Millrace } from '../../client/index.ts'
import type { FlightCodec } from './codec.ts'
import type { Flights } from './dataset.ts'

/** Flights between two looks at the progress bar. */
const PROGRESS_FLIGHTS = 16_384

export interface Loaded {
  readonly ms: number
  /** Keys and values, without Kafka's framing. */
  readonly bytes: number
}

/** @returns when every flight is acknowledged */
export async function loadFlights(
  engine: Millrace,
  topic: string,
  codec: FlightCodec,
  flights: Flights,
): Promise<Loaded> {
  const { airports, origins, destinations, delays, distances, timestamps } = flights
  const keys = airports.map(airport => Buffer.from(airport))
  const producer = await engine.producer()
  const appender = await producer.appender(topic) // no partition: the key chooses it
  const progress = new Progress('appending', flights.count)
  const start = performance.now()
  let bytes = 0
  for (let i = 0; i < flights.count; i++) {
    const origin = origins[i] as number
    const key = keys[origin] as Buffer
    const value = codec.encode({
      origin: airports[origin] as string,
      destination: airports[destinations[i] as number] as string,
      delay: delays[i] as number,
      distance: distances[i] as number,
    })
    while (!appender.tryAppend(value, key, timestamps[i])) await producer.ready()
    bytes += key.length + value.length
    if (i % PROGRESS_FLIGHTS === 0) progress.update(i)
  }
  await producer.flush()
  const ms = performance.now() - start
  progress.finish()
  await producer.close()
  return { ms, bytes }
}
