import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import lz4 from 'lz4-napi'
import { compressSync } from 'snappy'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { type Codec, compress, decompress } from '../../../engine/format/compression.ts'
import { CODECS } from './records.ts'

const COMPRESSING = CODECS.slice(1)
const MIB = 1 << 20

const contents = fc.oneof(
  fc.uint8Array({ maxLength: 500 }),
  fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 30 }), fc.nat({ max: 20_000 })).map(([piece, times]) => {
    const bytes = Buffer.alloc(Math.min(piece.length * times, 300_000))
    for (let i = 0; i < bytes.length; i++) bytes[i] = piece[i % piece.length] as number
    return bytes
  }),
)

/** The code of what is thrown, which must be ours. */
function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (isMillraceError(error)) return error.code
    throw error
  }
}

describe('every codec', () => {
  test('gives back what it was given, from ordinary and from shared memory, and wherever it lies', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CODECS), contents, fc.boolean(), (codec, content, shared) => {
        const memory = shared ? new SharedArrayBuffer(content.length + 7) : new ArrayBuffer(content.length + 7)
        const input = new Uint8Array(memory, 7)
        input.set(content)
        const compressed = compress(codec, input)
        const carrier = new Uint8Array(
          shared ? new SharedArrayBuffer(compressed.length + 9) : new ArrayBuffer(compressed.length + 9),
          9,
        )
        carrier.set(compressed)
        expect(decompress(codec, carrier, content.length).equals(content)).toBe(true)
        expect(decompress(codec, carrier, MIB).equals(content)).toBe(true)
      }),
      { numRuns: 400 },
    )
  })

  test.each(CODECS)('refuses a byte more than the limit (%s)', codec => {
    for (const length of [1, 100, 65_536, 65_537, 200_000, 5_000_000]) {
      const compressed = compress(codec, Buffer.alloc(length, 7))
      expect(decompress(codec, compressed, length).length).toBe(length)
      if (length === 1) continue // node:zlib knows no limit below 1
      expect(codeOf(() => decompress(codec, compressed, length - 1))).toBe('DECOMPRESSED_TOO_LARGE')
    }
  })

  test.each(COMPRESSING)('reports bytes that are cut, and bytes that are something else (%s)', codec => {
    const content = Buffer.from('a text that repeats itself, '.repeat(50))
    const compressed = compress(codec, content)
    for (let length = 0; length < compressed.length; length++) {
      const code = codeOf(() => decompress(codec, compressed.subarray(0, length), MIB))
      // Snappy has no end mark: cut between its parts it is whole. The batch's record count then tells.
      if (!(codec === 'snappy' && length === 16)) expect([length, code]).toEqual([length, 'CORRUPT_BATCH'])
    }
    for (const other of COMPRESSING) {
      if (other !== codec)
        expect(codeOf(() => decompress(codec, compress(other, content), MIB))).toMatch(/CORRUPT_BATCH|TOO_LARGE/)
    }
  })

  test.each(COMPRESSING)('survives any damage with our error, or with bytes within the limit (%s)', codec => {
    const compressed = compress(codec, Buffer.from('a text that repeats itself, '.repeat(20)))
    fc.assert(
      fc.property(fc.nat({ max: compressed.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const damaged = Buffer.from(compressed)
        damaged[at] = (damaged[at] as number) ^ mask
        codeOf(() => expect(decompress(codec, damaged, 10_000).length).toBeLessThanOrEqual(10_000))
      }),
      { numRuns: 500 },
    )
  })

  test('that is not one of them is refused', () => {
    expect(codeOf(() => compress('brotli' as Codec, Buffer.alloc(1)))).toBe('UNSUPPORTED_COMPRESSION')
    expect(codeOf(() => decompress('brotli' as Codec, Buffer.alloc(1), 1))).toBe('UNSUPPORTED_COMPRESSION')
  })
})

describe('gzip and zstd', () => {
  test('several members, or frames, are one content', () => {
    const parts = ['one ', 'two ', 'three'].map(text => Buffer.from(text.repeat(100)))
    const whole = Buffer.concat(parts)
    expect(decompress('gzip', Buffer.concat(parts.map(part => gzipSync(part))), MIB).equals(whole)).toBe(true)
    const frames = Buffer.concat(parts.map(part => zstdCompressSync(part)))
    expect(decompress('zstd', frames, MIB).equals(whole)).toBe(true)
    expect(codeOf(() => decompress('zstd', frames, whole.length - 1))).toBe('DECOMPRESSED_TOO_LARGE')
    expect(codeOf(() => decompress('zstd', Buffer.concat([frames, Buffer.from('x')]), MIB))).toBe('CORRUPT_BATCH')
  })

  test('a zstd window beyond 2^27 is refused', () => {
    const frame = (windowDescriptor: number) =>
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, windowDescriptor, 0x09, 0x00, 0x00, 0x41])
    expect(decompress('zstd', frame((27 - 10) << 3), MIB).length).toBe(1)
    expect(codeOf(() => decompress('zstd', frame((28 - 10) << 3), MIB))).toBe('CORRUPT_BATCH')
  })
})

/** 512 MiB and more in a few bytes: what is allocated is bounded by the limit, not by what the bytes claim. */
describe('a bomb', () => {
  const times = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item)

  function zstdBomb(): Buffer {
    const block = Buffer.from([0x02, 0x00, 0x10, 0x00]) // a run of 128 KiB of the byte 0
    return Buffer.concat([
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]),
      ...times(4096, block),
      Buffer.from([0x01, 0, 0]),
    ])
  }

  function lz4Bomb(): Buffer {
    const frame = lz4.compressFrameSync(Buffer.alloc(4 * MIB))
    const blocks = frame.subarray(7, frame.length - 4)
    return Buffer.concat([frame.subarray(0, 7), ...times(128, blocks), Buffer.alloc(4)])
  }

  function snappyBomb(): Buffer {
    const stream = compress('snappy', Buffer.alloc(4 * MIB))
    return Buffer.concat([stream.subarray(0, 16), ...times(128, stream.subarray(16))])
  }

  test.each([
    ['gzip', () => Buffer.concat(times(128, gzipSync(Buffer.alloc(4 * MIB))))],
    ['zstd', zstdBomb],
    ['lz4', lz4Bomb],
    ['snappy', snappyBomb],
  ] as const)('of %s is stopped at the limit', (codec, bomb) => {
    const bytes = bomb()
    const before = process.resourceUsage().maxRSS
    expect(codeOf(() => decompress(codec, bytes, 8 * MIB))).toBe('DECOMPRESSED_TOO_LARGE')
    const grownKib = process.resourceUsage().maxRSS - before
    expect(grownKib).toBeLessThan(64 * 1024)
  })

  test('that only claims its size costs nothing', () => {
    const before = process.resourceUsage().maxRSS
    const declared = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]), Buffer.alloc(20)])
    expect(codeOf(() => decompress('snappy', declared, MIB))).toBe('DECOMPRESSED_TOO_LARGE')
    expect(codeOf(() => decompress('snappy', declared, 2 ** 40))).toBe('CORRUPT_BATCH')
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(16 * 1024)
  })

  test('a raw block of the snappy library is what the test above takes it for', () => {
    expect(decompress('snappy', compressSync(Buffer.alloc(1000)), 1000).length).toBe(1000)
  })
})
