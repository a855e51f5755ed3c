/** The map of keys to their latest offsets, against a plain Map. */
import { beforeEach, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { GROUP_RECORDS, RecordGroup } from '../../../engine/format/record-group.ts'
import { KeyMap } from '../../../engine/log/key-map.ts'
import { printSeed } from '../memory/threads.ts'

const seed = testSeed()
beforeEach(printSeed(seed))

interface Entry {
  readonly key: Buffer | null
  readonly offset: number
}

/** Keys in the middle of other bytes, and a group that says where they are. */
function placed(random: Random, entries: readonly Entry[]): { view: DataView; group: RecordGroup } {
  const bytes = Buffer.alloc(
    entries.reduce((sum, { key }) => sum + (key?.length ?? 0) + 9, 9),
    random.below(256),
  )
  const group = new RecordGroup()
  let at = 0
  for (const { key, offset } of entries) {
    at += random.below(9)
    const i = group.count++
    group.keyAt[i] = at
    group.keyBytes[i] = key?.length ?? -1
    group.offsets[i] = offset
    at += key?.copy(bytes, at) ?? 0
  }
  return { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), group }
}

const put = (map: KeyMap, random: Random, ...entries: Entry[]): boolean => {
  const { view, group } = placed(random, entries)
  return map.putAll(view, group)
}

function get(map: KeyMap, random: Random, ...keys: (Buffer | null)[]): number[] {
  const latest = new Float64Array(GROUP_RECORDS).fill(Number.NaN)
  const entries = keys.map(key => ({ key, offset: 0 }))
  const { view, group } = placed(random, entries)
  map.getAll(view, group, latest)
  return [...latest.subarray(0, keys.length)]
}

test('the latest offset of each key, whatever keys there are', () => {
  const random = new Random(seed)
  const map = new KeyMap(1 << 22, random.below(2 ** 31))
  const model = new Map<string, number>()
  let offset = 0
  for (let i = 0; i < 1_000; i++) {
    // Short groups, so that some meet in one group and others do not.
    const group = Array.from({ length: random.between(1, GROUP_RECORDS) }, () => {
      const key = 'k'.repeat(random.below(20)) + random.below(3_000).toString(random.between(2, 36))
      offset += random.between(1, i === 500 ? 2 ** 40 : 1_000)
      if (random.below(20) === 0) return { key: null, offset }
      model.set(key, offset)
      return { key: Buffer.from(key), offset }
    })
    expect(put(map, random, ...group)).toBe(true)
  }
  expect(map.size).toBe(model.size)
  for (const [key, latest] of model) expect(get(map, random, Buffer.from(key)), key).toEqual([latest])
  const all = [...model]
  for (let from = 0; from < all.length; from += GROUP_RECORDS) {
    const some = all.slice(from, from + GROUP_RECORDS)
    expect(get(map, random, ...some.map(([key]) => Buffer.from(key)))).toEqual(some.map(([, latest]) => latest))
  }
  expect(get(map, random, Buffer.from('not there'), null)).toEqual([-1, -1])
})

test('an empty key and a very long one are keys; what would take the memory for itself is not noted', () => {
  const random = new Random(seed)
  const map = new KeyMap(1 << 20, 7)
  const keys = [0, 65, 100_000, 99_999, 300_000].map(length => Buffer.alloc(length))
  expect(put(map, random, ...keys.map((key, offset) => ({ key, offset })))).toBe(true)
  expect(get(map, random, ...keys)).toEqual([0, 1, 2, 3, -1])
  expect(map.size).toBe(4)
})

test('when it is full, known keys still move and new ones are refused', () => {
  const random = new Random(seed)
  const map = new KeyMap(100_000, 1)
  const key = (i: number): Buffer => Buffer.from(i.toString().padStart(8))
  let kept = 0
  while (kept < 5_000 && put(map, random, { key: key(kept), offset: kept })) kept += 1
  expect(kept).toBeGreaterThan(500)
  expect(kept).toBeLessThan(4_000)
  const before = { key: key(3), offset: 77 }
  const behind = { key: key(4), offset: 78 }
  expect(put(map, random, before, { key: key(kept), offset: 9 }, behind)).toBe(false)
  expect(get(map, random, key(3), key(kept), key(4))).toEqual([77, -1, 78])
  expect(map.size).toBe(kept)
})
