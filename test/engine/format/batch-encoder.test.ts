import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  BATCH,
  BatchEncoder,
  baseTimestampOf,
  batchBytes,
  checkBatch,
  codecOf,
  EncodedBatch,
  encodeBatch,
  hasDeleteHorizon,
  isLogAppendTime,
  lastOffsetOf,
  maxTimestampOf,
  recordBytesMax,
  recordCountOf,
  stampBatch,
  stampLogAppendTime,
} from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { CODECS, type ModelRecord, modelRecords, plain, readRecords, regionOf, SAFE_MAX } from './records.ts'

const T = 1_700_000_000_000
const GUARD = 0xa5

/** Encodes into the middle of a larger region and checks that nothing outside was touched. */
function encodeGuarded(records: readonly ModelRecord[], buffer: ArrayBufferLike, options = {}): Region {
  const region = new Region(buffer)
  region.bytes.fill(GUARD)
  const encoder = new BatchEncoder()
  const at = 13
  encoder.begin(region, at, region.length - 13)
  for (const { timestamp, key, value, headers } of records) {
    expect(encoder.append(timestamp, key, value, headers)).toBe(true)
  }
  expect(encoder.recordCount).toBe(records.length)
  const bytes = encoder.finish(options)
  expect(region.bytes.subarray(0, at).every(byte => byte === GUARD)).toBe(true)
  expect(region.bytes.subarray(-13).every(byte => byte === GUARD)).toBe(true)
  return regionOf(region.bytes.subarray(at, at + bytes))
}

const roomFor = (records: readonly ModelRecord[]) =>
  records.reduce(
    (sum, r) => sum + recordBytesMax(r.key?.length ?? 0, r.value?.length ?? 0, r.headers),
    26 + BATCH.headerBytes,
  )

