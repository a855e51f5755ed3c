import avsc from 'avsc'
import { describe, expect, test } from 'vitest'
import { AvroSerde, avro } from '../../client/avro.ts'
import { MillraceError } from '../../engine/base/errors.ts'
import { AVRO_DEPTH_MAX, AVRO_EMPTY_ITEMS_MAX } from '../../engine/base/limits.ts'
import { Random, testSeed } from '../../engine/base/random.ts'

const flight = avro({
  type: 'record',
  name: 'Flight',
  fields: [
    { name: 'date', type: 'long' },
    { name: 'delay', type: 'int' },
    { name: 'distance', type: 'int' },
    { name: 'origin', type: 'string' },
  ],
})

/** Schemas that have every kind of type between them. */
const SCHEMAS: readonly object[] = [
  JSON.parse(flight.text) as object,
  ['null', 'string', 'int', { type: 'array', items: 'double' }],
  ['int', 'long', 'null'],
  { type: 'array', items: { type: 'map', values: ['null', 'bytes'] } },
  { type: 'map', values: { type: 'enum', name: 'E', symbols: ['A', 'B', 'C'] } },
  { type: 'fixed', name: 'F', size: 16 },
  {
    type: 'record',
    name: 'All',
    fields: [
      { name: 'null', type: 'null' },
      { name: 'boolean', type: 'boolean' },
      { name: 'float', type: 'float' },
      { name: 'double', type: 'double' },
      { name: 'bytes', type: 'bytes' },
      { name: 'time', type: { type: 'long', logicalType: 'timestamp-millis' } },
      { name: 'nested', type: { type: 'record', name: 'Inner', fields: [{ name: 'x', type: 'int' }] } },
      { name: 'again', type: ['null', 'Inner'], default: null },
      { name: 'empty', type: { type: 'record', name: 'Empty', fields: [] } },
    ],
  },
  {
    type: 'record',
    name: 'Node',
    fields: [
      { name: 'value', type: 'int' },
      { name: 'next', type: ['null', 'Node'] },
    ],
  },
]

function errorOf(call: () => unknown): MillraceError {
  try {
    call()
  } catch (error) {
    if (error instanceof MillraceError) return error
    throw error
  }
  throw new Error('the call did not fail')
}

/** A varint, decoded the long way. */
function unzigzag(bytes: Uint8Array): bigint {
  const zigzag = bytes.reduceRight((value, byte) => (value << 7n) | BigInt(byte & 0x7f), 0n)
  return zigzag % 2n === 0n ? zigzag / 2n : -(zigzag + 1n) / 2n
}

