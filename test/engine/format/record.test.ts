import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import { BATCH, encodeBatch, stampBatch, stampLogAppendTime } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { CODECS, current, modelRecords, readRecords, regionOf, SAFE_MAX } from './records.ts'

const T = 1_700_000_000_000

function cursorOver(region: Region): RecordCursor {
  const cursor = new RecordCursor()
  cursor.reset(region, 0)
  return cursor
}

describe('RecordCursor', () => {
  test('before reset it is at the end of nothing', () => {
    expect(new RecordCursor().next()).toBe(false)
  })

  test('at the end it stays there and keeps the last record', () => {
    const cursor = cursorOver(regionOf(encodeBatch([{ timestamp: T, value: Buffer.from('v') }]).bytes))
    expect([cursor.next(), cursor.next(), cursor.next()]).toEqual([true, false, false])
    expect([cursor.offset, cursor.timestamp, Buffer.from(cursor.value() ?? []).toString()]).toEqual([0, T, 'v'])
  })

  test('after reset no record is current', () => {
    const record = {
      timestamp: T,
      key: Buffer.alloc(500),
      value: Buffer.alloc(500),
      headers: [{ key: 'h', value: null }],
    }
    const cursor = cursorOver(regionOf(encodeBatch([record]).bytes))
    cursor.next()
    cursor.reset(regionOf(encodeBatch([{ timestamp: T, value: null }]).bytes), 0)
    expect([cursor.offset, cursor.timestamp, cursor.key(), cursor.value(), cursor.headers()]).toEqual([
      NaN,
      NaN,
      null,
      null,
      [],
    ])
  })

  test('null and empty are told apart', () => {
    const batch = encodeBatch([
      { timestamp: T, key: null, value: new Uint8Array(0) },
      { timestamp: T, key: new Uint8Array(0), value: null },
    ])
    const cursor = cursorOver(regionOf(batch.bytes))
    cursor.next()
    expect([cursor.keyBytes, cursor.key(), cursor.valueBytes, cursor.value()]).toEqual([-1, null, 0, new Uint8Array(0)])
    cursor.next()
    expect([cursor.keyBytes, cursor.key(), cursor.valueBytes, cursor.value()]).toEqual([0, new Uint8Array(0), -1, null])
  })

  test('keys, values and header values are views onto the region, at the positions given', () => {
    const headers = [{ key: 'h', value: Buffer.from('hhh') }]
    const { bytes } = encodeBatch([{ timestamp: T, key: Buffer.from('kk'), value: Buffer.from('vvv'), headers }])
    const memory = new ArrayBuffer(bytes.length + 20)
    const region = new Region(memory, 8)
    region.bytes.set(bytes, 5)
    const cursor = new RecordCursor()
    cursor.reset(region, 5)
    cursor.next()
    for (const [view, text] of [
      [cursor.key(), 'kk'],
      [cursor.value(), 'vvv'],
      [cursor.headers()[0]?.value, 'hhh'],
    ] as const) {
      expect(view?.constructor).toBe(Uint8Array)
      expect(view?.buffer).toBe(memory)
      expect(Buffer.from(view ?? []).toString()).toBe(text)
    }
    expect(region.bytes.toString('utf8', cursor.keyAt, cursor.keyAt + cursor.keyBytes)).toBe('kk')
    expect(region.bytes.toString('utf8', cursor.valueAt, cursor.valueAt + cursor.valueBytes)).toBe('vvv')
    expect([cursor.headerCount, region.bytes[cursor.headersAt + 1]]).toEqual([1, 'h'.charCodeAt(0)])
  })

  test('the views of a compressed batch outlive the next reset', () => {
    const batch = (text: string) =>
      regionOf(encodeBatch([{ timestamp: T, value: Buffer.from(text.repeat(100)) }], { codec: 'zstd' }).bytes)
    const cursor = cursorOver(batch('a'))
    cursor.next()
    const value = cursor.value()
    cursor.reset(batch('b'), 0)
    cursor.next()
    expect([Buffer.from(value ?? []).toString(), cursor.value()?.[0]]).toEqual(['a'.repeat(100), 'b'.charCodeAt(0)])
  })

  test('a delta of any size is read, with a base timestamp of any size', () => {
    const offsets = [...Array(53).keys()].flatMap(bit => [2 ** bit, 2 ** bit - 1])
    for (const first of [0, -1, T, SAFE_MAX - 1]) {
      const times = [first, ...offsets.slice(0, -2), SAFE_MAX - 1, SAFE_MAX - 2, -1]
      const batch = regionOf(encodeBatch(times.map(timestamp => ({ timestamp, value: null }))).bytes)
      expect(readRecords(batch).map(record => record.timestamp)).toEqual(times)
    }
  })

  test('offsets up to the largest', () => {
    const batch = regionOf(
      encodeBatch([
        { timestamp: T, value: null },
        { timestamp: T, value: null },
      ]).bytes,
    )
    stampBatch(batch.view, 0, SAFE_MAX - 1, 0)
    expect(readRecords(batch).map(record => record.offset)).toEqual([SAFE_MAX - 1, SAFE_MAX])
  })

  test('many records: offset deltas of one to three bytes and beyond', () => {
    const count = 70_000
    const batch = regionOf(
      encodeBatch(Array.from({ length: count }, (_, i) => ({ timestamp: T + i, value: null }))).bytes,
    )
    const cursor = cursorOver(batch)
    for (let i = 0; i < count; i++) {
      if (!cursor.next() || cursor.offset !== i || cursor.timestamp !== T + i) expect.fail(`at ${i}`)
    }
    expect(cursor.next()).toBe(false)
  })

  test('a reset that fails leaves an empty cursor', () => {
    const cursor = cursorOver(regionOf(encodeBatch([{ timestamp: T, value: null }]).bytes))
    expect(() => cursor.reset(regionOf(Buffer.alloc(10)), 0)).toThrow(/CORRUPT_BATCH.*short/)
    expect(cursor.next()).toBe(false)
  })
})