describe('BatchEncoder', () => {
  test('what is decoded is what was encoded, with every codec, in ordinary and in shared memory', () => {
    const codecs = fc.constantFrom(...CODECS)
    fc.assert(
      fc.property(
        modelRecords,
        codecs,
        fc.boolean(),
        fc.integer({ min: 0, max: 2 ** 40 }),
        (records, codec, shared, baseOffset) => {
          const room = roomFor(records)
          const batch = encodeGuarded(records, shared ? new SharedArrayBuffer(room) : new ArrayBuffer(room), { codec })
          expect(checkBatch(batch, 0, batch.length)).toBeUndefined()
          expect(batchBytes(batch.view, 0)).toBe(batch.length)
          stampBatch(batch.view, 0, baseOffset, 1)
          expect(readRecords(batch)).toEqual(records.map((record, i) => plain(record, baseOffset + i)))
          expect(lastOffsetOf(batch.view, 0)).toBe(baseOffset + records.length - 1)
          expect(maxTimestampOf(batch.view, 0)).toBe(Math.max(...records.map(record => record.timestamp)))
          expect(baseTimestampOf(batch.view, 0)).toBe(records[0]?.timestamp)
        },
      ),
      { numRuns: 600 },
    )
  })

  test('in whatever room: a record that does not fit is refused and nothing of it is written', () => {
    fc.assert(
      fc.property(modelRecords, fc.nat({ max: 3000 }), (records, room) => {
        const region = new Region(new ArrayBuffer(room + 64))
        region.bytes.fill(GUARD)
        const encoder = new BatchEncoder()
        encoder.begin(region, 0, room)
        const taken: ModelRecord[] = []
        for (const record of records) {
          const { bytesUsed } = encoder
          if (encoder.append(record.timestamp, record.key, record.value, record.headers)) taken.push(record)
          else {
            expect(encoder.bytesUsed).toBe(bytesUsed)
            expect(region.bytes.subarray(bytesUsed).every(byte => byte === GUARD)).toBe(true)
          }
        }
        expect(region.bytes.subarray(room).every(byte => byte === GUARD)).toBe(true)
        if (taken.length === 0) return
        const bytes = encoder.finish()
        expect(bytes).toBeLessThanOrEqual(room)
        expect(readRecords(regionOf(region.bytes.subarray(0, bytes)))).toEqual(taken.map(plain))
      }),
      { numRuns: 600 },
    )
  })

  test('fills its room to the last byte, whichever way the record takes', () => {
    for (const headers of [[], [{ key: 'h', value: null }]]) {
      const exact = encodeBatch([
        { timestamp: T, value: Buffer.alloc(50), headers },
        { timestamp: T, value: Buffer.alloc(90), headers },
      ])
      for (const missing of [0, 1]) {
        const region = new Region(new ArrayBuffer(exact.bytes.length - missing))
        const encoder = new BatchEncoder()
        encoder.begin(region, 0, region.length)
        expect(encoder.append(T, null, Buffer.alloc(50), headers)).toBe(true)
        expect(encoder.append(T, null, Buffer.alloc(90), headers)).toBe(missing === 0)
        expect(encoder.recordCount).toBe(2 - missing)
      }
    }
  })

  test('the bound for a record holds, with the largest deltas', () => {
    const extremes = {
      timestamp: SAFE_MAX - 1,
      key: Buffer.alloc(10_000),
      value: Buffer.alloc(70_000),
      headers: [{ key: 'é', value: Buffer.alloc(99) }],
    }
    const region = new Region(new ArrayBuffer(200_000))
    const encoder = new BatchEncoder()
    encoder.begin(region, 0, region.length)
    encoder.append(-1, null, null)
    encoder.skipOffsets(2 ** 31 - 2)
    const before = encoder.bytesUsed
    encoder.append(extremes.timestamp, extremes.key, extremes.value, extremes.headers)
    expect(encoder.bytesUsed - before).toBeLessThanOrEqual(recordBytesMax(10_000, 70_000, extremes.headers))
    expect(encoder.append(T, null, null)).toBe(false) // no offset delta is left
    encoder.finish()
    expect(readRecords(region).map(record => [record.offset, record.timestamp])).toEqual([
      [0, -1],
      [2 ** 31 - 1, SAFE_MAX - 1],
    ])
  })

  test('is used again, and forgets the batch before', () => {
    const region = new Region(new ArrayBuffer(1000))
    const encoder = new BatchEncoder()
    for (const [timestamp, text] of [
      [T + 50, 'one'],
      [T, 'two'],
    ] as const) {
      encoder.begin(region, 0, region.length)
      expect([encoder.recordCount, encoder.bytesUsed]).toEqual([0, BATCH.headerBytes])
      encoder.append(timestamp, null, Buffer.from(text))
      const bytes = encoder.finish()
      const batch = regionOf(region.bytes.subarray(0, bytes))
      expect(readRecords(batch).map(r => [r.offset, r.timestamp, r.value])).toEqual([
        [0, timestamp, Buffer.from(text).toString('hex')],
      ])
      expect([baseTimestampOf(batch.view, 0), maxTimestampOf(batch.view, 0)]).toEqual([timestamp, timestamp])
    }
  })

  test('a batch that compression would enlarge stays as it is', () => {
    for (const codec of CODECS) {
      const batch = encodeBatch([{ timestamp: T, value: Buffer.from([1, 2, 3]) }], { codec })
      expect(codecOf(Region.of(batch.bytes).view, 0)).toBe('none')
      const large = encodeBatch([{ timestamp: T, value: Buffer.alloc(10_000) }], { codec })
      expect(codecOf(Region.of(large.bytes).view, 0)).toBe(codec)
      expect(large.bytes.length).toBeLessThan(codec === 'none' ? 11_000 : 1000)
    }
  })

  test.each([Number.NaN, -2, 0.5, 2 ** 53, Number.POSITIVE_INFINITY, -Number.MAX_VALUE])(
    '%s is no timestamp, first or later',
    timestamp => {
      const region = new Region(new ArrayBuffer(1000))
      const encoder = new BatchEncoder()
      for (const before of [[], [T], [SAFE_MAX]]) {
        encoder.begin(region, 0, region.length)
        for (const earlier of before) encoder.append(earlier, null, null)
        expect(() => encoder.append(timestamp, null, null)).toThrow(/INVALID_ARGUMENT.*timestamp/)
        expect(encoder.recordCount).toBe(before.length)
      }
    },
  )

  test('timestamps further apart than 2^53 do not go into one batch', () => {
    expect(() => encodeBatch([-1, SAFE_MAX].map(timestamp => ({ timestamp, value: null })))).toThrow(/INVALID_ARGUMENT/)
    expect(() => encodeBatch([SAFE_MAX, -1].map(timestamp => ({ timestamp, value: null })))).toThrow(/INVALID_ARGUMENT/)
    expect(readRecords(regionOf(encodeBatch([{ timestamp: SAFE_MAX, value: null }]).bytes))[0]?.timestamp).toBe(
      SAFE_MAX,
    )
  })

  test('too many headers are refused', () => {
    const headers = Array.from({ length: 65_537 }, () => ({ key: '', value: null }))
    expect(() => encodeBatch([{ timestamp: T, value: null, headers }])).toThrow(/INVALID_ARGUMENT.*headers/)
    const most = regionOf(encodeBatch([{ timestamp: T, value: null, headers: headers.slice(1) }]).bytes)
    expect(readRecords(most)[0]?.headers.length).toBe(65_536)
  })

  test('a batch without an offset, or without room for its header, is a bug of the caller', () => {
    const encoder = new BatchEncoder()
    encoder.begin(new Region(new ArrayBuffer(100)), 0, 100)
    expect(() => encoder.finish()).toThrow(/invariant/)
    encoder.begin(new Region(new ArrayBuffer(60)), 0, 60)
    expect(encoder.append(T, null, null)).toBe(false)
    encoder.skipOffsets(1)
    expect(() => encoder.finish()).toThrow(/invariant/)
    expect(() => encoder.begin(new Region(new ArrayBuffer(60)), 0, 61)).toThrow(/invariant/)
    expect(() => encoder.skipOffsets(2 ** 31)).toThrow(/invariant/)
  })
})

