import { expect, test } from 'vitest'
import { ClusterImage } from '../../../engine/cluster/cluster-image.ts'
import type { Entry, MetadataStore, WatchListener } from '../../../engine/cluster/metadata-store.ts'

test('what has the same value under another version is news when a watch was lost', async () => {
  const entries: Entry[] = [
    { key: 'brokers/1', value: '{"host":"h","port":1}', version: 1 },
    { key: 'controller', value: '{"brokerId":1}', version: 2 },
    { key: 'partitions/t/0', value: '{"replicas":[1,2],"isr":[1,2],"leader":1,"leaderEpoch":0}', version: 3 },
  ]
  const listeners: WatchListener[] = []
  const store = {
    list: async () => ({ entries: [...entries], revision: 9 }),
    watch: (_prefix: string, _after: number, listener: WatchListener) => {
      listeners.push(listener)
      return { stop: () => {} }
    },
  }
  const image = await ClusterImage.open(store as unknown as MetadataStore, error => expect.unreachable(String(error)))
  // Registered again, elected again, and a change of the in-sync replicas there and back.
  for (const [index, entry] of entries.entries()) entries[index] = { ...entry, version: entry.version + 4 }
  const { promise, resolve } = Promise.withResolvers<void>()
  image.onChange(() => resolve())
  listeners[0]?.lost()
  await promise
  expect(image.brokers.get(1)?.epoch).toBe(5)
  expect(image.controllerVersion).toBe(6)
  expect(image.partition('t', 0)?.version).toBe(7)
})
