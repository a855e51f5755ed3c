import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { Region, readI64, readI64Rough, writeI64 } from '../../../engine/format/region.ts'

describe('Region', () => {
  test('both views show the same bytes, of ordinary and of shared memory', () => {
    for (const buffer of [new ArrayBuffer(32), new SharedArrayBuffer(32)]) {
      const region = new Region(buffer, 8, 16)
      region.view.setUint32(4, 0x01020304)
      expect([...region.bytes.subarray(4, 8)]).toEqual([1, 2, 3, 4])
      expect([...new Uint8Array(buffer, 12, 4)]).toEqual([1, 2, 3, 4])
      expect([region.length, region.bytes.length, region.view.byteLength]).toEqual([16, 16, 16])
    }
  })

  test('reaches to the end of the memory by default', () => {
    expect(new Region(new ArrayBuffer(32), 8).length).toBe(24)
  })

  test('of() covers exactly the bytes that it is given', () => {
    const bytes = Uint8Array.from([9, 1, 2, 9]).subarray(1, 3)
    const region = Region.of(bytes)
    expect([...region.bytes]).toEqual([1, 2])
    region.view.setUint8(0, 7)
    expect(bytes[0]).toBe(7)
  })
})

describe('64-bit numbers', () => {
  const view = new DataView(new ArrayBuffer(16))

  test('are what DataView makes of a bigint, for every safe integer', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), value => {
        writeI64(view, 3, value)
        expect(view.getBigInt64(3)).toBe(BigInt(value))
        expect(readI64(view, 3)).toBe(value)
        expect(readI64Rough(view, 3)).toBe(value)
      }),
    )
  })

  test('beyond 2^53 are refused, or read as a number of the same order', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), value => {
        view.setBigInt64(0, value)
        expect(readI64Rough(view, 0)).toBe(Number(value))
        if (Number.isSafeInteger(Number(value))) return
        expect(() => readI64(view, 0)).toThrow(/UNSUPPORTED_FORMAT/)
      }),
    )
  })

  test('the error says where and what', () => {
    view.setBigInt64(5, 2n ** 53n)
    try {
      readI64(view, 5)
      expect.unreachable()
    } catch (error) {
      expect(isMillraceError(error, 'UNSUPPORTED_FORMAT') && error.details).toEqual({
        position: 5,
        value: '9007199254740992',
      })
    }
  })
})
