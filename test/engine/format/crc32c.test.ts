import { expect, test } from 'vitest'
import { crc32c } from '../../../engine/format/crc32c.ts'

/** Bit by bit, from the polynomial. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0)
  }
  return ~crc >>> 0
}

test('the check value of the CRC catalogue and the test vectors of RFC 3720', () => {
  const text = Buffer.from('123456789')
  expect(crc32c(text, 0, 9)).toBe(0xe306_9283)
  expect(crc32c(Buffer.alloc(32), 0, 32)).toBe(0x8a91_36aa)
  expect(crc32c(Buffer.alloc(32, 0xff), 0, 32)).toBe(0x62a8_ab43)
})

test('covers exactly the range that it is given, in ordinary and in shared memory', () => {
  for (const memory of [new ArrayBuffer(300), new SharedArrayBuffer(300)]) {
    const bytes = Buffer.from(memory as ArrayBuffer, 10, 280)
    for (let i = 0; i < bytes.length; i++) bytes[i] = i * 7
    for (const [at, end] of [
      [0, 280],
      [1, 1],
      [17, 200],
      [279, 280],
    ] as const) {
      expect(crc32c(bytes, at, end)).toBe(slowCrc32c(bytes.subarray(at, end)))
    }
  }
})