describe('what compaction writes', () => {
  const begun = (baseTimestamp?: number) => {
    const region = new Region(new ArrayBuffer(1000))
    const encoder = new BatchEncoder()
    encoder.begin(region, 0, region.length, baseTimestamp)
    return { region, encoder }
  }

  test('offsets with gaps, before, between and behind the records', () => {
    const { region, encoder } = begun()
    encoder.skipOffsets(3)
    encoder.append(T, null, Buffer.from('a'))
    encoder.skipOffsets(1000)
    encoder.append(T, null, Buffer.from('b'))
    encoder.skipOffsets(5)
    encoder.finish()
    stampBatch(region.view, 0, 100, 2)
    expect(checkBatch(region, 0, region.length)).toBeUndefined()
    expect(readRecords(region).map(record => record.offset)).toEqual([103, 1104])
    expect([lastOffsetOf(region.view, 0), recordCountOf(region.view, 0)]).toEqual([1109, 2])
  })

  test('a batch without records that keeps its offsets', () => {
    const { region, encoder } = begun()
    encoder.skipOffsets(7)
    expect(encoder.finish({ producerId: 5, producerEpoch: 1, baseSequence: 3 })).toBe(BATCH.headerBytes)
    stampBatch(region.view, 0, 50, 2)
    expect(checkBatch(region, 0, region.length)).toBeUndefined()
    expect([lastOffsetOf(region.view, 0), recordCountOf(region.view, 0)]).toEqual([56, 0])
    expect([baseTimestampOf(region.view, 0), maxTimestampOf(region.view, 0)]).toEqual([-1, -1])
    expect(readRecords(region)).toEqual([])
  })

  test('a delete horizon in place of the base timestamp', () => {
    const { region, encoder } = begun(T + 86_400_000)
    encoder.append(T, Buffer.from('k'), null)
    encoder.append(T + 90_000_000, Buffer.from('l'), Buffer.from('m'))
    encoder.finish({ hasDeleteHorizon: true })
    expect(hasDeleteHorizon(region.view, 0)).toBe(true)
    expect([baseTimestampOf(region.view, 0), maxTimestampOf(region.view, 0)]).toEqual([T + 86_400_000, T + 90_000_000])
    expect(readRecords(region).map(record => record.timestamp)).toEqual([T, T + 90_000_000])
  })

  test('LogAppendTime is stamped again', () => {
    const { region, encoder } = begun()
    encoder.append(T, null, null)
    encoder.finish()
    stampLogAppendTime(region, 0, T)
    expect([checkBatch(region, 0, region.length), isLogAppendTime(region.view, 0)]).toEqual([undefined, true])
  })
})

describe('encodeBatch', () => {
  test('makes what the encoder makes', () => {
    fc.assert(
      fc.property(modelRecords, fc.constantFrom(...CODECS), (records, codec) => {
        const options = { codec, producerId: 9, producerEpoch: 1, baseSequence: 2 }
        const batch = encodeBatch(records, options)
        expect(batch.recordCount).toBe(records.length)
        expect(batch).toBeInstanceOf(EncodedBatch)
        expect(batch.bytes.equals(encodeGuarded(records, new ArrayBuffer(roomFor(records)), options).bytes)).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  test('a record may leave out key and headers', () => {
    expect(readRecords(regionOf(encodeBatch([{ timestamp: -1, value: Buffer.from('v') }]).bytes))).toEqual([
      { offset: 0, timestamp: -1, key: null, value: '76', headers: [] },
    ])
  })

  test('no records are refused', () => {
    expect(() => encodeBatch([])).toThrow(/INVALID_ARGUMENT.*records/)
  })

  test('more than 2^31 bytes are refused before they are allocated', () => {
    const value = new Uint8Array(64 << 20)
    expect(() => encodeBatch(Array.from({ length: 32 }, () => ({ timestamp: T, value })))).toThrow(/RECORD_TOO_LARGE/)
  })
})
