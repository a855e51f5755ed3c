import { describe, expect, test } from 'vitest'
import {
  ATTRIBUTE,
  attributesOf,
  BATCH,
  baseOffsetOf,
  baseSequenceOf,
  baseTimestampOf,
  batchBytes,
  checkBatch,
  codecNumber,
  codecOf,
  encodeBatch,
  hasDeleteHorizon,
  isControlBatch,
  isLogAppendTime,
  isTransactional,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
  stampBatch,
  stampCrc,
  stampLogAppendTime,
} from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { CODECS, readRecords, regionOf, SAFE_MAX } from './records.ts'

const T = 1_700_000_000_000
const records = [
  { timestamp: T, value: Buffer.from('first') },
  { timestamp: T + 9, key: Buffer.from('key'), value: Buffer.from('second'.repeat(20)) },
  { timestamp: T + 3, value: null, headers: [{ key: 'h', value: Buffer.from('header') }] },
]
const sound = (codec: (typeof CODECS)[number] = 'none') => regionOf(encodeBatch(records, { codec }).bytes)

/** A sound batch with one change and a CRC that fits it. */
function changed(change: (view: DataView) => void): Region {
  const region = sound()
  change(region.view)
  stampCrc(region, 0)
  return region
}

describe('header fields', () => {
  const options = { producerId: 4242, producerEpoch: 7, baseSequence: 99, isTransactional: true, isControl: true }

  test('are where the layout says', () => {
    const at = 5
    const { bytes } = encodeBatch(records, options)
    const { view } = Region.of(Buffer.concat([Buffer.alloc(at), bytes]))
    stampBatch(view, at, 1000, 3)
    expect(batchBytes(view, at)).toBe(bytes.length)
    expect([baseOffsetOf(view, at), lastOffsetOf(view, at), leaderEpochOf(view, at)]).toEqual([1000, 1002, 3])
    expect([baseTimestampOf(view, at), maxTimestampOf(view, at)]).toEqual([T, T + 9])
    expect([producerIdOf(view, at), producerEpochOf(view, at), baseSequenceOf(view, at)]).toEqual([4242, 7, 99])
    expect([recordCountOf(view, at), codecOf(view, at)]).toEqual([3, 'none'])
    expect([isTransactional(view, at), isControlBatch(view, at)]).toEqual([true, true])
    expect([isLogAppendTime(view, at), hasDeleteHorizon(view, at)]).toEqual([false, false])
    expect(attributesOf(view, at)).toBe(ATTRIBUTE.transactional | ATTRIBUTE.control)
    expect(view.getInt8(at + BATCH.magicAt)).toBe(2)
  })

  test('have their defaults', () => {
    const { view } = sound()
    expect([baseOffsetOf(view, 0), lastOffsetOf(view, 0), leaderEpochOf(view, 0)]).toEqual([0, 2, -1])
    expect([producerIdOf(view, 0), producerEpochOf(view, 0), baseSequenceOf(view, 0)]).toEqual([-1, -1, -1])
    expect([isTransactional(view, 0), isControlBatch(view, 0)]).toEqual([false, false])
  })

  test('stamping offset and epoch leaves the CRC valid, to the largest offset', () => {
    const region = sound()
    stampBatch(region.view, 0, SAFE_MAX - 2, 0x7fff_ffff)
    expect(checkBatch(region, 0, region.length)).toBeUndefined()
    expect([lastOffsetOf(region.view, 0), leaderEpochOf(region.view, 0)]).toEqual([SAFE_MAX, 0x7fff_ffff])
  })

  test.each(CODECS)('stamping LogAppendTime gives every record that time, and a new CRC (%s)', codec => {
    const region = sound(codec)
    stampLogAppendTime(region, 0, T + 500)
    expect(checkBatch(region, 0, region.length)).toBeUndefined()
    expect(isLogAppendTime(region.view, 0)).toBe(true)
    expect([baseTimestampOf(region.view, 0), maxTimestampOf(region.view, 0)]).toEqual([T, T + 500])
    expect(readRecords(region).map(record => record.timestamp)).toEqual([T + 500, T + 500, T + 500])
  })

  test('a number without a codec is refused', () => {
    const { view } = changed(view => view.setInt16(BATCH.attributesAt, 5))
    expect(() => codecOf(view, 0)).toThrow(/UNSUPPORTED_COMPRESSION/)
    expect(() => codecNumber('brotli' as 'none')).toThrow(/UNSUPPORTED_COMPRESSION/)
  })
})