describe('the wire format', () => {
  test('is Confluent\u2019s: 0, the id in four bytes, Avro binary', () => {
    const bytes = flight.serde(0x01020304).encode({ date: 1, delay: -2, distance: 64, origin: 'JFK' })
    expect(bytes.toString('hex')).toBe(`0001020304${'02'}${'03'}${'8001'}${'06'}${'4a464b'}`)
    expect(flight.serde(0x01020304).decode(bytes)).toEqual({ date: 1, delay: -2, distance: 64, origin: 'JFK' })
  })

  test.each(SCHEMAS.map(schema => [JSON.stringify(schema).slice(0, 60), schema] as const))(
    'holds values of %s',
    (_, schema) => {
      const serde = new AvroSerde(7, schema)
      const plain = avsc.Type.forSchema(schema as avsc.Schema)
      for (let i = 0; i < 300; i++) {
        const value: unknown = plain.random()
        const bytes = serde.encode(value)
        expect(bytes.subarray(5).equals(plain.toBuffer(value))).toBe(true)
        expect(plain.toString(serde.decode(bytes))).toBe(plain.toString(plain.fromBuffer(plain.toBuffer(value))))
      }
    },
  )

  test('holds values around and beyond the size of the scratch memory', () => {
    const serde = avro('string').serde(1)
    for (const length of [0, 1, 63, 64, 65_500, 65_527, 65_528, 65_529, 65_536, 200_000]) {
      const value = 'x'.repeat(length)
      const bytes = serde.encode(value)
      expect(serde.decode(bytes) === value, `length ${length}`).toBe(true)
    }
  })

  test('longs are exact over all safe integers, and refused beyond when written and when read', () => {
    const serde = avro('long').serde(1)
    const edges = [0, 2 ** 30, 2 ** 31, 2 ** 52, Number.MAX_SAFE_INTEGER].flatMap(edge => [edge - 1, edge, edge + 1])
    const random = new Random(testSeed())
    const values = [
      ...edges,
      ...Array.from({ length: 1000 }, () => random.u32() * 2 ** random.below(22) + random.below(9)),
    ]
    for (const value of [...values, ...values.map(value => -value)]) {
      if (!Number.isSafeInteger(value)) {
        expect(errorOf(() => serde.encode(value)).code).toBe('SCHEMA_MISMATCH')
        continue
      }
      const bytes = serde.encode(value)
      expect(serde.decode(bytes)).toBe(value + 0)
      expect(BigInt.asIntN(64, unzigzag(bytes.subarray(5)))).toBe(BigInt(value))
    }
    for (const value of [1.5, Number.NaN, Number.POSITIVE_INFINITY, '1', 1n]) {
      expect(errorOf(() => serde.encode(value as number)).code).toBe('SCHEMA_MISMATCH')
    }
    for (const body of ['ffffffffffffffffff01', 'feffffffffffffffff01', '8080808080808020', 'ffffffffffffff1f']) {
      expect(errorOf(() => serde.decode(Buffer.from(`0000000001${body}`, 'hex')))).toMatchObject({
        code: 'SCHEMA_MISMATCH',
        details: { id: 1, reason: 'a long beyond 2^53' },
      })
    }
  })

  test('a long that is read as a double keeps its value or is refused', () => {
    const reader = avro('double').serde(2, () => '"long"')
    const writer = avro('long').serde(1)
    for (const value of [-1, 2 ** 52, 2 ** 53 - 2, -(2 ** 52) - 1, Number.MIN_SAFE_INTEGER])
      expect(reader.decode(writer.encode(value))).toBe(value)
    const beyond = Buffer.from('0000000001ffffffffffffffffff01', 'hex')
    expect(errorOf(() => reader.decode(beyond)).code).toBe('SCHEMA_MISMATCH')
  })

  test('decoded values share no memory with the bytes they came from', () => {
    const serde = avro('bytes').serde(1)
    const bytes = serde.encode(Buffer.from('abc'))
    const value = serde.decode(bytes)
    bytes.fill(0)
    expect(value.toString()).toBe('abc')
  })
})

describe('encoding into lent memory', () => {
  const value = { date: 1, delay: 2, distance: 3, origin: 'JFK' }

  test.each([
    ['a Buffer', () => Buffer.alloc(40, 0xee)],
    ['a Uint8Array inside its buffer', () => new Uint8Array(new ArrayBuffer(60), 10, 40).fill(0xee)],
    ['shared memory', () => new Uint8Array(new SharedArrayBuffer(40)).fill(0xee)],
  ])('writes the same bytes, and only there (%s)', (_, allocate) => {
    const serde = flight.serde(5)
    const expected = serde.encode(value)
    const target = allocate()
    expect(serde.encodeInto(value, target, 7)).toBe(expected.length)
    expect(Buffer.from(target.slice(7, 7 + expected.length)).equals(expected)).toBe(true)
    expect([...target.subarray(0, 7), ...target.subarray(7 + expected.length)].every(byte => byte === 0xee)).toBe(true)
    expect(serde.decode(target.subarray(7, 7 + expected.length))).toEqual(value)
  })

  test('is -1 when there is not enough room, at any size', () => {
    const serde = flight.serde(5)
    const { length } = serde.encode(value)
    for (let size = 0; size < length; size++) expect(serde.encodeInto(value, Buffer.alloc(size))).toBe(-1)
    expect(serde.encodeInto(value, Buffer.alloc(length))).toBe(length)
    expect(serde.encodeInto(value, Buffer.alloc(length), 1)).toBe(-1)
    expect(serde.encodeInto(value, Buffer.alloc(length), length + 1)).toBe(-1)
  })
})

