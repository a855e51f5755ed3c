/** Flights as Avro with a registered schema, in the wire format that Kafka's clients know. Main thread. */
import { avro, type Millrace } from '../../client/index.ts'

const FLIGHT = avro({
  type: 'record',
  name: 'Flight',
  namespace: 'flights',
  fields: [
    { name: 'origin', type: 'string' },
    { name: 'destination', type: 'string' },
    { name: 'delay', type: 'int', doc: 'minutes; early flights are negative' },
    { name: 'distance', type: 'int', doc: 'miles' },
  ],
})

/** What the schema's literal says: `{ origin: string; destination: string; delay: number; distance: number }`. */
export type Flight = ReturnType<ReturnType<typeof FLIGHT.serde>['decode']>

export interface FlightCodec {
  encode(flight: Flight): Uint8Array
  decode(bytes: Uint8Array): Flight
}

/** Registers the schema (again is no change) and returns the codec that is bound to it. */
export async function flightCodec(engine: Millrace, topic: string): Promise<FlightCodec> {
  const { id } = await engine.schemas.register(`${topic}-value`, FLIGHT)
  return FLIGHT.serde(id)
}
