import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { PartitionSet } from '../../../engine/group/partition-set.ts'

const entries = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(4), fc.nat(9)), { maxLength: 12 })

function make(list: readonly (readonly [string, number, number])[]): { set: PartitionSet; model: Map<string, number> } {
  const set = new PartitionSet()
  const model = new Map<string, number>()
  for (const [topic, partition, epoch] of list) {
    set.add(topic as TopicId, partition, epoch)
    model.set(`${topic}${partition}`, epoch)
  }
  return { set, model }
}

function entriesOf(set: PartitionSet): Map<string, number> {
  const all = new Map<string, number>()
  set.forEach((topicId, partition, epoch) => {
    all.set(`${topicId}${partition}`, epoch)
  })
  return all
}

test('is what a map of partitions is', () => {
  fc.assert(
    fc.property(entries, entries, (first, second) => {
      const [a, b] = [make(first), make(second)]
      expect(a.set.size).toBe(a.model.size)
      expect(entriesOf(a.set)).toEqual(a.model)
      const common = [...a.model.keys()].filter(key => b.model.has(key))
      expect(a.set.intersects(b.set)).toBe(common.length > 0)
      expect(a.set.isSubsetOf(b.set)).toBe(common.length === a.model.size)
      expect(a.set.equals(b.set)).toBe(common.length === a.model.size && common.length === b.model.size)
      const kept = a.set.filter((topicId, partition) => b.set.has(topicId, partition))
      expect([...entriesOf(kept).keys()].sort()).toEqual(common.sort())
      expect(entriesOf(PartitionSet.of(a.set.toTopics())).keys().toArray().sort()).toEqual([...a.model.keys()].sort())
      for (const [topic, partition] of second) {
        expect(a.set.epochOf(topic as TopicId, partition)).toBe(a.model.get(`${topic}${partition}`))
      }
    }),
  )
})
