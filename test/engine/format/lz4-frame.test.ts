import { randomBytes } from 'node:crypto'
import lz4 from 'lz4-napi'
import { describe, expect, test } from 'vitest'
import { compressLz4Frame, decompressLz4Frame } from '../../../engine/format/lz4-frame.ts'

const MIB = 1 << 20
const text = (bytes: number) => Buffer.alloc(bytes, 'a text that repeats itself, ')

/** A frame by hand: independent or linked blocks of up to 64 KiB, each `[stored, bytes]`. */
function frame(flags: number, blocks: readonly (readonly [boolean, Buffer])[], trailer = Buffer.alloc(0)): Buffer {
  const parts: Buffer[] = [Buffer.from([0x04, 0x22, 0x4d, 0x18, flags, 0x40, 0x00])]
  for (const [stored, bytes] of blocks) {
    const size = Buffer.alloc(4)
    size.writeUInt32LE((stored ? 0x8000_0000 : 0) + bytes.length)
    parts.push(size, bytes)
  }
  return Buffer.concat([...parts, Buffer.alloc(4), trailer])
}

describe('LZ4 frames', () => {
  test("that we write are what Kafka's reader takes: version 1, independent blocks, no dictionary", () => {
    for (const length of [0, 1, 65_536, 65_537, 300_000, 5_000_000]) {
      const bytes = compressLz4Frame(text(length))
      expect(bytes.readUInt32LE(0)).toBe(0x184d_2204)
      expect((bytes[4] as number) & 0xf3).toBe(0x60)
      expect(((bytes[5] as number) >> 4) & 7).toBeGreaterThanOrEqual(4)
      expect(lz4.decompressFrameSync(bytes).equals(text(length))).toBe(true)
    }
  })

  test('with checksums of blocks and content', () => {
    for (const contentChecksum of [false, true]) {
      for (const blockChecksums of [false, true]) {
        const bytes = lz4.compressFrameSync(text(200_000), { contentChecksum, blockChecksums })
        expect(decompressLz4Frame(bytes, MIB).equals(text(200_000))).toBe(true)
      }
    }
  })

  test('with blocks that are stored as they are', () => {
    const noise = randomBytes(200_000)
    expect(decompressLz4Frame(compressLz4Frame(noise), MIB).equals(noise)).toBe(true)
    const stored = frame(0x60, [
      [true, Buffer.from('abc')],
      [true, Buffer.from('def')],
    ])
    expect(decompressLz4Frame(stored, 6).toString()).toBe('abcdef')
    expect(() => decompressLz4Frame(stored, 5)).toThrow(/DECOMPRESSED_TOO_LARGE/)
  })

  test('with a content size in the header', () => {
    const plain = frame(0x60, [[true, Buffer.from('abc')]])
    const sized = Buffer.concat([plain.subarray(0, 6), Buffer.alloc(8), plain.subarray(6)])
    sized[4] = 0x68
    expect(decompressLz4Frame(sized, 3).toString()).toBe('abc')
  })

  test('with blocks that refer to those before them, up to 64 KiB back', () => {
    const first = randomBytes(65_536)
    // No literals and a match of 4 bytes at the distance given, then 5 literals, with which a block must end.
    const match = (distance: number) =>
      Buffer.from([0x00, distance & 0xff, distance >> 8, 0x50, ...Buffer.from('final')])
    for (const distance of [4, 100, 65_535]) {
      const start = first.length - distance
      const bytes = decompressLz4Frame(
        frame(0x40, [
          [true, first],
          [false, match(distance)],
        ]),
        MIB,
      )
      expect(
        bytes.subarray(first.length).equals(Buffer.concat([first.subarray(start, start + 4), Buffer.from('final')])),
      ).toBe(true)
      expect(() =>
        decompressLz4Frame(
          frame(0x60, [
            [true, first],
            [false, match(distance)],
          ]),
          MIB,
        ),
      ).toThrow()
    }
  })

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['another magic', Buffer.concat([Buffer.from([5]), frame(0x60, []).subarray(1)])],
    ['another version', frame(0xa0, [])],
    ['a dictionary', frame(0x61, [])],
    ['no end mark', frame(0x60, []).subarray(0, 10)],
    ['a block beyond the end', frame(0x60, [[true, text(100)]]).subarray(0, 60)],
    ['a block larger than the frame allows', frame(0x60, [[true, text(65_537)]])],
    [
      'a block of reserved size',
      Buffer.concat([frame(0x60, []).subarray(0, 5), Buffer.from([0x30]), frame(0x60, []).subarray(6)]),
    ],
  ])('refused: %s', (_, bytes) => {
    expect(() => decompressLz4Frame(bytes, MIB)).toThrow(/CORRUPT_BATCH/)
  })
})