describe('a value that does not fit', () => {
  const trip = new AvroSerde<unknown>(3, {
    type: 'record',
    name: 'Trip',
    fields: [
      { name: 'legs', type: { type: 'array', items: JSON.parse(flight.text) as object } },
      { name: 'tags', type: { type: 'map', values: ['null', 'string'] }, default: {} },
      { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['WORK', 'LEISURE'] } },
      { name: 'code', type: ['null', { type: 'fixed', name: 'Code', size: 2 }], default: null },
      { name: 'number', type: ['int', 'string', 'long'], default: 0 },
    ],
  })
  const good = { legs: [{ date: 1, delay: 2, distance: 3, origin: 'JFK' }], kind: 'WORK' }

  test('is named by the path of the first bad field', () => {
    const [leg] = good.legs
    const cases: [unknown, string, string][] = [
      [{ ...good, legs: [leg, { ...leg, origin: 7 }] }, 'legs.1.origin', 'number 7'],
      [{ ...good, legs: [{ ...leg, delay: 2 ** 31 }] }, 'legs.0.delay', 'number 2147483648'],
      [{ ...good, legs: [undefined] }, 'legs.0', 'undefined'],
      [{ ...good, legs: leg }, 'legs', 'Object'],
      [{ ...good, tags: { a: null, b: 1n } }, 'tags.b', 'bigint 1'],
      [{ ...good, kind: 'work' }, 'kind', '"work"'],
      [{ ...good, code: Buffer.alloc(3) }, 'code', 'Buffer'],
      [{ ...good, code: new Uint8Array(2) }, 'code', 'Uint8Array'],
      [{ ...good, number: 3 }, 'number', 'number 3'],
      [{ ...good, number: { int: 'x' } }, 'number.int', '"x"'],
      [{ kind: 'WORK' }, 'legs', 'undefined'],
      [null, '', 'null'],
      [undefined, '', 'undefined'],
      ['text', '', '"text"'],
      [{ ...good, legs: [{ ...leg, date: Symbol('s') }] }, 'legs.0.date', 'symbol Symbol(s)'],
    ]
    for (const [value, path, found] of cases) {
      const error = errorOf(() => trip.encode(value))
      expect(error, path).toMatchObject({ code: 'SCHEMA_MISMATCH', details: { path, found } })
      expect(errorOf(() => trip.encodeInto(value, Buffer.alloc(100))).details).toEqual(error.details)
    }
    expect(trip.decode(trip.encode(good))).toEqual({ ...good, tags: {}, code: null, number: { int: 0 } })
  })

  test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])('includes the enum symbol "%s"', name => {
    expect(errorOf(() => trip.encode({ ...good, kind: name })).details['path']).toBe('kind')
    expect(errorOf(() => trip.encode({ ...good, number: { [name]: 1 } })).code).toBe('SCHEMA_MISMATCH')
  })

  test('includes one that throws when it is looked at', () => {
    const hostile = {
      get legs(): never {
        throw new Error('no')
      },
    }
    expect(errorOf(() => trip.encode(hostile)).details).toEqual({ reason: 'no' })
  })

  test('leaves the serde as it was', () => {
    const before = trip.encode(good)
    errorOf(() => trip.encode({ ...good, kind: 1 }))
    expect(trip.encode(good).equals(before)).toBe(true)
  })
})