describe('seeking', () => {
  test('by offset and by timestamp finds what a linear scan finds', () => {
    const wanted = fc.oneof(
      fc.integer({ min: -2, max: 40 }),
      fc.integer({ min: T, max: T + 100_000 }),
      fc.maxSafeInteger(),
    )
    fc.assert(
      fc.property(
        modelRecords,
        fc.constantFrom(...CODECS),
        wanted,
        fc.boolean(),
        (records, codec, target, logAppendTime) => {
          const batch = regionOf(encodeBatch(records, { codec }).bytes)
          stampBatch(batch.view, 0, 5, 0)
          if (logAppendTime) stampLogAppendTime(batch, 0, T + 50_000)
          const all = readRecords(batch)
          for (const [seek, field] of [
            ['seekOffset', 'offset'],
            ['seekTimestamp', 'timestamp'],
          ] as const) {
            const cursor = cursorOver(batch)
            const found = cursor[seek](target) ? current(cursor) : undefined
            expect(found).toEqual(all.find(record => record[field] >= target))
            // Again from there: it stays on the record, or at the end.
            expect(cursor[seek](target)).toBe(found !== undefined)
            if (found !== undefined) expect(current(cursor)).toEqual(found)
          }
        },
      ),
      { numRuns: 400 },
    )
  })

  test('goes on from where the cursor is', () => {
    const batch = regionOf(encodeBatch(Array.from({ length: 10 }, (_, i) => ({ timestamp: T + i, value: null }))).bytes)
    const cursor = cursorOver(batch)
    expect([cursor.seekOffset(3), cursor.offset]).toEqual([true, 3])
    expect([cursor.seekTimestamp(T + 7), cursor.offset]).toEqual([true, 7])
    expect([cursor.next(), cursor.offset]).toEqual([true, 8])
    expect(cursor.seekOffset(100)).toBe(false)
  })
})