describe('checkBatch', () => {
  const all = (region: Region, checkCrc?: boolean) => checkBatch(region, 0, region.length, checkCrc)

  test.each(CODECS)('a sound batch has no fault, wherever it is (%s)', codec => {
    const { bytes } = encodeBatch(records, { codec })
    const region = Region.of(Buffer.concat([Buffer.alloc(7, 0xff), bytes, Buffer.alloc(9, 0xff)]))
    expect(checkBatch(region, 7, 7 + bytes.length)).toBeUndefined()
    expect(checkBatch(region, 7, region.length)).toBeUndefined()
  })

  test('cut anywhere it is short', () => {
    const { bytes } = encodeBatch(records)
    for (let length = 0; length < bytes.length; length++) {
      expect(all(regionOf(bytes.subarray(0, length)))).toBe('short')
      expect(checkBatch(regionOf(bytes), 0, length)).toBe('short')
    }
  })

  test('zeros are the end of the log, if there is room for a length', () => {
    expect(all(regionOf(Buffer.alloc(100)))).toBe('zero')
    expect(all(regionOf(Buffer.alloc(12)))).toBe('zero')
    expect(all(regionOf(Buffer.alloc(11)))).toBe('short')
    expect(all(regionOf(Buffer.alloc(0)))).toBe('short')
  })

  test('message sets of magic 0 and 1, as the Java client wrote them, and magics to come', () => {
    const magic0 = '0000000000000000000000101fecd70a0000000000016b0000000176'
    const magic1 = '00000000000000000000001839268c3301000000018bcfe56800000000016b0000000176'
    for (const hex of [magic0, magic1]) expect(all(regionOf(Buffer.from(hex, 'hex')))).toBe('magic')
    expect(all(changed(view => view.setInt8(BATCH.magicAt, 3)))).toBe('magic')
    expect(all(changed(view => view.setInt8(BATCH.magicAt, -1)))).toBe('magic')
  })

  test('a length that holds no header', () => {
    for (const length of [-1, -0x8000_0000, 1, 48]) {
      const region = sound()
      region.view.setInt32(BATCH.batchLengthAt, length)
      expect(all(region)).toBe('length')
    }
  })

  test.each([
    ['attributes', (view: DataView) => view.setInt16(BATCH.attributesAt, 5)],
    ['attributes', (view: DataView) => view.setInt16(BATCH.attributesAt, 7)],
    ['offset', (view: DataView) => view.setInt32(BATCH.lastOffsetDeltaAt, -1)],
    ['offset', (view: DataView) => view.setBigInt64(BATCH.baseOffsetAt, -1n)],
    ['offset', (view: DataView) => view.setBigInt64(BATCH.baseOffsetAt, 2n ** 53n - 2n)],
    ['offset', (view: DataView) => view.setBigInt64(BATCH.baseOffsetAt, 2n ** 62n)],
    ['count', (view: DataView) => view.setInt32(BATCH.recordCountAt, -1)],
    ['count', (view: DataView) => view.setInt32(BATCH.recordCountAt, 4)],
    ['timestamp', (view: DataView) => view.setBigInt64(BATCH.baseTimestampAt, 2n ** 53n)],
    ['timestamp', (view: DataView) => view.setBigInt64(BATCH.baseTimestampAt, -(2n ** 63n))],
    ['timestamp', (view: DataView) => view.setBigInt64(BATCH.maxTimestampAt, 2n ** 63n - 1n)],
    ['producer', (view: DataView) => view.setBigInt64(BATCH.producerIdAt, 2n ** 60n)],
  ] as const)('a CRC that fits does not hide a bad header: %s', (fault, change) => {
    expect(all(changed(change))).toBe(fault)
    expect(all(changed(change), false)).toBe(fault)
  })

  test('more records than bytes could hold, unless they are compressed', () => {
    const claim = (region: Region) => {
      region.view.setInt32(BATCH.lastOffsetDeltaAt, 999_999)
      region.view.setInt32(BATCH.recordCountAt, 1_000_000)
      stampCrc(region, 0)
      return region
    }
    expect(all(claim(sound()))).toBe('count')
    const compressed = claim(sound('gzip'))
    expect(all(compressed)).toBeUndefined()
    expect(() => readRecords(compressed)).toThrow(/CORRUPT_RECORD/)
  })

  test('offsets that compaction took, from the middle, the end, or all of them, are legal', () => {
    expect(all(changed(view => view.setInt32(BATCH.lastOffsetDeltaAt, 0x7fff_ffff)))).toBeUndefined()
    const empty = regionOf(sound().bytes.subarray(0, BATCH.headerBytes))
    empty.view.setInt32(BATCH.batchLengthAt, BATCH.headerBytes - BATCH.overheadBytes)
    empty.view.setInt32(BATCH.recordCountAt, 0)
    stampCrc(empty, 0)
    expect(all(empty)).toBeUndefined()
    expect(readRecords(empty)).toEqual([])
  })

  test('without the CRC, damage to the records is not seen', () => {
    const region = sound()
    region.bytes[70] = (region.bytes[70] as number) ^ 1
    expect([all(region), all(region, false)]).toEqual(['crc', undefined])
  })
})

/**
 * The bytes before the attributes are not covered by the CRC. Length, magic and the CRC itself are checked all the same.
 * Base offset and leader epoch are the broker's to write, and here any value of theirs is possible: that offsets continue
 * and epochs never decrease is the log's rule, and its recovery checks it.
 */
describe('every damage to one byte', () => {
  const isBrokers = (at: number) =>
    at < BATCH.batchLengthAt || (at >= BATCH.partitionLeaderEpochAt && at < BATCH.magicAt)
  const masks = [0xff, 0x55, 0xaa, 0x7f, ...Array.from({ length: 8 }, (_, bit) => 1 << bit)]

  test.each(CODECS)('is detected, but for base offset and leader epoch (%s)', codec => {
    const { bytes } = encodeBatch(records, { codec })
    // What follows is another batch, so that a length which reaches into it finds bytes there.
    const region = regionOf(Buffer.concat([bytes, bytes, bytes]))
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of masks) {
        region.bytes[at] = (region.bytes[at] as number) ^ mask
        const fault = checkBatch(region, 0, region.length)
        if (isBrokers(at)) expect([undefined, 'offset']).toContain(fault)
        else if (at === BATCH.magicAt) expect(fault).toBe('magic')
        else if (at >= BATCH.crcAt) expect(fault).toBe('crc')
        else expect(['zero', 'length', 'short', 'crc']).toContain(fault)
        region.bytes[at] = (region.bytes[at] as number) ^ mask
      }
    }
    expect(checkBatch(region, 0, region.length)).toBeUndefined()
  })
})