describe('bytes that were written otherwise', () => {
  const serde = flight.serde(5)

  test.each([
    ['no bytes', Buffer.alloc(0), null],
    ['four bytes', Buffer.alloc(4), 0],
    ['another first byte', Buffer.from('{"date":1}'), 0x7b],
  ])('with %s are NOT_AVRO_ENCODED', (_, bytes, firstByte) => {
    expect(errorOf(() => serde.decode(bytes))).toMatchObject({
      code: 'NOT_AVRO_ENCODED',
      details: { bytes: bytes.length, firstByte },
    })
  })

  test('with an id that nobody knows are UNKNOWN_SCHEMA', () => {
    const bytes = flight.serde(6).encode({ date: 1, delay: 2, distance: 3, origin: 'JFK' })
    expect(errorOf(() => serde.decode(bytes))).toMatchObject({ code: 'UNKNOWN_SCHEMA', details: { id: 6 } })
    expect(errorOf(() => flight.serde(5, () => undefined).decode(bytes)).code).toBe('UNKNOWN_SCHEMA')
  })

  test('with another schema are resolved into this one', () => {
    const old = avro({
      type: 'record',
      name: 'Flight',
      fields: [
        { name: 'delay', type: 'int' },
        { name: 'gone', type: 'string' },
      ],
    })
    const current = avro({
      type: 'record',
      name: 'Flight',
      fields: [
        { name: 'delay', type: 'double' },
        { name: 'origin', type: 'string', default: 'unknown' },
      ],
    })
    const lookups: number[] = []
    const reader = current.serde(2, id => {
      lookups.push(id)
      return id === 1 ? old.text : id === 3 ? '"string"' : undefined
    })
    const bytes = old.serde(1).encode({ delay: 5, gone: 'x' })
    for (let i = 0; i < 3; i++) expect(reader.decode(bytes)).toEqual({ delay: 5, origin: 'unknown' })
    expect(lookups).toEqual([1])
    expect(errorOf(() => reader.decode(avro('string').serde(3).encode('text')))).toMatchObject({
      code: 'SCHEMA_MISMATCH',
      details: { id: 3, readerId: 2 },
    })
    expect(errorOf(() => reader.decode(bytes.subarray(0, -1))).details['reason']).toBe('truncated')
  })
})