describe('damage inside a batch', () => {
  /** A batch with these bytes as its records; the CRC is the caller's affair and is not looked at here. */
  function batchOf(records: string, count = 1, lastOffsetDelta = count - 1): Region {
    const body = Buffer.from(records.replaceAll(' ', ''), 'hex')
    const region = regionOf(
      Buffer.concat([encodeBatch([{ timestamp: T, value: null }]).bytes.subarray(0, BATCH.headerBytes), body]),
    )
    region.view.setInt32(BATCH.batchLengthAt, region.length - BATCH.overheadBytes)
    region.view.setInt32(BATCH.recordCountAt, count)
    region.view.setInt32(BATCH.lastOffsetDeltaAt, lastOffsetDelta)
    return region
  }

  // length, attributes, timestamp delta, offset delta, key, value, header count
  const good = '0c 00 00 00 01 01 00'
  /** Makes the record long enough to be read the fast way. */
  const padding = '28 00 00 02 01 1c 0000000000000000000000000000 00'

  test('the pieces that the cases are made of are sound', () => {
    expect(readRecords(batchOf(good)).length).toBe(1)
    expect(readRecords(batchOf(good + padding, 2)).length).toBe(2)
  })

  test.each([
    ['record length', '7e 00 00 00 01 01 00'],
    ['record length', '01 00 00 00 01 01 00'],
    ['record length', 'fe ff ff ff 0f 00 00'],
    ['varint', 'ff ff ff ff ff 00 00'],
    ['varint', '00 00 00 00 00 00 00'],
    ['varint', '02 00 00 00 01 01 00'],
    ['varint', '0c 00 00 00 01 01 80'],
    ['offset delta', '0c 00 00 01 01 01 00'],
    ['offset delta', '0c 00 00 02 01 01 00'],
    ['key length', '0c 00 00 00 03 01 00'],
    ['key length', '0c 00 00 00 06 01 00'],
    ['key length', '0c 00 00 00 7e 01 00'],
    ['value length', '0c 00 00 00 01 03 00'],
    ['value length', '0c 00 00 00 01 04 00'],
    ['value length', '0c 00 00 00 01 7e 00'],
    ['header count', '0c 00 00 00 01 01 01'],
    ['header count', '0c 00 00 00 01 01 02'],
    ['header count', '0e 00 00 00 01 01 00 00'],
    ['header count', '12 00 00 00 01 01 80 80 80 01'],
  ])('%s: %s', (reason, record) => {
    for (const region of [batchOf(record), batchOf(record + padding)]) {
      const cursor = cursorOver(region)
      for (let again = 0; again < 2; again++) {
        try {
          cursor.next()
          expect.unreachable('the record was taken')
        } catch (error) {
          if (!isMillraceError(error, 'CORRUPT_RECORD')) throw error
          expect(error.details['reason']).toBe(reason)
          expect(error.details['position']).toBeGreaterThanOrEqual(BATCH.headerBytes)
        }
      }
    }
  })

  test('an offset that does not increase', () => {
    expect(() => readRecords(batchOf(good + good, 2))).toThrow(/CORRUPT_RECORD.*offset delta/)
  })

  test('bytes behind the last record, and records that are missing', () => {
    expect(() => readRecords(batchOf(`${good} 00`))).toThrow(/CORRUPT_RECORD.*bytes behind the last record/)
    expect(() => readRecords(batchOf('', 0, 0))).not.toThrow()
    expect(() => readRecords(batchOf('00', 0, 0))).toThrow(/CORRUPT_RECORD/)
    const missing = regionOf(encodeBatch([{ timestamp: T, value: Buffer.alloc(1000) }], { codec: 'gzip' }).bytes)
    missing.view.setInt32(BATCH.lastOffsetDeltaAt, 1)
    missing.view.setInt32(BATCH.recordCountAt, 2)
    expect(() => readRecords(missing)).toThrow(/CORRUPT_RECORD/)
  })

  test('a timestamp beyond 2^53', () => {
    const region = batchOf(good.replace('00 00 00', '00 02 00'))
    region.view.setBigInt64(BATCH.baseTimestampAt, BigInt(SAFE_MAX))
    expect(() => readRecords(region)).toThrow(/UNSUPPORTED_FORMAT.*timestamp/)
    region.view.setBigInt64(BATCH.baseTimestampAt, BigInt(SAFE_MAX) - 1n)
    expect(readRecords(region)[0]?.timestamp).toBe(SAFE_MAX)
  })

  test.each([
    ['header key length', '10 00 00 00 01 01 02 01 01'],
    ['header key length', '10 00 00 00 01 01 02 04 01'],
    ['header value length', '10 00 00 00 01 01 02 00 03'],
    ['header value length', '10 00 00 00 01 01 02 00 02'],
    ['record length', '12 00 00 00 01 01 02 00 01 00'],
  ])('headers, when asked for: %s: %s', (reason, record) => {
    const cursor = cursorOver(batchOf(record))
    expect(cursor.next()).toBe(true)
    expect(() => cursor.headers()).toThrow(new RegExp(`CORRUPT_RECORD.*${reason}`))
  })

  test('what is no batch at all', () => {
    const code = (region: Region) => {
      try {
        new RecordCursor().reset(region, 0)
      } catch (error) {
        return isMillraceError(error) ? error.code : error
      }
      return undefined
    }
    const sound = encodeBatch([{ timestamp: T, value: Buffer.alloc(500) }], { codec: 'lz4' }).bytes
    const changed = (change: (view: DataView) => void) => {
      const region = regionOf(sound)
      change(region.view)
      return region
    }
    expect(code(regionOf(sound))).toBeUndefined()
    expect(code(regionOf(Buffer.alloc(100)))).toBe('CORRUPT_BATCH')
    expect(code(changed(view => view.setInt8(BATCH.magicAt, 1)))).toBe('UNSUPPORTED_FORMAT')
    expect(code(changed(view => view.setInt16(BATCH.attributesAt, 6)))).toBe('CORRUPT_BATCH')
    expect(code(changed(view => view.setInt16(BATCH.attributesAt, 1)))).toBe('CORRUPT_BATCH') // lz4 is no gzip
    expect(code(changed(view => view.setBigInt64(BATCH.baseOffsetAt, 2n ** 60n)))).toBe('CORRUPT_BATCH')
  })

  test('a batch that grows beyond the limit is refused, and the error says where it is', () => {
    for (const codec of CODECS.slice(1)) {
      const { bytes } = encodeBatch([{ timestamp: T, value: Buffer.alloc(100_000) }], { codec })
      const region = Region.of(Buffer.concat([Buffer.alloc(3), bytes]))
      const cursor = new RecordCursor()
      try {
        cursor.reset(region, 3, 50_000)
        expect.unreachable('it was decompressed')
      } catch (error) {
        expect(isMillraceError(error, 'DECOMPRESSED_TOO_LARGE') && error.details).toEqual({
          position: 3,
          codec,
          maxBytes: 50_000,
        })
      }
    }
  })
})
