/** Avro values as JSON and back: what JSON lacks is bytes, which are `{"base64": "…"}` in both directions. */
import { MillraceError } from '../../engine/base/errors.ts'
import { AVRO_PREFIX_BYTES, AvroSerde } from '../avro.ts'
import type { Millrace } from '../millrace.ts'

/** `{"base64": "…"}` becomes bytes, wherever it is. */
export function avroValueFromJson(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(avroValueFromJson)
  if (typeof json !== 'object' || json === null) return json
  const entries = Object.entries(json)
  const [first] = entries
  if (entries.length === 1 && first?.[0] === 'base64' && typeof first[1] === 'string') {
    return Buffer.from(first[1], 'base64')
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, avroValueFromJson(value)]))
}

export function avroValueToJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.map(avroValueToJson)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, avroValueToJson(field)]))
}

/** Decodes values with the schemas that they were written with. */
export class AvroReader {
  readonly #engine: Millrace
  readonly #serdes = new Map<number, AvroSerde>()

  constructor(engine: Millrace) {
    this.#engine = engine
  }

  /** @returns the value as JSON; null for a tombstone @throws NOT_AVRO_ENCODED, UNKNOWN_SCHEMA, SCHEMA_MISMATCH */
  async decode(bytes: Uint8Array | null): Promise<unknown> {
    if (bytes === null) return null
    if (bytes.length < AVRO_PREFIX_BYTES || bytes[0] !== 0) {
      throw new MillraceError('NOT_AVRO_ENCODED', { bytes: bytes.length })
    }
    const id = new DataView(bytes.buffer, bytes.byteOffset).getInt32(1)
    let serde = this.#serdes.get(id)
    if (serde === undefined) {
      const { text, definitions = [] } = await this.#engine.schemas.get(id)
      serde = new AvroSerde(id, text, undefined, { definitions })
      this.#serdes.set(id, serde)
    }
    return avroValueToJson(serde.decode(bytes))
  }
}
