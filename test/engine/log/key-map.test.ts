/** The map of keys to their latest offsets, against a plain Map. */
import { beforeEach, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { KeyMap } from '../../../engine/log/key-map.ts'
import { printSeed } from '../memory/threads.ts'

const seed = testSeed()
beforeEach(printSeed(seed))

/** A key in the middle of other bytes. */
function placed(random: Random, key: string): { view: DataView; at: number; length: number } {
  const bytes = Buffer.from(key)
  const at = random.below(9)
  const all = Buffer.alloc(at + bytes.length + random.below(9), random.below(256))
  bytes.copy(all, at)
  return { view: new DataView(all.buffer, all.byteOffset, all.length), at, length: bytes.length }
}

test('the latest offset of each key, whatever keys there are', () => {
  const random = new Random(seed)
  const map = new KeyMap(1 << 22, random.below(2 ** 31))
  const model = new Map<string, number>()
  let offset = 0
  for (let i = 0; i < 20_000; i++) {
    const key = 'k'.repeat(random.below(20)) + random.below(3_000).toString(random.between(2, 36))
    offset += random.between(1, i === 10_000 ? 2 ** 45 : 1_000)
    const { view, at, length } = placed(random, key)
    expect(map.put(view, at, length, offset)).toBe(true)
    model.set(key, offset)
  }
  expect(map.size).toBe(model.size)
  for (const [key, latest] of model) {
    const { view, at, length } = placed(random, key)
    expect(map.get(view, at, length), key).toBe(latest)
  }
  const { view, at, length } = placed(random, 'not there')
  expect(map.get(view, at, length)).toBe(-1)
})

test('an empty key and a very long one are keys', () => {
  const map = new KeyMap(1 << 20, 7)
  const long = new DataView(new ArrayBuffer(100_000))
  expect(map.put(long, 0, 0, 1)).toBe(true)
  expect(map.put(long, 0, 100_000, 2)).toBe(true)
  expect(map.put(long, 0, 99_999, 3)).toBe(true)
  expect([map.get(long, 0, 0), map.get(long, 0, 100_000), map.get(long, 0, 99_999)]).toEqual([1, 2, 3])
})

test('when it is full, known keys still move and new ones are refused', () => {
  const map = new KeyMap(100_000, 1)
  const view = new DataView(new ArrayBuffer(8))
  let kept = 0
  for (let i = 0; i < 5_000; i++) {
    view.setInt32(0, i)
    if (!map.put(view, 0, 8, i)) break
    kept += 1
  }
  expect(kept).toBeGreaterThan(500)
  expect(kept).toBeLessThan(4_000)
  view.setInt32(0, kept)
  expect([map.put(view, 0, 8, 9), map.get(view, 0, 8), map.size]).toEqual([false, -1, kept])
  view.setInt32(0, 3)
  expect([map.put(view, 0, 8, 77), map.get(view, 0, 8)]).toEqual([true, 77])
})
