/** Random pairs of schemas: what is called compatible is read, to the value; what is not has a value that cannot be read. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AvroSerde } from '../../../client/avro.ts'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { parseSchema } from '../../../engine/schema/avro-schema.ts'
import { resolveSchema } from '../../../engine/schema/resolution.ts'
import { type Draw, drawValue, EndlessValue, Evolution, SchemaDrawer } from './avro-arbitrary.ts'
import { canRead, encode, readAs, type SchemaModel, toJson } from './avro-model.ts'

const PREFIX = Buffer.of(0, 0, 0, 0, 1)
const VALUES = 4

interface SchemaPair {
  readonly writer: SchemaModel
  readonly reader: SchemaModel
}

function drawPair(draw: Draw): SchemaPair {
  const writer = new SchemaDrawer(draw).schema()
  const isEvolved = draw(fc.integer, { min: 1, max: 10 }) > 2
  const reader = isEvolved ? new Evolution(draw, writer).evolve(writer) : new SchemaDrawer(draw).schema()
  return { writer, reader }
}

const textOf = (schema: SchemaModel): string => JSON.stringify(toJson(schema))

/** Up to `count` values; none where the schema has none. */
function drawValues(draw: Draw, schema: SchemaModel, count: number): unknown[] {
  try {
    return Array.from({ length: count }, () => drawValue(draw, schema, 4))
  } catch (error) {
    if (error instanceof EndlessValue) return []
    throw error
  }
}

/** Whether one of sixty values of the writer cannot be read; undefined where it has no values. */
function hasWitness(draw: Draw, pair: SchemaPair): boolean | undefined {
  for (let i = 0; i < 60; i++) {
    const [value] = drawValues(draw, pair.writer, 1)
    if (value === undefined) return undefined
    if (!readableInModel(pair, value)) return true
  }
  return false
}

function readableInModel({ reader, writer }: SchemaPair, value: unknown): boolean {
  try {
    readAs(reader, writer, value)
    return true
  } catch {
    return false
  }
}

describe('random pairs of schemas', { timeout: 240_000 }, () => {
  const seen = { compatible: 0, incompatible: 0, values: 0, looked: 0, witnessed: 0 }

  test('what is compatible decodes to what the specification says, what is not has a value that does not', () => {
    const property = fc.property(fc.gen(), draw => {
      const pair = drawPair(draw)
      const { reader, writer } = pair
      const resolution = resolveSchema(parseSchema(textOf(reader)), parseSchema(textOf(writer)))
      const isCompatible = typeof resolution === 'function'
      expect(isCompatible, `${textOf(reader)} reads ${textOf(writer)}`).toBe(canRead(reader, writer))
      if (!isCompatible) {
        seen.incompatible += 1
        expect(resolution.every(({ reason }) => reason.length > 0)).toBe(true)
        const witness = hasWitness(draw, pair)
        if (witness !== undefined) seen.looked += 1
        if (witness === true) seen.witnessed += 1
        return
      }
      seen.compatible += 1
      const serde = new AvroSerde(2, JSON.parse(textOf(reader)) as object, () => textOf(writer))
      for (const value of drawValues(draw, writer, VALUES)) {
        const bytes = Buffer.concat([PREFIX, encode(writer, value)])
        expect(plain(serde.decode(bytes))).toEqual(plain(readAs(reader, writer, value)))
        seen.values += 1
      }
    })
    fc.assert(property, { numRuns: 1500 })
    // What the property rests on: both answers are common.
    expect(seen.compatible).toBeGreaterThan(200)
    expect(seen.incompatible).toBeGreaterThan(200)
    expect(seen.values).toBeGreaterThan(500)
    // A branch that is rarely drawn may hide from sixty values.
    expect(seen.witnessed).toBeGreaterThan(0.95 * seen.looked)
  })

  test('every schema reads itself, and what was written is what is read', () => {
    const property = fc.property(fc.gen(), draw => {
      const schema = new SchemaDrawer(draw).schema()
      const own = new AvroSerde(1, JSON.parse(textOf(schema)) as object)
      const other = new AvroSerde(2, JSON.parse(textOf(schema)) as object, () => textOf(schema))
      for (const value of drawValues(draw, schema, VALUES)) {
        const bytes = Buffer.concat([PREFIX, encode(schema, value)])
        const expected = plain(readAs(schema, schema, value))
        expect(plain(own.decode(bytes))).toEqual(expected)
        expect(plain(other.decode(bytes))).toEqual(expected)
        expect(own.decode(own.encode(own.decode(bytes)))).toEqual(own.decode(bytes))
      }
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('damaged bytes are refused or read, never anything else', () => {
    const property = fc.property(fc.gen(), draw => {
      const { reader, writer } = drawPair(draw)
      if (!canRead(reader, writer)) return
      const serde = new AvroSerde(2, JSON.parse(textOf(reader)) as object, () => textOf(writer))
      for (const value of drawValues(draw, writer, 2)) {
        const bytes = Buffer.concat([PREFIX, encode(writer, value)])
        if (bytes.length === PREFIX.length) continue
        const at = draw(fc.integer, { min: PREFIX.length, max: bytes.length - 1 })
        bytes[at] = draw(fc.integer, { min: 0, max: 255 })
        try {
          serde.decode(bytes)
        } catch (error) {
          if (!isMillraceError(error, 'SCHEMA_MISMATCH')) throw error
        }
      }
    })
    fc.assert(property, { numRuns: 500 })
  })
})

/** Without classes, and with keys that a matcher would look past. */
function plain(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return `bytes ${value.toString('hex')}`
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.keys(value).map(key => [key, plain((value as Record<string, unknown>)[key])])
}