describe('damaged bytes', () => {
  test('cut anywhere, or with one byte too many, are SCHEMA_MISMATCH', () => {
    for (const schema of SCHEMAS) {
      const serde = new AvroSerde(7, schema)
      const plain = avsc.Type.forSchema(schema as avsc.Schema)
      for (let i = 0; i < 20; i++) {
        const bytes = serde.encode(plain.random())
        for (let length = 5; length < bytes.length; length++) {
          expect(errorOf(() => serde.decode(bytes.subarray(0, length))).code).toBe('SCHEMA_MISMATCH')
        }
        expect(errorOf(() => serde.decode(Buffer.concat([bytes, Buffer.of(0)]))).details['reason']).toBe(
          'bytes behind the value',
        )
      }
    }
  })

  test('of any content decode or fail with a typed error, soon, and never read beside themselves', () => {
    const seed = testSeed()
    const random = new Random(seed)
    const started = performance.now()
    for (const schema of SCHEMAS) {
      const serde = new AvroSerde(7, schema)
      const plain = avsc.Type.forSchema(schema as avsc.Schema)
      for (let round = 0; round < 2000; round++) {
        const bytes = random.chance(0.7)
          ? Buffer.from(serde.encode(plain.random()))
          : Buffer.from(random.bytes(5 + random.below(60)))
        bytes.set([0, 0, 0, 0, 7])
        for (let flips = random.between(1, 4); flips > 0 && bytes.length > 5; flips--) {
          bytes[5 + random.below(bytes.length - 5)] = random.chance(0.3)
            ? random.pick([0, 1, 0x7f, 0x80, 0xff])
            : random.u32()
        }
        try {
          const value = serde.decode(bytes)
          const again = serde.decode(serde.encode(value))
          expect(plain.toString(again), `seed ${seed}`).toBe(plain.toString(value))
        } catch (error) {
          if (!(error instanceof MillraceError))
            throw new Error(`seed ${seed}: ${bytes.toString('hex')}`, { cause: error })
          expect(error.code).toBe('SCHEMA_MISMATCH')
        }
      }
    }
    expect(performance.now() - started, `seed ${seed}`).toBeLessThan(20_000)
  })

  test.each([
    ['an array of 2^50 items', { type: 'array', items: 'int' }, '808080808080800202', 'more items than bytes'],
    ['an array of 2^33 nulls', { type: 'array', items: 'null' }, '8080808040', 'too many items without bytes'],
    [
      'many blocks of nulls',
      { type: 'array', items: 'null' },
      `${'8008'.repeat(200)}00`,
      'too many items without bytes',
    ],
    ['a block of negative size', { type: 'array', items: 'int' }, '010102', 'negative block size'],
    ['a block of a wrong size', { type: 'array', items: 'int' }, '0306020400', 'wrong block size'],
    ['a negative length', 'string', '03', 'negative length'],
    ['a length beyond the end', 'string', 'feffffff0f', 'truncated'],
    ['a branch that is not there', ['null', 'int'], '04', 'no such branch'],
    ['a negative branch', ['null', 'int'], '01', 'no such branch'],
    ['a symbol that is not there', { type: 'enum', name: 'E', symbols: ['A'] }, '02', 'no such symbol'],
    ['a boolean of 2', 'boolean', '02', 'not a boolean'],
    ['an int of 33 bits', 'int', 'feffffff1f', 'number too long'],
    ['an int that does not end', 'int', '808080808000', 'number too long'],
    ['a long that does not end', 'long', '8080808080808080808000', 'number too long'],
    ['a long of 65 bits', 'long', '80808080808080808002', 'number too long'],
  ])('%s is refused', (_, schema, body, reason) => {
    const bytes = Buffer.from(`0000000007${body}`, 'hex')
    expect(errorOf(() => new AvroSerde(7, schema).decode(bytes))).toMatchObject({
      code: 'SCHEMA_MISMATCH',
      details: { reason },
    })
  })

  test('blocks with sizes, as other writers make them, are read', () => {
    const serde = new AvroSerde<number[]>(7, { type: 'array', items: 'int' })
    // -2 items in 2 bytes, then 1 item, then the end.
    expect(serde.decode(Buffer.from(`0000000007${'0304'}0204${'02'}06${'00'}`, 'hex'))).toEqual([1, 2, 3])
  })

  test('as many items without bytes as allowed are read, and records as deep', () => {
    const nulls = new AvroSerde<null[]>(7, { type: 'array', items: 'null' })
    expect(nulls.decode(nulls.encode(Array(AVRO_EMPTY_ITEMS_MAX).fill(null)))).toHaveLength(AVRO_EMPTY_ITEMS_MAX)
    const node = new AvroSerde<unknown>(7, SCHEMAS.at(-1) as object)
    const chain = (length: number): unknown => {
      let next: unknown = null
      for (let i = 0; i < length; i++) next = { value: i, next: next === null ? null : { Node: next } }
      return next
    }
    const plain = (length: number): unknown => {
      let next: unknown = null
      for (let i = 0; i < length; i++) next = { value: i, next }
      return next
    }
    expect(node.decode(node.encode(plain(AVRO_DEPTH_MAX)))).toEqual(plain(AVRO_DEPTH_MAX))
    expect(errorOf(() => node.decode(node.encode(plain(AVRO_DEPTH_MAX + 1)))).details['reason']).toBe('too deep')
    expect(errorOf(() => node.encode(chain(2))).code).toBe('SCHEMA_MISMATCH')
  })
})

describe('making a serde', () => {
  test('refuses what is no schema and no id', () => {
    expect(errorOf(() => avro({ type: 'nothing' })).code).toBe('INVALID_SCHEMA')
    expect(errorOf(() => new AvroSerde(1, '{')).code).toBe('INVALID_SCHEMA')
    for (const id of [-1, 1.5, 2 ** 31]) expect(errorOf(() => flight.serde(id)).code).toBe('INVALID_ARGUMENT')
  })

  test('a definition stands for its schema wherever one is expected', () => {
    expect(JSON.stringify(flight)).toBe(flight.text)
    expect(new AvroSerde(1, flight).encode({ date: 1, delay: 2, distance: 3, origin: 'X' })).toHaveLength(10)
  })
})
