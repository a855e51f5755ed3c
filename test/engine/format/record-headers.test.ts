import fc from 'fast-check'
import { expect, test } from 'vitest'
import { headersBytes, readHeaders, writeHeaders } from '../../../engine/format/record-headers.ts'

const keys = fc.oneof(
  fc.string({ unit: 'grapheme-ascii' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', 'é', '名前', '😀', 'x'.repeat(64)),
)
const headers = fc.array(fc.record({ key: keys, value: fc.option(fc.uint8Array({ maxLength: 100 })) }), {
  maxLength: 10,
})

test('read back, from exactly the bytes that were foretold', () => {
  fc.assert(
    fc.property(headers, written => {
      const bytes = Buffer.alloc(headersBytes(written) + 10, 0xaa)
      const end = writeHeaders(bytes, 5, written)
      expect(end).toBe(bytes.length - 5)
      expect([...bytes.subarray(0, 5), ...bytes.subarray(end)].every(byte => byte === 0xaa)).toBe(true)
      expect(readHeaders(bytes, 5, end, written.length)).toEqual(written)
    }),
    { numRuns: 500 },
  )
})

test('cut anywhere, or followed by more, they are damage', () => {
  const written = [
    { key: 'key', value: Buffer.from('value') },
    { key: 'é', value: null },
  ]
  const bytes = Buffer.alloc(100)
  const end = writeHeaders(bytes, 0, written)
  for (let cut = 0; cut < 100; cut++) {
    if (cut === end) continue
    expect(() => readHeaders(bytes, 0, cut, 2)).toThrow(/CORRUPT_RECORD/)
  }
  expect(() => readHeaders(bytes, 0, end, 1)).toThrow(/CORRUPT_RECORD/)
  expect(() => readHeaders(bytes, 0, end, 3)).toThrow(/CORRUPT_RECORD/)
})

test('a key that is not UTF-8 is read with replacement characters, and half a surrogate pair is written as one', () => {
  expect(readHeaders(Buffer.from('02ff01', 'hex'), 0, 3, 1)).toEqual([{ key: '\ufffd', value: null }])
  const bytes = Buffer.alloc(10)
  const end = writeHeaders(bytes, 0, [{ key: '\ud800', value: null }])
  expect(bytes.subarray(0, end).toString('hex')).toBe('06efbfbd01')
})
