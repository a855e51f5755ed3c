import { randomBytes } from 'node:crypto'
import { compressSync } from 'snappy'
import { describe, expect, test } from 'vitest'
import { compressSnappyStream, decompressSnappyStream } from '../../../engine/format/snappy-stream.ts'

const MIB = 1 << 20
const MAGIC = '82534e41505059000000000100000001'

describe('Snappy streams', () => {
  test("have xerial's header and chunks", () => {
    const bytes = compressSnappyStream(Buffer.from('abc'))
    expect(bytes.toString('hex')).toBe(`${MAGIC}00000005${compressSync(Buffer.from('abc')).toString('hex')}`)
    expect(compressSnappyStream(Buffer.alloc(0)).toString('hex')).toBe(MAGIC)
  })

  test('of several chunks, of any size', () => {
    for (const length of [65_536, 65_537, 200_000]) {
      const noise = randomBytes(length)
      expect(decompressSnappyStream(compressSnappyStream(noise), length).equals(noise)).toBe(true)
    }
    const chunks = ['one', 'two'].map(text => {
      const block = compressSync(Buffer.from(text))
      return Buffer.concat([Buffer.from([0, 0, 0, block.length]), block])
    })
    expect(decompressSnappyStream(Buffer.concat([Buffer.from(MAGIC, 'hex'), ...chunks]), 6).toString()).toBe('onetwo')
    expect(() => decompressSnappyStream(Buffer.concat([Buffer.from(MAGIC, 'hex'), ...chunks]), 5)).toThrow(/TOO_LARGE/)
  })

  test('that are one raw block, as some clients write', () => {
    for (const length of [0, 1, 15, 16, 1000, 200_000]) {
      const content = Buffer.alloc(length, 'text ')
      expect(decompressSnappyStream(compressSync(content), length).equals(content)).toBe(true)
    }
  })

  test.each([
    ['nothing', ''],
    ['a length cut short', `${MAGIC}000000`],
    ['a negative length', `${MAGIC}ffffffff00`],
    ['a chunk beyond the end', `${MAGIC}0000000a0308`],
    ['a chunk without a block', `${MAGIC}00000000`],
    ['a content length that does not end', 'ffffffffffff'],
    ['a content length that the bytes cannot make', 'ffff0300'],
  ])('refused: %s', (_, hex) => {
    expect(() => decompressSnappyStream(Buffer.from(hex, 'hex'), MIB)).toThrow(/CORRUPT_BATCH/)
  })
})
